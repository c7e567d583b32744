//! `pkg bundle`.

use super::Context;
use crate::ui;
use objects::spec::PackageSpec;
use porcelain::{Error, bundle};
use std::path::PathBuf;

/// Releases in one file, to be carried by hand
#[derive(clap::Subcommand)]
pub enum Bundle {
    /// Write releases, with what they depend on and all that is needed to check them
    Create {
        /// The file to write
        out: PathBuf,
        /// Which releases (default: the newest of every package)
        specs: Vec<PackageSpec>,
        /// The repository (default: the one you stand in)
        #[arg(long, value_name = "REPO", env = "PKG_REPO")]
        repo: Option<PathBuf>,
    },
    /// Check a bundle down to the last byte, without keeping anything
    Verify {
        /// The bundle
        file: PathBuf,
    },
}

impl Bundle {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let (outcome, verb) = match self {
            Bundle::Create { out, specs, repo } => {
                let view = context.view(repo.as_deref())?;
                (bundle::create(&context.session, &view, specs, out, &context.screen)?, "wrote")
            }
            Bundle::Verify { file } => (bundle::verify(&context.session, file, &context.screen)?, "verified"),
        };
        if context.json {
            ui::json(&outcome);
        } else {
            outcome.releases.iter().for_each(ui::line);
            context.note(format!("{verb} {}: {}", outcome.path.display(), ui::bytes(outcome.bytes)));
        }
        Ok(())
    }
}
