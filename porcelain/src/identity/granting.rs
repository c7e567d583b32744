//! Grants of one's own: giving, listing, ending.
//!
//! The documents are a chain of their own, signed by the admin role, kept under `refs/grants/<issuer>`
//! in the user's store and, once published, in repositories.
//!
//! Promises: what ended stays in the document, with the checkpoint up to which it counts.
//! Leaves to others: what a grant is worth (`plumbing::trust`).

use super::change::{Changed, Options, changed};
use super::checkpoint::{self, GoodUntil, Wanted};
use super::keys::Ring;
use super::pending::{self, Waiting};
use super::put;
use super::registry::Own;
use super::subject::{Subject, grants_line};
use super::{alone, chain, grants_ref, own_statement, try_chain, words};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::session::Session;
use objects::grants::{Ended, Grant, Grants, Permission};
use objects::id::{GrantId, IdentityId, Prefix, StatementId};
use objects::identity::{Chain, Role};
use objects::pattern::NamePattern;
use objects::refs::{PreviousValue, RefEdit};
use objects::repository::Repository;
use objects::signed::{Envelope, Signed, Verified};
use objects::time::Timestamp;
use plumbing::sync::serve::previous;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What a grant is to say.
#[derive(Clone, Debug)]
pub struct Terms {
    /// For which names.
    pub names: Vec<NamePattern>,
    /// What may be done.
    pub permissions: BTreeSet<Permission>,
    /// How often it may be handed on.
    pub depth: u32,
    /// True if a search looks no further than beneath it.
    pub terminating: bool,
    /// From when on; now if absent.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// A grant, as listings show it.
#[derive(Clone, Debug, Serialize)]
pub struct GrantLine {
    /// The grant.
    pub grant: GrantId,
    /// Its terms, in words.
    pub says: String,
    /// `counts`, `not yet`, `over` or `ended`.
    pub state: &'static str,
    /// The terms.
    pub terms: Grant,
}

/// The newest grants of an identity that this machine knows, or None.
pub(super) fn newest(session: &Session, chain: &Chain) -> Result<Option<Verified<Grants>>, Error> {
    let store: &Repository = session.store()?;
    let kept = match store.refs().try_find(&grants_ref(chain.id()))? {
        Some(id) => store.statements().try_find(id)?,
        None => None,
    };
    let signed = Ledger::open(session.state()?)?.head(&grants_line(chain.id()))?;
    let signed = match signed {
        Some(head) => own_statement(session, head.entry)?,
        None => None,
    };
    let verified = |envelope: Envelope| {
        let signed: Signed<Grants> = envelope.typed().ok()?;
        let verified = chain.verify_by_any(&signed, "admin").ok()?;
        (verified.issuer == chain.id()).then_some(verified)
    };
    // What waits for signatures does not stand yet.
    let both = kept.into_iter().chain(signed).filter_map(verified);
    Ok(both.max_by_key(|grants| grants.n))
}

/// Keeps grants and those before them in `repository`, and points its ref at them.
pub(super) fn keep(
    session: &Session,
    repository: &Repository,
    issuer: IdentityId,
    newest: &Envelope,
) -> Result<(), Error> {
    let mut all = vec![newest.clone()];
    while let Some(before) = all.last().and_then(previous) {
        if repository.statements().try_find(before)?.is_some() {
            break;
        }
        let missing = || objects::statements::Error::Missing(before);
        all.push(own_statement(session, before)?.ok_or_else(missing)?);
    }
    repository.statements().insert_all(all.iter().rev())?;
    let edit = RefEdit {
        name: grants_ref(issuer),
        previous: PreviousValue::Any,
        new: Some(newest.id()),
        message: "grants".into(),
    };
    Ok(repository.refs().edit(&[edit], session.now())?)
}

/// The role that signs grants, if the identity is known here.
pub(super) fn admins(session: &Session, id: IdentityId) -> Result<Option<Role>, Error> {
    let Some(chain) = try_chain(session, id)? else { return Ok(None) };
    Ok(newest(session, &chain)?.map(|_| chain.head().roles.admin.clone()))
}

/// The document after the newest, which changes nothing yet.
fn next(session: &Session, chain: &Chain, last: Option<&Verified<Grants>>) -> Grants {
    Grants {
        issuer: chain.id(),
        issuer_n: chain.head().n,
        n: last.map_or(0, |last| last.n + 1),
        prev: last.map(|last| last.id()),
        grants: last.map(|last| last.grants.clone()).unwrap_or_default(),
        ended: last.map(|last| last.ended.clone()).unwrap_or_default(),
        created: last.map_or(session.now(), |last| session.now().max(last.created)),
    }
}

fn settle(
    session: &Session,
    ring: &mut Ring<'_>,
    document: &Grants,
) -> Result<(Subject, Option<Waiting>), Error> {
    let envelope = Signed::sign(document, &[])?.envelope().clone();
    pending::settle(session, ring, Subject::read(session, envelope)?)
}

fn conclude(session: &Session, own: &Own, document: &Grants, to: &[PathBuf]) -> Result<Changed, Error> {
    let (subject, waiting) = settle(session, &mut Ring::new(session)?, document)?;
    let put = match waiting {
        None => put::all_locked(session, own.id, to)?,
        Some(_) => Vec::new(),
    };
    Ok(changed(own, &subject, waiting, put))
}

/// Lets `who` act for some names of `own`.
///
/// # Errors
/// `Conflict` if the same grant stands or has ended; `Usage` for terms that make no sense.
pub fn grant(
    session: &Session,
    own: &Own,
    who: IdentityId,
    terms: &Terms,
    options: &Options,
) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let chain = chain(session, own.id)?;
    let last = newest(session, &chain)?;
    let mut document = next(session, &chain, last.as_ref());
    let given = Grant {
        to: who,
        names: terms.names.clone(),
        permissions: terms.permissions.clone(),
        depth: terms.depth,
        terminating: terms.terminating,
        from: terms.from.unwrap_or(session.now()),
        until: terms.until,
    };
    let alike = |present: &Grant| Grant { from: given.from, ..present.clone() } == given;
    if let Some(present) = document.grants.iter().find(|present| alike(present)) {
        return Err(Error::conflict(
            format!("that is granted already: {}", present.id(own.id).short(16)),
            "`pkg id grants` lists what is granted",
        ));
    }
    let id = given.id(own.id);
    document.grants.push(given);
    if let Err(error) = objects::signed::Document::check(&document) {
        return Err(Error::usage(error, "`pkg id grant --help` explains the terms"));
    }
    let changed = conclude(session, own, &document, &options.to)?;
    Ok(Changed { grant: Some(id), ..changed })
}

/// Ends grants: one by the beginning of its id, or all to one identity. What was done under them counts up
/// to what this machine knows, or what `good_until` says.
///
/// # Errors
/// `NotFound` if none fits.
pub fn ungrant(session: &Session, own: &Own, which: &str, options: &Options) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let chain = chain(session, own.id)?;
    let last = newest(session, &chain)?;
    let mut document = next(session, &chain, last.as_ref());
    let which_ones = Which::read(session, which)?;
    let (ends, stay): (Vec<Grant>, Vec<Grant>) =
        document.grants.into_iter().partition(|grant| which_ones.fits(grant, own.id));
    if ends.is_empty() {
        return Err(Error::not_found(
            format!("a grant of {} that fits {which}", own.name),
            "`pkg id grants` lists them with their ids",
        ));
    }
    for grant in ends {
        let checkpoint = receiver_checkpoint(session, own.id, grant.to, options)?;
        document.ended.push(Ended { grant, checkpoint });
    }
    document.grants = stay;
    conclude(session, own, &document, &options.to)
}

fn receiver_checkpoint(
    session: &Session,
    owner: IdentityId,
    signer: IdentityId,
    options: &Options,
) -> Result<Vec<objects::release::LogHead>, Error> {
    let good_until: &[GoodUntil] = &options.good_until;
    let wanted =
        Wanted { signer, owner: Some(owner), repositories: &options.to, own_only: false, good_until };
    checkpoint::make(session, &wanted)
}

/// Which grants a user means.
enum Which {
    /// All to this identity.
    To(IdentityId),
    /// The one whose id begins so.
    Begins(Prefix),
}

impl Which {
    fn read(session: &Session, text: &str) -> Result<Which, Error> {
        match super::look::find(session, text) {
            Ok(who) => Ok(Which::To(who)),
            Err(error) => Ok(Which::Begins(text.parse().map_err(|_| error)?)),
        }
    }

    fn fits(&self, grant: &Grant, issuer: IdentityId) -> bool {
        match self {
            Which::To(who) => grant.to == *who,
            Which::Begins(prefix) => prefix.matches(&grant.id(issuer).object()),
        }
    }
}

/// Signs the grants anew by the present admin role, with nothing changed in them; None if nothing is
/// granted or nothing has to wait. The caller holds the lock on signing.
pub(super) fn renew(session: &Session, ring: &mut Ring<'_>, own: &Own) -> Result<Option<Waiting>, Error> {
    let chain = chain(session, own.id)?;
    let Some(last) = newest(session, &chain)? else { return Ok(None) };
    Ok(settle(session, ring, &next(session, &chain, Some(&last)))?.1)
}

/// Signs the grants anew, for after a change of the admin role.
///
/// # Errors
/// `NotFound` if nothing was ever granted.
pub fn renew_grants(session: &Session, own: &Own, to: &[PathBuf]) -> Result<Changed, Error> {
    let _lock = alone(session)?;
    let chain = chain(session, own.id)?;
    let last = newest(session, &chain)?;
    let last =
        last.ok_or_else(|| Error::not_found(format!("a grant of {}", own.name), "`pkg id grant` gives one"))?;
    conclude(session, own, &next(session, &chain, Some(&last)), to)
}

/// What an identity grants, and what of it ended.
///
/// # Errors
/// If its documents cannot be read.
pub fn grants_of(session: &Session, id: IdentityId) -> Result<Vec<GrantLine>, Error> {
    let Some(newest) = newest(session, &chain(session, id)?)? else { return Ok(Vec::new()) };
    let now = session.now();
    let line = |grant: &Grant, state| GrantLine {
        grant: grant.id(id),
        says: words::terms(grant),
        state,
        terms: grant.clone(),
    };
    let state = |grant: &Grant| match grant {
        grant if grant.covers(now) => "counts",
        grant if grant.from > now => "not yet",
        _ => "over",
    };
    let live = newest.grants.iter().map(|grant| line(grant, state(grant)));
    Ok(live.chain(newest.ended.iter().map(|ended| line(&ended.grant, "ended"))).collect())
}

/// The statements of an identity's grants, oldest first.
pub(super) fn documents(session: &Session, chain: &Chain) -> Result<Vec<Envelope>, Error> {
    let mut found = Vec::new();
    let mut next: Option<StatementId> = newest(session, chain)?.map(|newest| newest.id());
    while let Some(id) = next {
        let envelope = own_statement(session, id)?.ok_or(objects::statements::Error::Missing(id))?;
        next = previous(&envelope);
        found.push(envelope);
    }
    found.reverse();
    Ok(found)
}
