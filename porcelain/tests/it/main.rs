//! Integration tests, one binary.

mod archive;
mod env;
mod fuzz;
mod manifest;
mod repair;

/// Counted, so that a decoder which takes memory by a stated length is found.
#[global_allocator]
static ALLOCATOR: objects::testing::memory::Counting = objects::testing::memory::Counting;
