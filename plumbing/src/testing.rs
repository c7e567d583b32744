//! Helpers for tests of this crate (feature `testing`).

pub mod fuzz;
