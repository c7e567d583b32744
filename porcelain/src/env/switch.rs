//! From one generation to the next, as a plan.
//!
//! Promises: a plan changes nothing; whatever stands in the way is an error that names it before
//! anything is changed (O8, SEC-085). A link that is as it was in both generations is left alone
//! even if a person removed it or put a folder of theirs in its place (O6, O8).
//! Leaves to others: carrying it out ([`super::journal`]).

use super::Environment;
use super::edit::WantedText;
use super::error::Error;
use super::generation::Installed;
use super::layout::Cid;
use super::links::{self, LinkName, Standing};
use super::lock::Lockfile;
use super::writer::Staged;
use objects::disk;
use objects::id::TreeId;
use objects::limits::NAME_BYTES_MAX;
use objects::name::PackageName;
use objects::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What an environment is to become.
#[derive(Debug)]
pub struct Change {
    /// The generation the change was made for; if another one stands, it is refused.
    pub base: u64,
    /// Everything that is to stand in it.
    pub packages: Vec<Installed>,
    /// Packages whose links are made again even if a person removed them.
    pub relink: BTreeSet<PackageName>,
    /// The new `pkg.lock`; the old one stays without.
    pub lockfile: Option<Lockfile>,
    /// The new `pkg.cfg.toml`; the old one stays without.
    pub wanted: Option<WantedText>,
    /// A folder that becomes the new `index-db`; the old one stays without.
    pub index_db: Option<Staged>,
    /// The words of the command.
    pub why: String,
    /// The time.
    pub now: Timestamp,
}

impl Change {
    /// A change to other packages and nothing else.
    pub fn of_packages(base: u64, packages: Vec<Installed>, why: impl Into<String>, now: Timestamp) -> Self {
        let why = why.into();
        Change {
            base,
            packages,
            relink: BTreeSet::new(),
            lockfile: None,
            wanted: None,
            index_db: None,
            why,
            now,
        }
    }
}

/// What a change does to `pkgs/`, to be shown before it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// The generation it starts from.
    pub base: u64,
    /// The generation it makes.
    pub number: u64,
    /// What happens to links: removals first.
    pub links: Vec<LinkEdit>,
}

/// What happens to one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkEdit {
    /// The link.
    pub link: LinkName,
    /// The tree it is to point at; none if it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeId>,
}

/// Links and the trees they point at.
type Links = BTreeMap<LinkName, TreeId>;

impl Environment {
    /// What `change` would do to the links.
    ///
    /// # Errors
    /// `Moved` and `Edited` if the change was made for something else than what stands; `SharedPath`
    /// if its packages cannot stand side by side; `InTheWay` if a person put something where a link
    /// has to go; `TooLong` if a link's name is.
    pub fn plan_switch(&self, change: &Change) -> Result<Switch, Error> {
        let current = self.current()?;
        if current.number != change.base {
            return Err(Error::Moved { expected: change.base, found: current.number });
        }
        self.check_unedited(change)?;
        let before = links_of(&current.packages)?;
        self.plan_links(&before, change)
    }

    /// What leads from the links `before` to those of `change`.
    pub(super) fn plan_links(&self, before: &Links, change: &Change) -> Result<Switch, Error> {
        let after = links_of(&change.packages)?;
        let mut removed = Vec::new();
        for link in before.keys().filter(|link| !after.contains_key(link)) {
            if let Standing::Ours(_) = links::standing(&self.layout, link)? {
                removed.push(LinkEdit { link: link.clone(), tree: None });
            }
        }
        let paths: BTreeSet<PathBuf> = removed.iter().map(|edit| edit.link.path(&self.layout)).collect();
        let mut made = Vec::new();
        for (link, tree) in &after {
            let same = before.get(link) == Some(tree) && !change.relink.contains(&link.package);
            if !same && self.is_to_be_made(link, *tree, &paths)? {
                made.push(LinkEdit { link: link.clone(), tree: Some(*tree) });
            }
        }
        removed.append(&mut made);
        Ok(Switch { base: change.base, number: change.base + 1, links: removed })
    }

    /// True if the link has to be made, false if it stands; `removed` is gone by then.
    fn is_to_be_made(
        &self,
        link: &LinkName,
        tree: TreeId,
        removed: &BTreeSet<PathBuf>,
    ) -> Result<bool, Error> {
        let in_the_way = |path: PathBuf| Error::InTheWay { path, package: link.package.clone() };
        if let Some(path) = links::blocked_by(&self.layout, link)? {
            return if removed.contains(&path) { Ok(true) } else { Err(in_the_way(path)) };
        }
        let path = link.path(&self.layout);
        match links::standing(&self.layout, link)? {
            Standing::Absent => Ok(true),
            Standing::Ours(cid) => Ok(cid != Cid::of(tree)),
            Standing::Folder if is_emptied(&path, removed)? => Ok(true),
            Standing::Folder | Standing::Other => Err(in_the_way(path)),
        }
    }

    fn check_unedited(&self, change: &Change) -> Result<(), Error> {
        match &change.wanted {
            Some(wanted) if self.wanted_id()? != wanted.over => {
                Err(Error::Edited { path: self.layout.wanted() })
            }
            _ => Ok(()),
        }
    }
}

/// True if nothing is left in a folder once `removed` is.
fn is_emptied(folder: &Path, removed: &BTreeSet<PathBuf>) -> Result<bool, disk::Error> {
    let names = disk::list(folder)?;
    if names.is_empty() {
        return Ok(false); // an empty folder is somebody's too
    }
    for name in names {
        let path = folder.join(name);
        let is_folder = std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        let gone = removed.contains(&path) || (is_folder && is_emptied(&path, removed)?);
        if !gone {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The links that packages have, checked to stand side by side.
pub(super) fn links_of(packages: &[Installed]) -> Result<Links, Error> {
    let mut links: BTreeMap<LinkName, &Installed> = BTreeMap::new();
    for package in packages {
        let link = LinkName::of(package);
        check_length(&link)?;
        if let Some(other) = links.insert(link.clone(), package) {
            return Err(shared(link.to_string(), other, package));
        }
    }
    check_folders(&links)?;
    Ok(links.into_iter().map(|(link, package)| (link, package.tree)).collect())
}

/// A link `acme` and a link `acme/web` cannot both be.
fn check_folders(links: &BTreeMap<LinkName, &Installed>) -> Result<(), Error> {
    for (link, package) in links {
        for folder in link.folders() {
            let folder = LinkName::of_default(&folder.parse().expect("the labels of a name make names"));
            if let Some(other) = links.get(&folder) {
                return Err(shared(folder.to_string(), other, package));
            }
        }
    }
    Ok(())
}

fn check_length(link: &LinkName) -> Result<(), Error> {
    let bytes = link.to_string().rsplit('/').next().map_or(0, str::len);
    match bytes > NAME_BYTES_MAX {
        true => Err(Error::TooLong { what: format!("link {link}"), bytes, bytes_max: NAME_BYTES_MAX }),
        false => Ok(()),
    }
}

fn shared(path: String, first: &Installed, second: &Installed) -> Error {
    let shown =
        |package: &Installed| format!("{} {} of {}", package.name, package.version, package.owner.nick());
    Error::SharedPath { path, first: shown(first), second: shown(second) }
}
