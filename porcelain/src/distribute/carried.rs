//! What a repository carries, what waits, and saying no to either.

use super::accept::{means, pen};
use super::incoming::{Held, Incoming};
use super::listing::Listing;
use super::settings::Settings;
use crate::error::Error;
use crate::pen::Pen;
use crate::session::Session;
use objects::claim::{Index as IndexHead, Mark, PackageRecord, Repository as RepositoryName};
use objects::id::IdentityId;
use objects::limits::TEXT_BYTES_MAX;
use objects::name::PackageName;
use objects::repository::Repository;
use objects::spec::PackageSpec;
use objects::version::Version;
use plumbing::index::Index;
use serde::Serialize;
use std::path::Path;

/// A package in an index.
#[derive(Clone, Debug, Serialize)]
pub struct Package {
    /// Its name.
    pub name: PackageName,
    /// Whose it is.
    pub owner: IdentityId,
    /// Who signed versions of it.
    pub signers: Vec<IdentityId>,
    /// How many versions are listed.
    pub versions: usize,
    /// The newest that is not marked, or of all.
    pub newest: Option<Version>,
    /// The versions that are forbidden here, with the reason.
    pub forbidden: Vec<(Version, String)>,
    /// The versions that were withdrawn, with the reason.
    pub yanked: Vec<(Version, String)>,
}

/// A push that waits, with what it offers.
#[derive(Clone, Debug, Serialize)]
pub struct Waiting {
    /// The push.
    #[serde(flatten)]
    pub held: Held,
    /// The releases in it that are not carried yet.
    pub releases: Vec<String>,
}

/// What a repository carries and holds.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Which repository; None if nothing was published to it yet.
    pub repository: Option<RepositoryName>,
    /// The packages of its index.
    pub carried: Vec<Package>,
    /// What others pushed.
    pub waiting: Vec<Waiting>,
}

/// Looks at a repository. Pushes that are past their time are dropped.
///
/// # Errors
/// If its index cannot be read.
pub fn list(path: &Path) -> Result<Outcome, Error> {
    let repository = Repository::open(path)?;
    let incoming = Incoming::of(&repository);
    incoming.sweep(&Settings::read(&repository)?.caps)?;
    let summary = repository.summary()?;
    let records = records(&repository)?;
    let waiting = incoming.list()?.into_iter();
    let waiting = waiting.map(|held| Waiting { releases: offered(&held, &records), held }).collect();
    Ok(Outcome {
        repository: summary.map(|summary| summary.repository),
        carried: records.iter().map(package).collect(),
        waiting,
    })
}

fn records(repository: &Repository) -> Result<Vec<PackageRecord>, Error> {
    let Some(summary) = repository.summary()? else { return Ok(Vec::new()) };
    let head: IndexHead = summary.index.envelope().peek()?;
    let index = Index::open(repository.store(), head.root)?;
    let records = index.names().into_iter().map(|name| index.record(&name));
    Ok(records.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn package(record: &PackageRecord) -> Package {
    let unmarked = record.versions.iter().rev().find(|row| row.mark.is_none());
    let newest = unmarked.or(record.versions.last()).map(|row| row.release.version.clone());
    let (mut forbidden, mut yanked) = (Vec::new(), Vec::new());
    for row in &record.versions {
        match &row.mark {
            Some(Mark::Forbidden { reason }) => forbidden.push((row.release.version.clone(), reason.clone())),
            Some(Mark::Yanked { reason }) => yanked.push((row.release.version.clone(), reason.clone())),
            _ => {}
        }
    }
    Package {
        name: record.name.clone(),
        owner: record.owner,
        signers: record.logs.iter().map(|row| row.signer).collect(),
        versions: record.versions.len(),
        newest,
        forbidden,
        yanked,
    }
}

/// What a push offers that is not carried, as its own index says; nobody has judged it yet.
fn offered(held: &Held, carried: &[PackageRecord]) -> Vec<String> {
    let Ok(pushed) = Repository::open(held.path()) else { return Vec::new() };
    let mut releases = Vec::new();
    for record in records(&pushed).unwrap_or_default() {
        let known = carried.iter().find(|known| known.name == record.name);
        for row in &record.versions {
            let is_known =
                known.is_some_and(|known| known.versions.iter().any(|row_here| row_here.entry == row.entry));
            if !is_known {
                releases.push(format!("{} {}", record.name, row.release.version));
            }
        }
    }
    releases
}

/// What a refusal came to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case", tag = "refused")]
pub enum Refused {
    /// A push was dropped.
    Push {
        /// Its id.
        id: String,
    },
    /// Versions are forbidden, or no longer.
    Versions {
        /// The package.
        name: PackageName,
        /// Which changed.
        versions: Vec<Version>,
        /// The number of the index that says so; None if nothing changed.
        index: Option<u64>,
    },
}

/// What is refused, and why.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The id of a push, or a package spec.
    pub what: String,
    /// Why, for those who have it installed.
    pub reason: String,
    /// True to take it back.
    pub undo: bool,
    /// Which of the user's identities signs the index.
    pub identity: Option<String>,
}

/// Drops a push that waits, or forbids versions that are carried: no new installs from here on.
///
/// # Errors
/// `NotFound` if there is neither; those of signing.
pub fn refuse(session: &Session, path: &Path, refusal: &Refusal) -> Result<Refused, Error> {
    let repository = Repository::open(path)?;
    if !refusal.undo && Incoming::of(&repository).drop_push(&refusal.what)? {
        return Ok(Refused::Push { id: refusal.what.clone() });
    }
    if refusal.reason.len() > TEXT_BYTES_MAX {
        return Err(Error::usage(format!("the reason is longer than {TEXT_BYTES_MAX} bytes"), "be brief"));
    }
    let spec: PackageSpec = refusal.what.parse()?;
    let pen = pen(session, &repository, refusal.identity.as_deref())?;
    let _lock = repository.lock_shared()?;
    let _signing = (session.lock_signing()?, repository.lock_signing()?);
    let mut listing = Listing::open(session, &repository, &pen)?;
    let owner = listing.record(&spec.name)?.map(|record| record.owner);
    let owner = owner.ok_or_else(|| {
        Error::not_found(format!("a push or package {}", refusal.what), "`pkg repo list` shows both")
    })?;
    let versions = listing.mark(
        &spec.name,
        |row| means(&spec, owner, &spec.name, row),
        |mark| match (mark, refusal.undo) {
            (Some(Mark::Forbidden { .. }), true) => None,
            (mark, true) => mark.cloned(),
            // A warning says more than a refusal.
            (Some(Mark::Malicious { .. }), false) => mark.cloned(),
            (_, false) => Some(Mark::Forbidden { reason: refusal.reason.clone() }),
        },
    )?;
    let index = if listing.is_listed() { None } else { Some(listing.publish(&[])?.0) };
    Ok(Refused::Versions { name: spec.name, versions, index })
}

/// Signs the next index, which names the newest documents and grants of everybody in it. Gives its number.
///
/// # Errors
/// Those of signing.
pub fn sign(session: &Session, path: &Path, identity: Option<&str>) -> Result<u64, Error> {
    let repository = Repository::open(path)?;
    let pen = pen(session, &repository, identity)?;
    let _signing = session.lock_signing()?;
    renew(session, &repository, &pen)
}

/// The same for who holds the user's lock on signing.
///
/// # Errors
/// As [`sign`].
pub(crate) fn renew<'a>(
    session: &'a Session,
    repository: &'a Repository,
    pen: &'a Pen<'a>,
) -> Result<u64, Error> {
    let _lock = repository.lock_shared()?;
    let _signing = repository.lock_signing()?;
    let mut listing = Listing::open(session, repository, pen)?;
    listing.renew();
    Ok(listing.publish(&[])?.0)
}
