//! Making a lost index again, from the pack alone.
//!
//! Promises: only frames that unpack are named, by what their objects hash to; chains of delta frames
//! are followed no deeper than any reader would.
//! Leaves to others: which indexes are lost.
//!
//! A delta frame names objects by their ids, and those are known only once the frames that hold them
//! are unpacked. So frames are taken in rounds: each takes those whose bases the rounds before found.

use super::{damaged, index, objects_in, open_frame, read_table};
use crate::disk::{self, Context};
use crate::id::{ObjectId, PackId};
use crate::limits::DELTA_DEPTH_MAX;
use crate::object::{Bytes, Error, Find};
use crate::store::pack::table::Table;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Writes the index of the pack `id` anew. What its delta frames build on lies in it, or `elsewhere`.
///
/// # Errors
/// `Damaged` if the pack does not have its form, or a frame builds on what is nowhere.
pub fn rebuild_index(
    file: &File,
    path: &Path,
    id: PackId,
    index_path: &Path,
    elsewhere: &dyn Find,
) -> Result<(), Error> {
    let table = read_table(file, path)?;
    if table.pack_id() != id {
        return Err(damaged(path, "its table has another hash than its name".into()));
    }
    let ids = Rebuild::new(file, path, &table, elsewhere).hash_objects()?;
    Ok(disk::write_whole(index_path, &index::encode(&table, &ids))?)
}

/// Unpacked frames kept for the deltas that build on them.
const KEPT_FRAMES: usize = 16;

struct Rebuild<'a> {
    file: &'a File,
    path: &'a Path,
    table: &'a Table,
    elsewhere: &'a dyn Find,
    /// Where the objects found so far lie.
    places: HashMap<ObjectId, (usize, Range<usize>)>,
    /// The ids of the frames unpacked so far.
    ids: Vec<Option<Vec<ObjectId>>>,
    kept: RefCell<Vec<(usize, Arc<Vec<u8>>)>>,
}

impl<'a> Rebuild<'a> {
    fn new(file: &'a File, path: &'a Path, table: &'a Table, elsewhere: &'a dyn Find) -> Self {
        let ids = vec![None; table.frames().len()];
        Rebuild { file, path, table, elsewhere, places: HashMap::new(), ids, kept: RefCell::default() }
    }

    fn hash_objects(mut self) -> Result<Vec<ObjectId>, Error> {
        let mut left: Vec<usize> = (0..self.table.frames().len()).collect();
        for _ in 0..=DELTA_DEPTH_MAX {
            let mut found = Vec::new();
            let mut waiting = Vec::new();
            for number in left {
                match self.unpack(number) {
                    Ok(raw) => found.push((number, self.places_in(number, &raw))),
                    Err(Error::Missing { .. }) => waiting.push(number),
                    Err(error) => return Err(error),
                }
            }
            for (number, objects) in found {
                self.ids[number] = Some(objects.iter().map(|(id, _)| *id).collect());
                self.places.extend(objects.into_iter().map(|(id, range)| (id, (number, range))));
            }
            left = waiting;
        }
        let lost = |number: usize| format!("frame {number} builds on what is nowhere, or too deep");
        let named = self.ids.into_iter().enumerate();
        let named = named.map(|(number, ids)| ids.ok_or_else(|| damaged(self.path, lost(number))));
        Ok(named.collect::<Result<Vec<_>, _>>()?.concat())
    }

    fn places_in(&self, number: usize, raw: &[u8]) -> Vec<(ObjectId, Range<usize>)> {
        let mut at = 0;
        let objects = objects_in(&self.table.frames()[number], raw);
        let placed = objects.map(|bytes| {
            let start = at;
            at += bytes.len();
            (ObjectId::of(bytes), start..at)
        });
        placed.collect()
    }

    fn unpack(&self, number: usize) -> Result<Vec<u8>, Error> {
        let frame = &self.table.frames()[number];
        let mut stored = vec![0; frame.stored as usize];
        let start = self.table.stored_range(number).start;
        self.file.read_exact_at(&mut stored, start).doing("read", self.path)?;
        open_frame(frame, &stored, self)?
            .map_err(|reason| damaged(self.path, format!("frame {number}: {reason}")))
    }

    fn kept(&self, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        if let Some((_, raw)) = self.kept.borrow().iter().find(|(kept, _)| *kept == number) {
            return Ok(raw.clone());
        }
        let raw = Arc::new(self.unpack(number)?);
        let mut kept = self.kept.borrow_mut();
        kept.insert(0, (number, raw.clone()));
        kept.truncate(KEPT_FRAMES);
        Ok(raw)
    }
}

impl Find for Rebuild<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        match self.places.get(id) {
            Some((number, range)) => Ok(Some(Bytes::view(self.kept(*number)?, range.clone()))),
            None => self.elsewhere.try_find(id),
        }
    }
}
