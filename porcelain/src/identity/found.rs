//! Founding an identity: its first document.
//!
//! Promises: without wishes, one key in all roles; secret keys are made here or not at all, those of
//! others come as public keys.

use super::alone;
use super::change::{Changed, changed, fresh, role};
use super::keys::Ring;
use super::pending;
use super::registry::{HeldKey, Own, check_free};
use super::subject::Subject;
use crate::error::Error;
use crate::session::Session;
use objects::id::IdentityId;
use objects::identity::{Identity, Role, Roles};
use objects::key::{PublicKey, Signer};
use objects::signed::Signed;
use plumbing::trust::keyring::{self, Passphrase};
use std::collections::BTreeMap;
use std::path::Path;

/// How many keys have to sign.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// In the roles root, recovery, admin and release; the others ask for one.
    pub main: Option<usize>,
    /// In roles by name.
    pub by_role: BTreeMap<String, usize>,
}

/// What an identity is to be like.
#[derive(Debug, Default)]
pub struct Founding {
    /// What the user calls it, and it calls itself.
    pub name: String,
    /// True for a root key and a recovery key of their own, so that they can be moved elsewhere.
    pub separate: bool,
    /// True for a recovery key.
    pub recovery: bool,
    /// Keys of root that were made elsewhere.
    pub root_keys: Vec<PublicKey>,
    /// Keys of recovery that were made elsewhere.
    pub recovery_keys: Vec<PublicKey>,
    /// The keys of a team's members, in the place of a key made here.
    pub members: Vec<PublicKey>,
    /// How many have to sign.
    pub thresholds: Thresholds,
    /// What new keys are encrypted with.
    pub passphrase: Option<Passphrase>,
}

/// Makes an identity with one key in all roles.
///
/// # Errors
/// `Conflict` if the user has one of that name.
pub fn new(session: &Session, name: &str, passphrase: Option<Passphrase>) -> Result<Own, Error> {
    let changed = found(session, &Founding { name: name.to_owned(), passphrase, ..Founding::default() })?;
    Ok(Own { name: changed.name, id: changed.id })
}

/// Takes a copy of a key that another tool made into the keyring, for the identity `name` that is to be made.
/// The file stays.
///
/// # Errors
/// `Conflict` if the user has an identity or another key of that name; if the file is open to others or holds
/// no ed25519 key.
pub fn import(
    session: &Session,
    name: &str,
    file: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<(), Error> {
    check_free(session, name)?;
    let keyring = session.keyring()?;
    let secret = keyring::read_key(file, &mut || session.ask(&file.display().to_string()))?;
    if !keyring.list()?.iter().any(|key| key == name) {
        keyring.insert(name, &secret, passphrase)?;
    } else if keyring.load(name, &mut || session.ask(name))?.public() != secret.public() {
        return Err(Error::conflict(format!("there is another key {name} already"), "choose another name"));
    }
    Ok(())
}

/// Makes an identity. If keys elsewhere have to sign, its first document waits for them.
///
/// # Errors
/// `Conflict` if the user has one of that name; `Usage` for a threshold that cannot be met.
pub fn found(session: &Session, founding: &Founding) -> Result<Changed, Error> {
    check_free(session, &founding.name)?;
    let _lock = alone(session)?;
    let mut ring = Ring::new(session)?;
    let mut drawn = Vec::new();
    check_thresholds(founding)?;
    let mut draw = |file: String| -> Result<Vec<PublicKey>, Error> {
        let held = fresh(session, &mut ring, &file, founding.passphrase.as_ref())?;
        drawn.push(held.clone());
        Ok(vec![held.key])
    };
    let name = &founding.name;
    let working = if founding.members.is_empty() { draw(name.clone())? } else { founding.members.clone() };
    let root = match founding {
        Founding { root_keys, .. } if !root_keys.is_empty() => root_keys.clone(),
        Founding { separate: true, .. } => draw(format!("{name}-root"))?,
        _ => working.clone(),
    };
    let recovery = match founding {
        Founding { recovery_keys, .. } if !recovery_keys.is_empty() => Some(recovery_keys.clone()),
        Founding { separate, recovery, .. } if *separate || *recovery => {
            Some(draw(format!("{name}-recovery"))?)
        }
        _ => None,
    };
    let role_of = |role: &str, keys: &[PublicKey]| role_of(founding, role, keys);
    let roles = Roles {
        root: role_of("root", &root)?,
        admin: role_of("admin", &working)?,
        release: role_of("release", &working)?,
        note: role_of("note", &working)?,
        index: role_of("index", &working)?,
        beacon: role_of("beacon", &working)?,
    };
    let mut document = Identity::found(Some(name.clone()), &roles.root, session.now());
    document.roles = roles;
    document.recovery = recovery.map(|keys| role_of("recovery", &keys)).transpose()?;
    conclude(session, &mut ring, &document, drawn)
}

fn conclude(
    session: &Session,
    ring: &mut Ring<'_>,
    document: &Identity,
    drawn: Vec<HeldKey>,
) -> Result<Changed, Error> {
    let signed = Signed::sign(document, &[])?;
    let name = document.name.clone().unwrap_or_default();
    let own = Own { name, id: IdentityId::new(signed.id().object()) };
    let subject = Subject::read(session, signed.envelope().clone())?;
    let (subject, waiting) = pending::settle(session, ring, subject)?;
    Ok(Changed { keys: drawn, ..changed(&own, &subject, waiting, Vec::new()) })
}

fn role_of(founding: &Founding, name: &str, keys: &[PublicKey]) -> Result<Role, Error> {
    let is_main = ["root", "recovery", "admin", "release"].contains(&name);
    let wished = founding.thresholds.by_role.get(name).copied();
    let general = founding.thresholds.main.unwrap_or(founding.members.len() / 2 + 1);
    let threshold = match wished {
        Some(wished) => wished,
        None if is_main => general.min(keys.len()),
        None => 1,
    };
    role(name, keys.to_vec(), threshold)
}

/// A threshold for a role that does not exist, or that no role can meet, is a slip.
fn check_thresholds(founding: &Founding) -> Result<(), Error> {
    let unknown = founding.thresholds.by_role.keys().find(|name| !super::ROLES.contains(&name.as_str()));
    if let Some(name) = unknown {
        return Err(Error::usage(
            format!("there is no role {name}"),
            format!("roles are {}", super::ROLES.join(", ")),
        ));
    }
    let most = founding.members.len().max(founding.root_keys.len()).max(1);
    match founding.thresholds.main {
        Some(main) if main == 0 || main > most => Err(Error::usage(
            format!("a threshold of {main} cannot be met by {most} keys"),
            "name the keys of the members with --member",
        )),
        _ => Ok(()),
    }
}
