//! Integration tests, one binary.

mod archive;
