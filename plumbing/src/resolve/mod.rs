//! Resolving: which version of which package an environment gets, and in which order.
//!
//! The search is `PubGrub` (<https://nex3.medium.com/pubgrub-2fb6470504f>) over what an index says;
//! no bytes of a package are looked at.
//!
//! - One version of a package in one environment. Conflicts are incompatibilities (G-19).
//! - A version that is marked is not chosen; the lock may keep a yanked or retired one (SEC-074).
//! - Nor is one that is too young, while an older one does; the lock may keep it (SEC-079).
//! - Preferred is what the lock says, then the newest (or the oldest).
//! - A version of another channel than the default, or a pre-release, is chosen only if asked for
//!   (O7). What the request itself asks of a package counts for everyone: with `dict#nightly:1`
//!   wanted, a dependency on `dict` that names no channel is content with it.
//! - Optional dependencies come only for packages of which the request wants them.
//! - Where a requirement states an owner, others' packages of that name are no candidates (SEC-070).
//!
//! Promises: the same request over the same index gives the same answer, in whatever order the index
//! lists things; hard inputs end in an answer or in [`Error::GaveUp`] (SEC-075).
//! Leaves to others: what the index may say (`index`, `trust`), a clock (`should_cancel`), fetching.

mod catalogue;
mod hint;
mod order;
mod provider;
mod range;
mod report;
mod set;
mod shelf;
mod statement;

pub use report::Explanation;

use objects::claim::Mark;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::release::{Conflict, Dependency};
use objects::version::{Channel, Prereleases, Requirement, Version};
use provider::{Failure, Provider};
use std::collections::BTreeMap;

/// Decisions after which a resolution gives up, unless the request says otherwise.
///
/// Environments of 10,000 packages whose versions quarrel a good deal took 10,000 to 25,000 decisions
/// and half a second; a pigeonhole problem built to be hard takes 6 seconds and 70 MB for as many, and
/// twice that for a fifth more (SEC-075 grants 10 seconds and 1 GiB).
pub const DECISIONS_MAX: u32 = 25_000;

/// Errors of an index, whatever it is made of.
pub type IndexError = Box<dyn std::error::Error + Send + Sync>;

/// What an index offers. Met by `index`, and by anything else that knows versions, such as the
/// packages installed locally.
pub trait Candidates {
    /// Every version of `package`, in any order, marked ones too; None if there is no such package.
    ///
    /// # Errors
    /// Whatever keeps the index from being read; it ends the resolution.
    fn candidates(&self, package: &PackageName) -> Result<Option<Vec<Candidate>>, IndexError>;
}

/// One version of a package, as far as choosing goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The version.
    pub version: Version,
    /// The channel it was released on.
    pub channel: Channel,
    /// Whose package it is.
    pub owner: IdentityId,
    /// What it needs.
    pub dependencies: Vec<Dependency>,
    /// What it cannot stand beside; what it says about its own name is ignored.
    pub conflicts: Vec<Conflict>,
    /// Why it is not to be chosen.
    pub mark: Option<Mark>,
    /// True if it is listed for less time than the user asks for.
    pub young: bool,
}

/// A package that an environment is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: PackageName,
    /// Which versions do.
    pub requirement: Requirement,
    /// Whose it has to be.
    pub owner: Option<IdentityId>,
    /// From which channel; None is the default one.
    pub channel: Option<Channel>,
    /// Whether its optional dependencies are wanted too.
    pub optional: bool,
}

impl Wanted {
    /// `name`, in a version that meets `requirement`.
    pub fn new(name: PackageName, requirement: Requirement) -> Self {
        Wanted { name, requirement, owner: None, channel: None, optional: false }
    }
}

/// Which of several versions that fit to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefer {
    /// The newest: what a user wants.
    #[default]
    Newest,
    /// The oldest: shows whether stated lower bounds are true.
    Oldest,
}

/// What is to be resolved, and how.
pub struct Request<'a> {
    /// The packages wanted.
    pub roots: Vec<Wanted>,
    /// The versions to keep where they still fit.
    pub locked: BTreeMap<PackageName, Version>,
    /// Which versions to try first.
    pub prefer: Prefer,
    /// The channel of whatever names none.
    pub default_channel: Channel,
    /// Whether pre-releases may be chosen that nobody names.
    pub prereleases: Prereleases,
    /// How many decisions to make before giving up.
    pub decisions_max: u32,
    /// Asked at every step; true ends the search, as for an interrupt or a time limit.
    pub should_cancel: &'a dyn Fn() -> bool,
}

impl Request<'_> {
    /// A request for `roots` with nothing locked and all else as usual.
    pub fn new(roots: Vec<Wanted>) -> Self {
        Request {
            roots,
            locked: BTreeMap::new(),
            prefer: Prefer::Newest,
            default_channel: Channel::default(),
            prereleases: Prereleases::Named,
            decisions_max: DECISIONS_MAX,
            should_cancel: &|| false,
        }
    }
}

/// A choice of versions that meets every requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// What was chosen, dependencies before dependents (G-13); equals are in order of their names.
    /// Packages that need each other in a circle stand together, the one met last first.
    pub packages: Vec<Chosen>,
}

/// One package of a resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Its name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The channel it is from.
    pub channel: Channel,
    /// Whose it is.
    pub owner: IdentityId,
    /// True if the request itself wants it.
    pub requested: bool,
    /// The chosen packages that need it, by name.
    pub asked_by: Vec<PackageName>,
    /// A mark the lock made us overlook; worth a warning.
    pub mark: Option<Mark>,
}

/// Why there is no resolution.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No choice of versions meets every requirement.
    #[error("no choice of versions meets every requirement:\n{0}")]
    NoSolution(Box<Explanation>),
    /// The index has no package of a name that the request wants.
    #[error("there is no package {name} in the index")]
    UnknownPackage {
        /// The name.
        name: PackageName,
    },
    /// The index has the package, but no version that the request would take.
    #[error("no version of {} fits {}; {}", wanted.name, wanted.requirement, report::offer(offered))]
    NoMatching {
        /// What was wanted.
        wanted: Box<Wanted>,
        /// The versions there are, newest first.
        offered: Vec<(Version, Channel)>,
        /// What stands in the way, if a version would fit otherwise.
        hint: Option<String>,
    },
    /// The search was cancelled or took too long; whether there is a solution is not known.
    #[error("gave up resolving after {decisions} decisions")]
    GaveUp {
        /// How many were made.
        decisions: u32,
    },
    /// The index could not be read.
    #[error("cannot read the index")]
    Index(#[source] IndexError),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoSolution(explanation) if explanation.is_marked || explanation.is_young => "E-POLICY",
            Error::NoSolution(_) => "E-CONFLICT",
            Error::UnknownPackage { .. } | Error::NoMatching { .. } => "E-NOTFOUND",
            Error::GaveUp { .. } => "E-LIMIT",
            Error::Index(_) => "E-IO",
        }
    }

    /// What a user may try, most promising first.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Error::NoSolution(explanation) => explanation.hints.clone(),
            Error::UnknownPackage { .. } => {
                vec!["check the spelling, or fetch the index anew".to_owned()]
            }
            Error::NoMatching { hint, .. } => hint.iter().cloned().collect(),
            Error::GaveUp { .. } => {
                vec!["ask for narrower versions, or for fewer packages at once".to_owned()]
            }
            Error::Index(_) => Vec::new(),
        }
    }
}

/// Chooses versions for everything `request` wants and everything that needs.
///
/// # Errors
/// `UnknownPackage` and `NoMatching` if one of the roots cannot be had at all; `NoSolution` with the
/// reasons if they cannot be had together; `GaveUp` if that could not be found out within the
/// budget; `Index` if the index could not be read.
pub fn resolve(request: &Request, index: &dyn Candidates) -> Result<Resolution, Error> {
    let provider = Provider::new(request, index);
    provider.catalogue.check_roots()?;
    match provider.solve() {
        Ok(choice) => Ok(order::in_install_order(&provider.catalogue, &choice)),
        Err(Failure::NoSolution(facts)) => {
            Err(Error::NoSolution(Box::new(report::explain(&provider.catalogue, facts))))
        }
        Err(Failure::GaveUp(decisions)) => Err(Error::GaveUp { decisions }),
        Err(Failure::Index(source)) => Err(Error::Index(source)),
    }
}
