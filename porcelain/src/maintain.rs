//! Keeping a repository small.

use crate::distribute::incoming::Incoming;
use crate::distribute::settings::Settings;
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::ledger;
use crate::publish::tag_ref;
use crate::session::Session;
use objects::claim::Index;
use objects::id::{IdentityId, PackId, TreeId};
use objects::name::PackageName;
use objects::object::Exists;
use objects::refs::{RefName, reflog};
use objects::release::{Entry, Release};
use objects::repository::Repository;
use objects::signed::Kind as StatementKind;
use objects::store::gc::{self, Plan, Roots};
use objects::store::pack::writer::Options;
use objects::store::repack;
use objects::version::Version;
use objects::walk::{self, Seen};
use serde::Serialize;
use std::collections::BTreeMap;

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
    /// Releases that were let go because there was more than wanted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub let_go: Vec<String>,
    /// True if nothing was changed.
    pub dry_run: bool,
}

/// Lets go of releases in the user's store that were not used for longest, until the rest takes at most
/// `bytes_max`; then collects. Gives what [`collect`] gives, and which releases went.
///
/// # Errors
/// `Usage` if the repository is not the user's store: elsewhere releases are not a cache. Those of
/// [`collect`].
pub fn trim(
    session: &Session,
    repository: &Repository,
    bytes_max: u64,
    grace_seconds: u64,
    dry_run: bool,
) -> Result<Collected, Error> {
    if repository.root() != session.store()?.root() {
        return Err(Error::usage(
            format!("{} is no cache: what it holds may be nowhere else", repository.root().display()),
            "--max-size is for your own store; leave --repo away, or leave --max-size away",
        ));
    }
    let let_go = {
        let _lock = repository.lock_exclusive()?;
        crate::cache::trim(session, bytes_max, dry_run)?
    };
    let collected = collect(session, repository, grace_seconds, dry_run)?;
    Ok(Collected { let_go, ..collected })
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
        let plan = gc::plan(repository.store(), roots(session, repository, grace_seconds)?)?;
        return Ok(collected(&plan, 0, true));
    }
    let _lock = repository.lock_exclusive()?;
    repository.refs().settle()?; // or what a killed process was about to name would go
    let plan = gc::plan(repository.store(), roots(session, repository, grace_seconds)?)?;
    let options = Options { jobs: session.jobs(), ..Options::default() };
    drop_packs(repository, &plan.drop, None)?; // first: a full disk gets room to rewrite the others (REL-014)
    let heir = gc::rewrite(repository.store(), &plan, options)?;
    drop_packs(repository, &plan.replaced(heir), heir)?;
    repository.store().write_multi_index()?;
    let swept = gc::sweep_staging(repository.store())?;
    Incoming::of(repository).sweep(&Settings::read(repository)?.caps)?;
    let packed_refs = repository.refs().pack()?;
    let mut collected = collected(&plan, packed_refs, false);
    collected.freed_bytes += swept;
    Ok(collected)
}

/// Removes packs, from the list a plain mirror shows too; `heir` stands in for them.
fn drop_packs(repository: &Repository, leaving: &[PackId], heir: Option<PackId>) -> Result<(), Error> {
    if !leaving.is_empty() && repository.summary()?.is_some() {
        repository.unlist_packs(leaving, heir)?;
    }
    Ok(gc::remove_packs(repository.store(), leaving)?)
}

fn collected(plan: &Plan, packed_refs: usize, dry_run: bool) -> Collected {
    Collected {
        dropped: plan.drop.len(),
        rewritten: plan.rewrite.len(),
        dead_objects: plan.dead_objects,
        freed_bytes: plan.freed_bytes,
        packed_refs,
        let_go: Vec::new(),
        dry_run,
    }
}

fn roots(session: &Session, repository: &Repository, grace_seconds: u64) -> Result<Roots, Error> {
    let mut seen = Seen::default();
    let unshown = unshown(session, repository)?;
    for tree in histories(repository)?.into_iter().flatten().chain(unshown) {
        walk::mark(repository.store(), tree, &mut seen)?;
    }
    Ok(Roots { live: seen.into_ids(), grace_seconds, now: session.now() })
}

/// What this machine signed for the repository last: a publication that was killed before a ref named it
/// is completed by the next one, which needs its content (REL-043).
fn unshown(session: &Session, repository: &Repository) -> Result<Vec<TreeId>, Error> {
    let mut trees = Vec::new();
    for signed in ledger::newest_for(session, repository)? {
        let tree = match signed.kind() {
            StatementKind::Entry => signed.peek::<Entry>()?.release().map(|release| release.tree),
            StatementKind::Index => Some(signed.peek::<Index>()?.root),
            _ => None,
        };
        if let Some(tree) = tree.filter(|tree| repository.store().contains(&tree.object()))
            && walk::is_whole(repository.store(), tree)?
        {
            trees.push(tree);
        }
    }
    Ok(trees)
}

/// The releases of each package that refs name or an index lists, the newest version first; the indexes
/// themselves last. All of them are to be kept.
pub(crate) fn histories(repository: &Repository) -> Result<Vec<Vec<TreeId>>, Error> {
    let mut packages: Packages = BTreeMap::new();
    let mut indexes = Vec::new();
    if let Some(summary) = repository.summary()? {
        indexes.push(summary.index.envelope().peek::<Index>()?.root);
    }
    for (name, id) in repository.refs().list("refs/")? {
        let Some(envelope) = repository.statements().try_find(id)? else {
            return Err(objects::statements::Error::Missing(id).into());
        };
        match envelope.kind() {
            StatementKind::Entry => {
                // The head of a log may be of a release that was published elsewhere.
                let is_head = name.as_str().starts_with("refs/packages/");
                let entry = envelope.peek::<Entry>()?;
                if let Some(release) = entry.release().filter(|release| !is_head || here(repository, release))
                {
                    let history = packages.entry((entry.owner, entry.name.clone())).or_default();
                    history.insert(release.version.clone(), release.tree);
                }
            }
            StatementKind::Index => indexes.push(envelope.peek::<Index>()?.root),
            _ => {}
        }
    }
    indexes.sort();
    indexes.dedup();
    for root in &indexes {
        add_listed(repository, *root, &mut packages)?;
    }
    let mut histories: Vec<Vec<TreeId>> =
        packages.into_values().map(|versions| versions.into_values().rev().collect()).collect();
    histories.extend(indexes.into_iter().map(|root| vec![root]));
    Ok(histories)
}

/// The trees of every package, by version.
type Packages = BTreeMap<(IdentityId, PackageName), BTreeMap<Version, TreeId>>;

/// Adds the releases an index lists that no ref names, if all of them is here: one whose ref was lost is
/// not lost with it; of one that is still being fetched there is nothing to keep.
fn add_listed(repository: &Repository, root: TreeId, packages: &mut Packages) -> Result<(), Error> {
    let opened = plumbing::index::Index::open(repository.store(), root)?;
    for name in opened.names() {
        let Some(record) = opened.record(&name)? else { continue };
        for row in &record.versions {
            let history = packages.entry((record.owner, name.clone())).or_default();
            let release = &row.release;
            let is_named = history.contains_key(&release.version);
            let tag = tag_ref(record.owner, &name, &release.version);
            if !is_named
                && here(repository, release)
                && !was_let_go(repository, &tag)?
                && walk::is_whole(repository.store(), release.tree)?
            {
                history.insert(release.version.clone(), release.tree);
            }
        }
    }
    Ok(())
}

/// True if a ref was removed on purpose, as its log says.
fn was_let_go(repository: &Repository, tag: &RefName) -> Result<bool, Error> {
    let (lines, _) = reflog::read(repository.root(), tag)?;
    Ok(lines.last().is_some_and(|line| line.new.is_none()))
}

fn here(repository: &Repository, release: &Release) -> bool {
    repository.store().contains(&release.tree.object())
}

/// Most packs a repository has before small ones are joined in passing.
const PACKS_MAX: usize = 16;

/// What a repacking did.
#[derive(Clone, Debug, Serialize)]
pub struct Repacked {
    /// Packs before.
    pub packs_before: usize,
    /// Packs after.
    pub packs_after: usize,
    /// Bytes of packs before.
    pub bytes_before: u64,
    /// Bytes of packs after.
    pub bytes_after: u64,
    /// Frames that are stored as deltas.
    pub delta_frames: usize,
}

/// How a repository is to be packed anew.
#[derive(Clone, Copy, Debug)]
pub enum Packing {
    /// Small packs are joined as they are, so that there are few.
    Geometric,
    /// Everything is compressed anew at this zstd level, old versions as deltas.
    Full(i32),
}

/// Packs a repository anew. Nothing is dropped: that is `gc`'s, which knows when nobody is adding.
///
/// # Errors
/// If an object is missing or damaged, or the disk refuses; the old packs then stand.
pub fn repack(
    session: &Session,
    repository: &Repository,
    packing: Packing,
    reporter: &dyn Reporter,
) -> Result<Repacked, Error> {
    let (packs_before, bytes_before) = packs_of(repository);
    let repacked = {
        let _lock = repository.lock_shared()?; // holds off gc; who publishes meanwhile adds a pack of their own
        let options = |level| Options { jobs: session.jobs(), level };
        match packing {
            Packing::Geometric => {
                let packs = repack::unbalanced(repository.store());
                repack::gather(repository.store(), &packs, options(Options::default().level))?
            }
            Packing::Full(level) => full(repository, options(level), reporter)?,
        }
    };
    let lock = repository.lock_exclusive()?;
    replace(repository, &repacked)?;
    drop(lock);
    let (packs_after, bytes_after) = packs_of(repository);
    let packs = repository.store().packs();
    let rows = packs.iter().flat_map(|pack| pack.table().frames());
    let delta_frames = rows.filter(|row| !row.base.is_empty()).count();
    Ok(Repacked { packs_before, packs_after, bytes_before, bytes_after, delta_frames })
}

fn full(
    repository: &Repository,
    options: Options,
    reporter: &dyn Reporter,
) -> Result<repack::Repacked, Error> {
    let store = repository.store();
    let histories = histories(repository)?;
    let rows = store.packs();
    let total = rows.iter().flat_map(|pack| pack.table().frames()).map(|row| u64::from(row.raw)).sum();
    let step = Step::begin(reporter, "packing", Some(total));
    Ok(repack::full(store, &histories, options, &step)?)
}

/// Removes the packs that the new one stands in for, if it still does: somebody else may have collected
/// between the locks. The caller holds the exclusive one.
fn replace(repository: &Repository, repacked: &repack::Repacked) -> Result<(), Error> {
    let Some(new) = repacked.pack.filter(|_| !repacked.replaced.is_empty()) else {
        return Ok(gc::remove_packs(repository.store(), &[])?); // ends what somebody killed had begun
    };
    if repository.store().packs().iter().all(|pack| pack.id() != new) {
        return Ok(());
    }
    drop_packs(repository, &repacked.replaced, Some(new))?;
    Ok(repository.store().write_multi_index()?)
}

fn packs_of(repository: &Repository) -> (usize, u64) {
    let packs = repository.store().packs();
    (packs.len(), packs.iter().map(|pack| pack.table().frames_bytes()).sum())
}

/// Joins small packs in passing, if there are many; what a command that added one does at its end, when
/// it holds no lock. Never fails and never waits: else whoever comes next does it.
pub(crate) fn tidy(session: &Session, repository: &Repository) {
    if repository.store().packs().len() <= PACKS_MAX {
        return;
    }
    if let Err(error) = join_small_packs(session, repository) {
        tracing::debug!(%error, "small packs were left as they are");
    }
}

fn join_small_packs(session: &Session, repository: &Repository) -> Result<(), Error> {
    let Some(_lock) = repository.try_lock_exclusive()? else { return Ok(()) };
    let packs = repack::unbalanced(repository.store());
    let options = Options { jobs: session.jobs(), ..Options::default() };
    replace(repository, &repack::gather(repository.store(), &packs, options)?)
}
