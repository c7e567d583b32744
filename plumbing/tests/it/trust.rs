//! Trust, against a world that plays authors, distributors, mirrors and a clock.

mod identity;
mod keyring;
mod release;
mod repository;
mod state;
mod word;
mod world;
