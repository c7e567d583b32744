//! A bare repository in a folder: on this disk, on a mounted share, on a stick.
//!
//! Promises: every file is opened beneath the folder's own handle and no link is followed, so that nothing outside is read or
//! written whatever others do inside (SEC-006). A written file is there whole, and survives a power cut, once the call returned:
//! aside, sync, rename, sync of the folder.
//! Leaves to others: who may write to the folder. Names that start with a dot are ours: `.aside-*` while a file is written,
//! `.swap.lock` beside files that are swapped.

mod aside;
mod beneath;

use std::{
    fs::File,
    io::{self, Read, Write},
    ops::Range,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};

use self::{aside::Aside, beneath::Beneath};
use super::{Bare, BareWrite, Error, Key};

const LOCK: &str = ".swap.lock";
const COPY_BYTES: usize = 256 << 10;

/// A folder of keyed files.
#[derive(Debug)]
pub struct Folder {
    root: Beneath,
    path: PathBuf,
}

impl Folder {
    /// Opens a folder that is there. `path` itself may lead through links; nothing beneath it may.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Io`] if it is no folder or may not be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        match Beneath::open(&path) {
            Ok(root) => Ok(Self { root, path }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::NotFound { at: show(&path) }),
            Err(e) => Err(Error::io(&show(&path), "open")(e)),
        }
    }

    /// Opens a folder, making it and those above it if they are not there.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        std::fs::create_dir_all(&path).map_err(Error::io(&show(&path), "create"))?;
        Self::open(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes what writers that were killed left behind, and tells how many files that were. Running writers are not disturbed.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sweep(&self) -> Result<u64, Error> {
        let mut swept = 0;
        self.visit("", &mut |folder, name, path| {
            if aside::is_aside(name) && aside::sweep(folder, name).map_err(Error::io(path, "remove"))? {
                swept += 1;
            }
            Ok(())
        })?;
        Ok(swept)
    }

    fn at(&self, key: &Key) -> String {
        key.at(&self.source())
    }

    /// The file and its length; `None` for absent files and for folders.
    fn open_file(&self, key: &Key) -> Result<Option<(File, u64)>, Error> {
        // Without NONBLOCK a named pipe put there by somebody else would hang us.
        let opened = self.root.open_file(key.as_str(), OFlags::RDONLY | OFlags::NONBLOCK);
        let Some(file) = opened.map_err(|e| self.open_error(key, e))? else {
            return Ok(None);
        };
        let metadata = file.metadata().map_err(Error::io(&self.at(key), "read"))?;
        if metadata.is_dir() {
            return Ok(None);
        }
        if !metadata.is_file() {
            return Err(Error::NotAFile { at: self.at(key) });
        }
        Ok(Some((file, metadata.len())))
    }

    fn open_error(&self, key: &Key, error: io::Error) -> Error {
        let refused = [rustix::io::Errno::LOOP, rustix::io::Errno::XDEV, rustix::io::Errno::NXIO];
        match rustix::io::Errno::from_io_error(&error) {
            Some(errno) if refused.contains(&errno) => Error::NotAFile { at: self.at(key) },
            _ => Error::io(&self.at(key), "open")(error),
        }
    }

    /// The folder that a key lies in, made if it is not there.
    fn make_parent(&self, key: &Key) -> Result<OwnedFd, Error> {
        self.root.make_folder(key.split().0).map_err(|e| self.open_error(key, e))
    }

    fn put(&self, folder: &OwnedFd, key: &Key, bytes: &mut dyn Read) -> Result<(), Error> {
        let at = self.at(key);
        let aside = Aside::create(folder).map_err(Error::io(&at, "write"))?;
        copy(&at, bytes, aside.file())?;
        aside.publish(key.split().1).map_err(Error::io(&at, "write"))
    }

    /// Calls `each(folder, name, path)` for every file beneath `prefix`, in no order.
    fn visit(&self, prefix: &str, each: &mut Visitor<'_>) -> Result<(), Error> {
        let opened = self.root.open_folder(prefix).map_err(Error::io(&self.source(), "list"))?;
        let Some(folder) = opened else { return Ok(()) };
        for (name, kind) in read_folder(&folder).map_err(Error::io(&self.source(), "list"))? {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            match kind {
                FileType::Directory if Key::new(&path).is_ok() => self.visit(&path, each)?,
                FileType::RegularFile => each(&folder, &name, &path)?,
                _ => {}
            }
        }
        Ok(())
    }
}

type Visitor<'a> = dyn FnMut(&OwnedFd, &str, &str) -> Result<(), Error> + 'a;

impl Bare for Folder {
    fn source(&self) -> String {
        show(&self.path)
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some((file, size)) = self.open_file(key)? else {
            return Ok(None);
        };
        let mut bytes = Vec::with_capacity(size.min(bytes_max) as usize);
        // One more than allowed, so that a file that grows while we read is noticed.
        let read = (&file).take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(Error::io(&self.at(key), "read"))?;
        if size > bytes_max || bytes.len() as u64 > bytes_max {
            return Err(Error::TooLong { at: self.at(key), bytes_max });
        }
        Ok(Some(bytes))
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        Ok(self.open_file(key)?.map(|(_, size)| size))
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let (file, size) = self.open_file(key)?.ok_or_else(|| Error::NotFound { at: self.at(key) })?;
        let short = || Error::Short { at: self.at(key), end: range.end };
        if size < range.end {
            return Err(short());
        }
        let length = usize::try_from(range.end - range.start).map_err(|_| short())?;
        let mut bytes = vec![0; length];
        match file.read_exact_at(&mut bytes, range.start) {
            Ok(()) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(short()),
            Err(e) => Err(Error::io(&self.at(key), "read")(e)),
        }
    }
}

impl BareWrite for Folder {
    fn write(&self, key: &Key, bytes: &mut dyn Read) -> Result<(), Error> {
        let folder = self.make_parent(key)?;
        self.put(&folder, key, bytes)
    }

    fn swap(&self, key: &Key, expected: Option<&[u8]>, new: &[u8]) -> Result<(), Error> {
        let folder = self.make_parent(key)?;
        let _held = lock(&folder).map_err(Error::io(&self.at(key), "lock"))?;
        let bytes_max = expected.map_or(0, <[u8]>::len) as u64;
        let found = match self.try_read(key, bytes_max) {
            Err(Error::TooLong { at, .. }) => return Err(Error::Conflict { at }),
            found => found?,
        };
        if found.as_deref() != expected {
            return Err(Error::Conflict { at: self.at(key) });
        }
        self.put(&folder, key, &mut &*new)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Key, u64)>, Error> {
        let mut found = Vec::new();
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() && Key::new(folder).is_err() {
            return Ok(found);
        }
        self.visit(folder, &mut |parent, name, path| {
            let Some(key) = Key::new(path).ok().filter(|_| path.starts_with(prefix)) else {
                return Ok(());
            };
            match rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push((key, stat.st_size as u64)),
                Err(rustix::io::Errno::NOENT) => {} // deleted meanwhile
                Err(e) => return Err(Error::io(&self.at(&key), "read")(e.into())),
            }
            Ok(())
        })?;
        found.sort();
        Ok(found)
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        let (folder, name) = key.split();
        let Some(folder) = self.root.open_folder(folder).map_err(|e| self.open_error(key, e))? else {
            return Ok(());
        };
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) => rustix::fs::fsync(&folder).map_err(|e| Error::io(&self.at(key), "remove")(e.into())),
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::ISDIR) => Ok(()),
            Err(e) => Err(Error::io(&self.at(key), "remove")(e.into())),
        }
    }
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Copies to the end, telling trouble with the source apart from trouble with the disk.
fn copy(at: &str, from: &mut dyn Read, mut to: &File) -> Result<(), Error> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n]).map_err(Error::io(at, "write"))?,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Error::from_input(at, e)),
        }
    }
}

/// The lock under which files of one folder are swapped; a killed holder frees it.
fn lock(folder: &OwnedFd) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(folder, LOCK, flags, Mode::from_raw_mode(0o644))?);
    file.lock()?;
    Ok(file)
}

/// The entries of a folder whose names are text, with what they are; the kind is looked up where the disk does not tell.
fn read_folder(folder: &OwnedFd) -> io::Result<Vec<(String, FileType)>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(_) => continue,
            },
            known => known,
        };
        entries.push((name.to_owned(), kind));
    }
    Ok(entries)
}
