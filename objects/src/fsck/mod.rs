//! Checking a repository.
//!
//! ```text
//! packs ──▶ presence ──┐
//! statements ── refs ──┼─▶ roots ──▶ connectivity ──▶ which releases are hit, and where
//! summary, pack list ──┘
//! ```
//!
//! Promises: [`check`] changes nothing and names every damaged file and object it meets; a whole
//! repository has no finding. Frames and signatures are looked at on all threads at once; memory is
//! bounded by a few frames a thread, a byte an object, and what is damaged.
//! Leaves to others: repair ([`crate::repair`]).
//!
//! Every level checks forms, refs, and that what they name is here, down to the last chunk. [`Level`]
//! says what is read for it.

mod connectivity;
mod head;
mod packs;
mod presence;
mod refs;
mod roots;
mod statements;

pub(crate) use head::faults as summary_faults;
pub(crate) use refs::fits as ref_fits;
pub(crate) use roots::{Listed, listed};
pub use statements::Signers;
pub(crate) use statements::{Known, entry_of, grants_of, identity_of, index_of};

use crate::id::{ObjectId, PackId, StatementId, TreeId};
use crate::object::Kind;
use crate::progress::{Progress, Silent};
use crate::repository::Repository;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, ref, release or object.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// A release that cannot be had whole any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LostRelease {
    /// The package.
    pub name: String,
    /// The version.
    pub version: String,
    /// The entry that released it.
    pub entry: StatementId,
    /// The first of its files and folders that are hit; none if it is the entry itself.
    pub paths: Vec<String>,
    /// True if more are hit than are listed.
    pub more: bool,
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, each once.
    pub findings: BTreeSet<Finding>,
    /// Packs looked at.
    pub packs: u64,
    /// Objects in them.
    pub objects: u64,
    /// Unpacked bytes read and hashed; zero unless data was asked for.
    pub bytes: u64,
    /// Statements looked at.
    pub statements: u64,
    /// Refs looked at.
    pub refs: u64,
    /// Releases looked at.
    pub releases: u64,
    /// Those that are hit by damage.
    pub lost_releases: Vec<LostRelease>,
    /// Names and versions of all others, if there are any that are hit.
    pub whole_releases: BTreeSet<String>,
    /// Objects that a release or index needs and of which no whole copy is here.
    pub lost_objects: BTreeSet<ObjectId>,
}

impl Report {
    /// True if nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, place: impl ToString, problem: impl ToString) {
        self.findings.insert(Finding { place: place.to_string(), problem: problem.to_string() });
    }
}

/// What is damaged, as a repair has to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Packs that are damaged, or whose index is.
    pub packs: BTreeSet<PackId>,
    /// Indexes whose packs are lost.
    pub orphans: BTreeSet<PackId>,
    /// Keys of files that hold no statement, or another one than their name says.
    pub statements: BTreeSet<String>,
    /// Statements that something names and that are not here.
    pub missing: BTreeSet<StatementId>,
    /// Objects that a release or index needs and of which no whole copy is here.
    pub lost: BTreeMap<ObjectId, Kind>,
    /// The trees of releases and indexes that need them.
    pub trees: BTreeSet<TreeId>,
    /// True if the summary is lost or damaged.
    pub summary: bool,
    /// True if the list of packs is lost, damaged, or names packs that are gone.
    pub pack_list: bool,
}

/// How much is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Trees, blobs and statements are read; contents only have to be there, signatures are taken as
    /// they are.
    Connectivity,
    /// Signatures are checked, and every frame is read and hashed as it is stored.
    #[default]
    Frames,
    /// Every object is unpacked and hashed too.
    Data,
}

/// How a check goes about it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// How much is read.
    pub level: Level,
    /// How many threads look; at least one.
    pub jobs: usize,
    /// Told of bytes of packs as they are read.
    pub progress: &'a dyn Progress,
}

/// What a check found, for people and for a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// For people.
    pub report: Report,
    /// For a repair.
    pub damage: Damage,
}

/// How thorough [`check`] is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// True to unpack and hash every object.
    pub data: bool,
}

/// Checks a repository on all cores.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn check(repository: &Repository, options: Options) -> Result<Report, crate::repository::Error> {
    let level = if options.data { Level::Data } else { Level::Frames };
    let request = Request { level, jobs: crate::parallel::default_jobs(), progress: &Silent };
    Ok(inspect(repository, request)?.report)
}

/// Checks a copy that carries no refs, such as a bundle's files: everything else, data included.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn check_copy(repository: &Repository) -> Result<Report, crate::repository::Error> {
    let request = Request { level: Level::Data, jobs: crate::parallel::default_jobs(), progress: &Silent };
    Ok(on_threads(request.jobs, || look(repository, request, Part::Copy))?.report)
}

/// Checks a repository, and says what a repair has to know.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn inspect(
    repository: &Repository,
    request: Request<'_>,
) -> Result<Inspection, crate::repository::Error> {
    on_threads(request.jobs, || look(repository, request, Part::Whole))
}

/// Bytes that a check at this level reads from packs and tells its progress of.
pub fn bytes_to_read(repository: &Repository, level: Level) -> u64 {
    match level {
        Level::Connectivity => 0,
        _ => repository.store().packs().iter().map(|pack| pack.table().frames_bytes()).sum(),
    }
}

/// How much of a repository there is to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    Copy,
}

/// Runs `work` with so many threads for what it does in parallel.
pub(crate) fn on_threads<T: Send>(jobs: usize, work: impl FnOnce() -> T + Send) -> T {
    match rayon::ThreadPoolBuilder::new().num_threads(jobs.max(1)).build() {
        Ok(pool) => pool.install(work),
        Err(_) => work(), // a system without threads to spare
    }
}

fn look(
    repository: &Repository,
    request: Request<'_>,
    part: Part,
) -> Result<Inspection, crate::repository::Error> {
    let mut found = Inspection::default();
    let presence = packs::look(repository, request, &mut found)?;
    let known = statements::look(repository, request.level, &mut found)?;
    let refs = match part {
        Part::Whole => refs::look(repository, &known, &mut found),
        Part::Copy => BTreeMap::new(),
    };
    let index = head::summary(repository, &known, &mut found);
    head::pack_list(repository, &mut found)?;
    let roots = roots::gather(repository, &known, &refs, index, &mut found);
    connectivity::look(repository.store(), &presence, &roots, &mut found);
    Ok(found)
}
