//! Identities of the user: made here, kept in the keyring, known to the store.

use crate::config::read_toml;
use crate::error::Error;
use crate::session::Session;
use objects::disk;
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity, Role};
use objects::key::{PublicKey, SecretKey, Signer};
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::repository::Repository;
use objects::signed::Signed;
use plumbing::trust::keyring::{self, Passphrase};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The key of this machine's endpoint, which signs nothing.
pub const ENDPOINT_KEY: &str = "endpoint";

/// One of the user's identities, as `identities.toml` keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// What the user calls it, and its key file.
    pub name: String,
    /// The identity.
    pub id: IdentityId,
    /// Its public key.
    pub key: PublicKey,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    #[serde(default)]
    identity: Vec<Own>,
}

/// Makes an identity with one key in all roles.
///
/// # Errors
/// `Conflict` if the user has one of that name.
pub fn new(session: &Session, name: &str, passphrase: Option<&Passphrase>) -> Result<Own, Error> {
    check_free(session, name)?;
    let keyring = session.keyring()?;
    let secret = match keyring.list()?.iter().any(|key| key == name) {
        // A key without an identity is what a killed command left.
        true => keyring.load(name, &mut || session.ask(name))?,
        false => keyring.create(name, passphrase)?,
    };
    found(session, name, &secret)
}

/// Makes an identity with a key that another tool made. The keyring gets a copy; the file stays.
///
/// # Errors
/// `Conflict` if the user has an identity or another key of that name; if the file is open to others or holds
/// no ed25519 key.
pub fn import(
    session: &Session,
    name: &str,
    file: &Path,
    passphrase: Option<&Passphrase>,
) -> Result<Own, Error> {
    check_free(session, name)?;
    let keyring = session.keyring()?;
    let secret = keyring::read_key(file, &mut || session.ask(&file.display().to_string()))?;
    if !keyring.list()?.iter().any(|key| key == name) {
        keyring.insert(name, &secret, passphrase)?;
    } else if keyring.load(name, &mut || session.ask(name))?.public() != secret.public() {
        return Err(Error::conflict(format!("there is another key {name} already"), "choose another name"));
    }
    found(session, name, &secret)
}

fn check_free(session: &Session, name: &str) -> Result<(), Error> {
    if name == ENDPOINT_KEY {
        return Err(Error::usage(
            format!("{name} is the name of this machine's network key"),
            "choose another name",
        ));
    }
    if read_registry(session)?.identity.iter().any(|own| own.name == name) {
        return Err(Error::conflict(
            format!("you have an identity {name} already"),
            "choose another name; `pkg id list` shows yours",
        ));
    }
    Ok(())
}

/// Writes the first document of an identity, signed by `secret`, and notes it as the user's.
fn found(session: &Session, name: &str, secret: &SecretKey) -> Result<Own, Error> {
    let mut registry = read_registry(session)?;
    let role = Role::new(vec![secret.public()], 1).map_err(objects::signed::Error::from)?;
    let document = Identity::found(Some(name.to_owned()), &role, session.now());
    let signed = Signed::sign(&document, &[secret])?;
    let own = Own { name: name.to_owned(), id: IdentityId::new(signed.id().object()), key: secret.public() };
    let chain = Chain::begin(own.id, &signed)?;
    keep_chain(session.store()?, &chain, session)?;
    registry.identity.push(own.clone());
    write_registry(session, &registry)?;
    Ok(own)
}

/// The user's identities.
///
/// # Errors
/// If the list of them is malformed.
pub fn list(session: &Session) -> Result<Vec<Own>, Error> {
    Ok(read_registry(session)?.identity)
}

/// The identity to act as: the one named, the one the settings name, or the only one.
///
/// # Errors
/// `NotFound` if there is none, `Usage` if there are several and none is named.
pub fn choose(session: &Session, name: Option<&str>) -> Result<Own, Error> {
    let all = list(session)?;
    let wanted = name.or(session.config().identity.as_deref());
    match (wanted, all.as_slice()) {
        (Some(wanted), _) => {
            let found = all.iter().find(|own| own.name == wanted).cloned();
            found.ok_or_else(|| {
                Error::not_found(
                    format!("an identity called {wanted}"),
                    "`pkg id list` shows yours, `pkg id new` makes one",
                )
            })
        }
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Error::not_found("an identity of yours", "make one: `pkg id new NAME`")),
        (None, _) => Err(Error::usage(
            "you have several identities",
            "say which with --as NAME, or `identity = \"NAME\"` in config.toml",
        )),
    }
}

/// The secret key of one of the user's identities, after its passphrase if it has one.
///
/// # Errors
/// If the key file is gone, open to others, or the passphrase is wrong.
pub fn unlock(session: &Session, own: &Own) -> Result<SecretKey, Error> {
    let secret = session.keyring()?.load(&own.name, &mut || session.ask(&own.name))?;
    if secret.public() != own.key {
        return Err(Error::conflict(
            format!(
                "the key file {} holds another key than identity {} was made with",
                own.name,
                own.id.nick()
            ),
            "restore the right file from your backup",
        ));
    }
    Ok(secret)
}

/// The documents of one of the user's identities.
///
/// # Errors
/// If they are not in the user's store, or do not stand.
pub fn chain(session: &Session, id: IdentityId) -> Result<Chain, Error> {
    read_chain(session.store()?, id)?
        .ok_or_else(|| Error::not_found(format!("the identity {}", id.nick()), "`pkg id list` shows yours"))
}

/// The documents of an identity that `repository` keeps, or None.
///
/// # Errors
/// If a document is lost or does not stand.
pub fn read_chain(repository: &Repository, id: IdentityId) -> Result<Option<Chain>, Error> {
    let Some(head) = repository.refs().try_find(&ref_name(id))? else { return Ok(None) };
    let mut documents = Vec::new();
    let mut next = Some(head);
    while let Some(at) = next {
        let signed = repository.statements().find::<Identity>(at)?;
        next = plumbing::sync::serve::previous(signed.envelope());
        documents.push(signed);
        if documents.len() > objects::limits::IDENTITY_WALK_MAX {
            return Err(objects::identity::Error::TooLong { id }.into());
        }
    }
    documents.reverse();
    Ok(Some(Chain::walk(id, &documents)?))
}

/// Keeps an identity's documents in `repository`, and points its ref at the newest.
///
/// # Errors
/// If the disk refuses.
pub fn keep_chain(repository: &Repository, chain: &Chain, session: &Session) -> Result<StatementId, Error> {
    repository.statements().insert_all(chain.documents().iter().map(|document| document.envelope()))?;
    let new = chain.head().id();
    let edit = RefEdit {
        name: ref_name(chain.id()),
        previous: PreviousValue::Any,
        new: Some(new),
        message: format!("identity: document {}", chain.head().n),
    };
    repository.refs().edit(&[edit], session.now())?;
    Ok(new)
}

/// The ref of an identity's newest document.
pub fn ref_name(id: IdentityId) -> RefName {
    format!("refs/identities/{}", id.to_hex()).parse().expect("an id in hexadecimal is a part of a ref name")
}

fn registry_path(session: &Session) -> PathBuf {
    session.home().join("identities.toml")
}

fn read_registry(session: &Session) -> Result<Registry, Error> {
    Ok(read_toml(&registry_path(session))?.unwrap_or_default())
}

fn write_registry(session: &Session, registry: &Registry) -> Result<(), Error> {
    let text = toml::to_string(registry).expect("a list of names and ids is plain TOML");
    Ok(disk::write_whole(&registry_path(session), text.as_bytes())?)
}
