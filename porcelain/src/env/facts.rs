//! What is known of the trees in `.pkgs/`: one small file beside each.
//!
//! Promises: facts stand only beside a tree that was whole and synced, so a tree with facts can be
//! used again. Loading needs them and nothing else. Other releases may have the same content, so
//! they are a list.

use super::Environment;
use super::error::Error;
use super::generation::Installed;
use super::layout::{Cid, FACTS_SUFFIX, Layout, try_read_text};
use objects::disk;
use objects::id::{IdentityId, StatementId, TreeId};
use objects::name::PackageName;
use objects::release::Sha256;
use objects::version::{Channel, Version};
use serde::{Deserialize, Serialize};

const FACTS_BYTES_MAX: usize = 1 << 20;

/// What is known of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    pub name: PackageName,
    pub tree: TreeId,
    pub sha256: Sha256,
    pub size: u64,
    pub files: u64,
    /// The releases that have this content, as they were installed; at least one.
    pub releases: Vec<ReleaseFacts>,
}

/// What is known of one release of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseFacts {
    pub version: Version,
    #[serde(default, skip_serializing_if = "Channel::is_default")]
    pub channel: Channel,
    pub owner: IdentityId,
    pub entry: StatementId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
}

impl From<&Installed> for Facts {
    fn from(installed: &Installed) -> Self {
        let Installed { name, version, channel, owner, entry, tree, sha256, size, files, media, .. } =
            installed.clone();
        let release = ReleaseFacts { version, channel, owner, entry, media };
        Facts { name, tree, sha256, size, files, releases: vec![release] }
    }
}

impl Environment {
    /// The facts of a tree; None if it has none, which is so where it may not be whole.
    ///
    /// # Errors
    /// `Malformed` if they are damaged or speak of another tree.
    pub(super) fn try_facts(&self, name: &PackageName, cid: &Cid) -> Result<Option<Facts>, Error> {
        let path = self.layout.facts(name, cid);
        let Some(text) = try_read_text(&path, FACTS_BYTES_MAX)? else { return Ok(None) };
        let facts: Facts = serde_json::from_str(&text).map_err(|e| Error::json(&path, &e))?;
        let fits = facts.name == *name && Cid::of(facts.tree) == *cid && !facts.releases.is_empty();
        if !fits {
            return Err(Error::malformed(&path, "it speaks of another tree"));
        }
        Ok(Some(facts))
    }

    /// The facts of a tree that has its place, whole; None if it has not.
    pub(super) fn whole_tree(&self, name: &PackageName, tree: TreeId) -> Result<Option<Facts>, Error> {
        let cid = Cid::of(tree);
        let facts = match self.try_facts(name, &cid) {
            Err(Error::Malformed { .. }) => None, // what a power cut left of them
            other => other?,
        };
        Ok(facts.filter(|facts| facts.tree == tree && self.layout.tree(name, &cid).is_dir()))
    }

    /// True if the tree of a package has its place, whole.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn has_tree(&self, name: &PackageName, tree: TreeId) -> Result<bool, Error> {
        Ok(self.whole_tree(name, tree)?.is_some())
    }

    /// The package whose trees stand in a folder of `.pkgs/`.
    pub(super) fn package_of(&self, folder: &str, cid: &Cid) -> Option<PackageName> {
        let path = self.layout.control().join(folder).join(format!("{folder}#{cid}{FACTS_SUFFIX}"));
        let text = try_read_text(&path, FACTS_BYTES_MAX).ok().flatten();
        let facts = text.and_then(|text| serde_json::from_str::<Facts>(&text).ok());
        let plain = || PackageName::from_component(folder.trim_start_matches('~')).ok();
        facts.map(|facts| facts.name).or_else(plain)
    }

    /// The content ids of a package that have facts. Scans one folder.
    pub(super) fn cids(&self, name: &PackageName) -> Result<Vec<Cid>, Error> {
        let names = disk::list(&self.layout.package(name))?;
        let facts = names.iter().filter_map(|name| name.strip_suffix(FACTS_SUFFIX));
        Ok(facts.filter_map(|name| Cid::parse(name.rsplit_once('#')?.1)).collect())
    }
}

/// Notes what `installed` says of its tree beside what is `known` of it, synced later with the tree.
pub(super) fn note(layout: &Layout, installed: &Installed, known: Option<Facts>) -> Result<(), Error> {
    let mut facts = Facts::from(installed);
    if let Some(known) = known {
        if known.releases.contains(&facts.releases[0]) {
            return Ok(());
        }
        let earlier = known.releases.into_iter().filter(|release| release.entry != installed.entry);
        facts.releases.splice(0..0, earlier);
    }
    let mut text = serde_json::to_vec_pretty(&facts).expect("names, numbers and texts fit into JSON");
    text.push(b'\n');
    let path = layout.facts(&facts.name, &Cid::of(facts.tree));
    Ok(layout.write_unsynced(&path, &text)?)
}
