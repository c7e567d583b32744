//! Objects: what the store holds, and what the model asks of a store.
//!
//! Promises: [`Bytes`] handed out by [`Find`] hash to the id they were asked by.
//! Leaves to others: where the bytes are ([`crate::store`]).

use crate::codec;
use crate::disk;
use crate::id::{BlobId, ObjectId, TreeId};
use std::ops::{Deref, Range};
use std::path::PathBuf;
use std::sync::Arc;

/// What an object is read as. A reference is always (kind, id), and so is every mark (SEC-027).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Raw bytes of a file, or a link's target.
    Chunk,
    /// A file's list of chunks.
    Blob,
    /// A directory.
    Tree,
}

impl Kind {
    /// The word messages and `cat-file -t` use.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Chunk => "chunk",
            Kind::Blob => "blob",
            Kind::Tree => "tree",
        }
    }
}

/// Why an object could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody here has it.
    #[error("{} {id} is not in the store", kind.word())]
    Missing {
        /// As what it was wanted.
        kind: Kind,
        /// The object.
        id: ObjectId,
    },
    /// The bytes found under its name are others (SEC-022, SEC-029).
    #[error("object {id} is damaged in {place}")]
    Corrupt {
        /// The object.
        id: ObjectId,
        /// The pack it was read from.
        place: String,
    },
    /// Its pack is here, and the disk does not give the bytes (REL-016).
    #[error("object {id} cannot be had")]
    Unreadable {
        /// The object.
        id: ObjectId,
        /// Which pack, and what the system said.
        source: disk::Error,
    },
    /// A pack or index does not have its form.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It is there and whole, but not of the kind it was wanted as.
    #[error("object {id} is no {}", kind.word())]
    Format {
        /// As what it was wanted.
        kind: Kind,
        /// The object.
        id: ObjectId,
        /// Why not.
        source: crate::tree::TreeError,
    },
    /// A bound of [`crate::limits`] is passed.
    #[error("{what} {id} goes beyond the limit of {max}")]
    Limit {
        /// What is too much.
        what: &'static str,
        /// Where it was met.
        id: ObjectId,
        /// The bound.
        max: u64,
    },
    /// A link leads out of its package (SEC-004).
    #[error(
        "link {} to {} leads out of the package",
        crate::name::printable(path),
        crate::name::printable(target)
    )]
    Link {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Missing { .. } => "E-NOTFOUND",
            Error::Corrupt { .. } => "E-HASH",
            Error::Unreadable { source, .. } => source.code(),
            Error::Damaged { .. } => "E-FORMAT",
            Error::Format { source, .. } => source.code(),
            Error::Limit { .. } => "E-LIMIT",
            Error::Link { .. } => "E-PATH",
            Error::Disk(error) => error.code(),
        }
    }

    /// A format error of the tree `id`.
    pub fn tree(id: TreeId, source: impl Into<crate::tree::TreeError>) -> Self {
        Error::Format { kind: Kind::Tree, id: id.object(), source: source.into() }
    }

    /// A format error of the blob `id`.
    pub fn blob(id: BlobId, source: codec::Error) -> Self {
        Error::Format { kind: Kind::Blob, id: id.object(), source: source.into() }
    }
}

/// The bytes of an object: a view into the frame they were unpacked from.
#[derive(Clone, Debug)]
pub struct Bytes {
    frame: Arc<Vec<u8>>,
    range: Range<usize>,
}

impl Bytes {
    /// A view of `range` of `frame`.
    pub fn view(frame: Arc<Vec<u8>>, range: Range<usize>) -> Self {
        debug_assert!(range.end <= frame.len());
        Bytes { frame, range }
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Bytes { frame: Arc::new(bytes), range }
    }
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.frame[self.range.clone()]
    }
}

/// A place objects can be read from. Contract: the bytes returned hash to `id`.
pub trait Find {
    /// The object, or None if it is not here.
    ///
    /// # Errors
    /// `Corrupt` or `Damaged` if only damaged bytes are here, `Disk` if the disk refuses.
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error>;

    /// The object wanted as `kind`; absence is an error.
    ///
    /// # Errors
    /// `Missing`, and those of `try_find`.
    fn find(&self, kind: Kind, id: &ObjectId) -> Result<Bytes, Error> {
        self.try_find(id)?.ok_or(Error::Missing { kind, id: *id })
    }
}

/// A place that can tell whether it has an object without reading it.
pub trait Exists {
    /// True if the object is here, whole or damaged.
    fn contains(&self, id: &ObjectId) -> bool;
}

impl<T: Find + ?Sized> Find for &T {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        (**self).try_find(id)
    }
}

impl<T: Exists + ?Sized> Exists for &T {
    fn contains(&self, id: &ObjectId) -> bool {
        (**self).contains(id)
    }
}
