//! What this machine believes, and a person's word about it: pins, evidence, rules, and why a release is
//! accepted.
//!
//! Promises: looking changes nothing; a pin is replaced only after it was taken back by name.
//! Leaves to others: the judgement (`plumbing::trust`).

pub mod evidence;
pub mod policy;
pub mod why;

use crate::error::Error;
use crate::session::Session;
use objects::claim::Repository;
use objects::id::{IdentityId, StatementId};
use objects::name::PackageName;
use objects::time::Timestamp;
use plumbing::trust::PackagePin;
use serde::Serialize;

/// A source and the repository it has to show.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// Its address.
    pub source: String,
    /// The repository.
    pub repository: Repository,
    /// When it was pinned.
    pub since: Timestamp,
}

/// A name and whose package it is.
#[derive(Clone, Debug, Serialize)]
pub struct Package {
    /// The name.
    pub name: PackageName,
    /// Where it was read.
    pub repository: Repository,
    /// Its owner.
    pub owner: IdentityId,
    /// When it was pinned.
    pub since: Timestamp,
}

/// The newest statement of a line that was believed.
#[derive(Clone, Debug, Serialize)]
pub struct Head {
    /// `identity`, `index` or `log`.
    pub kind: String,
    /// Which of its kind.
    pub line: String,
    /// Its number.
    pub n: u64,
    /// The statement.
    pub id: StatementId,
}

/// All that this machine holds others to.
#[derive(Clone, Debug, Serialize)]
pub struct Pins {
    /// Sources.
    pub repositories: Vec<Source>,
    /// Names.
    pub packages: Vec<Package>,
    /// Newest statements.
    pub heads: Vec<Head>,
    /// The newest date of all that was believed: no clock goes behind it.
    pub last_known: Timestamp,
}

/// Everything that is pinned.
///
/// # Errors
/// If the state cannot be read.
pub fn list(session: &Session) -> Result<Pins, Error> {
    let state = session.state()?;
    let sources = state.repositories()?.into_iter();
    let repositories = sources
        .map(|pin| Source { source: shown(&pin.source), repository: pin.repository, since: pin.since })
        .collect();
    let heads =
        state.heads()?.into_iter().map(|(kind, line, head)| Head { kind, line, n: head.n, id: head.id });
    Ok(Pins {
        repositories,
        packages: state.packages()?.into_iter().map(package).collect(),
        heads: heads.collect(),
        last_known: state.last_known()?,
    })
}

fn package(pin: PackagePin) -> Package {
    Package { name: pin.name, repository: pin.repository, owner: pin.owner, since: pin.since }
}

/// An address without credentials.
fn shown(address: &str) -> String {
    use plumbing::transport::address::Address;
    Address::parse(address).map_or_else(|_| address.to_owned(), |address| address.to_string())
}

/// Pins a name to its owner before it is used: what a person learned by another way.
///
/// # Errors
/// `Conflict` if it is pinned to somebody else there; `Usage` if the repository cannot be told.
pub fn pin(
    session: &Session,
    name: &PackageName,
    owner: IdentityId,
    repository: Option<&str>,
    bound: Option<Repository>,
) -> Result<Package, Error> {
    let state = session.state()?;
    let repository = match repository {
        Some(text) => find_repository(session, text)?,
        None => bound.map_or_else(|| only_repository(session), Ok)?,
    };
    let there = state.package(name)?.into_iter().find(|pin| pin.repository == repository);
    if let Some(pin) = there {
        if pin.owner == owner {
            return Ok(package(pin));
        }
        return Err(Error::conflict(
            format!("{name} in {repository} is pinned to id:{} already", pin.owner.to_hex()),
            format!("if that is wrong, take it back first: `pkg trust unpin {name}`"),
        ));
    }
    let pin = PackagePin { name: name.clone(), repository, owner, since: session.now() };
    state.pin_package(&pin)?;
    Ok(package(pin))
}

/// The repository called `text`: `ID/NAME`, as far as the id is needed to tell it from the others known.
fn find_repository(session: &Session, text: &str) -> Result<Repository, Error> {
    let text = text.strip_prefix("id:").unwrap_or(text);
    let (id, name) = text.split_once('/').unwrap_or((text, "main"));
    if let Ok(owner) = id.parse::<IdentityId>() {
        return Ok(Repository { owner, name: name.to_owned() });
    }
    let all = known_repositories(session)?;
    let mut fits = all.into_iter().filter(|repository| {
        repository.name == name && id.len() >= 4 && repository.owner.to_hex().starts_with(id)
    });
    match (fits.next(), fits.next()) {
        (Some(repository), None) => Ok(repository),
        (Some(_), Some(_)) => {
            Err(Error::usage(format!("{text} is more than one repository"), "give more digits"))
        }
        (None, _) => {
            Err(Error::not_found(format!("a repository {text}"), "`pkg trust list` shows those known"))
        }
    }
}

fn only_repository(session: &Session) -> Result<Repository, Error> {
    let mut all = known_repositories(session)?.into_iter();
    match (all.next(), all.next()) {
        (Some(repository), None) => Ok(repository),
        _ => Err(Error::usage(
            "it is not clear in which repository",
            "say it with --repository ID/NAME, or in an environment",
        )),
    }
}

fn known_repositories(session: &Session) -> Result<Vec<Repository>, Error> {
    let mut all: Vec<Repository> =
        session.state()?.repositories()?.into_iter().map(|pin| pin.repository).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

/// Forgets a pin, on a person's word: of a source if one is called so, else of a name. Heads stay: what
/// was seen stays seen. Says which it was.
///
/// # Errors
/// `NotFound` if nothing is pinned under that name.
pub fn unpin(session: &Session, what: &str) -> Result<&'static str, Error> {
    let state = session.state()?;
    let absolute = std::path::absolute(what).map(|path| path.display().to_string()).unwrap_or_default();
    let sources = state.repositories()?;
    let source = sources.iter().find(|pin| [pin.source.as_str(), &shown(&pin.source)].contains(&what));
    let source = source.or_else(|| sources.iter().find(|pin| pin.source == absolute));
    if let Some(pin) = source {
        state.unpin_repository(&pin.source)?;
        return Ok("source");
    }
    let name: Option<PackageName> = what.parse().ok();
    match name.map(|name| state.unpin_package(&name)).transpose()? {
        Some(true) => Ok("package"),
        _ => Err(Error::not_found(format!("a pin of {what}"), "`pkg trust list` shows them")),
    }
}
