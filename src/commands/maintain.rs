//! `pkg fsck`, `pkg gc`, `pkg repack`.

use super::Context;
use crate::ui;
use objects::fsck::{Level, Report};
use porcelain::event::Reporter;
use porcelain::maintain::Packing;
use porcelain::{Error, maintain, repair};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Check a repository: forms, hashes, signatures, and that nothing is missing
#[derive(clap::Args)]
#[command(
    after_help = "Every level checks the form of every file, refs and logs, and that everything a release or index names is here.\n\
By default signatures are checked and all packs are read and hashed too. Damage is told by release and path.\n\
A repair sets damaged files aside in objects/quarantine, after what is whole of them was written anew."
)]
pub struct Fsck {
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
    /// Unpack and hash every object too
    #[arg(long)]
    data: bool,
    /// Read no contents and check no signatures: only forms, and that nothing is missing
    #[arg(long, visible_alias = "quick", conflicts_with = "data")]
    connectivity_only: bool,
    /// Mend what can be mended from the repository itself, then bring what is lost from sources
    #[arg(long)]
    repair: bool,
    /// Ask this source for what is lost: a folder, bundle, web address or ticket; may be repeated (default:
    /// where the repository was cloned from, and your store)
    #[arg(long, value_name = "SOURCE", requires = "repair")]
    from: Vec<String>,
    /// Show what a repair would do
    #[arg(long, requires = "repair")]
    dry_run: bool,
}

impl Fsck {
    pub fn run(&self, context: &Context) -> Result<ExitCode, Error> {
        let report = match self.repair {
            false => self.check(context)?,
            true => self.mend(context)?,
        };
        let damaged = porcelain::error::Class::Damaged as u8;
        Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(damaged) })
    }

    fn level(&self) -> Level {
        match (self.connectivity_only, self.data) {
            (true, _) => Level::Connectivity,
            (_, true) => Level::Data,
            _ => Level::Frames,
        }
    }

    fn check(&self, context: &Context) -> Result<Report, Error> {
        let repository = context.repository(self.repo.as_deref())?;
        let report = repair::check(&context.session, &repository, self.level(), &context.screen)?;
        if context.json {
            ui::json(&report);
        } else {
            self.show(&report, context);
        }
        if !report.is_whole() {
            context.note("hint: `pkg fsck --repair` mends what can be mended; --dry-run shows how");
        }
        Ok(report)
    }

    fn mend(&self, context: &Context) -> Result<Report, Error> {
        let path = self.damaged_repository(context)?;
        let (level, from, dry_run) = (self.level(), self.from.clone(), self.dry_run);
        let request = repair::Request { path, level, from, dry_run };
        let outcome = repair::repair(&context.session, &request, &context.screen)?;
        if context.json {
            ui::json(&outcome);
            return Ok(outcome.report);
        }
        outcome.steps.iter().for_each(|step| ui::line(format!("  {step}")));
        if self.dry_run {
            outcome.asked.iter().for_each(|source| ui::line(format!("  ask       {source}")));
        }
        if let Some(rebuilt) = &outcome.state {
            context.screen.warn(&rebuilt.message());
        }
        let restored = &outcome.restored;
        if restored.objects + restored.statements > 0 || restored.summary {
            context.note(format!(
                "restored {} ({}) and {}{}",
                ui::count(restored.objects, "object"),
                ui::bytes(restored.object_bytes),
                ui::count(restored.statements, "statement"),
                if restored.summary { ", and the summary" } else { "" },
            ));
        }
        self.show(&outcome.report, context);
        Ok(outcome.report)
    }

    fn show(&self, report: &Report, context: &Context) {
        for finding in &report.findings {
            ui::line(format!("{}: {}", finding.place, finding.problem));
        }
        for lost in &report.lost_releases {
            let what = match (lost.paths.as_slice(), lost.more) {
                ([], _) => "its entry".to_owned(),
                (paths, more) => format!("{}{}", paths.join(", "), if more { ", and more" } else { "" }),
            };
            ui::line(format!("lost: {} {}: {what}", lost.name, lost.version));
        }
        for release in &report.whole_releases {
            ui::line(format!("whole: {release}"));
        }
        context.note(format!(
            "checked {}, {}, {}, {}, {}{}: {}",
            ui::count(report.packs, "pack"),
            ui::count(report.objects, "object"),
            ui::count(report.statements, "statement"),
            ui::count(report.refs, "ref"),
            ui::count(report.releases, "release"),
            if self.data { format!(", {} of data", ui::bytes(report.bytes)) } else { String::new() },
            match report.findings.len() as u64 {
                0 => "all whole".to_owned(),
                problems => ui::count(problems, "problem"),
            },
        ));
    }

    /// The repository to be mended, though it may be too damaged to be opened.
    fn damaged_repository(&self, context: &Context) -> Result<PathBuf, Error> {
        let here = || Path::new("objects/pack").is_dir().then(|| PathBuf::from("."));
        match self.repo.clone().or_else(here) {
            Some(path) => Ok(path),
            None if context.session.home().join("store/objects/pack").is_dir() => {
                Ok(context.session.home().join("store"))
            }
            None => Ok(context.repository(None)?.root().to_owned()),
        }
    }
}

/// Drop what nothing refers to, gather small packs and refs
#[derive(clap::Args)]
pub struct Gc {
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
    /// Leave packs younger than this alone
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    grace: String,
    /// In your own store, let go of releases that were not used for longest until the rest takes at
    /// most this, such as 5G; what an environment has is kept
    #[arg(long, value_name = "SIZE")]
    max_size: Option<String>,
    /// Show what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let (session, dry_run) = (&context.session, self.dry_run);
        let repository = context.repository(self.repo.as_deref())?;
        let grace = porcelain::config::parse_duration(&self.grace)?;
        let outcome = match &self.max_size {
            Some(size) => {
                let bytes_max = porcelain::config::parse_size(size)?;
                maintain::trim(session, &repository, bytes_max, grace, dry_run)?
            }
            None => maintain::collect(session, &repository, grace, dry_run)?,
        };
        if context.json {
            ui::json(&outcome);
        } else {
            let verb = if dry_run { "would let go of" } else { "let go of" };
            outcome.let_go.iter().for_each(|release| ui::line(format!("{verb} {release}")));
            context.note(format!(
                "{}: {} dropped, {} rewritten, {} and {} freed",
                if self.dry_run { "would collect" } else { "collected" },
                ui::count(outcome.dropped as u64, "pack"),
                outcome.rewritten,
                ui::count(outcome.dead_objects, "object"),
                ui::bytes(outcome.freed_bytes),
            ));
        }
        Ok(())
    }
}

/// Pack a repository anew: join small packs, or with --full store old versions as deltas
///
/// Packs are joined in passing by the commands that add them; --full is worth its time where a
/// repository is served or carried, once in a while.
#[derive(clap::Args)]
pub struct Repack {
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
    /// Compress everything anew, old versions as deltas against newer ones
    #[arg(long)]
    full: bool,
    /// zstd level, 1 to 19
    #[arg(long, default_value_t = 9, requires = "full", value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
}

impl Repack {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let repository = context.repository(self.repo.as_deref())?;
        let packing = if self.full { Packing::Full(self.level) } else { Packing::Geometric };
        let outcome = maintain::repack(&context.session, &repository, packing, &context.screen)?;
        if context.json {
            ui::json(&outcome);
        } else {
            context.note(format!(
                "{} of {} are now {} of {}, {} of them as deltas",
                ui::count(outcome.packs_before as u64, "pack"),
                ui::bytes(outcome.bytes_before),
                ui::count(outcome.packs_after as u64, "pack"),
                ui::bytes(outcome.bytes_after),
                ui::count(outcome.delta_frames as u64, "frame"),
            ));
        }
        Ok(())
    }
}
