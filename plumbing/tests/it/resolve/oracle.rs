//! The resolver against trying everything.
//!
//! Small random graphs with all the trimmings: channels, pre-releases, marks, ages, locks, conflicts,
//! optional dependencies, owners, circles and missing packages. The oracle knows the rules only as
//! the documentation states them.

use super::{Shelves, candidate, owner};
use objects::claim::Mark;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::release::{Conflict, Dependency};
use objects::version::{Channel, Prereleases, Requirement, Version};
use plumbing::resolve::{Candidate, Error, Prefer, Request, Resolution, Wanted, resolve};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const VERSIONS: [&str; 6] = ["1.0.0", "1.1.0", "1.1.0~1", "2.0.0-rc.1", "2.0.0", "1!0.1.0"];
const REQUIREMENTS: [&str; 10] =
    ["*", "*", "^1", ">=1.1", "<2", "=1.1.0", "^2", ">=2.0.0-rc.0", ">1.0.0<2.0.0", "1!*"];
/// The fifth is in no index.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "ghost"];

fn name() -> impl Strategy<Value = PackageName> {
    prop_oneof![40 => 0..4usize, 1 => Just(4)].prop_map(|at| NAMES[at].parse().unwrap())
}

fn requirement() -> impl Strategy<Value = Requirement> {
    prop::sample::select(REQUIREMENTS.to_vec()).prop_map(|text| text.parse().unwrap())
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![12 => Just("release"), 1 => Just("nightly")].prop_map(|text| text.parse().unwrap())
}

fn maybe<T: Clone + std::fmt::Debug + 'static>(
    some: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    prop_oneof![12 => Just(None), 1 => some.prop_map(Some)].boxed()
}

fn identity() -> impl Strategy<Value = IdentityId> {
    prop_oneof![20 => Just("aa"), 1 => Just("bb")].prop_map(owner)
}

fn dependencies() -> impl Strategy<Value = Vec<Dependency>> {
    let one = (name(), requirement(), maybe(identity()), maybe(channel()), prop::bool::weighted(0.15));
    let one = one.prop_map(|(name, requirement, owner, channel, optional)| Dependency {
        name,
        requirement,
        owner,
        channel,
        optional,
    });
    prop::collection::vec(one, 0..3)
}

fn conflicts() -> impl Strategy<Value = Vec<Conflict>> {
    let one = (name(), requirement()).prop_map(|(name, requirement)| Conflict { name, requirement });
    prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(one, 1..3)]
}

fn mark() -> impl Strategy<Value = Mark> {
    let reason = || "because".to_owned();
    prop::sample::select(vec![
        Mark::Yanked { reason: reason() },
        Mark::Retired { successor: None },
        Mark::Forbidden { reason: reason() },
        Mark::Malicious { reason: reason() },
    ])
}

fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let young = prop::bool::weighted(0.1);
    let details = (channel(), identity(), dependencies(), conflicts(), maybe(mark()), young);
    let one = (prop::sample::select(VERSIONS.to_vec()), details).prop_map(|(version, details)| {
        let (channel, owner, dependencies, conflicts, mark, young) = details;
        Candidate { channel, owner, dependencies, conflicts, mark, young, ..candidate(version, &[]) }
    });
    // An index lists a version once.
    let distinct = |list: Vec<Candidate>| {
        let by_version: BTreeMap<Version, Candidate> =
            list.into_iter().map(|one| (one.version.clone(), one)).collect();
        by_version.into_values().collect()
    };
    prop::collection::vec(one, 2..6).prop_map(distinct)
}

fn index() -> impl Strategy<Value = Shelves> {
    prop::collection::vec(candidates(), 4).prop_map(|all| {
        let named = NAMES.iter().map(|name| name.parse().unwrap());
        Shelves(named.zip(all).collect())
    })
}

/// Mostly content with anything, so that the quarrels are deeper down.
fn roots() -> impl Strategy<Value = Vec<Wanted>> {
    let mild = prop_oneof![3 => Just(Requirement::any()), 1 => requirement()];
    let seldom = prop_oneof![30 => Just(None), 1 => channel().prop_map(Some)];
    let owner = prop_oneof![30 => Just(None), 1 => identity().prop_map(Some)];
    let one = (prop::sample::select(&NAMES[..4]), mild, owner, seldom, prop::bool::weighted(0.2));
    let one = one.prop_map(|(name, requirement, owner, channel, optional)| {
        let name = name.parse().unwrap();
        Wanted { name, requirement, owner, channel, optional }
    });
    prop::collection::vec(one, 1..4)
}

fn locked() -> impl Strategy<Value = BTreeMap<PackageName, Version>> {
    let version = prop::sample::select(VERSIONS.to_vec()).prop_map(|text| text.parse().unwrap());
    prop::collection::btree_map(name(), version, 0..3)
}

/// The rules, plainly.
struct Oracle<'a> {
    request: &'a Request<'a>,
    index: &'a Shelves,
}

type Assignment<'a> = BTreeMap<&'a PackageName, &'a Candidate>;

impl<'a> Oracle<'a> {
    fn roots_for(&self, name: &PackageName) -> impl Iterator<Item = &'a Wanted> {
        self.request.roots.iter().filter(move |wanted| wanted.name == *name)
    }

    fn fits(
        &self,
        name: &PackageName,
        candidate: &Candidate,
        requirement: &Requirement,
        owner: Option<IdentityId>,
    ) -> bool {
        let triple = candidate.version.triple();
        let opened = self
            .roots_for(name)
            .any(|wanted| wanted.requirement.named_prereleases().any(|named| named == triple));
        let rule = if opened { Prereleases::Allowed } else { self.request.prereleases };
        requirement.matches(&candidate.version, rule) && owner.is_none_or(|owner| owner == candidate.owner)
    }

    fn meets_wanted(&self, candidate: &Candidate, wanted: &Wanted) -> bool {
        let channel = wanted.channel.as_ref().unwrap_or(&self.request.default_channel);
        self.fits(&wanted.name, candidate, &wanted.requirement, wanted.owner) && candidate.channel == *channel
    }

    fn meets_dependency(&self, candidate: &Candidate, dependency: &Dependency) -> bool {
        let channel = match &dependency.channel {
            Some(channel) => candidate.channel == *channel,
            None => {
                let mut named = self.roots_for(&dependency.name).filter_map(|wanted| wanted.channel.as_ref());
                candidate.channel == self.request.default_channel
                    || named.any(|named| *named == candidate.channel)
            }
        };
        channel && self.fits(&dependency.name, candidate, &dependency.requirement, dependency.owner)
    }

    fn allowed(&self, name: &PackageName, candidate: &Candidate) -> bool {
        let is_locked = || self.request.locked.get(name) == Some(&candidate.version);
        match &candidate.mark {
            None => !candidate.young || is_locked(),
            Some(Mark::Yanked { .. } | Mark::Retired { .. }) => is_locked(),
            Some(_) => false,
        }
    }

    fn needs(&self, name: &PackageName, candidate: &'a Candidate) -> impl Iterator<Item = &'a Dependency> {
        let optional = self.roots_for(name).any(|wanted| wanted.optional);
        candidate.dependencies.iter().filter(move |one| optional || !one.optional)
    }

    fn is_valid(&self, assignment: &Assignment<'a>) -> bool {
        let wanted = self.request.roots.iter();
        let roots = wanted.clone().all(|wanted| {
            assignment.get(&wanted.name).is_some_and(|candidate| self.meets_wanted(candidate, wanted))
        });
        roots
            && assignment.iter().all(|(name, candidate)| {
                let met = |one: &Dependency| {
                    assignment.get(&one.name).is_some_and(|target| self.meets_dependency(target, one))
                };
                let clashes = |one: &Conflict| {
                    one.name != **name
                        && assignment.get(&one.name).is_some_and(|target| {
                            one.requirement.matches(&target.version, Prereleases::Allowed)
                        })
                };
                self.allowed(name, candidate)
                    && self.needs(name, candidate).all(met)
                    && !candidate.conflicts.iter().any(clashes)
            })
    }

    /// Every valid assignment.
    fn all(&self) -> Vec<Assignment<'a>> {
        let mut all = vec![Assignment::new()];
        for (name, candidates) in &self.index.0 {
            let with = |assignment: &Assignment<'a>| {
                let assignment = assignment.clone();
                candidates.iter().map(move |one| {
                    let mut more = assignment.clone();
                    more.insert(name, one);
                    more
                })
            };
            let longer: Vec<_> = all.iter().flat_map(with).collect();
            all.extend(longer);
        }
        all.retain(|assignment| self.is_valid(assignment));
        all
    }

    fn assignment(&self, resolution: &Resolution) -> Assignment<'a> {
        let chosen = resolution.packages.iter().map(|chosen| {
            let (name, candidates) = self.index.0.get_key_value(&chosen.name).unwrap();
            (name, candidates.iter().find(|one| one.version == chosen.version).unwrap())
        });
        chosen.collect()
    }

    /// Every package stands behind what it needs, unless what it needs comes round to it again; and
    /// nothing stands there that nobody needs.
    fn is_in_order(&self, resolution: &Resolution) -> bool {
        let assignment = self.assignment(resolution);
        let needed = |name: &PackageName| -> BTreeSet<&PackageName> {
            let (name, candidate) = assignment.get_key_value(name).unwrap();
            self.needs(name, candidate).map(|one| &one.name).collect()
        };
        let reach = |from: BTreeSet<&'a PackageName>| {
            let mut reached = from.clone();
            let mut open: Vec<_> = from.into_iter().collect();
            while let Some(name) = open.pop() {
                open.extend(needed(name).into_iter().filter(|name| reached.insert(name)));
            }
            reached
        };
        let roots = self.request.roots.iter().map(|wanted| &wanted.name).collect();
        let place =
            |name: &PackageName| resolution.packages.iter().position(|one| one.name == *name).unwrap();
        reach(roots).len() == resolution.packages.len()
            && assignment.keys().all(|name| {
                needed(name).into_iter().all(|other| {
                    let round = reach(BTreeSet::from([other])).contains(*name);
                    round || place(other) < place(name)
                })
            })
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn the_resolver_agrees_with_trying_everything(
        index in index(), roots in roots(), locked in locked(), open in prop::bool::weighted(0.1), oldest: bool,
    ) {
        let mut request = Request::new(roots);
        request.locked = locked;
        request.prereleases = if open { Prereleases::Allowed } else { Prereleases::Named };
        request.prefer = if oldest { Prefer::Oldest } else { Prefer::Newest };
        let oracle = Oracle { request: &request, index: &index };
        let valid = oracle.all();

        let answer = resolve(&request, &index);

        match &answer {
            Ok(resolution) => {
                prop_assert!(oracle.is_valid(&oracle.assignment(resolution)), "{resolution:?}");
                prop_assert!(oracle.is_in_order(resolution), "{resolution:?}");
                if let [wanted] = &request.roots[..] && request.locked.is_empty() {
                    let of = |assignment: &Assignment| assignment[&wanted.name].version.clone();
                    let versions = valid.iter().map(of);
                    let best = if oldest { versions.min() } else { versions.max() };
                    prop_assert_eq!(Some(of(&oracle.assignment(resolution))), best);
                }
            }
            Err(Error::NoSolution(explanation)) => {
                prop_assert!(valid.is_empty(), "{explanation}\n{:?}", valid[0]);
                prop_assert!(!explanation.lines.is_empty());
            }
            Err(Error::NoMatching { .. } | Error::UnknownPackage { .. }) => prop_assert!(valid.is_empty()),
            Err(error) => prop_assert!(false, "{error}"),
        }

        let mut turned = index.clone();
        turned.0.values_mut().for_each(|candidates| candidates.reverse());
        prop_assert_eq!(format!("{answer:?}"), format!("{:?}", resolve(&request, &turned)));
    }
}
