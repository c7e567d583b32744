//! `pkg debug`: hidden verbs that make what an honest program would not, for tests of the refusals.

use super::Context;
use crate::ui;
use objects::id::ObjectId;
use porcelain::Error;
use porcelain::literally::{self, Care};
use std::path::PathBuf;

/// Make objects and statements as they are told, however wrong; no ref moves
#[derive(clap::Subcommand)]
pub enum Debug {
    /// Store the bytes of FILE as an object
    Mkobj(Object),
    /// Store a tree of the rows in FILE: a JSON array of [name, mode, size, id]
    Mktree(Object),
    /// Print a payload as it is signed, or with --type its envelope without a signature
    Encode(Encode),
    /// Sign a payload with keys of your keyring, and print the envelope
    Sign(Sign),
}

#[derive(clap::Args)]
pub struct Object {
    /// What it is made of
    file: PathBuf,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

#[derive(clap::Args)]
pub struct Encode {
    /// The payload: JSON, which becomes DAG-CBOR, or any bytes
    file: PathBuf,
    /// The media type
    #[arg(long = "type", value_name = "TYPE")]
    media_type: Option<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(clap::Args)]
pub struct Sign {
    /// The payload: JSON, which becomes DAG-CBOR, or any bytes
    file: PathBuf,
    /// The media type
    #[arg(long = "type", value_name = "TYPE")]
    media_type: String,
    /// The name of a key file, without `.key` (may be repeated)
    #[arg(long, value_name = "NAME", required = true)]
    key: Vec<String>,
    /// Keep the statement in REPO, and print its id
    #[arg(long, value_name = "REPO")]
    repo: Option<PathBuf>,
    #[command(flatten)]
    form: Form,
}

#[derive(clap::Args)]
struct Form {
    /// Check nothing: make even what nobody can read
    #[arg(long)]
    literally: bool,
}

impl Form {
    fn care(&self) -> Care {
        if self.literally { Care::Literal } else { Care::Checked }
    }
}

impl Debug {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        match self {
            Debug::Mkobj(args) => {
                let repository = context.repository(args.repo.as_deref())?;
                show_id(context, literally::object(&repository, &args.file)?);
            }
            Debug::Mktree(args) => {
                let repository = context.repository(args.repo.as_deref())?;
                show_id(context, literally::tree(&repository, &args.file, args.form.care())?);
            }
            Debug::Encode(args) => args.run(context)?,
            Debug::Sign(args) => args.run(context)?,
        }
        Ok(())
    }
}

impl Encode {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let payload = literally::payload(&self.file)?;
        let Some(media_type) = &self.media_type else {
            ui::raw(&payload);
            return Ok(());
        };
        let made = literally::statement(&context.session, media_type, &[], payload, self.form.care())?;
        ui::raw(&made.envelope);
        Ok(())
    }
}

impl Sign {
    fn run(&self, context: &Context) -> Result<(), Error> {
        let payload = literally::payload(&self.file)?;
        let (session, care) = (&context.session, self.form.care());
        let made = literally::statement(session, &self.media_type, &self.key, payload, care)?;
        match &self.repo {
            Some(repo) => {
                literally::insert(&*context.repository(Some(repo))?, &made)?;
                show_id(context, made.id.object());
            }
            None => ui::raw(&made.envelope),
        }
        Ok(())
    }
}

fn show_id(context: &Context, id: ObjectId) {
    if context.json {
        ui::json(&serde_json::json!({ "id": id }));
    } else {
        ui::line(id);
    }
}
