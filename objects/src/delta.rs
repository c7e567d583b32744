//! Choosing what chunks are compressed against (C8, L-F6), on the wire and in packs.
//!
//! For every file that changed, the file of the same path in a tree that is at hand serves as base;
//! failing that, the file whose path differs only in digits (a version in a folder's or library's
//! name); failing that, a file that is gone, of the same extension and about the same size, whose path
//! has most in common with the new one (a hash in a library's name). Small files share frames, each
//! with its old self in the prefix; large ones are cut into segments, each with the neighbourhood of
//! its place in the old file.
//!
//! Promises: a plan names every chunk that was asked for exactly once.
//! Leaves to others: compressing (`plumbing::sync::send`, [`crate::store::repack`]); whoever reads a
//! frame hashes what it unpacks to.
//!
//! The figures behind the sizes stand in DESIGN 12: prefixes in place of dictionaries, 2 MiB segments with
//! 2 MiB of context on either side.

use crate::blob::Piece;
use crate::id::{ObjectId, TreeId};
use crate::limits::{PREFIX_BYTES_MAX, PREFIX_RANGES_MAX, RELEASE_FILES_MAX};
use crate::object::{Error, Find};
use crate::store::pack::table::{Base, BaseOf};
use crate::tree::{Entry, Mode};
use crate::walk::{self, Closure, Seen};
use std::collections::{HashMap, HashSet};

/// New bytes of one delta frame.
const SEGMENT_BYTES: u64 = 2 << 20;
/// Old bytes on either side of a segment's place.
const CONTEXT_BYTES: u64 = 2 << 20;
/// Files up to this size take the whole old file as prefix and share frames.
const WHOLE_BYTES: u64 = 2 << 20;
/// Old bytes of one frame of small files.
const SHARED_PREFIX_BYTES: u64 = 4 << 20;

/// Chunks for one frame, and what they are compressed against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// The chunks, in order.
    pub chunks: Vec<Piece>,
    /// The prefix; empty for a plain frame.
    pub base: Vec<Base>,
}

impl Segment {
    fn bytes(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.1).sum()
    }

    fn prefix_bytes(&self) -> u64 {
        self.base.iter().map(|base| base.len).sum()
    }
}

/// What a plan came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Frames with a prefix.
    pub deltas: Vec<Segment>,
    /// Chunks without a base, in tree order.
    pub plain: Vec<Piece>,
}

/// Plans how the chunks `needed` of `tree` go to somebody who has the trees `haves`.
///
/// # Errors
/// Those of `find`.
pub fn plan(
    find: &dyn Find,
    tree: TreeId,
    haves: &[TreeId],
    needed: &HashSet<ObjectId>,
) -> Result<Plan, Error> {
    let mut planner = Planner {
        find,
        bases: Bases::read(find, haves, tree)?,
        left: needed.clone(),
        shared: Segment::default(),
        plan: Plan::default(),
    };
    walk::visit::<Error>(find, tree, RELEASE_FILES_MAX, &mut |path, entry| planner.file(path, entry))?;
    planner.close_shared();
    Ok(planner.plan)
}

/// The trees and blobs of `old` that are not among `still`: what new ones replaced, and so resemble.
/// At most a quarter of what a prefix may be.
///
/// # Errors
/// Those of `find`.
pub fn structure_base(find: &dyn Find, old: &Closure, still: &Seen) -> Result<Vec<Base>, Error> {
    let mut base = Vec::new();
    let mut total = 0;
    for (kind, id) in old.structure.iter().filter(|(kind, id)| !still.contains(*kind, id)) {
        let len = find.find(*kind, id)?.len() as u64;
        total += len;
        if total > (PREFIX_BYTES_MAX / 4) as u64 || base.len() >= PREFIX_RANGES_MAX / 4 {
            break;
        }
        base.push(Base { of: BaseOf::Object, id: *id, start: 0, len });
    }
    Ok(base)
}

/// The files of the trees at hand, by path.
struct Bases {
    by_path: HashMap<String, Entry>,
    by_blanked: HashMap<String, Entry>,
    /// Those that the new tree does not have, by extension.
    gone: HashMap<String, Vec<(String, Entry)>>,
}

/// Most files of one extension that are compared with a new one.
const GONE_MAX: usize = 1_024;

impl Bases {
    fn read(find: &dyn Find, haves: &[TreeId], tree: TreeId) -> Result<Bases, Error> {
        let mut bases = Bases { by_path: HashMap::new(), by_blanked: HashMap::new(), gone: HashMap::new() };
        for tree in haves {
            walk::visit::<Error>(find, *tree, RELEASE_FILES_MAX, &mut |path, entry| {
                if entry.mode.is_file() && entry.size > 0 {
                    bases.by_path.entry(path.to_owned()).or_insert_with(|| entry.clone());
                    bases.by_blanked.entry(blank_digits(path)).or_insert_with(|| entry.clone());
                }
                Ok(())
            })?;
        }
        let mut still = HashSet::new();
        walk::visit::<Error>(find, tree, RELEASE_FILES_MAX, &mut |path, _| {
            still.insert(path.to_owned());
            Ok(())
        })?;
        let mut gone: Vec<_> = bases.by_path.iter().filter(|(path, _)| !still.contains(*path)).collect();
        gone.sort_by_key(|(path, _)| *path);
        for (path, entry) in gone {
            let alike = bases.gone.entry(extension(path).to_owned()).or_default();
            if alike.len() < GONE_MAX {
                alike.push((path.clone(), entry.clone()));
            }
        }
        Ok(bases)
    }

    fn of(&self, path: &str, size: u64) -> Option<&Entry> {
        let named = self.by_path.get(path).or_else(|| self.by_blanked.get(&blank_digits(path)));
        named.or_else(|| self.most_alike(path, size))
    }

    /// Among the files that are gone, the one that the new file most likely was.
    fn most_alike(&self, path: &str, size: u64) -> Option<&Entry> {
        let alike = self.gone.get(extension(path))?;
        let near = alike.iter().filter(|(_, entry)| entry.size / 2 <= size && size / 2 <= entry.size);
        let best = near.max_by_key(|(old, entry)| (common(old, path), u64::MAX - entry.size.abs_diff(size)));
        best.filter(|(old, _)| common(old, path) * 2 >= path.len()).map(|(_, entry)| entry)
    }
}

/// What stands behind the last dot of a path's last part.
fn extension(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// How many bytes two paths share at their beginning and end.
fn common(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - start;
    let end = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
    start + end
}

/// `path` with every run of digits as one `#`.
fn blank_digits(path: &str) -> String {
    let mut blanked = String::with_capacity(path.len());
    for c in path.chars() {
        match c {
            '0'..='9' if blanked.ends_with('#') => {}
            '0'..='9' => blanked.push('#'),
            c => blanked.push(c),
        }
    }
    blanked
}

struct Planner<'a> {
    find: &'a dyn Find,
    bases: Bases,
    left: HashSet<ObjectId>,
    shared: Segment,
    plan: Plan,
}

impl Planner<'_> {
    fn file(&mut self, path: &str, entry: &Entry) -> Result<(), Error> {
        if entry.mode == Mode::Dir {
            return Ok(());
        }
        let pieces = walk::pieces(self.find, entry)?;
        if !pieces.iter().any(|piece| self.left.contains(&piece.0.object())) {
            return Ok(());
        }
        match self
            .bases
            .of(path, entry.size)
            .filter(|base| base.id != entry.id && entry.mode.is_file())
            .cloned()
        {
            None => self.without_base(&pieces),
            Some(base) if entry.size <= WHOLE_BYTES && base.size <= WHOLE_BYTES => self.small(&pieces, &base),
            Some(base) => self.large(&pieces, &base)?,
        }
        Ok(())
    }

    fn without_base(&mut self, pieces: &[Piece]) {
        let fresh = pieces.iter().filter(|piece| self.left.remove(&piece.0.object()));
        self.plan.plain.extend(fresh);
    }

    fn small(&mut self, pieces: &[Piece], base: &Entry) {
        let full = self.shared.bytes() >= SEGMENT_BYTES
            || self.shared.prefix_bytes() + base.size > SHARED_PREFIX_BYTES
            || self.shared.base.len() >= PREFIX_RANGES_MAX;
        if full {
            self.close_shared();
        }
        self.shared.base.push(range_of(base, 0, base.size));
        let fresh = pieces.iter().filter(|piece| self.left.remove(&piece.0.object()));
        self.shared.chunks.extend(fresh);
    }

    fn close_shared(&mut self) {
        let segment = std::mem::take(&mut self.shared);
        if !segment.chunks.is_empty() {
            self.plan.deltas.push(segment);
        }
    }

    fn large(&mut self, pieces: &[Piece], base: &Entry) -> Result<(), Error> {
        let places = Places::of(&walk::pieces(self.find, base)?);
        let mut segment: Vec<(u64, Piece)> = Vec::new();
        let mut at = 0;
        for piece in pieces {
            let start = segment.first().map_or(at, |first| first.0);
            if at + piece.1 - start > SEGMENT_BYTES {
                self.close_large(&mut segment, &places, pieces, base);
            }
            if self.left.remove(&piece.0.object()) {
                segment.push((at, *piece));
            }
            at += piece.1;
        }
        self.close_large(&mut segment, &places, pieces, base);
        Ok(())
    }

    fn close_large(
        &mut self,
        segment: &mut Vec<(u64, Piece)>,
        places: &Places,
        pieces: &[Piece],
        base: &Entry,
    ) {
        let chunks = std::mem::take(segment);
        let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return };
        let window = places.window(pieces, first.0, last.0 + last.1.1, base.size);
        let base = vec![range_of(base, window.0, window.1 - window.0)];
        let chunks = chunks.into_iter().map(|(_, piece)| piece).collect();
        self.plan.deltas.push(Segment { chunks, base });
    }
}

fn range_of(base: &Entry, start: u64, len: u64) -> Base {
    let of = if base.mode.is_blob() { BaseOf::Content } else { BaseOf::Object };
    Base { of, id: base.id, start, len }
}

/// Where the chunks of an old file lie in it.
struct Places(HashMap<ObjectId, u64>);

impl Places {
    fn of(pieces: &[Piece]) -> Places {
        let mut places = HashMap::new();
        let mut at = 0;
        for (chunk, len) in pieces {
            places.entry(chunk.object()).or_insert(at);
            at += len;
        }
        Places(places)
    }

    /// The part of the old file that resembles `start..end` of the new one: the place next to the
    /// chunks both files share, with context on either side.
    fn window(&self, pieces: &[Piece], start: u64, end: u64, old_size: u64) -> (u64, u64) {
        let (mut before, mut after) = (None, None);
        let mut at = 0;
        for (chunk, len) in pieces {
            let shared = self.0.get(&chunk.object()).map(|old| *old as i64 - at as i64);
            if at < start {
                before = shared.or(before);
            } else if at >= end && after.is_none() {
                after = shared;
            }
            at += len;
        }
        let shift = |shift: Option<i64>| shift.unwrap_or(0);
        let old_start = start as i64 + shift(before.or(after)) - CONTEXT_BYTES as i64;
        let old_end = end as i64 + shift(after.or(before)) + CONTEXT_BYTES as i64;
        let clamp = |value: i64| (value.max(0) as u64).min(old_size);
        let (from, to) = (clamp(old_start), clamp(old_end));
        if to <= from || to - from > (PREFIX_BYTES_MAX / 2) as u64 {
            let from = clamp(start as i64 - CONTEXT_BYTES as i64);
            return (
                from.min(old_size.saturating_sub(1)),
                clamp((end + CONTEXT_BYTES) as i64).max(from + 1).min(old_size),
            );
        }
        (from, to)
    }
}
