//! From a folder to a tree: walk, cut, hash, look up, compress, one writer.
//!
//! ```text
//! source (1 thread) → cut and hash (all cores) → in order: tar hash, look up, frames → compress (all cores) → file
//! ```
//!
//! Promises: the tree and the pack depend on the content alone, not on threads, order of files on
//! disk, owners or times (REL-040); memory is bounded whatever the size of files or folders.
//! Leaves to others: the manifest, and the release made of the tree (porcelain).

mod assemble;
mod source;

use crate::disk;
use crate::id::TreeId;
use crate::parallel;
use crate::progress::Progress;
use crate::release::Sha256;
use crate::store::transaction::Transaction;
use assemble::Assembly;
pub(crate) use assemble::group_of;
use std::path::{Path, PathBuf};

/// Why a folder could not be taken in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A device, pipe or socket (SEC-011).
    #[error("{} is a {what}; packages hold files, folders and links", path.display())]
    Special {
        /// Where.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A name that no tree can hold.
    #[error("cannot take in {}", path.display())]
    Name {
        /// Where.
        path: PathBuf,
        /// Why.
        source: crate::name::Error,
    },
    /// A name that some systems cannot hold (SEC-007, SEC-009, SEC-018).
    #[error("{} is not portable: {why}", crate::name::printable(path))]
    Unportable {
        /// Path in the package.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A file that grew or shrank while it was read.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// Where.
        path: PathBuf,
    },
    /// More than one package may hold.
    #[error("{} is more than a package may hold: {what}", path.display())]
    TooMuch {
        /// Where.
        path: PathBuf,
        /// Which bound.
        what: &'static str,
    },
    /// A rule in `.pkgignore` is malformed, or a folder cannot be listed.
    #[error("cannot walk {}", path.display())]
    Walk {
        /// Where it began.
        path: PathBuf,
        /// Why.
        source: ignore::Error,
    },
    /// A link leads out, or a tree cannot be made.
    #[error(transparent)]
    Object(#[from] crate::object::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Special { .. } => "E-FORMAT",
            Error::Name { source, .. } => source.code(),
            Error::Unportable { .. } => "E-PATH",
            Error::TooMuch { .. } => "E-LIMIT",
            Error::Changed { .. } | Error::Walk { .. } => "E-IO",
            Error::Object(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }
}

/// How a folder is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that cut and hash.
    pub jobs: usize,
    /// True to take names that some systems cannot hold.
    pub allow_unportable: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { jobs: parallel::default_jobs(), allow_unportable: false }
    }
}

/// What a folder came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingested {
    /// Its tree.
    pub tree: TreeId,
    /// Bytes of files and link targets.
    pub size: u64,
    /// Files, links and directories.
    pub files: u64,
    /// SHA-256 of the canonical archive.
    pub sha256: Sha256,
    /// Bytes of the canonical archive.
    pub archive_size: u64,
    /// True if it holds names that some systems cannot hold.
    pub unportable: bool,
}

/// Takes the folder (or the one file) `from` into `transaction`.
///
/// Honours `.pkgignore` files, which have git's syntax; leaves out `.git` and `.pkgs` folders.
///
/// # Errors
/// As [`Error`] tells; the transaction should then be dropped.
pub fn ingest(
    transaction: &mut Transaction<'_>,
    from: &Path,
    options: Options,
    progress: &dyn Progress,
) -> Result<Ingested, Error> {
    let mut assembly = Assembly::new(transaction, options.allow_unportable);
    let source = source::Source::new(from)?;
    parallel::ordered(options.jobs, source, source::cut_and_hash, |ready| {
        for node in ready? {
            progress.advance(assembly.take(node)?);
        }
        Ok::<(), Error>(())
    })?;
    assembly.finish()
}
