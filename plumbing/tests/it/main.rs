//! Integration tests, one binary.

mod transport;
