//! `pkg id new`, and asking for passphrases.

use super::{Context, public_key, show};
use crate::ui;
use porcelain::identity::{self, Founding, Thresholds};
use porcelain::{Error, Passphrase, shield};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// How new keys are kept.
#[derive(clap::Args)]
pub struct NewKeys {
    /// Encrypt new keys with the passphrase in FILE's first line (or $PKG_PASSPHRASE, or asked for with --encrypt)
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Ask for a passphrase
    #[arg(long)]
    encrypt: bool,
}

impl NewKeys {
    pub fn passphrase(&self, name: &str) -> Result<Option<Passphrase>, Error> {
        match &self.passphrase_file {
            Some(path) => Ok(Some(read_passphrase(path)?)),
            None if self.encrypt => Ok(Some(ask_twice(name)?)),
            None => Ok(None),
        }
    }
}

/// Make an identity: one key in all roles, unless you say otherwise
///
/// A careful author uses --separate: a root key that changes the identity and a recovery key, both to be
/// moved to where no network is, and a key to work with. A team names its members' public keys, which
/// `pkg id key` prints on their machines; what changes the team then waits until enough have signed.
#[derive(clap::Args)]
pub struct New {
    /// What you call it
    name: String,
    /// Use a copy of the ed25519 key in FILE, as ssh-keygen or openssl write it (~/.ssh/id_ed25519)
    #[arg(long, value_name = "FILE", conflicts_with = "member")]
    key: Option<PathBuf>,
    /// Make a root key and a recovery key of their own, in files that you can move elsewhere
    #[arg(long)]
    separate: bool,
    /// Make a recovery key of its own: it can replace root if that is lost
    #[arg(long)]
    recovery: bool,
    /// A public key for the role root, made elsewhere (may be repeated)
    #[arg(long, value_name = "KEY", conflicts_with = "separate")]
    root_key: Vec<String>,
    /// A public key for the role recovery, made elsewhere (may be repeated)
    #[arg(long, value_name = "KEY", conflicts_with = "recovery")]
    recovery_key: Vec<String>,
    /// The public key of a member of a team, or one of your identities (may be repeated)
    #[arg(long, value_name = "KEY", num_args = 1..)]
    member: Vec<String>,
    /// How many have to sign: N for root, recovery, admin and release, or ROLE=N (default: most members)
    #[arg(long, value_name = "N|ROLE=N")]
    threshold: Vec<String>,
    #[command(flatten)]
    keys: NewKeys,
}

impl New {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let all = |texts: &[String]| {
            texts.iter().map(|text| public_key(context, text)).collect::<Result<Vec<_>, _>>()
        };
        let founding = Founding {
            name: self.name.clone(),
            separate: self.separate,
            recovery: self.recovery,
            root_keys: all(&self.root_key).and_then(distinct)?,
            recovery_keys: all(&self.recovery_key).and_then(distinct)?,
            members: all(&self.member).and_then(distinct)?,
            thresholds: thresholds(&self.threshold)?,
            passphrase: self.keys.passphrase(&self.name)?,
        };
        if let Some(file) = &self.key {
            identity::import(&context.session, &self.name, file, founding.passphrase.as_ref())?;
        }
        let changed = identity::found(&context.session, &founding)?;
        show(context, &changed, Some(format!("{}  id:{}", changed.name, changed.id.to_hex())));
        if founding.passphrase.is_none() && !changed.keys.is_empty() {
            context.note("the key is not encrypted; keep a copy of it, it cannot be made again");
        }
        if self.separate {
            context.note(
                "move the keys of root and recovery to where no network is; `pkg sign` uses them there",
            );
        }
        Ok(())
    }
}

fn distinct(keys: Vec<objects::key::PublicKey>) -> Result<Vec<objects::key::PublicKey>, Error> {
    let mut sorted = keys.clone();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Error::usage(format!("{} is named twice", pair[0]), "name each key once")),
        None => Ok(keys),
    }
}

fn thresholds(texts: &[String]) -> Result<Thresholds, Error> {
    let mut thresholds = Thresholds::default();
    for text in texts {
        let number = |digits: &str| {
            digits.parse::<usize>().map_err(|_| {
                Error::usage(
                    format!("{text:?} is no threshold"),
                    "write a number, or ROLE=NUMBER such as release=1",
                )
            })
        };
        match text.split_once('=') {
            Some((role, digits)) => drop(thresholds.by_role.insert(role.to_owned(), number(digits)?)),
            None => thresholds.main = Some(number(text)?),
        }
    }
    Ok(thresholds)
}

fn read_passphrase(path: &Path) -> Result<Passphrase, Error> {
    let passphrase = Passphrase::read(path)?;
    if passphrase.is_empty() {
        return Err(Error::usage(
            format!("{} has no first line", path.display()),
            "write the passphrase into it",
        ));
    }
    Ok(passphrase)
}

fn ask_twice(name: &str) -> Result<Passphrase, Error> {
    shield();
    let refuse = || Error::usage("nobody can be asked for a passphrase here", "use --passphrase-file");
    if let Ok(text) = std::env::var("PKG_PASSPHRASE") {
        return Ok(Passphrase::from(text));
    }
    if !std::io::stdin().is_terminal() {
        return Err(refuse());
    }
    let asked = |what: &str| rpassword::prompt_password(what).map(Passphrase::from).map_err(|_| refuse());
    let first = asked(&format!("new passphrase for {name}: "))?;
    let second = asked("once more: ")?;
    if first != second || first.is_empty() {
        return Err(Error::usage("the two differ, or are empty", "try again"));
    }
    Ok(first)
}

/// Asks for the passphrase of a key: $PKG_PASSPHRASE, then the file $PKG_PASSPHRASE_FILE names, then
/// the terminal.
pub fn ask(key: &str) -> Option<Passphrase> {
    shield();
    if let Ok(text) = std::env::var("PKG_PASSPHRASE") {
        return Some(Passphrase::from(text));
    }
    if let Some(path) = std::env::var_os("PKG_PASSPHRASE_FILE") {
        return read_passphrase(Path::new(&path)).map_err(|error| ui::warn(error.message())).ok();
    }
    if !std::io::stdin().is_terminal() {
        return None;
    }
    rpassword::prompt_password(format!("passphrase for {key}: ")).ok().map(Passphrase::from)
}
