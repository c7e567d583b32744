//! The log of (package, signer): steps 13 and 14.
//!
//! ```text
//!            known here                    new
//!   … ── 7 ── 8 ── 9 (stored head) ── 10 ── 11 (the index names it)
//!        │                │                  │
//!        wanted           must be 10's prev  walk begins
//! ```
//!
//! New entries are walked from the index's head down to the stored one; older ones, once they are
//! asked for, from the oldest known one down. Each entry is fetched and checked once a machine.

use super::error::{At, Error};
use super::judge::{Judge, NUMBER_MAX, Office, RELEASE, ROOT, verify_by_any};
use super::state::{Advance, Head, Line, Log, Position};
use super::statements::{Statements, find};
use super::withdrawn;
use objects::claim::{LogRow, VersionRow};
use objects::id::StatementId;
use objects::identity::Chain;
use objects::release::{Action, Entry};
use objects::signed::{Kind, Signed, Verified};

/// Most entries followed in one walk: several a day for a decade.
const LOG_WALK_MAX: u64 = 16_384;

/// A log, and where its entries come from.
pub(super) struct Source<'a> {
    pub(super) log: &'a Log,
    /// Who signs the log.
    pub(super) signer: &'a Chain,
    pub(super) statements: &'a dyn Statements,
    pub(super) origin: &'a str,
}

impl Source<'_> {
    fn at(&self, step: u8, id: StatementId) -> Box<At> {
        At::new(step, Kind::Entry, id, self.origin)
    }
}

/// The entry `row` names, in its place in the log whose head the index lists as `listed`.
pub(super) fn entry(
    judge: &Judge<'_>,
    source: &Source<'_>,
    listed: &LogRow,
    row: &VersionRow,
) -> Result<Verified<Entry>, Error> {
    let at = |step| source.at(step, row.entry);
    if row.seq > listed.seq {
        return Err(Error::Mismatch { at: at(14), why: "the index says its log ends before it" });
    }
    if listed.seq > NUMBER_MAX {
        return Err(Error::Limit { at: at(14), what: "numbers", max: NUMBER_MAX });
    }
    take_new(judge, source, listed, row.seq)?;
    take_old(judge, source, row.seq)?;
    let entry = checked(source, Head { n: row.seq, id: row.entry })?;
    judge.check_dated(entry.created, || at(1))?; // of this one only: others of its log count by their place
    in_its_place(judge, source, &entry)?;
    judge.not_forked(source.log, row.seq, || at(14))?;
    counts(judge, source, &entry)?;
    Ok(entry)
}

/// Takes a whole log up to the head the index lists, whichever of its entries is wanted.
pub(super) fn follow(judge: &Judge<'_>, source: &Source<'_>, listed: &LogRow) -> Result<(), Error> {
    if listed.seq > NUMBER_MAX {
        let at = source.at(14, listed.entry);
        return Err(Error::Limit { at, what: "numbers", max: NUMBER_MAX });
    }
    take_new(judge, source, listed, 0)?;
    take_old(judge, source, 0)?;
    judge.not_forked(source.log, listed.seq, || source.at(14, listed.entry))
}

/// Walks from the head the index lists down to the stored one, or on first use to `wanted`, and
/// keeps what it meets.
fn take_new(judge: &Judge<'_>, source: &Source<'_>, listed: &LogRow, wanted: u64) -> Result<(), Error> {
    let line = Line::Log(source.log.clone());
    let to = Head { n: listed.seq, id: listed.entry };
    loop {
        let stored = judge.state.head(&line)?;
        if let Some(seen) = stored.map(|head| head.n).filter(|seen| *seen > to.n) {
            return Err(Error::Rollback { at: source.at(14, to.id), seen, offered: to.n });
        }
        if stored == Some(to) {
            return Ok(());
        }
        let walk = walk(source, to, stored.map_or(wanted, |head| head.n), stored)?;
        let newest = &walk.newest;
        if let Some(stored) = stored.filter(|_| !walk.joined) {
            return Err(fork(judge, source, stored.id, &walk.oldest)?);
        }
        let (envelope, positions) = (newest.envelope(), walk.positions.as_slice());
        let advance = Advance { line: &line, from: stored, to, envelope, positions };
        if judge.state.advance(&advance, judge.not_ahead(newest.created))? {
            return Ok(());
        }
    }
}

/// Walks from the oldest known entry down to `wanted`, and keeps what it meets.
fn take_old(judge: &Judge<'_>, source: &Source<'_>, wanted: u64) -> Result<(), Error> {
    let line = Line::Log(source.log.clone());
    let oldest = judge.state.oldest_entry(source.log)?.map(|(n, id)| Head { n, id });
    let Some(from) = oldest.or(judge.state.head(&line)?) else { return Ok(()) };
    if oldest.is_some_and(|oldest| oldest.n <= wanted) {
        return Ok(());
    }
    let walk = walk(source, from, wanted.min(from.n), None)?;
    Ok(judge.state.insert_entries(source.log, &walk.positions)?)
}

/// A run of entries, newest first, each checked and linked to the next.
struct Walk {
    newest: Verified<Entry>,
    oldest: Verified<Entry>,
    positions: Vec<Position>,
    /// True if the entry before the oldest is the one the walk was to meet.
    joined: bool,
}

/// Follows `prev` from `from` down to the entry with number `to`, or until it meets `known`.
fn walk(source: &Source<'_>, from: Head, to: u64, known: Option<Head>) -> Result<Walk, Error> {
    if from.n - to >= LOG_WALK_MAX {
        return Err(Error::Limit { at: source.at(14, from.id), what: "log entries", max: LOG_WALK_MAX });
    }
    let newest = checked(source, from)?;
    let mut positions = vec![Position::of(&newest)];
    let mut oldest = newest.clone();
    while oldest.seq > to {
        let id = oldest.prev.expect("an entry above the first has a previous one; its check says so");
        let prev = Head { n: oldest.seq - 1, id };
        if known == Some(prev) {
            return Ok(Walk { newest, oldest, positions, joined: true });
        }
        oldest = checked(source, prev)?;
        positions.push(Position::of(&oldest));
    }
    Ok(Walk { newest, oldest, positions, joined: false })
}

/// Fetches an entry and checks it by itself: signature at the signer's n, package, owner, number.
/// Whether a withdrawn key may have signed it is for [`counts`], which needs the log around it.
fn checked(source: &Source<'_>, head: Head) -> Result<Verified<Entry>, Error> {
    let at = |step| source.at(step, head.id);
    let signed: Signed<Entry> = find(source.statements, head.id, 13, source.origin)?;
    // The signer's n stands inside; nothing is read before a role of the signer's holds.
    let entry = verify_by_any(&signed, source.signer, &RELEASE, || at(13))
        .or_else(|error| verify_by_any(&signed, source.signer, &ROOT, || at(13)).map_err(|_| error))?;
    in_scope(source, &entry)?;
    let Some(document) = source.signer.at(entry.signer_n) else {
        let (seen, offered) = (entry.signer_n, source.signer.head().n);
        let at = At::new(9, Kind::Identity, source.signer.head().id(), source.origin);
        return Err(Error::Rollback { at, seen, offered });
    };
    let office = office_of(&entry);
    signed.verify((office.of)(document), office.name).map_err(|source| Error::signed(at(13), source))?;
    if entry.seq != head.n {
        return Err(Error::Mismatch { at: at(14), why: "it has another number than its place in the log" });
    }
    Ok(entry)
}

/// Which role an entry needs: a package is handed on by root alone.
fn office_of(entry: &Entry) -> Office {
    match entry.action {
        Action::Transfer { .. } => ROOT,
        Action::Release(_) | Action::Yank { .. } | Action::Unyank { .. } => RELEASE,
    }
}

/// Step 14, first half: it is of this package and this log.
fn in_scope(source: &Source<'_>, entry: &Verified<Entry>) -> Result<(), Error> {
    let Log { owner, name, signer } = source.log;
    let why = if entry.owner != *owner || entry.name != *name {
        "it is of another package"
    } else if entry.signer != *signer {
        "it is of another log"
    } else {
        return Ok(());
    };
    Err(Error::Scope { at: source.at(14, entry.id()), why })
}

/// Two entries with one number are a fork; otherwise the entry is the one its log has there.
fn in_its_place(judge: &Judge<'_>, source: &Source<'_>, entry: &Verified<Entry>) -> Result<(), Error> {
    match judge.state.entry_at(source.log, entry.seq)? {
        Some(known) if known != entry.id() => Err(fork(judge, source, known, entry)?),
        Some(_) => Ok(()),
        None => {
            let why = "its place in the log is not known"; // another command gave the branch up just now
            Err(Error::Mismatch { at: source.at(14, entry.id()), why })
        }
    }
}

fn fork(
    judge: &Judge<'_>,
    source: &Source<'_>,
    known: StatementId,
    sibling: &Verified<Entry>,
) -> Result<Error, Error> {
    let line = Line::Log(source.log.clone());
    let head = judge.state.head_envelope(&line)?.filter(|envelope| envelope.id() == known);
    let ours = match head {
        Some(envelope) => envelope,
        None => find::<Entry>(source.statements, known, 14, source.origin)?.envelope().clone(),
    };
    let at = source.at(14, sibling.id());
    judge.fork((&line, sibling.seq), &ours, sibling.envelope(), at)
}

/// Step 13: a key since withdrawn counts only up to its checkpoint.
fn counts(judge: &Judge<'_>, source: &Source<'_>, entry: &Verified<Entry>) -> Result<(), Error> {
    let at = || source.at(13, entry.id());
    let newest = source.signer.head();
    let document = source.signer.at(entry.signer_n).expect("checked before: its n is in the chain");
    let entry_at = |seq| judge.state.entry_at(source.log, seq);
    let place = (source.log, entry.seq);
    let office = office_of(entry);
    let stated = (office.of)(document);
    let role = withdrawn::covering(stated, newest, place, entry_at)?;
    let role = role.ok_or_else(|| Error::Withdrawn { at: at() })?;
    if role == *stated {
        return Ok(()); // as it was checked already
    }
    let signed: Signed<Entry> =
        entry.envelope().clone().typed().expect("it was an entry when it was checked");
    match signed.verify(&role, office.name) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Withdrawn { at: at() }),
    }
}
