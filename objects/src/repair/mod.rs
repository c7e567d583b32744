//! Mending a repository from what is left of it.
//!
//! ```text
//! inspect ─▶ plan ─▶ carry_out ─▶ (somebody brings what is lost) ─▶ inspect ─▶ plan, last ─▶ carry_out
//! ```
//!
//! Promises: a plan changes nothing and can be shown. Nothing is deleted: what is damaged goes to
//! `objects/quarantine/` ([`quarantine`]) after what is whole of it is durable elsewhere, so that it is
//! served all the while. Bytes are believed by their hashes only (REL-023).
//! Leaves to others: the exclusive lock; bringing what is nowhere here (`plumbing::sync::gather`).

mod packs;
pub mod quarantine;
mod refs;
mod remains;

use crate::disk;
use crate::fsck::{self, Inspection, Known};
use crate::id::{ObjectId, StatementId, TreeId};
use crate::limits::CONFIG_BYTES_MAX;
use crate::progress::Progress;
use crate::repository::{self, Error as RepositoryError, MULTI_INDEX_KEY, Repository, SUMMARY_KEY};
use crate::store::pack::writer;
use crate::summary::Summary;
use crate::time::Timestamp;
use packs::Packs;
use refs::Refs;
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// Why a repository could not be mended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The repository refuses.
    #[error(transparent)]
    Repository(#[from] crate::repository::Error),
    /// An object cannot be had.
    #[error(transparent)]
    Object(#[from] crate::object::Error),
    /// A ref cannot be moved.
    #[error(transparent)]
    Refs(#[from] crate::refs::Error),
    /// A statement cannot be kept.
    #[error(transparent)]
    Statement(#[from] crate::statements::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Repository(error) => error.code(),
            Error::Object(error) => error.code(),
            Error::Refs(error) => error.code(),
            Error::Statement(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }
}

/// One thing that a repair does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Step {
    /// The file or ref.
    pub place: String,
    /// What is done with it.
    #[serde(flatten)]
    pub action: Action,
}

/// What a repair does with a file or ref.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "action")]
pub enum Action {
    /// It is made again, byte for byte, from the rest of its pack.
    Mend,
    /// What is whole of it moves to a new pack; then it is set aside.
    Rewrite {
        /// Objects that are whole.
        whole: u64,
        /// Objects that are lost.
        lost: u64,
    },
    /// It is set aside; nothing in it can be used.
    SetAside,
    /// It is made again from what it was made from.
    Restore,
    /// The ref goes back to where its log or the index says it was.
    MoveRef {
        /// Where.
        to: StatementId,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Step { place, action } = self;
        match action {
            Action::Mend => write!(f, "mend      {place}"),
            Action::Rewrite { whole, lost } => {
                write!(f, "rewrite   {place} ({whole} objects whole, {lost} lost)")
            }
            Action::SetAside => write!(f, "set aside {place}"),
            Action::Restore => write!(f, "restore   {place}"),
            Action::MoveRef { to } => write!(f, "restore   {place} to {}", to.short(16)),
        }
    }
}

/// When in a repair a plan is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before anybody was asked for what is lost.
    First,
    /// After everybody was: what is still lost will stay so.
    Last,
}

/// How a plan is carried out.
pub struct Options<'a> {
    /// How new packs are written.
    pub pack: writer::Options,
    /// For the reflog.
    pub now: Timestamp,
    /// Told of bytes of damaged packs as they are worked off.
    pub progress: &'a dyn Progress,
}

/// What a repair will do.
pub struct Plan {
    packs: Packs,
    multi_index: bool,
    refs: Refs,
    statements: Vec<String>,
    summary: bool,
}

impl Plan {
    /// What will be done, in this order.
    pub fn steps(&self) -> Vec<Step> {
        let aside = |place: &String| Step { place: place.clone(), action: Action::SetAside };
        let mut steps = self.packs.steps();
        let place = || MULTI_INDEX_KEY.to_owned();
        steps.extend(self.multi_index.then(|| Step { place: place(), action: Action::Restore }));
        steps.extend(self.statements.iter().map(aside));
        steps.extend(self.refs.steps());
        steps.extend(self.summary.then(|| aside(&SUMMARY_KEY.to_owned())));
        steps
    }
}

/// Decides what to do about what an inspection found. `jobs` threads read the damaged packs.
///
/// # Errors
/// If refs or statements cannot be listed.
pub fn plan(repository: &Repository, found: &Inspection, stage: Stage, jobs: usize) -> Result<Plan, Error> {
    let damage = &found.damage;
    let known = known(repository);
    let root = repository.summary().ok().flatten().and_then(|summary| index_root(&summary));
    let listed = root.map(|root| fsck::listed(repository.store(), root)).unwrap_or_default();
    Ok(Plan {
        packs: fsck::on_threads(jobs, || Packs::plan(repository, damage)),
        multi_index: repository.store().check_multi_index().is_some(),
        refs: Refs::plan(repository, &known, &listed, stage)?,
        statements: damage.statements.iter().cloned().collect(),
        summary: damage.summary && repository.root().join(SUMMARY_KEY).exists(),
    })
}

fn index_root(summary: &Summary) -> Option<TreeId> {
    summary.index.envelope().peek::<crate::claim::Index>().ok().map(|index| index.root)
}

/// Carries a plan out. The caller holds the exclusive lock, and made the plan under it.
///
/// # Errors
/// If the disk refuses; what was done by then stays done, and a new plan goes on from there.
pub fn carry_out(repository: &Repository, plan: &Plan, options: &Options<'_>) -> Result<(), Error> {
    plan.packs.carry_out(repository, options)?;
    if plan.multi_index {
        repository.store().write_multi_index()?;
    }
    for key in &plan.statements {
        quarantine::set_aside(repository.root(), key)?;
    }
    plan.refs.carry_out(repository, options)?;
    if plan.summary {
        quarantine::set_aside(repository.root(), SUMMARY_KEY)?;
    }
    Ok(())
}

/// The statements that are whole.
fn known(repository: &Repository) -> Known {
    let ids = repository.statements().list().unwrap_or_default();
    let read = |id| repository.statements().try_find(id).ok().flatten().map(|envelope| (id, envelope));
    ids.into_iter().filter_map(read).collect()
}

/// Writes the configuration of the repository in `root` anew if it is lost or damaged: format 1 has one
/// configuration. True if it was; what stood there is kept aside.
///
/// # Errors
/// `None` if there is no repository, `Newer` if it is one that this program cannot read.
pub fn restore_config(root: &Path) -> Result<bool, Error> {
    let path = root.join("config");
    if !root.join("objects/pack").is_dir() {
        return Err(RepositoryError::None { path: root.to_owned() }.into());
    }
    let ours = repository::config_text();
    let theirs = disk::try_read(&path, CONFIG_BYTES_MAX).ok().flatten().unwrap_or_default();
    if theirs == ours.as_bytes() {
        return Ok(false);
    }
    // With our check line it is our text, whatever became of the lines before it.
    let is_ours = ours.lines().last() == String::from_utf8_lossy(&theirs).lines().last();
    if let (false, Err(newer @ RepositoryError::Newer { .. })) =
        (is_ours, repository::check_config(&theirs, &path))
    {
        return Err(newer.into());
    }
    quarantine::keep_aside(root, "config")?;
    disk::write_whole(&path, ours.as_bytes())?;
    Ok(true)
}

/// Takes a summary that somebody has kept, if it is whole and the one that is lost here: its index is the
/// newest of that repository here.
///
/// # Errors
/// If the disk refuses.
pub fn restore_summary(repository: &Repository, summary: &Summary) -> Result<bool, Error> {
    if newest_index(repository, summary) != Some(summary.index.id())
        || !fsck::summary_faults(summary).is_empty()
    {
        return Ok(false);
    }
    repository.statements().insert_all(summary.owner.iter().map(|document| document.envelope()))?;
    repository.write_summary(summary)?;
    repository.write_pack_list(&[], None)?;
    Ok(true)
}

/// The newest index of the repository that `summary` speaks of, by its ref, or else by the statements.
fn newest_index(repository: &Repository, summary: &Summary) -> Option<StatementId> {
    let name = &summary.repository;
    let part = ObjectId::of(name.name.as_bytes()).short(16);
    let head = format!("refs/index/{}/{part}", name.owner.to_hex()).parse().ok()?;
    if let Ok(Some(id)) = repository.refs().try_find(&head) {
        return Some(id);
    }
    let known = known(repository);
    let indexes = known.iter().filter_map(|(id, envelope)| Some((fsck::index_of(envelope)?, *id)));
    let ours = indexes.filter(|(index, _)| index.repository == *name);
    ours.max_by_key(|(index, _)| index.n).map(|(_, id)| id)
}
