//! Keys on this machine: opening them, and signing with those that stand in a role.
//!
//! Promises: a key is opened once, and only if its signature is needed; a key file that holds another
//! key than the registry says is refused; no key file is ever replaced or deleted.

use super::registry::{HeldKey, Own, Registry};
use super::{ENDPOINT_KEY, pending};
use crate::error::Error;
use crate::session::Session;
use objects::identity::{Chain, Role};
use objects::key::{PublicKey, SecretKey, Signer};
use objects::release::Entry;
use objects::signed::{Document, Envelope, Signed};
use plumbing::trust::keyring::Passphrase;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The keys on this machine.
pub(super) struct Ring<'a> {
    session: &'a Session,
    files: BTreeSet<String>,
    known: Vec<HeldKey>,
    open: BTreeMap<PublicKey, SecretKey>,
    is_searched: bool,
}

impl<'a> Ring<'a> {
    pub(super) fn new(session: &'a Session) -> Result<Ring<'a>, Error> {
        let files: BTreeSet<String> = session.keyring()?.list()?.into_iter().collect();
        let known = Registry::read(session)?.keys().to_vec();
        Ok(Ring { session, files, known, open: BTreeMap::new(), is_searched: false })
    }

    /// Those of `keys` that are here.
    pub(super) fn held(&mut self, keys: &[PublicKey]) -> Result<Vec<HeldKey>, Error> {
        if keys.iter().any(|key| self.find(key).is_none()) {
            self.search()?;
        }
        Ok(keys.iter().filter_map(|key| self.find(key)).cloned().collect())
    }

    fn find(&self, key: &PublicKey) -> Option<&HeldKey> {
        self.known.iter().find(|held| held.key == *key && self.files.contains(&held.file))
    }

    /// Looks into the key files that the registry does not name: they came from another machine. One that
    /// does not open is passed over.
    fn search(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_searched, true) {
            return Ok(());
        }
        let keyring = self.session.keyring()?;
        let mut registry = Registry::read(self.session)?;
        let named: BTreeSet<&str> = registry.keys().iter().map(|held| held.file.as_str()).collect();
        let strange: Vec<String> =
            self.files.iter().filter(|file| !named.contains(file.as_str())).cloned().collect();
        let before = registry.keys().len();
        for file in strange.into_iter().filter(|file| file != ENDPOINT_KEY) {
            let Ok(secret) = keyring.load(&file, &mut || self.session.ask(&file)) else { continue };
            registry.add_key(HeldKey { file, key: secret.public() });
            self.open.insert(secret.public(), secret);
        }
        if registry.keys().len() > before {
            registry.write(self.session)?;
            self.known = registry.keys().to_vec();
        }
        Ok(())
    }

    /// Opens a key, after its passphrase if it has one.
    pub(super) fn open(&mut self, held: &HeldKey) -> Result<&SecretKey, Error> {
        if !self.open.contains_key(&held.key) {
            let secret = self.session.keyring()?.load(&held.file, &mut || self.session.ask(&held.file))?;
            if secret.public() != held.key {
                return Err(Error::conflict(
                    format!("the key file {} holds another key than it did", held.file),
                    "restore the right file from your backup",
                ));
            }
            self.open.insert(held.key, secret);
        }
        Ok(&self.open[&held.key])
    }

    /// A key that stands in no document yet, in the file `base` or that with the next free number. One
    /// that a killed command left is used. It is in the registry before it is returned.
    pub(super) fn fresh(
        &mut self,
        base: &str,
        passphrase: Option<&Passphrase>,
        is_used: &dyn Fn(&PublicKey) -> bool,
    ) -> Result<HeldKey, Error> {
        let keyring = self.session.keyring()?;
        let names = std::iter::once(base.to_owned()).chain((2u32..).map(|n| format!("{base}-{n}")));
        for file in names {
            let is_taken = |held: &HeldKey| held.file == file && is_used(&held.key);
            if self.known.iter().any(is_taken) {
                continue; // even if its file is gone: it may come back from a backup
            }
            let secret = match self.files.contains(&file) {
                true => match self.left_behind(&file, passphrase)? {
                    Some(secret) => secret,
                    None => continue,
                },
                false => keyring.create(&file, passphrase)?,
            };
            if is_used(&secret.public()) {
                continue;
            }
            return self.register(file, secret);
        }
        unreachable!("some number is free")
    }

    /// The key in a file that a killed command left, or that was imported; None if it is open and is to be
    /// encrypted.
    fn left_behind(&self, file: &str, passphrase: Option<&Passphrase>) -> Result<Option<SecretKey>, Error> {
        let mut is_sealed = false;
        let secret = self.session.keyring()?.load(file, &mut || {
            is_sealed = true;
            passphrase.cloned().or_else(|| self.session.ask(file))
        })?;
        Ok(Some(secret).filter(|_| is_sealed || passphrase.is_none()))
    }

    fn register(&mut self, file: String, secret: SecretKey) -> Result<HeldKey, Error> {
        let held = HeldKey { file, key: secret.public() };
        let mut registry = Registry::read(self.session)?;
        registry.add_key(held.clone());
        registry.write(self.session)?;
        self.known = registry.keys().to_vec();
        self.files.insert(held.file.clone());
        self.open.insert(held.key, secret);
        Ok(held)
    }
}

/// Where the file of a key is.
pub(super) fn path(session: &Session, held: &HeldKey) -> PathBuf {
    session.home().join("keys").join(format!("{}.key", held.file))
}

/// Signs as one of the user's identities; keys are opened once.
pub struct Signers<'a> {
    session: &'a Session,
    own: Own,
    chain: Chain,
    ring: Ring<'a>,
}

impl<'a> Signers<'a> {
    /// Signs as `own`, with the keys that stand in the newest document.
    ///
    /// # Errors
    /// If its documents do not stand, or the folder of keys is open to others.
    pub fn new(session: &'a Session, own: &Own) -> Result<Signers<'a>, Error> {
        let chain = super::chain(session, own.id)?;
        Ok(Signers { session, own: own.clone(), chain, ring: Ring::new(session)? })
    }

    /// Signs `document` with as many keys of the role as it asks for.
    ///
    /// # Errors
    /// `E-SIG` if fewer are on this machine; if a key does not open.
    pub fn sign<T: Document>(&mut self, role_name: &str, document: &T) -> Result<Signed<T>, Error> {
        let role = role(&self.chain, role_name)?.clone();
        let held = self.ring.held(role.keys())?;
        if held.len() < role.threshold() {
            return Err(too_few(&self.own, role_name, &role, held.len()));
        }
        let mut signed = Signed::sign(document, &[])?;
        for held in held.iter().take(role.threshold()) {
            signed.add_signature(self.ring.open(held)?);
        }
        Ok(signed)
    }

    /// Signs an entry. If the role asks for more keys than are here, it waits as a pending statement; once
    /// that has enough signatures, the same entry comes back with them.
    ///
    /// # Errors
    /// `E-SIG` with the file that waits, unless enough have signed.
    pub fn entry(&mut self, entry: Entry) -> Result<(Entry, Signed<Entry>), Error> {
        let role = role(&self.chain, "release")?.clone();
        if self.ring.held(role.keys())?.len() >= role.threshold() {
            let signed = self.sign("release", &entry)?;
            return Ok((entry, signed));
        }
        pending::entry(self.session, &mut self.ring, entry)
    }
}

fn role<'c>(chain: &'c Chain, name: &str) -> Result<&'c Role, Error> {
    chain.head().role(name).ok_or_else(|| {
        Error::not_found(
            format!("a role {name} of {}", chain.id().nick()),
            format!("roles are {}; `pkg id show` shows which it has", super::ROLES.join(", ")),
        )
    })
}

fn too_few(own: &Own, name: &str, role: &Role, held: usize) -> Error {
    let hint = match held {
        0 => "bring the key file into the folder of keys, or work on the machine that has it".to_owned(),
        _ => format!("gather more signatures, or give the role {name} a lower threshold: `pkg id rotate`"),
    };
    let (asked, keys) = (role.threshold(), role.keys().len());
    let what = format!(
        "the role {name} of {} asks for {asked} of {keys} keys; {held} are on this machine",
        own.name
    );
    Error::Refused { code: "E-SIG", what, hint }
}

/// The secret keys on this machine that stand in a role of one of the user's identities.
///
/// # Errors
/// `NotFound` if there is no such role; if a key does not open.
pub fn signers(session: &Session, own: &Own, role_name: &str) -> Result<Vec<SecretKey>, Error> {
    let chain = super::chain(session, own.id)?;
    let mut ring = Ring::new(session)?;
    let held = ring.held(role(&chain, role_name)?.keys())?;
    for key in &held {
        ring.open(key)?;
    }
    Ok(held.iter().filter_map(|held| ring.open.remove(&held.key)).collect())
}

/// Signs `document` in a role of one of the user's identities.
///
/// # Errors
/// `E-SIG` if fewer keys than the threshold are on this machine; if a key does not open.
pub fn sign<T: Document>(
    session: &Session,
    own: &Own,
    role_name: &str,
    document: &T,
) -> Result<Signed<T>, Error> {
    Signers::new(session, own)?.sign(role_name, document)
}

/// The public key that one of the user's identities works with here: of those on this machine the one
/// that stands in the most roles.
///
/// # Errors
/// `NotFound` if none of its keys is on this machine.
pub fn public_key(session: &Session, own: &Own) -> Result<HeldKey, Error> {
    let chain = super::chain(session, own.id)?;
    let mut held = Ring::new(session)?.held(&super::change::keys_of(chain.head()))?;
    held.sort_by_key(|held| super::change::roles_of(chain.head(), &held.key).len());
    held.pop().ok_or_else(|| {
        Error::not_found(format!("a key of {}", own.name), "`pkg id show` tells which keys it has")
    })
}

/// The keys whose signatures over a statement hold.
pub(super) fn signed_by(envelope: &Envelope) -> BTreeSet<PublicKey> {
    let message = objects::signed::pae(envelope.kind().media_type(), envelope.payload());
    let rows = envelope.signatures();
    let rows = rows.filter_map(|(key, signature)| Some((PublicKey::from_bytes(*key).ok()?, signature)));
    rows.filter(|(key, signature)| key.verifies(&message, signature)).map(|(key, _)| key).collect()
}

/// A signature that was made elsewhere.
struct Copied {
    key: PublicKey,
    signature: [u8; 64],
}

impl Signer for Copied {
    fn public(&self) -> PublicKey {
        self.key
    }
    fn sign(&self, _: &[u8]) -> [u8; 64] {
        self.signature
    }
}

/// `to` with the signatures of `from`, another copy of the same statement, that hold.
pub(super) fn merge(to: &Envelope, from: &Envelope) -> Result<Envelope, Error> {
    let good = signed_by(from);
    let mut merged = to.clone();
    for (key, signature) in from.signatures() {
        let Some(key) = good.iter().find(|good| good.as_bytes() == key) else { continue };
        merged = with_signature(merged, &Copied { key: *key, signature: *signature })?;
    }
    Ok(merged)
}

/// `envelope` with one more signature.
pub(super) fn with_signature(envelope: Envelope, signer: &dyn Signer) -> Result<Envelope, Error> {
    fn add<T: Document>(envelope: Envelope, signer: &dyn Signer) -> Result<Envelope, Error> {
        let mut signed: Signed<T> = envelope.typed()?;
        signed.add_signature(signer);
        Ok(signed.envelope().clone())
    }
    match envelope.kind() {
        objects::signed::Kind::Identity => add::<objects::identity::Identity>(envelope, signer),
        objects::signed::Kind::Grants => add::<objects::grants::Grants>(envelope, signer),
        objects::signed::Kind::Entry => add::<Entry>(envelope, signer),
        kind => Err(super::subject::not_gathered(kind)),
    }
}
