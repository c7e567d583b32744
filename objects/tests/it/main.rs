//! Integration tests, one binary.
mod version;

mod key;
