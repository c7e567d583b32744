//! The candidates of one package, numbered so that what a requirement admits is few spans.
//!
//! They stand in runs: first those that may be chosen, then those withheld by a mark or for their age; within
//! these by owner, channel, epoch and kind; within a run by version. A requirement cuts one span, seldom
//! two, out of a run by binary search, whether there are ten versions or a hundred thousand (SEC-076).
//!
//! Promises: [`Shelf::admitted`] holds exactly the candidates the ask admits; numbers do not depend
//! on the order in which an index lists its candidates.
//! Leaves to others: whose asks there are (`provider`), words for them (`report`).

use super::range::{self, Kind};
use super::set::Set;
use super::{Candidate, Prefer};
use objects::claim::Mark;
use objects::id::IdentityId;
use objects::version::{Channel, Prereleases, Requirement, Version};
use pubgrub::VersionSet;
use std::ops::{Bound, Range};

/// What somebody asks of one package.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) requirement: &'a Requirement,
    /// Whose it has to be.
    pub(super) owner: Option<IdentityId>,
    /// The channels that will do; None for all.
    pub(super) channels: Option<Vec<&'a Channel>>,
    pub(super) prereleases: Prereleases,
}

/// What makes a shelf of candidates differ from request to request.
#[derive(Debug, Default)]
pub(super) struct Terms<'a> {
    /// The version the lock names.
    pub(super) locked: Option<&'a Version>,
    /// Versions of which the request itself names pre-releases.
    pub(super) opened: Vec<(u64, u64, u64)>,
}

/// The candidates of one package.
#[derive(Debug)]
pub(super) struct Shelf {
    candidates: Vec<Candidate>,
    runs: Vec<Run>,
    /// How many may be chosen; they come first.
    usable: u32,
    /// The locked ones.
    locked: Vec<u32>,
}

#[derive(Debug)]
struct Run {
    place: Place,
    span: Range<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    withheld: bool,
    owner: IdentityId,
    channel: Channel,
    epoch: u64,
    kind: Kind,
}

impl Shelf {
    pub(super) fn new(candidates: Vec<Candidate>, terms: &Terms) -> Self {
        let mut placed: Vec<(Place, Candidate)> =
            candidates.into_iter().map(|one| (place(&one, terms), one)).collect();
        placed.sort_by(|(place, one), (other_place, other)| {
            let build = || one.version.semver.build.cmp(&other.version.semver.build);
            place.cmp(other_place).then_with(|| one.version.cmp(&other.version)).then_with(build)
        });
        let runs = runs(&placed);
        let usable = runs.iter().filter(|run| !run.place.withheld).map(|run| run.span.end).max().unwrap_or(0);
        let candidates: Vec<Candidate> = placed.into_iter().map(|(_, one)| one).collect();
        let is_locked = |number: &u32| Some(&candidates[*number as usize].version) == terms.locked;
        let locked = (0..usable).filter(is_locked).collect();
        Shelf { candidates, runs, usable, locked }
    }

    /// The candidate behind a number of this shelf.
    pub(super) fn candidate(&self, number: u32) -> &Candidate {
        &self.candidates[number as usize]
    }

    /// All versions with their channels.
    pub(super) fn newest_first(&self) -> Vec<(Version, Channel)> {
        let mut all: Vec<_> =
            self.candidates.iter().map(|one| (one.version.clone(), one.channel.clone())).collect();
        all.sort_by(|one, other| other.cmp(one));
        all
    }

    /// The numbers of all candidates.
    pub(super) fn numbers(&self) -> Range<u32> {
        0..self.candidates.len() as u32
    }

    /// The candidates that neither a mark nor their age keeps from being chosen.
    pub(super) fn usable(&self) -> Set {
        Set::span(0..self.usable)
    }

    /// The candidates that will do for `ask`, withheld ones included.
    pub(super) fn admitted(&self, ask: &Ask) -> Set {
        let reached = self.runs.iter().filter(|run| ask.reaches(&run.place));
        reached.fold(Set::empty(), |all, run| {
            let versions = range::range(ask.requirement, run.place.epoch, ask.kind(run.place.kind));
            let spans = versions.iter().map(|bounds| self.span_within(run, bounds));
            spans.fold(all, |all, span| all.union(&Set::span(span)))
        })
    }

    /// The candidates `requirement` speaks of at all, whatever their channel, owner or kind.
    pub(super) fn meant(&self, requirement: &Requirement) -> Set {
        self.admitted(&Ask { requirement, owner: None, channels: None, prereleases: Prereleases::Allowed })
    }

    /// All candidates that are not in `set`.
    pub(super) fn others(&self, set: &Set) -> Set {
        Set::span(self.numbers()).without(set)
    }

    /// The candidate of `set` to try first: the locked one, else the newest or oldest.
    pub(super) fn preferred(&self, set: &Set, prefer: Prefer) -> Option<u32> {
        let locked = self.locked.iter().copied().rfind(|number| set.contains(number));
        locked.or_else(|| self.extreme(set, prefer))
    }

    fn extreme(&self, set: &Set, prefer: Prefer) -> Option<u32> {
        let ends = self.runs.iter().filter_map(|run| match prefer {
            Prefer::Newest => set.within(run.span.clone()).last().map(|span| span.end - 1),
            Prefer::Oldest => set.within(run.span.clone()).next().map(|span| span.start),
        });
        let version = |number: &u32| &self.candidate(*number).version;
        match prefer {
            Prefer::Newest => ends.max_by(|a, b| version(a).cmp(version(b))),
            Prefer::Oldest => ends.min_by(|a, b| version(a).cmp(version(b))),
        }
    }

    /// The spans of `set`, none of which crosses from one run to another.
    pub(super) fn stretches(&self, set: &Set) -> Vec<Range<u32>> {
        self.runs.iter().flat_map(|run| set.within(run.span.clone())).collect()
    }

    fn span_within(&self, run: &Run, (lower, upper): (&Bound<Version>, &Bound<Version>)) -> Range<u32> {
        let versions = &self.candidates[run.span.start as usize..run.span.end as usize];
        let from = versions.partition_point(|one| match lower {
            Bound::Included(first) => one.version < *first,
            Bound::Excluded(before) => one.version <= *before,
            Bound::Unbounded => false,
        });
        let until = versions.partition_point(|one| match upper {
            Bound::Included(last) => one.version <= *last,
            Bound::Excluded(end) => one.version < *end,
            Bound::Unbounded => true,
        });
        run.span.start + from as u32..run.span.start + until as u32
    }
}

impl Ask<'_> {
    fn reaches(&self, place: &Place) -> bool {
        self.owner.is_none_or(|owner| owner == place.owner)
            && self.channels.as_ref().is_none_or(|channels| channels.contains(&&place.channel))
    }

    /// Under which rule candidates of `kind` are admitted here.
    fn kind(&self, kind: Kind) -> Kind {
        match (kind, self.prereleases) {
            (Kind::Prerelease, Prereleases::Allowed) => Kind::OpenPrerelease,
            _ => kind,
        }
    }
}

fn place(candidate: &Candidate, terms: &Terms) -> Place {
    let version = &candidate.version;
    let kind = match version.is_prerelease() {
        false => Kind::Release,
        true if terms.opened.contains(&version.triple()) => Kind::OpenPrerelease,
        true => Kind::Prerelease,
    };
    let is_locked = terms.locked == Some(version);
    let withheld = match &candidate.mark {
        None => candidate.young && !is_locked,
        Some(Mark::Yanked { .. } | Mark::Retired { .. }) => !is_locked,
        Some(Mark::Forbidden { .. } | Mark::Malicious { .. }) => true,
    };
    let (owner, channel, epoch) = (candidate.owner, candidate.channel.clone(), version.epoch);
    Place { withheld, owner, channel, epoch, kind }
}

fn runs(placed: &[(Place, Candidate)]) -> Vec<Run> {
    let mut start = 0;
    let chunks = placed.chunk_by(|(place, _), (other, _)| place == other);
    let run = |chunk: &[(Place, Candidate)]| {
        let span = start..start + chunk.len() as u32;
        start = span.end;
        Run { place: chunk[0].0.clone(), span }
    };
    chunks.map(run).collect()
}
