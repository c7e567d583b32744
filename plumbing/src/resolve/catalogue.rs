//! The index as one request sees it.
//!
//! Promises: no package is asked of the index twice. What the request says of a package (a channel,
//! a pre-release, its optional dependencies) is applied here and nowhere else.
//! Leaves to others: what follows for the search (`provider`), words (`report`, `hint`).

use super::set::Set;
use super::shelf::{Ask, Shelf, Terms};
use super::{Candidate, Candidates, Error, IndexError, Request, Wanted, hint};
use objects::claim::Mark;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::release::Dependency;
use objects::version::{Channel, Requirement};
use pubgrub::VersionSet;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A package, by its place in the order in which packages were met.
pub(super) type PackageNumber = usize;

/// Why a candidate cannot be used, whatever else is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// The index says not to.
    Marked(Mark),
    /// The index lists it for too short a time.
    Young,
    /// It needs a package that the index does not have.
    Missing(PackageName),
    /// It needs another version of its own package.
    NeedsItself(Requirement),
}

/// A request, and what was seen of an index so far.
pub(super) struct Catalogue<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) index: &'a dyn Candidates,
    roots: BTreeMap<&'a PackageName, Vec<&'a Wanted>>,
    met: RefCell<Met>,
}

#[derive(Default)]
struct Met {
    names: Vec<PackageName>,
    numbers: BTreeMap<PackageName, PackageNumber>,
    /// None: the index has no such package.
    shelves: Vec<Option<Rc<Shelf>>>,
}

impl<'a> Catalogue<'a> {
    pub(super) fn new(request: &'a Request<'a>, index: &'a dyn Candidates) -> Self {
        let mut roots: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for wanted in &request.roots {
            roots.entry(&wanted.name).or_default().push(wanted);
        }
        Catalogue { request, index, roots, met: RefCell::default() }
    }

    /// Refuses roots that cannot be had even alone.
    pub(super) fn check_roots(&self) -> Result<(), Error> {
        for wanted in &self.request.roots {
            let Some((_, shelf)) = self.find(&wanted.name).map_err(Error::Index)? else {
                return Err(Error::UnknownPackage { name: wanted.name.clone() });
            };
            let ask = self.ask_of_wanted(wanted);
            if shelf.admitted(&ask) == Set::empty() {
                return Err(no_matching(wanted, &shelf, &ask));
            }
        }
        Ok(())
    }

    /// The package behind a number that `find` gave.
    pub(super) fn name(&self, package: PackageNumber) -> PackageName {
        self.met.borrow().names[package].clone()
    }

    /// The candidates of a package that `find` found.
    pub(super) fn shelf(&self, package: PackageNumber) -> Rc<Shelf> {
        let shelf = self.met.borrow().shelves[package].clone();
        shelf.expect("numbers are handed out only for packages that the index has")
    }

    /// The number and the candidates of `name`, unless the index has no such package.
    pub(super) fn find(&self, name: &PackageName) -> Result<Option<(PackageNumber, Rc<Shelf>)>, IndexError> {
        let known = self.met.borrow().numbers.get(name).copied();
        let package = match known {
            Some(package) => package,
            None => self.meet(name)?,
        };
        let shelf = self.met.borrow().shelves[package].clone();
        Ok(shelf.map(|shelf| (package, shelf)))
    }

    fn meet(&self, name: &PackageName) -> Result<PackageNumber, IndexError> {
        let candidates = self.index.candidates(name)?;
        let shelf = candidates.map(|candidates| Rc::new(Shelf::new(candidates, &self.terms(name))));
        let mut met = self.met.borrow_mut();
        let package = met.names.len();
        met.names.push(name.clone());
        met.numbers.insert(name.clone(), package);
        met.shelves.push(shelf);
        Ok(package)
    }

    /// What the request wants of `name`.
    pub(super) fn wanted(&self, name: &PackageName) -> &[&'a Wanted] {
        self.roots.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn terms(&self, name: &PackageName) -> Terms<'a> {
        let named = self.wanted(name).iter().flat_map(|one| one.requirement.named_prereleases());
        Terms { locked: self.request.locked.get(name), opened: named.collect() }
    }

    pub(super) fn ask_of_wanted<'b>(&self, wanted: &'b Wanted) -> Ask<'b>
    where
        'a: 'b,
    {
        let channel = wanted.channel.as_ref().unwrap_or(&self.request.default_channel);
        self.ask(&wanted.requirement, wanted.owner, vec![channel])
    }

    /// A dependency that names no channel is content with the default one, and with those that the
    /// request names for the package.
    pub(super) fn ask_of_dependency<'b>(&self, dependency: &'b Dependency) -> Ask<'b>
    where
        'a: 'b,
    {
        let channels = match &dependency.channel {
            Some(channel) => vec![channel],
            None => self.usual_channels(&dependency.name),
        };
        self.ask(&dependency.requirement, dependency.owner, channels)
    }

    fn usual_channels(&self, name: &PackageName) -> Vec<&'a Channel> {
        let named = self.wanted(name).iter().filter_map(|wanted| wanted.channel.as_ref());
        std::iter::once(&self.request.default_channel).chain(named).collect()
    }

    fn ask<'b>(
        &self,
        requirement: &'b Requirement,
        owner: Option<IdentityId>,
        channels: Vec<&'b Channel>,
    ) -> Ask<'b> {
        let prereleases = self.request.prereleases;
        Ask { requirement, owner, channels: Some(channels), prereleases }
    }

    /// What `candidate` of package `name` needs, optional things only if the request wants them.
    pub(super) fn needs<'b>(
        &self,
        name: &PackageName,
        candidate: &'b Candidate,
    ) -> impl Iterator<Item = &'b Dependency> {
        let optional = self.wanted(name).iter().any(|wanted| wanted.optional);
        candidate.dependencies.iter().filter(move |one| optional || !one.optional)
    }

    /// Why candidate `number` of `package` cannot be used, whatever else is chosen.
    pub(super) fn fault(&self, package: PackageNumber, number: u32) -> Result<Option<Unusable>, IndexError> {
        let (name, shelf) = (self.name(package), self.shelf(package));
        let candidate = shelf.candidate(number);
        if !shelf.usable().contains(&number) {
            let mark = candidate.mark.clone().map(Unusable::Marked);
            return Ok(mark.or(Some(Unusable::Young)));
        }
        for dependency in self.needs(&name, candidate) {
            let Some((target, offered)) = self.find(&dependency.name)? else {
                return Ok(Some(Unusable::Missing(dependency.name.clone())));
            };
            let admitted = || offered.admitted(&self.ask_of_dependency(dependency));
            if target == package && !admitted().contains(&number) {
                return Ok(Some(Unusable::NeedsItself(dependency.requirement.clone())));
            }
        }
        Ok(None)
    }
}

fn no_matching(wanted: &Wanted, shelf: &Shelf, ask: &Ask) -> Error {
    let hint = hint::obstacle(shelf, ask).map(|obstacle| obstacle.hint(&wanted.name));
    Error::NoMatching { wanted: Box::new(wanted.clone()), offered: shelf.newest_first(), hint }
}
