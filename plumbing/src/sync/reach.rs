//! What the delta frames of a plain mirror build on, read from the mirror itself.
//!
//! An old version in a repacked repository is stored as deltas against newer ones, which whoever wants
//! the old one may not have. Nothing that is read here is kept: it serves to unpack what was asked for.
//!
//! Promises: every object is checked by its id; chains end at the depth, and at the number of frames, at
//! which a store's own reader gives up; memory is bounded.
//! Leaves to others: which frames are wanted ([`super::mirror`]).

use super::intake::Intake;
use super::mirror::Mirror;
use super::{Error, Source};
use objects::id::{ObjectId, PackId};
use objects::limits::{DELTA_DEPTH_MAX, DELTA_FRAMES_MAX};
use objects::object::{Bytes, Error as ObjectError, Find};
use objects::store::pack::table::Frame;
use objects::store::pack::{base_objects, open_frame};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// Unpacked bytes kept for the next frame that builds on them.
const KEPT_BYTES_MAX: usize = 48 << 20;

type Kept = ((PackId, usize), Arc<Vec<u8>>);

/// Objects of the store, of what arrived, and of the mirror.
pub(super) struct Reach<'a, 's> {
    pub mirror: &'a Mirror,
    pub intake: &'a Intake<'s>,
    pub kept: &'a RefCell<VecDeque<Kept>>,
    /// Told how many bytes were read.
    pub read: &'a dyn Fn(u64),
    pub depth: Cell<usize>,
    pub frames: Cell<usize>,
    /// Why the mirror could not be read, for the caller: a missing object is all `Find` can say of it.
    pub fault: RefCell<Option<Error>>,
}

impl Reach<'_, '_> {
    /// Unpacks a frame of the mirror whose stored bytes have arrived.
    pub fn open(&self, row: &Frame, stored: &[u8]) -> Result<Vec<u8>, Error> {
        let opened = self.fetch_bases(row).and_then(|()| Ok(open_frame(row, stored, self)?));
        if let Some(fault) = self.fault.borrow_mut().take() {
            return Err(fault);
        }
        let from = self.mirror.name();
        match opened {
            Ok(raw) => raw.map_err(|reason| Error::Frame { from, reason }),
            Err(Error::Object(ObjectError::Missing { id, .. })) => {
                Err(Error::Frame { from, reason: format!("its base {id} is not here") })
            }
            Err(error) => Err(error),
        }
    }

    /// Reads all frames that a frame builds on in few ranges, before they are looked into one by one.
    fn fetch_bases(&self, row: &Frame) -> Result<(), Error> {
        let mut wanted: BTreeMap<PackId, BTreeSet<usize>> = BTreeMap::new();
        for id in base_objects(&row.base, self)? {
            if self.intake.try_find(&id)?.is_some() {
                continue;
            }
            if let Some((pack, number, _)) = self.mirror.place(&id)?
                && !self.is_kept((pack, number))
            {
                wanted.entry(pack).or_default().insert(number);
            }
        }
        for (pack, frames) in wanted {
            self.mirror.read_frames(pack, &frames, &mut |number, row, stored| {
                (self.read)(stored.len() as u64);
                self.unpack((pack, number), row, stored).map(drop)
            })?;
        }
        Ok(())
    }

    fn is_kept(&self, key: (PackId, usize)) -> bool {
        self.kept.borrow().iter().any(|(kept, _)| *kept == key)
    }

    fn unpack(&self, key: (PackId, usize), row: &Frame, stored: &[u8]) -> Result<Arc<Vec<u8>>, Error> {
        let frame = |reason| Error::Frame { from: self.mirror.name(), reason };
        row.check().map_err(frame)?;
        let raw = Arc::new(open_frame(row, stored, self)?.map_err(frame)?);
        let mut kept = self.kept.borrow_mut();
        kept.push_front((key, raw.clone()));
        let mut bytes = 0;
        kept.retain(|(_, raw)| {
            bytes += raw.len();
            bytes <= KEPT_BYTES_MAX || bytes == raw.len()
        });
        Ok(raw)
    }

    /// A frame of the mirror, unpacked.
    fn frame(&self, pack: PackId, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        let found = self.kept.borrow().iter().find(|(kept, _)| *kept == (pack, number)).cloned();
        if let Some((_, raw)) = found {
            return Ok(raw);
        }
        let mut raw = None;
        self.mirror.read_frames(pack, &BTreeSet::from([number]), &mut |_, row, stored| {
            (self.read)(stored.len() as u64);
            raw = Some(self.unpack((pack, number), row, stored)?);
            Ok(())
        })?;
        raw.ok_or_else(|| Error::Frame {
            from: self.mirror.name(),
            reason: format!("frame {number} is lost"),
        })
    }

    fn read_remote(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        let Some((pack, number, range)) = self.mirror.place(id)? else { return Ok(None) };
        let (depth, frames) = (self.depth.get(), self.frames.get());
        let bound = |what, max| Error::Object(ObjectError::Limit { what, id: *id, max: max as u64 });
        if depth > DELTA_DEPTH_MAX {
            return Err(bound("depth of delta frames below object", DELTA_DEPTH_MAX));
        }
        if frames > DELTA_FRAMES_MAX {
            return Err(bound("number of frames below object", DELTA_FRAMES_MAX));
        }
        self.depth.set(depth + 1);
        self.frames.set(if self.is_kept((pack, number)) { frames } else { frames + 1 });
        let raw = self.frame(pack, number);
        self.depth.set(depth);
        let bytes = view(raw?, range);
        if bytes.as_ref().is_none_or(|bytes| ObjectId::of(bytes) != *id) {
            let reason = format!("its index says object {id} is where other bytes are");
            return Err(Error::Frame { from: self.mirror.name(), reason });
        }
        Ok(bytes)
    }
}

fn view(raw: Arc<Vec<u8>>, range: Range<usize>) -> Option<Bytes> {
    (range.end <= raw.len()).then(|| Bytes::view(raw, range))
}

impl Find for Reach<'_, '_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, ObjectError> {
        if let Some(bytes) = self.intake.try_find(id)? {
            return Ok(Some(bytes));
        }
        match self.read_remote(id) {
            Ok(found) => Ok(found),
            Err(Error::Object(error)) => Err(error),
            Err(fault) => {
                self.fault.borrow_mut().get_or_insert(fault);
                Ok(None)
            }
        }
    }
}
