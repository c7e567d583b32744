//! Walking what hangs below a tree.
//!
//! Promises: every walk is bounded in entries, depth and path length (SEC-015 to 017), and by
//! (kind, id) each object is visited once where that is enough. Sizes have to add up.
//! Leaves to others: what to do with what is met.

use crate::blob::{Blob, Piece};
use crate::id::{BlobId, ChunkId, ObjectId, TreeId};
use crate::ids::IdSet;
use crate::limits::{FILE_CHUNKS_MAX, LINK_BYTES_MAX, PATH_BYTES_MAX, PATH_DEPTH_MAX, RELEASE_FILES_MAX};
use crate::object::{Bytes, Error, Exists, Find, Kind};
use crate::store::pack::table::Base;
use crate::tree::{Entry, Mode, Tree, TreeError};

/// How much a tree holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files, links and directories.
    pub files: u64,
    /// Bytes of files and link targets.
    pub bytes: u64,
}

/// The entries of a directory, its runs joined.
///
/// # Errors
/// Those of `find`; `Format` for a malformed tree; `Limit` if its rows state more entries than a
/// release may have, before any run is read (SEC-016).
pub fn entries(find: &dyn Find, id: TreeId) -> Result<Vec<Entry>, Error> {
    let mut all = Vec::new();
    match tree(find, id)? {
        Tree::Entries(entries) => return Ok(entries),
        Tree::Fan(runs) => {
            let total = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.2));
            if total > RELEASE_FILES_MAX {
                return Err(limit("number of entries of tree", id.object(), RELEASE_FILES_MAX));
            }
            for (first, run, count, bytes) in runs {
                let Tree::Entries(entries) = tree(find, run)? else {
                    return Err(tree_fault(run, "a run of a directory is itself split"));
                };
                let fits = entries.len() as u64 == count && crate::tree::sum(&entries) == bytes;
                if !fits || entries.first().map(|entry| &entry.name) != Some(&first) {
                    return Err(tree_fault(run, "a run holds other entries than its row says"));
                }
                all.extend(entries);
            }
        }
    }
    if all.windows(2).any(|pair| pair[0].name.as_str() >= pair[1].name.as_str()) {
        return Err(tree_fault(id, "its runs are out of order"));
    }
    Ok(all)
}

/// One tree object.
///
/// # Errors
/// Those of `find`; `Format` if it is none.
pub fn tree(find: &dyn Find, id: TreeId) -> Result<Tree, Error> {
    let bytes = find.find(Kind::Tree, &id.object())?;
    Tree::decode(&bytes).map_err(|source| Error::tree(id, source))
}

/// One blob object.
///
/// # Errors
/// Those of `find`; `Format` if it is none.
pub fn blob(find: &dyn Find, id: BlobId) -> Result<Blob, Error> {
    let bytes = find.find(Kind::Blob, &id.object())?;
    Blob::decode(&bytes).map_err(|source| Error::blob(id, source))
}

/// The chunks of a file entry, in order.
///
/// # Errors
/// Those of `find`; `Format` if its blob is malformed or of another size.
pub fn pieces(find: &dyn Find, entry: &Entry) -> Result<Vec<Piece>, Error> {
    if !entry.mode.is_blob() {
        return Ok(vec![(ChunkId::new(entry.id), entry.size)]);
    }
    let id = BlobId::new(entry.id);
    let pieces = blob_pieces(find, id)?;
    if pieces.len() == 1 {
        return Err(blob_fault(id, "a file of one chunk has no blob"));
    }
    if pieces.iter().map(|piece| piece.1).sum::<u64>() != entry.size {
        return Err(blob_fault(id, "it has another size than its entry says"));
    }
    Ok(pieces)
}

/// Most chunks of one blob that are held in memory: of a file of 256 GiB.
const PIECES_MAX: u64 = 16 << 20;

/// The chunks of a blob, its runs joined.
///
/// # Errors
/// Those of `find`; `Format` if it is malformed; `Limit` if its rows state more chunks than a file
/// may have, before any run is read: one run could be named again and again (SEC-017).
pub fn blob_pieces(find: &dyn Find, id: BlobId) -> Result<Vec<Piece>, Error> {
    let runs = match blob(find, id)? {
        Blob::Chunks { pieces, .. } => return Ok(pieces),
        Blob::Fan { runs, .. } => runs,
    };
    let total = runs.iter().fold(0u64, |sum, run| sum.saturating_add(run.1));
    if total > FILE_CHUNKS_MAX {
        return Err(limit("number of chunks of blob", id.object(), FILE_CHUNKS_MAX));
    }
    let mut all = Vec::new();
    for (run, count, bytes) in runs {
        if all.len() as u64 + count > PIECES_MAX {
            return Err(Error::Limit { what: "number of chunks of blob", id: id.object(), max: PIECES_MAX });
        }
        match blob(find, run)? {
            Blob::Chunks { size, pieces } if pieces.len() as u64 == count && size == bytes => {
                all.extend(pieces)
            }
            _ => return Err(blob_fault(run, "a run holds other chunks than its row says")),
        }
    }
    Ok(all)
}

/// The bytes of a chunk, which must be as many as its row says: what follows it is placed by that.
///
/// # Errors
/// Those of `find`; `Format` if it has another length.
pub fn chunk(find: &dyn Find, (id, len): Piece) -> Result<Bytes, Error> {
    let bytes = find.find(Kind::Chunk, &id.object())?;
    if bytes.len() as u64 != len {
        return Err(chunk_fault(id));
    }
    Ok(bytes)
}

/// A chunk of another length than the row that names it says.
pub(crate) fn chunk_fault(id: ChunkId) -> Error {
    let why = crate::codec::Error::malformed("chunk", "it has another length than its file says");
    Error::Format { kind: Kind::Chunk, id: id.object(), source: why.into() }
}

/// A link's target.
///
/// # Errors
/// Those of `find`; `Format` if it is no text, too long, or of another size than the entry says.
pub fn link_target(find: &dyn Find, entry: &Entry) -> Result<String, Error> {
    let bytes = find.find(Kind::Chunk, &entry.id)?;
    let fault = |why: &'static str| Error::Format {
        kind: Kind::Chunk,
        id: entry.id,
        source: TreeError::Format(crate::codec::Error::malformed("link", why)),
    };
    if bytes.len() as u64 != entry.size || bytes.len() > LINK_BYTES_MAX {
        return Err(fault("its target has another length than its entry says, or is too long"));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| fault("its target is not UTF-8"))
}

struct Level {
    id: TreeId,
    path: usize,
    stated: Option<u64>,
    bytes: u64,
    entries: std::vec::IntoIter<Entry>,
}

/// Shows every entry below `root` to `f`, directories before what is in them, in tree order.
///
/// # Errors
/// Those of `find` and `f`; `Limit` beyond `files_max` entries, 128 levels or 4,096 bytes of path;
/// `Format` where sizes do not add up.
pub fn visit<E: From<Error>>(
    find: &dyn Find,
    root: TreeId,
    files_max: u64,
    f: &mut dyn FnMut(&str, &Entry) -> Result<(), E>,
) -> Result<Totals, E> {
    let mut path = String::new();
    let mut totals = Totals::default();
    let level = |id, path, stated| -> Result<Level, Error> {
        Ok(Level { id, path, stated, bytes: 0, entries: entries(find, id)?.into_iter() })
    };
    let mut levels = vec![level(root, 0, None)?];
    while let Some(last) = levels.last_mut() {
        path.truncate(last.path);
        let Some(entry) = last.entries.next() else {
            let done = levels.pop().expect("it was just looked at");
            check_sum(&done)?;
            match levels.last_mut() {
                Some(above) => above.bytes = above.bytes.saturating_add(done.bytes),
                None => totals.bytes = done.bytes,
            }
            continue;
        };
        totals.files += 1;
        if totals.files > files_max {
            return Err(limit("number of files below tree", root.object(), files_max).into());
        }
        if !path.is_empty() {
            path.push('/');
        }
        path.push_str(entry.name.as_str());
        if path.len() > PATH_BYTES_MAX {
            return Err(limit("length of a path below tree", root.object(), PATH_BYTES_MAX as u64).into());
        }
        f(&path, &entry)?;
        if entry.mode != Mode::Dir {
            last.bytes = last.bytes.saturating_add(entry.size);
            continue;
        }
        let below = level(TreeId::new(entry.id), path.len(), Some(entry.size))?;
        if levels.len() >= PATH_DEPTH_MAX && !below.entries.as_slice().is_empty() {
            return Err(limit("depth below tree", root.object(), PATH_DEPTH_MAX as u64).into());
        }
        levels.push(below);
    }
    Ok(totals)
}

fn check_sum(level: &Level) -> Result<(), Error> {
    match level.stated {
        Some(stated) if stated != level.bytes => {
            Err(tree_fault(level.id, "its files have another size than its entry says"))
        }
        _ => Ok(()),
    }
}

/// All links below `root`, checked to stay inside.
///
/// # Errors
/// As [`visit`]; `Link` if one leads out.
pub fn check_links(find: &dyn Find, root: TreeId, files_max: u64) -> Result<(), Error> {
    let mut links = std::collections::BTreeMap::new();
    visit::<Error>(find, root, files_max, &mut |path, entry| {
        if entry.mode == Mode::Link {
            links.insert(path.to_owned(), link_target(find, entry)?);
        }
        Ok(())
    })?;
    crate::links::check(&links)
}

/// True if the tree and everything below it is here.
///
/// # Errors
/// If some of it is here and damaged.
pub fn is_whole(store: &(impl Find + Exists), tree: TreeId) -> Result<bool, Error> {
    let walked = reach(store, tree, &mut Seen::default(), &mut |met| match met {
        Met::Chunk((chunk, _)) if !store.contains(&chunk.object()) => {
            Err(Error::Missing { kind: Kind::Chunk, id: chunk.object() })
        }
        _ => Ok(()),
    });
    match walked {
        Ok(()) => Ok(true),
        Err(Error::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The objects that walks have met; the same id may be met as a tree and as a chunk.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Those opened as trees.
    pub trees: IdSet,
    /// Those opened as blobs.
    pub blobs: IdSet,
    /// Those named as chunks.
    pub chunks: IdSet,
}

impl Seen {
    /// Adds an object; false if it is here already.
    pub fn insert(&mut self, kind: Kind, id: ObjectId) -> bool {
        match kind {
            Kind::Tree => self.trees.insert(id),
            Kind::Blob => self.blobs.insert(id),
            Kind::Chunk => self.chunks.insert(id),
        }
    }

    /// True if the object was met.
    pub fn contains(&self, kind: Kind, id: &ObjectId) -> bool {
        match kind {
            Kind::Tree => self.trees.contains(id),
            Kind::Blob => self.blobs.contains(id),
            Kind::Chunk => self.chunks.contains(id),
        }
    }

    /// The ids, whatever they were met as.
    pub fn into_ids(self) -> IdSet {
        let Seen { trees, blobs, chunks: mut ids } = self;
        ids.extend(trees.iter().chain(blobs.iter()).copied());
        ids
    }
}

/// All objects below a tree, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closure {
    /// Trees and blobs, in the order they are met.
    pub structure: Vec<(Kind, ObjectId)>,
    /// Chunks and their lengths, in the order they are met: what the protocol numbers them by.
    pub chunks: Vec<Piece>,
}

/// The objects below `root` that are not in `seen` yet; adds them to it.
///
/// # Errors
/// As [`reach`].
pub fn closure(find: &dyn Find, root: TreeId, seen: &mut Seen) -> Result<Closure, Error> {
    let mut found = Closure::default();
    let mut chunks = std::mem::take(&mut seen.chunks);
    let walked = reach(find, root, seen, &mut |met| {
        match met {
            Met::Structure(kind, id) => found.structure.push((kind, id)),
            Met::Chunk(piece) if chunks.insert(piece.0.object()) => found.chunks.push(piece),
            Met::Chunk(_) => {}
        }
        Ok::<(), Error>(())
    });
    seen.chunks = chunks;
    walked.map(|()| found)
}

/// Adds the objects below `root` to `seen`.
///
/// # Errors
/// As [`reach`].
pub fn mark(find: &dyn Find, root: TreeId, seen: &mut Seen) -> Result<(), Error> {
    let mut chunks = std::mem::take(&mut seen.chunks);
    let walked = reach(find, root, seen, &mut |met| {
        if let Met::Chunk((chunk, _)) = met {
            chunks.insert(chunk.object());
        }
        Ok(())
    });
    seen.chunks = chunks;
    walked
}

/// What a walk comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// A tree or blob, before what it names.
    Structure(Kind, ObjectId),
    /// A chunk and its length.
    Chunk(Piece),
}

/// Shows the trees and blobs below `root` that are not in `seen` to `f`, each once, and adds them to it;
/// and each chunk that they name, as often as they name it, whether it is in `seen` or not.
///
/// # Errors
/// Those of `find` and `f`; `Format` for malformed objects, `Limit` for too deep or too many.
pub fn reach<E: From<Error>>(
    find: &dyn Find,
    root: TreeId,
    seen: &mut Seen,
    f: &mut dyn FnMut(Met) -> Result<(), E>,
) -> Result<(), E> {
    Walk { find, seen, met: f, rows: 0, root }.tree(root, 0)
}

struct Walk<'a, E> {
    find: &'a dyn Find,
    seen: &'a mut Seen,
    met: &'a mut dyn FnMut(Met) -> Result<(), E>,
    rows: u64,
    root: TreeId,
}

impl<E: From<Error>> Walk<'_, E> {
    fn is_new(&mut self, kind: Kind, id: ObjectId) -> Result<bool, E> {
        let new = self.seen.insert(kind, id);
        if new {
            (self.met)(Met::Structure(kind, id))?;
        }
        Ok(new)
    }

    fn count(&mut self, rows: usize) -> Result<(), Error> {
        self.rows += rows as u64;
        // Each tree is opened once, so this bounds the work even for a tree bomb.
        if self.rows > 2 * RELEASE_FILES_MAX {
            return Err(limit("number of files below tree", self.root.object(), RELEASE_FILES_MAX));
        }
        Ok(())
    }

    fn tree(&mut self, id: TreeId, depth: usize) -> Result<(), E> {
        if !self.is_new(Kind::Tree, id.object())? {
            return Ok(());
        }
        if depth > PATH_DEPTH_MAX {
            return Err(limit("depth below tree", self.root.object(), PATH_DEPTH_MAX as u64).into());
        }
        match tree(self.find, id)? {
            Tree::Entries(entries) => self.entries(&entries, depth),
            Tree::Fan(runs) => {
                self.count(runs.len())?;
                for (_, run, ..) in runs {
                    if !self.is_new(Kind::Tree, run.object())? {
                        continue;
                    }
                    match tree(self.find, run)? {
                        Tree::Entries(entries) => self.entries(&entries, depth)?,
                        Tree::Fan(_) => {
                            return Err(tree_fault(run, "a run of a directory is itself split").into());
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn entries(&mut self, entries: &[Entry], depth: usize) -> Result<(), E> {
        self.count(entries.len())?;
        for entry in entries {
            match entry.mode {
                Mode::Dir => self.tree(TreeId::new(entry.id), depth + 1)?,
                mode if mode.is_blob() => self.blob(BlobId::new(entry.id))?,
                _ => self.chunk((ChunkId::new(entry.id), entry.size))?,
            }
        }
        Ok(())
    }

    fn blob(&mut self, id: BlobId) -> Result<(), E> {
        if !self.is_new(Kind::Blob, id.object())? {
            return Ok(());
        }
        match blob(self.find, id)? {
            Blob::Chunks { pieces, .. } => self.chunks(pieces),
            Blob::Fan { runs, .. } => {
                for (run, ..) in runs {
                    if !self.is_new(Kind::Blob, run.object())? {
                        continue;
                    }
                    match blob(self.find, run)? {
                        Blob::Chunks { pieces, .. } => self.chunks(pieces)?,
                        Blob::Fan { .. } => {
                            return Err(blob_fault(run, "a run of a blob is itself split").into());
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn chunks(&mut self, pieces: Vec<Piece>) -> Result<(), E> {
        pieces.into_iter().try_for_each(|piece| self.chunk(piece))
    }

    fn chunk(&mut self, piece: Piece) -> Result<(), E> {
        (self.met)(Met::Chunk(piece))
    }
}

/// Appends the bytes `part` names of a blob whose chunks are `pieces`; fewer if the blob is shorter.
///
/// # Errors
/// Those of `find`.
pub fn read_pieces(find: &dyn Find, pieces: &[Piece], part: &Base, out: &mut Vec<u8>) -> Result<(), Error> {
    let end = part.start.saturating_add(part.len);
    let mut at = 0u64;
    for (chunk, len) in pieces.iter().copied() {
        let next = at + len;
        if next > part.start && at < end {
            let bytes = find.find(Kind::Chunk, &chunk.object())?;
            let from = part.start.saturating_sub(at) as usize;
            let to = (end - at).min(len) as usize;
            out.extend_from_slice(bytes.get(from..to).unwrap_or_default());
        }
        at = next;
    }
    Ok(())
}

/// The whole content of a file entry of at most `bytes_max` bytes.
///
/// # Errors
/// Those of `find`; `Limit` if it is longer.
pub fn read_file(find: &dyn Find, entry: &Entry, bytes_max: u64) -> Result<Vec<u8>, Error> {
    if entry.size > bytes_max {
        return Err(Error::Limit { what: "size of file", id: entry.id, max: bytes_max });
    }
    let mut content = Vec::with_capacity(entry.size as usize);
    for piece in pieces(find, entry)? {
        content.extend_from_slice(&chunk(find, piece)?);
    }
    Ok(content)
}

/// The entry at `path` below `root`, or None.
///
/// # Errors
/// As [`entries`].
pub fn entry_at(find: &dyn Find, root: TreeId, path: &str) -> Result<Option<Entry>, Error> {
    let mut tree = root;
    let mut steps = path.split('/').peekable();
    while let Some(step) = steps.next() {
        let Some(entry) = entries(find, tree)?.into_iter().find(|entry| entry.name.as_str() == step) else {
            return Ok(None);
        };
        if steps.peek().is_none() {
            return Ok(Some(entry));
        }
        if entry.mode != Mode::Dir {
            return Ok(None);
        }
        tree = TreeId::new(entry.id);
    }
    Ok(None)
}

fn limit(what: &'static str, id: ObjectId, max: u64) -> Error {
    Error::Limit { what, id, max }
}

fn tree_fault(id: TreeId, why: &'static str) -> Error {
    Error::tree(id, crate::codec::Error::malformed("tree", why))
}

fn blob_fault(id: BlobId, why: &'static str) -> Error {
    Error::blob(id, crate::codec::Error::malformed("blob", why))
}
