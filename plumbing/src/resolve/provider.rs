//! The search: what the solver asks, answered from a catalogue.
//!
//! Conflicts have no form of their own in `PubGrub`, which knows dependencies only. A package that
//! somebody conflicts with therefore gets a *guard*: a package that is nowhere, and is "as B is" or
//! "as if B were absent". Version 3 of B needs its guard as 3; who conflicts with 3 needs the guard
//! as anything else. Guards are decided last, when all that is left of them is what must be.
//! A guard found necessary only after B was already looked at makes the search start over, knowing
//! it; conflicts are rare, and guarding every package would cost each resolution.
//!
//! A candidate that cannot be used whatever else is chosen is passed over before the solver sees it:
//! it would otherwise have to be tried and refuted, one by one.
//!
//! Promises: an answer, or an end at the budget of decisions; of a failure, the facts it rests on.
//! Leaves to others: order and words of an answer.

use super::catalogue::{Catalogue, PackageNumber};
use super::set::Set;
use super::{Candidates, IndexError, Request};
use objects::release::Conflict;
use pubgrub::{
    Dependencies, DependencyProvider, DerivationTree, External, PackageResolutionStatistics, PubGrubError,
    VersionSet,
};
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

/// The version of a guard that stands for "the package is not there".
const ABSENT: u32 = u32::MAX - 1;

/// A package as the solver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// The request.
    Root,
    /// A package.
    Package(PackageNumber),
    /// What shows to others whether that package is there, and how.
    Guard(PackageNumber),
}

/// A statement of the index or the request that a proof rests on.
pub(super) type Fact = External<Node, Set, Infallible>;

/// The candidate chosen of each package.
pub(super) type Choice = BTreeMap<PackageNumber, u32>;

/// Why there is no choice.
pub(super) enum Failure {
    /// Because of these facts taken together.
    NoSolution(Vec<Fact>),
    /// It is not known, after so many decisions.
    GaveUp(u32),
    /// The index could not be read.
    Index(IndexError),
}

/// What ends a search before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("the budget is spent")]
    GaveUp,
    #[error("a guard is missing")]
    StartOver,
    #[error("the index cannot be read")]
    Index(#[source] IndexError),
}

/// One search.
pub(super) struct Provider<'a> {
    pub(super) catalogue: Catalogue<'a>,
    decisions: Cell<u32>,
    /// The candidates of each package that were found to be unusable.
    unusable: RefCell<BTreeMap<PackageNumber, Set>>,
    guards: RefCell<Guards>,
}

#[derive(Default)]
struct Guards {
    /// Packages that have a guard.
    guarded: BTreeSet<PackageNumber>,
    /// Packages of which the solver knows a candidate without its guard.
    unguarded: BTreeSet<PackageNumber>,
}

impl<'a> Provider<'a> {
    pub(super) fn new(request: &'a Request<'a>, index: &'a dyn Candidates) -> Self {
        Provider {
            catalogue: Catalogue::new(request, index),
            decisions: Cell::new(0),
            unusable: RefCell::default(),
            guards: RefCell::default(),
        }
    }

    /// Searches for a choice.
    pub(super) fn solve(&self) -> Result<Choice, Failure> {
        loop {
            self.guards.borrow_mut().unguarded.clear();
            let stop = match pubgrub::resolve(self, Node::Root, 0_u32) {
                Ok(selected) => return Ok(packages_only(selected)),
                Err(PubGrubError::NoSolution(proof)) => {
                    return Err(Failure::NoSolution(leaves(proof)));
                }
                Err(PubGrubError::ErrorRetrievingDependencies { source, .. }) => source,
                Err(PubGrubError::ErrorChoosingVersion { source, .. }) => source,
                Err(PubGrubError::ErrorInShouldCancel(source)) => source,
            };
            match stop {
                Stop::StartOver => continue,
                Stop::GaveUp => return Err(Failure::GaveUp(self.decisions.get())),
                Stop::Index(source) => return Err(Failure::Index(source)),
            }
        }
    }

    /// The candidates of `set` that are not known to be unusable.
    fn usable(&self, package: PackageNumber, set: &Set) -> Set {
        let usable = self.catalogue.shelf(package).usable().intersection(set);
        match self.unusable.borrow().get(&package) {
            Some(unusable) => usable.without(unusable),
            None => usable,
        }
    }

    /// The best candidate of `set` that can be used at all.
    fn choose(&self, package: PackageNumber, set: &Set) -> Result<Option<u32>, Stop> {
        let shelf = self.catalogue.shelf(package);
        let mut usable = self.usable(package, set);
        while let Some(number) = shelf.preferred(&usable, self.catalogue.request.prefer) {
            if self.catalogue.fault(package, number).map_err(Stop::Index)?.is_none() {
                return Ok(Some(number));
            }
            let fault = Set::singleton(number);
            usable = usable.without(&fault);
            let mut unusable = self.unusable.borrow_mut();
            let known = unusable.entry(package).or_insert_with(Set::empty);
            *known = known.union(&fault);
        }
        Ok(None)
    }

    /// What the request demands.
    fn demands(&self) -> Result<Vec<(Node, Set)>, Stop> {
        let mut demands = Vec::new();
        for wanted in &self.catalogue.request.roots {
            if let Some((package, shelf)) = self.catalogue.find(&wanted.name).map_err(Stop::Index)? {
                let admitted = shelf.admitted(&self.catalogue.ask_of_wanted(wanted));
                demands.push((Node::Package(package), admitted));
            }
        }
        Ok(demands)
    }

    /// What has to hold if candidate `number` of `package`, which has no fault, is chosen.
    fn constraints(&self, package: PackageNumber, number: u32) -> Result<Vec<(Node, Set)>, Stop> {
        let (name, shelf) = (self.catalogue.name(package), self.catalogue.shelf(package));
        let candidate = shelf.candidate(number);
        let mut constraints = Vec::new();
        for dependency in self.catalogue.needs(&name, candidate).filter(|one| one.name != name) {
            if let Some((target, offered)) = self.catalogue.find(&dependency.name).map_err(Stop::Index)? {
                let admitted = offered.admitted(&self.catalogue.ask_of_dependency(dependency));
                constraints.push((Node::Package(target), admitted));
            }
        }
        for conflict in candidate.conflicts.iter().filter(|one| one.name != name) {
            constraints.extend(self.guard_against(conflict)?);
        }
        constraints.extend(self.own_guard(package, number));
        Ok(constraints)
    }

    /// The guard of the package in conflict, as anything but what the conflict speaks of.
    fn guard_against(&self, conflict: &Conflict) -> Result<Option<(Node, Set)>, Stop> {
        let Some((target, shelf)) = self.catalogue.find(&conflict.name).map_err(Stop::Index)? else {
            return Ok(None);
        };
        let meant = shelf.meant(&conflict.requirement);
        if meant == Set::empty() {
            return Ok(None);
        }
        let mut guards = self.guards.borrow_mut();
        guards.guarded.insert(target);
        if guards.unguarded.contains(&target) {
            return Err(Stop::StartOver);
        }
        let others = shelf.others(&meant).union(&Set::singleton(ABSENT));
        Ok(Some((Node::Guard(target), others)))
    }

    fn own_guard(&self, package: PackageNumber, number: u32) -> Option<(Node, Set)> {
        let mut guards = self.guards.borrow_mut();
        if guards.guarded.contains(&package) {
            return Some((Node::Guard(package), Set::singleton(number)));
        }
        guards.unguarded.insert(package);
        None
    }
}

impl DependencyProvider for Provider<'_> {
    type P = Node;
    type V = u32;
    type VS = Set;
    type M = Infallible;
    type Err = Stop;

    /// Guards last; before them whatever leaves the least choice, and of equals what made most
    /// trouble. Counting is cheap, and the solver asks only when the set has changed.
    type Priority = (bool, Reverse<u32>, u32);

    fn prioritize(&self, node: &Node, set: &Set, met: &PackageResolutionStatistics) -> Self::Priority {
        match node {
            Node::Root => (true, Reverse(0), 0),
            Node::Package(package) => {
                let choices = self.usable(*package, set).len();
                (true, Reverse(choices), met.conflict_count())
            }
            Node::Guard(_) => (false, Reverse(0), 0),
        }
    }

    fn choose_version(&self, node: &Node, set: &Set) -> Result<Option<u32>, Stop> {
        match node {
            Node::Root => Ok(Some(0)),
            Node::Package(package) => self.choose(*package, set),
            Node::Guard(_) if set.contains(&ABSENT) => Ok(Some(ABSENT)),
            Node::Guard(package) => {
                let shelf = self.catalogue.shelf(*package);
                Ok(shelf.preferred(set, self.catalogue.request.prefer))
            }
        }
    }

    fn get_dependencies(
        &self,
        node: &Node,
        number: &u32,
    ) -> Result<Dependencies<Node, Set, Infallible>, Stop> {
        let constraints = match node {
            Node::Root => self.demands()?,
            Node::Package(package) => self.constraints(*package, *number)?,
            Node::Guard(_) => Vec::new(),
        };
        Ok(Dependencies::Available(constraints.into_iter().collect()))
    }

    /// Called before every decision, so it is here that they are counted.
    fn should_cancel(&self) -> Result<(), Stop> {
        let request = self.catalogue.request;
        if self.decisions.get() >= request.decisions_max || (request.should_cancel)() {
            return Err(Stop::GaveUp);
        }
        self.decisions.set(self.decisions.get() + 1);
        Ok(())
    }
}

fn packages_only(selected: impl IntoIterator<Item = (Node, u32)>) -> Choice {
    let chosen = selected.into_iter().filter_map(|(node, number)| match node {
        Node::Package(package) => Some((package, number)),
        Node::Root | Node::Guard(_) => None,
    });
    chosen.collect()
}

/// The facts at the bottom of a proof, each once.
///
/// Takes the proof apart on the way, without recursion: a long one is nested so deep that dropping
/// it as it is would overflow the stack (SEC-075). A part that several others share is opened by
/// the last of them to let go of it.
fn leaves(proof: DerivationTree<Node, Set, Infallible>) -> Vec<Fact> {
    let (mut facts, mut open) = (Vec::new(), vec![proof]);
    while let Some(part) = open.pop() {
        match part {
            DerivationTree::External(fact) => facts.push(fact),
            DerivationTree::Derived(derived) => {
                open.extend([derived.cause1, derived.cause2].into_iter().filter_map(Arc::into_inner));
            }
        }
    }
    facts
}

impl fmt::Display for Node {
    /// For the solver's log; people are told by `report`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
