//! Verbs of an environment: `pkg add`, `update`, `remove`, `sync`, `list`, `load`, `verify`,
//! `history`, `rollback`.

use super::Context;
use super::clone::show_bytes;
use crate::ui;
use objects::name::PackageName;
use objects::spec::PackageSpec;
use porcelain::Error;
use porcelain::env::{Environment, LoadOptions};
use porcelain::error::Class;
use porcelain::install::{self, Options, Plan, Verb, Verified};
use porcelain::trust::why::Standing;
use std::path::Path;
use std::process::ExitCode;

/// How a change is made.
#[derive(clap::Args)]
struct How {
    /// Show the plan, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long, env = "PKG_YES", value_parser = clap::builder::FalseyValueParser::new())]
    yes: bool,
    /// Ask nobody: use what was fetched before
    #[arg(long, env = "PKG_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    offline: bool,
    /// Refuse to change pkg.lock
    #[arg(long)]
    locked: bool,
    /// Take the oldest versions that fit
    #[arg(long)]
    minimal: bool,
    /// Take pre-releases too
    #[arg(long)]
    pre: bool,
    /// Follow names that belong to somebody else now; find out why first
    #[arg(long, conflicts_with = "locked")]
    accept_identity: bool,
    /// Use new names that look like ones you know; look twice first
    #[arg(long)]
    accept_similar: bool,
    /// Refuse withdrawn versions even if pkg.lock keeps them
    #[arg(long)]
    deny_yanked: bool,
}

impl How {
    fn carry_out(&self, context: &Context, verb: Verb, why: String) -> Result<(), Error> {
        let environment = Environment::find(Path::new("."))?;
        let options = Options {
            offline: self.offline,
            locked: self.locked,
            minimal: self.minimal,
            prereleases: self.pre,
            accept_identity: self.accept_identity,
            accept_similar: self.accept_similar,
            deny_yanked: self.deny_yanked,
            why,
        };
        let mut plan = install::plan(&context.session, &environment, &verb, &options, &context.screen)?;
        if self.dry_run {
            return show_plan(context, &plan, true);
        }
        if !context.json {
            show_plan(context, &plan, false)?;
        }
        if plan.is_noop() {
            return nothing_changed(context, &environment);
        }
        let asks = plan.changes().count() > 0 && !context.json && is_terminal();
        if asks && !(self.accepts_similar(&mut plan)? && ui::confirm("go ahead?", self.yes)?) {
            context.note("nothing was changed");
            return Ok(());
        }
        let outcome = install::apply(&context.session, &environment, plan, &context.screen)?;
        if context.json {
            ui::json(&outcome);
            return Ok(());
        }
        let changed = outcome.actions.len() as u64;
        context.note(format!(
            "done: generation {}, {} changed, {} new in {}",
            outcome.generation,
            ui::count(changed, "package"),
            ui::bytes(outcome.new_bytes),
            ui::count(outcome.objects, "object"),
        ));
        show_bytes(context, &outcome.bytes);
        Ok(())
    }

    /// Asks about new names that look like known ones. `--yes` is no answer to that: where nobody is asked,
    /// the plan is refused.
    fn accepts_similar(&self, plan: &mut Plan) -> Result<bool, Error> {
        if self.yes {
            return Ok(true);
        }
        for similar in &plan.similar {
            if !ui::confirm_risk(&format!("{}: do you mean {}?", similar.said(), similar.name))? {
                return Ok(false);
            }
        }
        plan.accept_similar();
        Ok(true)
    }
}

fn nothing_changed(context: &Context, environment: &Environment) -> Result<(), Error> {
    if context.json {
        let generation = environment.head()?;
        ui::json(
            &serde_json::json!({ "generation": generation, "actions": [], "objects": 0, "new_bytes": 0, "bytes": [] }),
        );
    }
    Ok(())
}

fn is_terminal() -> bool {
    use std::io::IsTerminal;
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// The plan in the order it is carried out (G-13).
fn show_plan(context: &Context, plan: &Plan, as_data: bool) -> Result<(), Error> {
    if context.json {
        ui::json(plan);
        return Ok(());
    }
    let say = |text: String| if as_data { ui::line(text) } else { context.note(text) };
    for action in plan.changes() {
        let versions = match (&action.from, &action.to) {
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            (None, Some(to)) => to.to_string(),
            (Some(from), None) => from.to_string(),
            (None, None) => String::new(),
        };
        let needed: Vec<&str> = action.needed_by.iter().map(PackageName::as_str).collect();
        let why = if needed.is_empty() { String::new() } else { format!("  (for {})", needed.join(", ")) };
        let license = action.license.as_ref().map_or(String::new(), |license| format!("  {license}"));
        say(format!(
            "  {:<9} {} {versions}  {}{license}{why}",
            action.action,
            action.name,
            ui::bytes(action.size)
        ));
    }
    plan.accepts.iter().for_each(|changed| say(format!("  accept    {}", changed.said())));
    plan.similar.iter().for_each(|similar| say(format!("  similar   {}", similar.said())));
    let changes = plan.changes().count() as u64;
    if changes == 0 {
        say("  nothing to change".into());
    } else {
        let here = plan.changes().filter(|action| action.to.is_some() && action.stored).count();
        let stored = if here > 0 { format!(", {here} in your store already") } else { String::new() };
        say(format!(
            "  {} to change, {} on disk{stored}",
            ui::count(changes, "package"),
            ui::bytes(plan.size())
        ));
    }
    Ok(())
}

/// Install packages with all they need
#[derive(clap::Args)]
pub struct Add {
    /// NAME, NAME@REQ (^1.2, ~1.4, >0.1<0.5), NAME#VERSION, NAME#CHANNEL:REQ, NAME#blake3:ID
    #[arg(required = true)]
    specs: Vec<PackageSpec>,
    #[command(flatten)]
    how: How,
}

impl Add {
    pub fn run(self, context: &Context) -> Result<(), Error> {
        let words: Vec<String> = self.specs.iter().map(ToString::to_string).collect();
        self.how.carry_out(context, Verb::Add(self.specs), format!("add {}", words.join(" ")))
    }
}

/// Take the newest versions that fit
#[derive(clap::Args)]
pub struct Update {
    /// Only these, and what they need
    names: Vec<PackageName>,
    #[command(flatten)]
    how: How,
}

impl Update {
    pub fn run(self, context: &Context) -> Result<(), Error> {
        let words: Vec<&str> = self.names.iter().map(PackageName::as_str).collect();
        let why = format!("update {}", words.join(" ")).trim_end().to_owned();
        self.how.carry_out(context, Verb::Update(self.names), why)
    }
}

/// Remove packages, and what nothing needs any more
#[derive(clap::Args)]
pub struct Remove {
    /// Which
    #[arg(required = true)]
    names: Vec<PackageName>,
    #[command(flatten)]
    how: How,
}

impl Remove {
    pub fn run(self, context: &Context) -> Result<(), Error> {
        let words: Vec<&str> = self.names.iter().map(PackageName::as_str).collect();
        let why = format!("remove {}", words.join(" "));
        self.how.carry_out(context, Verb::Remove(self.names), why)
    }
}

/// Make the environment what pkg.cfg.toml and pkg.lock say
#[derive(clap::Args)]
pub struct Sync {
    #[command(flatten)]
    how: How,
}

impl Sync {
    pub fn run(self, context: &Context) -> Result<(), Error> {
        self.how.carry_out(context, Verb::Sync, "sync".into())
    }
}

/// List what is installed
#[derive(clap::Args)]
pub struct List {}

impl List {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let generation = Environment::find(Path::new("."))?.current()?;
        if context.json {
            ui::json(&generation.packages);
            return Ok(());
        }
        for package in &generation.packages {
            let why = if package.requested { "" } else { "  (needed by another)" };
            ui::line(format!("{}-{}  {}{why}", package.name, package.version, ui::bytes(package.size)));
        }
        Ok(())
    }
}

/// Print where an installed package is, and what it is
///
/// Decided among what is installed here, without network and without index.
#[derive(clap::Args)]
pub struct Load {
    /// NAME, NAME@REQ, NAME#REQ, NAME#VERSION, NAME#blake3:ID or NAME#sha256:DIGEST
    spec: PackageSpec,
    /// Make a link again that was deleted, if the content is still here
    #[arg(long)]
    repair_links: bool,
}

impl Load {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let environment = Environment::find(Path::new("."))?;
        let media = environment.load(&self.spec, LoadOptions { repair_links: self.repair_links })?;
        if context.json {
            ui::json(&media);
            return Ok(());
        }
        let text = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        ui::line(format!("name     {}", media.name));
        ui::line(format!("version  {}", text(media.version.as_ref().map(ToString::to_string))));
        ui::line(format!("media    {}", media.media));
        ui::line(format!("tree     {}", text(media.tree.as_ref().map(ToString::to_string))));
        ui::line(format!("path     {}", media.path.display()));
        Ok(())
    }
}

/// Compare what is installed with what was signed, and judge it again
///
/// Byte by byte; and each release by what is known today, which `pkg fetch` brings: one whose key was stolen
/// since, or whose signer may no longer act for its owner, is named.
#[derive(clap::Args)]
pub struct Verify {
    /// Only these
    names: Vec<PackageName>,
    /// Ask nobody for statements that are not here
    #[arg(long, env = "PKG_OFFLINE", value_parser = clap::builder::FalseyValueParser::new())]
    offline: bool,
    /// Put fresh copies in the place of changed ones, which are kept as backups
    #[arg(long)]
    repair: bool,
}

impl Verify {
    pub fn run(&self, context: &Context) -> Result<ExitCode, Error> {
        let environment = Environment::find(Path::new("."))?;
        if self.repair {
            let backups = install::reinstall(&context.session, &environment, &self.names)?;
            if context.json {
                ui::json(&serde_json::json!({ "backups": backups }));
            } else {
                backups
                    .iter()
                    .for_each(|path| ui::line(format!("the changed copy is kept in {}", path.display())));
            }
            return Ok(ExitCode::SUCCESS);
        }
        let verified = install::verify(&context.session, &environment, &self.names, self.offline)?;
        if context.json {
            ui::json(&verified);
        } else {
            verified.iter().for_each(show_verified);
        }
        let refused = verified.iter().any(|package| matches!(package.standing, Standing::Refused(_)));
        let whole = verified.iter().all(|package| package.differences.is_empty());
        Ok(match (whole, refused) {
            (true, false) => ExitCode::SUCCESS,
            (true, true) => ExitCode::from(Class::Untrusted as u8),
            (false, _) => ExitCode::from(Class::Damaged as u8),
        })
    }
}

fn show_verified(package: &Verified) {
    let (name, version) = (&package.name, &package.version);
    let (state, because) = match &package.standing {
        Standing::Refused(why) => (", but refused today", Some(format!("refused[{}]", why.code))),
        Standing::Advised(why) => (", but advised against", Some(format!("advised[{}]", why.code))),
        Standing::Unknown(why) => ("", Some(format!("not judged[{}]", why.code))),
        Standing::Accepted => ("", None),
    };
    let bytes = if package.differences.is_empty() { "as signed" } else { "changed" };
    ui::line(format!("{name}-{version}  {bytes}{state}"));
    if let (Some(because), Some(why)) = (because, package.standing.why()) {
        ui::line(format!("  {because}\t{}", why.message));
    }
    package.differences.iter().for_each(|difference| {
        let fault = format!("{:?}", difference.fault).to_lowercase();
        ui::line(format!("  {fault}\t{}", difference.path));
    });
}

/// List the states this environment went through
#[derive(clap::Args)]
pub struct History {}

impl History {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let environment = Environment::find(Path::new("."))?;
        let generations = environment.history()?;
        if context.json {
            ui::json(&generations);
            return Ok(());
        }
        let head = environment.head()?;
        for generation in generations.iter().rev() {
            let mark = if generation.number == head { "*" } else { " " };
            let packages = ui::count(generation.packages.len() as u64, "package");
            ui::line(format!(
                "{mark} {:>4}  {}  {packages}  {}",
                generation.number,
                ui::time(generation.when),
                generation.why
            ));
        }
        Ok(())
    }
}

/// Go back to an earlier state, as a new one
#[derive(clap::Args)]
pub struct Rollback {
    /// The number `pkg history` shows (default: the one before)
    to: Option<u64>,
}

impl Rollback {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let environment = Environment::find(Path::new("."))?;
        let generation = environment.lock_exclusive()?.rollback(self.to, context.session.now())?;
        if context.json {
            ui::json(&generation);
        } else {
            context.note(format!("done: generation {} ({})", generation.number, generation.why));
        }
        Ok(())
    }
}
