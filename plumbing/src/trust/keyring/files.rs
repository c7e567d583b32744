//! Files that hold secrets: who may read them, and how they come into being.

use super::error::{Error, Fault};
use objects::disk::{self, Context as _};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use zeroize::Zeroizing;

/// Longest key file, in bytes; both forms take less than half of it.
const FILE_BYTES_MAX: u64 = 4096;

/// Makes the folder, for its owner alone, if it is not there.
pub(super) fn make_folder(folder: &Path) -> Result<(), disk::Error> {
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        disk::make_folder(above)?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.doing("create folder", folder),
    }
}

/// Refuses a folder in which another user could exchange the keys.
pub(super) fn check_folder(folder: &Path) -> Result<(), Error> {
    let found = fs::metadata(folder).doing("look at", folder)?;
    if !found.is_dir() {
        return Err(unsafe_path(folder, Fault::NotFolder));
    }
    check_owner(folder, &found)?;
    if found.mode() & 0o022 != 0 {
        return Err(unsafe_path(folder, Fault::Writable));
    }
    Ok(())
}

/// The text of a key file; None if it is absent. The file that was checked is the file that is read.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, Error> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags are an int");
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Err(unsafe_path(path, Fault::Link));
        }
        opened => opened.doing("open", path)?,
    };
    let found = file.metadata().doing("look at", path)?;
    if !found.is_file() {
        return Err(unsafe_path(path, Fault::NotFile));
    }
    check_owner(path, &found)?;
    if found.mode() & 0o077 != 0 {
        return Err(unsafe_path(path, Fault::Mode));
    }
    read_text(file, path).map(Some)
}

fn read_text(file: File, path: &Path) -> Result<Zeroizing<String>, Error> {
    // Reserved at once: a buffer that grew would leave copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(FILE_BYTES_MAX as usize + 1));
    let malformed = |why| Error::Malformed { path: path.to_owned(), why };
    match file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text) {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(malformed("it is not text"));
        }
        read => read.doing("read", path)?,
    };
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(malformed("it is longer than any key file"));
    }
    Ok(text)
}

/// The first line of a file that holds a passphrase. A plain file has to be the user's or root's, and theirs
/// alone; what comes through a pipe has been let out already by whoever writes it.
pub(super) fn read_passphrase(path: &Path) -> Result<Zeroizing<String>, Error> {
    let file = File::open(path).doing("open", path)?;
    let found = file.metadata().doing("look at", path)?;
    if found.is_file() {
        if found.uid() != 0 {
            check_owner(path, &found)?;
        }
        if found.mode() & 0o077 != 0 {
            return Err(unsafe_path(path, Fault::Mode));
        }
    }
    let text = read_text(file, path)?;
    let end = text.find(['\r', '\n']).unwrap_or(text.len());
    Ok(Zeroizing::new(text[..end].to_owned()))
}

/// Writes a new file for its owner alone. It is written aside and linked into place, which fails if
/// the name is taken, where a rename would replace.
///
/// # Errors
/// `AlreadyExists` if the name is taken.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<(), disk::Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut file_name = std::ffi::OsString::from(".");
    file_name.push(path.file_name().expect("a key file has a name"));
    file_name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let aside = path.with_file_name(file_name);
    let written = write_aside(&aside, bytes).and_then(|()| fs::hard_link(&aside, path).doing("create", path));
    let removed = disk::remove(&aside);
    written.and(removed)?;
    disk::sync_folder(path.parent().unwrap_or(Path::new(".")))
}

fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), disk::Error> {
    disk::remove(path)?; // what a killed process with our number left
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = opened.doing("create", path)?;
    file.write_all(bytes).doing("write", path)?;
    file.sync_all().doing("sync", path)
}

fn check_owner(path: &Path, found: &Metadata) -> Result<(), Error> {
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(unsafe_path(path, Fault::Owner));
    }
    Ok(())
}

fn unsafe_path(path: &Path, why: Fault) -> Error {
    Error::Unsafe { path: path.to_owned(), why }
}
