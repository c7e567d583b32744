//! From a folder to a tree: walk, cut, hash, look up, compress, one writer.
//!
//! ```text
//! walk (1 thread) → read, cut, hash (all cores) → in order: tar hash, look up, frames → compress (all cores) → file
//! ```
//!
//! Promises: the tree and the pack depend on the content alone, not on threads, order of files on
//! disk, owners or times (REL-040); memory is bounded whatever the size of files or folders.
//! Leaves to others: the manifest, and the release made of the tree (porcelain).

mod assemble;
pub(crate) mod cache;
mod read;
mod rules;
mod source;

use crate::disk;
use crate::id::TreeId;
use crate::parallel;
use crate::progress::Progress;
use crate::release::Sha256;
use crate::store::transaction::Transaction;
use assemble::Assembly;
pub(crate) use assemble::group_of;
use cache::{Cache, Stamp};
use read::{Large, Part, Reader, Ready};
use source::{Place, Source};
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
    read_all(transaction, from, options, progress, &mut |_| {})
}

/// As [`ingest`], but nothing is opened if nothing has changed since the folder was taken in last, which
/// the file `cache` tells, and the store still has all of it.
///
/// # Errors
/// Those of [`ingest`]. That the cache cannot be written is none.
pub fn ingest_cached(
    transaction: &mut Transaction<'_>,
    from: &Path,
    cache: &Path,
    options: Options,
    progress: &dyn Progress,
) -> Result<Ingested, Error> {
    if let Some(known) = unchanged(transaction, from, cache, options)? {
        progress.advance(known.size);
        return Ok(known);
    }
    let begun_ns = transaction.begun_ns()?;
    let mut rows = Vec::new();
    let ingested = read_all(transaction, from, options, progress, &mut |row| match row {
        Row::Dir(place) => cache::row_of_folder(&place.path, &mut rows),
        Row::Link(place, target) => cache::row_of_link(&place.path, target, &mut rows),
        Row::File(place, stamp) => {
            cache::row_of_file(&place.path, Some(stamp).filter(|stamp| stamp.is_settled(begun_ns)), &mut rows)
        }
    })?;
    let written = disk::write_unsynced(cache, &Cache::encode(&ingested, options.allow_unportable, &rows));
    drop(written); // where it cannot be kept, the next time takes longer
    Ok(ingested)
}

/// What the folder came to when it was read last, if nothing in it has changed.
fn unchanged(
    transaction: &Transaction<'_>,
    from: &Path,
    cache: &Path,
    options: Options,
) -> Result<Option<Ingested>, Error> {
    let known = disk::try_read(cache, cache::CACHE_BYTES_MAX).ok().flatten().and_then(Cache::decode);
    let Some(known) = known.filter(|known| known.allow_unportable == options.allow_unportable) else {
        return Ok(None);
    };
    let source = Source::new(from)?;
    let reader = Reader { root: source.root(), pace: source.pace() };
    let mut left = known.rows();
    let look = |batch| reader.look(batch).ok(); // an error is told by the full reading
    let same = parallel::ordered(options.jobs, source, look, |rows| {
        left = rows.and_then(|rows| left.strip_prefix(rows.as_slice())).ok_or(())?;
        Ok::<(), ()>(())
    });
    let is_same = same.is_ok() && left.is_empty();
    Ok((is_same && transaction.has_whole(known.outcome.tree)?).then_some(known.outcome))
}

/// A node that was taken in, for the cache.
enum Row<'a> {
    Dir(&'a Place),
    Link(&'a Place, &'a [u8]),
    File(&'a Place, &'a Stamp),
}

fn read_all(
    transaction: &mut Transaction<'_>,
    from: &Path,
    options: Options,
    progress: &dyn Progress,
    note: &mut dyn FnMut(Row<'_>),
) -> Result<Ingested, Error> {
    let source = Source::new(from)?;
    let reader = Reader { root: source.root(), pace: source.pace() };
    let mut assembly = Assembly::new(transaction, source.root(), options.allow_unportable);
    parallel::ordered(
        options.jobs,
        source,
        |batch| reader.read(batch),
        |ready| {
            for node in ready? {
                match node {
                    Ready::Waiting(place) => match reader.open(place)? {
                        Ready::Large(large) => {
                            note(Row::File(&large.place, &large.stamp));
                            stream(&mut assembly, large, options.jobs, progress)?;
                        }
                        node => take(&mut assembly, node, note, progress)?,
                    },
                    node => take(&mut assembly, node, note, progress)?,
                }
            }
            Ok::<(), Error>(())
        },
    )?;
    assembly.finish()
}

fn take(
    assembly: &mut Assembly<'_, '_>,
    node: Ready,
    note: &mut dyn FnMut(Row<'_>),
    progress: &dyn Progress,
) -> Result<(), Error> {
    match node {
        Ready::Dir(place) => {
            note(Row::Dir(&place));
            assembly.folder(&place)
        }
        Ready::Link(place, target) => {
            note(Row::Link(&place, &target));
            assembly.link(place, target)
        }
        Ready::File(whole) => {
            note(Row::File(&whole.place, &whole.stamp));
            assembly.file(&whole)?;
            progress.advance(whole.stamp.size);
            Ok(())
        }
        Ready::Waiting(_) | Ready::Large(_) => unreachable!("large files are streamed by the caller"),
    }
}

/// Takes in a large file: read and cut on one thread, hashed on all.
fn stream(
    assembly: &mut Assembly<'_, '_>,
    large: Large,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let (place, stamp) = (large.place.clone(), large.stamp);
    let name = assembly.begin_file(&place, &stamp)?;
    let hash = |part: Result<Part, Error>| part.map(Part::hash);
    parallel::ordered(jobs, large, hash, |part| {
        let (bytes, pieces) = part?;
        assembly.part(&place, &bytes, &pieces)?;
        progress.advance(bytes.len() as u64);
        Ok::<(), Error>(())
    })?;
    assembly.end_file(name, &stamp)
}
