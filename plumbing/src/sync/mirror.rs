//! A source that is only files: a folder, a web server, a bucket, a bundle.
//!
//! The list of packs tells which pack was made for what; indexes tell which frames hold what is
//! missing; frames that stand next to each other are read in one range.
//!
//! Promises: memory is bounded by one batch of frames; an index is read once.
//! Leaves to others: everything of trust. The files may be anybody's.

mod give;

use super::gather::Give;
use super::intake::{Intake, STORED_BYTES_MAX, Strangers};
use super::message::malformed;
use super::reach::Reach;
use super::{Error, Source};
use crate::transport::{Bare, Key};
use objects::id::{ObjectId, PackId, StatementId, TreeId};
use objects::limits::{ENVELOPE_BYTES_MAX, PACK_LIST_BYTES_MAX, SUMMARY_BYTES_MAX};
use objects::packlist::{self, ListedPack};
use objects::progress::Progress;
use objects::repository::{PACK_LIST_KEY, SUMMARY_KEY, pack_index_key, pack_key};
use objects::signed::Envelope;
use objects::store::pack::index::Index;
use objects::store::pack::table::Frame;
use objects::summary::Summary;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// Frames closer than this are read in one range: bytes thrown away cost less than a round trip.
const GAP_BYTES: u64 = 64 << 10;
/// Most bytes of all indexes held at once.
const INDEX_BYTES_MAX: u64 = 256 << 20;
/// Most bytes of one range.
const RANGE_BYTES_MAX: u64 = 8 << 20;

/// So often the packs may move while one tree is read.
const MOVES_MAX: usize = 5;

/// A bare repository kept by somebody else.
pub struct Mirror {
    bare: Box<dyn Bare>,
    packs: Mutex<Option<Arc<Vec<ListedPack>>>>,
    indexes: Mutex<HashMap<PackId, Arc<Index<Vec<u8>>>>>,
}

impl Mirror {
    /// The repository behind `bare`.
    pub fn new(bare: Box<dyn Bare>) -> Mirror {
        Mirror { bare, packs: Mutex::default(), indexes: Mutex::default() }
    }

    fn read(&self, key: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.bare.try_read(&Key::new(key)?, bytes_max as u64)?)
    }

    fn pack_list(&self) -> Result<Arc<Vec<ListedPack>>, Error> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packs) = packs.as_ref() {
            return Ok(packs.clone());
        }
        let bytes = self.read(PACK_LIST_KEY, PACK_LIST_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| Error::Empty { from: self.name() })?;
        let list = packlist::decode(&bytes).map_err(|error| malformed(&self.name(), error))?;
        Ok(packs.insert(Arc::new(list)).clone())
    }

    fn index(&self, pack: &ListedPack) -> Result<Arc<Index<Vec<u8>>>, Error> {
        if let Some(index) = self.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(&pack.id) {
            return Ok(index.clone());
        }
        let key = pack_index_key(pack.id);
        let kept: u64 = {
            let indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
            indexes.values().map(|index| index.len() as u64 * 40).sum()
        };
        if kept + pack.index_bytes > INDEX_BYTES_MAX {
            let from = self.name();
            return Err(malformed(&from, format_args!("its indexes have more than {INDEX_BYTES_MAX} bytes")));
        }
        let bytes_max = usize::try_from(pack.index_bytes).unwrap_or(usize::MAX);
        let bytes = self
            .read(&key, bytes_max)?
            .ok_or_else(|| malformed(&self.name(), format_args!("{key} is lost")))?;
        let index = Index::open(bytes, pack.id)
            .map_err(|why| malformed(&self.name(), format_args!("{key}: {why}")))?;
        let index = Arc::new(index);
        self.indexes.lock().unwrap_or_else(PoisonError::into_inner).insert(pack.id, index.clone());
        Ok(index)
    }

    /// The packs, those made for `tree` first, then the smaller ones first.
    fn packs_for(&self, tree: TreeId) -> Result<Vec<ListedPack>, Error> {
        let mut packs = self.pack_list()?.to_vec();
        packs.sort_by_key(|pack| (!pack.tips.contains(&tree), pack.index_bytes, pack.id));
        Ok(packs)
    }

    /// In which frames the objects `left` lie, by pack; indexes are read until all are found.
    fn locate(
        &self,
        tree: TreeId,
        mut left: Vec<ObjectId>,
    ) -> Result<BTreeMap<PackId, BTreeSet<usize>>, Error> {
        let mut frames: BTreeMap<PackId, BTreeSet<usize>> = BTreeMap::new();
        for pack in self.packs_for(tree)? {
            if left.is_empty() {
                break;
            }
            let index = self.index(&pack)?;
            left.retain(|id| match index.number(id) {
                Some(number) => {
                    frames.entry(pack.id).or_default().insert(index.table().place(number).frame);
                    false
                }
                None => true,
            });
        }
        Ok(frames)
    }

    /// Where an object lies: its pack, frame, and range in it. Indexes are read until it is found.
    pub(super) fn place(&self, id: &ObjectId) -> Result<Option<(PackId, usize, Range<usize>)>, Error> {
        for pack in self.pack_list()?.iter() {
            let index = self.index(pack)?;
            if let Some(number) = index.number(id) {
                let place = index.table().place(number);
                return Ok(Some((pack.id, place.frame, place.range)));
            }
        }
        Ok(None)
    }

    /// Reads frames of a pack in merged ranges and hands over each one's row and stored bytes, once
    /// these have the hash that the row says.
    pub(super) fn read_frames(
        &self,
        pack: PackId,
        frames: &BTreeSet<usize>,
        take: &mut TakeFrame<'_>,
    ) -> Result<(), Error> {
        let from = self.name();
        let index = self.indexes.lock().unwrap_or_else(PoisonError::into_inner).get(&pack).cloned();
        let index = index.expect("frames were located by the pack's index");
        let key = Key::new(&pack_key(pack))?;
        for (range, run) in merge(frames.iter().map(|frame| (*frame, index.table().stored_range(*frame)))) {
            if run.iter().any(|(_, stored)| stored.end - stored.start > STORED_BYTES_MAX as u64) {
                return Err(malformed(&from, format_args!("{key} states a frame that is too large")));
            }
            let bytes = self.bare.read_range(&key, range.clone())?;
            for (number, stored) in run {
                let part = &bytes[(stored.start - range.start) as usize..(stored.end - range.start) as usize];
                let row = &index.table().frames()[number];
                if ObjectId::of(part) != row.hash {
                    let reason =
                        format!("the bytes of frame {number} of {key} have another hash than it says");
                    return Err(Error::Frame { from, reason });
                }
                take(number, row, part)?;
            }
        }
        Ok(())
    }

    /// Reads frames of a pack and hands them to the intake; a delta frame is unpacked here, since what
    /// it builds on may be nowhere but in the mirror.
    fn bring_frames(
        &self,
        intake: &mut Intake<'_>,
        pack: PackId,
        frames: &BTreeSet<usize>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let from = self.name();
        let kept = RefCell::default();
        let read = |bytes| progress.advance(bytes);
        self.read_frames(pack, frames, &mut |_, row, stored| {
            read(stored.len() as u64);
            if row.base.is_empty() {
                return intake.take(&from, row, stored.to_vec(), Strangers::Ignore);
            }
            row.check().map_err(|reason| Error::Frame { from: from.clone(), reason })?;
            let reach = Reach {
                mirror: self,
                intake,
                kept: &kept,
                read: &read,
                depth: Cell::new(0),
                frames: Cell::new(0),
                fault: RefCell::default(),
            };
            let raw = reach.open(row, stored)?;
            intake.take_unpacked(&from, row, &raw, Strangers::Ignore)
        })
    }

    /// Brings the frames that hold `ids`, as far as they are here.
    fn bring_objects(
        &self,
        intake: &mut Intake<'_>,
        ids: Vec<ObjectId>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let frames = self.locate(intake.tree(), ids)?;
        frames.iter().try_for_each(|(pack, frames)| self.bring_frames(intake, *pack, frames, progress))
    }
}

/// Takes a frame's number, its row, and its stored bytes.
type TakeFrame<'t> = dyn FnMut(usize, &Frame, &[u8]) -> Result<(), Error> + 't;

/// A frame's number, and its bytes in the pack.
type Placed = (usize, Range<u64>);

/// Joins frames that are near each other into ranges.
fn merge(frames: impl Iterator<Item = Placed>) -> Vec<(Range<u64>, Vec<Placed>)> {
    let mut merged: Vec<(Range<u64>, Vec<Placed>)> = Vec::new();
    for (number, range) in frames {
        match merged.last_mut() {
            Some((whole, run))
                if range.start - whole.end <= GAP_BYTES && range.end - whole.start <= RANGE_BYTES_MAX =>
            {
                whole.end = range.end;
                run.push((number, range));
            }
            _ => merged.push((range.clone(), vec![(number, range)])),
        }
    }
    merged
}

impl Source for Mirror {
    fn giver(&self) -> Option<&dyn Give> {
        Some(self)
    }

    fn name(&self) -> String {
        self.bare.source()
    }

    fn advertise(&self) -> Result<Summary, Error> {
        let from = self.name();
        let bytes =
            self.read(SUMMARY_KEY, SUMMARY_BYTES_MAX)?.ok_or_else(|| Error::Empty { from: from.clone() })?;
        Summary::decode(&bytes).map_err(|source| Error::Statement { from, source })
    }

    fn statements(&self, wanted: &[(StatementId, u32)]) -> Result<Vec<Envelope>, Error> {
        let mut found = Vec::new();
        for (id, depth) in wanted {
            let mut next = Some(*id);
            for _ in 0..=*depth {
                let Some(id) = next else { break };
                let Some(bytes) = self.read(&objects::statements::key(id), ENVELOPE_BYTES_MAX)? else {
                    break;
                };
                let envelope = Envelope::decode(&bytes).map_err(|error| malformed(&self.name(), error))?;
                if envelope.id() != id {
                    return Err(Error::Unasked { from: self.name(), id: envelope.id().object() });
                }
                next = super::serve::previous(&envelope);
                found.push(envelope);
            }
        }
        Ok(found)
    }

    fn bring(
        &self,
        intake: &mut Intake<'_>,
        _haves: &[TreeId],
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        for _ in 0..MOVES_MAX {
            match self.bring_missing(intake, progress) {
                Err(error) if self.has_moved()? => {
                    tracing::debug!(%error, source = self.name(), "its packs have moved: looking again");
                }
                brought => return brought,
            }
        }
        self.bring_missing(intake, progress)
    }
}

impl Mirror {
    /// True if the list of packs is another one now: somebody collected while we read.
    fn has_moved(&self) -> Result<bool, Error> {
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(old) = packs.take() else { return Ok(false) };
        drop(packs);
        Ok(self.pack_list()? != old)
    }

    fn bring_missing(&self, intake: &mut Intake<'_>, progress: &dyn Progress) -> Result<(), Error> {
        while !intake.has_structure() {
            let before = intake.missing_structure();
            self.bring_objects(intake, before.clone(), progress)?;
            if before.iter().all(|id| intake.is_missing(id)) {
                return Ok(()); // it is not here: the caller tells what is missing
            }
        }
        self.bring_objects(intake, intake.missing_chunks().collect(), progress)?;
        if let Some(id) = intake.missing_chunks().next() {
            tracing::debug!(%id, source = self.name(), "not in any listed pack");
        }
        Ok(())
    }
}
