//! Where damaged files go: `objects/quarantine/`, which no reader looks into.
//!
//! Promises: nothing is deleted and nothing there is overwritten; a file has its old name until the
//! new one is durable.

use crate::disk::{self, Context};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder, as a relative key.
pub const FOLDER: &str = "objects/quarantine";

/// A name that is free for the file `key`: packs by their names, other files by their keys.
fn place_for(root: &Path, key: &str) -> PathBuf {
    let folder = root.join(FOLDER);
    let name = key.strip_prefix("objects/pack/").unwrap_or(key);
    let numbered = (1u32..).map(|n| format!("{name}~{n}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered).map(|name| folder.join(name));
    names.find(|path| fs::symlink_metadata(path).is_err()).expect("some number is free")
}

fn prepare(root: &Path, key: &str) -> Result<(PathBuf, PathBuf), disk::Error> {
    let to = place_for(root, key);
    disk::make_folder(above(&to))?;
    Ok((root.join(key), to))
}

fn above(path: &Path) -> &Path {
    path.parent().expect("a file in a repository lies in a folder")
}

/// Moves the file `key` of a repository aside. Its absence is fine.
///
/// # Errors
/// If the disk refuses.
pub fn set_aside(root: &Path, key: &str) -> Result<(), disk::Error> {
    let (from, to) = prepare(root, key)?;
    match fs::rename(&from, &to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result.doing("set aside", &from)?,
    }
    disk::sync_folder(above(&to))?;
    disk::sync_folder(above(&from))
}

/// Keeps the file `key` aside too, for it is about to be replaced. Its absence is fine.
///
/// # Errors
/// If the disk refuses.
pub fn keep_aside(root: &Path, key: &str) -> Result<(), disk::Error> {
    let (from, to) = prepare(root, key)?;
    match fs::hard_link(&from, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        // A disk without hard links, or a file that may not be linked.
        Err(_) => fs::copy(&from, &to).map(drop).doing("copy aside", &from)?,
    }
    disk::sync_folder(above(&to))
}
