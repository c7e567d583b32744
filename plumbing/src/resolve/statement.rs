//! What a proof rests on, as statements a person could check.
//!
//! A fact of the solver speaks of sets of numbers. Here it is traced back to who said it: the request,
//! or versions of a package, with the requirement in their own words.
//!
//! Promises: each statement once, with all the versions that make it; nearest to the request first.
//! Leaves to others: the sentence (`report`), the way out (`hint`).

use super::Wanted;
use super::catalogue::{Catalogue, PackageNumber, Unusable};
use super::provider::{Fact, Node};
use super::set::Set;
use objects::id::IdentityId;
use objects::release::Dependency;
use objects::version::{Channel, Requirement};
use pubgrub::{External, VersionSet};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Something that the request (subject None) or some versions of a package say.
pub(super) struct Statement {
    pub(super) subject: Option<PackageNumber>,
    /// Which versions of the subject say so.
    pub(super) versions: Set,
    pub(super) said: Said,
}

/// What is said.
pub(super) enum Said {
    /// `target` has to be there; `admitted` are the candidates that will do.
    Needs { target: PackageNumber, what: What, admitted: Set },
    /// `target` must not be there in these versions.
    Conflicts { target: PackageNumber, requirement: Requirement },
    /// The subject cannot be used.
    Unusable(Unusable),
}

/// What is asked of a package, in the words of who asks.
#[derive(Clone)]
pub(super) struct What {
    pub(super) requirement: Requirement,
    pub(super) channel: Option<Channel>,
    pub(super) owner: Option<IdentityId>,
}

impl What {
    /// What follows the package's name: ` ^1.2 from nightly`.
    pub(super) fn terms(&self) -> String {
        let requirement = Some(&self.requirement).filter(|one| !one.is_any());
        let requirement = requirement.map(|one| format!(" {one}"));
        let channel = self.channel.as_ref().map(|one| format!(" from {one}"));
        let owner = self.owner.map(|one| format!(" of {}", one.nick()));
        [requirement, channel, owner].into_iter().flatten().collect()
    }
}

impl Statement {
    fn about(subject: PackageNumber, number: u32, said: Said) -> Self {
        Statement { subject: Some(subject), versions: Set::singleton(number), said }
    }

    /// The package the request wants by this statement.
    pub(super) fn root(&self) -> Option<PackageNumber> {
        match (&self.said, self.subject) {
            (Said::Needs { target, .. }, None) => Some(*target),
            _ => None,
        }
    }

    /// Equal for statements that differ in their versions at most.
    fn key(&self) -> (Option<PackageNumber>, String) {
        let said = match &self.said {
            Said::Needs { target, what, .. } => format!("needs {target}{}", what.terms()),
            Said::Conflicts { target, requirement } => format!("conflicts {target} {requirement}"),
            Said::Unusable(reason) => format!("{reason:?}"),
        };
        (self.subject, said)
    }
}

/// What `facts` say, in the order in which a person would follow it; `line` puts one into words, by
/// which those equally far from the request are sorted.
pub(super) fn statements(
    catalogue: &Catalogue,
    facts: Vec<Fact>,
    line: impl Fn(&Statement) -> String,
) -> Vec<Statement> {
    let mut places = HashMap::new();
    let mut statements: Vec<Statement> = Vec::new();
    for one in facts.into_iter().flat_map(|fact| traced(catalogue, fact)) {
        let place = *places.entry(one.key()).or_insert(statements.len());
        match statements.get_mut(place) {
            Some(same) => same.versions = same.versions.union(&one.versions),
            None => statements.push(one),
        }
    }
    let distances = distances(&statements);
    let distance = |one: &Statement| match &one.subject {
        None => 0,
        Some(subject) => distances.get(subject).copied().unwrap_or(usize::MAX),
    };
    statements.sort_by_cached_key(|one| (distance(one), line(one)));
    statements
}

/// Who said what stands behind `fact`.
fn traced(catalogue: &Catalogue, fact: Fact) -> Vec<Statement> {
    use External::{FromDependencyOf, NoVersions};
    use Node::{Guard, Package, Root};
    match fact {
        FromDependencyOf(Root, _, Package(target), admitted) => wants(catalogue, target, &admitted),
        FromDependencyOf(Package(subject), versions, Package(target), admitted) => {
            needs(catalogue, subject, &versions, target, &admitted)
        }
        FromDependencyOf(Package(subject), versions, Guard(target), _) if subject != target => {
            conflicts(catalogue, subject, &versions, target)
        }
        NoVersions(Package(subject), versions) => faults(catalogue, subject, &versions),
        _ => Vec::new(),
    }
}

fn wants(catalogue: &Catalogue, target: PackageNumber, admitted: &Set) -> Vec<Statement> {
    let (name, shelf) = (catalogue.name(target), catalogue.shelf(target));
    let roots = catalogue.request.roots.iter().filter(|wanted| wanted.name == name);
    let meant = roots.filter(|wanted| shelf.admitted(&catalogue.ask_of_wanted(wanted)) == *admitted);
    let statement = |wanted: &Wanted| {
        let (requirement, channel) = (wanted.requirement.clone(), wanted.channel.clone());
        let what = What { requirement, channel, owner: wanted.owner };
        let said = Said::Needs { target, what, admitted: admitted.clone() };
        Statement { subject: None, versions: Set::singleton(0), said }
    };
    meant.map(statement).collect()
}

fn needs(
    catalogue: &Catalogue,
    subject: PackageNumber,
    versions: &Set,
    target: PackageNumber,
    admitted: &Set,
) -> Vec<Statement> {
    let (name, target_name) = (catalogue.name(subject), catalogue.name(target));
    let (shelf, offered) = (catalogue.shelf(subject), catalogue.shelf(target));
    let is_meant = |one: &&Dependency| {
        one.name == target_name && offered.admitted(&catalogue.ask_of_dependency(one)) == *admitted
    };
    let statement = |number| {
        let one = catalogue.needs(&name, shelf.candidate(number)).find(is_meant)?;
        let (requirement, channel) = (one.requirement.clone(), one.channel.clone());
        let what = What { requirement, channel, owner: one.owner };
        let said = Said::Needs { target, what, admitted: admitted.clone() };
        Some(Statement::about(subject, number, said))
    };
    versions.within(shelf.numbers()).flatten().filter_map(statement).collect()
}

fn conflicts(
    catalogue: &Catalogue,
    subject: PackageNumber,
    versions: &Set,
    target: PackageNumber,
) -> Vec<Statement> {
    let (shelf, name) = (catalogue.shelf(subject), catalogue.name(target));
    let statements = |number| {
        let conflicts = shelf.candidate(number).conflicts.iter().filter(|one| one.name == name);
        let said = conflicts.map(|one| Said::Conflicts { target, requirement: one.requirement.clone() });
        said.map(|said| Statement::about(subject, number, said)).collect::<Vec<_>>()
    };
    versions.within(shelf.numbers()).flatten().flat_map(statements).collect()
}

fn faults(catalogue: &Catalogue, subject: PackageNumber, versions: &Set) -> Vec<Statement> {
    let statement = |number| {
        // What the index could not tell now it has told before; should it fail, the statement is left out.
        let fault = catalogue.fault(subject, number).ok()??;
        Some(Statement::about(subject, number, Said::Unusable(fault)))
    };
    let numbers = catalogue.shelf(subject).numbers();
    versions.within(numbers).flatten().filter_map(statement).collect()
}

/// How many steps each package is away from the request, along the statements.
fn distances(statements: &[Statement]) -> BTreeMap<PackageNumber, usize> {
    let mut onwards: BTreeMap<Option<PackageNumber>, BTreeSet<PackageNumber>> = BTreeMap::new();
    for one in statements {
        if let Said::Needs { target, .. } = &one.said {
            onwards.entry(one.subject).or_default().insert(*target);
        }
    }
    let mut distances = BTreeMap::new();
    let mut reached = onwards.remove(&None).unwrap_or_default();
    for steps in 1.. {
        reached.retain(|package| !distances.contains_key(package));
        if reached.is_empty() {
            break;
        }
        distances.extend(reached.iter().map(|package| (*package, steps)));
        reached = reached.iter().filter_map(|package| onwards.remove(&Some(*package))).flatten().collect();
    }
    distances
}
