//! The store: all packs of a repository, read as one.
//!
//! Promises: an object that is handed out hashes to its id; readers never lock and never see half
//! a pack. Among several copies of an object the first that is whole is taken (SEC-031).
//! Leaves to others: adding objects ([`transaction`]), dropping them ([`gc`]).

pub mod gc;
pub mod pack;
pub mod transaction;

use crate::disk;
use crate::id::{ObjectId, PackId, Prefix};
use crate::limits::{DELTA_DEPTH_MAX, DELTA_FRAMES_MAX};
use crate::object::{Bytes, Error, Exists, Find};
use pack::Pack;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Unpacked frames kept for the next reader.
const CACHED_FRAMES: usize = 32;
/// Bytes of them.
const CACHED_BYTES: usize = 32 << 20;

type CachedFrame = ((PackId, usize), Arc<Vec<u8>>);

/// The objects of one repository.
pub struct Store {
    root: PathBuf,
    packs: RwLock<Vec<Arc<Pack>>>,
    broken: RwLock<BTreeMap<PackId, String>>,
    cache: Mutex<VecDeque<CachedFrame>>,
}

thread_local! {
    /// How many delta frames deep this thread is reading.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// How many frames this thread has unpacked for what it is reading.
    static FRAMES: Cell<usize> = const { Cell::new(0) };
}

impl Store {
    /// Opens the store in the folder `objects` of a repository. Packs that cannot be opened are
    /// set aside and told by [`Store::broken`]; the others serve.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn open(root: &Path) -> Result<Store, Error> {
        let store = Store {
            root: root.to_owned(),
            packs: RwLock::default(),
            broken: RwLock::default(),
            cache: Mutex::default(),
        };
        store.refresh()?;
        Ok(store)
    }

    /// The folder of packs.
    pub fn packs_folder(&self) -> PathBuf {
        self.root.join("pack")
    }

    /// The folder of files being written.
    pub fn staging_folder(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// The folder of lists about packs.
    pub fn info_folder(&self) -> PathBuf {
        self.root.join("info")
    }

    /// Looks again which packs there are.
    ///
    /// # Errors
    /// If the folder cannot be read, or there are not enough handles for all packs.
    pub fn refresh(&self) -> Result<(), Error> {
        let folder = self.packs_folder();
        let present = pack_ids(&folder)?;
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        let mut broken = self.broken.write().unwrap_or_else(PoisonError::into_inner);
        packs.retain(|pack| present.contains(&pack.id()));
        broken.retain(|id, _| present.contains(id));
        for id in present {
            if packs.iter().any(|pack| pack.id() == id) {
                continue;
            }
            match Pack::open(&folder, id) {
                Ok(pack) => {
                    broken.remove(&id);
                    packs.push(Arc::new(pack));
                }
                Err(Error::Disk(error)) if is_ours(&error) => return Err(error.into()),
                Err(error) => {
                    broken.insert(id, chain(&error));
                }
            }
        }
        Ok(())
    }

    /// The open packs.
    pub fn packs(&self) -> Vec<Arc<Pack>> {
        self.packs.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The packs that could not be opened, and why.
    pub fn broken(&self) -> BTreeMap<PackId, String> {
        self.broken.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where `id` lies: a pack, and the object's number in it.
    pub fn locate(&self, id: &ObjectId) -> Option<(Arc<Pack>, u32)> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        packs.iter().find_map(|pack| pack.index().number(id).map(|number| (pack.clone(), number)))
    }

    /// Frame `number` of `pack`, unpacked, from the cache if it was read lately.
    ///
    /// # Errors
    /// Those of [`Pack::frame`]; `Limit` if delta frames build on each other too deep, or on too many.
    pub fn frame(&self, pack: &Pack, number: usize) -> Result<Arc<Vec<u8>>, Error> {
        let key = (pack.id(), number);
        if let Some(frame) = self.cached(&key) {
            return Ok(frame);
        }
        let frame = Arc::new(self.read_frame(pack, number)?);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.push_front((key, frame.clone()));
        cache.truncate(CACHED_FRAMES);
        let mut bytes = 0;
        cache.retain(|(_, frame)| {
            bytes += frame.len();
            bytes <= CACHED_BYTES || bytes == frame.len()
        });
        Ok(frame)
    }

    /// As [`Store::frame`], past the cache: for readers that take each frame once.
    ///
    /// # Errors
    /// Those of [`Store::frame`].
    pub fn read_frame(&self, pack: &Pack, number: usize) -> Result<Vec<u8>, Error> {
        let depth = DEPTH.get();
        let frames = if depth == 0 { 0 } else { FRAMES.get() };
        let limit = |what, max: usize| Error::Limit { what, id: pack.id().object(), max: max as u64 };
        if depth > DELTA_DEPTH_MAX {
            return Err(limit("depth of delta frames in pack", DELTA_DEPTH_MAX));
        }
        if frames >= DELTA_FRAMES_MAX {
            return Err(limit("number of frames that one frame builds on in pack", DELTA_FRAMES_MAX));
        }
        FRAMES.set(frames + 1);
        DEPTH.set(depth + 1);
        let frame = pack.frame(number, self);
        DEPTH.set(depth);
        frame
    }

    fn cached(&self, key: &(PackId, usize)) -> Option<Arc<Vec<u8>>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let at = cache.iter().position(|(cached, _)| cached == key)?;
        let hit = cache.remove(at)?;
        let frame = hit.1.clone();
        cache.push_front(hit);
        Some(frame)
    }

    /// All ids that begin with `prefix`, sorted, each once.
    pub fn ids_with_prefix(&self, prefix: &Prefix) -> Vec<ObjectId> {
        let mut found: Vec<ObjectId> = Vec::new();
        for pack in self.packs() {
            found.extend(pack.index().ids().map(|(id, _)| id).filter(|id| prefix.matches(id)));
        }
        found.sort();
        found.dedup();
        found
    }

    fn read_from(&self, pack: &Pack, number: u32, id: &ObjectId) -> Result<Bytes, Error> {
        let place = pack.table().place(number);
        let frame = self.frame(pack, place.frame).map_err(|error| match error {
            Error::Disk(source) => Error::Unreadable { id: *id, source },
            other => other,
        })?;
        pack.object(&frame, &place, id)
    }

    fn find_among(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        let mut damage = None;
        for pack in self.packs() {
            let Some(number) = pack.index().number(id) else { continue };
            match self.read_from(&pack, number, id) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) => damage = damage.or(Some(error)),
            }
        }
        damage.map_or(Ok(None), Err)
    }
}

impl Find for Store {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        if let Ok(Some(bytes)) = self.find_among(id) {
            return Ok(Some(bytes));
        }
        self.refresh()?; // another process may have written, mended or consolidated meanwhile
        self.find_among(id)
    }
}

impl Exists for Store {
    fn contains(&self, id: &ObjectId) -> bool {
        self.locate(id).is_some()
    }
}

/// The ids of the packs in a folder, by their file names.
fn pack_ids(folder: &Path) -> Result<Vec<PackId>, disk::Error> {
    let names = disk::list(folder)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".pack")?.parse().ok()).collect())
}

/// True if it was this process that had no handle or memory left: the pack is none the worse.
fn is_ours(error: &disk::Error) -> bool {
    use rustix::io::Errno;
    let lacking = [Errno::MFILE, Errno::NFILE, Errno::NOMEM];
    lacking.iter().any(|errno| error.source.raw_os_error() == Some(errno.raw_os_error()))
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
