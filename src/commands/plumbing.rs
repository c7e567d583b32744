//! Plumbing, with git's names and letters.

use super::Context;
use crate::ui;
use objects::id::{ObjectId, TreeId};
use objects::object::Kind;
use objects::spec::PackageSpec;
use porcelain::inspect::{self, Thing};
use porcelain::{Error, plumb};
use std::path::PathBuf;

/// Print the id a file's content has as a package; with -w store it
#[derive(clap::Args)]
pub struct HashObject {
    /// Store it in the repository
    #[arg(short)]
    write: bool,
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl HashObject {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let repository = if self.write { Some(context.repository(self.repo.as_deref())?) } else { None };
        for file in &self.files {
            let hashed = plumb::hash_object(repository.as_deref(), file)?;
            if context.json {
                ui::json(&hashed);
            } else {
                ui::line(hashed.id);
            }
        }
        Ok(())
    }
}

/// Show an object or statement: -p its content, -t its kind, -s its size
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("how").required(true).multiple(false)))]
pub struct CatFile {
    /// Print its content, trees and blobs as lists
    #[arg(short, group = "how")]
    print: bool,
    /// Print its kind
    #[arg(short = 't', group = "how")]
    kind: bool,
    /// Print its size in bytes
    #[arg(short, group = "how")]
    size: bool,
    /// Print the bytes it is stored as
    #[arg(long, group = "how")]
    raw: bool,
    /// An id, a prefix of one, NAME@VERSION or NAME@VERSION:PATH
    object: String,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl CatFile {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let id = inspect::rev_parse(&view, &self.object)?;
        let (kind, bytes) = match inspect::thing(&view, id)? {
            Thing::Object(_, bytes) => (inspect::guess_kind(&bytes).word(), bytes),
            Thing::Statement(_, envelope) if self.print => {
                let document = inspect::document(&envelope)?;
                ui::line(serde_json::to_string_pretty(&document).unwrap_or_default());
                return Ok(());
            }
            Thing::Statement(_, envelope) => (envelope.kind().word(), envelope.encode()),
        };
        match () {
            () if self.kind => ui::line(kind),
            () if self.size => ui::line(bytes.len()),
            () if self.raw => ui::raw(&bytes),
            () => print(&bytes, kind),
        }
        Ok(())
    }
}

fn print(bytes: &[u8], kind: &str) {
    if kind == Kind::Chunk.word() {
        ui::raw(bytes);
        return;
    }
    plumb::lines_of(bytes).iter().for_each(ui::line);
}

/// List a tree: of a release, or any tree object
#[derive(clap::Args)]
pub struct LsTree {
    /// Go into folders
    #[arg(short)]
    recursive: bool,
    /// Show sizes
    #[arg(short)]
    long: bool,
    /// Show names only
    #[arg(long)]
    name_only: bool,
    /// An id, a prefix of one, NAME@VERSION or NAME@VERSION:PATH
    tree: String,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl LsTree {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let tree = TreeId::new(inspect::rev_parse(&view, &self.tree)?);
        let lines = inspect::ls_tree(view.repository().store(), tree, self.recursive)?;
        if context.json {
            ui::json(&lines);
            return Ok(());
        }
        for line in &lines {
            let path = objects::name::printable(&line.path);
            match () {
                () if self.name_only => ui::line(path),
                () if self.long => ui::line(format!(
                    "{} {} {} {:>10}\t{path}",
                    line.mode,
                    line.kind,
                    line.id.to_hex(),
                    line.size
                )),
                () => ui::line(format!("{} {} {}\t{path}", line.mode, line.kind, line.id.to_hex())),
            }
        }
        Ok(())
    }
}

/// Print the full id that a name or prefix means
#[derive(clap::Args)]
pub struct RevParse {
    /// An id, a prefix of one, NAME@VERSION or NAME@VERSION:PATH
    object: String,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl RevParse {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let id: ObjectId = inspect::rev_parse(&context.view(self.repo.as_deref())?, &self.object)?;
        if context.json {
            ui::json(&serde_json::json!({ "id": id }));
        } else {
            ui::line(id);
        }
        Ok(())
    }
}

/// List refs and where they point
#[derive(clap::Args)]
pub struct ShowRef {
    /// Only those that begin so
    #[arg(default_value = "refs/")]
    prefix: String,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl ShowRef {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let refs = context.repository(self.repo.as_deref())?.refs().list(&self.prefix)?;
        if context.json {
            let map: std::collections::BTreeMap<_, _> =
                refs.iter().map(|(name, id)| (name.to_string(), *id)).collect();
            ui::json(&map);
        } else {
            refs.iter().for_each(|(name, id)| ui::line(format!("{} {name}", id.to_hex())));
        }
        Ok(())
    }
}

/// List what a source offers, without fetching it
#[derive(clap::Args)]
pub struct LsRemote {
    /// A path, a web address, a ticket or a bundle
    source: String,
}

impl LsRemote {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let head = plumb::ls_remote(&context.session, &self.source)?;
        if context.json {
            ui::json(&head);
        } else {
            ui::line(format!("{} index {} of {}", head.index.to_hex(), head.n, head.repository));
        }
        Ok(())
    }
}

/// Count objects and the space they take; with -v deltas, indexes, staging and what is broken too
#[derive(clap::Args)]
pub struct CountObjects {
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl CountObjects {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let counted = plumb::count_objects(&*context.repository(self.repo.as_deref())?)?;
        if context.json {
            ui::json(&counted);
        } else {
            ui::line(format!(
                "packs: {}\nobjects: {}\nframes: {}\nsize-pack: {}\nsize-unpacked: {}",
                counted.packs, counted.objects, counted.frames, counted.stored_bytes, counted.raw_bytes
            ));
            if context.verbose {
                ui::line(format!(
                    "delta-frames: {}\nsize-index: {}\nsize-staging: {}\nbroken-packs: {}",
                    counted.delta_frames, counted.index_bytes, counted.staging_bytes, counted.broken_packs
                ));
            }
        }
        Ok(())
    }
}

/// Check packs, frame by frame
#[derive(clap::Args)]
pub struct VerifyPack {
    /// List the frames
    #[arg(short = 'F', long)]
    frames: bool,
    /// Ids or prefixes of packs; none means all
    packs: Vec<objects::id::Prefix>,
    /// The repository (default: the one you stand in, else your store)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl VerifyPack {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let repository = context.repository(self.repo.as_deref())?;
        for pack in plumb::verify_packs(&repository, &self.packs)? {
            if context.json {
                ui::json(&pack);
                continue;
            }
            ui::line(format!(
                "{}: ok, {} frames, {} objects, {} -> {}",
                pack.id.to_hex(),
                pack.frames.len(),
                pack.objects,
                ui::bytes(pack.raw_bytes),
                ui::bytes(pack.stored_bytes)
            ));
            if self.frames {
                pack.frames.iter().for_each(|frame| {
                    let kind = if frame.delta { "  delta" } else { "" };
                    ui::line(format!(
                        "  {:>9} -> {:>9}  {} objects{kind}",
                        frame.raw, frame.stored, frame.objects
                    ))
                });
            }
        }
        Ok(())
    }
}

/// Compute what an update between two versions costs over the wire
#[derive(clap::Args)]
pub struct DeltaSize {
    /// The package
    name: objects::name::PackageName,
    /// The version one has
    old: objects::version::Version,
    /// The version one wants
    new: objects::version::Version,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl DeltaSize {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let spec =
            |version| -> Result<PackageSpec, Error> { Ok(format!("{}#{version}", self.name).parse()?) };
        let (_, old) = view.release(&spec(&self.old)?)?;
        let (_, new) = view.release(&spec(&self.new)?)?;
        let bytes = plumb::delta_size(view.repository(), old.release.tree, new.release.tree)?;
        if context.json {
            ui::json(&serde_json::json!({ "bytes": bytes, "unpacked": new.release.size }));
        } else {
            ui::line(format!("{bytes}"));
        }
        Ok(())
    }
}
