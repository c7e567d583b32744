//! `pkg search`, `show`, `log`, `diff`, `checkout`, `archive`.

use super::Context;
use crate::ui;
use objects::name::PackageName;
use objects::spec::PackageSpec;
use porcelain::{Error, dsse, inspect};
use std::io::Write;
use std::path::PathBuf;

/// Find packages whose name, description, categories or tags hold all words
#[derive(clap::Args)]
pub struct Search {
    /// Words; none lists everything
    words: Vec<String>,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Search {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let found = inspect::search(&context.view(self.repo.as_deref())?, &self.words)?;
        if context.json {
            ui::json(&found);
            return Ok(());
        }
        for package in &found {
            let description = package.description.as_deref().unwrap_or("");
            ui::line(format!("{}-{}  {description}", package.name, package.version).trim_end());
        }
        Ok(())
    }
}

/// Show a release: what its author signed
#[derive(clap::Args)]
pub struct Show {
    /// NAME, NAME@REQ or NAME#ID; with --dsse also the id of a statement, or a ref
    what: String,
    /// Print the signed statement as a DSSE envelope in JSON, which other tools verify
    #[arg(long)]
    dsse: bool,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Show {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        if self.dsse {
            ui::json(&dsse::dsse(&view, &self.what)?);
            return Ok(());
        }
        let spec: PackageSpec = self.what.parse().map_err(|error| {
            Error::usage(Error::from(error).message(), "name a package: NAME, NAME@REQ or NAME#ID")
        })?;
        let (record, row) = view.release(&spec)?;
        if context.json {
            ui::json(&row);
            return Ok(());
        }
        let release = &row.release;
        let mut lines = vec![
            format!("name      {}", record.name),
            format!("version   {}", release.version),
            format!("channel   {}", release.channel),
            format!("owner     id:{}", record.owner.to_hex()),
            format!("entry     {}", row.entry),
            format!("tree      {}", release.tree),
            format!("archive   {} ({})", release.sha256, ui::bytes(release.archive_size)),
            format!("size      {} in {} entries", ui::bytes(release.size), release.files),
            format!("listed    {}", ui::time(row.listed)),
        ];
        let about = &release.about;
        let texts =
            [("license", &about.license), ("homepage", &about.homepage), ("about", &about.description)];
        lines.extend(texts.iter().filter_map(|(key, text)| Some(format!("{key:<9} {}", text.as_ref()?))));
        for dependency in &release.dependencies {
            let optional = if dependency.optional { "  (optional)" } else { "" };
            lines.push(format!("needs     {} {}{optional}", dependency.name, dependency.requirement));
        }
        let versions: Vec<String> =
            record.versions.iter().rev().map(|row| row.release.version.to_string()).collect();
        lines.push(format!("versions  {}", versions.join(", ")));
        lines.iter().for_each(ui::line);
        Ok(())
    }
}

/// Show the log of a package, newest first
#[derive(clap::Args)]
pub struct Log {
    /// The package
    name: PackageName,
    /// One line an entry
    #[arg(long)]
    oneline: bool,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Log {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let lines = inspect::log(&context.view(self.repo.as_deref())?, &self.name)?;
        if context.json {
            ui::json(&lines);
            return Ok(());
        }
        for entry in &lines {
            if self.oneline {
                ui::line(format!("{} {}", entry.entry.short(12), entry.action));
                continue;
            }
            ui::line(format!("entry {}", entry.entry.to_hex()));
            ui::line(format!("Signer: id:{}", entry.signer.to_hex()));
            ui::line(format!("Date:   {}", ui::time(entry.created)));
            entry.tree.iter().for_each(|tree| ui::line(format!("Tree:   {tree}")));
            ui::line(format!(
                "\n    {}{}\n",
                entry.action,
                entry.size.map_or(String::new(), |n| format!(" ({})", ui::bytes(n)))
            ));
        }
        Ok(())
    }
}

/// Show how two releases differ, path by path
#[derive(clap::Args)]
pub struct Diff {
    /// The older one
    old: PackageSpec,
    /// The newer one
    new: PackageSpec,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Diff {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let (_, old) = view.release(&self.old)?;
        let (_, new) = view.release(&self.new)?;
        let store = view.repository().store();
        let differences = inspect::diff(store, old.release.tree, new.release.tree)?;
        if context.json {
            ui::json(&differences);
            return Ok(());
        }
        for difference in &differences {
            let from = difference.from.as_ref().map_or(String::new(), |from| format!("{from} -> "));
            let sizes = match difference.change {
                inspect::Change::Modified => format!(
                    "  ({} -> {}, {} new)",
                    difference.old_size, difference.new_size, difference.new_bytes
                ),
                _ => String::new(),
            };
            ui::line(format!("{}\t{from}{}{sizes}", difference.change.letter(), difference.path));
        }
        let fresh: u64 = differences.iter().map(|difference| difference.new_bytes).sum();
        context.note(format!(
            "{} differ, {} of new chunks",
            ui::count(differences.len() as u64, "path"),
            ui::bytes(fresh)
        ));
        Ok(())
    }
}

/// Write a release's tree into a fresh folder
#[derive(clap::Args)]
pub struct Checkout {
    /// NAME, NAME@REQ or NAME#ID
    spec: PackageSpec,
    /// The folder: absent or empty
    dest: PathBuf,
    /// Read everything back from the disk and hash it
    #[arg(long)]
    verify: bool,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Checkout {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let (record, row) = view.release(&self.spec)?;
        let options = objects::checkout::Options {
            jobs: context.session.jobs(),
            files_max: row.release.files,
            verify: self.verify,
        };
        let what = format!("writing {} {}", record.name, row.release.version);
        let step = porcelain::event::Step::begin(&context.screen, &what, Some(row.release.size));
        let totals = objects::checkout::checkout(
            view.repository().store(),
            row.release.tree,
            &self.dest,
            options,
            &step,
        )?;
        drop(step);
        if context.json {
            ui::json(
                &serde_json::json!({ "path": self.dest, "files": totals.files, "bytes": totals.bytes, "tree": row.release.tree }),
            );
        } else {
            context.note(format!(
                "{} {}: {} entries, {}",
                record.name,
                row.release.version,
                totals.files,
                ui::bytes(totals.bytes)
            ));
        }
        Ok(())
    }
}

/// Write a release's canonical archive (tar) to stdout or a file
///
/// Its SHA-256 is the one in the release: `pkg archive NAME | sha256sum`.
#[derive(clap::Args)]
pub struct Archive {
    /// NAME, NAME@REQ or NAME#ID
    spec: PackageSpec,
    /// The file to write instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The repository (default: the one you stand in)
    #[arg(long, value_name = "REPO", env = "PKG_REPO")]
    repo: Option<PathBuf>,
}

impl Archive {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let view = context.view(self.repo.as_deref())?;
        let (_, row) = view.release(&self.spec)?;
        let store = view.repository().store();
        match &self.output {
            None => {
                let mut out = std::io::BufWriter::new(std::io::stdout().lock());
                objects::archive::write_tree(store, row.release.tree, &mut out)?;
                out.flush().map_err(|e| objects::disk::Error::new("write", "the archive".as_ref(), e))?;
            }
            Some(path) => {
                let file = std::fs::File::create_new(path)
                    .map_err(|e| objects::disk::Error::new("create", path, e))?;
                let mut out = std::io::BufWriter::new(file);
                objects::archive::write_tree(store, row.release.tree, &mut out)?;
                out.flush().map_err(|e| objects::disk::Error::new("write", path, e))?;
            }
        }
        Ok(())
    }
}
