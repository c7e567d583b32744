//! Integration tests, one binary.

mod archive;
mod env;
mod manifest;
mod repair;
