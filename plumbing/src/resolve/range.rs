//! From requirements to intervals of versions.
//!
//! `version_ranges` has a conversion of its own; it forgets pre-releases, so it is not used.
//!
//! Promises: [`range`] agrees with `Requirement::matches`.
//! Leaves to others: which versions there are (`shelf`).

use objects::version::{Comparator, Prereleases, Requirement, Version};
use semver::{BuildMetadata, Op, Prerelease};
use std::ops::Bound;
use version_ranges::Ranges;

/// The versions an interval is asked about. Releases and pre-releases lie between each other, but
/// are admitted by different rules, so that no few intervals say which of both are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `1.2.3`.
    Release,
    /// `1.2.3-rc.1`, where those named are admitted.
    Prerelease,
    /// `1.2.3-rc.1`, where all are admitted.
    OpenPrerelease,
}

impl Kind {
    /// The rule of `Requirement::matches` under which such versions are admitted.
    pub(super) fn rule(self) -> Prereleases {
        match self {
            Kind::Release | Kind::Prerelease => Prereleases::Named,
            Kind::OpenPrerelease => Prereleases::Allowed,
        }
    }
}

/// Intervals that hold those versions of `kind` and `epoch` that `requirement` admits.
pub(super) fn range(requirement: &Requirement, epoch: u64, kind: Kind) -> Ranges<Version> {
    if requirement.epoch().is_some_and(|demanded| demanded != epoch) {
        return Ranges::empty();
    }
    let each = requirement.comparators().iter().map(|one| compared(one, epoch, kind));
    let all = each.fold(Ranges::full(), |all, one| all.intersection(&one));
    match kind {
        Kind::Release => all,
        Kind::Prerelease => {
            let named = requirement.named_prereleases().map(|triple| prereleases_of(triple, epoch));
            all.intersection(&named.fold(Ranges::empty(), |all, one| all.union(&one)))
        }
        Kind::OpenPrerelease => {
            let triples = requirement.comparators().iter().filter_map(Comparator::triple);
            let closed = triples.filter(|triple| !requirement.opens(*triple, kind.rule()));
            closed.fold(all, |all, triple| all.intersection(&prereleases_of(triple, epoch).complement()))
        }
    }
}

/// The interval of one comparison.
fn compared(comparator: &Comparator, epoch: u64, kind: Kind) -> Ranges<Version> {
    let block = block(comparator, epoch);
    let whole = comparator.triple().is_some() || kind != Kind::Prerelease;
    let inside = if whole { block.clone() } else { Ranges::empty() };
    let family = || family(comparator, comparator.shared_numbers(), epoch);
    match comparator.semver.op {
        Op::Greater => above(&block),
        Op::GreaterEq => above(&block).union(&inside),
        Op::Less => below(&block),
        Op::LessEq => below(&block).union(&inside),
        Op::Tilde => family().intersection(&above(&block).union(&inside)),
        Op::Caret => family().intersection(&above(&block).union(&block)),
        _ => inside,
    }
}

/// The versions that agree with every part the comparison gives.
fn block(comparator: &Comparator, epoch: u64) -> Ranges<Version> {
    let Some(triple) = comparator.triple() else {
        let given = 1 + usize::from(comparator.semver.minor.is_some());
        return family(comparator, given, epoch);
    };
    let pre = &comparator.semver.pre;
    let at = |revision| version(epoch, triple, pre.clone(), revision);
    let (first, last) = match comparator.revision {
        Some(revision) => (at(revision), at(revision)),
        None => (at(0), at(u64::MAX)),
    };
    Ranges::from_range_bounds(first..=last)
}

/// The versions that share the first `count` numbers, pre-releases included.
fn family(comparator: &Comparator, count: usize, epoch: u64) -> Ranges<Version> {
    let stated = &comparator.semver;
    let mut numbers = [stated.major, stated.minor.unwrap_or(0), stated.patch.unwrap_or(0)];
    numbers[count..].fill(0);
    let start = first(numbers.into(), epoch);
    match next(numbers, count) {
        Some(next) => Ranges::between(start, first(next.into(), epoch)),
        None => Ranges::higher_than(start),
    }
}

/// The numbers that follow those which begin with the first `count`; None behind the last.
fn next(mut numbers: [u64; 3], count: usize) -> Option<[u64; 3]> {
    for at in (0..count).rev() {
        match numbers[at].checked_add(1) {
            Some(next) => {
                numbers[at] = next;
                return Some(numbers);
            }
            None => numbers[at] = 0,
        }
    }
    None
}

fn prereleases_of(triple: (u64, u64, u64), epoch: u64) -> Ranges<Version> {
    Ranges::between(first(triple, epoch), version(epoch, triple, Prerelease::EMPTY, 0))
}

/// The lowest version of `triple`: its pre-release `0`.
fn first(triple: (u64, u64, u64), epoch: u64) -> Version {
    let lowest = Prerelease::new("0").expect("0 is a pre-release identifier");
    version(epoch, triple, lowest, 0)
}

fn version(epoch: u64, triple: (u64, u64, u64), pre: Prerelease, revision: u64) -> Version {
    let (major, minor, patch) = triple;
    let semver = semver::Version { major, minor, patch, pre, build: BuildMetadata::EMPTY };
    Version { epoch, semver, revision }
}

/// What lies above the interval `block`.
fn above(block: &Ranges<Version>) -> Ranges<Version> {
    match block.iter().last() {
        Some((_, Bound::Included(last))) => Ranges::strictly_higher_than(last.clone()),
        Some((_, Bound::Excluded(end))) => Ranges::higher_than(end.clone()),
        _ => Ranges::empty(),
    }
}

/// What lies below the interval `block`.
fn below(block: &Ranges<Version>) -> Ranges<Version> {
    match block.iter().next() {
        Some((Bound::Included(first), _)) => Ranges::strictly_lower_than(first.clone()),
        _ => Ranges::empty(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NUMBER: [u64; 5] = [0, 1, 2, u64::MAX - 1, u64::MAX];
    const PRE: [&str; 6] = ["", "-0", "-alpha", "-alpha.1", "-beta", "-1"];
    const OPERATOR: [&str; 9] = ["", "^", "~", "=", ">", "<", ">=", "<=", "2!="];

    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![8 => 0..3u64, 1 => prop::sample::select(NUMBER.to_vec())]
    }

    fn semver() -> impl Strategy<Value = String> {
        let pre = prop::sample::select(PRE.to_vec());
        (number(), number(), number(), pre).prop_map(|(x, y, z, pre)| format!("{x}.{y}.{z}{pre}"))
    }

    fn comparator() -> impl Strategy<Value = String> {
        let version = prop_oneof![
            1 => number().prop_map(|major| format!("{major}")),
            1 => number().prop_map(|major| format!("{major}.*")),
            2 => (number(), number()).prop_map(|(major, minor)| format!("{major}.{minor}")),
            4 => semver(),
            2 => (semver(), 0..3u64).prop_map(|(semver, revision)| format!("{semver}~{revision}")),
        ];
        (prop::sample::select(OPERATOR.to_vec()), version).prop_map(|(op, version)| op.to_owned() + &version)
    }

    fn requirement() -> impl Strategy<Value = Requirement> {
        let parts = prop::collection::vec(comparator(), 1..4).prop_map(|parts| parts.join(","));
        let text = prop_oneof![1 => Just("*".to_owned()), 9 => parts];
        text.prop_map(|text| text.parse().unwrap())
    }

    fn any_version() -> impl Strategy<Value = Version> {
        (prop::sample::select(vec![0, 2]), semver(), 0..3u64).prop_map(|(epoch, semver, revision)| {
            let semver = semver.parse().unwrap();
            Version { epoch, semver, revision }
        })
    }

    /// The block behind the last patch number begins at the next minor one.
    #[test]
    fn the_last_number_carries_over() {
        let requirement: Requirement = "^0.0.18446744073709551615".parse().unwrap();
        let held = range(&requirement, 0, Kind::Release);
        assert!(held.contains(&"0.0.18446744073709551615".parse().unwrap()));
        assert!(!held.contains(&"0.1.0".parse().unwrap()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 8192, ..ProptestConfig::default() })]

        #[test]
        fn ranges_hold_what_requirements_match(requirement in requirement(), version in any_version(), open: bool) {
            let kind = match (version.is_prerelease(), open) {
                (false, _) => Kind::Release,
                (true, false) => Kind::Prerelease,
                (true, true) => Kind::OpenPrerelease,
            };
            let held = range(&requirement, version.epoch, kind).contains(&version);
            prop_assert_eq!(held, requirement.matches(&version, kind.rule()), "{} {}", requirement, version);
        }
    }
}
