//! The reading half of ingest: what there is in a folder, in tree order, in pieces of bounded size.
//!
//! Small files travel in batches that a worker opens, reads and cuts; large ones are read and cut
//! here, a few MiB at a time, and only hashed by the workers.

use super::Error;
use crate::chunker;
use crate::disk::{self, Context};
use crate::id::ObjectId;
use crate::limits::{CONFIG_BYTES_MAX, PATH_DEPTH_MAX, RELEASE_FILES_MAX};
use ignore::{DirEntry, WalkBuilder};
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Files up to this many bytes are read by the workers.
const SMALL_BYTES: u64 = 1 << 20;
/// How much of a large file is read at once.
const PART_BYTES: usize = 2 << 20;
/// Most nodes in one batch.
const BATCH_NODES: usize = 128;
/// Where a folder says what stays out.
const RULES: &str = ".pkgignore";

/// Something met on the walk. `depth` counts the folders above it, the root's children have 1.
pub struct Place {
    pub depth: usize,
    pub path: PathBuf,
    pub name: String,
}

/// Work for one thread.
pub enum Work {
    Batch(Vec<Unread>),
    Part(Part),
}

/// A small node, not read yet.
pub enum Unread {
    Dir(Place),
    Link(Place),
    File(Place),
}

/// Some of a large file.
pub struct Part {
    place: Place,
    executable: bool,
    size: u64,
    first: bool,
    last: bool,
    bytes: Vec<u8>,
    cuts: Vec<Range<usize>>,
}

/// A node with its chunks cut and hashed.
pub enum Ready {
    Dir(Place),
    Link {
        place: Place,
        target: Vec<u8>,
    },
    /// A whole file, or a part of one.
    File {
        place: Place,
        executable: bool,
        size: u64,
        first: bool,
        last: bool,
        bytes: Vec<u8>,
        pieces: Vec<(ObjectId, Range<usize>)>,
    },
}

/// The work a folder makes, drawn one piece at a time.
pub struct Source {
    root: PathBuf,
    walk: ignore::Walk,
    batch: Vec<Unread>,
    batch_bytes: u64,
    large: Option<Large>,
    count: u64,
    failed: bool,
    fault: Fault,
}

/// Why the rules of a folder cannot be read, as the walk's filter found it.
type Fault = Arc<Mutex<Option<Error>>>;

struct Large {
    place: Place,
    file: File,
    executable: bool,
    size: u64,
    read: u64,
    rest: Vec<u8>,
}

impl Source {
    pub fn new(root: &Path) -> Result<Source, Error> {
        std::fs::symlink_metadata(root).doing("open", root)?;
        check_rules(root)?;
        let fault = Fault::default();
        let walk_fault = fault.clone();
        let walk = WalkBuilder::new(root)
            .standard_filters(false)
            .add_custom_ignore_filename(RULES)
            .follow_links(false)
            .sort_by_file_name(|a, b| a.cmp(b))
            .filter_entry(move |entry| {
                entry.depth() == 0 || (!is_tool_folder(entry) && has_good_rules(entry, &walk_fault))
            })
            .build();
        let (batch, large) = (Vec::new(), None);
        Ok(Source {
            root: root.to_owned(),
            walk,
            batch,
            batch_bytes: 0,
            large,
            count: 0,
            failed: false,
            fault,
        })
    }

    fn draw(&mut self) -> Result<Option<Work>, Error> {
        loop {
            if let Some(large) = &mut self.large {
                let part = large.next_part()?;
                if part.last {
                    self.large = None;
                }
                return Ok(Some(Work::Part(part)));
            }
            let next = self.walk.next();
            if let Some(fault) = self.fault.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return Err(fault);
            }
            let Some(entry) = next else {
                return Ok(self.take_batch());
            };
            let entry = entry.map_err(|source| Error::Walk { path: self.root.clone(), source })?;
            if let Some(source) = entry.error() {
                // A rule passed over might have kept a secret out.
                return Err(Error::Walk { path: entry.path().to_owned(), source: source.clone() });
            }
            if self.take(entry)?
                && let Some(work) = self.take_batch()
            {
                return Ok(Some(work));
            }
        }
    }

    /// Adds an entry; true if the batch has to go first.
    fn take(&mut self, entry: DirEntry) -> Result<bool, Error> {
        let kind = entry.file_type().ok_or_else(|| Error::Changed { path: entry.path().to_owned() })?;
        if entry.depth() == 0 && !kind.is_file() {
            return self.take_root(&entry, kind);
        }
        let place = self.place(entry)?;
        if kind.is_dir() {
            self.batch.push(Unread::Dir(place));
        } else if kind.is_symlink() {
            self.batch.push(Unread::Link(place));
        } else if kind.is_file() {
            let meta = std::fs::symlink_metadata(&place.path).doing("read", &place.path)?;
            if meta.len() > SMALL_BYTES {
                self.large = Some(Large::open(place)?);
                return Ok(true);
            }
            self.batch_bytes += meta.len();
            self.batch.push(Unread::File(place));
        } else {
            return Err(Error::Special { path: place.path, what: special_word(kind) });
        }
        Ok(self.batch.len() >= BATCH_NODES || self.batch_bytes >= SMALL_BYTES)
    }

    fn take_root(&mut self, entry: &DirEntry, kind: FileType) -> Result<bool, Error> {
        let path = entry.path();
        let is_folder = std::fs::metadata(path).doing("read", path)?.is_dir(); // a link to a folder will do
        if !is_folder {
            return Err(Error::Special { path: path.to_owned(), what: special_word(kind) });
        }
        Ok(false)
    }

    fn place(&mut self, entry: DirEntry) -> Result<Place, Error> {
        self.count += 1;
        let depth = entry.depth().max(1);
        let too_much = |what| Err(Error::TooMuch { path: entry.path().to_owned(), what });
        if self.count > RELEASE_FILES_MAX {
            return too_much("2,000,000 files");
        }
        if depth > PATH_DEPTH_MAX {
            return too_much("128 levels of folders");
        }
        let name = entry.file_name().to_str().ok_or_else(|| Error::Name {
            path: entry.path().to_owned(),
            source: crate::name::Error::Format {
                name: entry.file_name().to_string_lossy().into(),
                why: "it is not UTF-8",
            },
        })?;
        Ok(Place { depth, name: name.to_owned(), path: entry.path().to_owned() })
    }

    fn take_batch(&mut self) -> Option<Work> {
        self.batch_bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        (!batch.is_empty()).then_some(Work::Batch(batch))
    }
}

impl Iterator for Source {
    type Item = Result<Work, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let work = self.draw();
        self.failed = work.is_err();
        work.transpose()
    }
}

fn is_tool_folder(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_dir())
        && (entry.file_name() == ".git" || entry.file_name() == ".pkgs")
}

/// True if the walk may enter; if not because of its rules, says so in `fault`.
fn has_good_rules(entry: &DirEntry, fault: &Fault) -> bool {
    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
    let checked = if is_folder { check_rules(entry.path()) } else { Ok(()) };
    let fits = checked.is_ok();
    if let Err(error) = checked {
        *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
    fits
}

/// Looks at the rules of a folder before the walk does, which would wait for a pipe, read a device
/// without end, and pass over rules it cannot read.
fn check_rules(folder: &Path) -> Result<(), Error> {
    let path = folder.join(RULES);
    match std::fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => Err(Error::Special { path, what: special_word(meta.file_type()) }),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        other => {
            other.doing("read", &path)?;
            let rules = disk::try_read(&path, CONFIG_BYTES_MAX)?.unwrap_or_default();
            let text = String::from_utf8(rules).map_err(io::Error::other).doing("read", &path);
            Ok(text.map(drop)?)
        }
    }
}

fn special_word(kind: FileType) -> &'static str {
    match () {
        () if kind.is_fifo() => "named pipe",
        () if kind.is_socket() => "socket",
        () if kind.is_block_device() => "block device",
        () if kind.is_char_device() => "character device",
        () if kind.is_dir() => "folder, where a file with rules was looked for",
        () => "thing of no known kind",
    }
}

/// Opens a regular file without following a link or waiting for a pipe that took its place.
fn open(path: &Path) -> Result<(File, Metadata), Error> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let opened = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = opened.doing("open", path)?;
    let meta = file.metadata().doing("read", path)?;
    if !meta.is_file() {
        return Err(Error::Changed { path: path.to_owned() });
    }
    Ok((file, meta))
}

impl Large {
    fn open(place: Place) -> Result<Large, Error> {
        let (file, meta) = open(&place.path)?;
        let executable = meta.mode() & 0o100 != 0;
        Ok(Large { place, file, executable, size: meta.len(), read: 0, rest: Vec::new() })
    }

    fn next_part(&mut self) -> Result<Part, Error> {
        let first = self.read == 0;
        let mut bytes = std::mem::take(&mut self.rest);
        let wanted = (PART_BYTES - bytes.len()) as u64;
        bytes.reserve(wanted as usize);
        let read = (&mut self.file).take(wanted).read_to_end(&mut bytes);
        self.read += read.doing("read", &self.place.path)? as u64;
        let last = self.read >= self.size;
        let cuts = if last { chunker::chunks(&bytes) } else { chunker::settled_chunks(&bytes) };
        let end = cuts.last().map_or(0, |cut| cut.end);
        if self.read > self.size || (!last && bytes.len() < PART_BYTES) {
            return Err(Error::Changed { path: self.place.path.clone() });
        }
        self.rest = bytes.split_off(end);
        let Place { depth, path, name } = &self.place;
        let place = Place { depth: *depth, path: path.clone(), name: name.clone() };
        Ok(Part { place, executable: self.executable, size: self.size, first, last, bytes, cuts })
    }
}

/// What a worker does with a piece of work.
pub fn cut_and_hash(work: Result<Work, Error>) -> Result<Vec<Ready>, Error> {
    match work? {
        Work::Batch(nodes) => nodes.into_iter().map(read_node).collect(),
        Work::Part(part) => {
            let pieces = hash(&part.bytes, part.cuts);
            let Part { place, executable, size, first, last, bytes, .. } = part;
            Ok(vec![Ready::File { place, executable, size, first, last, bytes, pieces }])
        }
    }
}

fn hash(bytes: &[u8], cuts: Vec<Range<usize>>) -> Vec<(ObjectId, Range<usize>)> {
    cuts.into_iter().map(|cut| (ObjectId::of(&bytes[cut.clone()]), cut)).collect()
}

fn read_node(node: Unread) -> Result<Ready, Error> {
    match node {
        Unread::Dir(place) => Ok(Ready::Dir(place)),
        Unread::Link(place) => {
            let target = std::fs::read_link(&place.path).doing("read link", &place.path)?;
            Ok(Ready::Link { target: target.into_os_string().into_encoded_bytes(), place })
        }
        Unread::File(place) => read_small(place),
    }
}

fn read_small(place: Place) -> Result<Ready, Error> {
    let (file, meta) = open(&place.path)?;
    let size = meta.len();
    let mut bytes = Vec::with_capacity(size as usize + 1);
    let read: Result<_, disk::Error> =
        file.take(SMALL_BYTES + 1).read_to_end(&mut bytes).doing("read", &place.path);
    read?;
    if bytes.len() as u64 != size {
        return Err(Error::Changed { path: place.path });
    }
    let cuts = chunker::chunks(&bytes);
    let pieces = hash(&bytes, cuts);
    let executable = meta.mode() & 0o100 != 0;
    Ok(Ready::File { place, executable, size, first: true, last: true, bytes, pieces })
}
