//! Bytes between machines, and judgement.

pub mod transport;
