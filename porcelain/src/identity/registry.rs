//! `identities.toml`: which identities are the user's, and which keys are on this machine.
//!
//! ```toml
//! [[identity]]
//! name = "ada"
//! id = "blake3:…"
//!
//! [[key]]
//! file = "ada"             # keys/ada.key
//! key = "ed25519:…"
//! ```
//!
//! Which key stands in which role is told by the identity's documents alone. An identity of an older file
//! names its one key itself.

use super::ENDPOINT_KEY;
use crate::config::read_toml;
use crate::error::Error;
use crate::session::Session;
use objects::disk;
use objects::id::IdentityId;
use objects::key::PublicKey;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// One of the user's identities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Own {
    /// What the user calls it.
    pub name: String,
    /// The identity.
    pub id: IdentityId,
}

/// A key on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldKey {
    /// Its file in the folder of keys, without `.key`.
    pub file: String,
    /// Its public half.
    pub key: PublicKey,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    id: IdentityId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<PublicKey>,
}

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    #[serde(default)]
    identity: Vec<Row>,
    #[serde(default)]
    key: Vec<HeldKey>,
}

impl Registry {
    /// Reads the file; keys that an older form names with their identity stand among the others.
    pub(super) fn read(session: &Session) -> Result<Registry, Error> {
        let mut registry: Registry = read_toml(&path(session))?.unwrap_or_default();
        let old = registry.identity.iter_mut();
        let old = old.filter_map(|row| Some(HeldKey { file: row.name.clone(), key: row.key.take()? }));
        let old: Vec<HeldKey> = old.collect();
        old.into_iter().for_each(|held| registry.add_key(held));
        Ok(registry)
    }

    pub(super) fn write(&self, session: &Session) -> Result<(), Error> {
        let text = toml::to_string(self).expect("a list of names and ids is plain TOML");
        Ok(disk::write_whole(&path(session), text.as_bytes())?)
    }

    pub(super) fn identities(&self) -> Vec<Own> {
        let own = |row: &Row| Own { name: row.name.clone(), id: row.id };
        self.identity.iter().map(own).collect()
    }

    pub(super) fn keys(&self) -> &[HeldKey] {
        &self.key
    }

    pub(super) fn add_key(&mut self, held: HeldKey) {
        if !self.key.contains(&held) {
            self.key.push(held);
        }
    }

    pub(super) fn add_identity(&mut self, own: &Own) {
        if !self.identity.iter().any(|row| row.id == own.id) {
            self.identity.push(Row { name: own.name.clone(), id: own.id, key: None });
        }
    }
}

fn path(session: &Session) -> PathBuf {
    session.home().join("identities.toml")
}

/// The user's identities.
///
/// # Errors
/// If the list of them is malformed.
pub fn list(session: &Session) -> Result<Vec<Own>, Error> {
    Ok(Registry::read(session)?.identities())
}

/// Makes sure that `name` can be that of a new identity.
///
/// # Errors
/// `Conflict` if the user has one of that name.
pub fn check_free(session: &Session, name: &str) -> Result<(), Error> {
    if name == ENDPOINT_KEY {
        return Err(Error::usage(
            format!("{name} is the name of this machine's network key"),
            "choose another name",
        ));
    }
    if list(session)?.iter().any(|own| own.name == name) {
        return Err(Error::conflict(
            format!("you have an identity {name} already"),
            "choose another name; `pkg id list` shows yours",
        ));
    }
    Ok(())
}
