//! Integration tests, one binary.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod gather;
mod resolve;
mod transport;
mod trust;
