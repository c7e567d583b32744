//! Writing a pack: objects into frames, frames through a few compressing threads, one file.
//!
//! Promises: the bytes of the pack depend on the objects and their order alone, not on the number
//! of threads (REL-040); memory is bounded by the frames in flight. Beside the unfinished pack a
//! list of its frames is kept, so that [`salvage`] can take up what a killed process had written.
//! Leaves to others: which objects are new ([`crate::store::transaction`]).

use super::table::{Base, Frame, Table};
use super::{file_name, frame, index, index_name, objects_in};
use crate::codec;
use crate::disk::{self, Context, Scratch};
use crate::id::{ObjectId, PackId};
use crate::limits::{FRAME_BYTES, OBJECT_BYTES_MAX};
use crate::object::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

const PART: &str = ".part";
const COPY: &str = ".copy";
const FRAMES: &str = ".frames";

/// How a pack is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The zstd level of plain frames.
    pub level: i32,
    /// How many threads compress; at least one.
    pub jobs: usize,
}

impl Default for Options {
    /// Level 3 on all cores: DESIGN 12.
    fn default() -> Self {
        Options { level: 3, jobs: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

/// The group of trees and blobs.
pub const STRUCTURE: u64 = 0;
/// The lowest level of their frames: they are few bytes beside the content, but names and ids are read
/// by every client.
const STRUCTURE_LEVEL: i32 = 9;
/// The lowest level of delta frames: below it zstd hardly indexes the prefix (DESIGN 12).
const DELTA_LEVEL_MIN: i32 = 9;

/// A frame of a pack being written, numbered as frames are begun.
pub type FrameNumber = u64;

/// Objects of one frame to be.
struct Open {
    begun: FrameNumber,
    raw: Vec<u8>,
    lengths: Vec<u32>,
}

/// A frame on its way through a compressing thread.
struct Job {
    number: usize,
    content: Content,
}

/// A frame back from a compressing thread, with the memory it was made from, to be used again.
struct Done {
    number: usize,
    frame: Frame,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

enum Content {
    /// To be compressed.
    Raw { raw: Vec<u8>, lengths: Vec<u32>, level: i32 },
    /// To be compressed against a prefix, if that pays.
    Delta { raw: Vec<u8>, lengths: Vec<u32>, level: i32, base: Vec<Base>, prefix: Vec<u8> },
    /// Taken as it is from another pack.
    Sealed(Frame, Vec<u8>),
}

/// A pack being written. Dropped without [`PackWriter::finish`], it leaves nothing.
pub struct PackWriter {
    scratch: Scratch,
    /// The list of frames, for [`salvage`]; none where every object stands elsewhere too.
    list: Option<(PathBuf, File)>,
    open: Vec<(u64, Open)>,
    ids: Vec<ObjectId>,
    open_ids: Vec<Vec<ObjectId>>,
    frames: Vec<Frame>,
    begun: FrameNumber,
    submitted: usize,
    waiting: BTreeMap<usize, (Frame, Vec<u8>)>,
    to_workers: Option<Sender<Job>>,
    from_workers: Receiver<Done>,
    spare: Vec<Vec<u8>>,
    workers: Vec<JoinHandle<()>>,
    in_flight_max: usize,
    level: i32,
}

/// Frames that are open at once: objects of one group (one file extension) share a frame.
const OPEN_MAX: usize = 8;

impl PackWriter {
    /// Begins a pack in `folder`, which is for staging.
    ///
    /// # Errors
    /// If its files cannot be made.
    pub fn create(folder: &Path, options: Options) -> Result<PackWriter, disk::Error> {
        let scratch = Scratch::create(folder, PART)?;
        let path = scratch.path().with_extension("frames");
        // One that is there was left by a namesake: in containers process numbers begin anew.
        let file = File::create(&path).doing("create", &path)?;
        Ok(PackWriter::begin(scratch, Some((path, file)), options))
    }

    /// Begins a pack of objects that other packs hold too: if it is never finished, there is nothing to
    /// take up.
    ///
    /// # Errors
    /// If its file cannot be made.
    pub fn copying(folder: &Path, options: Options) -> Result<PackWriter, disk::Error> {
        Ok(PackWriter::begin(Scratch::create(folder, COPY)?, None, options))
    }

    fn begin(scratch: Scratch, list: Option<(PathBuf, File)>, options: Options) -> PackWriter {
        let (to_workers, jobs) = channel::<Job>();
        let (done, from_workers) = channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let count = options.jobs.max(1);
        let workers = (0..count).map(|_| worker(jobs.clone(), done.clone())).collect();
        PackWriter {
            scratch,
            list,
            open: Vec::new(),
            ids: Vec::new(),
            open_ids: Vec::new(),
            frames: Vec::new(),
            begun: 0,
            submitted: 0,
            waiting: BTreeMap::new(),
            to_workers: Some(to_workers),
            from_workers,
            spare: Vec::new(),
            workers,
            in_flight_max: count + 2,
            level: options.level,
        }
    }

    /// When its file was made, by the clock of the disk, in nanoseconds since 1970.
    ///
    /// # Errors
    /// If the disk does not say.
    pub fn begun_ns(&self) -> Result<i128, disk::Error> {
        let meta = self.scratch.file().metadata().doing("read", self.scratch.path())?;
        Ok(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()))
    }

    /// Adds an object whose id the caller has computed. Objects of one `group` share frames. Gives the
    /// frame it went to.
    ///
    /// # Errors
    /// If a frame cannot be written, or the object is larger than any reader takes.
    pub fn add(&mut self, id: ObjectId, bytes: &[u8], group: u64) -> Result<FrameNumber, disk::Error> {
        if bytes.len() > OBJECT_BYTES_MAX {
            let why = format!("object {id} has {} bytes, more than {OBJECT_BYTES_MAX}", bytes.len());
            return Err(disk::Error::new("write", self.scratch.path(), std::io::Error::other(why)));
        }
        let at = self.open_frame(group)?;
        let full = self.open[at].1.raw.len() + bytes.len() > FRAME_BYTES;
        if full && !self.open[at].1.raw.is_empty() {
            self.submit(at)?;
            return self.add(id, bytes, group);
        }
        let open = &mut self.open[at].1;
        open.raw.extend_from_slice(bytes);
        open.lengths.push(bytes.len() as u32);
        self.open_ids[at].push(id);
        Ok(open.begun)
    }

    /// Adds a frame of `objects`, compressed against `prefix`, which are the bytes that `base` names; or
    /// a plain frame, where the prefix gains little. Gives the frame.
    ///
    /// # Errors
    /// If a frame cannot be written.
    pub fn add_delta(
        &mut self,
        objects: &[(ObjectId, Bytes)],
        base: Vec<Base>,
        prefix: Vec<u8>,
    ) -> Result<FrameNumber, disk::Error> {
        let mut raw = Vec::with_capacity(objects.iter().map(|(_, bytes)| bytes.len()).sum());
        objects.iter().for_each(|(_, bytes)| raw.extend_from_slice(bytes));
        let lengths = objects.iter().map(|(_, bytes)| bytes.len() as u32).collect();
        let number = self.number();
        let level = self.level.max(DELTA_LEVEL_MIN);
        let ids: Vec<ObjectId> = objects.iter().map(|(id, _)| *id).collect();
        self.send(Content::Delta { raw, lengths, level, base, prefix }, &ids)?;
        Ok(number)
    }

    fn number(&mut self) -> FrameNumber {
        self.begun += 1;
        self.begun
    }

    /// The open frame of `group`, if there is one.
    pub fn open_number(&self, group: u64) -> Option<FrameNumber> {
        self.open.iter().find(|(g, _)| *g == group).map(|(_, open)| open.begun)
    }

    fn open_frame(&mut self, group: u64) -> Result<usize, disk::Error> {
        if let Some(at) = self.open.iter().position(|(g, _)| *g == group) {
            return Ok(at);
        }
        if self.open.len() == OPEN_MAX {
            self.submit(0)?;
        }
        let raw = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(FRAME_BYTES));
        let begun = self.number();
        self.open.push((group, Open { begun, raw, lengths: Vec::new() }));
        self.open_ids.push(Vec::new());
        Ok(self.open.len() - 1)
    }

    /// Hands the open frame at `at` to the compressing threads.
    fn submit(&mut self, at: usize) -> Result<(), disk::Error> {
        let (group, open) = self.open.remove(at);
        let level = if group == STRUCTURE { self.level.max(STRUCTURE_LEVEL) } else { self.level };
        let ids = self.open_ids.remove(at);
        self.send(Content::Raw { raw: open.raw, lengths: open.lengths, level }, &ids)
    }

    /// Adds a frame that another pack holds, as it is stored there. What it builds on, if anything, has
    /// to stay in the store.
    ///
    /// # Errors
    /// If a frame cannot be written.
    pub fn add_frame(&mut self, frame: Frame, stored: Vec<u8>, ids: &[ObjectId]) -> Result<(), disk::Error> {
        debug_assert!(frame.lengths.len() == ids.len());
        self.send(Content::Sealed(frame, stored), ids)
    }

    fn send(&mut self, content: Content, ids: &[ObjectId]) -> Result<(), disk::Error> {
        self.ids.extend_from_slice(ids);
        let job = Job { number: self.submitted, content };
        self.submitted += 1;
        let workers = self.to_workers.as_ref().expect("workers run until the pack is finished");
        workers.send(job).expect("a worker holds the other end until this one is dropped");
        while self.submitted - self.frames.len() > self.in_flight_max {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result<(), disk::Error> {
        let Done { number, frame, stored, mut raw } =
            self.from_workers.recv().expect("a worker answers every job");
        if raw.capacity() > 0 && self.spare.len() < OPEN_MAX {
            raw.clear();
            self.spare.push(raw);
        }
        self.waiting.insert(number, (frame, stored));
        while let Some((frame, stored)) = self.waiting.remove(&self.frames.len()) {
            self.append(frame, &stored)?;
        }
        Ok(())
    }

    fn append(&mut self, frame: Frame, stored: &[u8]) -> Result<(), disk::Error> {
        self.scratch.file().write_all(stored).doing("write", self.scratch.path())?;
        if let Some((path, file)) = &mut self.list {
            let row = codec::encode(&frame);
            let mut record = (row.len() as u32).to_le_bytes().to_vec();
            record.extend_from_slice(&row);
            file.write_all(&record).doing("write", path)?;
        }
        self.frames.push(frame);
        Ok(())
    }

    /// Ends the open frames, so that what is added next shares none with what was.
    ///
    /// # Errors
    /// If a frame cannot be written.
    pub fn flush(&mut self) -> Result<(), disk::Error> {
        while !self.open.is_empty() {
            self.submit(0)?;
        }
        Ok(())
    }

    /// Ends the pack and moves it, with its index, into `packs`. None if nothing was added.
    ///
    /// # Errors
    /// If a write, sync or rename fails; nothing is then visible.
    pub fn finish(mut self, packs: &Path) -> Result<Option<PackId>, disk::Error> {
        self.flush()?;
        while self.frames.len() < self.submitted {
            self.receive()?;
        }
        if self.frames.is_empty() {
            return Ok(None);
        }
        let table = Table::new(std::mem::take(&mut self.frames)).expect("the writer makes consistent frames");
        let ids = std::mem::take(&mut self.ids);
        self.scratch.file().write_all(&table.tail()).doing("write", self.scratch.path())?;
        seal(self.take_scratch(packs)?, &table, &ids, packs).map(Some)
    }

    /// The scratch file alone, so that the rest can be dropped; the list of frames is removed.
    fn take_scratch(&mut self, packs: &Path) -> Result<Scratch, disk::Error> {
        disk::make_folder(packs)?;
        let placeholder = Scratch::create(self.scratch.path().parent().unwrap_or(packs), ".tmp")?;
        Ok(std::mem::replace(&mut self.scratch, placeholder))
    }
}

impl Drop for PackWriter {
    fn drop(&mut self) {
        self.to_workers = None; // the workers end
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
        if let Some((path, _)) = &self.list {
            let _ = disk::remove(path); // a leftover is harmless; gc removes it
        }
    }
}

fn worker(jobs: Arc<Mutex<Receiver<Job>>>, done: Sender<Done>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        loop {
            let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(Job { number, content }) = next else { return };
            let (frame, stored, raw) = match content {
                Content::Sealed(frame, stored) => (frame, stored, Vec::new()),
                Content::Raw { raw, lengths, level } => {
                    let stored = frame::seal(&raw, level);
                    (describe(&raw, &stored, lengths, Vec::new()), stored, raw)
                }
                Content::Delta { raw, lengths, level, base, prefix } => {
                    let (stored, base) = seal_delta(&raw, level, base, &prefix);
                    (describe(&raw, &stored, lengths, base), stored, raw)
                }
            };
            let made = Done { number, frame, stored, raw };
            if done.send(made).is_err() {
                return; // the writer was dropped
            }
        }
    })
}

/// Compressed against the prefix, or plain with no base: a delta that saves less than an eighth of what
/// a plain frame takes costs every reader more than it is worth.
fn seal_delta(raw: &[u8], level: i32, base: Vec<Base>, prefix: &[u8]) -> (Vec<u8>, Vec<Base>) {
    let delta = frame::seal_with_prefix(raw, prefix, level);
    let is_clear = delta.len() < raw.len() / 16; // hardly any plain frame gets there
    let plain = if is_clear { None } else { Some(frame::seal(raw, level)) };
    match plain {
        Some(plain) if delta.len() > plain.len() / 8 * 7 => (plain, Vec::new()),
        _ => (delta, base),
    }
}

/// The row of a frame.
pub fn describe(raw: &[u8], stored: &[u8], lengths: Vec<u32>, base: Vec<Base>) -> Frame {
    Frame { stored: stored.len() as u32, raw: raw.len() as u32, hash: ObjectId::of(stored), base, lengths }
}

fn seal(scratch: Scratch, table: &Table, ids: &[ObjectId], packs: &Path) -> Result<PackId, disk::Error> {
    let id = table.pack_id();
    let index = Scratch::create(scratch.path().parent().unwrap_or(packs), ".tmp")?;
    index.file().write_all(&index::encode(table, ids)).doing("write", index.path())?;
    make_read_only(&scratch)?;
    make_read_only(&index)?;
    disk::keep_all(vec![(scratch, packs.join(file_name(id))), (index, packs.join(index_name(id)))])?;
    Ok(id)
}

/// Store files are 0444, so that an editor opened on one fails at once (SEC-013).
fn make_read_only(scratch: &Scratch) -> Result<(), disk::Error> {
    use std::os::unix::fs::PermissionsExt;
    let read_only = std::fs::Permissions::from_mode(0o444);
    scratch.file().set_permissions(read_only).doing("make read-only", scratch.path())
}

/// Takes up the packs that killed processes left unfinished in `folder`: every frame that is whole
/// becomes part of a pack in `packs`. What a living process writes is left alone. Returns how many
/// objects were saved.
///
/// # Errors
/// If the disk refuses.
pub fn salvage(folder: &Path, packs: &Path) -> Result<usize, disk::Error> {
    let mut saved = 0;
    for name in disk::list(folder)?.iter().filter(|name| name.ends_with(PART)) {
        let path = folder.join(name);
        let frames_path = folder.join(name.replace(PART, FRAMES));
        let Ok(file) = File::options().read(true).write(true).open(&path) else { continue };
        if file.try_lock().is_err() {
            continue; // its writer lives
        }
        let rows = disk::try_read(&frames_path, crate::limits::TABLE_BYTES_MAX)?.unwrap_or_default();
        saved += salvage_one(&file, &rows, folder, packs)?;
        disk::remove(&path)?;
        disk::remove(&frames_path)?;
    }
    Ok(saved)
}

fn salvage_one(mut file: &File, rows: &[u8], folder: &Path, packs: &Path) -> Result<usize, disk::Error> {
    let scratch = Scratch::create(folder, ".tmp")?;
    let (mut frames, mut ids) = (Vec::new(), Vec::new());
    for row in frame_rows(rows) {
        let mut stored = vec![0; row.stored as usize];
        if file.read_exact(&mut stored).is_err() || ObjectId::of(&stored) != row.hash {
            break;
        }
        let Ok(raw) = frame::open(&stored, row.raw as usize, None) else { break };
        ids.extend(objects_in(&row, &raw).map(ObjectId::of));
        scratch.file().write_all(&stored).doing("write", scratch.path())?;
        frames.push(row);
    }
    let Ok(table) = Table::new(frames) else { return Ok(0) };
    if table.objects() > 0 {
        disk::make_folder(packs)?;
        scratch.file().write_all(&table.tail()).doing("write", scratch.path())?;
        seal(scratch, &table, &ids, packs)?;
    }
    Ok(ids.len())
}

/// The rows of a list of frames, up to the first that is cut or malformed.
fn frame_rows(mut bytes: &[u8]) -> impl Iterator<Item = Frame> {
    std::iter::from_fn(move || {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let row: Frame = codec::decode("frame row", rest.get(..len)?, len).ok()?;
        row.check().ok()?;
        bytes = &rest[len..];
        Some(row)
    })
}
