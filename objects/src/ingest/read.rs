//! The reading half of ingest: nodes are opened, cut and hashed, small ones by the workers, large ones a
//! few MiB at a time when their turn comes.
//!
//! Promises: a small file takes four system calls (open, stat, read, close); at most [`BATCH_BYTES`]
//! and one file more are held by a batch; a file that changes while it is read is told.
//! Leaves to others: the order of things ([`super::source`]), what becomes of them
//! ([`super::assemble`]).

use super::Error;
use super::cache::{self, Stamp};
use super::source::{BATCH_BYTES, Pace, Place, Root, Unread};
use crate::chunker;
use crate::disk::Context;
use crate::id::ObjectId;
use rustix::fs::{self as sys, FileType, OFlags};
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

/// Files up to this many bytes are read whole.
const SMALL_BYTES: u64 = 1 << 20;
/// How much of a large file is read at once.
const PART_BYTES: usize = 2 << 20;

/// Chunks of some bytes: their ids and ranges.
pub type Pieces = Vec<(ObjectId, Range<usize>)>;

/// A node with its chunks cut and hashed, as far as it is small.
pub enum Ready {
    Dir(Place),
    Link(Place, Vec<u8>),
    File(Whole),
    /// To be opened when its turn comes: it is large, or the batch was full.
    Waiting(Place),
    Large(Large),
}

/// A file that was read whole.
pub struct Whole {
    pub place: Place,
    pub stamp: Stamp,
    pub bytes: Vec<u8>,
    pub pieces: Pieces,
}

/// Reads what the walk found.
pub struct Reader {
    pub root: Arc<Root>,
    pub pace: Arc<Pace>,
}

impl Reader {
    /// What a worker does with a batch.
    pub fn read(&self, batch: Result<Vec<Unread>, Error>) -> Result<Vec<Ready>, Error> {
        let mut held = 0;
        let read = |node: Unread| match node {
            Unread::Dir(place) => Ok(Ready::Dir(place)),
            Unread::Link(place) => {
                let target = self.root.read_link(&place.path)?;
                Ok(Ready::Link(place, target))
            }
            Unread::File(place) if held > BATCH_BYTES => Ok(Ready::Waiting(place)),
            Unread::File(place) => {
                let ready = self.open(place)?;
                if let Ready::File(whole) = &ready {
                    held += whole.stamp.size;
                }
                Ok(match ready {
                    Ready::Large(large) => Ready::Waiting(large.place), // so that few files are open
                    ready => ready,
                })
            }
        };
        batch?.into_iter().map(read).collect()
    }

    /// Opens a file: read whole if it is small.
    pub fn open(&self, place: Place) -> Result<Ready, Error> {
        let shown = || self.root.shown(&place.path);
        // Without waiting for a pipe that took its place.
        let file = File::from(self.root.open_in(&place.path, OFlags::NONBLOCK)?);
        let stat = sys::fstat(&file).map_err(std::io::Error::from).doing("read", &shown())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::Changed { path: shown() });
        }
        let stamp = Stamp::of(&stat);
        self.pace.note(stamp.size);
        if stamp.size > SMALL_BYTES {
            let shown = shown();
            return Ok(Ready::Large(Large { place, stamp, shown, file, read: 0, rest: Vec::new() }));
        }
        let bytes = read_whole(&file, stamp.size).doing("read", &shown())?;
        if bytes.len() as u64 != stamp.size {
            return Err(Error::Changed { path: shown() });
        }
        let pieces = hash(&bytes, chunker::chunks(&bytes));
        Ok(Ready::File(Whole { place, stamp, bytes, pieces }))
    }

    /// What the cache says of a batch, if nothing in it has changed.
    pub fn look(&self, batch: Result<Vec<Unread>, Error>) -> Result<Vec<u8>, Error> {
        let mut rows = Vec::new();
        for node in batch? {
            match node {
                Unread::Dir(place) => cache::row_of_folder(&place.path, &mut rows),
                Unread::Link(place) => {
                    cache::row_of_link(&place.path, &self.root.read_link(&place.path)?, &mut rows)
                }
                Unread::File(place) => {
                    let stamp = Stamp::of(&self.root.stat(&place.path)?);
                    cache::row_of_file(&place.path, Some(&stamp), &mut rows);
                }
            }
        }
        Ok(rows)
    }
}

/// Asks for one byte more than there should be: so the end shows without another call, and growth too.
fn read_whole(mut file: &File, size: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; size as usize + 1];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => {
                filled += read;
                if filled as u64 == size && read > 1 {
                    break; // fewer than were asked for: the end
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn hash(bytes: &[u8], cuts: Vec<Range<usize>>) -> Pieces {
    cuts.into_iter().map(|cut| (ObjectId::of(&bytes[cut.clone()]), cut)).collect()
}

/// A large file, drawn in parts that end at chunks.
pub struct Large {
    pub place: Place,
    pub stamp: Stamp,
    shown: std::path::PathBuf,
    file: File,
    read: u64,
    rest: Vec<u8>,
}

/// Some of a large file, cut and not hashed yet.
pub struct Part {
    bytes: Vec<u8>,
    cuts: Vec<Range<usize>>,
}

impl Part {
    /// Its bytes and chunks.
    pub fn hash(self) -> (Vec<u8>, Pieces) {
        let pieces = hash(&self.bytes, self.cuts);
        (self.bytes, pieces)
    }
}

impl Large {
    fn next_part(&mut self) -> Result<Part, Error> {
        let mut bytes = std::mem::take(&mut self.rest);
        let wanted = (PART_BYTES - bytes.len()) as u64;
        bytes.reserve(wanted as usize);
        let read = (&mut self.file).take(wanted).read_to_end(&mut bytes);
        self.read += read.doing("read", &self.shown)? as u64;
        let last = self.read >= self.stamp.size;
        let cuts = if last { chunker::chunks(&bytes) } else { chunker::settled_chunks(&bytes) };
        let end = cuts.last().map_or(0, |cut| cut.end);
        if self.read > self.stamp.size || (!last && bytes.len() < PART_BYTES) {
            return Err(Error::Changed { path: self.shown.clone() });
        }
        self.rest = bytes.split_off(end);
        Ok(Part { bytes, cuts })
    }
}

impl Iterator for Large {
    type Item = Result<Part, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let part = (self.read < self.stamp.size).then(|| self.next_part());
        if matches!(part, Some(Err(_))) {
            self.read = u64::MAX; // nothing follows an error
        }
        part
    }
}
