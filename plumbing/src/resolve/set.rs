//! Sets of candidates, as the solver wants them: by number.
//!
//! A set of numbers is exact where a set of versions is not: channels, owners and pre-releases are
//! part of what it says, "no version fits" is plain emptiness, and no set speaks of a version that
//! does not exist.
//!
//! Promises: equal sets compare equal. Every set is kept as spans `from..until`, closed below and
//! open above; `Ranges` alone would hold `0..=1` and `0..2` to be different.
//! Leaves to others: what a number stands for (`shelf`).

use pubgrub::VersionSet;
use std::fmt;
use std::ops::{Bound, Range};
use version_ranges::Ranges;

/// A set of candidates of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Set(Ranges<u32>);

impl Set {
    /// The numbers of `span`; nothing if it is empty.
    pub(super) fn span(span: Range<u32>) -> Self {
        match span.is_empty() {
            true => Set(Ranges::empty()),
            false => Set(Ranges::between(span.start, span.end)),
        }
    }

    /// The spans of the set within `bounds`, in ascending order.
    pub(super) fn within(&self, bounds: Range<u32>) -> impl Iterator<Item = Range<u32>> {
        let clip = move |(from, until): (&Bound<u32>, &Bound<u32>)| {
            let from = match from {
                Bound::Included(from) => *from,
                Bound::Excluded(before) => before.saturating_add(1),
                Bound::Unbounded => 0,
            };
            let until = match until {
                Bound::Excluded(until) => *until,
                Bound::Included(last) => last.saturating_add(1),
                Bound::Unbounded => u32::MAX,
            };
            from.max(bounds.start)..until.min(bounds.end)
        };
        self.0.iter().map(clip).filter(|span| !span.is_empty())
    }

    /// How many numbers it holds.
    pub(super) fn len(&self) -> u32 {
        self.within(0..u32::MAX).map(|span| span.end - span.start).sum()
    }

    /// What it holds and `other` does not.
    pub(super) fn without(&self, other: &Set) -> Set {
        self.intersection(&other.complement())
    }
}

impl VersionSet for Set {
    type V = u32;

    fn empty() -> Self {
        Set(Ranges::empty())
    }

    fn singleton(number: u32) -> Self {
        Set::span(number..number + 1)
    }

    fn complement(&self) -> Self {
        Set(self.0.complement())
    }

    fn intersection(&self, other: &Self) -> Self {
        Set(self.0.intersection(&other.0))
    }

    fn contains(&self, number: &u32) -> bool {
        self.0.contains(number)
    }

    fn full() -> Self {
        Set(Ranges::full())
    }

    fn union(&self, other: &Self) -> Self {
        Set(self.0.union(&other.0))
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    fn subset_of(&self, other: &Self) -> bool {
        self.0.subset_of(&other.0)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
