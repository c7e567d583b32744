//! `pkg fsck`, `pkg gc`, `pkg repack`.

use super::Context;
use crate::ui;
use porcelain::maintain::Packing;
use porcelain::{Error, maintain};
use std::path::PathBuf;
use std::process::ExitCode;

/// Check a repository: forms, hashes, signatures, and that nothing is missing
#[derive(clap::Args)]
pub struct Fsck {
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
    /// Unpack and hash every object too
    #[arg(long)]
    data: bool,
}

impl Fsck {
    pub fn run(&self, context: &Context) -> Result<ExitCode, Error> {
        let repository = context.repository(self.repo.as_deref())?;
        let report = maintain::fsck(&repository, self.data)?;
        if context.json {
            ui::json(&report);
        } else {
            report
                .findings
                .iter()
                .for_each(|finding| ui::line(format!("{}: {}", finding.place, finding.problem)));
            context.note(format!(
                "checked {}, {}, {}, {}{}: {}",
                ui::count(report.packs, "pack"),
                ui::count(report.objects, "object"),
                ui::count(report.statements, "statement"),
                ui::count(report.refs, "ref"),
                if self.data { format!(", {} of data", ui::bytes(report.bytes)) } else { String::new() },
                if report.findings.is_empty() {
                    "all whole".to_owned()
                } else {
                    ui::count(report.findings.len() as u64, "problem")
                },
            ));
        }
        let damaged = porcelain::error::Class::Damaged as u8;
        Ok(if report.findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(damaged) })
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
