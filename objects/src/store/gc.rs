//! Dropping what nothing refers to, and gathering small packs.
//!
//! Promises: [`plan`] changes nothing; [`apply`] writes what stays before it removes what it
//! replaces, so that a crash in between loses nothing (REL-003). Packs younger than the grace
//! period are left alone, whatever refers to them.
//! Leaves to others: what is live (the caller walks its roots), and the exclusive lock.

use super::Store;
use super::pack::Pack;
use super::pack::writer::{Options, PackWriter};
use crate::disk::{self, Context};
use crate::id::{ObjectId, PackId};
use crate::ids::IdSet;
use crate::object::Error;
use crate::time::Timestamp;
use std::collections::HashSet;
use std::fs::Metadata;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Packs below this many bytes are gathered when there are more than [`SMALL_PACKS_MAX`] of them.
const SMALL_PACK_BYTES: u64 = 16 << 20;
/// So many small packs may stand beside each other.
const SMALL_PACKS_MAX: usize = 8;
/// A pack with less than this share of live objects is rewritten.
const LIVE_PERCENT_MIN: usize = 80;

/// What is to be kept, and for how long the unreferenced is.
pub struct Roots {
    /// Every object something refers to.
    pub live: IdSet,
    /// Packs younger than this many seconds are left alone.
    pub grace_seconds: u64,
    /// The time now.
    pub now: Timestamp,
}

/// What a collection will do.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Packs without a live object: removed.
    pub drop: Vec<PackId>,
    /// Packs whose live objects move into a new pack: then removed.
    pub rewrite: Vec<PackId>,
    /// Objects that go.
    pub dead_objects: u64,
    /// Bytes of pack files that go without being rewritten.
    pub freed_bytes: u64,
    /// Every object that stays: the live ones, and what their delta frames build on.
    pub keep: IdSet,
}

impl Plan {
    /// The rewritten packs that go once live objects have moved to `heir`, which may be one of them.
    pub fn replaced(&self, heir: Option<PackId>) -> Vec<PackId> {
        self.rewrite.iter().copied().filter(|id| Some(*id) != heir).collect()
    }

    /// True if there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.rewrite.is_empty()
    }
}

/// Looks at all packs and decides.
///
/// # Errors
/// If a pack's age or size cannot be read, or what a delta frame builds on.
pub fn plan(store: &Store, roots: Roots) -> Result<Plan, Error> {
    let Roots { live: mut keep, grace_seconds, now } = roots;
    let young = young(store, grace_seconds, now)?;
    super::repack::pin_bases(store, &mut keep, &young)?;
    let mut plan = Plan::default();
    let mut small = Vec::new();
    for pack in store.packs() {
        if pack.index().check().is_err() {
            continue; // it hides live objects; fsck names it, and a rebuilt index brings them back
        }
        let meta = metadata(&pack)?;
        let (total, live) = count(&pack, &keep);
        if live < total && young.contains(&pack.id()) {
            continue;
        }
        plan.dead_objects += (total - live) as u64;
        if live == 0 {
            plan.freed_bytes += meta.len();
            plan.drop.push(pack.id());
        } else if live * 100 < total * LIVE_PERCENT_MIN {
            plan.freed_bytes += meta.len() / total as u64 * (total - live) as u64;
            plan.rewrite.push(pack.id());
        } else {
            plan.dead_objects -= (total - live) as u64; // a few dead objects stay where they are
            if meta.len() < SMALL_PACK_BYTES {
                small.push(pack.id());
            }
        }
    }
    if small.len() > SMALL_PACKS_MAX {
        plan.rewrite.extend(small);
    }
    plan.drop.sort();
    plan.rewrite.sort();
    plan.keep = keep;
    Ok(plan)
}

/// The packs that are within the grace period.
///
/// # Errors
/// If a pack's age cannot be read.
pub fn young(store: &Store, grace_seconds: u64, now: Timestamp) -> Result<HashSet<PackId>, disk::Error> {
    let mut young = HashSet::new();
    for pack in store.packs() {
        if is_young(&metadata(&pack)?, grace_seconds, now) {
            young.insert(pack.id());
        }
    }
    Ok(young)
}

fn metadata(pack: &Pack) -> Result<Metadata, disk::Error> {
    std::fs::metadata(pack.path()).doing("read", pack.path())
}

fn count(pack: &Pack, live: &IdSet) -> (usize, usize) {
    (pack.index().len(), pack.index().ids().filter(|(id, _)| live.contains(id)).count())
}

/// Judged by the file's own time; a clock that was set back makes a pack young, never old.
fn is_young(meta: &Metadata, grace_seconds: u64, now: Timestamp) -> bool {
    let written = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let written = written.map_or(u64::MAX, |age| age.as_secs());
    written.saturating_add(grace_seconds) > now.seconds()
}

/// Carries a plan out: what is dead goes first, so that a full disk has room for what moves (REL-014).
/// The caller holds the repository's exclusive lock, and made the plan under it. Gives the pack that
/// live objects moved to.
///
/// # Errors
/// If an object to be moved is damaged or the disk refuses; nothing that is live is then removed.
pub fn apply(store: &Store, plan: &Plan, options: Options) -> Result<Option<PackId>, Error> {
    remove_packs(store, &plan.drop)?;
    let heir = rewrite(store, plan, options)?;
    remove_packs(store, &plan.replaced(heir))?;
    Ok(heir)
}

/// Moves the live objects of the plan's packs together. Gives the pack they moved to.
///
/// # Errors
/// If an object to be moved is damaged or the disk refuses.
pub fn rewrite(store: &Store, plan: &Plan, options: Options) -> Result<Option<PackId>, Error> {
    let mut writer = PackWriter::copying(&store.staging_folder(), options)?;
    let mut moved = IdSet::default();
    for pack in store.packs().iter().filter(|pack| plan.rewrite.contains(&pack.id())) {
        move_wanted(store, pack, &mut |id| plan.keep.contains(id) && moved.insert(*id), &mut writer)?;
    }
    let new = writer.finish(&store.packs_folder())?;
    store.refresh()?;
    Ok(new)
}

/// Removes packs that others stand in for.
///
/// # Errors
/// If the disk refuses.
pub fn remove_packs(store: &Store, leaving: &[PackId]) -> Result<(), Error> {
    finish_removal(store)?;
    if leaving.is_empty() {
        return Ok(());
    }
    let note: String = leaving.iter().map(|id| format!("{}\n", id.to_hex())).collect();
    let noted = disk::write_whole(&note_path(store), note.as_bytes());
    drop(noted); // a full disk has no room for it, and has to be freed all the same (REL-014)
    leaving.iter().try_for_each(|id| remove_pack(store, *id))?;
    disk::remove(&note_path(store))?;
    store.refresh()
}

/// Largest note of packs that are leaving, in bytes: as many packs as a list of packs has.
const NOTE_BYTES_MAX: usize = crate::limits::PACK_LIST_BYTES_MAX;

/// Where it is noted which packs are being removed, so that what a killed process left of one is not
/// taken for the loss of the rest.
fn note_path(store: &Store) -> std::path::PathBuf {
    store.info_folder().join("leaving")
}

/// The packs that somebody was removing when they were killed, or is removing now.
///
/// # Errors
/// If the note cannot be read.
pub fn leaving(store: &Store) -> Result<Vec<PackId>, disk::Error> {
    let note = disk::try_read(&note_path(store), NOTE_BYTES_MAX)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&note).lines().filter_map(|line| line.parse().ok()).collect())
}

/// Ends what a killed process began to remove: of packs that are gone, the rest goes too. One that was
/// not reached yet is left: whoever collects next decides about it anew.
fn finish_removal(store: &Store) -> Result<(), disk::Error> {
    let folder = store.packs_folder();
    for id in leaving(store)? {
        if !folder.join(super::pack::file_name(id)).exists() {
            remove_pack(store, id)?;
        }
    }
    disk::remove(&note_path(store))
}

/// The group that objects from broken-up frames share.
const MOVED: u64 = 1;

/// Adds the wanted objects of a pack to `writer`. Frames that are wanted whole go as they are; a delta
/// frame only together with all it builds on, so that nothing gets deeper than it was.
pub(super) fn move_wanted(
    store: &Store,
    pack: &Pack,
    wants: &mut dyn FnMut(&ObjectId) -> bool,
    writer: &mut PackWriter,
) -> Result<(), Error> {
    let ids = pack.index().ids_in_pack_order();
    let wanted: Vec<bool> = ids.iter().map(wants).collect();
    let is_moving = |id: &ObjectId| pack.index().number(id).is_some_and(|number| wanted[number as usize]);
    for (number, frame) in pack.table().frames().iter().enumerate() {
        let objects = pack.table().objects_of(number);
        let range = objects.start as usize..objects.end as usize;
        let (ids, chosen) = (&ids[range.clone()], &wanted[range]);
        if !chosen.contains(&true) {
            continue;
        }
        // Each object is checked, or an index that lies would have the good copy elsewhere removed.
        let raw = Arc::new(store.read_frame(pack, number)?);
        let checked = objects.zip(ids).zip(chosen).filter(|(_, chosen)| **chosen).map(|((object, id), _)| {
            pack.object(&raw, &pack.table().place(object), id).map(|bytes| (*id, bytes))
        });
        let checked = checked.collect::<Result<Vec<_>, Error>>()?;
        let base = super::pack::base_objects(&frame.base, store)?;
        if checked.len() == ids.len() && base.iter().all(is_moving) {
            writer.add_frame(frame.clone(), pack.stored_frame(number)?, ids)?;
            continue;
        }
        checked.iter().try_for_each(|(id, bytes)| writer.add(*id, bytes, MOVED).map(drop))?;
    }
    Ok(())
}

/// The pack goes before its index: an index without a pack is ignored, a pack without one rebuilt.
fn remove_pack(store: &Store, id: PackId) -> Result<(), disk::Error> {
    let folder = store.packs_folder();
    disk::remove(&folder.join(super::pack::file_name(id)))?;
    disk::remove(&folder.join(super::pack::index_name(id)))?;
    disk::remove(&folder.join(super::pack::sketches_name(id)))
}

/// Removes what killed writers left in the staging folder. What a living one writes is kept.
///
/// # Errors
/// If the folder cannot be read.
pub fn sweep_staging(store: &Store) -> Result<u64, disk::Error> {
    let folder = store.staging_folder();
    let mut freed = 0;
    for name in disk::list(&folder)? {
        let path = folder.join(&name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path).map_err(|e| disk::Error::new("remove", &path, e))?; // an archive, unpacked
            continue;
        }
        let Ok(file) = std::fs::File::open(&path) else { continue };
        let guard = folder.join(name.replace(".frames", ".part"));
        let guarded = std::fs::File::open(&guard).is_ok_and(|part| part.try_lock_shared().is_err());
        if guarded || file.try_lock().is_err() {
            continue;
        }
        freed += file.metadata().map_or(0, |meta| meta.len());
        disk::remove(&path)?;
    }
    Ok(freed)
}
