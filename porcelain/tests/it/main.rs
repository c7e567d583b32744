//! Integration tests, one binary.

mod archive;
mod manifest;
