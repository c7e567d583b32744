//! From a tree to a fresh folder.
//!
//! Promises: everything is written beneath one opened directory handle and follows no link
//! (SEC-001 to 006, 014); nothing that stands there is overwritten; each frame is unpacked once for so many
//! files, and each object checked before its bytes are written. Modes are 0644 and 0755 less umask (SEC-012).
//! Leaves to others: switching an environment to the new folder (porcelain).

use crate::blob::Piece;
use crate::disk::{self, Context};
use crate::id::{ChunkId, ObjectId, PackId, TreeId};
use crate::limits::RELEASE_CHUNKS_MAX;
use crate::object::{Bytes, Error as ObjectError, Kind};
use crate::parallel;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::pack::Pack;
use crate::store::pack::table::Place;
use crate::tree::{Entry, Mode};
use crate::walk::{self, Totals};
use rayon::prelude::*;
use rustix::fs::{self as sys, Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Why a tree could not be written out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder holds something.
    #[error("{} is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Something on disk is not where it was put: a link or another process is in the way (SEC-006).
    #[error("{} was changed while it was written", path.display())]
    InTheWay {
        /// What was to be written.
        path: PathBuf,
    },
    /// What was written reads back as something else: the disk or its memory is at fault.
    #[error("{} reads back other than it was written", path.display())]
    Altered {
        /// The file.
        path: PathBuf,
    },
    /// An object is missing, damaged or malformed.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotEmpty { .. } => "E-CONFLICT",
            Error::InTheWay { .. } => "E-PATH",
            Error::Altered { .. } => "E-HASH",
            Error::Object(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }
}

/// How a tree is written out.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads that unpack and write.
    pub jobs: usize,
    /// Most entries the tree may have: the number its release was signed with.
    pub files_max: u64,
    /// True to read everything back from the disk and hash it.
    pub verify: bool,
}

impl Default for Options {
    fn default() -> Self {
        let files_max = crate::limits::RELEASE_FILES_MAX;
        Options { jobs: parallel::default_jobs(), files_max, verify: false }
    }
}

/// Writes the tree `root` into the folder `to`, which must be absent or empty.
///
/// # Errors
/// As [`Error`] tells. What was written so far is left for the caller to remove.
pub fn checkout(
    store: &Store,
    root: TreeId,
    to: &Path,
    options: Options,
    progress: &dyn Progress,
) -> Result<Totals, Error> {
    let outline = Outline::of(store, root, options.files_max)?;
    let folder = Folder::create(to)?;
    outline.folders.iter().try_for_each(|path| folder.make_folder(path))?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(options.jobs.max(1)).build();
    let pool = pool.map_err(|e| disk::Error::new("start threads for", to, std::io::Error::other(e)))?;
    let write = |batch: Batch| {
        pool.install(|| {
            let frames = batch.frames();
            frames.par_iter().try_for_each(|frame| write_frame(store, &batch, &folder, frame, progress))?;
            if options.verify { read_back(&batch, &frames, &folder) } else { Ok(()) }
        })
    };
    let mut batch = Batch::default();
    walk::visit::<Error>(store, root, options.files_max, &mut |path, entry| {
        if entry.mode.is_file() {
            batch.add_file(store, path, entry)?;
        }
        if batch.writes >= BATCH_WRITES { write(std::mem::take(&mut batch)) } else { Ok(()) }
    })?;
    write(batch)?;
    outline.links.iter().try_for_each(|(path, target)| folder.make_link(path, target))?;
    Ok(outline.totals)
}

/// So many chunks are planned and then written: a million files take no more memory than these.
const BATCH_WRITES: usize = 128 << 10;

/// What a tree holds besides files. That all of it is here and well formed is known before anything is
/// written.
struct Outline {
    totals: Totals,
    folders: Vec<String>,
    links: BTreeMap<String, String>,
}

impl Outline {
    fn of(store: &Store, root: TreeId, files_max: u64) -> Result<Outline, ObjectError> {
        let (mut folders, mut links) = (Vec::new(), BTreeMap::new());
        let mut writes = 0;
        let totals = walk::visit::<ObjectError>(store, root, files_max, &mut |path, entry| {
            match entry.mode {
                Mode::Dir => folders.push(path.to_owned()),
                Mode::Link => drop(links.insert(path.to_owned(), walk::link_target(store, entry)?)),
                _ => {
                    let pieces = walk::pieces(store, entry)?;
                    writes += pieces.len() as u64;
                    pieces.into_iter().try_for_each(|piece| place(store, piece).map(drop))?;
                }
            }
            if writes > RELEASE_CHUNKS_MAX {
                let (what, max) = ("number of chunks to write up to file", RELEASE_CHUNKS_MAX);
                return Err(ObjectError::Limit { what, id: entry.id, max });
            }
            Ok(())
        })?;
        crate::links::check(&links)?;
        Ok(Outline { totals, folders, links })
    }
}

/// Files that are written together, grouped by the frames they come from.
#[derive(Default)]
struct Batch {
    folders: Vec<String>,
    files: Vec<PlannedFile>,
    frames: HashMap<(PackId, usize), PlannedFrame>,
    /// How many chunks are written in all.
    writes: usize,
}

struct PlannedFile {
    /// Number of its folder; the root has none.
    folder: Option<u32>,
    name: String,
    executable: bool,
    /// True once some thread has created it.
    created: Mutex<bool>,
}

struct PlannedFrame {
    pack: Arc<Pack>,
    number: usize,
    objects: HashMap<u32, ObjectId>,
    writes: Vec<PlannedWrite>,
}

/// One chunk to be written to one place of one file.
struct PlannedWrite {
    file: u32,
    offset: u64,
    object: u32,
}

impl Batch {
    fn add_file(&mut self, store: &Store, path: &str, entry: &Entry) -> Result<(), ObjectError> {
        let file = self.files.len() as u32;
        let folder = path.rsplit_once('/').map(|(above, _)| self.folder(above));
        let name = entry.name.as_str().to_owned();
        let executable = entry.mode.is_exec();
        self.files.push(PlannedFile { folder, name, executable, created: Mutex::new(false) });
        let mut offset = 0;
        for (chunk, len) in walk::pieces(store, entry)? {
            let (pack, object, number) = place(store, (chunk, len))?;
            let frame = self.frames.entry((pack.id(), number)).or_insert_with(|| PlannedFrame {
                pack,
                number,
                objects: HashMap::new(),
                writes: Vec::new(),
            });
            frame.objects.insert(object, chunk.object());
            frame.writes.push(PlannedWrite { file, offset, object });
            offset += len;
            self.writes += 1;
        }
        Ok(())
    }

    /// The number of a folder. Files of one folder mostly follow each other, so only the last is looked at.
    fn folder(&mut self, path: &str) -> u32 {
        if self.folders.last().is_none_or(|last| last != path) {
            self.folders.push(path.to_owned());
        }
        self.folders.len() as u32 - 1
    }

    /// The frames in the order they lie in.
    fn frames(&self) -> Vec<&PlannedFrame> {
        let mut frames: Vec<&PlannedFrame> = self.frames.values().collect();
        frames.sort_unstable_by_key(|frame| (frame.pack.id(), frame.number));
        frames
    }
}

/// Where a chunk is read from: its pack, its number in it, and that of its frame.
fn place(store: &Store, (chunk, len): Piece) -> Result<(Arc<Pack>, u32, usize), ObjectError> {
    let (pack, object) = locate(store, &chunk.object())?;
    let Place { frame, range } = pack.table().place(object);
    match range.len() as u64 == len {
        true => Ok((pack, object, frame)),
        false => Err(walk::chunk_fault(chunk)),
    }
}

fn locate(store: &Store, id: &ObjectId) -> Result<(Arc<Pack>, u32), ObjectError> {
    if let Some(found) = store.locate(id) {
        return Ok(found);
    }
    store.refresh()?;
    store.locate(id).ok_or(ObjectError::Missing { kind: Kind::Chunk, id: *id })
}

/// How many writes one thread takes at a time.
const WRITES: usize = 256;

fn write_frame(
    store: &Store,
    batch: &Batch,
    folder: &Folder,
    frame: &PlannedFrame,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let objects = read_objects(store, frame)?;
    frame.writes.par_chunks(WRITES).try_for_each(|writes| {
        let mut last: Option<(u32, OwnedFd)> = None;
        for run in writes.chunk_by(|a, b| a.file == b.file) {
            let planned = &batch.files[run[0].file as usize];
            let handle = match planned.folder {
                None => folder.handle.as_fd(),
                Some(number) => {
                    if last.as_ref().is_none_or(|(open, _)| *open != number) {
                        last = Some((number, folder.open_folder(&batch.folders[number as usize])?));
                    }
                    last.as_ref().expect("it was just opened").1.as_fd()
                }
            };
            let file = folder.open_file(handle, planned)?;
            for write in run {
                let bytes = &objects[&write.object];
                file.write_all_at(bytes, write.offset).doing("write", &folder.path.join(&planned.name))?;
                progress.advance(bytes.len() as u64);
            }
        }
        Ok(())
    })
}

/// Reads every file as the disk now has it: synced first, its pages dropped from memory.
fn read_back(batch: &Batch, frames: &[&PlannedFrame], folder: &Folder) -> Result<(), Error> {
    let mut written: Vec<Vec<(u64, ObjectId, usize)>> = vec![Vec::new(); batch.files.len()];
    for frame in frames {
        let table = frame.pack.table();
        for write in &frame.writes {
            let chunk = (write.offset, frame.objects[&write.object], table.place(write.object).range.len());
            written[write.file as usize].push(chunk);
        }
    }
    batch.files.par_iter().zip(&written).try_for_each(|(file, chunks)| {
        let above = file.folder.map(|number| batch.folders[number as usize].as_str());
        let path = above.map_or_else(|| file.name.clone(), |above| format!("{above}/{}", file.name));
        let content = folder.open_written(&path)?;
        let shown = folder.path.join(&path);
        content.sync_data().doing("sync", &shown)?;
        let dropped = sys::fadvise(&content, 0, None, sys::Advice::DontNeed);
        dropped.map_err(std::io::Error::from).doing("read", &shown)?;
        let length = content.metadata().doing("read", &shown)?.len();
        let mut is_same = length == chunks.iter().map(|(_, _, len)| *len as u64).sum::<u64>();
        let mut bytes = Vec::new();
        for (offset, id, len) in chunks {
            bytes.resize(*len, 0);
            is_same =
                is_same && content.read_exact_at(&mut bytes, *offset).is_ok() && ObjectId::of(&bytes) == *id;
        }
        if is_same { Ok(()) } else { Err(Error::Altered { path: shown }) }
    })
}

/// The objects of a frame that are wanted, each checked; one that is damaged here is taken from
/// another pack if it is whole there (SEC-031).
fn read_objects(store: &Store, frame: &PlannedFrame) -> Result<HashMap<u32, Bytes>, ObjectError> {
    let raw = store.read_frame(&frame.pack, frame.number).map(Arc::new).ok();
    let table = frame.pack.table();
    let read = |(object, id): (&u32, &ObjectId)| {
        let place = table.place(*object);
        let here = raw.as_ref().and_then(|raw| frame.pack.object(raw, &place, id).ok());
        let bytes = match here {
            Some(bytes) => bytes,
            None => walk::chunk(store, (ChunkId::new(*id), place.range.len() as u64))?,
        };
        Ok((*object, bytes))
    };
    frame.objects.iter().map(read).collect()
}

/// The folder written to, by its handle.
struct Folder {
    path: PathBuf,
    handle: OwnedFd,
}

const FOLDER_FLAGS: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Folder {
    fn create(path: &Path) -> Result<Folder, Error> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(disk::Error::new("create folder", path, e))?
            }
            _ => {}
        }
        let opened = sys::open(path, FOLDER_FLAGS | OFlags::RDONLY, Bits::empty());
        let handle = opened.map_err(|e| disk::Error::new("open folder", path, e.into()))?;
        if !disk::list(path)?.is_empty() {
            return Err(Error::NotEmpty { path: path.to_owned() });
        }
        Ok(Folder { path: path.to_owned(), handle })
    }

    /// Opens a folder below, refusing links at every step.
    fn open_folder(&self, path: &str) -> Result<OwnedFd, Error> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = FOLDER_FLAGS | OFlags::PATH;
        sys::openat2(&self.handle, path, flags, Bits::empty(), beneath)
            .map_err(|e| self.fault("open folder", path, e))
    }

    /// The handle of the folder that `path` is in, and the last part of its name.
    fn above<'p>(&self, path: &'p str) -> Result<(OwnedFd, &'p str), Error> {
        match path.rsplit_once('/') {
            Some((above, name)) => Ok((self.open_folder(above)?, name)),
            None => {
                let own =
                    self.handle.try_clone().map_err(|e| disk::Error::new("open folder", &self.path, e))?;
                Ok((own, path))
            }
        }
    }

    fn make_folder(&self, path: &str) -> Result<(), Error> {
        let (above, name) = self.above(path)?;
        sys::mkdirat(above, name, Bits::from_raw_mode(0o755))
            .map_err(|e| self.fault("create folder", path, e))
    }

    fn make_link(&self, path: &str, target: &str) -> Result<(), Error> {
        let (above, name) = self.above(path)?;
        sys::symlinkat(target, above, name).map_err(|e| self.fault("create link", path, e))
    }

    fn open_file(&self, above: impl AsFd, file: &PlannedFile) -> Result<File, Error> {
        let mut created = file.created.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = if *created { flags } else { flags | OFlags::CREATE | OFlags::EXCL };
        let mode = Bits::from_raw_mode(if file.executable { 0o755 } else { 0o644 });
        let opened =
            sys::openat(above, &file.name, flags, mode).map_err(|e| self.fault("create", &file.name, e))?;
        *created = true;
        Ok(File::from(opened))
    }

    /// Opens a file that was written, through no link.
    fn open_written(&self, path: &str) -> Result<File, Error> {
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = sys::openat2(&self.handle, path, flags, Bits::empty(), beneath);
        Ok(File::from(opened.map_err(|e| self.fault("open", path, e))?))
    }

    fn fault(&self, doing: &'static str, path: &str, source: Errno) -> Error {
        let path = self.path.join(path);
        match source {
            Errno::LOOP | Errno::XDEV | Errno::EXIST | Errno::NOTDIR => Error::InTheWay { path },
            _ => Error::Disk(disk::Error::new(doing, &path, source.into())),
        }
    }
}
