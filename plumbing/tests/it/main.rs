//! Integration tests, one binary.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod fuzz;
mod gather;
mod intake;
mod resolve;
mod transport;
mod trust;

/// Counted, so that a decoder which takes memory by a stated length is found.
#[global_allocator]
static ALLOCATOR: objects::testing::memory::Counting = objects::testing::memory::Counting;
