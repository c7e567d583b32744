//! The next document of an identity: rotate, revoke, recover, reset (THREATS 1.5).
//!
//! ```text
//! rotate    another key in some roles; the old one retires, what it signed stands up to a checkpoint
//! revoke    likewise, for a key that somebody else has: what is not in the checkpoint falls
//! recover   another root, signed by the recovery role
//! reset     a role's numbering starts anew
//! ```
//!
//! Promises: the old secret key stays where it is; nothing is shown before it is in the ledger.

use super::checkpoint::{self, GoodUntil, Wanted};
use super::keys::{self, Ring};
use super::pending::{self, Waiting};
use super::registry::{HeldKey, Own, list};
use super::subject::{Content, Subject};
use super::{ROLES, alone, granting, put};
use crate::error::Error;
use crate::session::Session;
use objects::id::{GrantId, IdentityId, StatementId};
use objects::identity::{Chain, Identity, Reset, Role, Withdrawal};
use objects::key::PublicKey;
use objects::repository::Repository;
use objects::signed::{Document, Signed};
use plumbing::trust::keyring::Passphrase;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What comes in the place of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// A key that is drawn here.
    Fresh,
    /// Keys that were drawn elsewhere.
    Given(Vec<PublicKey>),
    /// Nothing: the role has one key less.
    Drop,
}

/// What all changes take.
#[derive(Debug, Default)]
pub struct Options {
    /// Repositories that get the change at once.
    pub to: Vec<PathBuf>,
    /// What new keys are encrypted with.
    pub passphrase: Option<Passphrase>,
    /// The last good entries, where they are not what this machine knows.
    pub good_until: Vec<GoodUntil>,
}

/// What a change came to.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// What the user calls the identity.
    pub name: String,
    /// The identity.
    pub id: IdentityId,
    /// The number of the document.
    pub n: u64,
    /// The document.
    pub statement: StatementId,
    /// What it changes, a line each.
    pub says: Vec<String>,
    /// The keys that were drawn for it, with their files.
    pub keys: Vec<HeldKey>,
    /// The files of keys that no longer count. They are not deleted.
    pub old_files: Vec<PathBuf>,
    /// The grant that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantId>,
    /// What waits for signatures by other machines. Nothing has changed while something does.
    pub waiting: Vec<Waiting>,
    /// The repositories that have it.
    pub put: Vec<put::Put>,
}

/// The distinct keys of all roles.
pub(super) fn keys_of(document: &Identity) -> Vec<PublicKey> {
    let roles = ROLES.iter().filter_map(|name| document.role(name));
    let mut keys: Vec<PublicKey> = roles.flat_map(|role| role.keys().to_vec()).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// The roles in which a key stands.
pub(super) fn roles_of(document: &Identity, key: &PublicKey) -> Vec<&'static str> {
    let stands = |name: &&str| document.role(name).is_some_and(|role| role.keys().contains(key));
    ROLES.into_iter().filter(stands).collect()
}

pub(super) fn set_role(document: &mut Identity, name: &str, role: Role) {
    match name {
        "root" => document.roles.root = role,
        "admin" => document.roles.admin = role,
        "release" => document.roles.release = role,
        "note" => document.roles.note = role,
        "index" => document.roles.index = role,
        "beacon" => document.roles.beacon = role,
        _ => document.recovery = Some(role),
    }
}

/// A role by the rules, or why there can be none.
pub(super) fn role(name: &str, keys: Vec<PublicKey>, threshold: usize) -> Result<Role, Error> {
    let (count, asked) = (keys.len(), u32::try_from(threshold).unwrap_or(u32::MAX));
    Role::new(keys, asked).map_err(|_| {
        Error::usage(
            format!("the role {name} cannot ask for {threshold} of {count} keys"),
            "a threshold is from 1 to the number of distinct keys, of which there are at most 64",
        )
    })
}

/// The document after the newest, which changes nothing yet.
fn next(session: &Session, chain: &Chain) -> Identity {
    let last = chain.head();
    Identity {
        id: Some(chain.id()),
        n: last.n + 1,
        prev: Some(last.id()),
        reset: Vec::new(),
        created: session.now().max(last.created),
        ..last.document().clone()
    }
}

/// Puts `new` in the place of `old` in some roles. A threshold that cannot be met any more sinks.
fn replace(
    document: &mut Identity,
    old: &PublicKey,
    new: &[PublicKey],
    roles: &[&'static str],
) -> Result<(), Error> {
    for name in roles {
        let Some(present) = document.role(name).filter(|role| role.keys().contains(old)) else { continue };
        let mut keys: Vec<PublicKey> = present.keys().iter().copied().filter(|key| key != old).collect();
        keys.extend(new);
        keys.sort();
        keys.dedup();
        let threshold = present.threshold().min(keys.len());
        let changed = role(name, keys, threshold)?;
        set_role(document, name, changed);
    }
    Ok(())
}

/// A change that is being made.
struct Change<'a> {
    session: &'a Session,
    own: Own,
    chain: Chain,
    ring: Ring<'a>,
    document: Identity,
    fresh: Vec<HeldKey>,
    gone: Vec<PublicKey>,
    is_recovery: bool,
}

impl<'a> Change<'a> {
    fn begin(session: &'a Session, own: &Own, options: &Options) -> Result<Change<'a>, Error> {
        let chain = super::chain(session, own.id)?;
        options.to.iter().try_for_each(|path| is_newest(&chain, path))?;
        let document = next(session, &chain);
        let (ring, fresh, gone) = (Ring::new(session)?, Vec::new(), Vec::new());
        Ok(Change { session, own: own.clone(), chain, ring, document, fresh, gone, is_recovery: false })
    }

    /// The keys that come, drawn if they have to be.
    fn coming(
        &mut self,
        how: &How,
        roles: &[&'static str],
        passphrase: Option<&Passphrase>,
    ) -> Result<Vec<PublicKey>, Error> {
        match how {
            How::Given(keys) => Ok(keys.clone()),
            How::Drop => Ok(Vec::new()),
            How::Fresh => {
                let base = match roles {
                    [one @ ("root" | "recovery")] => format!("{}-{one}", self.own.name),
                    _ => self.own.name.clone(),
                };
                let held = fresh(self.session, &mut self.ring, &base, passphrase)?;
                self.fresh.push(held.clone());
                Ok(vec![held.key])
            }
        }
    }

    /// Withdraws a key that stands in no role any more.
    fn withdraw(&mut self, key: PublicKey, is_stolen: bool, options: &Options) -> Result<(), Error> {
        if !roles_of(&self.document, &key).is_empty() {
            return Ok(());
        }
        let wanted = Wanted {
            signer: self.own.id,
            owner: None,
            repositories: &options.to,
            own_only: is_stolen,
            good_until: &options.good_until,
        };
        let withdrawal = Withdrawal { key, checkpoint: checkpoint::make(self.session, &wanted)? };
        let list = if is_stolen { &mut self.document.revoked } else { &mut self.document.retired };
        if !list.iter().any(|present| present.key == key) {
            list.push(withdrawal);
        }
        self.gone.push(key);
        Ok(())
    }

    fn conclude(mut self, options: &Options) -> Result<Changed, Error> {
        let envelope = Signed::sign(&self.document, &[])?.envelope().clone();
        let mut subject = Subject::read(self.session, envelope)?;
        if self.is_recovery {
            subject.offices.iter_mut().for_each(|office| office.roles.reverse());
        }
        let (subject, waiting) = pending::settle(self.session, &mut self.ring, subject)?;
        let mut waiting: Vec<Waiting> = waiting.into_iter().collect();
        let is_taken = waiting.is_empty();
        let admin = |document: &Identity| document.roles.admin.clone();
        if is_taken && admin(self.chain.head()) != admin(&self.document) {
            waiting.extend(granting::renew(self.session, &mut self.ring, &self.own)?);
        }
        let gone = self.ring.held(&self.gone)?;
        Ok(Changed {
            name: self.own.name.clone(),
            id: self.own.id,
            n: subject.n,
            statement: subject.id(),
            says: subject.says,
            keys: self.fresh,
            old_files: gone.iter().map(|held| keys::path(self.session, held)).collect(),
            grant: None,
            waiting,
            put: if is_taken { put::all_locked(self.session, self.own.id, &options.to)? } else { Vec::new() },
        })
    }
}

/// A key that stands in no document of the user's identities.
pub(super) fn fresh(
    session: &Session,
    ring: &mut Ring<'_>,
    base: &str,
    passphrase: Option<&Passphrase>,
) -> Result<HeldKey, Error> {
    let mut used = Vec::new();
    for own in list(session)? {
        let Some(chain) = super::try_chain(session, own.id)? else { continue };
        for document in chain.documents() {
            used.extend(keys_of(document));
            used.extend(document.revoked.iter().chain(&document.retired).map(|withdrawal| withdrawal.key));
        }
    }
    ring.fresh(base, passphrase, &|key| used.contains(key))
}

/// Gives some roles another key; the one that leaves retires.
///
/// Without roles, all those of the key; without a key, the one here that stands in the first of the roles,
/// or that releases are signed with.
///
/// # Errors
/// `NotFound` if no such key stands in the roles; as the disk and the keys have it.
pub fn rotate(
    session: &Session,
    own: &Own,
    roles: &[String],
    key: Option<&str>,
    how: &How,
    options: &Options,
) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let mut change = Change::begin(session, own, options)?;
    let roles = roles.iter().map(|name| known_role(&change.document, name)).collect::<Result<Vec<_>, _>>()?;
    let old = match key {
        Some(text) => key_named(&mut change, text)?,
        None => working_key(&mut change, roles.first().copied().unwrap_or("release"))?,
    };
    let roles = if roles.is_empty() { roles_of(&change.document, &old) } else { roles };
    if !roles.iter().any(|name| roles_of(&change.document, &old).contains(name)) {
        return Err(Error::not_found(
            format!("{old} in these roles"),
            "`pkg id show` shows who stands where",
        ));
    }
    let new = change.coming(how, &roles, options.passphrase.as_ref())?;
    replace(&mut change.document, &old, &new, &roles)?;
    change.withdraw(old, false, options)?;
    change.conclude(options)
}

/// Declares a key stolen: it leaves all roles, and of what it signed only what this machine signed, or
/// what `good_until` says, stands.
///
/// # Errors
/// As [`rotate`].
pub fn revoke(
    session: &Session,
    own: &Own,
    key: &str,
    how: &How,
    resets: &[Reset],
    options: &Options,
) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let mut change = Change::begin(session, own, options)?;
    let old = key_named(&mut change, key)?;
    let roles = roles_of(&change.document, &old);
    if !roles.is_empty() {
        let new = change.coming(how, &roles, options.passphrase.as_ref())?;
        replace(&mut change.document, &old, &new, &roles)?;
    }
    change.document.reset = resets.to_vec();
    change.withdraw(old, true, options)?;
    change.conclude(options)
}

/// Gives an identity another root, in the name of its recovery role. Where the keys of the old root stand
/// in other roles, they go there too; they are revoked if `is_stolen`, retired otherwise.
///
/// # Errors
/// `NotFound` if there is no recovery role.
pub fn recover(
    session: &Session,
    own: &Own,
    how: &How,
    is_stolen: bool,
    options: &Options,
) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let mut change = Change::begin(session, own, options)?;
    if change.document.recovery.is_none() {
        return Err(Error::not_found(
            format!("a recovery role of {}", own.name),
            "without one a lost root means a new identity: `pkg id new`, and each user confirms it",
        ));
    }
    let lost = change.document.roles.root.clone();
    let new = change.coming(how, &["root"], options.passphrase.as_ref())?;
    let root = role("root", new.clone(), lost.threshold().min(new.len()))?;
    change.document.roles.root = root;
    for key in lost.keys() {
        let others: Vec<&'static str> =
            ROLES.into_iter().filter(|name| !["root", "recovery"].contains(name)).collect();
        replace(&mut change.document, key, &new, &others)?;
        change.withdraw(*key, is_stolen, options)?;
    }
    change.is_recovery = true;
    change.conclude(options)
}

/// Lets the numbering of roles start anew, after a thief ran it forward.
///
/// # Errors
/// As [`rotate`].
pub fn reset(session: &Session, own: &Own, resets: &[Reset], options: &Options) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let mut change = Change::begin(session, own, options)?;
    change.document.reset = resets.to_vec();
    if let Err(error) = change.document.check() {
        return Err(Error::usage(error, format!("roles are {}", ROLES.join(", "))));
    }
    change.conclude(options)
}

/// Refuses to go on from a document that a repository has successors of: this machine, or what it was
/// restored from, is behind (REL-042).
fn is_newest(chain: &Chain, path: &Path) -> Result<(), Error> {
    let theirs = super::read_chain(&Repository::open(path)?, chain.id())?;
    match theirs.filter(|theirs| theirs.head().n > chain.head().n) {
        None => Ok(()),
        Some(theirs) => Err(Error::conflict(
            format!(
                "this machine is behind: {} has document {} of {}, here is {}",
                path.display(),
                theirs.head().n,
                chain.id().nick(),
                chain.head().n
            ),
            "take the newer ones first: `pkg id export FILE` where they were made, `pkg id apply FILE` here",
        )),
    }
}

fn known_role(document: &Identity, name: &str) -> Result<&'static str, Error> {
    let known = ROLES.into_iter().find(|role| *role == name && document.role(role).is_some());
    known.ok_or_else(|| Error::usage(format!("it has no role {name}"), "`pkg id show` shows which it has"))
}

/// The key here that stands in a role.
fn working_key(change: &mut Change<'_>, name: &str) -> Result<PublicKey, Error> {
    let role = change.document.role(name).cloned();
    let keys = role.map(|role| role.keys().to_vec()).unwrap_or_default();
    match change.ring.held(&keys)?.as_slice() {
        [one] => Ok(one.key),
        [] if keys.len() == 1 => Ok(keys[0]), // it is elsewhere: the statement will wait for it
        [] => Err(Error::not_found(format!("a key of the role {name}"), "say which with --key KEY")),
        _ => Err(Error::usage(
            format!("several keys here stand in the role {name}"),
            "say which with --key KEY; `pkg id show` shows them",
        )),
    }
}

/// A key as a user names it: whole, by its first digits, or by its file.
fn key_named(change: &mut Change<'_>, text: &str) -> Result<PublicKey, Error> {
    let head = change.chain.head();
    let mut known = keys_of(head);
    known.extend(head.retired.iter().map(|withdrawal| withdrawal.key));
    let digits = text.strip_prefix("ed25519:").unwrap_or(text).to_ascii_lowercase();
    let begins = |key: &PublicKey| hex_of(key).starts_with(&digits);
    let by_digits = known.iter().filter(|key| digits.len() >= 8 && begins(key));
    let files = change.ring.held(&known)?;
    let by_file = files.iter().filter(|held| held.file == text).map(|held| &held.key);
    let mut found: Vec<PublicKey> = by_digits.chain(by_file).copied().collect();
    found.sort();
    found.dedup();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::not_found(
            format!("a key {text} of {}", change.own.name),
            "`pkg id show` shows its keys; give eight digits or more, or the name of its file",
        )),
        many => Err(Error::Ambiguous {
            what: text.to_owned(),
            candidates: many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }),
    }
}

fn hex_of(key: &PublicKey) -> String {
    key.to_string().trim_start_matches("ed25519:").to_owned()
}

/// What a statement about `own` came to, where no document of the identity changed.
pub(super) fn changed(own: &Own, subject: &Subject, waiting: Option<Waiting>, put: Vec<put::Put>) -> Changed {
    debug_assert!(!matches!(subject.content, Content::Entry(_)), "entries are published");
    Changed {
        name: own.name.clone(),
        id: own.id,
        n: subject.n,
        statement: subject.id(),
        says: subject.says.clone(),
        keys: Vec::new(),
        old_files: Vec::new(),
        grant: None,
        waiting: waiting.into_iter().collect(),
        put,
    }
}
