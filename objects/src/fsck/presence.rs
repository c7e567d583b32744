//! Which objects are here and whole, and which of them were met already.
//!
//! Promises: a few bits an object. An object lies in several packs; the first whole copy stands for it.

use crate::id::ObjectId;
use crate::object::Kind;
use crate::store::Store;
use crate::store::pack::Pack;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Where a whole copy of an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// The pack, as [`Presence::pack`] counts them.
    pub pack: usize,
    /// The frame in it.
    pub frame: usize,
    /// The object, counted through the pack.
    pub object: u32,
}

/// The objects of a store, less what is damaged.
pub(super) struct Presence {
    packs: Vec<Arc<Pack>>,
    /// The number of each pack's first object, counted through all packs.
    firsts: Vec<usize>,
    lost_frames: HashSet<(usize, usize)>,
    lost_objects: HashSet<(usize, u32)>,
    met: Vec<AtomicU8>,
}

impl Presence {
    /// All objects of the open packs of `store`.
    pub fn of(store: &Store) -> Presence {
        let packs = store.packs();
        let (mut firsts, mut total) = (Vec::with_capacity(packs.len()), 0);
        for pack in &packs {
            firsts.push(total);
            total += pack.index().len();
        }
        let met = (0..total).map(|_| AtomicU8::new(0)).collect();
        Presence { packs, firsts, lost_frames: HashSet::new(), lost_objects: HashSet::new(), met }
    }

    /// The packs, in the order they are counted.
    pub fn packs(&self) -> &[Arc<Pack>] {
        &self.packs
    }

    /// Takes a frame out, with all in it.
    pub fn lose_frame(&mut self, pack: usize, frame: usize) {
        self.lost_frames.insert((pack, frame));
    }

    /// Takes an object of one pack out.
    pub fn lose_object(&mut self, pack: usize, object: u32) {
        self.lost_objects.insert((pack, object));
    }

    /// True if the frame was taken out.
    pub fn is_lost(&self, pack: usize, frame: usize) -> bool {
        self.lost_frames.contains(&(pack, frame))
    }

    /// A whole copy of `id`.
    pub fn whole(&self, id: &ObjectId) -> Option<Spot> {
        self.copies(id).find(|spot| {
            !self.is_lost(spot.pack, spot.frame) && !self.lost_objects.contains(&(spot.pack, spot.object))
        })
    }

    /// True if there is a copy of `id`, though it may be damaged.
    pub fn is_listed(&self, id: &ObjectId) -> bool {
        self.copies(id).next().is_some()
    }

    fn copies<'a>(&'a self, id: &'a ObjectId) -> impl Iterator<Item = Spot> + 'a {
        self.packs.iter().enumerate().filter_map(move |(pack, open)| {
            let object = open.index().number(id)?;
            Some(Spot { pack, frame: open.table().place(object).frame, object })
        })
    }

    /// Marks an object as met in the part of `kind`; true if it was not before (SEC-027).
    pub fn meet(&self, spot: Spot, kind: Kind) -> bool {
        let bit = 1 << kind as u8;
        self.met[self.firsts[spot.pack] + spot.object as usize].fetch_or(bit, Relaxed) & bit == 0
    }

    /// Forgets what was met.
    pub fn forget(&self) {
        self.met.iter().for_each(|met| met.store(0, Relaxed));
    }
}
