//! Files that are whole or absent.
//!
//! Promises: what [`write_whole`] returned from survives a power cut; a reader never sees half of
//! it. A failed sync condemns the file: it is removed, never synced again.
//! Leaves to others: what the files mean.
//!
//! Order on disk (THREATS 4): data to a new file, sync, rename, sync of the folder.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A failed operation on a file, with what was tried and where.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}", path.display())]
pub struct Error {
    /// What was tried, as a verb.
    pub doing: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub source: io::Error,
}

impl Error {
    /// Wraps `source` with what was tried and where.
    pub fn new(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Error { doing, path: path.to_owned(), source }
    }

    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "E-NOSPACE",
            io::ErrorKind::FileTooLarge => "E-NOSPACE",
            io::ErrorKind::NotFound => "E-NOTFOUND",
            _ => "E-IO",
        }
    }
}

/// Adds what was tried and where to an `io::Result`.
pub trait Context<T> {
    /// Wraps the error, if there is one.
    ///
    /// # Errors
    /// The one that was there.
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::new(doing, path, source))
    }
}

/// A new file under a name nobody uses, removed when dropped unless it was renamed. It is locked
/// while it is open, so that whoever sweeps leftovers away sees that its writer lives.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    file: File,
    kept: bool,
}

impl Scratch {
    /// Creates `<folder>/<unique><suffix>`, making the folder if it is not there.
    ///
    /// # Errors
    /// If the folder or file cannot be made.
    pub fn create(folder: &Path, suffix: &str) -> Result<Scratch, Error> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!(".{}-{n}{suffix}", std::process::id()));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Ok(file) if is_ours(&file) => return Ok(Scratch { path, file, kept: false }),
                Ok(_) => {} // somebody who sweeps took it for a leftover
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => make_folder(folder)?,
                Err(e) => return Err(Error::new("create", &path, e)),
            }
        }
    }

    /// Where it is for now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Syncs the file and gives it its name. The folder is not synced yet.
    ///
    /// # Errors
    /// If the sync or the rename fails; the file is then removed.
    pub fn keep_as(self, path: &Path) -> Result<(), Error> {
        self.file.sync_all().doing("sync", &self.path)?;
        self.rename(path)
    }

    fn rename(mut self, path: &Path) -> Result<(), Error> {
        fs::rename(&self.path, path).doing("rename to", path)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path); // a leftover is harmless; gc removes it
        }
    }
}

/// Locks a new file; false if somebody had it in hand first, or has removed it. A disk that knows
/// no locks has to do without.
fn is_ours(file: &File) -> bool {
    let locked = !matches!(file.try_lock(), Err(TryLockError::WouldBlock));
    locked && file.metadata().is_ok_and(|meta| meta.nlink() > 0)
}

/// Makes a folder and those above it, to last: what is synced in a folder is lost with it if the folder
/// above does not know it (REL-010).
///
/// # Errors
/// If one of them cannot be made.
pub fn make_folder(path: &Path) -> Result<(), Error> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = folder_of(path);
    make_folder(above)?;
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()), // somebody was quicker
        made => made.doing("create folder", path).and_then(|()| sync_folder(above)),
    }
}

/// Syncs a folder, so that renames in it last.
///
/// # Errors
/// If the system refuses.
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).doing("sync folder", path)
}

/// Writes `bytes` as `path`, aside first, then by a rename.
///
/// # Errors
/// If any step fails; the old file then stands as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_all_whole(&[(path.to_owned(), bytes.to_vec())])
}

/// Writes several files, each whole or not at all, in order: a later one does not appear before an
/// earlier one. Syncing them together costs about as much as syncing one.
///
/// # Errors
/// If any step fails; files that have not appeared by then stand as they were.
pub fn write_all_whole(files: &[(PathBuf, Vec<u8>)]) -> Result<(), Error> {
    files.chunks(TOGETHER_MAX).try_for_each(write_group)
}

/// Replaces the bytes of a file by no more bytes, where it stands: what takes no room on a full disk. Only
/// for files whose readers see by their form if they are torn.
///
/// # Errors
/// If there are more bytes than before, or any step fails.
pub fn cut_down(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    use std::os::unix::fs::FileExt;
    let file = File::options().write(true).open(path).doing("open", path)?;
    if file.metadata().doing("look at", path)?.len() < bytes.len() as u64 {
        return Err(Error::new("write", path, io::ErrorKind::StorageFull.into()));
    }
    file.write_all_at(bytes, 0).doing("write", path)?;
    file.set_len(bytes.len() as u64).doing("cut", path)?;
    file.sync_all().doing("sync", path)
}

fn write_group(files: &[(PathBuf, Vec<u8>)]) -> Result<(), Error> {
    let mut scratches = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        let scratch = Scratch::create(folder_of(path), ".tmp")?;
        scratch.file().write_all(bytes).doing("write", scratch.path())?;
        scratches.push(scratch);
    }
    keep_all(scratches.into_iter().zip(files.iter().map(|(path, _)| path.clone())).collect())
}

/// Writes a file that no process sees half, and of which a power cut may leave anything: for what readers
/// check and can make again.
///
/// # Errors
/// If any step fails.
pub fn write_unsynced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let scratch = Scratch::create(folder_of(path), ".tmp")?;
    scratch.file().write_all(bytes).doing("write", scratch.path())?;
    scratch.rename(path)
}

/// Syncs several files together, gives them their names in order, and syncs their folders.
///
/// # Errors
/// If any step fails; files that have no name by then are removed.
pub fn keep_all(files: Vec<(Scratch, PathBuf)>) -> Result<(), Error> {
    let syncs: Vec<(&File, &Path)> =
        files.iter().map(|(scratch, _)| (scratch.file(), scratch.path())).collect();
    sync_together(&syncs)?;
    let mut folders: Vec<PathBuf> = files.iter().map(|(_, path)| folder_of(path).to_owned()).collect();
    for (scratch, path) in files {
        scratch.rename(&path)?;
    }
    folders.sort();
    folders.dedup();
    let mut open = Vec::with_capacity(folders.len());
    for folder in &folders {
        open.push(File::open(folder).doing("open", folder)?);
    }
    let syncs: Vec<(&File, &Path)> = open.iter().zip(folders.iter().map(PathBuf::as_path)).collect();
    sync_together(&syncs)
}

/// Most files that are open and synced at once.
pub const TOGETHER_MAX: usize = 32;

/// Syncs several open files or folders at once: the file system writes its journal once for all.
///
/// # Errors
/// The first that fails.
pub fn sync_together(files: &[(&File, &Path)]) -> Result<(), Error> {
    let sync = |(file, path): &(&File, &Path)| file.sync_all().doing("sync", path);
    match files {
        [] => Ok(()),
        [only] => sync(only),
        many if many.len() > TOGETHER_MAX => many.chunks(TOGETHER_MAX).try_for_each(sync_together),
        [first, rest @ ..] => std::thread::scope(|scope| {
            let others: Vec<_> = rest.iter().map(|file| scope.spawn(move || sync(file))).collect();
            let mut result = sync(first);
            for other in others {
                result = result.and(other.join().expect("syncing a file does not panic"));
            }
            result
        }),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The bytes of a file, which must not be longer than `bytes_max`; None if it is absent.
///
/// # Errors
/// If it cannot be read, or is longer.
pub fn try_read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
    use std::io::Read;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::new("open", path, e)),
    };
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).doing("read", path)?;
    if bytes.len() > bytes_max {
        let why = io::Error::other(format!("it is longer than {bytes_max} bytes"));
        return Err(Error::new("read", path, why));
    }
    Ok(Some(bytes))
}

/// Removes a file; its absence is fine.
///
/// # Errors
/// If it is there and stays.
pub fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// Makes a lock file, if it is not there, and waits until it is locked for this process alone. The lock
/// ends when the file is dropped, or with the process.
///
/// # Errors
/// If the file cannot be made or locked.
pub fn lock_file(path: &Path) -> Result<File, Error> {
    let file = File::options().create(true).truncate(false).write(true).open(path).doing("open", path)?;
    file.lock().doing("lock", path)?;
    Ok(file)
}

/// The names in a folder, sorted; none if the folder is absent.
///
/// # Errors
/// If the folder cannot be read.
pub fn list(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::new("list", path, e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.doing("list", path)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// A file mapped into memory, to be read only.
pub struct Mapped(memmap2::Mmap);

impl Mapped {
    /// Maps a file that is never changed in place: packs' indexes are written once and renamed.
    ///
    /// # Errors
    /// If the file cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Mapped, Error> {
        let file = File::open(path).doing("open", path)?;
        // SAFETY: the store writes such files once, aside, and never truncates or rewrites them;
        // a file cut by something else before it was opened is refused by its length.
        let map = unsafe { memmap2::Mmap::map(&file) }.doing("map", path)?;
        Ok(Mapped(map))
    }
}

impl std::ops::Deref for Mapped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}
