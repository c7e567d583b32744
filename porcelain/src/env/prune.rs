//! Removing what no generation that is kept refers to.
//!
//! Promises: the current generation stays, so does every tree that a link in `pkgs/` points at;
//! backups are a person's and stay. Nothing is removed while a generation that is kept cannot be
//! read. Generations go before the trees they name.

use super::Environment;
use super::error::Error;
use super::journal::remove_folder;
use super::layout::{Cid, FACTS_SUFFIX, Layout, component, is_reserved, unique};
use super::links::{self, Standing};
use super::writer::Writer;
use objects::disk::{self, Context};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};

/// What a prune removes, to be shown before it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Prune {
    /// Numbers of generations.
    pub generations: Vec<u64>,
    /// Trees, by their paths below `.pkgs/`.
    pub trees: Vec<String>,
}

impl Environment {
    /// What would go if the newest `keep` generations were kept; the current one always is.
    ///
    /// # Errors
    /// `Malformed` if a generation that is kept is damaged.
    pub fn plan_prune(&self, keep: usize) -> Result<Prune, Error> {
        let numbers = self.history_numbers()?;
        let (dropped, kept) = numbers.split_at(numbers.len().saturating_sub(keep.max(1)));
        let mut named = HashSet::new();
        for number in kept {
            let packages = self.generation(*number)?.packages;
            named.extend(packages.into_iter().map(|row| (component(&row.name), Cid::of(row.tree))));
        }
        let mut plan = Prune { generations: dropped.to_vec(), trees: Vec::new() };
        for folder in disk::list(&self.layout.control())? {
            if is_reserved(&folder) {
                continue;
            }
            for cid in trees_in(&self.layout, &folder)? {
                let key = (folder.clone(), cid);
                if !named.contains(&key) && !self.is_linked(&key.0, &key.1)? {
                    plan.trees.push(format!("{}/{}#{}", key.0, key.0, key.1));
                }
            }
        }
        Ok(plan)
    }

    /// True if a person has a link to the tree, say one that was repaired.
    fn is_linked(&self, folder: &str, cid: &Cid) -> Result<bool, Error> {
        let Some(name) = self.package_of(folder, cid) else { return Ok(false) };
        for link in links::of_package(&self.layout, &name)? {
            if links::standing(&self.layout, &link)? == Standing::Ours(cid.clone()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All names links were ever given, with the tree of the newest generation that gives them one.
    /// Damaged generations are passed over.
    pub(super) fn links_ever(&self) -> Result<BTreeMap<links::LinkName, objects::id::TreeId>, Error> {
        let mut all = BTreeMap::new();
        for number in self.history_numbers()? {
            let Ok(generation) = self.generation(number) else { continue };
            all.extend(generation.packages.iter().map(|row| (links::LinkName::of(row), row.tree)));
        }
        Ok(all)
    }
}

impl Writer<'_> {
    /// Removes what no generation refers to but the newest `keep`; returns what it removed.
    ///
    /// # Errors
    /// Those of [`Environment::plan_prune`]; or the disk refuses, and the rest goes next time.
    pub fn prune(&self, keep: usize) -> Result<Prune, Error> {
        let plan = self.environment().plan_prune(keep)?;
        let layout = &self.environment().layout;
        for number in &plan.generations {
            disk::remove(&layout.generation(*number))?;
            disk::remove(&layout.generation_lock(*number))?;
        }
        disk::sync_folder(&layout.generations())?;
        plan.trees.iter().try_for_each(|tree| remove_tree(layout, tree))?;
        Ok(plan)
    }
}

/// Facts first, since they say that the tree is whole.
fn remove_tree(layout: &Layout, tree: &str) -> Result<(), disk::Error> {
    let (path, aside) = (layout.control().join(tree), layout.tmp().join(unique("pruned")));
    disk::remove(&layout.control().join(format!("{tree}{FACTS_SUFFIX}")))?;
    std::fs::rename(&path, &aside).doing("rename to", &aside)?;
    if let Some(folder) = path.parent() {
        let _ = std::fs::remove_dir(folder); // other trees stand in it
    }
    remove_folder(&aside)
}

/// The content ids of the trees in a package's folder, whole or not.
fn trees_in(layout: &Layout, folder: &str) -> Result<Vec<Cid>, disk::Error> {
    let path = layout.control().join(folder);
    if !path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Ok(Vec::new());
    }
    let names = disk::list(&path)?;
    let own = |name: &String| Cid::parse(name.strip_prefix(folder)?.strip_prefix('#')?);
    Ok(names.iter().filter_map(own).filter(|cid| path.join(format!("{folder}#{cid}")).is_dir()).collect())
}
