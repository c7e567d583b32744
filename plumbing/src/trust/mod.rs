//! Who may say what: the acceptance steps of THREATS 1.4, and the keys to speak oneself.
//!
//! Participants: a [`State`] (what this machine has believed so far), a [`Policy`] (what its user
//! allows), and a [`Judge`] that holds statements from a source against both.
//!
//! ```text
//! Signed<T>     what arrived                       objects::signed
//! Verified<T>   who said it                        objects::signed
//! Trusted<T>    they may say it, and it is no older than what we knew     here, and only here
//! ```
//!
//! Promises: what this machine believed never goes back; a signer who says two things in one place
//! is found out, neither is applied, and both are kept as evidence; the state is on disk before
//! what it allows is returned.
//! Leaves to others: fetching ([`Statements`] is asked), reading the index tree (`index`), fetching
//! and checking content (steps 17 and 18: `sync`, `objects::checkout`).

mod chain;
mod database;
mod error;
mod grants;
mod judge;
pub mod keyring;
mod log;
mod path;
mod policy;
mod release;
mod repository;
mod similar_names;
mod state;
mod statements;
mod withdrawn;

pub use database::{Database, Error as DatabaseError};
pub use error::{At, Error};
pub use judge::Judge;
pub use path::{Directory, Places, Step, Unlisted};
pub use policy::{Freshness, Policy};
pub use release::{Authorised, NameUse};
pub use repository::Accepted;
pub use similar_names::are_similar;
pub use state::{
    Act, Advance, Fork, ForkId, Head, Line, Log, PackagePin, Position, RepositoryPin, Sighting, State,
};
pub use statements::{InOrder, Statements};

use objects::signed::Verified;
use std::ops::Deref;

/// A statement whose signers may make it, and which moves nothing backwards: the form that may
/// move refs and be installed.
#[derive(Clone, Debug)]
pub struct Trusted<T>(Verified<T>);

impl<T> Trusted<T> {
    /// The statement without the judgement, for what only needs to know who said it.
    pub fn into_verified(self) -> Verified<T> {
        self.0
    }
}

impl<T> Deref for Trusted<T> {
    type Target = Verified<T>;
    fn deref(&self) -> &Verified<T> {
        &self.0
    }
}
