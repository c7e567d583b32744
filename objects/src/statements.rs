//! Signed statements on disk: one file each, by id.
//!
//! Promises: a statement read back has the id it was asked by.
//! Leaves to others: whether it is believed.

use crate::disk;
use crate::id::StatementId;
use crate::limits::ENVELOPE_BYTES_MAX;
use crate::signed::{Document, Envelope, Error as SignedError, Signed};
use std::path::{Path, PathBuf};

/// Why a statement could not be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody here has it.
    #[error("statement {} is not here", .0.short(16))]
    Missing(StatementId),
    /// The file holds another statement, or none.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is a statement of another kind.
    #[error(transparent)]
    Signed(#[from] SignedError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Missing(_) => "E-NOTFOUND",
            Error::Damaged { .. } => "E-HASH",
            Error::Signed(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }
}

/// The statements of one repository.
pub struct Statements {
    root: PathBuf,
}

/// Where a statement stands in a repository, as a relative key.
pub fn key(id: StatementId) -> String {
    let hex = id.to_hex();
    format!("statements/{}/{hex}", &hex[..2])
}

impl Statements {
    /// The statements of the repository in the folder `root`.
    pub fn new(root: &Path) -> Statements {
        Statements { root: root.to_owned() }
    }

    /// The statement `id`, or None.
    ///
    /// # Errors
    /// `Damaged` if the file holds something else.
    pub fn try_find(&self, id: StatementId) -> Result<Option<Envelope>, Error> {
        let path = self.root.join(key(id));
        let Some(bytes) = disk::try_read(&path, ENVELOPE_BYTES_MAX)? else { return Ok(None) };
        match Envelope::decode(&bytes) {
            Ok(envelope) if envelope.id() == id => Ok(Some(envelope)),
            _ => Err(Error::Damaged { path }),
        }
    }

    /// The statement `id` of kind `T`; absence is an error.
    ///
    /// # Errors
    /// `Missing`, `Damaged`, or `Signed` if it is of another kind.
    pub fn find<T: Document>(&self, id: StatementId) -> Result<Signed<T>, Error> {
        Ok(self.try_find(id)?.ok_or(Error::Missing(id))?.typed()?)
    }

    /// Keeps a statement. One that is here and whole stays as it is.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn insert(&self, envelope: &Envelope) -> Result<(), Error> {
        self.insert_all([envelope])
    }

    /// Keeps statements, synced together.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn insert_all<'e>(&self, envelopes: impl IntoIterator<Item = &'e Envelope>) -> Result<(), Error> {
        let is_new = |envelope: &&Envelope| !matches!(self.try_find(envelope.id()), Ok(Some(_)));
        let file = |envelope: &Envelope| (self.root.join(key(envelope.id())), envelope.encode());
        let files: Vec<_> = envelopes.into_iter().filter(is_new).map(file).collect();
        Ok(disk::write_all_whole(&files)?)
    }

    /// The ids of all statements, sorted.
    ///
    /// # Errors
    /// If a folder cannot be read.
    pub fn list(&self) -> Result<Vec<StatementId>, Error> {
        let folder = self.root.join("statements");
        let mut ids = Vec::new();
        for part in disk::list(&folder)? {
            let names = disk::list(&folder.join(part))?;
            ids.extend(names.iter().filter_map(|name| name.parse::<StatementId>().ok()));
        }
        Ok(ids)
    }
}
