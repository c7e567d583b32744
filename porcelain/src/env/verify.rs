//! Comparing what stands on disk with what was installed.
//!
//! Promises: every file is hashed again, on all cores, in pieces of a chunk; no link is followed.
//! Nothing is changed: what to do about a difference is the caller's ([`super::Writer::replace_with_backup`]).

use super::Environment;
use super::error::Error;
use super::generation::Installed;
use super::layout::Cid;
use objects::disk::{self, Context};
use objects::id::{ObjectId, TreeId};
use objects::object::Find;
use objects::tree::{Entry, Mode};
use objects::{parallel, walk};
use serde::Serialize;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A path that is not as it was installed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Difference {
    /// The path in the package.
    pub path: String,
    /// What is with it.
    pub fault: Fault,
}

/// What is with a path that is not as it was installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It has another content, kind or exec bit.
    Changed,
    /// It is gone.
    Missing,
    /// It came from somewhere else; what is in a folder that did is not listed.
    Extra,
}

/// So many paths are held at once, for the threads to share.
const EXPECTED_MAX: usize = 32 << 10;

/// Bits of a mode that let somebody execute.
const EXEC: u32 = 0o111;

impl Environment {
    /// How the tree of an installed package differs from what `find` knows of it, by path. Needs its
    /// tree and blob objects, no chunks.
    ///
    /// # Errors
    /// `ContentGone` if nothing stands there; `Object` if the objects cannot be had; or the disk
    /// refuses.
    pub fn verify_installed(
        &self,
        installed: &Installed,
        find: &(dyn Find + Sync),
    ) -> Result<Vec<Difference>, Error> {
        let root = self.layout.tree(&installed.name, &Cid::of(installed.tree));
        if !root.is_dir() {
            return Err(Error::ContentGone { name: installed.name.clone(), path: root });
        }
        let mut differences = extra(&root, installed.tree, find)?;
        let mut expected = Vec::new();
        walk::visit::<Error>(find, installed.tree, installed.files, &mut |path, entry| {
            expected.push((path.to_owned(), entry.clone()));
            if expected.len() == EXPECTED_MAX {
                differences.extend(compare(&root, std::mem::take(&mut expected), find)?);
            }
            Ok(())
        })?;
        differences.extend(compare(&root, expected, find)?);
        differences.sort();
        Ok(differences)
    }
}

/// What is in the folder and not in the tree.
fn extra(root: &Path, tree: TreeId, find: &dyn Find) -> Result<Vec<Difference>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), Some(tree))];
    while let Some((folder, tree)) = folders.pop() {
        let entries = tree.map_or(Ok(Vec::new()), |tree| walk::entries(find, tree))?;
        for name in disk::list(&root.join(&folder))? {
            let known = entries.binary_search_by(|entry| entry.name.as_str().cmp(&name));
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let Ok(at) = known else {
                found.push(Difference { path, fault: Fault::Extra });
                continue;
            };
            if root.join(&path).symlink_metadata().is_ok_and(|found| found.is_dir()) {
                let entry = &entries[at];
                folders.push((path, (entry.mode == Mode::Dir).then(|| TreeId::new(entry.id))));
            }
        }
    }
    Ok(found)
}

/// Which of the paths expected are not as they are to be.
fn compare(
    root: &Path,
    expected: Vec<(String, Entry)>,
    find: &(dyn Find + Sync),
) -> Result<Vec<Difference>, Error> {
    let mut differences = Vec::new();
    let work = |(path, entry): (String, Entry)| {
        let fault = fault(&root.join(&path), &entry, find)?;
        Ok(fault.map(|fault| Difference { path, fault }))
    };
    parallel::ordered(parallel::default_jobs(), expected.into_iter(), work, |found: Result<_, Error>| {
        differences.extend(found?);
        Ok::<(), Error>(())
    })?;
    Ok(differences)
}

fn fault(path: &Path, entry: &Entry, find: &dyn Find) -> Result<Option<Fault>, Error> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Some(Fault::Missing));
        }
        Err(e) => return Err(disk::Error::new("look at", path, e).into()),
    };
    let same = match entry.mode {
        Mode::Dir => found.is_dir(),
        Mode::Link => found.is_symlink() && is_same_link(path, entry)?,
        _ => found.is_file() && is_like(&found, entry) && is_same_file(path, entry, find)?,
    };
    Ok((!same).then_some(Fault::Changed))
}

fn is_like(found: &Metadata, entry: &Entry) -> bool {
    found.len() == entry.size && (found.mode() & EXEC != 0) == entry.mode.is_exec()
}

fn is_same_link(path: &Path, entry: &Entry) -> Result<bool, disk::Error> {
    let target = std::fs::read_link(path).doing("read link", path)?;
    Ok(ObjectId::of(target.as_os_str().as_encoded_bytes()) == entry.id)
}

fn is_same_file(path: &Path, entry: &Entry, find: &dyn Find) -> Result<bool, Error> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let mut file = File::options().read(true).custom_flags(flags).open(path).doing("open", path)?;
    let mut bytes = Vec::new();
    for (chunk, len) in walk::pieces(find, entry)? {
        bytes.clear();
        Read::by_ref(&mut file).take(len).read_to_end(&mut bytes).doing("read", path)?;
        if ObjectId::of(&bytes) != chunk.object() {
            return Ok(false);
        }
    }
    Ok(true)
}
