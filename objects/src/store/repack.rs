//! Packing a store anew, so that history shrinks.
//!
//! Two forms. [`gather`] joins small packs, frame by frame as they are stored, so that their number grows
//! with the logarithm of the store's size (git's geometric repacking). [`full`] makes one pack: of each
//! package the newest version in plain frames, each older one as deltas against the next newer, chunks
//! without a namesake as deltas against chunks that look alike.
//!
//! Promises: nothing is removed here; every object that is read is checked by its hash, every delta
//! builds on objects of the same pack, no deeper and on no more frames than a reader takes.
//! Leaves to others: locks, and removing what was replaced ([`super::gc::remove_packs`]).

use super::Store;
use super::pack::table::{Base, BaseOf};
use super::pack::writer::{FrameNumber, Options, PackWriter};
use super::pack::{self, Pack};
use super::transaction::STRUCTURE;
use crate::blob::Piece;
use crate::delta::{self, Segment};
use crate::id::{ChunkId, ObjectId, PackId, TreeId};
use crate::ids::IdSet;
use crate::ingest::group_of;
use crate::limits::{DELTA_DEPTH_MAX, FRAME_BYTES, PREFIX_RANGES_MAX, RELEASE_FILES_MAX};
use crate::object::{Bytes, Error, Find, Kind};
use crate::progress::Progress;
use crate::similar::{Similar, Sketch};
use crate::tree::Mode;
use crate::walk::{self, Closure, Seen};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Packs are joined until each has at least this many times the bytes of all smaller ones.
const FACTOR: u64 = 2;
/// Most frames that one delta frame makes a reader unpack; a quarter of what readers allow.
const FRAMES_MAX: u32 = 256;
/// Most base bytes of one frame of chunks that look alike.
const ALIKE_PREFIX_BYTES: usize = 4 << 20;

/// What a repacking came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repacked {
    /// The pack that now holds everything; None if there was nothing to do.
    pub pack: Option<PackId>,
    /// The packs it stands in for.
    pub replaced: Vec<PackId>,
}

/// Which packs to join so that their sizes form a progression: the smallest, as far as the sum of what
/// is smaller passes half of the next. None if they form one already.
pub fn unbalanced(store: &Store) -> Vec<Arc<Pack>> {
    let mut packs = store.packs();
    packs.sort_by_key(|pack| (pack.table().frames_bytes(), pack.id()));
    let bytes: Vec<u64> = packs.iter().map(|pack| pack.table().frames_bytes()).collect();
    let mut joined = 0;
    // From the largest down: the first that is too small for what lies below it is joined with that.
    for at in (1..bytes.len()).rev() {
        let below: u64 = bytes[..at].iter().sum();
        if bytes[at] < below.saturating_mul(FACTOR - 1) {
            joined = at + 1;
            break;
        }
    }
    packs.truncate(joined);
    packs
}

/// Joins `packs` into one, frames as they are stored; an object that two of them hold is kept once.
///
/// # Errors
/// If an object is damaged or the disk refuses; nothing is then visible.
pub fn gather(store: &Store, packs: &[Arc<Pack>], options: Options) -> Result<Repacked, Error> {
    let mut writer = PackWriter::copying(&store.staging_folder(), options)?;
    let mut moved = IdSet::default();
    for pack in packs {
        super::gc::move_wanted(store, pack, &mut |id| moved.insert(*id), &mut writer)?;
    }
    seal(store, writer, packs)
}

fn seal(store: &Store, writer: PackWriter, packs: &[Arc<Pack>]) -> Result<Repacked, Error> {
    let pack = writer.finish(&store.packs_folder())?;
    store.refresh()?;
    let replaced = packs.iter().map(|pack| pack.id()).filter(|id| Some(*id) != pack).collect();
    Ok(Repacked { pack, replaced })
}

/// Packs the whole store anew. `histories` are the trees of each package, the newest first; they have to
/// be here whole. What no history reaches follows at the end.
///
/// # Errors
/// If an object is missing or damaged, or the disk refuses; nothing is then visible.
pub fn full(
    store: &Store,
    histories: &[Vec<TreeId>],
    options: Options,
    progress: &dyn Progress,
) -> Result<Repacked, Error> {
    let packs = store.packs();
    let mut packer = Packer {
        store,
        progress,
        writer: PackWriter::copying(&store.staging_folder(), options)?,
        placed: HashMap::new(),
        deltas: HashMap::new(),
        similar: Similar::default(),
        alike: Segment::default(),
    };
    for history in histories {
        packer.history(history)?;
    }
    packer.close_alike()?;
    let Packer { mut writer, mut placed, .. } = packer;
    for pack in &packs {
        let mut is_left = |id: &ObjectId| placed.insert(*id, 0).is_none();
        super::gc::move_wanted(store, pack, &mut is_left, &mut writer)?;
    }
    seal(store, writer, &packs)
}

/// What a delta frame asks of a reader.
#[derive(Clone, Copy)]
struct Cost {
    /// Delta frames upon each other.
    depth: usize,
    /// Frames to unpack.
    frames: u32,
}

/// A plain frame's.
const PLAIN: Cost = Cost { depth: 0, frames: 1 };

struct Packer<'a> {
    store: &'a Store,
    progress: &'a dyn Progress,
    writer: PackWriter,
    /// In which frame each object lies.
    placed: HashMap<ObjectId, FrameNumber>,
    /// What the frames that are deltas ask of a reader.
    deltas: HashMap<FrameNumber, Cost>,
    similar: Similar,
    /// Chunks on their way into a frame, each with one that looks like it in the prefix.
    alike: Segment,
}

impl Packer<'_> {
    fn history(&mut self, trees: &[TreeId]) -> Result<(), Error> {
        for (at, tree) in trees.iter().enumerate() {
            let base = at.checked_sub(1).map(|newer| trees[newer]);
            let bytes = self.version(*tree, base)?;
            if at == 0 && bytes >= (FRAME_BYTES / 4) as u64 {
                self.writer.flush()?; // who fetches this package reads no other with it
            }
        }
        Ok(())
    }

    /// Adds what is new in a version; `base` is the next newer one, which stands already. Gives the bytes
    /// of its new chunks.
    fn version(&mut self, tree: TreeId, base: Option<TreeId>) -> Result<u64, Error> {
        let mut still = Seen::default();
        let new = walk::closure(self.store, tree, &mut still)?;
        let structure: Vec<_> =
            new.structure.into_iter().filter(|(_, id)| !self.placed.contains_key(id)).collect();
        let chunks: Vec<Piece> =
            new.chunks.into_iter().filter(|piece| !self.placed.contains_key(&piece.0.object())).collect();
        let bytes = chunks.iter().map(|piece| piece.1).sum();
        let plan = match base {
            None => delta::Plan { deltas: Vec::new(), plain: chunks },
            Some(base) => {
                let needed = chunks.iter().map(|piece| piece.0.object()).collect();
                delta::plan(self.store, tree, &[base], &needed)?
            }
        };
        let structure_base = match base {
            None => Vec::new(),
            Some(base) => {
                let old: Closure = walk::closure(self.store, base, &mut Seen::default())?;
                delta::structure_base(self.store, &old, &still)?
            }
        };
        self.structure(&structure, &structure_base)?;
        for segment in plan.deltas {
            self.segment(segment)?;
        }
        self.plain(tree, &plan.plain)?;
        Ok(bytes)
    }

    fn structure(&mut self, objects: &[(Kind, ObjectId)], base: &[Base]) -> Result<(), Error> {
        let mut open = Vec::new();
        let mut bytes = 0;
        for (kind, id) in objects {
            let object = self.store.find(*kind, id)?;
            if bytes + object.len() > FRAME_BYTES && !open.is_empty() {
                self.frame(std::mem::take(&mut open), base, STRUCTURE)?;
                bytes = 0;
            }
            bytes += object.len();
            open.push((*id, object));
        }
        self.frame(open, base, STRUCTURE)
    }

    fn segment(&mut self, segment: Segment) -> Result<(), Error> {
        let mut objects = Vec::with_capacity(segment.chunks.len());
        for (chunk, len) in &segment.chunks {
            objects.push((chunk.object(), self.store.find(Kind::Chunk, &chunk.object())?));
            self.progress.advance(*len);
        }
        self.frame(objects, &segment.base, ORPHANS)
    }

    /// One frame of objects against a base; plain, in `group`, if readers would have to go too far.
    fn frame(&mut self, objects: Vec<(ObjectId, Bytes)>, base: &[Base], group: u64) -> Result<(), Error> {
        if objects.is_empty() {
            return Ok(());
        }
        let cost = self.cost(base)?;
        let prefix = match cost {
            Some(_) => pack::gather(base, self.store)?.ok(), // a tree that lies about a size is no base
            None => None,
        };
        let Some((cost, prefix)) = cost.zip(prefix) else {
            for (id, bytes) in &objects {
                let frame = self.writer.add(*id, bytes, group)?;
                self.placed.insert(*id, frame);
            }
            return Ok(());
        };
        let frame = self.writer.add_delta(&objects, base.to_vec(), prefix)?;
        self.deltas.insert(frame, cost);
        self.placed.extend(objects.iter().map(|(id, _)| (*id, frame)));
        Ok(())
    }

    /// What a frame with this base asks of a reader; None if that is too much, or nothing is gained.
    fn cost(&self, base: &[Base]) -> Result<Option<Cost>, Error> {
        if base.is_empty() {
            return Ok(None);
        }
        let mut frames = HashSet::new();
        for id in pack::base_objects(base, self.store)? {
            let Some(frame) = self.placed.get(&id) else { return Ok(None) };
            frames.insert(*frame);
        }
        let mut cost = PLAIN;
        for frame in frames {
            let below = self.deltas.get(&frame).copied().unwrap_or(PLAIN);
            cost.depth = cost.depth.max(below.depth + 1);
            cost.frames = cost.frames.saturating_add(below.frames);
        }
        Ok((cost.depth <= DELTA_DEPTH_MAX && cost.frames <= FRAMES_MAX).then_some(cost))
    }

    /// Chunks without a base of the same name: files of one kind together, in tree order.
    fn plain(&mut self, tree: TreeId, chunks: &[Piece]) -> Result<(), Error> {
        if chunks.is_empty() {
            return Ok(());
        }
        let groups = self.groups(tree, chunks)?;
        for (chunk, len) in chunks {
            let id = chunk.object();
            let bytes = self.store.find(Kind::Chunk, &id)?;
            self.progress.advance(*len);
            let group = groups.get(&id).copied().unwrap_or(ORPHANS);
            let sketch = Sketch::of(&bytes);
            let alike = sketch.and_then(|sketch| self.similar.find(&sketch));
            if let Some(alike) = alike.filter(|alike| self.is_worth_a_delta(alike, group)) {
                self.add_alike(*chunk, *len, alike)?;
                continue;
            }
            let frame = self.writer.add(id, &bytes, group)?;
            self.placed.insert(id, frame);
            if let Some(sketch) = sketch {
                self.similar.insert(id, sketch);
            }
        }
        self.close_alike()
    }

    /// What zstd sees anyway, in the frame that is being filled, needs no delta.
    fn is_worth_a_delta(&self, alike: &ObjectId, group: u64) -> bool {
        let frame = self.placed.get(alike);
        frame.is_some() && frame.copied() != self.writer.open_number(group)
    }

    fn add_alike(&mut self, chunk: ChunkId, len: u64, alike: ObjectId) -> Result<(), Error> {
        let base_len = self.store.find(Kind::Chunk, &alike)?.len() as u64;
        let base: u64 = self.alike.base.iter().map(|base| base.len).sum();
        let chunks: u64 = self.alike.chunks.iter().map(|chunk| chunk.1).sum();
        let is_full = chunks + len > FRAME_BYTES as u64
            || base + base_len > ALIKE_PREFIX_BYTES as u64
            || self.alike.base.len() == PREFIX_RANGES_MAX;
        if is_full {
            self.close_alike()?;
        }
        if self.alike.base.iter().all(|base| base.id != alike) {
            self.alike.base.push(Base { of: BaseOf::Object, id: alike, start: 0, len: base_len });
        }
        self.alike.chunks.push((chunk, len));
        Ok(())
    }

    fn close_alike(&mut self) -> Result<(), Error> {
        let Segment { chunks, base } = std::mem::take(&mut self.alike);
        let read = |(chunk, _): &Piece| {
            Ok::<_, Error>((chunk.object(), self.store.find(Kind::Chunk, &chunk.object())?))
        };
        let objects = chunks.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        self.frame(objects, &base, ORPHANS)
    }

    /// The group of each chunk, by the name of the first file it is in.
    fn groups(&self, tree: TreeId, chunks: &[Piece]) -> Result<HashMap<ObjectId, u64>, Error> {
        let wanted: HashSet<ObjectId> = chunks.iter().map(|piece| piece.0.object()).collect();
        let mut groups = HashMap::with_capacity(wanted.len());
        walk::visit::<Error>(self.store, tree, RELEASE_FILES_MAX, &mut |_, entry| {
            if entry.mode != Mode::Dir {
                let group = if entry.mode == Mode::Link { STRUCTURE } else { group_of(entry.name.as_str()) };
                for (chunk, _) in walk::pieces(self.store, entry)? {
                    if wanted.contains(&chunk.object()) {
                        groups.entry(chunk.object()).or_insert(group);
                    }
                }
            }
            Ok(())
        })?;
        Ok(groups)
    }
}

/// The group of objects whose file is not known.
const ORPHANS: u64 = 1;

/// Adds to `live` every object that a delta frame with a live object in it builds on, so that it can be
/// read as long as it is kept. `kept` are packs that stay whatever they hold.
///
/// # Errors
/// If a blob that a frame builds on cannot be read.
pub fn pin_bases(store: &Store, live: &mut IdSet, kept: &HashSet<PackId>) -> Result<(), Error> {
    let mut waiting: Vec<DeltaFrame> = Vec::new();
    for pack in store.packs() {
        let rows = pack.table().frames().iter().enumerate();
        let deltas: Vec<usize> = rows.filter(|(_, row)| !row.base.is_empty()).map(|(n, _)| n).collect();
        let ids = if deltas.is_empty() { Vec::new() } else { pack.index().ids_in_pack_order() };
        let ids = Arc::new(ids);
        waiting.extend(deltas.into_iter().map(|n| DeltaFrame { pack: pack.clone(), ids: ids.clone(), n }));
    }
    loop {
        let mut pinned = Vec::new();
        let mut left = Vec::new();
        for frame in waiting {
            if frame.holds_any(live) || kept.contains(&frame.pack.id()) {
                pinned.extend(pack::base_objects(&frame.pack.table().frames()[frame.n].base, store)?);
            } else {
                left.push(frame);
            }
        }
        if pinned.is_empty() {
            return Ok(());
        }
        live.extend(pinned);
        waiting = left;
    }
}

struct DeltaFrame {
    pack: Arc<Pack>,
    /// The ids of all objects of the pack, in its order.
    ids: Arc<Vec<ObjectId>>,
    n: usize,
}

impl DeltaFrame {
    fn holds_any(&self, live: &IdSet) -> bool {
        let numbers = self.pack.table().objects_of(self.n);
        self.ids[numbers.start as usize..numbers.end as usize].iter().any(|id| live.contains(id))
    }
}
