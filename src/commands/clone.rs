//! `pkg clone`, `pkg fetch`.

use super::Context;
use crate::ui;
use porcelain::env::Environment;
use porcelain::remote::BytesFrom;
use porcelain::{Error, install, mirror};
use std::path::{Path, PathBuf};

/// Make an environment bound to a source, or with --mirror a copy of its repository
#[derive(clap::Args)]
pub struct Clone {
    /// A path, a web address (http://…), an iroh ticket, or a bundle file
    source: String,
    /// Where
    path: PathBuf,
    /// Make a bare repository with everything in it; any web server over it is a source
    #[arg(long)]
    mirror: bool,
}

impl Clone {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        if self.mirror {
            let outcome = mirror::clone(&context.session, &self.source, &self.path, &context.screen)?;
            return show_mirror(context, &outcome);
        }
        let cloned = install::clone(&context.session, &self.source, &self.path, &context.screen)?;
        if context.json {
            ui::json(&cloned);
            return Ok(());
        }
        context.note(format!(
            "cloned into {}: {} of id:{}, index {}",
            self.path.display(),
            ui::count(cloned.packages as u64, "package"),
            cloned.index.repository.owner.to_hex(),
            cloned.index.index,
        ));
        show_bytes(context, &cloned.index.bytes);
        Ok(())
    }
}

/// Fetch news: the index of the environment's source, or all of a mirror's
#[derive(clap::Args)]
pub struct Fetch {
    /// A mirror to bring up to date, instead of the environment
    #[arg(long, value_name = "MIRROR", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Fetch {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        if let Some(path) = &self.repo {
            let outcome = mirror::fetch(&context.session, path, &context.screen)?;
            return show_mirror(context, &outcome);
        }
        let environment = Environment::find(Path::new("."))?;
        let outcome = install::fetch_index(&context.session, &environment, &context.screen)?;
        if context.json {
            ui::json(&outcome);
            return Ok(());
        }
        let news = if outcome.changed { "new" } else { "no news" };
        context.note(format!("index {} of {}: {news}", outcome.index, outcome.repository));
        show_bytes(context, &outcome.bytes);
        Ok(())
    }
}

fn show_mirror(context: &Context, outcome: &mirror::Outcome) -> Result<(), Error> {
    if context.json {
        ui::json(outcome);
        return Ok(());
    }
    outcome.new_versions.iter().for_each(ui::line);
    context.note(format!(
        "{} is at index {}: {} new, {} new",
        outcome.path.display(),
        outcome.index,
        ui::count(outcome.new_versions.len() as u64, "version"),
        ui::count(outcome.objects, "object"),
    ));
    show_bytes(context, &outcome.bytes);
    Ok(())
}

/// Which bytes came from where (L-U4).
pub fn show_bytes(context: &Context, bytes: &[BytesFrom]) {
    for from in bytes {
        let requests = ui::count(from.requests, "request");
        context.note(format!("  {} from {} in {requests}", ui::bytes(from.received), from.source));
    }
}
