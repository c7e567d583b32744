//! `pkg init`.

use super::Context;
use crate::ui;
use objects::repository::Repository;
use porcelain::Error;
use std::path::PathBuf;

/// Make an empty repository, or with --env an environment that is bound to nothing yet
#[derive(clap::Args)]
pub struct Init {
    /// Make a bare repository: what is published to and served (the default)
    #[arg(long)]
    bare: bool,
    /// Where
    #[arg(default_value = ".")]
    path: PathBuf,
}

impl Init {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let _ = self.bare; // as in git; a repository of packages has no working copy to begin with
        let repository = Repository::init(&self.path)?;
        let path = repository.root().canonicalize().unwrap_or_else(|_| self.path.clone());
        if context.json {
            ui::json(&serde_json::json!({ "path": path }));
        } else {
            context.note(format!("made an empty repository in {}", path.display()));
        }
        Ok(())
    }
}
