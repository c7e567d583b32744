//! Pushes of others, held apart until somebody decides (SEC-128).
//!
//! ```text
//! incoming/<id>/            a bare repository: what was pushed, as it was pushed
//! incoming/<id>.<random>/   one that is being received
//! ```
//!
//! The id is the beginning of the pushed index's. What releases the distributor carries already is not among
//! the objects.
//!
//! Promises: nothing in here can be read by clients of the repository, nor is it part of what `fsck` and `gc`
//! look at; there is never more than the caps allow, and each push goes after a day, by the time its summary
//! was written.
//! Leaves to others: who may push ([`super::strangers`]), and what is taken ([`super::accept`]).

use super::settings::Caps;
use crate::error::Error;
use crate::session::clock;
use objects::claim::{Index as IndexHead, Repository as RepositoryName};
use objects::disk;
use objects::id::StatementId;
use objects::repository::{Repository, SUMMARY_KEY};
use objects::summary::Summary;
use objects::time::Timestamp;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Digits of the id of a held push.
const ID_DIGITS: usize = 16;

/// The blocks in which a disk gives room.
const BLOCK_BYTES: u64 = 4 << 10;

/// The pushes that one repository holds.
pub struct Incoming {
    folder: PathBuf,
}

/// A push that is held.
#[derive(Clone, Debug, Serialize)]
pub struct Held {
    /// What it is called here.
    pub id: String,
    /// Whose repository was pushed, and which.
    pub from: RepositoryName,
    /// The number of its index.
    pub index: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// When it came.
    pub since: Timestamp,
    #[serde(skip)]
    path: PathBuf,
}

impl Held {
    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Incoming {
    /// The pushes that `repository` holds.
    pub fn of(repository: &Repository) -> Incoming {
        Incoming { folder: repository.root().join("incoming") }
    }

    /// What a push of `index` is called.
    pub fn id(index: StatementId) -> String {
        index.short(ID_DIGITS)
    }

    /// True for what may be the id of a held push.
    pub fn is_id(text: &str) -> bool {
        text.len() == ID_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    }

    /// The pushes, oldest first. One that cannot be read is left out.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Held>, Error> {
        let names = disk::list(&self.folder)?.into_iter().filter(|name| Incoming::is_id(name));
        let mut held: Vec<Held> = names.filter_map(|name| self.read(name)).collect();
        held.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        Ok(held)
    }

    /// The push `id`, or None.
    pub fn find(&self, id: &str) -> Option<Held> {
        Incoming::is_id(id).then(|| self.read(id.to_owned())).flatten()
    }

    fn read(&self, id: String) -> Option<Held> {
        let path = self.folder.join(&id);
        let bytes = disk::try_read(&path.join(SUMMARY_KEY), objects::limits::SUMMARY_BYTES_MAX).ok()??;
        let summary = Summary::decode(&bytes).ok()?;
        let index: IndexHead = summary.index.envelope().peek().ok()?;
        let since = written(&path.join(SUMMARY_KEY))?;
        Some(Held { id, from: summary.repository, index: index.n, bytes: size(&path), since, path })
    }

    /// A fresh folder to receive a push in, gone when dropped.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn receive(&self, index: StatementId) -> Result<Receiving, Error> {
        make_private(&self.folder)?;
        let prefix = format!("{}.", Incoming::id(index));
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir_in(&self.folder);
        let folder = folder.map_err(|e| disk::Error::new("create folder in", &self.folder, e))?;
        let repository = Repository::init(folder.path())?;
        Ok(Receiving { repository, folder, to: self.folder.join(Incoming::id(index)) })
    }

    /// Drops a push. True if it was there.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn drop_push(&self, id: &str) -> Result<bool, Error> {
        if !Incoming::is_id(id) {
            return Ok(false);
        }
        remove(&self.folder.join(id))
    }

    /// Drops what is held for longer than `caps` allow, and what nobody received to its end in that time.
    /// Gives the ids.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sweep(&self, caps: &Caps) -> Result<Vec<String>, Error> {
        let mut dropped = Vec::new();
        for name in disk::list(&self.folder)? {
            let path = self.folder.join(&name);
            let since = written(&path.join(SUMMARY_KEY)).or_else(|| written(&path));
            let age = since.map_or(u64::MAX, |since| clock().since(since));
            if age >= caps.seconds && remove(&path)? {
                dropped.push(name);
            }
        }
        Ok(dropped)
    }
}

/// A push on its way in.
pub struct Receiving {
    repository: Repository,
    folder: tempfile::TempDir,
    to: PathBuf,
}

impl Receiving {
    /// Where its statements and objects go.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Holds it under its id, in the place of the same push come before.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn hold(self, summary: &Summary) -> Result<(), Error> {
        let Receiving { repository, folder, to } = self;
        repository.write_pack_list(&[], None)?;
        repository.write_summary(summary)?;
        drop(repository);
        remove(&to)?;
        let from = folder.keep();
        fs::rename(&from, &to).map_err(|e| disk::Error::new("rename", &from, e))?;
        Ok(disk::sync_folder(to.parent().unwrap_or(&to))?)
    }
}

/// Makes the folder, closed to everybody but its owner and group: a web server over the repository is neither.
fn make_private(folder: &Path) -> Result<(), disk::Error> {
    #[cfg_attr(not(unix), allow(unused_mut, reason = "there are modes on unix alone"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o770);
    match builder.create(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(|e| disk::Error::new("create", folder, e)),
    }
}

/// Removes a folder. True if it was there.
fn remove(path: &Path) -> Result<bool, Error> {
    match fs::remove_dir_all(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(disk::Error::new("remove", path, error).into()),
    }
}

fn written(path: &Path) -> Option<Timestamp> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Timestamp::new(modified.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// What a file of so many bytes takes: many small ones are not to get around the caps.
pub fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(BLOCK_BYTES)
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes += size(&entry.path()),
            Ok(meta) => bytes += on_disk(meta.len()),
            Err(_) => {}
        }
    }
    bytes
}
