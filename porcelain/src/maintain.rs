//! Keeping a repository small.

use crate::error::Error;
use crate::session::Session;
use objects::claim::Index;
use objects::id::{ObjectId, PackId, TreeId};
use objects::object::{Exists, Kind};
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::Kind as StatementKind;
use objects::store::gc::{self, Plan, Roots};
use objects::store::pack::writer::Options;
use objects::walk;
use serde::Serialize;
use std::collections::HashSet;

/// What a collection did, or would do.
#[derive(Clone, Debug, Serialize)]
pub struct Collected {
    /// Packs removed.
    pub dropped: usize,
    /// Packs whose live objects moved together.
    pub rewritten: usize,
    /// Objects that went.
    pub dead_objects: u64,
    /// Bytes that went, about.
    pub freed_bytes: u64,
    /// Refs gathered into one file.
    pub packed_refs: usize,
    /// True if nothing was changed.
    pub dry_run: bool,
}

/// Drops objects that nothing refers to and that are older than `grace_seconds`; gathers small packs
/// and loose refs.
///
/// # Errors
/// If something that is referred to cannot be read: then nothing is dropped.
pub fn collect(
    session: &Session,
    repository: &Repository,
    grace_seconds: u64,
    dry_run: bool,
) -> Result<Collected, Error> {
    if dry_run {
        let live = live(repository)?;
        let roots = Roots { live: &live, grace_seconds, now: session.now() };
        return Ok(collected(&gc::plan(repository.store(), &roots)?, 0, true));
    }
    let _lock = repository.lock_exclusive()?;
    repository.store().refresh()?;
    let live = live(repository)?;
    let roots = Roots { live: &live, grace_seconds, now: session.now() };
    let plan = gc::plan(repository.store(), &roots)?;
    let options = Options { jobs: session.jobs(), ..Options::default() };
    let heir = gc::rewrite(repository.store(), &plan, &live, options)?;
    if repository.summary()?.is_some() {
        let leaving: Vec<PackId> =
            plan.rewrite.iter().chain(&plan.drop).copied().filter(|id| Some(*id) != heir).collect();
        repository.unlist_packs(&leaving, heir)?;
    }
    gc::clear(repository.store(), &plan, heir)?;
    let swept = gc::sweep_staging(repository.store())?;
    let packed_refs = repository.refs().pack()?;
    let mut collected = collected(&plan, packed_refs, false);
    collected.freed_bytes += swept;
    Ok(collected)
}

fn collected(plan: &Plan, packed_refs: usize, dry_run: bool) -> Collected {
    Collected {
        dropped: plan.drop.len(),
        rewritten: plan.rewrite.len(),
        dead_objects: plan.dead_objects,
        freed_bytes: plan.freed_bytes,
        packed_refs,
        dry_run,
    }
}

/// Every object below a release whose entry is here, and below the newest indexes.
fn live(repository: &Repository) -> Result<HashSet<ObjectId>, Error> {
    let mut seen: HashSet<(Kind, ObjectId)> = HashSet::new();
    for tree in roots(repository)? {
        walk::closure(repository.store(), tree, &mut seen)?;
    }
    Ok(seen.into_iter().map(|(_, id)| id).collect())
}

/// The root of an index, and the releases it lists as far as they are here.
fn listed(repository: &Repository, envelope: &objects::signed::Envelope) -> Result<Vec<TreeId>, Error> {
    let index: Index = objects::codec::peek(envelope.payload()).map_err(objects::signed::Error::from)?;
    let mut trees = vec![index.root];
    let opened = plumbing::index::Index::open(repository.store(), index.root)?;
    for name in opened.names() {
        let versions = opened.record(&name)?.map(|record| record.versions).unwrap_or_default();
        let here = |tree: &TreeId| repository.store().contains(&tree.object());
        trees.extend(versions.iter().map(|row| row.release.tree).filter(here));
    }
    Ok(trees)
}

fn roots(repository: &Repository) -> Result<Vec<TreeId>, Error> {
    let mut roots = Vec::new();
    if let Some(summary) = repository.summary()? {
        roots.extend(listed(repository, summary.index.envelope())?);
    }
    for (name, id) in repository.refs().list("refs/")? {
        let Some(envelope) = repository.statements().try_find(id)? else {
            return Err(objects::statements::Error::Missing(id).into());
        };
        let format = |error| Error::from(objects::signed::Error::from(error));
        match envelope.kind() {
            StatementKind::Entry => {
                let entry: Entry = objects::codec::peek(envelope.payload()).map_err(format)?;
                let tree = entry.release().map(|release| release.tree);
                // The head of a log may be of a release that was published elsewhere.
                let here = |tree: &TreeId| repository.store().contains(&tree.object());
                let is_head = name.as_str().starts_with("refs/packages/");
                roots.extend(tree.filter(|tree| !is_head || here(tree)));
            }
            StatementKind::Index => {
                let index: Index = objects::codec::peek(envelope.payload()).map_err(format)?;
                roots.push(index.root);
            }
            _ => {}
        }
    }
    Ok(roots)
}
