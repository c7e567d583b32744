//! Single objects out of a repository that is only files: indexes tell where they lie.
//!
//! Promises: a pack, index or frame that is damaged there is passed over, and the next that holds the
//! object is tried. A delta frame's bases are read from the same repository, within the limits of depth
//! and number that hold for a store.

use super::{GAP_BYTES, Mirror, Placed, STORED_BYTES_MAX, merge};
use crate::sync::Error;
use crate::sync::gather::{Give, Take};
use crate::transport::Key;
use objects::id::{ObjectId, PackId};
use objects::limits::{DELTA_DEPTH_MAX, DELTA_FRAMES_MAX};
use objects::object::{Bytes, Error as ObjectError, Find};
use objects::packlist::ListedPack;
use objects::progress::Progress;
use objects::repository::pack_key;
use objects::store::pack::index::Index;
use objects::store::pack::{objects_in, open_frame};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

type Opened = Arc<Index<Vec<u8>>>;

impl Give for Mirror {
    fn objects(
        &self,
        wanted: &BTreeSet<ObjectId>,
        take: &mut Take<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let mut left = wanted.clone();
        let mut packs = self.pack_list()?.to_vec();
        packs.sort_by_key(|pack| (pack.index_bytes, pack.id));
        let mut failure = None;
        for pack in packs {
            if left.is_empty() {
                return Ok(());
            }
            match self.index(&pack) {
                Ok(index) => self.give_from(&pack, &index, &mut left, take, progress)?,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(error) if left.len() == wanted.len() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Mirror {
    fn give_from(
        &self,
        pack: &ListedPack,
        index: &Opened,
        left: &mut BTreeSet<ObjectId>,
        take: &mut Take<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let frames: BTreeSet<usize> = left
            .iter()
            .filter_map(|id| index.number(id))
            .map(|number| index.table().place(number).frame)
            .collect();
        let placed = frames.into_iter().map(|frame| (frame, index.table().stored_range(frame)));
        for (range, run) in merge(placed) {
            for (number, stored) in self.read_run(pack.id, range, &run) {
                progress.advance(stored.len() as u64);
                let bases =
                    Bases { mirror: self, depth: 0, frames: &Cell::new(0), last: &RefCell::default() };
                let Some(raw) = open(index, number, &stored, &bases) else { continue };
                for bytes in objects_in(&index.table().frames()[number], &raw) {
                    if left.remove(&ObjectId::of(bytes)) {
                        take(bytes)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The stored bytes of the frames of a range. If it cannot be read at once, say because the pack is
    /// cut there, each frame is tried by itself.
    fn read_run(&self, pack: PackId, range: Range<u64>, run: &[Placed]) -> Vec<(usize, Vec<u8>)> {
        let Ok(key) = Key::new(&pack_key(pack)) else { return Vec::new() };
        let most = (STORED_BYTES_MAX as u64 + GAP_BYTES) * run.len() as u64;
        if range.end - range.start <= most
            && let Ok(bytes) = self.bare.read_range(&key, range.clone())
        {
            let part = |stored: &Range<u64>| {
                let (from, to) = ((stored.start - range.start) as usize, (stored.end - range.start) as usize);
                bytes.get(from..to).map(<[u8]>::to_vec)
            };
            return run.iter().filter_map(|(number, stored)| Some((*number, part(stored)?))).collect();
        }
        let small = run.iter().filter(|(_, stored)| stored.end - stored.start <= STORED_BYTES_MAX as u64);
        let read = |stored: &Range<u64>| self.bare.read_range(&key, stored.clone()).ok();
        small.filter_map(|(number, stored)| Some((*number, read(stored)?))).collect()
    }
}

/// A frame unpacked, if its bytes are what the table says.
fn open(index: &Opened, number: usize, stored: &[u8], bases: &dyn Find) -> Option<Vec<u8>> {
    let frame = &index.table().frames()[number];
    if ObjectId::of(stored) != frame.hash {
        return None;
    }
    open_frame(frame, stored, bases).ok()?.ok()
}

/// A frame, unpacked lately.
type Unpacked = Option<((PackId, usize), Arc<Vec<u8>>)>;

/// What delta frames of a mirror build on: other objects of it.
struct Bases<'a> {
    mirror: &'a Mirror,
    depth: usize,
    frames: &'a Cell<usize>,
    last: &'a RefCell<Unpacked>,
}

impl Bases<'_> {
    fn frame(&self, pack: PackId, index: &Opened, number: usize) -> Option<Arc<Vec<u8>>> {
        if let Some((key, raw)) = self.last.borrow().as_ref()
            && *key == (pack, number)
        {
            return Some(raw.clone());
        }
        if self.depth >= DELTA_DEPTH_MAX || self.frames.get() >= DELTA_FRAMES_MAX {
            return None;
        }
        self.frames.set(self.frames.get() + 1);
        let range = index.table().stored_range(number);
        let (_, stored) = self.mirror.read_run(pack, range.clone(), &[(number, range)]).pop()?;
        let below = Bases { depth: self.depth + 1, ..*self };
        let raw = Arc::new(open(index, number, &stored, &below)?);
        *self.last.borrow_mut() = Some(((pack, number), raw.clone()));
        Some(raw)
    }

    fn find_in(&self, pack: &ListedPack, id: &ObjectId) -> Option<Bytes> {
        let index = self.mirror.index(pack).ok()?;
        let place = index.table().place(index.number(id)?);
        let bytes = Bytes::view(self.frame(pack.id, &index, place.frame)?, place.range);
        (ObjectId::of(&bytes) == *id).then_some(bytes)
    }
}

impl Find for Bases<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, ObjectError> {
        let packs = self.mirror.pack_list().map(|packs| packs.to_vec()).unwrap_or_default();
        Ok(packs.iter().find_map(|pack| self.find_in(pack, id)))
    }
}
