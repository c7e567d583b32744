//! Statements that wait for more signatures, and taking those that have enough.
//!
//! ```text
//! <home>/pending/acme-identity-1-0a1b2c3d.pending     the envelope with the signatures so far, nothing else
//! ```
//!
//! The file travels by mail or stick; `sign` adds what the keys of a machine can give, `apply` takes it.
//!
//! Promises: before a signature can leave this machine, the ledger knows what was signed under which
//! number; a file is signed only if it is the statement that was shown.
//! Leaves to others: what a statement means ([`super::subject`]).

use super::keys::{self, Ring, merge, signed_by};
use super::registry::{HeldKey, Own, Registry};
use super::subject::{Content, Subject, parse};
use super::{alone, carry, granting, keep_chain, put, try_chain};
use crate::error::Error;
use crate::ledger::{Head, Ledger};
use crate::session::Session;
use objects::disk;
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity};
use objects::key::PublicKey;
use objects::limits::ENVELOPE_BYTES_MAX;
use objects::release::Entry;
use objects::signed::{Envelope, Error as SignedError, Kind, Signed};
use objects::time::Timestamp;
use serde::Serialize;
use std::path::{Path, PathBuf};

const ENDING: &str = "pending";

/// Which of the roles that would do are used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The first: a change that is made here says in whose name.
    First,
    /// The first of which a key is here: whoever signs a file was shown it.
    Any,
}

/// Signatures that are still needed: so many, by any of these keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The role that has to sign.
    pub role: String,
    /// How many of its keys have to.
    pub threshold: usize,
    /// How many still have to.
    pub missing: usize,
    /// The keys that have not.
    pub of: Vec<PublicKey>,
}

/// A statement that waits.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// The file to be signed by others.
    pub file: PathBuf,
    /// The statement.
    pub statement: StatementId,
    /// What it waits for.
    pub needs: Vec<Need>,
}

/// A file with a statement, understood.
#[derive(Clone, Debug, Serialize)]
pub struct Read {
    /// The file.
    pub file: PathBuf,
    /// The statement in it.
    pub statement: StatementId,
    /// Its kind.
    pub kind: &'static str,
    /// What it is about, a line each.
    pub says: Vec<String>,
    /// Whose signatures it has.
    pub signed: Vec<PublicKey>,
    /// What it waits for.
    pub needs: Vec<Need>,
    /// The keys on this machine that can sign it.
    pub held: Vec<HeldKey>,
}

/// What signing or taking a file came to.
#[derive(Clone, Debug, Serialize)]
pub struct Signing {
    /// The file.
    pub file: PathBuf,
    /// The statement in it.
    pub statement: StatementId,
    /// Whose line it continues.
    pub identity: IdentityId,
    /// What it is about, a line each.
    pub says: Vec<String>,
    /// The keys that signed now.
    pub added: Vec<HeldKey>,
    /// What it waits for; nothing if it is complete.
    pub needs: Vec<Need>,
    /// What is left to do by hand.
    pub then: Option<String>,
    /// The repositories it was put into.
    pub put: Vec<put::Put>,
}

/// Signs with the keys that are here, notes it, and takes the statement or files it. The caller holds
/// the lock on signing.
pub(super) fn settle(
    session: &Session,
    ring: &mut Ring<'_>,
    mut subject: Subject,
) -> Result<(Subject, Option<Waiting>), Error> {
    if let Some(earlier) = read_waiting(session, &subject)? {
        subject.envelope = merge(&subject.envelope, &earlier)?;
    }
    add_signatures(session, ring, &mut subject, Reach::First)?;
    if subject.is_complete() {
        take(session, ring, &subject)?;
        return Ok((subject, None));
    }
    let waiting = file(session, &subject)?;
    Ok((subject, Some(waiting)))
}

/// Adds the signatures that are needed and can be had here. They are in the ledger when it returns.
fn add_signatures(
    session: &Session,
    ring: &mut Ring<'_>,
    subject: &mut Subject,
    reach: Reach,
) -> Result<Vec<HeldKey>, Error> {
    let able = able(ring, subject, reach)?;
    if !able.is_empty() {
        check_number(session, subject)?;
    }
    for held in &able {
        subject.envelope = keys::with_signature(subject.envelope.clone(), ring.open(held)?)?;
    }
    if !able.is_empty() {
        note(session, subject)?;
    }
    Ok(able)
}

/// The keys here that can give what is missing: of each office as many as it needs, of the first of its
/// roles that has any here.
fn able(ring: &mut Ring<'_>, subject: &Subject, reach: Reach) -> Result<Vec<HeldKey>, Error> {
    let mut signed = signed_by(&subject.envelope);
    let mut able: Vec<HeldKey> = Vec::new();
    for office in &subject.offices {
        if office.need(&signed).is_none() {
            continue;
        }
        for (_, role) in &office.roles {
            let has = role.keys().iter().filter(|key| signed.contains(key)).count();
            let mut held = ring.held(role.keys())?;
            held.retain(|held| !signed.contains(&held.key));
            held.truncate(role.threshold().saturating_sub(has));
            signed.extend(held.iter().map(|held| held.key));
            let is_found = !held.is_empty();
            able.extend(held);
            if is_found || reach == Reach::First {
                break;
            }
        }
    }
    Ok(able)
}

/// Makes sure that this machine signed nothing else under the number.
fn check_number(session: &Session, subject: &Subject) -> Result<(), Error> {
    let head = Ledger::open(session.state()?)?.head(&subject.line)?;
    match head.filter(|head| head.seq >= subject.n && head.entry != subject.id()) {
        None => Ok(()),
        Some(head) => Err(Error::conflict(
            format!(
                "this machine signed another statement {} in the same place: {}",
                head.seq,
                head.entry.short(16)
            ),
            "let that one be completed, or give it up: `pkg id abandon FILE`; its files are in the folder `pending`",
        )),
    }
}

fn note(session: &Session, subject: &Subject) -> Result<(), Error> {
    let head = Head { seq: subject.n, entry: subject.id(), place: String::new(), shown: true };
    Ledger::open(session.state()?)?.note(&subject.line, &head, &subject.envelope)
}

/// Makes a complete statement the newest of its line on this machine.
fn take(session: &Session, ring: &mut Ring<'_>, subject: &Subject) -> Result<(), Error> {
    match &subject.content {
        Content::Identity(document) => {
            let chain = extended(session, subject, document)?;
            note(session, subject)?;
            keep_chain(session.store()?, &chain, session)?;
            register(session, ring, &chain, subject.own_name())?;
        }
        Content::Grants => {
            note(session, subject)?;
            granting::keep(session, session.store()?, subject.identity, &subject.envelope)?;
        }
        Content::Entry(_) => return file(session, subject).map(drop), // the next publication takes it
    }
    Ok(disk::remove(&waiting_path(session, subject))?)
}

fn extended(session: &Session, subject: &Subject, document: &Identity) -> Result<Chain, Error> {
    let signed: Signed<Identity> = subject.envelope.clone().typed()?;
    let Some(mut chain) = try_chain(session, subject.identity)? else {
        return Ok(Chain::begin(subject.identity, &signed)?);
    };
    if document.n == chain.head().n + 1 {
        chain.extend(&signed)?;
    }
    Ok(chain)
}

/// Notes an identity as the user's if a key of it is here.
pub(super) fn register(
    session: &Session,
    ring: &mut Ring<'_>,
    chain: &Chain,
    name: Option<String>,
) -> Result<(), Error> {
    let mut registry = Registry::read(session)?;
    let known = registry.identities();
    let held = ring.held(&super::change::keys_of(chain.head()))?;
    if held.is_empty() || known.iter().any(|own| own.id == chain.id()) {
        return Ok(());
    }
    let base = name.unwrap_or_else(|| chain.id().short(16));
    let numbered = (2u32..).map(|n| format!("{base}-{n}"));
    let mut names = std::iter::once(base.clone()).chain(numbered);
    let name = names.find(|name| known.iter().all(|own| own.name != *name)).expect("some number is free");
    registry.add_identity(&Own { name, id: chain.id() });
    held.into_iter().for_each(|held| registry.add_key(held));
    registry.write(session)
}

fn waiting_path(session: &Session, subject: &Subject) -> PathBuf {
    let name = match &subject.content {
        Content::Entry(entry) => entry.name.to_component(),
        _ => super::look::name_of(session, subject).unwrap_or_else(|| subject.identity.short(16)),
    };
    let (kind, n, short) = (subject.envelope.kind().word(), subject.n, subject.id().short(8));
    session.home().join("pending").join(format!("{name}-{kind}-{n}-{short}.{ENDING}"))
}

fn file(session: &Session, subject: &Subject) -> Result<Waiting, Error> {
    let file = waiting_path(session, subject);
    disk::make_folder(&session.home().join("pending"))?;
    disk::write_whole(&file, &subject.envelope.encode())?;
    Ok(Waiting { file, statement: subject.id(), needs: subject.needs() })
}

fn read_waiting(session: &Session, subject: &Subject) -> Result<Option<Envelope>, Error> {
    let Some(bytes) = disk::try_read(&waiting_path(session, subject), ENVELOPE_BYTES_MAX)? else {
        return Ok(None);
    };
    Ok(Envelope::decode(&bytes).ok().filter(|envelope| envelope.id() == subject.id()))
}

/// An entry that one machine alone cannot sign: the one of the same content that waits already, if there
/// is one, with what signatures it has.
pub(super) fn entry(
    session: &Session,
    ring: &mut Ring<'_>,
    entry: Entry,
) -> Result<(Entry, Signed<Entry>), Error> {
    let waiting = waiting_entries(session)?.into_iter().find(|(_, waiting)| {
        Entry { created: Timestamp::EPOCH, ..waiting.clone() }
            == Entry { created: Timestamp::EPOCH, ..entry.clone() }
    });
    let (envelope, entry) = match waiting {
        Some(waiting) => waiting,
        None => (Signed::sign(&entry, &[])?.envelope().clone(), entry),
    };
    let (subject, waiting) = settle(session, ring, Subject::read(session, envelope)?)?;
    match waiting {
        None => Ok((entry, subject.envelope.typed()?)),
        Some(waiting) => {
            let file = waiting.file.display();
            let what = format!("entry {} of {} waits for {}", entry.seq, entry.name, missing(&waiting.needs));
            let hint = format!(
                "`pkg sign {file}` where other keys are, `pkg id apply` it here, then repeat the command"
            );
            Err(Error::Refused { code: "E-SIG", what, hint })
        }
    }
}

fn waiting_entries(session: &Session) -> Result<Vec<(Envelope, Entry)>, Error> {
    let entries = envelopes(session)?.into_iter().map(|(_, envelope)| envelope);
    let entries = entries.filter(|envelope| envelope.kind() == Kind::Entry);
    let parsed = entries.filter_map(|envelope| parse(&envelope).ok().map(|entry| (envelope, entry)));
    Ok(parsed.collect())
}

/// What is in the folder, as far as it can be read.
fn envelopes(session: &Session) -> Result<Vec<(PathBuf, Envelope)>, Error> {
    let folder = session.home().join("pending");
    let mut found = Vec::new();
    for name in disk::list(&folder)? {
        let path = folder.join(name);
        let bytes = disk::try_read(&path, ENVELOPE_BYTES_MAX)?;
        found.extend(bytes.and_then(|bytes| Envelope::decode(&bytes).ok()).map(|envelope| (path, envelope)));
    }
    Ok(found)
}

/// The statements of an identity that wait for signatures here.
pub(super) fn waiting_of(session: &Session, id: IdentityId) -> Result<Vec<Waiting>, Error> {
    let all = envelopes(session)?.into_iter();
    let read = all.filter_map(|(file, envelope)| Some((file, Subject::read(session, envelope).ok()?)));
    let own = read.filter(|(_, subject)| subject.identity == id && !subject.is_complete());
    Ok(own.map(|(file, subject)| Waiting { file, statement: subject.id(), needs: subject.needs() }).collect())
}

/// `1 more signature of role root`.
pub(super) fn missing(needs: &[Need]) -> String {
    let one = |need: &Need| {
        let s = if need.missing == 1 { "" } else { "s" };
        format!("{} more signature{s} of the role {}", need.missing, need.role)
    };
    needs.iter().map(one).collect::<Vec<_>>().join(" and ")
}

fn single(path: &Path) -> Result<Envelope, Error> {
    if carry::is_export(path)? {
        return Err(Error::usage(
            format!("{} holds all documents of an identity", path.display()),
            "`pkg id apply` takes such a file",
        ));
    }
    let bytes = disk::try_read(path, ENVELOPE_BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| Error::not_found(path.display(), "name a file"))?;
    Ok(Envelope::decode(&bytes).map_err(SignedError::from)?)
}

/// What is in a file, whose signatures it has, and whose it needs. Signs nothing.
///
/// # Errors
/// If it is malformed, of another kind, or does not follow what this machine knows.
pub fn read_file(session: &Session, path: &Path) -> Result<Read, Error> {
    let subject = Subject::read(session, single(path)?)?;
    let held = able(&mut Ring::new(session)?, &subject, Reach::Any)?;
    Ok(Read {
        file: path.to_owned(),
        statement: subject.id(),
        kind: subject.envelope.kind().word(),
        signed: signed_by(&subject.envelope).into_iter().collect(),
        needs: subject.needs(),
        says: subject.says,
        held,
    })
}

/// Adds the signatures of the keys here to the file, which has to hold the statement `shown`.
///
/// # Errors
/// `Conflict` if the file changed, or this machine signed another statement in its place; `E-SIG` if none
/// of the keys it needs is here.
pub fn sign_file(session: &Session, path: &Path, shown: StatementId) -> Result<Signing, Error> {
    let _lock = alone(session)?;
    let mut ring = Ring::new(session)?;
    let mut subject = Subject::read(session, single(path)?)?;
    if subject.id() != shown {
        return Err(Error::conflict(format!("{} changed meanwhile", path.display()), "look at it again"));
    }
    let was_complete = subject.is_complete();
    let added = add_signatures(session, &mut ring, &mut subject, Reach::Any)?;
    if added.is_empty() && !was_complete {
        let needs = subject.needs();
        let keys: Vec<String> = needs.iter().flat_map(|need| &need.of).map(ToString::to_string).collect();
        return Err(Error::Refused {
            code: "E-SIG",
            what: format!("it waits for {}; none of those keys is on this machine", missing(&needs)),
            hint: format!("it takes one of {}", keys.join(", ")),
        });
    }
    disk::write_whole(path, &subject.envelope.encode())?;
    Ok(outcome(path, subject, added))
}

pub(super) fn outcome(path: &Path, subject: Subject, added: Vec<HeldKey>) -> Signing {
    Signing {
        file: path.to_owned(),
        statement: subject.id(),
        identity: subject.identity,
        needs: subject.needs(),
        says: subject.says,
        added,
        then: None,
        put: Vec::new(),
    }
}

/// Takes complete statements: documents of identities, grants, entries that wait here. Copies of one
/// statement with different signatures are joined. Then puts what they changed into `to`.
///
/// # Errors
/// `E-SIG` if one has too few signatures; as [`read_file`].
pub fn apply(session: &Session, files: &[PathBuf], to: &[PathBuf]) -> Result<Vec<Signing>, Error> {
    let mut joined: Vec<(PathBuf, Envelope)> = Vec::new();
    let mut outcomes = Vec::new();
    for path in files {
        if carry::is_export(path)? {
            outcomes.push(carry::import(session, path)?);
            continue;
        }
        let envelope = single(path)?;
        match joined.iter_mut().find(|(_, known)| known.id() == envelope.id()) {
            Some((_, known)) => *known = merge(known, &envelope)?,
            None => joined.push((path.clone(), envelope)),
        }
    }
    for (path, envelope) in joined {
        outcomes.push(apply_one(session, &path, envelope)?);
    }
    if let Some(last) = outcomes.last_mut() {
        last.put = put::all(session, last.identity, to)?;
    }
    Ok(outcomes)
}

fn apply_one(session: &Session, path: &Path, envelope: Envelope) -> Result<Signing, Error> {
    let _lock = alone(session)?;
    let mut ring = Ring::new(session)?;
    let mut subject = Subject::read(session, envelope)?;
    if let Some(earlier) = read_waiting(session, &subject)? {
        subject.envelope = merge(&subject.envelope, &earlier)?;
    }
    if !subject.is_complete() {
        return Err(Error::Refused {
            code: "E-SIG",
            what: format!("{} waits for {}", path.display(), missing(&subject.needs())),
            hint: "gather them with `pkg sign FILE` on the machines of those who hold the keys".into(),
        });
    }
    let before = granting::admins(session, subject.identity)?;
    take(session, &mut ring, &subject)?;
    let then = match &subject.content {
        Content::Entry(entry) => Some(match entry.release() {
            Some(_) => "publish the same content again: it uses this entry".to_owned(),
            None => "repeat the command that made it: it uses this entry".to_owned(),
        }),
        _ if before.is_some() && before != granting::admins(session, subject.identity)? => Some(
            "the role admin changed: one of you signs the grants anew, `pkg id grants --renew`".to_owned(),
        ),
        _ => None,
    };
    Ok(Signing { then, ..outcome(path, subject, Vec::new()) })
}

/// Gives up a statement that waits: its number is free again. Whoever has it complete can still use it.
///
/// # Errors
/// `Conflict` if it was taken already.
pub fn abandon(session: &Session, path: &Path) -> Result<StatementId, Error> {
    let _lock = alone(session)?;
    let envelope = single(path)?;
    let subject = Subject::read(session, envelope)?;
    let is_taken = match &subject.content {
        Content::Identity(document) => try_chain(session, subject.identity)?
            .is_some_and(|chain| chain.at(document.n).is_some_and(|taken| taken.id() == subject.id())),
        Content::Grants => granting::newest(session, &super::chain(session, subject.identity)?)?
            .is_some_and(|newest| newest.id() == subject.id()),
        Content::Entry(_) => false,
    };
    if is_taken {
        return Err(Error::conflict("it was taken already", "the next document can change what it says"));
    }
    Ledger::open(session.state()?)?.forget(&subject.line, subject.id())?;
    disk::remove(&waiting_path(session, &subject))?;
    Ok(subject.id())
}
