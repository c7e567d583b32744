//! `pkg push`.

use super::Context;
use crate::ui;
use porcelain::{Error, push};
use std::path::PathBuf;

/// Bring a repository elsewhere to the state of one of yours
///
/// A folder is copied to, packs first and the summary last. A `pkg serve --accept-pushes` takes
/// what the repository's owner has signed; what others push there waits until its owner takes it.
#[derive(clap::Args)]
pub struct Push {
    /// A folder, a web address or an iroh ticket
    to: String,
    /// Your repository
    #[arg(long, value_name = "REPO", default_value = ".", env = "PKG_REPO")]
    repo: PathBuf,
}

impl Push {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let outcome = push::push(&context.session, &self.repo, &self.to, &context.screen)?;
        if context.json {
            ui::json(&outcome);
        } else if outcome.unchanged {
            context.note(format!("{} has index {} already", outcome.to, outcome.index));
        } else if let Some(id) = &outcome.held {
            context.note(format!(
                "{} holds your index {} as {id}, until its owner takes it",
                outcome.to, outcome.index
            ));
        } else {
            context.note(format!(
                "pushed index {} to {}: {} sent",
                outcome.index,
                outcome.to,
                ui::bytes(outcome.sent)
            ));
        }
        Ok(())
    }
}
