//! What a user does.

pub mod archive;
