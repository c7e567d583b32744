//! `pkg repo`.

use super::Context;
use crate::ui;
use objects::spec::PackageSpec;
use porcelain::Error;
use porcelain::distribute::accept::{self, Request};
use porcelain::distribute::carried::{self, Package, Refusal, Refused, Waiting};
use std::path::PathBuf;

/// A repository that carries packages of other authors
#[derive(clap::Subcommand)]
pub enum Repo {
    /// Take releases of another author, from a source or a push that waits
    Accept(Accept),
    /// List what is carried, and what waits
    List(Where),
    /// Drop a push that waits, or forbid versions that are carried
    Refuse(Refuse),
    /// Sign the next index, with the newest identities and grants that are known here
    Sign(Sign),
}

#[derive(clap::Args)]
pub struct Where {
    /// The repository
    #[arg(long, value_name = "REPO", default_value = ".", env = "PKG_REPO")]
    repo: PathBuf,
}

#[derive(clap::Args)]
pub struct Accept {
    /// A folder, a bundle, a web address or a ticket; or the id of a push that `pkg repo list` shows
    from: String,
    /// Which packages, or versions of them; all without any
    specs: Vec<PackageSpec>,
    #[command(flatten)]
    place: Where,
    /// Which of your identities signs the index
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
}

#[derive(clap::Args)]
pub struct Refuse {
    /// The id of a push, or a package spec
    what: String,
    /// Why, for those who have it installed
    #[arg(long, default_value = "no reason was given", conflicts_with = "undo")]
    reason: String,
    /// Allow what was forbidden
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    place: Where,
    /// Which of your identities signs the index
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
}

#[derive(clap::Args)]
pub struct Sign {
    #[command(flatten)]
    place: Where,
    /// Which of your identities signs the index
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
}

impl Repo {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Repo::Accept(args) => args.run(context),
            Repo::List(args) => args.run(context),
            Repo::Refuse(args) => args.run(context),
            Repo::Sign(args) => args.run(context),
        }
    }
}

impl Accept {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let request = Request {
            from: self.from.clone(),
            specs: self.specs.clone(),
            to: self.place.repo.clone(),
            identity: self.identity.clone(),
        };
        let outcome = accept::accept(&context.session, &request, &context.screen)?;
        if context.json {
            ui::json(&outcome);
            return Ok(());
        }
        for taken in &outcome.taken {
            ui::line(format!("{} {} of {}", taken.name, taken.version, taken.owner.nick()));
        }
        context.note(match outcome.index {
            Some(index) => format!(
                "index {index} lists {} from {}",
                ui::count(outcome.taken.len() as u64, "new version"),
                outcome.from
            ),
            None => "all of it is carried already".to_owned(),
        });
        Ok(())
    }
}

impl Where {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let outcome = carried::list(&self.repo)?;
        if context.json {
            ui::json(&outcome);
            return Ok(());
        }
        outcome.carried.iter().for_each(show_package);
        outcome.waiting.iter().for_each(show_waiting);
        if outcome.carried.is_empty() && outcome.waiting.is_empty() {
            context.note("nothing is carried, and nothing waits");
        }
        Ok(())
    }
}

fn show_package(package: &Package) {
    let newest = package.newest.as_ref().map(ToString::to_string).unwrap_or_default();
    let others: Vec<String> = package
        .signers
        .iter()
        .filter(|signer| **signer != package.owner)
        .map(|signer| signer.nick())
        .collect();
    let signed = if others.is_empty() { String::new() } else { format!(", signed by {}", others.join(", ")) };
    ui::line(format!(
        "{} {newest}  {} of {}{signed}",
        package.name,
        ui::count(package.versions as u64, "version"),
        package.owner.nick()
    ));
    for (word, marked) in [("forbidden", &package.forbidden), ("yanked", &package.yanked)] {
        for (version, reason) in marked {
            ui::line(format!("  {version} is {word}: {}", objects::name::printable(reason)));
        }
    }
}

fn show_waiting(waiting: &Waiting) {
    let held = &waiting.held;
    ui::line(format!(
        "waiting {}  {} of {}, {}: {}",
        held.id,
        held.from,
        ui::time(held.since),
        ui::bytes(held.bytes),
        waiting.releases.join(", ")
    ));
}

impl Refuse {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let refusal = Refusal {
            what: self.what.clone(),
            reason: self.reason.clone(),
            undo: self.undo,
            identity: self.identity.clone(),
        };
        let refused = carried::refuse(&context.session, &self.place.repo, &refusal)?;
        if context.json {
            ui::json(&refused);
            return Ok(());
        }
        match refused {
            Refused::Push { id } => context.note(format!("dropped the push {id}")),
            Refused::Versions { index: None, .. } => context.note("nothing changed"),
            Refused::Versions { name, versions, index: Some(index) } => {
                let word = if self.undo { "allows" } else { "forbids" };
                let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
                context.note(format!("index {index} {word} {name} {}", versions.join(", ")));
            }
        }
        Ok(())
    }
}

impl Sign {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let n = carried::sign(&context.session, &self.place.repo, self.identity.as_deref())?;
        if context.json {
            ui::json(&serde_json::json!({ "index": n }));
        } else {
            context.note(format!("signed index {n}"));
        }
        Ok(())
    }
}
