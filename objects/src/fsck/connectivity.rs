//! What releases and indexes need is here, down to the last chunk; and where they are hit if it is not.
//!
//! ```text
//! roots ─▶ all objects below, level by level, each once, frame by frame ─▶ bad ones
//!       ─▶ if there are any: once more, noting who names whom ─▶ roots that lead to a bad one ─▶ paths
//! ```
//!
//! Promises: each object is opened once a pass, however many releases share it (SEC-017); who names whom
//! is only kept in memory when something is wrong.

use super::presence::{Presence, Spot};
use super::roots::Root;
use super::{Inspection, LostRelease};
use crate::blob::Blob;
use crate::id::{BlobId, ObjectId, TreeId};
use crate::limits::PATH_DEPTH_MAX;
use crate::object::{Bytes, Error, Find, Kind};
use crate::store::{Store, chain};
use crate::tree::{Mode, Tree};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Most files and folders that are named of one release.
const PATHS_MAX: usize = 20;
/// Most folders that are looked into for them: a forged tree may have ways without end.
const STEPS_MAX: usize = 10_000;

/// Looks at everything below `roots`.
pub(super) fn look(store: &Store, presence: &Presence, roots: &[Root], found: &mut Inspection) {
    let walk = Walk { store, presence, bad: Mutex::default(), named_by: None };
    walk.all(roots);
    found.report.releases += roots.iter().filter(|root| root.release.is_some()).count() as u64;
    let is_clean = walk.bad.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
    if is_clean && found.report.lost_releases.is_empty() {
        return;
    }
    presence.forget();
    let walk = Walk { named_by: Some(Mutex::default()), ..walk };
    walk.all(roots);
    let hit = walk.hit();
    let bad = walk.bad.into_inner().unwrap_or_else(PoisonError::into_inner);
    let lost = bad.iter().filter(|(_, bad)| bad.lost).map(|((kind, id), _)| (*id, *kind));
    found.damage.lost.extend(lost);
    found.report.lost_objects.extend(found.damage.lost.keys());
    let paths = Paths { store, bad: &bad, hit: &hit };
    for root in roots {
        if hit.contains(&root.tree.object()) {
            found.damage.trees.insert(root.tree);
            tell(root, &paths, found);
        } else if let Some(release) = &root.release {
            found.report.whole_releases.insert(format!("{} {}", release.name, release.version));
        }
    }
    found.report.lost_releases.sort();
}

fn tell(root: &Root, paths: &Paths<'_>, found: &mut Inspection) {
    let (hits, more) = paths.below(root.tree);
    for (path, reason) in &hits {
        let problem = if path.is_empty() { reason.clone() } else { format!("{path}: {reason}") };
        found.report.find(&root.place, problem);
    }
    if more {
        found.report.find(&root.place, "more of it is hit than is named here");
    }
    if let Some(release) = &root.release {
        found.report.lost_releases.push(LostRelease {
            name: release.name.clone(),
            version: release.version.clone(),
            entry: release.entry,
            paths: hits.into_iter().map(|(path, _)| path).collect(),
            more,
        });
    }
}

/// An object that cannot be used.
#[derive(Clone, Debug)]
struct Bad {
    reason: String,
    /// True if another copy of the same bytes would help.
    lost: bool,
}

type BadObjects = BTreeMap<(Kind, ObjectId), Bad>;

/// An object that something names.
#[derive(Clone, Copy, Debug)]
struct Item {
    kind: Kind,
    id: ObjectId,
    /// True if a fan names it: then it must be none itself.
    run: bool,
    /// Folders above it.
    depth: usize,
}

struct Walk<'a> {
    store: &'a Store,
    presence: &'a Presence,
    bad: Mutex<BadObjects>,
    /// Who is named, and by whom: trees, blobs, and chunks that are bad.
    named_by: Option<Mutex<Vec<(ObjectId, ObjectId)>>>,
}

impl Walk<'_> {
    fn all(&self, roots: &[Root]) {
        let items =
            roots.iter().map(|root| Item { kind: Kind::Tree, id: root.tree.object(), run: false, depth: 0 });
        let mut level: Vec<(Spot, Item)> = items.filter_map(|item| self.meet(item)).collect();
        while !level.is_empty() {
            level.sort_unstable_by_key(|(spot, _)| (spot.pack, spot.object));
            let frames: Vec<&[(Spot, Item)]> =
                level.chunk_by(|(a, _), (b, _)| (a.pack, a.frame) == (b.pack, b.frame)).collect();
            level = frames.into_par_iter().flat_map_iter(|items| self.open_frame(items)).collect();
        }
    }

    /// Where an item lies, if it has to be opened now.
    fn meet(&self, item: Item) -> Option<(Spot, Item)> {
        let Some(spot) = self.presence.whole(&item.id) else {
            let (kind, id) = (item.kind, item.id);
            let state = if self.presence.is_listed(&id) { "is damaged" } else { "is not in the store" };
            self.blame(item, Bad { reason: format!("{} {id} {state}", kind.word()), lost: true });
            return None;
        };
        self.presence.meet(spot, item.kind).then_some((spot, item))
    }

    fn blame(&self, item: Item, bad: Bad) {
        let mut all = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((item.kind, item.id)).or_insert(bad);
    }

    /// Opens items that lie in one frame; gives what they name.
    fn open_frame(&self, items: &[(Spot, Item)]) -> Vec<(Spot, Item)> {
        let Some((first, _)) = items.first() else { return Vec::new() };
        let pack = &self.presence.packs()[first.pack];
        let raw = self.store.read_frame(pack, first.frame).ok().map(Arc::new);
        let mut below = Vec::new();
        for (spot, item) in items {
            let place = pack.table().place(spot.object);
            let here = raw.as_ref().and_then(|raw| pack.object(raw, &place, &item.id).ok());
            let bytes = here.map_or_else(|| self.store.find(item.kind, &item.id), Ok);
            let named = bytes.and_then(|bytes| self.open(*item, &bytes));
            match named {
                Ok(named) => below.extend(named.into_iter().filter_map(|named| self.follow(*item, named))),
                Err(error) => {
                    let lost = !matches!(error, Error::Format { .. } | Error::Limit { .. });
                    self.blame(*item, Bad { reason: chain(&error), lost });
                }
            }
        }
        below
    }

    fn follow(&self, from: Item, named: Named) -> Option<(Spot, Item)> {
        let met = match named {
            Named::Structure(item) => {
                self.note(item.id, from.id);
                return self.meet(item);
            }
            Named::Chunk(id, len) => self.presence.whole(&id).map(|spot| (id, len, spot)).ok_or(id),
        };
        match met {
            Err(id) => {
                self.note(id, from.id);
                self.meet(Item { kind: Kind::Chunk, id, run: false, depth: 0 });
            }
            Ok((id, len, spot)) => {
                let there = self.presence.packs()[spot.pack].table().place(spot.object).range.len() as u64;
                if there != len {
                    let reason =
                        format!("chunk {id} has {there} bytes, {} {} says {len}", from.kind.word(), from.id);
                    self.blame(from, Bad { reason, lost: false });
                }
            }
        }
        None
    }

    fn note(&self, named: ObjectId, by: ObjectId) {
        if let Some(edges) = &self.named_by {
            edges.lock().unwrap_or_else(PoisonError::into_inner).push((named, by));
        }
    }

    /// What an item names.
    fn open(&self, item: Item, bytes: &Bytes) -> Result<Vec<Named>, Error> {
        if item.depth > PATH_DEPTH_MAX {
            return Err(Error::Limit { what: "depth of tree", id: item.id, max: PATH_DEPTH_MAX as u64 });
        }
        named_by(item, bytes)
    }

    /// All objects that lead to a bad one.
    fn hit(&self) -> HashSet<ObjectId> {
        let edges = self.named_by.as_ref().map(|edges| edges.lock().unwrap_or_else(PoisonError::into_inner));
        let mut edges = edges.map(|edges| edges.clone()).unwrap_or_default();
        edges.sort_unstable();
        let bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let mut queue: Vec<ObjectId> = bad.keys().map(|(_, id)| *id).collect();
        let mut hit: HashSet<ObjectId> = queue.iter().copied().collect();
        while let Some(id) = queue.pop() {
            let first = edges.partition_point(|(named, _)| *named < id);
            let naming = edges[first..].iter().take_while(|(named, _)| *named == id).map(|(_, by)| *by);
            queue.extend(naming.filter(|by| hit.insert(*by)));
        }
        hit
    }
}

/// What a tree or blob names.
enum Named {
    Structure(Item),
    Chunk(ObjectId, u64),
}

fn named_by(item: Item, bytes: &[u8]) -> Result<Vec<Named>, Error> {
    let split = "a run of it is itself split";
    let structure = |kind, id, run, depth| Named::Structure(Item { kind, id, run, depth });
    match item.kind {
        Kind::Chunk => Ok(Vec::new()),
        Kind::Tree => {
            let fault = |source| Error::tree(TreeId::new(item.id), source);
            match Tree::decode(bytes).map_err(fault)? {
                Tree::Fan(_) if item.run => Err(fault(crate::codec::Error::malformed("tree", split).into())),
                Tree::Fan(runs) => Ok(runs
                    .iter()
                    .map(|run| structure(Kind::Tree, run.1.object(), true, item.depth))
                    .collect()),
                Tree::Entries(entries) => Ok(entries
                    .iter()
                    .map(|entry| match entry.mode {
                        Mode::Dir => structure(Kind::Tree, entry.id, false, item.depth + 1),
                        mode if mode.is_blob() => structure(Kind::Blob, entry.id, false, item.depth),
                        _ => Named::Chunk(entry.id, entry.size),
                    })
                    .collect()),
            }
        }
        Kind::Blob => {
            let fault = |source| Error::blob(BlobId::new(item.id), source);
            match Blob::decode(bytes).map_err(fault)? {
                Blob::Fan { .. } if item.run => Err(fault(crate::codec::Error::malformed("blob", split))),
                Blob::Fan { runs, .. } => Ok(runs
                    .iter()
                    .map(|run| structure(Kind::Blob, run.0.object(), true, item.depth))
                    .collect()),
                Blob::Chunks { pieces, .. } => {
                    Ok(pieces.iter().map(|(chunk, len)| Named::Chunk(chunk.object(), *len)).collect())
                }
            }
        }
    }
}

/// Finds the files and folders of a release that lead to something bad.
struct Paths<'a> {
    store: &'a Store,
    bad: &'a BadObjects,
    hit: &'a HashSet<ObjectId>,
}

impl Paths<'_> {
    /// Paths with reasons, in tree order, and whether there are more.
    fn below(&self, root: TreeId) -> (Vec<(String, String)>, bool) {
        let mut hits = Vec::new();
        let root = Item { kind: Kind::Tree, id: root.object(), run: false, depth: 0 };
        let (mut queue, mut steps) = (vec![(String::new(), root)], 0);
        while let Some((path, item)) = queue.pop() {
            steps += 1;
            if hits.len() >= PATHS_MAX || steps > STEPS_MAX {
                return (hits, true);
            }
            match (self.bad.get(&(item.kind, item.id)), item.kind) {
                (Some(bad), _) => hits.push((path, bad.reason.clone())),
                (None, Kind::Tree) => queue.extend(self.entries(&path, item).into_iter().rev()),
                (None, _) => hits.push((path, self.reason_in_file(item))),
            }
        }
        (hits, false)
    }

    /// The entries of a folder that are hit.
    fn entries(&self, path: &str, item: Item) -> Vec<(String, Item)> {
        let Ok(entries) = crate::walk::entries(&self.store as &dyn Find, TreeId::new(item.id)) else {
            return self.runs(path, item);
        };
        let hit = entries.iter().filter(|entry| self.hit.contains(&entry.id));
        let below = hit.map(|entry| {
            let kind = match entry.mode {
                Mode::Dir => Kind::Tree,
                mode if mode.is_blob() => Kind::Blob,
                _ => Kind::Chunk,
            };
            let name = entry.name.as_str();
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            (path, Item { kind, id: entry.id, run: false, depth: item.depth + 1 })
        });
        below.filter(|(_, item)| item.depth <= PATH_DEPTH_MAX + 1).collect()
    }

    /// The runs of a split folder, one of which cannot be read: what is in it has no name any more.
    fn runs(&self, path: &str, item: Item) -> Vec<(String, Item)> {
        let bytes = self.store.find(Kind::Tree, &item.id);
        let named = bytes.and_then(|bytes| named_by(item, &bytes)).unwrap_or_default();
        let runs = named.into_iter().filter_map(|named| match named {
            Named::Structure(item) if item.run && self.hit.contains(&item.id) => {
                Some((path.to_owned(), item))
            }
            _ => None,
        });
        runs.collect()
    }

    /// Why a file of several chunks is hit.
    fn reason_in_file(&self, item: Item) -> String {
        let mut queue = vec![item];
        while let Some(item) = queue.pop() {
            if let Some(bad) = self.bad.get(&(item.kind, item.id)) {
                return bad.reason.clone();
            }
            let bytes = self.store.find(item.kind, &item.id);
            for named in bytes.and_then(|bytes| named_by(item, &bytes)).unwrap_or_default() {
                match named {
                    Named::Structure(below) if self.hit.contains(&below.id) => queue.push(below),
                    Named::Chunk(id, _) if self.hit.contains(&id) => {
                        queue.push(Item { kind: Kind::Chunk, id, run: true, depth: item.depth });
                    }
                    _ => {}
                }
            }
        }
        "it is hit".to_owned()
    }
}
