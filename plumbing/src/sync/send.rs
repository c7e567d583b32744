//! Sending a tree: what the receiver lacks, in frames it can check one by one.
//!
//! Trees and blobs first, parents before children; then chunks, as delta frames where the receiver
//! has something alike, as whole stored frames where it lacks all of one, else packed anew.
//!
//! Promises: memory is bounded by the frames in flight.
//! Leaves to others: who may have it.

use super::Error;
use super::message;
use objects::blob::Piece;
use objects::delta::{self, Segment};
use objects::id::{ObjectId, PackId, TreeId};
use objects::limits::FRAME_BYTES;
use objects::object::{Error as ObjectError, Find, Kind};
use objects::parallel;
use objects::store::Store;
use objects::store::pack::table::{Base, Frame};
use objects::store::pack::{Pack, frame, gather, open_frame, writer};
use objects::walk::{self, Closure, Seen};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::Arc;

/// The zstd level of frames packed anew.
const PLAIN_LEVEL: i32 = 3;
/// The zstd level of delta frames. Below 9 zstd hardly indexes the prefix (DESIGN 12).
const DELTA_LEVEL: i32 = 12;

/// What is to be sent to whom.
pub struct Offer<'a> {
    /// Where it is.
    pub store: &'a Store,
    /// The tree.
    pub tree: TreeId,
    /// Trees that the receiver has; those that are not here are passed over.
    pub haves: &'a [TreeId],
    /// True if the receiver can undo deltas.
    pub deltas: bool,
}

/// One frame to be.
enum Part {
    /// As it stands in a pack.
    Stored(Arc<Pack>, usize),
    /// Objects packed together, against a prefix if there is one.
    Made(Vec<ObjectId>, Vec<Base>),
}

/// A stored frame, and which of its objects are to be sent.
struct Needed {
    pack: Arc<Pack>,
    number: usize,
    objects: HashSet<u32>,
}

impl Needed {
    /// True if it may go as it is: all of it is to be sent, and it is no longer than frames are to be.
    fn is_whole(&self, frame_bytes: u64) -> bool {
        let row = &self.pack.table().frames()[self.number];
        let fits = frame_bytes == FRAME_BYTES as u64 || u64::from(row.raw) <= frame_bytes;
        fits && row.base.is_empty() && self.objects.len() == row.lengths.len()
    }
}

impl Offer<'_> {
    /// Sends all that the receiver lacks.
    ///
    /// # Errors
    /// Those of the store and the writer.
    pub fn send(&self, out: &mut dyn Write) -> Result<(), Error> {
        let haves = self.known_haves();
        let mut seen = Seen::default();
        let mut old = Closure::default();
        for tree in &haves {
            old.structure.extend(walk::closure(self.store, *tree, &mut seen)?.structure);
        }
        let new = walk::closure(self.store, self.tree, &mut seen)?;
        drop(seen);
        message::write(out, &message::Answer::Tree(self.tree)).map_err(broken)?;
        let structure: Vec<ObjectId> = new.structure.iter().map(|(_, id)| *id).collect();
        let base = if self.deltas { self.structure_base(&old)? } else { Vec::new() };
        self.send_parts(self.structure_parts(&structure, &base)?, out)?;
        self.send_chunks(new.chunks, &haves, FRAME_BYTES as u64, out)
    }

    /// Sends the chunks with the numbers in `ranges` (first and count), in frames of about `frame_bytes`.
    ///
    /// # Errors
    /// Those of the store and the writer.
    pub fn send_ranges(
        &self,
        ranges: &[(u64, u64)],
        frame_bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let chunks = walk::closure(self.store, self.tree, &mut Seen::default())?.chunks;
        let mut chosen = Vec::new();
        let mut next = 0;
        for (first, count) in ranges {
            // Ranges ascend, so that no request names more than there is.
            let first = usize::try_from(*first).unwrap_or(usize::MAX).clamp(next, chunks.len());
            let end = first.saturating_add(usize::try_from(*count).unwrap_or(usize::MAX)).min(chunks.len());
            chosen.extend_from_slice(&chunks[first..end]);
            next = end;
        }
        self.send_chunks(chosen, &self.known_haves(), frame_bytes.clamp(1, FRAME_BYTES as u64), out)
    }

    fn known_haves(&self) -> Vec<TreeId> {
        let mut distinct = BTreeSet::new();
        let whole = |tree: &&TreeId| walk::mark(self.store, **tree, &mut Seen::default()).is_ok();
        self.haves.iter().filter(|tree| distinct.insert(**tree)).filter(whole).copied().collect()
    }

    fn structure_base(&self, old: &Closure) -> Result<Vec<Base>, Error> {
        let mut still = Seen::default();
        walk::mark(self.store, self.tree, &mut still)?;
        Ok(delta::structure_base(self.store, old, &still)?)
    }

    /// Structure keeps its order, so that parents come first; frames of at most 1 MiB.
    fn structure_parts(&self, ids: &[ObjectId], base: &[Base]) -> Result<Vec<Part>, Error> {
        let mut parts = Vec::new();
        let (mut open, mut bytes) = (Vec::new(), 0);
        for id in ids {
            let len = self.store.find(Kind::Tree, id)?.len();
            if bytes + len > FRAME_BYTES && !open.is_empty() {
                parts.push(Part::Made(std::mem::take(&mut open), base.to_vec()));
                bytes = 0;
            }
            open.push(*id);
            bytes += len;
        }
        if !open.is_empty() {
            parts.push(Part::Made(open, base.to_vec()));
        }
        Ok(parts)
    }

    fn send_chunks(
        &self,
        chunks: Vec<Piece>,
        haves: &[TreeId],
        frame_bytes: u64,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let mut parts = Vec::new();
        let mut plain = chunks;
        if self.deltas && !haves.is_empty() {
            let needed = plain.iter().map(|chunk| chunk.0.object()).collect();
            let plan = delta::plan(self.store, self.tree, haves, &needed)?;
            plain = plan.plain;
            parts.extend(plan.deltas.into_iter().map(made));
        }
        parts.extend(self.plain_parts(&plain, frame_bytes)?);
        self.send_parts(parts, out)
    }

    /// Whole stored frames where all of one is wanted, the rest packed together.
    fn plain_parts(&self, chunks: &[Piece], frame_bytes: u64) -> Result<Vec<Part>, Error> {
        let mut numbers: HashMap<(PackId, usize), usize> = HashMap::new();
        let mut frames: Vec<Needed> = Vec::new();
        let mut places: Vec<usize> = Vec::with_capacity(chunks.len());
        for (chunk, _) in chunks {
            let (pack, object) = self.locate(chunk.object())?;
            let number = pack.table().place(object).frame;
            let at = *numbers.entry((pack.id(), number)).or_insert(frames.len());
            if at == frames.len() {
                frames.push(Needed { pack, number, objects: HashSet::new() });
            }
            frames[at].objects.insert(object);
            places.push(at);
        }
        let whole: Vec<bool> = frames.iter().map(|frame| frame.is_whole(frame_bytes)).collect();
        let stored = frames.into_iter().zip(&whole).filter(|(_, whole)| **whole);
        let mut parts: Vec<Part> = stored.map(|(frame, _)| Part::Stored(frame.pack, frame.number)).collect();
        let (mut open, mut bytes) = (Vec::new(), 0);
        for (_, (chunk, len)) in places.into_iter().zip(chunks).filter(|(at, _)| !whole[*at]) {
            if bytes + len > frame_bytes && !open.is_empty() {
                parts.push(Part::Made(std::mem::take(&mut open), Vec::new()));
                bytes = 0;
            }
            open.push(chunk.object());
            bytes += len;
        }
        if !open.is_empty() {
            parts.push(Part::Made(open, Vec::new()));
        }
        Ok(parts)
    }

    /// Where a chunk lies; another process may have brought it since this one last looked.
    fn locate(&self, id: ObjectId) -> Result<(Arc<Pack>, u32), Error> {
        if let Some(found) = self.store.locate(&id) {
            return Ok(found);
        }
        self.store.refresh()?;
        Ok(self.store.locate(&id).ok_or(ObjectError::Missing { kind: Kind::Chunk, id })?)
    }

    fn send_parts(&self, parts: Vec<Part>, out: &mut dyn Write) -> Result<(), Error> {
        let make = |part| self.make(part);
        parallel::ordered(parallel::default_jobs(), parts.into_iter(), make, |made| {
            let (row, stored) = made?;
            message::write_frame(out, &row, &stored).map_err(broken)
        })
    }

    fn make(&self, part: Part) -> Result<(Frame, Vec<u8>), Error> {
        let (ids, base) = match part {
            Part::Stored(pack, number) => {
                return Ok((pack.table().frames()[number].clone(), pack.stored_frame(number)?));
            }
            Part::Made(ids, base) => (ids, base),
        };
        let (mut raw, mut lengths) = (Vec::new(), Vec::with_capacity(ids.len()));
        for id in ids {
            let bytes = self.store.find(Kind::Chunk, &id)?;
            lengths.push(bytes.len() as u32);
            raw.extend_from_slice(&bytes);
        }
        let plain = |lengths| {
            let stored = frame::seal(&raw, PLAIN_LEVEL);
            (writer::describe(&raw, &stored, lengths, Vec::new()), stored)
        };
        if base.is_empty() {
            return Ok(plain(lengths));
        }
        let Ok(prefix) = gather(&base, self.store)? else {
            return Ok(plain(lengths)); // a tree that lies about a size is no base
        };
        let stored = frame::seal_with_prefix(&raw, &prefix, DELTA_LEVEL);
        let row = writer::describe(&raw, &stored, lengths.clone(), base);
        debug_assert!(open_frame(&row, &stored, self.store).is_ok_and(|opened| opened.is_ok()));
        Ok((row, stored))
    }
}

fn made(segment: Segment) -> Part {
    Part::Made(segment.chunks.iter().map(|chunk| chunk.0.object()).collect(), segment.base)
}

pub(super) fn broken(error: std::io::Error) -> Error {
    message::broken("the receiver", error)
}
