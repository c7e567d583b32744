//! `pkg id list`, `key`, `show`, `log`, `verify`, `export`.

use super::{Context, id_text};
use crate::ui;
use objects::id::IdentityId;
use objects::identity::Withdrawal;
use porcelain::Error;
use porcelain::identity::{self, Checked, Shown};
use std::path::{Path, PathBuf};

/// The identity a text means; without one, the user's.
pub fn which(context: &Context, who: Option<&str>) -> Result<IdentityId, Error> {
    match who {
        Some(who) => identity::find(&context.session, who),
        None => Ok(identity::choose(&context.session, None)?.id),
    }
}

/// List yours
#[derive(clap::Args)]
pub struct List {}

impl List {
    #[allow(clippy::unused_self, reason = "every command is run alike")]
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let all = identity::list(&context.session)?;
        if context.json {
            ui::json(&all);
        } else {
            all.iter().for_each(|own| ui::line(format!("{}  {}", own.name, id_text(own))));
        }
        Ok(())
    }
}

/// Print the public key you work with, to be given to others
#[derive(clap::Args)]
pub struct Key {
    /// Of which of your identities
    name: Option<String>,
}

impl Key {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let own = identity::choose(&context.session, self.name.as_deref())?;
        let held = identity::public_key(&context.session, &own)?;
        if context.json {
            ui::json(&held);
        } else {
            ui::line(held.key);
        }
        Ok(())
    }
}

/// Show an identity: roles, keys, what was withdrawn, what is granted
#[derive(clap::Args)]
pub struct Show {
    /// One of yours, `id:…`, or what an identity known here calls itself
    who: Option<String>,
}

impl Show {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let shown = identity::show(&context.session, which(context, self.who.as_deref())?)?;
        if context.json {
            ui::json(&shown);
        } else {
            render(&shown);
        }
        Ok(())
    }
}

fn render(shown: &Shown) {
    let name = shown.name.as_ref().or(shown.calls_itself.as_ref()).map_or("(no name)", String::as_str);
    ui::line(format!("{name}  id:{}", shown.id.to_hex()));
    ui::line(format!("document {} of {}", shown.n, ui::time(shown.created)));
    if let Some(expires) = shown.expires {
        ui::line(format!("counts as the newest until {}", ui::time(expires)));
    }
    for role in &shown.roles {
        ui::line(format!("{}: {} of {}", role.roles.join(", "), role.threshold, role.keys.len()));
        for key in &role.keys {
            let here = key.file.as_ref().map(|file| format!("  here, in {file}.key"));
            ui::line(format!("  {}{}", key.key, here.unwrap_or_default()));
        }
    }
    for (word, list) in [("revoked", &shown.revoked), ("retired", &shown.retired)] {
        list.iter().for_each(|withdrawal| ui::line(withdrawn(word, withdrawal)));
    }
    for reset in &shown.reset {
        ui::line(format!("the numbering of {} starts anew after {}", reset.role, reset.n));
    }
    for grant in &shown.grants {
        ui::line(format!("grant {} ({}): {}", grant.grant.short(16), grant.state, grant.says));
    }
    for waiting in &shown.waiting {
        ui::line(format!("waits for signatures: {}", waiting.file.display()));
    }
}

fn withdrawn(word: &str, withdrawal: &Withdrawal) -> String {
    let heads = withdrawal.checkpoint.iter().map(|head| format!("{} up to entry {}", head.name, head.seq));
    let heads: Vec<String> = heads.collect();
    let stands = if heads.is_empty() { "nothing".to_owned() } else { heads.join(", ") };
    format!("{word} {}: {stands} stands", withdrawal.key)
}

/// Show what happened to an identity, one document a line, newest first
#[derive(clap::Args)]
pub struct Log {
    /// One of yours, `id:…`, or what an identity known here calls itself
    who: Option<String>,
}

impl Log {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let lines = identity::log(&context.session, which(context, self.who.as_deref())?)?;
        if context.json {
            ui::json(&lines);
            return Ok(());
        }
        for line in &lines {
            let keys = if line.keys.len() == 1 { "key" } else { "keys" };
            let by = format!("{}, {} {keys}", line.by, line.keys.len());
            ui::line(format!("{:>3}  {}  {by}: {}", line.n, ui::time(line.created), line.says.join("; ")));
        }
        Ok(())
    }
}

/// Check that the documents of an identity follow each other, and its grants
#[derive(clap::Args)]
pub struct Verify {
    /// One of yours, `id:…`, or what an identity known here calls itself; or a file of `pkg id export`
    who: Option<String>,
    /// Check what this repository has of it, rather than your store
    #[arg(long, value_name = "REPO")]
    repo: Option<PathBuf>,
}

impl Verify {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let file = self.who.as_deref().map(Path::new).filter(|path| self.repo.is_none() && path.is_file());
        let checked = match file {
            Some(path) => identity::check_file(path)?,
            None => {
                let id = which(context, self.who.as_deref())?;
                identity::verify(&context.session, id, self.repo.as_deref())?
            }
        };
        shown(context, &checked);
        Ok(())
    }
}

fn shown(context: &Context, checked: &Checked) {
    if context.json {
        return ui::json(checked);
    }
    let documents = ui::count(checked.documents, "document");
    let grants = ui::count(checked.grants, "document");
    ui::line(format!("id:{} stands: {documents}, and {grants} of grants", checked.id.to_hex()));
    checked.recovered.iter().for_each(|n| ui::line(format!("  document {n} was signed by recovery")));
}

/// Write the documents of an identity and its grants into a file, for a machine without network
#[derive(clap::Args)]
pub struct Export {
    /// Where to; `pkg id apply` takes it there
    file: PathBuf,
    /// One of yours, `id:…`, or what an identity known here calls itself
    who: Option<String>,
}

impl Export {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let id = which(context, self.who.as_deref())?;
        shown(context, &identity::export(&context.session, id, &self.file)?);
        Ok(())
    }
}
