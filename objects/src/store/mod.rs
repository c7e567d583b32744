//! The store: all packs of a repository, read as one.
//!
//! Promises: an object that is handed out hashes to its id; readers never lock and never see half
//! a pack. Among several copies of an object the first that is whole is taken (SEC-031).
//! Leaves to others: adding objects ([`transaction`]), dropping them ([`gc`]), making them smaller
//! ([`repack`]).

pub mod gc;
pub(crate) mod multi;
pub mod pack;
pub mod repack;
pub mod transaction;

use crate::disk;
use crate::id::{ObjectId, PackId, Prefix};
use crate::limits::{DELTA_DEPTH_MAX, DELTA_FRAMES_MAX};
use crate::object::{Bytes, Error, Exists, Find};
use multi::Multi;
use pack::Pack;
use std::cell::Cell;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Unpacked frames kept for the next reader.
const CACHED_FRAMES: usize = 32;
/// Bytes of them.
const CACHED_BYTES: usize = 32 << 20;

/// A pack that was opened, or why it could not be.
type Opened = (PackId, Result<Pack, Error>);

type CachedFrame = ((PackId, usize), Arc<Vec<u8>>);

/// The open packs, and where to look first.
#[derive(Default)]
struct Packs {
    all: Vec<Arc<Pack>>,
    multi: Option<Multi>,
    /// Those that the multi-pack index does not speak of.
    beside: Vec<Arc<Pack>>,
}

/// The objects of one repository.
pub struct Store {
    root: PathBuf,
    packs: RwLock<Packs>,
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
        let lost = |id: &PackId| !folder.join(pack::index_name(*id)).exists();
        // Those whose index is lost come last: what they build on may lie in the others.
        let (lost, whole): (Vec<PackId>, Vec<PackId>) = present.iter().copied().partition(lost);
        let mut opened = self.open_packs(&folder, &whole)?;
        if !lost.is_empty() {
            self.keep(&present, std::mem::take(&mut opened));
            opened = self.open_packs(&folder, &lost)?;
        }
        self.keep(&present, opened);
        Ok(())
    }

    /// Opens those of `ids` that are not open yet. What this process lacks is no fault of a pack.
    fn open_packs(&self, folder: &Path, ids: &[PackId]) -> Result<Vec<Opened>, Error> {
        let open: HashSet<PackId> = self.packs().iter().map(|pack| pack.id()).collect();
        let new = ids.iter().filter(|id| !open.contains(id));
        new.map(|id| match Pack::open(folder, *id, &Here(self)) {
            Err(Error::Disk(error)) if is_ours(&error) => Err(error.into()),
            opened => Ok((*id, opened)),
        })
        .collect()
    }

    /// Takes over what was opened, and lets go of what is no longer `present`.
    fn keep(&self, present: &[PackId], opened: Vec<Opened>) {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        let mut broken = self.broken.write().unwrap_or_else(PoisonError::into_inner);
        let before = packs.all.len();
        packs.all.retain(|pack| present.contains(&pack.id()));
        let mut is_same = packs.all.len() == before;
        broken.retain(|id, _| present.contains(id));
        for (id, result) in opened {
            match result {
                Ok(pack) if packs.all.iter().all(|open| open.id() != id) => {
                    broken.remove(&id);
                    packs.all.push(Arc::new(pack));
                    is_same = false;
                }
                Ok(_) => {} // another thread was first
                Err(error) => {
                    broken.insert(id, chain(&error));
                }
            }
        }
        if !is_same {
            self.look_up_through_multi_index(&mut packs);
        }
    }

    fn look_up_through_multi_index(&self, packs: &mut Packs) {
        packs.multi = Multi::open(&self.multi_index_path(), &packs.all);
        let covers = |pack: &&Arc<Pack>| packs.multi.as_ref().is_some_and(|multi| multi.covers(pack.id()));
        packs.beside = packs.all.iter().filter(|pack| !covers(pack)).cloned().collect();
    }

    fn multi_index_path(&self) -> PathBuf {
        self.info_folder().join("multi-index")
    }

    /// Writes the index over all packs, if they are more than a few.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_multi_index(&self) -> Result<(), Error> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        multi::write(&self.multi_index_path(), &packs.all)?;
        self.look_up_through_multi_index(&mut packs);
        Ok(())
    }

    /// Why the index over several packs is not as it has to be, if there is one.
    pub fn check_multi_index(&self) -> Option<String> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        match &packs.multi {
            Some(multi) => multi.index.check(&packs.all).err(),
            None => self.multi_index_path().exists().then(|| "it is malformed".to_owned()),
        }
    }

    /// Opens a pack again whose index was written anew.
    ///
    /// # Errors
    /// As [`Store::refresh`].
    pub fn reopen(&self, id: PackId) -> Result<(), Error> {
        let mut packs = self.packs.write().unwrap_or_else(PoisonError::into_inner);
        packs.all.retain(|pack| pack.id() != id);
        drop(packs);
        self.refresh()
    }

    /// The open packs.
    pub fn packs(&self) -> Vec<Arc<Pack>> {
        self.packs.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    /// The packs that could not be opened, and why.
    pub fn broken(&self) -> BTreeMap<PackId, String> {
        self.broken.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where `id` lies: a pack, and the object's number in it.
    pub fn locate(&self, id: &ObjectId) -> Option<(Arc<Pack>, u32)> {
        let packs = self.packs.read().unwrap_or_else(PoisonError::into_inner);
        let listed = packs.multi.as_ref().and_then(|multi| multi.locate(id));
        let number = |pack: &Arc<Pack>| pack.index().number(id).map(|number| (pack.clone(), number));
        listed.or_else(|| packs.beside.iter().find_map(number))
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
        let frame = pack.frame(number, &Near { store: self, pack });
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
        if let Some((pack, number)) = self.locate(id)
            && let Ok(bytes) = self.read_from(&pack, number, id)
        {
            return Ok(Some(bytes));
        }
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

/// A store as a delta frame sees it: what its own pack holds is taken from there, so that the depth it
/// was written with is the depth it is read with.
struct Near<'a> {
    store: &'a Store,
    pack: &'a Pack,
}

impl Find for Near<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        match self.pack.index().number(id).map(|number| self.store.read_from(self.pack, number, id)) {
            Some(Ok(bytes)) => Ok(Some(bytes)),
            _ => self.store.try_find(id),
        }
    }
}

/// A store as it was last looked at.
struct Here<'a>(&'a Store);

impl Find for Here<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, Error> {
        self.0.find_among(id)
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
