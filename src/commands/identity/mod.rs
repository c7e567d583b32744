//! `pkg id`.

mod change;
mod grants;
mod look;
mod new;

pub use new::ask;

use super::Context;
use super::trust::Resolve;
use crate::ui;
use objects::key::PublicKey;
use porcelain::Error;
use porcelain::identity::{self, Changed, Own, Waiting};
use std::path::PathBuf;

/// Identities: the keys you publish with, who else may, and what happened to them
#[derive(clap::Subcommand)]
pub enum Id {
    New(new::New),
    List(look::List),
    Key(look::Key),
    Show(look::Show),
    Log(look::Log),
    Verify(look::Verify),
    Resolve(Resolve),
    Rotate(change::Rotate),
    Revoke(change::Revoke),
    Recover(change::Recover),
    Reset(change::ResetNumbers),
    Grant(grants::Grant),
    Grants(grants::Grants),
    Ungrant(grants::Ungrant),
    Apply(change::Apply),
    Abandon(change::Abandon),
    Export(look::Export),
}

impl Id {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Id::New(args) => args.run(context),
            Id::List(args) => args.run(context),
            Id::Key(args) => args.run(context),
            Id::Show(args) => args.run(context),
            Id::Log(args) => args.run(context),
            Id::Verify(args) => args.run(context),
            Id::Resolve(args) => args.run(context),
            Id::Rotate(args) => args.run(context),
            Id::Revoke(args) => args.run(context),
            Id::Recover(args) => args.run(context),
            Id::Reset(args) => args.run(context),
            Id::Grant(args) => args.run(context),
            Id::Grants(args) => args.run(context),
            Id::Ungrant(args) => args.run(context),
            Id::Apply(args) => args.run(context),
            Id::Abandon(args) => args.run(context),
            Id::Export(args) => args.run(context),
        }
    }
}

/// Where a change goes besides the user's store.
#[derive(clap::Args)]
pub struct To {
    /// Put it into this repository of yours at once, by a new index (may be repeated); else your next
    /// publication takes it along
    #[arg(long, value_name = "REPO")]
    to: Vec<PathBuf>,
}

fn id_text(own: &Own) -> String {
    format!("id:{}", own.id.to_hex())
}

/// The public key that a text is, or that an identity of the user works with here.
fn public_key(context: &Context, text: &str) -> Result<PublicKey, Error> {
    match text.parse() {
        Ok(key) => Ok(key),
        Err(_) if text.starts_with("ed25519:") => Err(Error::usage(
            format!("{text} is no sound ed25519 public key"),
            "`pkg id key` prints one on the machine that has it",
        )),
        Err(_) => {
            let own = identity::choose(&context.session, Some(text))?;
            Ok(identity::public_key(&context.session, &own)?.key)
        }
    }
}

/// A change, for people or as JSON.
fn show(context: &Context, changed: &Changed, first: Option<String>) {
    if context.json {
        return ui::json(changed);
    }
    // Who makes the one key of a name knows where it is.
    let is_plain = first.is_some() && changed.keys.len() == 1;
    match first {
        Some(first) => ui::line(first),
        None => lines(&changed.says),
    }
    for held in changed.keys.iter().filter(|_| !is_plain) {
        let path = context.session.home().join("keys").join(format!("{}.key", held.file));
        context.note(format!("new key {} in {}", held.key, path.display()));
    }
    for file in &changed.old_files {
        context.note(format!("the old key stays in {}: it is not needed any more", file.display()));
    }
    waiting(context, &changed.waiting);
    for put in &changed.put {
        context.note(format!("{} has it in index {}", put.repository.display(), put.index));
    }
}

/// A statement in words: its head, and what it says beneath.
pub fn lines(says: &[String]) {
    for (n, line) in says.iter().enumerate() {
        ui::line(if n == 0 { line.clone() } else { format!("  {line}") });
    }
}

fn waiting(context: &Context, all: &[Waiting]) {
    for waiting in all {
        context
            .note(format!("nothing has changed yet: it waits for signatures in {}", waiting.file.display()));
        for need in &waiting.needs {
            needs(context, need);
        }
        context.note("next: `pkg sign FILE` where those keys are, then `pkg id apply FILE` here");
    }
}

/// What is still needed, key by key.
pub fn needs(context: &Context, need: &identity::Need) {
    context.note(format!("  {} more of the role {}, one of", need.missing, need.role));
    need.of.iter().for_each(|key| context.note(format!("    {key}")));
}
