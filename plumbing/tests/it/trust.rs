//! Trust, against a world that plays authors, distributors, mirrors and a clock.

mod grants;
mod identity;
mod import;
mod keyring;
mod recovery;
mod release;
mod repository;
mod state;
mod world;
