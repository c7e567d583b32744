//! The writing half of ingest: nodes arrive in tree order and become objects.

use super::cache::Stamp;
use super::read::{Pieces, Whole};
use super::source::{Place, Root};
use super::{Error, Ingested};
use crate::archive::Archive;
use crate::blob::{self, Piece};
use crate::id::{ChunkId, ObjectId, TreeId};
use crate::limits::{FILE_CHUNKS_MAX, PATH_BYTES_MAX};
use crate::name::{self, EntryName};
use crate::release::Sha256;
use crate::store::transaction::{STRUCTURE, Transaction};
use crate::tree::{self, Entry, Mode};
use sha2::Digest;
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// A folder whose entries are still coming.
struct Folder {
    name: Option<EntryName>,
    entries: Vec<Entry>,
    folded: HashSet<String>,
}

impl Folder {
    fn new(name: Option<EntryName>) -> Self {
        Folder { name, entries: Vec::new(), folded: HashSet::new() }
    }
}

/// SHA-256 as a writer.
struct Hasher(sha2::Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const HASHER: &str = "a hasher takes everything";

/// The tree so far.
pub struct Assembly<'a, 's> {
    transaction: &'a mut Transaction<'s>,
    root: Arc<Root>,
    archive: Archive<Hasher>,
    folders: Vec<Folder>,
    links: BTreeMap<String, String>,
    pieces: Vec<Piece>,
    files: u64,
    allow_unportable: bool,
    unportable: bool,
}

impl<'a, 's> Assembly<'a, 's> {
    pub fn new(transaction: &'a mut Transaction<'s>, root: Arc<Root>, allow_unportable: bool) -> Self {
        Assembly {
            transaction,
            root,
            archive: Archive::new(Hasher(sha2::Sha256::new())),
            folders: vec![Folder::new(None)],
            links: BTreeMap::new(),
            pieces: Vec::new(),
            files: 0,
            allow_unportable,
            unportable: false,
        }
    }

    /// Takes the folder that comes next in tree order.
    pub fn folder(&mut self, place: &Place) -> Result<(), Error> {
        let name = self.enter(place)?;
        self.archive.directory(&place.path).expect(HASHER);
        self.folders.push(Folder::new(Some(name)));
        Ok(())
    }

    /// Takes the file that comes next, whole.
    pub fn file(&mut self, whole: &Whole) -> Result<(), Error> {
        let name = self.begin_file(&whole.place, &whole.stamp)?;
        self.part(&whole.place, &whole.bytes, &whole.pieces)?;
        self.end_file(name, &whole.stamp)
    }

    /// Begins the file that comes next; its parts follow.
    pub fn begin_file(&mut self, place: &Place, stamp: &Stamp) -> Result<EntryName, Error> {
        let name = self.enter(place)?;
        self.archive.file(&place.path, stamp.executable, stamp.size).expect(HASHER);
        Ok(name)
    }

    /// Takes the next part of a file.
    pub fn part(&mut self, place: &Place, bytes: &[u8], pieces: &Pieces) -> Result<(), Error> {
        self.archive.data(bytes).expect(HASHER);
        let group = group_of(place.name());
        for (id, range) in pieces {
            let chunk = &bytes[range.clone()];
            self.transaction.write_as(*id, chunk, group)?;
            self.pieces.push((ChunkId::new(*id), chunk.len() as u64));
        }
        if self.pieces.len() as u64 > FILE_CHUNKS_MAX {
            let path = self.root.shown(&place.path);
            return Err(Error::TooMuch { path, what: "4,194,304 chunks in one file" });
        }
        Ok(())
    }

    /// Ends a file whose parts were all taken.
    pub fn end_file(&mut self, name: EntryName, stamp: &Stamp) -> Result<(), Error> {
        self.archive.end_file().expect(HASHER);
        let mut pieces = std::mem::take(&mut self.pieces);
        let is_blob = pieces.len() > 1;
        let id = match pieces.as_slice() {
            [(chunk, _)] => chunk.object(),
            _ => self.write_all(blob::build(&pieces).into_iter().map(|(id, bytes)| (id.object(), bytes)))?,
        };
        pieces.clear();
        self.pieces = pieces; // its memory serves the next file
        let mode = Mode::file(stamp.executable, is_blob);
        self.last().entries.push(Entry { name, mode, size: stamp.size, id });
        Ok(())
    }

    /// Takes the link that comes next.
    pub fn link(&mut self, place: Place, target: Vec<u8>) -> Result<(), Error> {
        let name = self.enter(&place)?;
        let text = String::from_utf8(target).map_err(|_| not_utf8(&self.root.shown(&place.path)))?;
        self.archive.link(&place.path, &text).expect(HASHER);
        let id = ObjectId::of(text.as_bytes());
        self.transaction.write_as(id, text.as_bytes(), STRUCTURE)?;
        let size = text.len() as u64;
        self.links.insert(place.path, text);
        self.last().entries.push(Entry { name, mode: Mode::Link, size, id });
        Ok(())
    }

    /// Closes the folders that `place` is not in, counts it, checks its name.
    fn enter(&mut self, place: &Place) -> Result<EntryName, Error> {
        while self.folders.len() > place.depth {
            self.close_folder()?;
        }
        self.files += 1;
        let shown = || self.root.shown(&place.path);
        let name = EntryName::new(place.name()).map_err(|source| Error::Name { path: shown(), source })?;
        if place.path.len() > PATH_BYTES_MAX {
            return Err(Error::TooMuch { path: shown(), what: "4,096 bytes of path" });
        }
        self.check_portable(&name, &place.path)?;
        Ok(name)
    }

    fn check_portable(&mut self, name: &EntryName, path: &str) -> Result<(), Error> {
        let folded = name::case_folded(name);
        let doubled = !self.last().folded.insert(folded);
        let why = name::unportable(name).or(doubled.then_some("another name here differs only by case"));
        match why {
            Some(why) if !self.allow_unportable => Err(Error::Unportable { path: path.to_owned(), why }),
            Some(_) => {
                self.unportable = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn last(&mut self) -> &mut Folder {
        self.folders.last_mut().expect("the root folder is closed last, by `finish`")
    }

    /// Writes objects and gives the id of the last.
    fn write_all(&mut self, objects: impl Iterator<Item = (ObjectId, Vec<u8>)>) -> Result<ObjectId, Error> {
        let mut last = None;
        for (id, bytes) in objects {
            self.transaction.write_as(id, &bytes, STRUCTURE)?;
            last = Some(id);
        }
        Ok(last.expect("a blob or tree has at least its own object"))
    }

    fn close_folder(&mut self) -> Result<(TreeId, u64), Error> {
        let folder = self.folders.pop().expect("only folders that were opened are closed");
        let size = tree::sum(&folder.entries);
        let objects = tree::build(folder.entries)
            .map_err(|source| crate::object::Error::tree(TreeId::new(ObjectId::of(&[])), source))?;
        let id = self.write_all(objects.into_iter().map(|(id, bytes)| (id.object(), bytes)))?;
        if let Some(name) = folder.name {
            self.last().entries.push(Entry { name, mode: Mode::Dir, size, id });
        }
        Ok((TreeId::new(id), size))
    }

    /// Closes all folders and checks the links.
    pub fn finish(mut self) -> Result<Ingested, Error> {
        while self.folders.len() > 1 {
            self.close_folder()?;
        }
        let (tree, size) = self.close_folder()?;
        crate::links::check(&self.links)?;
        let (hasher, archive_size) = self.archive.finish().expect(HASHER);
        let sha256 = Sha256(hasher.0.finalize().into());
        Ok(Ingested { tree, size, files: self.files, sha256, archive_size, unportable: self.unportable })
    }
}

fn not_utf8(path: &Path) -> Error {
    let source = name::Error::Format { name: path.to_string_lossy().into(), why: "its target is not UTF-8" };
    Error::Name { path: path.to_owned(), source }
}

/// Files of one extension share frames, which makes them smaller (DESIGN 12).
pub(crate) fn group_of(name: &str) -> u64 {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    let hash = ObjectId::of(extension.as_bytes());
    let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("an id has 32 bytes");
    u64::from_le_bytes(*first) | 1 // never the group of structure
}
