//! A repository's word: steps 1 to 5 for one source.
//!
//! ```text
//! summary ─ owner's chain (steps 6-9) ─ index, beacon signed by their present roles
//!         ─ the beacon names this index ─ not dated ahead ─ not older, no fork, grown from ours ─ fresh
//!         ─ head and time kept ─ Accepted
//! ```

use super::Trusted;
use super::error::{At, Error};
use super::judge::{BEACON, INDEX, Judge, NUMBER_MAX, verify_by_any, verify_by_present};
use super::policy::Age;
use super::state::{Advance, Head, Line};
use super::statements::{Statements, find};
use objects::claim::{Beacon, Index, Repository, skip_distances};
use objects::id::StatementId;
use objects::identity::Chain;
use objects::signed::{Kind, Signed, Verified};
use objects::summary::Summary;
use objects::time::Timestamp;

/// What a source says of its repository, believed.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The head of the index.
    pub index: Trusted<Index>,
    /// The word that it is the newest.
    pub beacon: Verified<Beacon>,
    /// The distributor.
    pub owner: Chain,
    /// True if the source was not pinned: the caller shows the distributor, and pins.
    pub first_use: bool,
    /// True if this machine knew the index already.
    pub unchanged: bool,
    /// How long index or beacon are past their time, if the policy let that pass.
    pub stale_seconds: Option<u64>,
    /// What the user should be told.
    pub warnings: Vec<String>,
}

/// What was found out of one summary before anything of it is believed.
struct Candidate<'a> {
    line: Line,
    owner: Chain,
    index: Verified<Index>,
    beacon: Verified<Beacon>,
    statements: &'a dyn Statements,
    origin: &'a str,
}

impl Judge<'_> {
    /// Judges what a source says of its repository. `pinned` is the repository this source has to
    /// show, or None on first use; then `Accepted::first_use` is true, and the caller shows the
    /// distributor and pins with [`super::State::pin_repository`].
    ///
    /// # Errors
    /// `RepositoryChanged` if the source is pinned to another one; `Chain`, `Signed`, `Withdrawn` or
    /// `Scope` if the signers may not say it; `Future` if it is dated ahead; `Rollback` if this
    /// machine knows a newer one; `Fork` if it knows another one with that number, or one that
    /// this did not grow from; `Freeze` if it is past its time and the policy does not allow it.
    pub fn accept_summary(
        &self,
        summary: &Summary,
        pinned: Option<&Repository>,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Accepted, Error> {
        if let Some(pinned) = pinned.filter(|pinned| **pinned != summary.repository) {
            let (pinned, offered) = (Box::new(pinned.clone()), Box::new(summary.repository.clone()));
            return Err(Error::RepositoryChanged { origin: origin.to_owned(), pinned, offered });
        }
        let owner = self.distributor(summary, statements, origin)?;
        let candidate = self.candidate(summary, owner, statements, origin)?;
        self.fits_beacon(&candidate)?;
        let ages = [self.fresh_index(&candidate)?, self.fresh_beacon(&candidate)?];
        let unchanged = self.keep_index(&candidate)?;
        let stale_seconds = ages.into_iter().flatten().max();
        Ok(Accepted {
            warnings: self.warnings_of(&summary.repository, stale_seconds),
            index: Trusted(candidate.index),
            beacon: candidate.beacon,
            owner: candidate.owner,
            first_use: pinned.is_none(),
            unchanged,
            stale_seconds,
        })
    }

    /// Step 3: the chain of the repository's owner, kept if it is newer than what was known, even
    /// if the rest of the summary falls: it may revoke what the rest is signed with (SEC-057).
    fn distributor(
        &self,
        summary: &Summary,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Chain, Error> {
        let id = summary.repository.owner;
        let last = summary.owner.last().map_or(StatementId::new(id.object()), Signed::id);
        let chain = Chain::walk(id, &summary.owner);
        let chain = chain.map_err(|source| Error::chain(At::new(3, Kind::Identity, last, origin), source))?;
        self.keep_chain(&chain, statements, origin)?;
        self.check_expiry(&chain, origin)?;
        Ok(chain)
    }

    /// Steps 1 and 3: signatures, repository and dates of index and beacon.
    fn candidate<'a>(
        &self,
        summary: &Summary,
        owner: Chain,
        statements: &'a dyn Statements,
        origin: &'a str,
    ) -> Result<Candidate<'a>, Error> {
        let at_index = |step| At::new(step, Kind::Index, summary.index.id(), origin);
        let at_beacon = |step| At::new(step, Kind::Beacon, summary.beacon.id(), origin);
        let index = verify_by_present(&summary.index, &owner, &INDEX, || at_index(3))?;
        let beacon = verify_by_present(&summary.beacon, &owner, &BEACON, || at_beacon(3))?;
        let other = "it is of another repository";
        if index.repository != summary.repository {
            return Err(Error::Scope { at: at_index(3), why: other });
        }
        if beacon.repository != summary.repository {
            return Err(Error::Scope { at: at_beacon(3), why: other });
        }
        self.check_dated(index.created, || at_index(1))?;
        self.check_dated(beacon.created, || at_beacon(1))?;
        if index.n > NUMBER_MAX {
            return Err(Error::Limit { at: at_index(4), what: "numbers", max: NUMBER_MAX });
        }
        let line = Line::Index(summary.repository.clone());
        self.not_older(&line, &index, origin)?;
        Ok(Candidate { line, owner, index, beacon, statements, origin })
    }

    /// Step 4, first half, before anything else is said of an old index.
    fn not_older(&self, line: &Line, index: &Verified<Index>, origin: &str) -> Result<(), Error> {
        let seen = self.state.head(line)?.map(|head| head.n);
        match seen.filter(|seen| *seen > index.n) {
            Some(seen) => {
                let at = At::new(4, Kind::Index, index.id(), origin);
                Err(Error::Rollback { at, seen, offered: index.n })
            }
            None => Ok(()),
        }
    }

    /// The beacon has to name this index: a newer one makes the source stale, any other one is a
    /// mixture of two states (SEC-048).
    fn fits_beacon(&self, candidate: &Candidate<'_>) -> Result<(), Error> {
        let (index, beacon) = (&candidate.index, &candidate.beacon);
        if beacon.n > index.n {
            let at = At::new(4, Kind::Index, index.id(), candidate.origin);
            return Err(Error::Rollback { at, seen: beacon.n, offered: index.n });
        }
        if beacon.n < index.n || beacon.index != index.id() {
            let at = At::new(4, Kind::Beacon, beacon.id(), candidate.origin);
            return Err(Error::Mismatch { at, why: "it names another index" });
        }
        Ok(())
    }

    fn fresh_index(&self, candidate: &Candidate<'_>) -> Result<Option<u64>, Error> {
        let index = &candidate.index;
        self.fresh(index.expires, || At::new(5, Kind::Index, index.id(), candidate.origin))
    }

    fn fresh_beacon(&self, candidate: &Candidate<'_>) -> Result<Option<u64>, Error> {
        let beacon = &candidate.beacon;
        self.fresh(beacon.expires, || At::new(5, Kind::Beacon, beacon.id(), candidate.origin))
    }

    /// Step 5: by how much it is past its time, if that is allowed.
    fn fresh(&self, expires: Timestamp, at: impl Fn() -> Box<At>) -> Result<Option<u64>, Error> {
        match self.age(expires) {
            Age::Fresh => Ok(None),
            Age::Stale(seconds) => Ok(Some(seconds)),
            Age::Refused => Err(Error::Freeze { at: at(), expires, now: self.effective }),
        }
    }

    fn warnings_of(&self, repository: &Repository, stale_seconds: Option<u64>) -> Vec<String> {
        let mut warnings = self.take_warnings();
        if let Some(seconds) = stale_seconds.filter(|_| self.policy.freshness.speaks()) {
            warnings.push(format!("the index of {repository} is out of date since {seconds} seconds"));
        }
        warnings
    }

    /// Step 4, and the head is kept. True if it was known already.
    fn keep_index(&self, candidate: &Candidate<'_>) -> Result<bool, Error> {
        let (line, index) = (&candidate.line, &candidate.index);
        let to = Head { n: index.n, id: index.id() };
        let created = index.created.max(candidate.beacon.created);
        loop {
            self.not_older(line, index, candidate.origin)?;
            let stored = self.state.head(line)?;
            if let Some(stored) = stored {
                self.grown_from(candidate, stored)?;
            }
            if self.state.is_forked(index.id())? {
                let at = At::new(4, Kind::Index, index.id(), candidate.origin);
                return Err(Error::Fork { at, n: index.n });
            }
            if stored == Some(to) {
                self.state.note_time(created)?;
                return Ok(true);
            }
            let envelope = index.envelope();
            let advance = Advance { line, from: stored, to, envelope, positions: &[] };
            if self.state.advance(&advance, created)? {
                return Ok(false);
            }
        }
    }

    /// The stored head has to be an ancestor. It is looked for through skip links, so that of n
    /// indexes in between about log n are fetched; each is hash-linked from the head, and signed.
    fn grown_from(&self, candidate: &Candidate<'_>, stored: Head) -> Result<(), Error> {
        let mut at = candidate.index.clone();
        while at.n > stored.n {
            let next = step_down(&at, stored.n);
            if next == stored {
                return Ok(());
            }
            at = self.older_index(candidate, next)?;
        }
        if at.id() == stored.id {
            return Ok(());
        }
        let here = At::new(4, Kind::Index, at.id(), candidate.origin);
        match self.state.head_envelope(&candidate.line)? {
            Some(ours) => Err(self.fork((&candidate.line, stored.n), &ours, at.envelope(), here)?),
            None => Err(Error::Fork { at: here, n: stored.n }),
        }
    }

    fn older_index(&self, candidate: &Candidate<'_>, head: Head) -> Result<Verified<Index>, Error> {
        let at = || At::new(4, Kind::Index, head.id, candidate.origin);
        let signed: Signed<Index> = find(candidate.statements, head.id, 4, candidate.origin)?;
        let index = verify_by_any(&signed, &candidate.owner, &INDEX, at)?;
        if index.repository != candidate.index.repository {
            return Err(Error::Scope { at: at(), why: "it is of another repository" });
        }
        if index.n != head.n {
            return Err(Error::Mismatch { at: at(), why: "a link to it gives it another number" });
        }
        Ok(index)
    }
}

/// The farthest link of `index` that does not lead below `target`.
fn step_down(index: &Verified<Index>, target: u64) -> Head {
    let distances = skip_distances(index.n).zip(&index.skips);
    let farthest = distances.filter(|(distance, _)| index.n - distance >= target).last();
    let (distance, id) = farthest.map_or((1, index.prev), |(distance, id)| (distance, Some(*id)));
    Head {
        n: index.n - distance,
        id: id.expect("an index above another has a previous one; its check says so"),
    }
}
