//! `pkg publish`.

use super::Context;
use crate::ui;
use objects::name::PackageName;
use objects::version::{Channel, Version};
use porcelain::Error;
use porcelain::publish::{self, Outcome, Request};
use std::path::PathBuf;

/// Publish a folder or archive as a signed release
///
/// Name and version come from pkg.toml in it, from the archive's own metadata (.whl .tgz .crate
/// .deb), or from the flags, which win. Archives are unpacked, so that updates between versions stay
/// small. A version that was published never changes.
#[derive(clap::Args)]
pub struct Publish {
    /// A folder, an archive (.whl .zip .tgz .tar.gz .tar.xz .tar.zst .tar .crate .deb), or any file
    from: PathBuf,
    /// The package's name
    #[arg(long)]
    name: Option<PackageName>,
    /// The version: semver, with `2!` in front for an epoch and `~3` behind for a revision
    #[arg(long = "version", value_name = "VERSION")]
    release: Option<Version>,
    /// The channel
    #[arg(long)]
    channel: Option<Channel>,
    /// The bare repository to publish to
    #[arg(long, value_name = "REPO", default_value = ".", env = "PKG_REPO")]
    to: PathBuf,
    /// Which of your identities signs
    #[arg(long = "as", value_name = "NAME", env = "PKG_IDENTITY")]
    identity: Option<String>,
    /// Publish a version of somebody else's package, who granted it: their id (`id:…`) or name
    #[arg(long, value_name = "OWNER")]
    owner: Option<String>,
    /// Take names that some systems cannot hold (case, reserved or control characters)
    #[arg(long)]
    allow_unportable: bool,
    /// zstd level of what is stored, 1 to 19
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    level: i32,
    /// Read and measure, but sign and show nothing
    #[arg(long)]
    dry_run: bool,
}

impl Publish {
    pub fn run(&self, context: &Context) -> Result<(), Error> {
        let request = Request {
            from: self.from.clone(),
            name: self.name.clone(),
            version: self.release.clone(),
            channel: self.channel.clone(),
            to: self.to.clone(),
            identity: self.identity.clone(),
            owner: self.owner.clone(),
            allow_unportable: self.allow_unportable,
            level: self.level,
            dry_run: self.dry_run,
        };
        let outcome = publish::publish(&context.session, &request, &context.screen)?;
        if context.json {
            ui::json(&outcome);
        } else {
            show(context, &outcome, self.dry_run);
        }
        Ok(())
    }
}

fn show(context: &Context, outcome: &Outcome, dry_run: bool) {
    if let Some(name) = &outcome.new_identity {
        context.note(format!("you had no identity: made {name} ({})", outcome.owner.nick()));
    }
    let verb = match (dry_run, outcome.unchanged) {
        (true, _) => "would publish",
        (_, true) => "already published",
        _ => "published",
    };
    ui::line(format!("{verb} {} {}  {}", outcome.name, outcome.version, outcome.tree));
    context.note(format!(
        "  {} in {}, new: {} in {}, stored as {}",
        ui::bytes(outcome.size),
        ui::count(outcome.files, "entry").replace("entrys", "entries"),
        ui::bytes(outcome.new_bytes),
        ui::count(outcome.new_objects, "object"),
        ui::bytes(outcome.stored_bytes),
    ));
}
