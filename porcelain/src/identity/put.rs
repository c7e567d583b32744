//! Putting the newest documents of an identity into repositories at once, by a new index.

use super::alone;
use super::registry::{Own, list};
use crate::error::Error;
use crate::log::Log;
use crate::session::Session;
use objects::claim::Index as IndexHead;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::repository::Repository;
use plumbing::index::Index;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A repository that names the newest documents now.
#[derive(Clone, Debug, Serialize)]
pub struct Put {
    /// Its folder.
    pub repository: PathBuf,
    /// The number of its index.
    pub index: u64,
}

/// Puts what is newest of `id` into each of `to`.
///
/// # Errors
/// `NotFound` if one has no package yet; as publishing has it.
pub(super) fn all(session: &Session, id: IdentityId, to: &[PathBuf]) -> Result<Vec<Put>, Error> {
    if to.is_empty() {
        return Ok(Vec::new());
    }
    let _lock = alone(session)?;
    all_locked(session, id, to)
}

/// The same under the caller's lock on signing.
pub(super) fn all_locked(session: &Session, id: IdentityId, to: &[PathBuf]) -> Result<Vec<Put>, Error> {
    let own = list(session)?.into_iter().find(|own| own.id == id);
    to.iter()
        .map(|path| match &own {
            Some(own) => one(session, own, path),
            None => Err(Error::usage(
                format!("{} is not an identity of yours", id.nick()),
                "whoever keeps the repository puts it there",
            )),
        })
        .collect()
}

fn one(session: &Session, own: &Own, path: &Path) -> Result<Put, Error> {
    let repository = Repository::open(path)?;
    let _lock = repository.lock_shared()?;
    let _signing = repository.lock_signing()?;
    let name = package_of(&repository, own.id)?.ok_or_else(|| {
        Error::not_found(
            format!("a package of {} in {}", own.name, path.display()),
            "the first `pkg publish` puts the documents there by itself",
        )
    })?;
    let mut log = Log::open(session, &repository, own.clone(), &name)?;
    log.catch_up()?;
    let summary =
        repository.summary()?.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    let root = summary.index.envelope().peek::<IndexHead>()?.root;
    let (index, _) = log.publish_index(&[], root)?;
    Ok(Put { repository: path.to_owned(), index })
}

/// A package of `owner` that the repository lists.
fn package_of(repository: &Repository, owner: IdentityId) -> Result<Option<PackageName>, Error> {
    let Some(summary) = repository.summary()? else { return Ok(None) };
    let root = summary.index.envelope().peek::<IndexHead>()?.root;
    let index = Index::open(repository.store(), root)?;
    for name in index.names() {
        if index.record(&name)?.is_some_and(|record| record.owner == owner) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
