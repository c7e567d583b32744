//! Putting the newest documents of an identity into repositories at once, by a new index.

use super::alone;
use super::registry::{Own, list};
use crate::distribute;
use crate::error::Error;
use crate::pen::Pen;
use crate::session::Session;
use objects::id::IdentityId;
use objects::repository::Repository;
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
    if repository.summary()?.is_none() {
        return Err(Error::not_found(
            format!("an index in {}", path.display()),
            "the first `pkg publish` puts the documents there by itself",
        ));
    }
    let index = distribute::carried::renew(session, &repository, &Pen::new(session, own.clone())?)?;
    Ok(Put { repository: path.to_owned(), index })
}
