//! What has to be whole: the releases that refs or the index name, and the trees of indexes.
//!
//! An index lists every release of its repository, but a copy may carry only some of them, as a bundle
//! does. So a release counts if a tag names it, or if its tree is here.

use super::Inspection;
use super::statements::{Known, entry_of, index_of, previous_document};
use crate::claim::{GrantsRow, IdentityRow, PackageRecord, VersionRow};
use crate::id::{IdentityId, StatementId, TreeId};
use crate::limits::OBJECT_BYTES_MAX;
use crate::name::PackageName;
use crate::object::{Exists, Find};
use crate::refs::RefName;
use crate::repository::Repository;
use crate::tree::Mode;
use crate::walk;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A tree that has to be whole.
pub(super) struct Root {
    /// What names it, for people.
    pub place: String,
    pub tree: TreeId,
    /// The release, if it is one.
    pub release: Option<Release>,
}

pub(super) struct Release {
    pub name: String,
    pub version: String,
    pub entry: StatementId,
}

/// The packages and identities that an index lists, as far as they can be read.
#[derive(Default)]
pub(crate) struct Listed {
    /// The packages.
    pub packages: Vec<PackageRecord>,
    /// The newest documents of identities.
    pub identities: Vec<(IdentityId, StatementId)>,
    /// The newest grants of those who grant.
    pub grants: Vec<(IdentityId, StatementId)>,
}

/// Reads the index under `root`. What cannot be read is left out; connectivity tells of it.
pub(crate) fn listed(find: &dyn Find, root: TreeId) -> Listed {
    let mut listed = Listed::default();
    for folder in walk::entries(find, root).unwrap_or_default().iter().filter(|entry| entry.mode == Mode::Dir)
    {
        for entry in walk::entries(find, TreeId::new(folder.id)).unwrap_or_default() {
            let Ok(bytes) = walk::read_file(find, &entry, OBJECT_BYTES_MAX as u64) else { continue };
            match folder.name.as_str() {
                "packages" => listed.packages.extend(PackageRecord::decode(&bytes)),
                "identities" => {
                    let row = IdentityRow::decode(&bytes).ok().zip(entry.name.as_str().parse().ok());
                    listed.identities.extend(row.map(|(row, id)| (id, row.document)));
                }
                "grants" => {
                    let row = GrantsRow::decode(&bytes).ok().zip(entry.name.as_str().parse().ok());
                    listed.grants.extend(row.map(|(row, id)| (id, row.document)));
                }
                _ => {}
            }
        }
    }
    listed
}

/// All roots; notes releases whose entry or tag is lost.
pub(super) fn gather(
    repository: &Repository,
    known: &Known,
    refs: &BTreeMap<RefName, StatementId>,
    index: Option<TreeId>,
    found: &mut Inspection,
) -> Vec<Root> {
    let mut roots: Vec<Root> = Vec::new();
    let mut trees: HashSet<TreeId> = HashSet::new();
    let heads = refs.iter().filter(|(name, _)| name.as_str().starts_with("refs/index/"));
    let heads = heads.filter_map(|(name, id)| Some((name.to_string(), index_of(known.get(id)?)?.root)));
    for (place, tree) in index.map(|tree| ("summary".to_owned(), tree)).into_iter().chain(heads) {
        if trees.insert(tree) {
            roots.push(Root { place, tree, release: None });
        }
    }
    let mut tagged: HashSet<StatementId> = HashSet::new();
    for (name, id) in refs.iter().filter(|(name, _)| name.as_str().starts_with("refs/tags/")) {
        tagged.insert(*id);
        match known.get(id).and_then(entry_of) {
            Some(entry) => roots.extend(entry.release().map(|release| {
                trees.insert(release.tree);
                root(&entry.name, &release.version, *id, release.tree)
            })),
            None if !known.contains_key(id) => lost_entry(name, *id, found),
            None => {}
        }
    }
    let Some(index) = index else { return roots };
    let listed = listed(&repository.store() as &dyn Find, index);
    lost_documents(repository, &listed, known, found);
    for record in listed.packages {
        for row in &record.versions {
            let (release, here) = (&row.release, repository.store().contains(&row.release.tree.object()));
            if here && !tagged.contains(&row.entry) && !tagged.is_empty() {
                let place = format!("refs/tags/{}/{}", record.owner.to_hex(), record.name.to_component());
                found
                    .report
                    .find(format!("{place}/{}", release.version), "the index lists it, but it is lost");
            }
            if !tagged.contains(&row.entry) && (here || packs_are_lost(found)) && trees.insert(release.tree) {
                roots.push(root(&record.name, &release.version, row.entry, release.tree));
            }
        }
    }
    roots
}

/// Documents that the index names for the releases that are here, and that are not here themselves, with those
/// before them: without them, a reader cannot tell who may act for whom.
fn lost_documents(repository: &Repository, listed: &Listed, known: &Known, found: &mut Inspection) {
    let mut concerned: BTreeSet<IdentityId> = BTreeSet::new();
    let mut heads: BTreeSet<StatementId> = BTreeSet::new();
    for record in &listed.packages {
        let here = |row: &VersionRow| repository.store().contains(&row.release.tree.object());
        let signers = record.versions.iter().filter(|row| here(row)).map(|row| row.signer);
        let signers: Vec<IdentityId> = signers.collect();
        if signers.iter().any(|signer| *signer != record.owner) {
            // Who acts for whom shows only in the grants.
            heads.extend(listed.grants.iter().map(|(_, document)| *document));
            concerned.extend(listed.grants.iter().map(|(issuer, _)| *issuer));
        }
        concerned.extend(signers.first().map(|_| record.owner));
        concerned.extend(signers);
    }
    let identities = listed.identities.iter().filter(|(id, _)| concerned.contains(id));
    heads.extend(identities.map(|(_, document)| *document));
    for head in heads {
        let mut next = Some(head);
        while let Some(id) = next {
            let Some(envelope) = known.get(&id) else {
                found.report.find(crate::statements::key(id), "the index names it, but it is not here");
                found.damage.missing.insert(id);
                break;
            };
            next = previous_document(envelope);
        }
    }
}

/// True if what is not here may have been.
fn packs_are_lost(found: &Inspection) -> bool {
    let damage = &found.damage;
    !damage.packs.is_empty() || !damage.orphans.is_empty() || damage.pack_list
}

fn root(name: &PackageName, version: &crate::version::Version, entry: StatementId, tree: TreeId) -> Root {
    let release = Release { name: name.to_string(), version: version.to_string(), entry };
    Root { place: format!("{name} {version} ({})", entry.short(12)), tree, release: Some(release) }
}

/// A tag whose entry is lost: its name tells which release that was.
fn lost_entry(name: &RefName, entry: StatementId, found: &mut Inspection) {
    let mut parts = name.as_str().rsplit('/');
    let (version, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let package = PackageName::from_component(package).map_or(package.to_owned(), |name| name.to_string());
    found.report.releases += 1;
    let (version, paths) = (version.to_owned(), Vec::new());
    found.report.lost_releases.push(super::LostRelease { name: package, version, entry, paths, more: false });
}
