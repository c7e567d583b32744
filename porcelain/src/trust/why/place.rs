//! Where a package is looked for, and where statements come from that are not here.

use super::Request;
use crate::env::{Environment, Lockfile};
use crate::error::Error;
use crate::inspect::View;
use crate::locked;
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{PackageRecord, Repository as RepositoryName, VersionRow};
use objects::id::StatementId;
use objects::name::PackageName;
use objects::signed::Envelope;
use objects::spec::{PackageSpec, Select};
use objects::version::Version;
use plumbing::trust::{self, Policy};
use std::cell::OnceCell;

/// Where the package is looked for.
pub(super) struct Place {
    pub repository: RepositoryName,
    pub addresses: Vec<String>,
    lock: Option<Lockfile>,
    pub installed: Option<StatementId>,
    version: Option<Version>,
}

impl Place {
    pub fn find(session: &Session, request: &Request<'_>) -> Result<Place, Error> {
        let name = &request.spec.name;
        let environment = request.environment;
        let bound = environment.map(Environment::binding).transpose()?;
        let repository = bound.as_ref().and_then(|binding| binding.repository.clone());
        let repository = repository.map_or_else(|| pinned(session, name), Ok)?;
        let addresses = match (environment, bound) {
            _ if request.offline => Vec::new(),
            (Some(environment), Some(binding)) => {
                let others = environment.wanted()?.environment.sources;
                let all = std::iter::once(binding.source).chain(others);
                all.filter(|address| !address.is_empty()).collect()
            }
            _ => sources(session, &repository)?,
        };
        let current = environment.map(Environment::current).transpose()?;
        let here =
            current.as_ref().and_then(|generation| generation.of(name).find(|package| !package.beside));
        Ok(Place {
            repository,
            addresses,
            lock: environment.map(Environment::lockfile).transpose()?.flatten(),
            installed: here.map(|package| package.entry),
            version: here.map(|package| package.version.clone()),
        })
    }

    pub fn release(
        &self,
        session: &Session,
        spec: &PackageSpec,
    ) -> Result<(PackageRecord, VersionRow), Error> {
        let view = View::store(session, Some(&self.repository))?;
        match (&spec.select, &self.version) {
            (Select::Any, Some(version)) => {
                let select = Select::Exact(version.clone());
                view.release(&PackageSpec { select, ..spec.clone() })
            }
            _ => view.release(spec),
        }
    }

    /// What the lockfile keeps is judged as it is when it is installed.
    pub fn policy(&self, session: &Session, row: &VersionRow) -> Policy {
        let locked = self.lock.iter().flat_map(|lock| &lock.packages).any(|locked| locked.entry == row.entry);
        match locked {
            true => locked::lenient(session.policy(), session.config().deny_yanked),
            false => session.policy().clone(),
        }
    }
}

/// The repository in which `name` is pinned.
fn pinned(session: &Session, name: &PackageName) -> Result<RepositoryName, Error> {
    let mut pins = session.state()?.package(name)?.into_iter();
    match (pins.next(), pins.next()) {
        (Some(pin), None) => Ok(pin.repository),
        (None, _) => Err(Error::not_found(format!("a pin of {name}"), "ask in an environment that has it")),
        (Some(_), Some(_)) => Err(Error::usage(
            format!("{name} is pinned in several repositories"),
            "ask in an environment that is bound to one of them",
        )),
    }
}

/// The sources that are pinned to a repository.
fn sources(session: &Session, repository: &RepositoryName) -> Result<Vec<String>, Error> {
    let all = session.state()?.repositories()?.into_iter();
    Ok(all.filter(|pin| pin.repository == *repository).map(|pin| pin.source).collect())
}

/// Statements from the user's store, and else from the sources, which are opened when they are needed.
pub(super) struct Anywhere<'a> {
    session: &'a Session,
    local: &'a objects::statements::Statements,
    addresses: Vec<String>,
    remotes: OnceCell<Vec<Remote>>,
}

impl<'a> Anywhere<'a> {
    pub fn new(session: &'a Session, addresses: Vec<String>) -> Result<Anywhere<'a>, Error> {
        let local = session.store()?.statements();
        Ok(Anywhere { session, local, addresses, remotes: OnceCell::new() })
    }
}

impl trust::Statements for Anywhere<'_> {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, trust::Error> {
        if let Ok(Some(envelope)) = self.local.try_find(id) {
            return Ok(Some(envelope));
        }
        let open = || self.addresses.iter().filter_map(|address| Remote::open(self.session, address).ok());
        let found = self
            .remotes
            .get_or_init(|| open().collect())
            .iter()
            .find_map(|remote| Lookup::new(self.local, remote).find(id).ok().flatten());
        Ok(found)
    }
}
