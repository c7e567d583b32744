//! Environments: a folder in which packages stand, isolated from every other (O1, O15).
//!
//! ```text
//! pkg.cfg.toml   pkg.lock         what is wanted, what was chosen
//! pkgs/          links            what people and programs use
//! .pkgs/         content, generations, index-db, backups, journal
//! ```
//!
//! Promises: what is visible is one generation or the next, whatever ends the process (REL-004);
//! readers never lock; what a person put into `pkgs/` is never touched (O8); links are relative, so
//! an environment can be moved. Nothing here needs the network or an index.
//! Leaves to others: choosing, fetching, checking out and trusting (`porcelain::install`).
//!
//! Reading is [`Environment::load`] and its like. Changing needs a [`Writer`], of which there is one
//! at a time: stage trees, check out into them, [`Writer::materialise`], then [`Writer::switch`].

mod config;
mod edit;
mod error;
mod facts;
mod generation;
mod journal;
mod layout;
mod links;
mod load;
mod lock;
mod media;
mod prune;
mod switch;
mod text;
mod verify;
mod writer;

pub use config::{Binding, Settings, Wanted, WantedPackage};
pub use edit::{WantedEdit, WantedText};
pub use error::Error;
pub use generation::{Generation, Installed};
pub use journal::Watch;
pub use layout::{CONTROL_FOLDER, LINKS_FOLDER, LOCK_FILE, WANTED_FILE};
pub use links::{LinkName, NameError};
pub use load::LoadOptions;
pub use lock::{LOCKFILE_BYTES_MAX, LockedIdentity, LockedPackage, LockedRepository, Lockfile};
pub use media::{MediaInfo, MediaKind, MediaSource};
pub use prune::Prune;
pub use switch::{Change, LinkEdit, Switch};
pub use verify::{Difference, Fault};
pub use writer::{Staged, Writer};

use layout::Layout;
use objects::disk::{self, Context};
use objects::id::ObjectId;
use objects::time::Timestamp;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A folder in which packages stand.
#[derive(Clone, Debug)]
pub struct Environment {
    layout: Layout,
}

impl Environment {
    /// Makes an empty environment in `folder`, which may exist. A `pkg.cfg.toml` that is there stays.
    ///
    /// # Errors
    /// `Exists` if there is one.
    pub fn init(folder: &Path, binding: &Binding, now: Timestamp) -> Result<Environment, Error> {
        disk::make_folder(folder)?;
        let environment = Environment::at(folder)?;
        let layout = &environment.layout;
        if layout.config().exists() {
            return Err(Error::Exists { path: layout.root.clone() });
        }
        for folder in [layout.links(), layout.tmp(), layout.generations()] {
            disk::make_folder(&folder)?;
        }
        let empty = Generation { number: 0, when: now, why: "init".to_owned(), packages: Vec::new() };
        empty.write(layout)?;
        generation::write_head(layout, 0)?;
        if !layout.wanted().exists() {
            layout.write(&layout.wanted(), edit::FRESH.as_bytes())?;
        }
        config::write_binding(layout, binding)?; // last: with it the folder is an environment
        disk::sync_folder(&layout.root)?;
        Ok(environment)
    }

    /// Opens the environment in `folder`, completing what a killed process left.
    ///
    /// # Errors
    /// `NoEnvironment` if there is none, `Newer` if this program cannot read it, `Malformed` if its
    /// configuration or journal is damaged.
    pub fn open(folder: &Path) -> Result<Environment, Error> {
        Environment::open_watched(folder, &mut |_| {})
    }

    /// As [`Environment::open`], telling each step. For tests that end the process there.
    #[doc(hidden)]
    pub fn open_watched(folder: &Path, watch: Watch) -> Result<Environment, Error> {
        let environment = Environment::at(folder)?;
        let layout = &environment.layout;
        if config::read_binding(layout)?.is_none() {
            return Err(Error::NoEnvironment { start: layout.root.clone(), ignored: Vec::new() });
        }
        if layout.journal().exists() {
            // Somebody who has the lock completes it; until then every link resolves all the same.
            drop(environment.try_lock_watched(watch)?);
        }
        Ok(environment)
    }

    /// Opens the nearest environment from `start` upwards, as git finds its repository. Those of
    /// another user are passed by (SEC-086), unless that user is root.
    ///
    /// # Errors
    /// As [`Environment::open`].
    pub fn find(start: &Path) -> Result<Environment, Error> {
        let start = std::fs::canonicalize(start).doing("open", start)?;
        let mut ignored = Vec::new();
        for folder in start.ancestors() {
            let layout = Layout { root: folder.to_owned() };
            if !layout.config().is_file() {
                continue;
            }
            if is_strangers(&layout)? {
                tracing::warn!(path = %folder.display(), "ignored, because another user owns it");
                ignored.push(folder.to_owned());
                continue;
            }
            return Environment::open(folder);
        }
        Err(Error::NoEnvironment { start, ignored })
    }

    fn at(folder: &Path) -> Result<Environment, Error> {
        let none = || Error::NoEnvironment { start: folder.to_owned(), ignored: Vec::new() };
        let root = std::fs::canonicalize(folder).map_err(|_| none())?;
        Ok(Environment { layout: Layout { root } })
    }

    /// Its folder, absolute.
    pub fn root(&self) -> &Path {
        &self.layout.root
    }

    /// The folder of links.
    pub fn links_folder(&self) -> PathBuf {
        self.layout.links()
    }

    /// The distributor's index, if it was checked out (O11).
    pub fn index_db(&self) -> Option<PathBuf> {
        Some(self.layout.index_db()).filter(|path| path.is_dir())
    }

    /// Where it gets its packages.
    ///
    /// # Errors
    /// `Malformed` if its configuration is damaged.
    pub fn binding(&self) -> Result<Binding, Error> {
        let none = || Error::NoEnvironment { start: self.layout.root.clone(), ignored: Vec::new() };
        config::read_binding(&self.layout)?.ok_or_else(none)
    }

    /// What is wanted in it: `pkg.cfg.toml`. Without one, nothing is.
    ///
    /// # Errors
    /// `Malformed`, with the line.
    pub fn wanted(&self) -> Result<Wanted, Error> {
        let text = config::read_wanted_text(&self.layout)?;
        Wanted::parse(&self.layout.wanted(), text.as_deref().unwrap_or_default())
    }

    /// Begins to edit `pkg.cfg.toml`; what comes of it goes into a [`Change`].
    ///
    /// # Errors
    /// `Malformed`, with the line.
    pub fn edit_wanted(&self) -> Result<WantedEdit, Error> {
        WantedEdit::begin(&self.layout)
    }

    /// What was chosen: `pkg.lock`; None if nothing was yet.
    ///
    /// # Errors
    /// `Malformed`, with the line where one can be named.
    pub fn lockfile(&self) -> Result<Option<Lockfile>, Error> {
        lock::read(&self.layout.lockfile())
    }

    /// The lockfile as it stood with a generation; None if there was none.
    ///
    /// # Errors
    /// As [`Environment::lockfile`].
    pub fn generation_lockfile(&self, number: u64) -> Result<Option<Lockfile>, Error> {
        lock::read(&self.layout.generation_lock(number))
    }

    /// The content id of `pkg.cfg.toml` as it stands.
    fn wanted_id(&self) -> Result<Option<ObjectId>, Error> {
        let text = config::read_wanted_text(&self.layout)?;
        Ok(text.map(|text| ObjectId::of(text.as_bytes())))
    }
}

/// True if somebody other than this user or root could have written what stands in `.pkgs/`.
fn is_strangers(layout: &Layout) -> Result<bool, disk::Error> {
    let mine = |uid: u32| uid == 0 || uid == rustix::process::geteuid().as_raw();
    for path in [layout.control(), layout.config(), layout.wanted()] {
        match std::fs::symlink_metadata(&path) {
            Ok(found) if !mine(found.uid()) => return Ok(true),
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(disk::Error::new("look at", &path, e));
            }
            _ => {}
        }
    }
    Ok(false)
}
