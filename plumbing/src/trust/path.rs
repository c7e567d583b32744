//! The path of grants from a package's owner to who signed: steps 11 and 12.
//!
//! ```text
//! owner ─ grant ─ delegate ─ grant ─ … ─ signer        at most 4 grants
//! ```
//!
//! Grants are followed in the order in which their issuers list them, depth first; those that ended come
//! after those that count. A grant is followed only if the path up to it allows the entry: its name, its
//! action and its time. So the scope of a path is the intersection of its grants, and what was found on
//! one path says nothing about another (SEC-058 to SEC-061).
//!
//! Follows the pre-order depth-first search of The Update Framework (TUF 1.0, section 5.6.7).

use super::error::{At, Error};
use super::judge::Judge;
use super::state::Log;
use super::statements::Statements;
use super::withdrawn;
use objects::claim::{GrantsRow, IdentityRow};
use objects::grants::{Grant, Grants, Permission};
use objects::id::{GrantId, IdentityId};
use objects::identity::Chain;
use objects::limits::{GRANT_DEPTH_MAX, GRANT_SEARCH_MAX};
use objects::name::PackageName;
use objects::release::Entry;
use objects::signed::{Kind, Verified};
use objects::time::Timestamp;
use std::collections::HashSet;

/// What an accepted index names of identities and of what they grant.
pub trait Directory {
    /// The newest document of an identity.
    ///
    /// # Errors
    /// If the index cannot be read.
    fn identity(&self, id: IdentityId) -> Result<Option<IdentityRow>, Error>;

    /// The newest grants of an identity.
    ///
    /// # Errors
    /// If the index cannot be read.
    fn grants(&self, id: IdentityId) -> Result<Option<GrantsRow>, Error>;
}

/// A directory that names nobody: what this machine knows by itself decides.
pub struct Unlisted;

impl Directory for Unlisted {
    fn identity(&self, _: IdentityId) -> Result<Option<IdentityRow>, Error> {
        Ok(None)
    }

    fn grants(&self, _: IdentityId) -> Result<Option<GrantsRow>, Error> {
        Ok(None)
    }
}

/// One grant on a path, and who gave it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who gave it.
    pub issuer: Chain,
    /// The document it stands in.
    pub document: Verified<Grants>,
    /// Its terms.
    pub grant: Grant,
}

impl Step {
    /// The grant's id.
    pub fn id(&self) -> GrantId {
        self.grant.id(self.issuer.id())
    }
}

/// What a search is about.
pub(super) struct Question<'a> {
    pub(super) name: &'a PackageName,
    pub(super) signer: IdentityId,
    pub(super) permission: Permission,
    /// When an index first listed the entry; or now, if none did.
    pub(super) listed: Timestamp,
    /// The entry's place: its log, and its number in it.
    pub(super) place: Option<(&'a Log, u64)>,
    /// The entry, for messages.
    pub(super) at: Box<At>,
}

/// Where a judge asks.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    /// What names the newest documents.
    pub directory: &'a dyn Directory,
    /// Where statements come from.
    pub statements: &'a dyn Statements,
    /// The source, as the user knows it.
    pub origin: &'a str,
}

/// The path that lets the signer of `entry` act for the package of `owner`.
pub(super) fn of_entry(
    judge: &Judge<'_>,
    owner: &Chain,
    entry: &Verified<Entry>,
    log: &Log,
    listed: Timestamp,
    places: Places<'_>,
) -> Result<Vec<Step>, Error> {
    let at = At::new(11, Kind::Entry, entry.id(), places.origin);
    let (name, signer) = (&entry.name, entry.signer);
    let Some(permission) = Permission::needed(&entry.action) else {
        return Err(Error::NoGrant {
            at,
            signer,
            name: name.clone(),
            why: "handing a package on is its owner's",
        });
    };
    let place = Some((log, entry.seq));
    find(judge, owner, Question { name, signer, permission, listed, place, at }, places)
}

/// The path that answers `question`; empty if the owner signs.
pub(super) fn find(
    judge: &Judge<'_>,
    owner: &Chain,
    question: Question<'_>,
    places: Places<'_>,
) -> Result<Vec<Step>, Error> {
    if question.signer == owner.id() {
        return Ok(Vec::new());
    }
    let seen = HashSet::from([owner.id()]);
    let mut search = Search { judge, question, places, seen, out_of_time: None, failure: None };
    let mut path = Vec::new();
    match search.beneath(owner, GRANT_DEPTH_MAX, &mut path)? {
        Found::Path => Ok(path),
        Found::Nothing | Found::Ended => Err(search.refusal()),
    }
}

struct Search<'a> {
    judge: &'a Judge<'a>,
    question: Question<'a>,
    places: Places<'a>,
    /// Each identity is looked at once.
    seen: HashSet<IdentityId>,
    /// Why a grant that fits otherwise does not count.
    out_of_time: Option<&'static str>,
    /// The first document that did not stand.
    failure: Option<Error>,
}

enum Found {
    Path,
    Nothing,
    /// A terminating grant fitted, and beneath it was nothing.
    Ended,
}

impl Search<'_> {
    /// Looks at what `issuer` grants; `room` grants may still follow.
    fn beneath(&mut self, issuer: &Chain, room: usize, path: &mut Vec<Step>) -> Result<Found, Error> {
        let Some(document) = self.document(issuer)? else { return Ok(Found::Nothing) };
        let live = document.grants.iter().map(|grant| (grant, self.in_window(grant)));
        let live: Vec<(&Grant, Option<&'static str>)> = live.collect();
        let mut ended = Vec::with_capacity(document.ended.len());
        for row in &document.ended {
            ended.push((&row.grant, self.ended_before(&row.checkpoint)?));
        }
        for (grant, out_of_time) in live.into_iter().chain(ended) {
            if !grant.fits(self.question.name, self.question.permission) {
                continue;
            }
            if out_of_time.is_some() {
                self.out_of_time = self.out_of_time.or(out_of_time.filter(|_| self.leads(grant)));
                continue;
            }
            path.push(Step { issuer: issuer.clone(), document: document.clone(), grant: grant.clone() });
            match self.through(grant, room - 1, path)? {
                Found::Nothing if !grant.terminating => drop(path.pop()),
                Found::Nothing | Found::Ended => return Ok(Found::Ended),
                Found::Path => return Ok(Found::Path),
            }
        }
        Ok(Found::Nothing)
    }

    /// Follows one grant that fits.
    fn through(&mut self, grant: &Grant, room: usize, path: &mut Vec<Step>) -> Result<Found, Error> {
        if grant.to == self.question.signer {
            return Ok(Found::Path);
        }
        let room = room.min(grant.depth as usize);
        if room == 0 || !self.seen.insert(grant.to) {
            return Ok(Found::Nothing);
        }
        if self.seen.len() > GRANT_SEARCH_MAX {
            let (at, max) = (self.question.at.clone(), GRANT_SEARCH_MAX as u64);
            return Err(Error::Limit { at, what: "identities on the way to its signer", max });
        }
        match self.chain(grant.to)? {
            Some(issuer) => self.beneath(&issuer, room, path),
            None => Ok(Found::Nothing),
        }
    }

    /// True if the grant could be the last of the path: of others it is not known where they lead.
    fn leads(&self, grant: &Grant) -> bool {
        grant.to == self.question.signer || grant.depth > 0
    }

    /// Step 12, for a grant that counts: the entry was first listed inside its window.
    fn in_window(&self, grant: &Grant) -> Option<&'static str> {
        let listed = self.question.listed;
        match (grant.covers(listed), listed < grant.from) {
            (true, _) => None,
            (false, true) => Some("its grant begins later"),
            (false, false) => Some("its grant is past its time"),
        }
    }

    /// Step 12, for a grant that ended: the checkpoint covers the entry.
    fn ended_before(&self, checkpoint: &[objects::release::LogHead]) -> Result<Option<&'static str>, Error> {
        let Some((log, seq)) = self.question.place else { return Ok(Some("its grant was ended")) };
        let entry_at = |seq| self.judge.state.entry_at(log, seq);
        let covered = withdrawn::covers(checkpoint, (log, seq), entry_at)?;
        Ok(Some("its grant was ended").filter(|_| !covered))
    }

    fn document(&mut self, issuer: &Chain) -> Result<Option<Verified<Grants>>, Error> {
        let Places { directory, statements, origin } = self.places;
        let row = directory.grants(issuer.id())?;
        let judged = self.judge.grants(issuer, row.as_ref(), statements, origin);
        self.or_note(judged)
    }

    fn chain(&mut self, id: IdentityId) -> Result<Option<Chain>, Error> {
        let Places { directory, statements, origin } = self.places;
        let row = directory.identity(id)?;
        let judged = self.judge.identity(id, row.as_ref(), statements, origin);
        self.or_note(judged.map(Some))
    }

    /// A document that does not stand ends the paths through it, not the search.
    fn or_note<T>(&mut self, judged: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
        match judged {
            Err(error @ Error::Database(_)) => Err(error),
            Err(error) => {
                self.failure.get_or_insert(error);
                Ok(None)
            }
            Ok(found) => Ok(found),
        }
    }

    fn refusal(self) -> Error {
        let Question { at, signer, name, .. } = self.question;
        match (self.failure, self.out_of_time) {
            (Some(failure), _) => failure,
            (None, Some(why)) => Error::OutOfTime { at, signer, name: name.clone(), why },
            (None, None) => {
                Error::NoGrant { at, signer, name: name.clone(), why: "none is for this name and action" }
            }
        }
    }
}
