//! Keeping a repository whole and small.

use crate::error::Error;
use crate::session::Session;
use objects::claim::Index;
use objects::fsck::{self, Report};
use objects::id::{ObjectId, TreeId};
use objects::object::Kind;
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::Kind as StatementKind;
use objects::store::gc::{self, Plan, Roots};
use objects::store::pack::writer::Options;
use objects::walk;
use serde::Serialize;
use std::collections::HashSet;

/// Checks a repository.
///
/// # Errors
/// Only if it cannot be looked at; damage is in the report.
pub fn fsck(repository: &Repository, data: bool) -> Result<Report, Error> {
    Ok(fsck::check(repository, fsck::Options { data })?)
}

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
    let heir = gc::apply(repository.store(), &plan, &live, options)?;
    let swept = gc::sweep_staging(repository.store())?;
    let packed_refs = repository.refs().pack()?;
    if repository.summary()?.is_some() {
        repository.write_pack_list(&[], heir)?;
    }
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

fn roots(repository: &Repository) -> Result<Vec<TreeId>, Error> {
    let mut roots = Vec::new();
    for (_, id) in repository.refs().list("refs/")? {
        let Some(envelope) = repository.statements().try_find(id)? else {
            return Err(objects::statements::Error::Missing(id).into());
        };
        let format = |error| Error::from(objects::signed::Error::from(error));
        match envelope.kind() {
            StatementKind::Entry => {
                let entry: Entry = objects::codec::peek(envelope.payload()).map_err(format)?;
                roots.extend(entry.release().map(|release| release.tree));
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
