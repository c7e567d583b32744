//! The command line: one file a group of verbs, each a call into porcelain and a rendering.

mod bundle;
mod clone;
mod debug;
mod environment;
mod identity;
mod init;
mod inspect;
mod maintain;
mod plumbing;
mod publish;
mod push;
mod repo;
#[cfg(feature = "net")]
mod serve;
mod sign;
mod similar;
mod trust;
mod withdraw;

use crate::ui;
use crate::ui::progress::Screen;
use clap::{Args, CommandFactory, Parser, Subcommand};
use objects::repository::Repository;
use porcelain::Error;
use porcelain::inspect::View;
use porcelain::session::{Options, Session};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Git for packages: publish, clone and update signed, deduplicated packages from any folder, web
/// server or peer.
#[derive(Parser)]
#[command(name = "pkg", version, max_term_width = 100)]
#[command(
    after_help = "Begin with `pkg init --bare repo`, `pkg publish FOLDER --to repo`, `pkg clone repo work`.\n\
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 untrusted, 5 conflict, 6 network, 7 damaged."
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args)]
pub struct Global {
    /// Run as if started in DIR
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    directory: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, global = true, env = "PKG_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
    /// Say less: no remarks, no warnings
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Say more; repeat for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// When to colour
    #[arg(long, value_name = "WHEN", global = true, default_value = "auto", env = "PKG_COLOR")]
    color: Color,
    /// Draw no progress
    #[arg(long, global = true, env = "PKG_NO_PROGRESS", value_parser = clap::builder::FalseyValueParser::new())]
    no_progress: bool,
    /// Threads for computing (default: all cores)
    #[arg(long, value_name = "N", global = true, env = "PKG_JOBS")]
    jobs: Option<usize>,
    /// Accept an index that is past its time by at most this, such as 90d
    #[arg(long, value_name = "DURATION", global = true, env = "PKG_MAX_STALE")]
    max_stale: Option<String>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Clone(clone::Clone),
    Publish(publish::Publish),
    Push(push::Push),
    Yank(withdraw::Yank),
    Unyank(withdraw::Unyank),
    #[command(subcommand)]
    Repo(repo::Repo),
    #[cfg(feature = "net")]
    Serve(serve::Serve),
    Fetch(clone::Fetch),
    #[command(alias = "install")]
    Add(environment::Add),
    #[command(alias = "upgrade")]
    Update(environment::Update),
    #[command(alias = "uninstall")]
    Remove(environment::Remove),
    Sync(environment::Sync),
    List(environment::List),
    Load(environment::Load),
    Verify(environment::Verify),
    History(environment::History),
    Rollback(environment::Rollback),
    Search(inspect::Search),
    Show(inspect::Show),
    Log(inspect::Log),
    Diff(inspect::Diff),
    Checkout(inspect::Checkout),
    Archive(inspect::Archive),
    #[command(subcommand)]
    Id(identity::Id),
    Sign(sign::Sign),
    #[command(subcommand)]
    Trust(trust::Trust),
    #[command(subcommand)]
    Bundle(bundle::Bundle),
    Fsck(maintain::Fsck),
    Gc(maintain::Gc),
    Repack(maintain::Repack),
    HashObject(plumbing::HashObject),
    CatFile(plumbing::CatFile),
    LsTree(plumbing::LsTree),
    RevParse(plumbing::RevParse),
    ShowRef(plumbing::ShowRef),
    LsRemote(plumbing::LsRemote),
    CountObjects(plumbing::CountObjects),
    VerifyPack(plumbing::VerifyPack),
    DeltaSize(plumbing::DeltaSize),
    Similar(similar::Similar),
    #[command(subcommand, hide = true)]
    Debug(debug::Debug),
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

/// What a command has at hand.
pub struct Context {
    pub session: Session,
    pub screen: Screen,
    pub json: bool,
    pub quiet: bool,
    pub verbose: bool,
}

impl Context {
    /// A remark, unless the user wants silence or JSON.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet && !self.json {
            ui::note(text);
        }
    }

    /// The repository a reading command looks into: the one named, the bare one we stand in, the
    /// environment's, or the user's store.
    pub fn view(&self, repo: Option<&Path>) -> Result<View, Error> {
        if let Some(path) = repo.or_else(|| stands_in_repository().then_some(Path::new("."))) {
            return View::bare(Arc::new(Repository::open(path)?));
        }
        let bound = porcelain::install::bound_repository(Path::new("."))?;
        View::store(&self.session, bound.as_ref())
    }

    /// The repository itself, as [`Context::view`] finds it.
    pub fn repository(&self, repo: Option<&Path>) -> Result<Arc<Repository>, Error> {
        Ok(self.view(repo)?.repository().clone())
    }
}

fn stands_in_repository() -> bool {
    Path::new("config").is_file() && Path::new("objects/pack").is_dir()
}

/// Runs a command line.
pub fn run(cli: Cli) -> Result<ExitCode, Error> {
    if let Some(folder) = &cli.global.directory {
        std::env::set_current_dir(folder).map_err(|e| objects::disk::Error::new("enter", folder, e))?;
    }
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let context = context(&cli.global)?;
    dispatch(cli.command, &context)
}

fn context(global: &Global) -> Result<Context, Error> {
    let freshness = match &global.max_stale {
        Some(text) => {
            let seconds = porcelain::config::parse_duration(text)?;
            Some(porcelain::Freshness::MaxStale { seconds })
        }
        None => None,
    };
    let mut session = Session::open(Options { home: None, jobs: global.jobs, freshness })?;
    session.ask_with(identity::ask);
    if !global.quiet {
        session.tell_with(|message| ui::warn(message));
    }
    let screen = Screen::new(global.quiet, !global.no_progress && !global.json);
    Ok(Context { session, screen, json: global.json, quiet: global.quiet, verbose: global.verbose > 0 })
}

fn dispatch(command: Command, context: &Context) -> Result<ExitCode, Error> {
    match command {
        Command::Init(args) => args.run(context),
        Command::Clone(args) => args.run(context),
        Command::Publish(args) => args.run(context),
        Command::Push(args) => args.run(context),
        Command::Yank(args) => args.run(context),
        Command::Unyank(args) => args.run(context),
        Command::Repo(args) => args.run(context),
        #[cfg(feature = "net")]
        Command::Serve(args) => args.run(context),
        Command::Fetch(args) => args.run(context),
        Command::Add(args) => args.run(context),
        Command::Update(args) => args.run(context),
        Command::Remove(args) => args.run(context),
        Command::Sync(args) => args.run(context),
        Command::List(args) => args.run(context),
        Command::Load(args) => args.run(context),
        Command::Verify(args) => return args.run(context),
        Command::History(args) => args.run(context),
        Command::Rollback(args) => args.run(context),
        Command::Search(args) => args.run(context),
        Command::Show(args) => args.run(context),
        Command::Log(args) => args.run(context),
        Command::Diff(args) => args.run(context),
        Command::Checkout(args) => args.run(context),
        Command::Archive(args) => args.run(context),
        Command::Id(args) => args.run(context),
        Command::Trust(args) => return args.run(context),
        Command::Sign(args) => args.run(context),
        Command::Bundle(args) => args.run(context),
        Command::Fsck(args) => return args.run(context),
        Command::Gc(args) => args.run(context),
        Command::Repack(args) => args.run(context),
        Command::HashObject(args) => args.run(context),
        Command::CatFile(args) => args.run(context),
        Command::LsTree(args) => args.run(context),
        Command::RevParse(args) => args.run(context),
        Command::ShowRef(args) => args.run(context),
        Command::LsRemote(args) => args.run(context),
        Command::CountObjects(args) => args.run(context),
        Command::VerifyPack(args) => args.run(context),
        Command::DeltaSize(args) => args.run(context),
        Command::Similar(args) => args.run(context),
        Command::Debug(args) => args.run(context),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "pkg", &mut std::io::stdout());
            Ok(())
        }
    }?;
    Ok(ExitCode::SUCCESS)
}
