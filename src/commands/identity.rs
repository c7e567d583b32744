//! `pkg id`.

use super::Context;
use crate::ui;
use porcelain::{Error, Passphrase, identity, shield};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

/// Your identities: the keys you publish with
#[derive(clap::Subcommand)]
pub enum Id {
    /// Make an identity with one key in all roles
    New {
        /// What you call it
        name: String,
        /// Use a copy of the ed25519 key in FILE, as ssh-keygen or openssl write it (~/.ssh/id_ed25519)
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Encrypt the key with the passphrase in FILE's first line (or $PKG_PASSPHRASE, or asked for with --encrypt)
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
        /// Ask for a passphrase
        #[arg(long)]
        encrypt: bool,
    },
    /// List yours
    List,
    /// Show the documents of one of yours
    Show {
        /// Which
        name: Option<String>,
    },
}

impl Id {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Id::New { name, key, passphrase_file, encrypt } => {
                let passphrase = match passphrase_file {
                    Some(path) => Some(read_passphrase(path)?),
                    None if *encrypt => Some(ask_twice(name)?),
                    None => None,
                };
                let own = match key {
                    Some(file) => identity::import(&context.session, name, file, passphrase.as_ref())?,
                    None => identity::new(&context.session, name, passphrase.as_ref())?,
                };
                if context.json {
                    ui::json(&own);
                } else {
                    ui::line(format!("{}  {}", own.name, id_text(&own)));
                    if passphrase.is_none() {
                        context.note("the key is not encrypted; keep a copy of it, it cannot be made again");
                    }
                }
                Ok(())
            }
            Id::List => {
                let all = identity::list(&context.session)?;
                if context.json {
                    ui::json(&all);
                } else {
                    all.iter().for_each(|own| ui::line(format!("{}  {}", own.name, id_text(own))));
                }
                Ok(())
            }
            Id::Show { name } => {
                let own = identity::choose(&context.session, name.as_deref())?;
                let chain = identity::chain(&context.session, own.id)?;
                let documents: Vec<_> =
                    chain.documents().iter().map(|document| document.document()).collect();
                if context.json {
                    ui::json(&documents);
                } else {
                    ui::line(serde_json::to_string_pretty(&documents).unwrap_or_default());
                }
                Ok(())
            }
        }
    }
}

fn id_text(own: &identity::Own) -> String {
    format!("id:{}", own.id.to_hex())
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
