//! Taking in objects of a tree that is wanted, whoever sends them.
//!
//! A state machine without I/O of its own: frames in, objects into a transaction, and at any moment
//! the list of what is still missing.
//!
//! Promises: an object is kept only if its bytes hash to an id that is expected: the wanted root, or
//! named by an object that was kept before. Counts and sizes stay within what was signed.
//! Leaves to others: asking for things.

use super::{Error, Wanted};
use objects::blob::Blob;
use objects::id::{BlobId, ObjectId, PackId, TreeId};
use objects::ids::{IdMap, IdSet};
use objects::limits::FRAME_BYTES_MAX;
use objects::object::{Bytes, Error as ObjectError, Exists, Find, Kind};
use objects::store::Store;
use objects::store::pack::table::Frame;
use objects::store::pack::writer::Options;
use objects::store::pack::{objects_in, open_frame};
use objects::store::transaction::{STRUCTURE, Transaction};
use objects::tree::{Mode, Tree};
use objects::walk::{self, Met, Seen};
use std::collections::HashMap;

/// The group of chunks that came in frames that were not kept as they are.
const RECEIVED: u64 = 1;
/// Most bytes of a stored frame: what a raw one of the largest size needs.
pub const STORED_BYTES_MAX: usize = FRAME_BYTES_MAX + (64 << 10);

/// What to do with objects in a frame that nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// The sender chose the frame for us: they are its fault.
    Refuse,
    /// The frame was made for somebody else: they are passed over.
    Ignore,
}

/// So many bytes of trees and blobs are held until they can be read from the store.
const ARRIVED_BYTES_MAX: usize = 16 << 20;
/// So many objects go into one pack: until it is finished each of their ids takes memory.
const PACK_OBJECTS_MAX: usize = 256 << 10;

/// Most bytes of one row of a tree: a name of full length, an id, mode and size.
const ROW_BYTES_MAX: u64 = 320;

/// A fetch of one tree in progress.
pub struct Intake<'s> {
    store: &'s Store,
    options: Options,
    transaction: Transaction<'s>,
    done: Done,
    wanted: Wanted,
    /// Trees and blobs that arrived in this intake and are not readable from the store yet.
    arrived: HashMap<ObjectId, Bytes>,
    arrived_bytes: usize,
    /// Trees and blobs looked into.
    seen: Seen,
    expected: HashMap<ObjectId, Kind>,
    chunks: IdMap<Chunk>,
    chunks_missing: usize,
    rows: u64,
    pieces: u64,
    wanted_bytes: u64,
}

/// A chunk that the store did not have when a file named it.
#[derive(Clone, Copy)]
struct Chunk {
    /// Its length, as files say; of what is too long for any object, the most there is.
    len: u32,
    /// True once it has arrived.
    is_here: bool,
}

/// What was stored before the transaction that is open.
#[derive(Default)]
struct Done {
    packs: Vec<PackId>,
    objects: usize,
    bytes: u64,
}

impl<'s> Intake<'s> {
    /// Begins with what the store has of the tree already.
    ///
    /// # Errors
    /// If the store refuses, or what it has of the tree is malformed.
    pub fn begin(store: &'s Store, wanted: Wanted, options: Options) -> Result<Intake<'s>, Error> {
        let transaction = store.transaction(options)?;
        let mut intake = Intake {
            store,
            options,
            transaction,
            done: Done::default(),
            wanted,
            arrived: HashMap::new(),
            arrived_bytes: 0,
            seen: Seen::default(),
            expected: HashMap::new(),
            chunks: IdMap::default(),
            chunks_missing: 0,
            rows: 0,
            pieces: 0,
            wanted_bytes: 0,
        };
        intake.learn("the local store", vec![(Kind::Tree, wanted.tree.object())])?;
        Ok(intake)
    }

    /// The tree that is wanted.
    pub fn tree(&self) -> TreeId {
        self.wanted.tree
    }

    /// True if nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// True if every tree and blob is here, so that the chunks have numbers.
    pub fn has_structure(&self) -> bool {
        self.expected.is_empty()
    }

    /// How many objects are known to be missing.
    pub fn missing(&self) -> usize {
        self.expected.len() + self.chunks_missing
    }

    /// The trees and blobs known to be missing.
    pub fn missing_structure(&self) -> Vec<ObjectId> {
        self.expected.keys().copied().collect()
    }

    /// The chunks known to be missing.
    pub fn missing_chunks(&self) -> impl Iterator<Item = ObjectId> {
        self.chunks.iter().filter(|(_, chunk)| !chunk.is_here).map(|(id, _)| *id)
    }

    /// True if `id` is known to be missing.
    pub fn is_missing(&self, id: &ObjectId) -> bool {
        self.expected.contains_key(id) || self.missing_chunk(id).is_some()
    }

    fn missing_chunk(&self, id: &ObjectId) -> Option<Chunk> {
        self.chunks.get(id).copied().filter(|chunk| !chunk.is_here)
    }

    /// The missing chunks as ranges of their numbers, in the order they are met: first and count. The
    /// structure has to be complete.
    ///
    /// # Errors
    /// If the store refuses.
    pub fn missing_ranges(&self) -> Result<Vec<(u64, u64)>, Error> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let mut numbered = IdSet::default();
        walk::reach(self, self.wanted.tree, &mut Seen::default(), &mut |met| {
            let Met::Chunk((chunk, _)) = met else { return Ok(()) };
            let number = numbered.len() as u64;
            if numbered.insert(chunk.object()) && self.missing_chunk(&chunk.object()).is_some() {
                match ranges.last_mut() {
                    Some((first, count)) if *first + *count == number => *count += 1,
                    _ => ranges.push((number, 1)),
                }
            }
            Ok::<(), Error>(())
        })?;
        Ok(ranges)
    }

    /// Most unpacked bytes that the objects of the tree can have, by what was signed of it: contents,
    /// lists of chunks, and rows of trees with names of full length.
    pub fn bytes_max(&self) -> u64 {
        let Wanted { files_max, bytes_max, .. } = self.wanted;
        let rows = files_max.saturating_mul(2).saturating_add(16).saturating_mul(ROW_BYTES_MAX);
        bytes_max.saturating_add(bytes_max / 32).saturating_add(rows)
    }

    /// How many objects were taken in.
    pub fn objects(&self) -> usize {
        self.done.objects + self.transaction.objects()
    }

    /// Their unpacked bytes.
    pub fn bytes(&self) -> u64 {
        self.done.bytes + self.transaction.bytes()
    }

    /// Takes a frame: checks its hash, unpacks it, checks every object in it.
    ///
    /// # Errors
    /// `Frame` or `Unasked` name the fault of `from`; nothing of the frame is then kept. `TooMuch`
    /// beyond what was signed.
    pub fn take(
        &mut self,
        from: &str,
        frame: &Frame,
        stored: Vec<u8>,
        strangers: Strangers,
    ) -> Result<(), Error> {
        let fault = |reason: String| Error::Frame { from: from.to_owned(), reason };
        frame.check().map_err(fault)?;
        if ObjectId::of(&stored) != frame.hash {
            return Err(fault("its bytes have another hash than it says".into()));
        }
        let raw = match open_frame(frame, &stored, self) {
            Ok(raw) => raw.map_err(fault)?,
            Err(ObjectError::Missing { id, .. }) => return Err(fault(format!("its base {id} is not here"))),
            Err(error) => return Err(error.into()),
        };
        let ids: Vec<ObjectId> = objects_in(frame, &raw).map(ObjectId::of).collect();
        let only_chunks = ids.iter().all(|id| self.missing_chunk(id).is_some());
        let kept_whole = only_chunks && self.transaction.write_frame(frame, stored, &ids)?.is_none();
        for (bytes, id) in objects_in(frame, &raw).zip(&ids) {
            self.take_object(from, bytes, *id, kept_whole, strangers)?;
        }
        Ok(())
    }

    /// Takes the objects of a frame that the caller has checked and unpacked to `raw`.
    ///
    /// # Errors
    /// As [`Intake::take`].
    pub fn take_unpacked(
        &mut self,
        from: &str,
        frame: &Frame,
        raw: &[u8],
        strangers: Strangers,
    ) -> Result<(), Error> {
        for bytes in objects_in(frame, raw) {
            self.take_object(from, bytes, ObjectId::of(bytes), false, strangers)?;
        }
        Ok(())
    }

    /// Takes one object of a frame. Parents come before children, so what is expected grows on the way.
    fn take_object(
        &mut self,
        from: &str,
        bytes: &[u8],
        id: ObjectId,
        kept: bool,
        strangers: Strangers,
    ) -> Result<(), Error> {
        if let Some(kind) = self.expected.get(&id).copied() {
            self.arrived.insert(id, Bytes::from(bytes.to_vec()));
            self.arrived_bytes += bytes.len();
            self.learn(from, vec![(kind, id)])?; // what is malformed stays missing, and is not kept
            self.expected.remove(&id);
            self.transaction.write_as(id, bytes, STRUCTURE)?;
            return self.store_if_much();
        }
        if let Some(Chunk { len, .. }) = self.missing_chunk(&id) {
            if len as usize != bytes.len() {
                let reason = format!("chunk {id} has {} bytes, its file says {len}", bytes.len());
                return Err(super::message::malformed(from, reason));
            }
            self.chunks.get_mut(&id).expect("it was just looked up").is_here = true;
            self.chunks_missing -= 1;
            if !kept {
                self.transaction.write_as(id, bytes, RECEIVED)?;
            }
            return self.store_if_much();
        }
        if strangers == Strangers::Refuse && !self.contains(&id) {
            return Err(Error::Unasked { from: from.to_owned(), id });
        }
        Ok(())
    }

    /// Stores what was taken in so far if holding more would take much memory.
    fn store_if_much(&mut self) -> Result<(), Error> {
        if self.arrived_bytes < ARRIVED_BYTES_MAX && self.transaction.objects() < PACK_OBJECTS_MAX {
            return Ok(());
        }
        let next = self.store.transaction(self.options)?;
        let full = std::mem::replace(&mut self.transaction, next);
        self.done.objects += full.objects();
        self.done.bytes += full.bytes();
        self.done.packs.extend(full.commit()?);
        self.arrived.clear();
        self.arrived_bytes = 0;
        Ok(())
    }

    /// Looks into trees and blobs, as far as they are here; notes what is missing.
    fn learn(&mut self, from: &str, mut queue: Vec<(Kind, ObjectId)>) -> Result<(), Error> {
        while let Some((kind, id)) = queue.pop() {
            if self.seen.contains(kind, &id) {
                continue;
            }
            let Some(bytes) = self.try_find(&id)? else {
                self.expected.insert(id, kind);
                continue;
            };
            self.seen.insert(kind, id);
            match kind {
                Kind::Tree => {
                    let tree = Tree::decode(&bytes).map_err(|e| ObjectError::tree(TreeId::new(id), e));
                    self.learn_tree(from, tree.map_err(|e| malformed_object(from, e))?, &mut queue)?;
                }
                Kind::Blob => {
                    let blob = Blob::decode(&bytes).map_err(|e| ObjectError::blob(BlobId::new(id), e));
                    self.learn_blob(from, blob.map_err(|e| malformed_object(from, e))?, &mut queue)?;
                }
                Kind::Chunk => {}
            }
        }
        Ok(())
    }

    fn learn_tree(&mut self, from: &str, tree: Tree, queue: &mut Vec<(Kind, ObjectId)>) -> Result<(), Error> {
        match tree {
            Tree::Fan(runs) => {
                self.count(from, runs.len())?;
                queue.extend(runs.iter().map(|run| (Kind::Tree, run.1.object())));
            }
            Tree::Entries(entries) => {
                self.count(from, entries.len())?;
                for entry in entries {
                    match entry.mode {
                        Mode::Dir => queue.push((Kind::Tree, entry.id)),
                        mode if mode.is_blob() => queue.push((Kind::Blob, entry.id)),
                        _ => self.want_chunk(from, entry.id, entry.size)?,
                    }
                }
            }
        }
        Ok(())
    }

    fn learn_blob(&mut self, from: &str, blob: Blob, queue: &mut Vec<(Kind, ObjectId)>) -> Result<(), Error> {
        if blob.size() > self.wanted.bytes_max {
            return Err(self.too_much(from, "a file larger than the whole"));
        }
        match blob {
            Blob::Fan { runs, .. } => {
                self.count_pieces(from, runs.len())?;
                queue.extend(runs.iter().map(|run| (Kind::Blob, run.0.object())));
            }
            Blob::Chunks { pieces, .. } => {
                self.count_pieces(from, pieces.len())?;
                for (chunk, len) in pieces {
                    self.want_chunk(from, chunk.object(), len)?;
                }
            }
        }
        Ok(())
    }

    fn want_chunk(&mut self, from: &str, id: ObjectId, len: u64) -> Result<(), Error> {
        if len > self.wanted.bytes_max {
            return Err(self.too_much(from, "a chunk larger than the whole"));
        }
        let here = self.store.locate(&id).map(|(pack, number)| pack.table().place(number).range.len() as u64);
        match here.or(self.chunks.get(&id).map(|chunk| u64::from(chunk.len))) {
            Some(known) if known != len => {
                let reason = format!("chunk {id} has {known} bytes, its file says {len}");
                return Err(super::message::malformed(from, reason));
            }
            Some(_) => return Ok(()),
            None if self.transaction.contains(&id) => return Ok(()),
            None => {}
        }
        self.chunks.insert(id, Chunk { len: u32::try_from(len).unwrap_or(u32::MAX), is_here: false });
        self.chunks_missing += 1;
        self.wanted_bytes = self.wanted_bytes.saturating_add(len);
        if self.wanted_bytes > self.wanted.bytes_max {
            return Err(self.too_much(from, "more bytes"));
        }
        Ok(())
    }

    /// No chunk is empty, so there are at most as many as bytes, and the runs that hold them.
    fn count_pieces(&mut self, from: &str, pieces: usize) -> Result<(), Error> {
        self.pieces += pieces as u64;
        if self.pieces > self.wanted.bytes_max.saturating_mul(2).saturating_add(16) {
            return Err(self.too_much(from, "more chunks"));
        }
        Ok(())
    }

    /// Every tree is opened once, so the rows seen are at most the files signed, and runs of fans.
    fn count(&mut self, from: &str, rows: usize) -> Result<(), Error> {
        self.rows += rows as u64;
        if self.rows > self.wanted.files_max.saturating_mul(2).saturating_add(16) {
            return Err(self.too_much(from, "more files"));
        }
        Ok(())
    }

    fn too_much(&self, from: &str, what: &'static str) -> Error {
        Error::TooMuch { from: from.to_owned(), id: self.wanted.tree.object(), what }
    }

    /// Stores what was taken in, complete or not, and gives the packs it is in.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn finish(self) -> Result<Vec<PackId>, Error> {
        let mut packs = self.done.packs;
        packs.extend(self.transaction.commit()?);
        Ok(packs)
    }
}

fn malformed_object(from: &str, source: ObjectError) -> Error {
    Error::BadObject { from: from.to_owned(), source }
}

impl Find for Intake<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, ObjectError> {
        match self.arrived.get(id) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None if self.store.contains(id) => self.store.try_find(id),
            None => Ok(None),
        }
    }
}

impl Exists for Intake<'_> {
    fn contains(&self, id: &ObjectId) -> bool {
        self.transaction.contains(id)
    }
}
