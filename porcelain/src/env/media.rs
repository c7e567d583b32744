//! What loading yields: where content is, and what it is.

use super::error::Error;
use super::facts::{Facts, ReleaseFacts};
use objects::disk::{self, Context};
use objects::id::{IdentityId, TreeId};
use objects::name::PackageName;
use objects::release::Sha256;
use objects::version::{Channel, Version};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A package found, from which content can be read (O2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MediaInfo {
    /// Its name.
    pub name: PackageName,
    /// Its version; a folder of a person's own has one only if its name says so.
    pub version: Option<Version>,
    /// The channel it was released on.
    pub channel: Option<Channel>,
    /// Whose package it is.
    pub owner: Option<IdentityId>,
    /// Its content.
    pub tree: Option<TreeId>,
    /// SHA-256 of its canonical archive.
    pub sha256: Option<Sha256>,
    /// Where to read: absolute, and the same for as long as this version stands, so that a program
    /// keeps what it opened when the environment is switched (REL-028).
    pub path: PathBuf,
    /// Whether that is a folder or a file.
    pub kind: MediaKind,
    /// Its media type.
    pub media: String,
    /// Bytes of its files; not counted for a folder of a person's own.
    pub size: Option<u64>,
    /// How many files, links and directories.
    pub files: Option<u64>,
    /// Who put it there.
    pub source: MediaSource,
}

/// In what form content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaKind {
    /// A folder.
    Directory,
    /// One file that serves as a package.
    File,
}

/// Who put a package into an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MediaSource {
    /// It was installed, and verified then.
    Installed,
    /// A person put it into `pkgs/` (O8).
    OwnFolder,
}

/// The media type of a folder, as the shared MIME database of freedesktop.org has it.
const FOLDER: &str = "inode/directory";
/// Of a file nothing is known of.
const UNKNOWN: &str = "application/octet-stream";

/// Files that serve as packages, by what their names end in.
const BY_EXTENSION: [(&str, &str); 19] = [
    ("7z", "application/x-7z-compressed"),
    ("appimage", "application/vnd.appimage"),
    ("bz2", "application/x-bzip2"),
    ("deb", "application/vnd.debian.binary-package"),
    ("dmg", "application/x-apple-diskimage"),
    ("epub", "application/epub+zip"),
    ("gz", "application/gzip"),
    ("img", "application/x-raw-disk-image"),
    ("iso", "application/x-iso9660-image"),
    ("jar", "application/java-archive"),
    ("pdf", "application/pdf"),
    ("rpm", "application/x-rpm"),
    ("squashfs", "application/vnd.squashfs"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("wasm", "application/wasm"),
    ("xz", "application/x-xz"),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

fn by_extension(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    BY_EXTENSION.iter().find(|(known, _)| *known == extension).map(|(_, media)| *media)
}

impl MediaInfo {
    /// Of an installed tree that stands in `folder`.
    pub(super) fn of_tree(folder: PathBuf, facts: Facts, release: ReleaseFacts) -> Result<Self, Error> {
        let Facts { name, tree, sha256, size, files, .. } = facts;
        let ReleaseFacts { version, channel, owner, media, .. } = release;
        let file = if files == 1 { only_file(&folder)? } else { None };
        let served = file.and_then(|path| {
            let media = media.clone().or_else(|| by_extension(&path).map(str::to_owned))?;
            Some((path, MediaKind::File, media))
        });
        let as_folder = || (folder, MediaKind::Directory, media.unwrap_or_else(|| FOLDER.to_owned()));
        let (path, kind, media) = served.unwrap_or_else(as_folder);
        Ok(MediaInfo {
            name,
            version: Some(version),
            channel: Some(channel),
            owner: Some(owner),
            tree: Some(tree),
            sha256: Some(sha256),
            path,
            kind,
            media,
            size: Some(size),
            files: Some(files),
            source: MediaSource::Installed,
        })
    }

    /// Of what a person put there themselves: verified by nobody (O8).
    pub(super) fn of_own(name: PackageName, version: Option<Version>, path: PathBuf) -> Self {
        let (kind, media) = match path.is_dir() {
            true => (MediaKind::Directory, FOLDER),
            false => (MediaKind::File, by_extension(&path).unwrap_or(UNKNOWN)),
        };
        MediaInfo {
            name,
            version,
            channel: None,
            owner: None,
            tree: None,
            sha256: None,
            path,
            kind,
            media: media.to_owned(),
            size: None,
            files: None,
            source: MediaSource::OwnFolder,
        }
    }
}

/// The file in a folder that holds it and nothing else.
fn only_file(folder: &Path) -> Result<Option<PathBuf>, disk::Error> {
    let names = disk::list(folder)?;
    let [name] = names.as_slice() else { return Ok(None) };
    let path = folder.join(name);
    let found = path.symlink_metadata().doing("look at", &path)?;
    Ok(found.is_file().then_some(path))
}
