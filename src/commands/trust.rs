//! `pkg trust`.

use super::Context;
use crate::ui;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::spec::PackageSpec;
use porcelain::env::Environment;
use porcelain::trust::evidence::{self, Evidence};
use porcelain::trust::why::{self, Request, Step, Why};
use porcelain::trust::{self, policy};
use porcelain::{Error, install};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Whom this machine believes, why, and who was caught lying
#[derive(clap::Subcommand)]
pub enum Trust {
    /// List what is pinned, and the newest statements seen
    List,
    /// Pin a name to its owner before it is used
    Pin {
        /// The name
        name: PackageName,
        /// Its owner: id: and 64 hexadecimal digits
        #[arg(value_parser = identity)]
        owner: IdentityId,
        /// In which repository (default: the environment's)
        #[arg(long, value_name = "ID/NAME")]
        repository: Option<String>,
    },
    /// Forget what a name or a source is pinned to
    Unpin {
        /// A package's name, or a source's address
        what: String,
    },
    /// Show the rules releases are judged by, or change one
    Policy {
        #[command(subcommand)]
        change: Option<PolicyChange>,
    },
    /// Show who signed two things under one number
    #[command(alias = "forks")]
    Log {
        /// Write both statements of each pair into DIR, for others to check
        #[arg(long, value_name = "DIR")]
        export: Option<PathBuf>,
    },
    Resolve(Resolve),
    /// Tell why a release is accepted, step by step, or would be refused
    Why {
        /// NAME, NAME@VERSION (default: the installed version, else the newest)
        spec: PackageSpec,
        /// Ask nobody: use what was fetched before
        #[arg(long, env = "PKG_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
        offline: bool,
    },
}

/// Say which of two statements holds
#[derive(clap::Args)]
pub struct Resolve {
    /// The number `pkg trust log` shows
    fork: String,
    /// ours, theirs, or the beginning of its id
    keep: String,
    /// Do not ask
    #[arg(short, long, env = "PKG_YES", value_parser = clap::builder::FalseyValueParser::new())]
    yes: bool,
}

/// A change of the rules
#[derive(clap::Subcommand)]
pub enum PolicyChange {
    /// Set a rule in config.toml
    Set {
        /// freshness, max-stale, min-age or deny-yanked
        key: String,
        /// Its value
        value: String,
    },
    /// Take a rule back to its default
    Unset {
        /// Which
        key: String,
    },
}

fn identity(text: &str) -> Result<IdentityId, String> {
    let id = text.strip_prefix("id:").unwrap_or(text).parse();
    id.map_err(|_| "an identity is id: and 64 hexadecimal digits, which its owner tells you".to_owned())
}

impl Trust {
    pub fn run(self, context: &Context) -> Result<ExitCode, Error> {
        match self {
            Trust::List => list(context),
            Trust::Pin { name, owner, repository } => pin(context, &name, owner, repository.as_deref()),
            Trust::Unpin { what } => unpin(context, &what),
            Trust::Policy { change } => rules(context, change),
            Trust::Log { export } => log(context, export.as_deref()),
            Trust::Resolve(args) => args.run(context),
            Trust::Why { spec, offline } => return explain(context, &spec, offline),
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

fn list(context: &Context) -> Result<(), Error> {
    let pins = trust::list(&context.session)?;
    if context.json {
        ui::json(&pins);
        return Ok(());
    }
    for pin in &pins.repositories {
        let (owner, name) = (pin.repository.owner.to_hex(), &pin.repository.name);
        ui::line(format!("source   {}  id:{owner}/{name}  since {}", pin.source, ui::time(pin.since)));
    }
    for pin in &pins.packages {
        let (owner, since) = (pin.owner.to_hex(), ui::time(pin.since));
        ui::line(format!("package  {}  id:{owner}  in {}, since {since}", pin.name, pin.repository));
    }
    for head in &pins.heads {
        ui::line(format!("head     {} {}  {}  {}", head.kind, head.line, head.n, head.id));
    }
    Ok(())
}

fn pin(
    context: &Context,
    name: &PackageName,
    owner: IdentityId,
    repository: Option<&str>,
) -> Result<(), Error> {
    let bound = install::bound_repository(Path::new("."))?;
    let pin = trust::pin(&context.session, name, owner, repository, bound)?;
    if context.json {
        ui::json(&pin);
    } else {
        context.note(format!("{} in {} belongs to id:{}", pin.name, pin.repository, pin.owner.to_hex()));
    }
    Ok(())
}

fn unpin(context: &Context, what: &str) -> Result<(), Error> {
    let kind = trust::unpin(&context.session, what)?;
    if context.json {
        ui::json(&serde_json::json!({ "unpinned": what, "kind": kind }));
    } else {
        context.note(format!("the {kind} {what} is no longer pinned; its next use pins it anew"));
    }
    Ok(())
}

fn rules(context: &Context, change: Option<PolicyChange>) -> Result<(), Error> {
    match change {
        Some(PolicyChange::Set { key, value }) => return policy::set(&context.session, &key, Some(&value)),
        Some(PolicyChange::Unset { key }) => return policy::set(&context.session, &key, None),
        None => {}
    }
    let rules = policy::list(&context.session)?;
    if context.json {
        ui::json(&rules);
        return Ok(());
    }
    for rule in &rules {
        let held = format!("{} = {}", rule.key, rule.value);
        ui::line(format!("{held:<24} {:<12} {}", rule.from, rule.says));
    }
    Ok(())
}

fn log(context: &Context, export: Option<&Path>) -> Result<(), Error> {
    let all = evidence::list(&context.session)?;
    let files = export.map(|folder| evidence::export(&context.session, folder)).transpose()?;
    if context.json {
        ui::json(&serde_json::json!({ "forks": all, "files": files.unwrap_or_default() }));
        return Ok(());
    }
    all.iter().for_each(show_evidence);
    if all.is_empty() {
        context.note("nobody was seen to sign two things under one number");
    }
    if let (Some(files), Some(folder)) = (files, export) {
        context.note(format!("{} in {}", ui::count(files.len() as u64, "file"), folder.display()));
    }
    Ok(())
}

fn show_evidence(fork: &Evidence) {
    let signer = fork.signer.map_or_else(|| fork.line.clone(), |signer| format!("id:{}", signer.to_hex()));
    ui::line(format!("fork {}: {signer} signed two statements, {} {}", fork.fork, fork.kind, fork.n));
    let mark = |id| if fork.kept == Some(id) { "  (kept)" } else { "" };
    ui::line(format!("  line    {}", fork.line));
    ui::line(format!("  ours    {}{}", fork.ours, mark(fork.ours)));
    ui::line(format!("  theirs  {}{}", fork.theirs, mark(fork.theirs)));
    ui::line(format!("  seen    {}, from {}", ui::time(fork.seen), fork.origin));
}

impl Resolve {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let choice = evidence::choice(&context.session, &self.fork, &self.keep)?;
        context.note(format!("keep     {}\ngive up  {}", choice.keep, choice.give_up));
        if !ui::confirm("is that what its author says?", self.yes)? {
            context.note("nothing was changed");
            return Ok(());
        }
        evidence::resolve(&context.session, &choice)?;
        if context.json {
            ui::json(&choice);
        } else {
            context.note("settled: the other one, and what grew from it, is refused");
        }
        Ok(())
    }
}

fn explain(context: &Context, spec: &PackageSpec, offline: bool) -> Result<ExitCode, Error> {
    let environment = match Environment::find(Path::new(".")) {
        Err(porcelain::env::Error::NoEnvironment { .. }) => None,
        found => Some(found?),
    };
    let request = Request { spec, environment: environment.as_ref(), offline };
    let why = why::why(&context.session, &request)?;
    if context.json {
        ui::json(&why);
    } else {
        show_why(&why);
    }
    let untrusted = ExitCode::from(porcelain::error::Class::Untrusted as u8);
    Ok(if why.accepted { ExitCode::SUCCESS } else { untrusted })
}

/// In words, then as a tree.
fn show_why(why: &Why) {
    let state = match (why.accepted, why.installed) {
        (true, true) => "accepted, and installed here",
        (true, false) => "accepted",
        (false, _) => "refused",
    };
    ui::line(format!("{} {}: {state}", why.name, why.version));
    why.chain.iter().for_each(words);
    ui::line("");
    why.chain.iter().for_each(|step| tree(step, "", ""));
    if let Some(refused) = &why.refused {
        ui::line(format!("\nrefused[{}]: {}", refused.code, refused.message));
    }
    for other in &why.others {
        ui::line(format!(
            "\n{} {} would be refused[{}]: {}",
            why.name, other.version, other.code, other.message
        ));
    }
}

fn words(step: &Step) {
    if !step.said.is_empty() {
        ui::line(format!("  check {}: {}", step.steps, step.what));
        step.said.iter().for_each(|said| ui::line(format!("    {said}")));
    }
    step.below.iter().for_each(words);
}

fn tree(step: &Step, branch: &str, indent: &str) {
    let mark = if step.holds { "ok" } else { "REFUSED" };
    ui::line(format!("{branch}{}  {mark}", step.what));
    for (n, below) in step.below.iter().enumerate() {
        let is_last = n + 1 == step.below.len();
        let (twig, more) = if is_last { ("`- ", "   ") } else { ("|- ", "|  ") };
        tree(below, &format!("{indent}{twig}"), &format!("{indent}{more}"));
    }
}
