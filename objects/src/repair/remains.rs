//! What is left of a damaged pack.
//!
//! ```text
//! table    from the index or from the tail: either proves itself by the pack's name
//! frames   whole if they hash as the table says and unpack
//! objects  their ids are computed, never believed
//! ```
//!
//! Promises: nothing is changed. A delta frame counts as whole only if its bases can be had, here or from
//! the rest of the store.

use crate::disk;
use crate::id::{ObjectId, PackId};
use crate::object::{Bytes, Error, Find};
use crate::store::Store;
use crate::store::pack::index::{self, Index};
use crate::store::pack::table::Table;
use crate::store::pack::{file_name, index_name, objects_in, open_frame, read_table};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A pack that is damaged, as far as it can be read.
pub(super) struct Remains {
    pub id: PackId,
    file: File,
    pub table: Table,
    /// The ids of the objects of each frame that is whole.
    pub frames: Vec<Option<Vec<ObjectId>>>,
    /// True if the file ends as the table says.
    pub tail: bool,
    /// True if the index is what the objects make it.
    pub index: bool,
}

impl Remains {
    /// Looks at pack `id`; None if no table of its can be read any more.
    pub fn of(store: &Store, id: PackId) -> Option<Remains> {
        let folder = store.packs_folder();
        let path = folder.join(file_name(id));
        let file = File::open(&path).ok()?;
        let index = std::fs::read(folder.join(index_name(id))).unwrap_or_default();
        let end = read_table(&file, &path).ok().filter(|table| table.pack_id() == id);
        let tail = end.is_some();
        let table = end.or_else(|| table_in_index(&index, id))?;
        let mut remains = Remains { id, file, table, frames: Vec::new(), tail, index: false };
        remains.frames = remains.read_frames(store);
        remains.index = remains.encode_index().is_some_and(|encoded| encoded == index);
        Some(remains)
    }

    fn read_frames(&self, store: &Store) -> Vec<Option<Vec<ObjectId>>> {
        let numbers = 0..self.table.frames().len();
        let is_plain = |number: &usize| self.table.frames()[*number].base.is_empty();
        let ids = |number: usize, bases: &dyn Find| {
            let raw = self.unpack(number, bases)?;
            Some(objects_in(&self.table.frames()[number], &raw).map(ObjectId::of).collect::<Vec<_>>())
        };
        let plain = |number| if is_plain(&number) { ids(number, &Nowhere) } else { None };
        let mut frames: Vec<Option<Vec<ObjectId>>> = numbers.clone().into_par_iter().map(plain).collect();
        let mut pending: Vec<usize> = numbers.filter(|number| !is_plain(number)).collect();
        while !pending.is_empty() {
            let bases = Bases { remains: self, store, at: places(&frames), last: Mutex::default() };
            let before = pending.len();
            let read: Vec<(usize, Vec<ObjectId>)> =
                pending.iter().filter_map(|number| Some((*number, ids(*number, &bases)?))).collect();
            pending.retain(|number| read.iter().all(|(done, _)| done != number));
            read.into_iter().for_each(|(number, ids)| frames[number] = Some(ids));
            if pending.len() == before {
                break; // what is left builds on what is lost
            }
        }
        frames
    }

    /// The stored bytes of a frame, if they are what the table says.
    pub fn stored(&self, number: usize) -> Option<Vec<u8>> {
        let frame = &self.table.frames()[number];
        let mut stored = vec![0; frame.stored as usize];
        self.file.read_exact_at(&mut stored, self.table.stored_range(number).start).ok()?;
        (ObjectId::of(&stored) == frame.hash).then_some(stored)
    }

    fn unpack(&self, number: usize, bases: &dyn Find) -> Option<Vec<u8>> {
        open_frame(&self.table.frames()[number], &self.stored(number)?, bases).ok()?.ok()
    }

    /// Each object of a whole frame, with the id it was found to have.
    pub fn objects(&self, store: &Store, number: usize) -> Option<Vec<(ObjectId, Vec<u8>)>> {
        let ids = self.frames[number].as_ref()?;
        let bases = Bases { remains: self, store, at: places(&self.frames), last: Mutex::default() };
        let raw = self.unpack(number, &bases)?;
        let objects = objects_in(&self.table.frames()[number], &raw).zip(ids);
        objects.map(|(bytes, id)| (ObjectId::of(bytes) == *id).then(|| (*id, bytes.to_vec()))).collect()
    }

    /// True if every frame is whole, and no object stands in it twice: an index cannot tell those apart.
    pub fn is_all_there(&self) -> bool {
        let mut met = HashSet::new();
        self.frames.iter().all(|ids| ids.iter().flatten().all(|id| met.insert(*id)) && ids.is_some())
    }

    /// How many objects are whole, and how many are not.
    pub fn counts(&self) -> (u64, u64) {
        let whole: u64 = self.frames.iter().flatten().map(|ids| ids.len() as u64).sum();
        (whole, u64::from(self.table.objects()) - whole)
    }

    /// The index, if all objects are there to be hashed.
    pub fn encode_index(&self) -> Option<Vec<u8>> {
        let ids: Option<Vec<&Vec<ObjectId>>> = self.frames.iter().map(Option::as_ref).collect();
        let ids: Vec<ObjectId> = ids?.into_iter().flatten().copied().collect();
        Some(index::encode(&self.table, &ids))
    }
}

/// The table that an index holds, whatever else is wrong with it.
fn table_in_index(index: &[u8], id: PackId) -> Option<Table> {
    if let Ok(index) = Index::open(index, id) {
        return Some(index.table().clone());
    }
    let len = u32::from_le_bytes(index.get(12..16)?.try_into().ok()?) as usize;
    let end = index.len().checked_sub(32)?;
    let table = index.get(end.checked_sub(len)?..end)?;
    Table::decode(table).ok().filter(|_| ObjectId::of(table) == id.object())
}

/// Frame and number in it of every object of whole frames.
fn places(frames: &[Option<Vec<ObjectId>>]) -> HashMap<ObjectId, (usize, usize)> {
    let mut places = HashMap::new();
    for (frame, ids) in frames.iter().enumerate() {
        places.extend(ids.iter().flatten().enumerate().map(|(at, id)| (*id, (frame, at))));
    }
    places
}

struct Nowhere;

impl Find for Nowhere {
    fn try_find(&self, _: &ObjectId) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }
}

/// A frame, unpacked lately.
type Unpacked = Option<(usize, Arc<Vec<u8>>)>;

/// What delta frames build on: frames of this pack that are known to be whole, so that none can build on
/// itself; then the rest of the store.
struct Bases<'a> {
    remains: &'a Remains,
    store: &'a Store,
    at: HashMap<ObjectId, (usize, usize)>,
    last: Mutex<Unpacked>,
}

impl Bases<'_> {
    fn here(&self, id: &ObjectId) -> Option<Bytes> {
        let (number, at) = *self.at.get(id)?;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let raw = match last {
            Some((last, raw)) if last == number => raw,
            _ => Arc::new(self.remains.unpack(number, self)?),
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, raw.clone()));
        let lengths = &self.remains.table.frames()[number].lengths;
        let start: usize = lengths[..at].iter().map(|len| *len as usize).sum();
        let bytes = Bytes::view(raw, start..start + lengths[at] as usize);
        (ObjectId::of(&bytes) == *id).then_some(bytes)
    }
}

impl Find for Bases<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        match self.here(id) {
            Some(bytes) => Ok(Some(bytes)),
            None => self.store.try_find(id),
        }
    }
}

/// Writes a pack again that lost its tail: the frames, then what the table says.
pub(super) fn write_whole(remains: &Remains, staging: &Path) -> Result<disk::Scratch, disk::Error> {
    use crate::disk::Context;
    use std::io::Write;
    let scratch = disk::Scratch::create(staging, ".tmp")?;
    for number in 0..remains.frames.len() {
        let lost = || std::io::Error::other(format!("frame {number} changed while it was read"));
        let stored = remains.stored(number).ok_or_else(lost).doing("read", scratch.path())?;
        scratch.file().write_all(&stored).doing("write", scratch.path())?;
    }
    scratch.file().write_all(&remains.table.tail()).doing("write", scratch.path())?;
    Ok(scratch)
}
