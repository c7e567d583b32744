//! What a user does.

pub mod archive;
pub mod manifest;
