//! `pkg yank` and `pkg unyank`.

use super::Context;
use crate::ui;
use objects::spec::PackageSpec;
use porcelain::Error;
use porcelain::withdraw::{self, Request};
use std::path::PathBuf;

/// Withdraw versions: who has one keeps it, nobody new gets it
///
/// Nothing is deleted. A version that a `pkg.lock` keeps still installs, with a warning; everybody else is
/// given another one. `--undo` takes it back.
#[derive(clap::Args)]
pub struct Yank {
    #[command(flatten)]
    which: Which,
    /// Why, for those who have it installed
    #[arg(long, value_name = "TEXT", default_value = "no reason was given", conflicts_with = "undo")]
    reason: String,
    /// Take a withdrawal back
    #[arg(long)]
    undo: bool,
}

/// Take the withdrawal of versions back
#[derive(clap::Args)]
pub struct Unyank {
    #[command(flatten)]
    which: Which,
}

#[derive(clap::Args)]
struct Which {
    /// Which versions, such as `hello#1.0.0` or `hello@<1.2`
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PackageSpec>,
    /// The repository that lists them
    #[arg(long, visible_alias = "to", value_name = "REPO", default_value = ".", env = "PKG_REPO")]
    repo: PathBuf,
    /// Which of your identities signs
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
}

impl Yank {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        run(context, &self.which, &self.reason, self.undo)
    }
}

impl Unyank {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        run(context, &self.which, "", true)
    }
}

fn run(context: &Context, which: &Which, reason: &str, undo: bool) -> Result<(), Error> {
    let request = Request {
        specs: which.specs.clone(),
        to: which.repo.clone(),
        reason: reason.to_owned(),
        undo,
        identity: which.identity.clone(),
    };
    let outcome = withdraw::withdraw(&context.session, &request)?;
    if context.json {
        ui::json(&outcome);
        return Ok(());
    }
    let word = if undo { "unyanked" } else { "yanked" };
    for row in &outcome.versions {
        match (row.entry, undo) {
            (Some(_), _) => ui::line(format!("{word} {} {}", row.name, row.version)),
            (None, false) => ui::line(format!("{} {} is yanked already", row.name, row.version)),
            (None, true) => ui::line(format!("{} {} is not yanked", row.name, row.version)),
        }
    }
    if let Some(index) = outcome.index {
        context.note(format!("index {index} says so"));
    }
    Ok(())
}
