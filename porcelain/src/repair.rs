//! Checking and mending a repository.
//!
//! ```text
//! inspect ─▶ plan ─▶ mend from itself ─▶ ask sources: statements, summary, objects ─▶ what is left ─▶ inspect
//! ```
//!
//! Promises: a plan can be shown before anything is done; damaged files are set aside, never deleted;
//! whatever a source sends is kept only if it hashes to what is lost (REL-023). At the end the report says
//! what could not be restored, and in which releases.
//! Leaves to others: what is damaged and how it is mended here (`objects::fsck`, `objects::repair`).

mod sources;
mod state;

use crate::error::Error;
use crate::event::{Reporter, Step as Progress};
use crate::rebuild::Rebuilt;
use crate::remote::BytesFrom;
use crate::session::Session;
use objects::fsck::{self, Inspection, Level, Report};
use objects::id::{StatementId, TreeId};
use objects::release::Entry;
use objects::repair::{self, Plan, Stage, Step};
use objects::repository::Repository;
use objects::store::pack::writer::Options as PackOptions;
use plumbing::sync::Wanted;
use serde::Serialize;
use sources::Source;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How often one source is asked at most: each answer may name more that is lost, a folder deeper.
const ROUNDS_MAX: usize = 64;

/// What to mend, and with whose help.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub path: PathBuf,
    /// How much is read to find damage.
    pub level: Level,
    /// Sources to ask first, as one types them for `clone`.
    pub from: Vec<String>,
    /// True to show the plan and change nothing.
    pub dry_run: bool,
}

/// What a repair did, or would do, and how the repository is now.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// What a check finds now.
    #[serde(flatten)]
    pub report: Report,
    /// What was done from what is here.
    pub steps: Vec<Step>,
    /// The sources that are asked for what is lost, in this order.
    pub asked: Vec<String>,
    /// What they gave.
    pub restored: Restored,
    /// Bytes by source.
    pub sources: Vec<BytesFrom>,
    /// What became of pins and heads, if the repository is the user's store.
    pub state: Option<Rebuilt>,
    /// True if nothing was changed.
    pub dry_run: bool,
}

/// What sources gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Objects.
    pub objects: u64,
    /// Their unpacked bytes.
    pub object_bytes: u64,
    /// Statements.
    pub statements: u64,
    /// True if the summary came from one of them.
    pub summary: bool,
}

/// Checks a repository.
///
/// # Errors
/// Only if it cannot be looked at; damage is in the report.
pub fn check(
    session: &Session,
    repository: &Repository,
    level: Level,
    reporter: &dyn Reporter,
) -> Result<Report, Error> {
    // Beside a publication half of it would show. A repository that cannot be written has none.
    let _lock = repository.lock_exclusive().ok();
    let mut report = inspect(session, repository, level, reporter)?.report;
    state::look(session, repository, &mut report);
    Ok(report)
}

fn inspect(
    session: &Session,
    repository: &Repository,
    level: Level,
    reporter: &dyn Reporter,
) -> Result<Inspection, Error> {
    let total = fsck::bytes_to_read(repository, level);
    let step = Progress::begin(reporter, "checking", Some(total).filter(|total| *total > 0));
    Ok(fsck::inspect(repository, fsck::Request { level, jobs: session.jobs(), progress: &step })?)
}

/// Mends a repository: from itself, then with what sources give.
///
/// # Errors
/// If it cannot be looked at, or the disk refuses. What a source does not have is no error: the report
/// tells what is still lost.
pub fn repair(session: &Session, request: &Request, reporter: &dyn Reporter) -> Result<Outcome, Error> {
    let config = match request.dry_run {
        true => None,
        false => repair::restore_config(&request.path)?
            .then(|| Step { place: "config".into(), action: repair::Action::Restore }),
    };
    let repository = Repository::open(&request.path)?;
    let lock = repository.lock_exclusive()?;
    let mut mending = Mending::begin(session, &repository, request, reporter)?;
    mending.outcome.steps.extend(config);
    if request.dry_run {
        return mending.show();
    }
    mending.mend_from_itself()?;
    mending.ask_sources()?;
    mending.settle_what_is_left()?;
    if mending.found.damage.summary && repository.root().join("remotes.toml").exists() {
        drop(lock); // a mirror's summary comes with a refresh of the mirror
        mending.refresh_mirror(&request.path);
    }
    mending.end()
}

struct Mending<'a> {
    session: &'a Session,
    repository: &'a Repository,
    request: &'a Request,
    reporter: &'a dyn Reporter,
    sources: Vec<Source>,
    found: Inspection,
    plan: Plan,
    outcome: Outcome,
}

impl<'a> Mending<'a> {
    fn begin(
        session: &'a Session,
        repository: &'a Repository,
        request: &'a Request,
        reporter: &'a dyn Reporter,
    ) -> Result<Mending<'a>, Error> {
        if !request.dry_run {
            let _ = repository.refs().edit(&[], session.now()); // completes what a killed process had begun
        }
        let found = inspect(session, repository, request.level, reporter)?;
        let plan = repair::plan(repository, &found, Stage::First, session.jobs())?;
        let outcome = Outcome {
            report: found.report.clone(),
            steps: plan.steps(),
            asked: Vec::new(),
            restored: Restored::default(),
            sources: Vec::new(),
            state: None,
            dry_run: request.dry_run,
        };
        Ok(Mending { session, repository, request, reporter, sources: Vec::new(), found, plan, outcome })
    }

    fn show(mut self) -> Result<Outcome, Error> {
        if self.is_in_need() {
            self.open_sources()?;
        }
        state::look(self.session, self.repository, &mut self.outcome.report);
        Ok(self.outcome)
    }

    fn open_sources(&mut self) -> Result<(), Error> {
        self.sources = sources::open(self.session, self.repository, &self.request.from, self.reporter)?;
        self.outcome.asked = self.sources.iter().map(Source::name).collect();
        Ok(())
    }

    fn pack_options(&self) -> PackOptions {
        PackOptions { jobs: self.session.jobs(), ..PackOptions::default() }
    }

    fn carry_out(&self) -> Result<(), Error> {
        let step = Progress::begin(self.reporter, "mending", None);
        let options = repair::Options { pack: self.pack_options(), now: self.session.now(), progress: &step };
        Ok(repair::carry_out(self.repository, &self.plan, &options)?)
    }

    fn mend_from_itself(&mut self) -> Result<(), Error> {
        if self.found.report.is_whole() {
            return Ok(());
        }
        self.carry_out()?;
        self.look_again()
    }

    /// What is lost now: damaged packs are gone, so that what is listed is whole.
    fn look_again(&mut self) -> Result<(), Error> {
        self.found = inspect(self.session, self.repository, Level::Connectivity, &crate::event::Silent)?;
        Ok(())
    }

    fn ask_sources(&mut self) -> Result<(), Error> {
        self.outcome.state = state::mend(self.session, self.repository)?;
        self.own_statements()?;
        if !self.is_in_need() {
            return Ok(());
        }
        self.open_sources()?;
        for number in 0..self.sources.len() {
            for _ in 0..ROUNDS_MAX {
                if !self.is_in_need() || !self.ask(number)? {
                    break;
                }
                self.look_again()?; // what was brought names more
            }
        }
        self.outcome.sources = self.sources.iter().filter_map(Source::bytes).collect();
        Ok(())
    }

    fn is_in_need(&self) -> bool {
        let damage = &self.found.damage;
        damage.summary || !damage.missing.is_empty() || !damage.lost.is_empty()
    }

    /// Statements that this machine signed or believed.
    fn own_statements(&mut self) -> Result<(), Error> {
        if self.found.damage.missing.is_empty() {
            return Ok(());
        }
        let found = state::statements(self.session, self.repository, &self.found.damage.missing)?;
        let kept = sources::keep_statements(self.repository, &self.found.damage.missing, found)?;
        self.outcome.restored.statements += kept;
        if kept > 0 { self.look_again() } else { Ok(()) }
    }

    /// Asks one source for all that is lost; true if it gave something.
    fn ask(&mut self, number: usize) -> Result<bool, Error> {
        let source = &self.sources[number];
        let step = Progress::begin(self.reporter, &format!("asking {}", source.name()), None);
        let damage = &self.found.damage;
        let trees = wanted(self.repository, &damage.trees);
        let need = sources::Need { missing: &damage.missing, lost: &damage.lost, trees: &trees };
        let given = source.give(self.repository, &need, damage.summary, self.pack_options(), &step);
        drop(step);
        let (restored, failure) = given?;
        if let Some(failure) = failure {
            self.reporter.warn(&format!("{} is passed over: {failure}", self.sources[number].name()));
        }
        let total = &mut self.outcome.restored;
        total.objects += restored.objects;
        total.object_bytes += restored.object_bytes;
        total.statements += restored.statements;
        total.summary |= restored.summary;
        Ok(restored != Restored::default())
    }

    /// What nobody had: refs that point nowhere go to what is here.
    fn settle_what_is_left(&mut self) -> Result<(), Error> {
        if self.found.report.is_whole() {
            return Ok(());
        }
        self.plan = repair::plan(self.repository, &self.found, Stage::Last, self.session.jobs())?;
        let steps = self.plan.steps();
        if steps.is_empty() {
            return Ok(());
        }
        self.outcome.steps.extend(steps);
        self.carry_out()?;
        self.look_again()
    }

    fn refresh_mirror(&mut self, path: &Path) {
        match crate::mirror::fetch(self.session, path, self.reporter) {
            Ok(_) => self.outcome.restored.summary = true,
            Err(error) => self.reporter.warn(&format!("the mirror is not refreshed: {}", error.message())),
        }
    }

    fn end(mut self) -> Result<Outcome, Error> {
        if !self.outcome.report.is_whole() {
            self.repository.store().refresh()?;
            let level = self.request.level;
            self.outcome.report = inspect(self.session, self.repository, level, self.reporter)?.report;
        }
        state::look(self.session, self.repository, &mut self.outcome.report);
        Ok(self.outcome)
    }
}

/// How much there may be of each of `trees`: as was signed of it.
fn wanted(repository: &Repository, trees: &BTreeSet<TreeId>) -> Vec<Wanted> {
    let mut sizes: BTreeMap<TreeId, Wanted> = BTreeMap::new();
    let ids: Vec<StatementId> =
        if trees.is_empty() { Vec::new() } else { repository.statements().list().unwrap_or_default() };
    for id in ids {
        let Ok(Some(envelope)) = repository.statements().try_find(id) else { continue };
        if let Ok(entry) = envelope.peek::<Entry>()
            && let Some(release) = entry.release()
        {
            let wanted = Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size };
            sizes.insert(release.tree, wanted);
        } else if let Ok(index) = envelope.peek::<objects::claim::Index>() {
            let wanted = Wanted { tree: index.root, files_max: index.files, bytes_max: index.size };
            sizes.insert(index.root, wanted);
        }
    }
    trees.iter().filter_map(|tree| sizes.get(tree).copied()).collect()
}
