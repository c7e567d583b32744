//! Integration tests, one binary.
mod version;
