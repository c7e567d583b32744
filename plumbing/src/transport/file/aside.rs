//! Files that are being written, beside the place where they will stand.
//!
//! Promises: until [`Aside::publish`] succeeds nothing is seen, and dropping takes the file away. A writer holds a lock on its file
//! while it lives, so that [`sweep`] can tell the leftovers of the killed from the work of the living without any clock.
//! Leaves to others: what is written.

use std::{
    fs::{File, TryLockError},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

const PREFIX: &str = ".aside-";

/// A file being written.
pub(super) struct Aside<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
    published: bool,
}

impl<'a> Aside<'a> {
    pub(super) fn create(folder: &'a OwnedFd) -> io::Result<Self> {
        loop {
            let name = fresh_name()?;
            let file = match create(folder, &name) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                created => created?,
            };
            let aside = Self { folder, name, file, published: false };
            // A sweeper may have come between the making and the locking. It has then removed the file.
            if aside.file.try_lock().is_ok() && aside.file.metadata()?.nlink() == 1 {
                return Ok(aside);
            }
        }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Makes what was written durable and visible as `name`, in place of what stood there.
    pub(super) fn publish(mut self, name: &str) -> io::Result<()> {
        self.file.sync_all()?;
        rustix::fs::renameat(self.folder, &self.name, self.folder, name)?;
        self.published = true;
        Ok(rustix::fs::fsync(self.folder)?)
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        if !self.published {
            let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

pub(super) fn is_aside(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Removes a leftover; false if a living writer holds it or it is gone.
pub(super) fn sweep(folder: &OwnedFd, name: &str) -> io::Result<bool> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        opened => File::from(opened?),
    };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(e)) => return Err(e),
        Ok(()) => {}
    }
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(false),
        removed => Ok(removed.map(|()| true)?),
    }
}

fn create(folder: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644))?))
}

fn fresh_name() -> io::Result<String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{PREFIX}{}", hex::encode(random)))
}
