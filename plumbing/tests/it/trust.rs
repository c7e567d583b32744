//! Trust, against a world that plays authors, distributors, mirrors and a clock.

mod grants;
mod identity;
mod import;
mod keyring;
mod model;
mod recovery;
mod release;
mod repository;
mod rotation;
mod state;
mod word;
mod world;
