//! What in a repository resembles what: by chunks that are the same, and by sketches of those that are not.
//!
//! Promises: only releases that an index lists are looked into; the answer is the same on every machine.
//! Leaves to others: what a sketch is ([`objects::similar`]).

use crate::error::Error;
use crate::inspect::{self, View};
use objects::blob::Piece;
use objects::chunker;
use objects::disk;
use objects::id::{BlobId, ChunkId, ObjectId, TreeId};
use objects::limits::RELEASE_FILES_MAX;
use objects::name::PackageName;
use objects::object::{Error as ObjectError, Find, Kind};
use objects::similar::{self, Similar, Sketch};
use objects::store::Store;
use objects::tree::Mode;
use objects::version::Version;
use objects::walk;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Largest file on disk that is compared, in bytes.
const FILE_BYTES_MAX: usize = 1 << 30;
/// Less is chance: file headers and licence texts are alike everywhere.
const PERCENT_MIN: u64 = 5;

/// A file of a release that resembles what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Likeness {
    /// The package.
    pub name: PackageName,
    /// Its newest version with this very file.
    pub version: Version,
    /// The file.
    pub path: String,
    /// Bytes of it.
    pub size: u64,
    /// Percent of its bytes that stand in the same chunks.
    pub same: u64,
    /// Percent of its bytes in other chunks that look alike.
    pub alike: u64,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub enum Subject<'a> {
    /// What [`inspect::rev_parse`] reads: an id, `NAME@VERSION` or `NAME@VERSION:PATH`.
    Object(&'a str),
    /// A file on disk.
    File(&'a Path),
}

/// The files most like `subject`, the most alike first, at most `count`. Files with its very content are
/// left out, unless it came from disk.
///
/// # Errors
/// If it, or something it is compared with, cannot be read.
pub fn similar(view: &View, subject: &Subject<'_>, count: usize) -> Result<Vec<Likeness>, Error> {
    let store = view.repository().store();
    let (wanted, own) = match subject {
        Subject::File(path) => (from_disk(path)?, None),
        Subject::Object(text) => {
            let id = inspect::rev_parse(view, text)?;
            (from_store(store, id)?, Some(id))
        }
    };
    let all = similar::of_store(store)?;
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let index = view.index()?;
    for name in index.names() {
        let versions = index.record(&name)?.map(|record| record.versions).unwrap_or_default();
        for row in versions.iter().rev() {
            let tree = row.release.tree;
            if own == Some(tree.object()) || !store_has(store, tree) {
                continue;
            }
            walk::visit::<ObjectError>(store, tree, RELEASE_FILES_MAX, &mut |path, entry| {
                let is_news = entry.mode.is_file() && entry.size > 0 && seen.insert(entry.id);
                if is_news && own != Some(entry.id) {
                    let (same, alike) = wanted.share(&walk::pieces(store, entry)?, entry.size, &all);
                    if same + alike >= PERCENT_MIN {
                        found.push(Likeness {
                            name: name.clone(),
                            version: row.release.version.clone(),
                            path: path.to_owned(),
                            size: entry.size,
                            same,
                            alike,
                        });
                    }
                }
                Ok(())
            })?;
        }
    }
    found.sort_by(|a, b| {
        let key = |like: &Likeness| std::cmp::Reverse((like.same + like.alike, like.same));
        key(a).cmp(&key(b)).then_with(|| (&a.name, &a.path).cmp(&(&b.name, &b.path)))
    });
    found.truncate(count);
    Ok(found)
}

fn store_has(store: &Store, tree: TreeId) -> bool {
    use objects::object::Exists;
    store.contains(&tree.object())
}

/// The chunks of what was asked for.
#[derive(Default)]
struct Chunks {
    ids: HashSet<ObjectId>,
    sketches: Similar,
}

impl Chunks {
    fn add(&mut self, id: ObjectId, bytes: &[u8]) {
        if let (true, Some(sketch)) = (self.ids.insert(id), Sketch::of(bytes)) {
            self.sketches.insert(id, sketch);
        }
    }

    /// Percent of a file that is the same, and that is alike.
    fn share(&self, pieces: &[Piece], size: u64, all: &Similar) -> (u64, u64) {
        let (mut same, mut alike) = (0, 0);
        let mut known: HashMap<ObjectId, bool> = HashMap::new();
        for (chunk, len) in pieces {
            let id = chunk.object();
            if self.ids.contains(&id) {
                same += len;
            } else if *known.entry(id).or_insert_with(|| {
                all.sketch(&id).is_some_and(|sketch| self.sketches.find(&sketch).is_some())
            }) {
                alike += len;
            }
        }
        (same * 100 / size.max(1), alike * 100 / size.max(1))
    }
}

fn from_disk(path: &Path) -> Result<Chunks, Error> {
    let content = disk::try_read(path, FILE_BYTES_MAX)?;
    let content = content.ok_or_else(|| Error::not_found(path.display(), "name a file"))?;
    let mut chunks = Chunks::default();
    for range in chunker::chunks(&content) {
        chunks.add(ObjectId::of(&content[range.clone()]), &content[range]);
    }
    Ok(chunks)
}

fn from_store(store: &Store, id: ObjectId) -> Result<Chunks, Error> {
    let mut pieces: Vec<Piece> = Vec::new();
    let bytes = store.find(Kind::Chunk, &id)?;
    match inspect::guess_kind(&bytes) {
        Kind::Tree => {
            walk::visit::<ObjectError>(store, TreeId::new(id), RELEASE_FILES_MAX, &mut |_, entry| {
                if entry.mode != Mode::Dir {
                    pieces.extend(walk::pieces(store, entry)?);
                }
                Ok(())
            })?;
        }
        Kind::Blob => pieces = walk::blob_pieces(store, BlobId::new(id))?,
        Kind::Chunk => pieces.push((ChunkId::new(id), bytes.len() as u64)),
    }
    let mut chunks = Chunks::default();
    for (chunk, _) in pieces {
        chunks.add(chunk.object(), &store.find(Kind::Chunk, &chunk.object())?);
    }
    Ok(chunks)
}
