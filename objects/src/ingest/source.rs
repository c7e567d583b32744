//! The walk of ingest: what there is in a folder, in tree order, in batches.
//!
//! Promises: only names and kinds are asked for here, beneath one opened folder and through no link.
//! Leaves to others: opening files ([`super::read`]), rules ([`super::rules`]).

use super::Error;
use super::rules::{self, Rules};
use crate::disk::{self, Context};
use crate::limits::{PATH_DEPTH_MAX, RELEASE_FILES_MAX};
use rustix::fs::{self as sys, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags};
use std::fs::Metadata;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Unpacked bytes a batch aims at.
pub const BATCH_BYTES: u64 = 1 << 20;
/// Most nodes in one batch.
const BATCH_NODES_MAX: u64 = 128;
/// Fewest, however large the files before were.
const BATCH_NODES_MIN: u64 = 4;

/// What is taken in: a folder, or the folder that the one file is in.
pub struct Root {
    path: PathBuf,
    handle: OwnedFd,
}

impl Root {
    fn open(path: &Path) -> Result<Root, disk::Error> {
        let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let handle = sys::open(here, flags, Mode::empty()).map_err(std::io::Error::from);
        Ok(Root { path: path.to_owned(), handle: handle.doing("open folder", here)? })
    }

    /// The path of something in it, for messages.
    pub fn shown(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// Opens something in it, through no link.
    pub fn open_in(&self, path: &str, flags: OFlags) -> Result<OwnedFd, disk::Error> {
        let path_or_self = if path.is_empty() { "." } else { path };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = sys::openat2(&self.handle, path_or_self, flags, Mode::empty(), beneath);
        opened.map_err(std::io::Error::from).doing("open", &self.shown(path))
    }

    /// What the system says of something in it; of a link, not of what it leads to.
    pub fn stat(&self, path: &str) -> Result<sys::Stat, disk::Error> {
        let stat = sys::statat(&self.handle, path, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_err(std::io::Error::from).doing("read", &self.shown(path))
    }

    /// Where a link leads.
    pub fn read_link(&self, path: &str) -> Result<Vec<u8>, disk::Error> {
        let target = sys::readlinkat(&self.handle, path, Vec::new()).map_err(std::io::Error::from);
        Ok(target.doing("read link", &self.shown(path))?.into_bytes())
    }
}

/// Something met on the walk. `depth` counts the folders above it, the root's children have 1.
#[derive(Clone)]
pub struct Place {
    pub depth: usize,
    /// Path in the package.
    pub path: String,
}

impl Place {
    /// The last part of its path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Something that is not read yet.
pub enum Unread {
    Dir(Place),
    Link(Place),
    File(Place),
}

/// How large files were so far, so that batches come out even. It decides nothing but who reads what.
#[derive(Default)]
pub struct Pace {
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Pace {
    /// Notes a file that was read.
    pub fn note(&self, bytes: u64) {
        self.files.fetch_add(1, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
    }

    fn batch_nodes(&self) -> usize {
        let average = self.bytes.load(Relaxed) / self.files.load(Relaxed).max(1);
        (BATCH_BYTES / average.max(1)).clamp(BATCH_NODES_MIN, BATCH_NODES_MAX) as usize
    }
}

struct Item {
    name: Vec<u8>,
    kind: FileType,
}

struct Level {
    path: String,
    items: std::vec::IntoIter<Item>,
    rules: Option<Arc<Rules>>,
}

/// The nodes of a package, drawn a batch at a time.
pub struct Source {
    root: Arc<Root>,
    pace: Arc<Pace>,
    levels: Vec<Level>,
    count: u64,
    failed: bool,
}

impl Source {
    pub fn new(from: &Path) -> Result<Source, Error> {
        let meta = std::fs::symlink_metadata(from).doing("open", from)?;
        let (root, level) = if meta.is_file() {
            (Root::open(from.parent().unwrap_or(Path::new("")))?, Some(one_file(from)))
        } else {
            check_root(from, &meta)?;
            (Root::open(from)?, None)
        };
        let mut source = Source {
            root: Arc::new(root),
            pace: Arc::default(),
            levels: Vec::new(),
            count: 0,
            failed: false,
        };
        let level = match level {
            Some(level) => level,
            None => source.list(String::new(), None)?,
        };
        source.levels.push(level);
        Ok(source)
    }

    pub fn root(&self) -> Arc<Root> {
        self.root.clone()
    }

    pub fn pace(&self) -> Arc<Pace> {
        self.pace.clone()
    }

    fn draw(&mut self) -> Result<Option<Vec<Unread>>, Error> {
        let nodes_max = self.pace.batch_nodes();
        let mut batch = Vec::with_capacity(nodes_max);
        while batch.len() < nodes_max {
            let Some(level) = self.levels.last_mut() else { break };
            let Some(item) = level.items.next() else {
                self.levels.pop();
                continue;
            };
            if let Some(node) = self.take(item)? {
                batch.push(node);
            }
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// The node of an item, unless it stays out; a folder's content comes next.
    fn take(&mut self, item: Item) -> Result<Option<Unread>, Error> {
        let depth = self.levels.len();
        let level = self.levels.last().expect("the item is from the last level");
        let name = std::str::from_utf8(&item.name).map_err(|_| self.not_utf8(level, &item.name));
        let path = match name {
            Ok(name) if level.path.is_empty() => name.to_owned(),
            Ok(name) => format!("{}/{name}", level.path),
            Err(error) => return if self.left_out_unseen(level, &item) { Ok(None) } else { Err(error) },
        };
        let is_folder = item.kind == FileType::Directory;
        if level.rules.as_ref().is_some_and(|rules| rules.leave_out(&path, is_folder)) {
            return Ok(None);
        }
        self.count += 1;
        let too_much = |what| Err(Error::TooMuch { path: self.root.shown(&path), what });
        if self.count > RELEASE_FILES_MAX {
            return too_much("2,000,000 files");
        }
        if depth > PATH_DEPTH_MAX {
            return too_much("128 levels of folders");
        }
        match item.kind {
            FileType::Directory => {
                let rules = level.rules.clone();
                let below = self.list(path.clone(), rules)?;
                self.levels.push(below);
                Ok(Some(Unread::Dir(Place { depth, path })))
            }
            FileType::Symlink => Ok(Some(Unread::Link(Place { depth, path }))),
            FileType::RegularFile => Ok(Some(Unread::File(Place { depth, path }))),
            kind => Err(Error::Special { path: self.root.shown(&path), what: word(kind) }),
        }
    }

    fn not_utf8(&self, level: &Level, name: &[u8]) -> Error {
        let name = String::from_utf8_lossy(name).into_owned();
        let path = self.root.shown(&level.path).join(&name);
        Error::Name { path, source: crate::name::Error::Format { name, why: "it is not UTF-8" } }
    }

    /// True if rules keep out a name that cannot be written down.
    fn left_out_unseen(&self, level: &Level, item: &Item) -> bool {
        let path = format!("{}/{}", level.path, String::from_utf8_lossy(&item.name));
        let is_folder = item.kind == FileType::Directory;
        level.rules.as_ref().is_some_and(|rules| rules.leave_out(path.trim_start_matches('/'), is_folder))
    }

    fn list(&self, path: String, above: Option<Arc<Rules>>) -> Result<Level, Error> {
        let shown = self.root.shown(&path);
        let handle = self.root.open_in(&path, OFlags::DIRECTORY)?;
        let mut items = Vec::new();
        let mut has_rules = false;
        for entry in Dir::new(handle).map_err(std::io::Error::from).doing("list", &shown)? {
            let entry = entry.map_err(std::io::Error::from).doing("list", &shown)?;
            let name = entry.file_name().to_bytes();
            if name == b"." || name == b".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => self.kind_of(&path, name)?,
                kind => kind,
            };
            has_rules |= name == rules::FILE_NAME.as_bytes();
            if kind != FileType::Directory || !rules::is_tool_folder(name) {
                items.push(Item { name: name.to_owned(), kind });
            }
        }
        items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let rules = if has_rules { Some(Rules::read(&self.root, &path, above)?) } else { above };
        Ok(Level { path, items: items.into_iter(), rules })
    }

    /// What a file system that does not say so when it lists says when it is asked.
    fn kind_of(&self, folder: &str, name: &[u8]) -> Result<FileType, Error> {
        let path = format!("{folder}/{}", String::from_utf8_lossy(name));
        Ok(FileType::from_raw_mode(self.root.stat(path.trim_start_matches('/'))?.st_mode))
    }
}

fn one_file(from: &Path) -> Level {
    use std::os::unix::ffi::OsStrExt;
    let name = from.file_name().unwrap_or_default().as_bytes().to_owned();
    let items = vec![Item { name, kind: FileType::RegularFile }];
    Level { path: String::new(), items: items.into_iter(), rules: None }
}

/// A root that is no file has to be a folder, or a link to one.
fn check_root(path: &Path, meta: &Metadata) -> Result<(), Error> {
    let is_folder = std::fs::metadata(path).doing("read", path)?.is_dir();
    if is_folder {
        return Ok(());
    }
    Err(Error::Special { path: path.to_owned(), what: special_word(meta.file_type()) })
}

impl Iterator for Source {
    type Item = Result<Vec<Unread>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.draw();
        self.failed = batch.is_err();
        batch.transpose()
    }
}

fn word(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "named pipe",
        FileType::Socket => "socket",
        FileType::BlockDevice => "block device",
        FileType::CharacterDevice => "character device",
        FileType::Directory => "folder, where a file with rules was looked for",
        _ => "thing of no known kind",
    }
}

pub fn special_word(kind: std::fs::FileType) -> &'static str {
    match () {
        () if kind.is_fifo() => word(FileType::Fifo),
        () if kind.is_socket() => word(FileType::Socket),
        () if kind.is_block_device() => word(FileType::BlockDevice),
        () if kind.is_char_device() => word(FileType::CharacterDevice),
        () if kind.is_dir() => word(FileType::Directory),
        () => word(FileType::Unknown),
    }
}
