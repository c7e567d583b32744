//! The links in `pkgs/`.
//!
//! Promises: a link is ours exactly if it points at a tree of its own package in `.pkgs/`; nothing
//! else is ever replaced or removed (O8). Links are relative, so an environment can be moved; no
//! path through another link is followed. Each link is made aside and renamed.
//! Leaves to others: which links there are to be ([`super::switch`]).

use super::generation::Installed;
use super::layout::{Cid, LINKS_FOLDER, Layout, tree_path, unique};
use objects::disk::{self, Context};
use objects::name::{self, PackageName};
use objects::version::{self, Channel, Version};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A link in `pkgs/`: `NAME`, or `NAME#[CHANNEL:]VERSION` for a version beside the default one (O9).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName {
    /// Whose link it is.
    pub package: PackageName,
    /// What stands behind `#`: always a version, maybe with its channel.
    edition: Option<String>,
}

impl LinkName {
    /// The link of the default version.
    pub fn of_default(package: &PackageName) -> Self {
        LinkName { package: package.clone(), edition: None }
    }

    /// The link of a version beside it. The channel is part of a version's name unless it is
    /// `release` (O7).
    pub fn of_version(package: &PackageName, channel: &Channel, version: &Version) -> Self {
        let edition = match channel.is_default() {
            true => version.to_string(),
            false => format!("{channel}:{version}"),
        };
        LinkName { package: package.clone(), edition: Some(edition) }
    }

    /// The link that an installed package has.
    pub fn of(installed: &Installed) -> Self {
        match installed.beside {
            false => LinkName::of_default(&installed.name),
            true => LinkName::of_version(&installed.name, &installed.channel, &installed.version),
        }
    }

    /// The channel and version it is named for, if it is not the default one.
    pub fn edition(&self) -> Option<(Channel, Version)> {
        self.edition.as_deref().and_then(|edition| parse_edition(edition).ok())
    }

    /// Where it stands.
    pub(super) fn path(&self, layout: &Layout) -> PathBuf {
        layout.links().join(self.to_string())
    }

    /// The folders it stands in, below `pkgs/`, outermost first.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let name = self.package.as_str();
        name.match_indices('/').map(|(at, _)| &name[..at])
    }

    /// What it says when it points at a tree of its package.
    fn target(&self, cid: &Cid) -> String {
        let up = "../".repeat(self.folders().count() + 1);
        format!("{up}{}", tree_path(&self.package, cid))
    }

    /// The tree that `target` means, if it is one that [`LinkName::target`] wrote.
    fn read_target(&self, target: &Path) -> Option<Cid> {
        let up = "../".repeat(self.folders().count() + 1);
        Cid::from_tree_path(&self.package, target.to_str()?.strip_prefix(&up)?)
    }
}

fn parse_edition(edition: &str) -> Result<(Channel, Version), version::Error> {
    match edition.split_once(':') {
        Some((channel, version)) => Ok((channel.parse()?, version.parse()?)),
        None => Ok((Channel::default(), edition.parse()?)),
    }
}

/// Why a text names no link.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// What stands before `#` is no package name.
    #[error(transparent)]
    Package(#[from] name::Error),
    /// What stands behind it is no version.
    #[error(transparent)]
    Version(#[from] version::Error),
}

impl FromStr for LinkName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let Some((package, edition)) = text.split_once('#') else {
            return Ok(LinkName { package: text.parse()?, edition: None });
        };
        parse_edition(edition)?;
        Ok(LinkName { package: package.parse()?, edition: Some(edition.to_owned()) })
    }
}

impl TryFrom<String> for LinkName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<LinkName> for String {
    fn from(link: LinkName) -> String {
        link.to_string()
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.edition {
            None => write!(f, "{}", self.package),
            Some(edition) => write!(f, "{}#{edition}", self.package),
        }
    }
}

/// What stands where a link would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing.
    Absent,
    /// A link of ours, to this tree.
    Ours(Cid),
    /// A folder.
    Folder,
    /// A file, or a link of somebody else's.
    Other,
}

/// What stands where `link` would. What lies behind another link counts as absent.
pub(super) fn standing(layout: &Layout, link: &LinkName) -> Result<Standing, disk::Error> {
    match blocked_by(layout, link)? {
        None => standing_at(&link.path(layout), |target| link.read_target(target)),
        Some(_) => Ok(Standing::Absent),
    }
}

fn standing_at(path: &Path, ours: impl Fn(&Path) -> Option<Cid>) -> Result<Standing, disk::Error> {
    match std::fs::read_link(path) {
        Ok(target) => Ok(ours(&target).map_or(Standing::Other, Standing::Ours)),
        Err(e) if is_absent(&e) => Ok(Standing::Absent),
        Err(e) if e.kind() == ErrorKind::InvalidInput => {
            let is_folder = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
            Ok(if is_folder { Standing::Folder } else { Standing::Other })
        }
        Err(e) => Err(disk::Error::new("read link", path, e)),
    }
}

/// Names too long for the disk stand nowhere on it.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename)
}

/// The outermost thing that stands where a folder around `link` would and is none.
pub(super) fn blocked_by(layout: &Layout, link: &LinkName) -> Result<Option<PathBuf>, disk::Error> {
    let folders = std::iter::once("").chain(link.folders());
    for folder in folders {
        let path = layout.links().join(folder);
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(Some(layout.root.join(LINKS_FOLDER).join(folder))),
            Err(e) if is_absent(&e) => return Ok(None),
            Err(e) => return Err(disk::Error::new("look at", &path, e)),
        }
    }
    Ok(None)
}

/// Makes or replaces a link, aside first. What stands there has to be absent or ours.
pub(super) fn place(layout: &Layout, link: &LinkName, cid: &Cid) -> Result<(), disk::Error> {
    make_folders(layout, link)?;
    let aside = layout.tmp().join(unique("link"));
    std::os::unix::fs::symlink(link.target(cid), &aside).doing("create link", &aside)?;
    let path = link.path(layout);
    std::fs::rename(&aside, &path).doing("rename to", &path)
}

/// Makes a link where nothing stands; whoever was faster wins.
pub(super) fn place_new(layout: &Layout, link: &LinkName, cid: &Cid) -> Result<(), disk::Error> {
    make_folders(layout, link)?;
    let path = link.path(layout);
    match std::os::unix::fs::symlink(link.target(cid), &path) {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.doing("create link", &path),
    }
}

fn make_folders(layout: &Layout, link: &LinkName) -> Result<(), disk::Error> {
    disk::make_folder(link.path(layout).parent().unwrap_or(&layout.root))
}

/// Removes a link of ours, if it still stands, and the folders around it that are then empty.
pub(super) fn remove(layout: &Layout, link: &LinkName) -> Result<(), disk::Error> {
    match standing(layout, link)? {
        Standing::Ours(_) => disk::remove(&link.path(layout))?,
        Standing::Absent => {}
        Standing::Folder | Standing::Other => return Ok(()),
    }
    if blocked_by(layout, link)?.is_some() {
        return Ok(()); // what would follow leads through a link
    }
    let mut folders: Vec<&str> = link.folders().collect();
    while let Some(folder) = folders.pop() {
        let path = layout.links().join(folder);
        match std::fs::remove_dir(&path) {
            Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => break,
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            removed => removed.doing("remove folder", &path)?,
        }
    }
    Ok(())
}

/// Every name in `pkgs/` that a link of `package` could have. Scans one folder.
pub(super) fn of_package(layout: &Layout, package: &PackageName) -> Result<Vec<LinkName>, disk::Error> {
    let (folder, label) = package.as_str().rsplit_once('/').unwrap_or(("", package.as_str()));
    if blocked_by(layout, &LinkName::of_default(package))?.is_some() {
        return Ok(Vec::new());
    }
    let own =
        |name: &str| name.strip_prefix(label).is_some_and(|rest| rest.is_empty() || rest.starts_with('#'));
    let names = disk::list(&layout.links().join(folder))?;
    let full = names.iter().filter(|name| own(name)).map(|name| match folder {
        "" => name.clone(),
        folder => format!("{folder}/{name}"),
    });
    Ok(full.filter_map(|name| name.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_read_back_from_their_names() {
        for text in ["dict", "acme/web", "dict#1.0.3", "acme/web#nightly:1.0.3-rc.1+linux~2"] {
            let link: LinkName = text.parse().unwrap();
            assert_eq!(link.to_string(), text);
        }
        for text in ["", "dict#", "dict#one", "../dict", "dict#../../x", "dict#1.0.0/x", "dict#Nightly:1.0.0"]
        {
            assert!(text.parse::<LinkName>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_target_is_ours_in_its_own_place_only() {
        let cid = Cid::parse("0123456789abcdef0123456789abcdef").unwrap();
        let [dict, web]: [LinkName; 2] = ["dict", "acme/web#1.0.0"].map(|text| text.parse().unwrap());
        assert_eq!(dict.target(&cid), format!("../.pkgs/dict/dict#{cid}"));
        assert_eq!(web.target(&cid), format!("../../.pkgs/acme~web/acme~web#{cid}"));
        assert_eq!(dict.read_target(Path::new(&dict.target(&cid))), Some(cid.clone()));
        assert_eq!(dict.read_target(Path::new(&web.target(&cid))), None);
        assert_eq!(web.read_target(Path::new(&format!("{}/x", web.target(&cid)))), None);
    }
}
