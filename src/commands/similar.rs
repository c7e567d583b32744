//! `pkg similar`.

use super::Context;
use crate::ui;
use porcelain::Error;
use porcelain::similar::{self, Subject};
use std::path::PathBuf;

/// Find files of releases that resemble a file, a release, or a file on disk
///
/// Compares chunks, and sketches of chunks: what updates and `repack --full` can save is what is the
/// same or alike. Only what a repository lists is looked into.
#[derive(clap::Args)]
pub struct Similar {
    /// NAME@VERSION, NAME@VERSION:PATH, or an id
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    object: Option<String>,
    /// A file on disk instead
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Show at most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    count: usize,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Similar {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let subject = match (&self.object, &self.file) {
            (Some(object), _) => Subject::Object(object),
            (None, file) => Subject::File(file.as_deref().expect("one of the two is required")),
        };
        let found = similar::similar(&view, &subject, self.count)?;
        if context.json {
            ui::json(&found);
            return Ok(());
        }
        for like in &found {
            ui::line(format!(
                "{:>3} % same {:>3} % alike  {:>9}  {} {}  {}",
                like.same,
                like.alike,
                ui::bytes(like.size),
                like.name,
                like.version,
                objects::name::printable(&like.path),
            ));
        }
        if found.is_empty() {
            context.note("nothing here resembles it");
        }
        Ok(())
    }
}
