//! Adding objects: all that is new becomes visible at once, as one pack.
//!
//! Promises: after `commit` the objects survive a power cut; dropped before, nothing is visible.
//! An object that the store or this transaction has is not written again.
//! Leaves to others: refs, which change after the objects they need are durable.

use super::Store;
use super::pack::table::Frame;
use super::pack::writer::{Options, PackWriter};
use crate::disk;
use crate::id::{ObjectId, PackId, TreeId};
use crate::ids::IdSet;
use crate::object::{Error, Exists};
use crate::walk;
use std::collections::HashSet;

/// Objects on their way into a store.
pub struct Transaction<'s> {
    store: &'s Store,
    writer: PackWriter,
    staged: IdSet,
    bytes: u64,
}

impl Store {
    /// Begins to add objects.
    ///
    /// # Errors
    /// If the staging folder refuses.
    pub fn transaction(&self, options: Options) -> Result<Transaction<'_>, disk::Error> {
        let writer = PackWriter::create(&self.staging_folder(), options)?;
        Ok(Transaction { store: self, writer, staged: IdSet::default(), bytes: 0 })
    }

    /// Takes up what killed writers had staged, so that it need not be fetched again (REL-002).
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn salvage(&self) -> Result<usize, crate::object::Error> {
        let saved = super::pack::writer::salvage(&self.staging_folder(), &self.packs_folder())?;
        if saved > 0 {
            self.refresh()?;
        }
        Ok(saved)
    }
}

impl Transaction<'_> {
    /// Adds an object; structure (trees, blobs) goes into frames of its own.
    ///
    /// # Errors
    /// If a frame cannot be written.
    pub fn write(&mut self, bytes: &[u8]) -> Result<ObjectId, disk::Error> {
        let id = ObjectId::of(bytes);
        self.write_as(id, bytes, STRUCTURE)?;
        Ok(id)
    }

    /// Adds an object whose id the caller has computed, to the frames of `group`. True if it was new.
    ///
    /// # Errors
    /// If a frame cannot be written.
    pub fn write_as(&mut self, id: ObjectId, bytes: &[u8], group: u64) -> Result<bool, disk::Error> {
        if self.contains(&id) {
            return Ok(false);
        }
        self.staged.insert(id);
        self.bytes += bytes.len() as u64;
        self.writer.add(id, bytes, group)?;
        Ok(true)
    }

    /// Adds a plain frame as it was received: all its objects, whose `ids` the caller has computed
    /// from its bytes. Taken only if every one of them is new; otherwise gives the frame back.
    ///
    /// # Errors
    /// If the frame cannot be written.
    pub fn write_frame(
        &mut self,
        frame: &Frame,
        stored: Vec<u8>,
        ids: &[ObjectId],
    ) -> Result<Option<Vec<u8>>, disk::Error> {
        let distinct: HashSet<&ObjectId> = ids.iter().collect();
        if !frame.base.is_empty() || distinct.len() < ids.len() || ids.iter().any(|id| self.contains(id)) {
            return Ok(Some(stored));
        }
        self.staged.extend(ids.iter().copied());
        self.bytes += u64::from(frame.raw);
        self.writer.add_frame(frame.clone(), stored, ids)?;
        Ok(None)
    }

    /// When it was begun, by the clock of the store's disk, in nanoseconds since 1970.
    ///
    /// # Errors
    /// If the disk does not say.
    pub fn begun_ns(&self) -> Result<i128, disk::Error> {
        self.writer.begun_ns()
    }

    /// True if the tree and everything below it is in the store already.
    ///
    /// # Errors
    /// If it is here and damaged.
    pub fn has_whole(&self, tree: TreeId) -> Result<bool, Error> {
        walk::is_whole(self.store, tree)
    }

    /// How many objects were added.
    pub fn objects(&self) -> usize {
        self.staged.len()
    }

    /// Unpacked bytes of the objects added.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the objects durable and visible. None if nothing was new.
    ///
    /// # Errors
    /// If a write or sync fails; nothing is then visible.
    pub fn commit(self) -> Result<Option<PackId>, crate::object::Error> {
        let Transaction { store, writer, staged, .. } = self;
        drop(staged); // the index, which is made next, takes as much
        let id = writer.finish(&store.packs_folder())?;
        if id.is_some() {
            store.refresh()?;
        }
        Ok(id)
    }
}

pub use super::pack::writer::STRUCTURE;

impl Exists for Transaction<'_> {
    fn contains(&self, id: &ObjectId) -> bool {
        self.staged.contains(id) || self.store.contains(id)
    }
}
