//! `pkg id rotate`, `revoke`, `recover`, `reset`, `apply`, `abandon`.

use super::new::NewKeys;
use super::{Context, To, lines, public_key, show};
use crate::ui;
use objects::identity::Reset;
use porcelain::Error;
use porcelain::identity::{self, GoodUntil, How, Options};
use std::path::PathBuf;

/// What comes in the place of a key.
#[derive(clap::Args)]
struct Instead {
    /// Put this public key in its place, made elsewhere, rather than a new one made here
    #[arg(long = "with", value_name = "KEY", conflicts_with = "drop")]
    with: Vec<String>,
    /// Put nothing in its place
    #[arg(long)]
    drop: bool,
}

impl Instead {
    fn how(&self, context: &Context) -> Result<How, Error> {
        let keys = self.with.iter().map(|text| public_key(context, text)).collect::<Result<Vec<_>, _>>()?;
        Ok(match (self.drop, keys.is_empty()) {
            (true, _) => How::Drop,
            (false, true) => How::Fresh,
            (false, false) => How::Given(keys),
        })
    }
}

fn options(keys: &NewKeys, name: &str, good_until: &[GoodUntil], to: &To) -> Result<Options, Error> {
    let passphrase = keys.passphrase(name)?;
    Ok(Options { to: to.to.clone(), passphrase, good_until: good_until.to_vec() })
}

/// Give roles a new key; the old one retires
///
/// What the old key signed so far stays good: the document lists the newest entry of each log this machine
/// knows. The old key file is not deleted.
#[derive(clap::Args)]
pub struct Rotate {
    /// Which of your identities
    name: Option<String>,
    /// Only this role (may be repeated); else all roles of the key
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Which key goes; else the one here that stands in the role, or signs releases
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    #[command(flatten)]
    instead: Instead,
    /// The last good entry of a package, if it is not the newest one known here
    #[arg(long, value_name = "PACKAGE=NUMBER")]
    good_until: Vec<GoodUntil>,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    keys: NewKeys,
}

impl Rotate {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let own = identity::choose(&context.session, self.name.as_deref())?;
        let how = self.instead.how(context)?;
        let options = options(&self.keys, &own.name, &self.good_until, &self.to)?;
        let key = self.key.as_deref();
        let changed = identity::rotate(&context.session, &own, &self.role, key, &how, &options)?;
        show(context, &changed, None);
        Ok(())
    }
}

/// Declare a key stolen, and put another in its place
///
/// Of what the key signed, only the entries stand that this machine signed itself, or that --good-until
/// names. A revocation is never taken back.
#[derive(clap::Args)]
pub struct Revoke {
    /// The key: its file's name, its first digits, or all of it
    key: String,
    /// Which of your identities
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
    #[command(flatten)]
    instead: Instead,
    /// The last good entry of a package; `none` if there is no good one (may be repeated)
    #[arg(long, value_name = "PACKAGE=NUMBER")]
    good_until: Vec<GoodUntil>,
    /// Let the numbering of a role start anew after this number, because the thief ran it forward
    #[arg(long, value_name = "ROLE=NUMBER", value_parser = parse_reset)]
    reset: Vec<Reset>,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    keys: NewKeys,
}

impl Revoke {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let own = identity::choose(&context.session, self.identity.as_deref())?;
        let how = self.instead.how(context)?;
        let options = options(&self.keys, &own.name, &self.good_until, &self.to)?;
        let changed = identity::revoke(&context.session, &own, &self.key, &how, &self.reset, &options)?;
        show(context, &changed, None);
        Ok(())
    }
}

/// Give an identity a new root, because the old one is lost; its recovery key signs
#[derive(clap::Args)]
pub struct Recover {
    /// Which of your identities
    name: Option<String>,
    /// The old root is in other hands: revoke it, rather than retire it
    #[arg(long)]
    stolen: bool,
    /// The public key of the new root, made elsewhere (may be repeated)
    #[arg(long = "with", value_name = "KEY")]
    with: Vec<String>,
    /// The last good entry of a package (may be repeated)
    #[arg(long, value_name = "PACKAGE=NUMBER")]
    good_until: Vec<GoodUntil>,
    #[command(flatten)]
    to: To,
    #[command(flatten)]
    keys: NewKeys,
}

impl Recover {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let own = identity::choose(&context.session, self.name.as_deref())?;
        let how = Instead { with: self.with.clone(), drop: false }.how(context)?;
        let options = options(&self.keys, &own.name, &self.good_until, &self.to)?;
        let changed = identity::recover(&context.session, &own, &how, self.stolen, &options)?;
        show(context, &changed, None);
        Ok(())
    }
}

/// Let the numbering of roles start anew, after a thief ran it forward
#[derive(clap::Args)]
#[command(name = "reset")]
pub struct ResetNumbers {
    /// The role, and the number after which it goes on
    #[arg(value_name = "ROLE=NUMBER", value_parser = parse_reset, required = true)]
    resets: Vec<Reset>,
    /// Which of your identities
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
    #[command(flatten)]
    to: To,
}

impl ResetNumbers {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let own = identity::choose(&context.session, self.identity.as_deref())?;
        let options = Options { to: self.to.to.clone(), ..Options::default() };
        let changed = identity::reset(&context.session, &own, &self.resets, &options)?;
        show(context, &changed, None);
        Ok(())
    }
}

fn parse_reset(text: &str) -> Result<Reset, String> {
    let fault = || format!("{text:?} is not ROLE=NUMBER");
    let (role, n) = text.split_once('=').ok_or_else(fault)?;
    Ok(Reset { role: role.to_owned(), n: n.parse().map_err(|_| fault())? })
}

/// Take statements that enough keys have signed, or the documents of an identity from a file
///
/// Copies of one statement with different signatures are joined.
#[derive(clap::Args)]
pub struct Apply {
    /// Files that `pkg sign` completed, or `pkg id export` wrote
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    to: To,
}

impl Apply {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let taken = identity::apply(&context.session, &self.files, &self.to.to)?;
        if context.json {
            ui::json(&taken);
            return Ok(());
        }
        for one in &taken {
            lines(&one.says);
            context.note("taken; the file is not needed any more");
            one.then.iter().for_each(|then| context.note(format!("next: {then}")));
            for put in &one.put {
                context.note(format!("{} has it in index {}", put.repository.display(), put.index));
            }
        }
        Ok(())
    }
}

/// Give up a statement that waits for signatures, so that another can be signed in its place
#[derive(clap::Args)]
pub struct Abandon {
    /// The file that waits
    file: PathBuf,
}

impl Abandon {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let statement = identity::abandon(&context.session, &self.file)?;
        if context.json {
            ui::json(&serde_json::json!({ "abandoned": statement }));
        } else {
            ui::line(format!("gave up {}", statement.short(16)));
            context.note("whoever completes it elsewhere can still use it: tell those who signed");
        }
        Ok(())
    }
}
