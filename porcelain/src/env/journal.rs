//! The journal: one switch, written down before it is carried out.
//!
//! Promises: before the journal stands, nothing visible has changed; once it does, the switch comes
//! about, by this process or the next that opens the environment (REL-004). Every step may be taken
//! twice. What a person did in between stays (O8). What the journal says can lead to paths of this
//! environment only, since it holds names and not paths.
//!
//! Order: links, index-db, `pkg.cfg.toml`, `pkg.lock`, `HEAD`; sync; the journal goes.

use super::error::Error;
use super::generation;
use super::layout::{Cid, Layout, try_read_text};
use super::links::{self, Standing};
use super::switch::LinkEdit;
use objects::disk::{self, Context};
use objects::id::ObjectId;
use objects::limits::CONFIG_BYTES_MAX;
use objects::name::EntryName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const JOURNAL_BYTES_MAX: usize = 64 << 20;

/// What a switch has yet to do. Whatever it names in `tmp/` is synced.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    /// What happens to links: removals first.
    pub links: Vec<LinkEdit>,
    /// A folder in `tmp/` that becomes `index-db`.
    pub index_db: Option<EntryName>,
    /// A file in `tmp/` that becomes `pkg.cfg.toml`.
    pub wanted: Option<StagedWanted>,
    /// A file in `tmp/` that becomes `pkg.lock`.
    pub lockfile: Option<EntryName>,
    /// The generation that becomes the current one.
    pub head: Option<u64>,
}

/// A new `pkg.cfg.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StagedWanted {
    /// Its name in `tmp/`.
    pub file: EntryName,
    /// The content it was made from. If a person edited the file since, their text stays.
    pub over: Option<ObjectId>,
}

/// Told before each step on disk: its name. For tests that end the process there.
pub type Watch<'w> = &'w mut dyn FnMut(&'static str);

impl Journal {
    /// The journal that a killed process left; None if there is none.
    pub fn read(layout: &Layout) -> Result<Option<Journal>, Error> {
        let path = layout.journal();
        let Some(text) = try_read_text(&path, JOURNAL_BYTES_MAX)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|e| Error::json(&path, &e))
    }

    /// Writes it, and with that decides that the switch comes about.
    pub fn write(&self, layout: &Layout) -> Result<(), Error> {
        let text = serde_json::to_vec(self).expect("names, numbers and ids fit into JSON");
        Ok(layout.write(&layout.journal(), &text)?)
    }

    /// Does what it says, then removes it.
    pub fn apply(&self, layout: &Layout, watch: Watch) -> Result<(), Error> {
        for edit in &self.links {
            watch("link");
            apply_link(layout, edit)?;
        }
        if let Some(staged) = &self.index_db {
            apply_index(layout, &layout.tmp().join(staged.as_str()), watch)?;
        }
        if let Some(staged) = &self.wanted {
            watch("wanted");
            apply_wanted(layout, staged)?;
        }
        if let Some(staged) = &self.lockfile {
            watch("lockfile");
            rename_once(&layout.tmp().join(staged.as_str()), &layout.lockfile())?;
        }
        if let Some(number) = self.head {
            watch("head");
            generation::write_head(layout, number)?;
        }
        watch("sync");
        self.sync(layout)?;
        watch("done");
        disk::remove(&layout.journal())?;
        Ok(disk::sync_folder(&layout.control())?)
    }

    fn sync(&self, layout: &Layout) -> Result<(), disk::Error> {
        let folders = |edit: &LinkEdit| edit.link.path(layout).parent().map(Path::to_owned);
        let mut folders: BTreeSet<PathBuf> = self.links.iter().filter_map(folders).collect();
        folders.extend([layout.links(), layout.root.clone(), layout.control()]);
        folders.iter().filter(|folder| folder.is_dir()).try_for_each(|folder| disk::sync_folder(folder))
    }
}

fn apply_link(layout: &Layout, LinkEdit { link, tree }: &LinkEdit) -> Result<(), disk::Error> {
    let Some(cid) = tree.map(Cid::of) else { return links::remove(layout, link) };
    let in_the_way = match links::standing(layout, link)? {
        Standing::Ours(stands) if stands == cid => return Ok(()),
        Standing::Ours(_) | Standing::Absent => links::blocked_by(layout, link)?,
        Standing::Folder | Standing::Other => Some(link.path(layout)),
    };
    match in_the_way {
        None => links::place(layout, link, &cid)?,
        // Only what a person made after the plan was; unlike a plan, a switch cannot be refused.
        Some(path) => left_alone(&path),
    }
    Ok(())
}

fn left_alone(path: &Path) {
    tracing::warn!(path = %path.display(), "not put there by pkg, so it was left alone");
}

/// Puts a new folder in the place of `index-db`. The old one is out of the way for one rename, and
/// who looks just then finds the journal.
fn apply_index(layout: &Layout, staged: &Path, watch: Watch) -> Result<(), disk::Error> {
    let (current, aside) = (layout.index_db(), layout.tmp().join("index-db-before"));
    if stands(staged)? {
        if !stands(&aside)? {
            watch("index aside");
            rename_once(&current, &aside)?;
        }
        watch("index");
        rename_once(staged, &current)?;
    }
    watch("index removed");
    remove_folder(&aside)
}

/// True if something stands there; a disk that cannot tell is an error, since much hangs on it.
fn stands(path: &Path) -> Result<bool, disk::Error> {
    path.try_exists().doing("look at", path)
}

fn apply_wanted(layout: &Layout, staged: &StagedWanted) -> Result<(), disk::Error> {
    let (from, to) = (layout.tmp().join(staged.file.as_str()), layout.wanted());
    if is_still(&to, staged.over)? {
        return rename_once(&from, &to);
    }
    if stands(&from)? {
        left_alone(&to);
    }
    disk::remove(&from)
}

/// True if the file is as it was, that is `over`, or absent for none.
fn is_still(path: &Path, over: Option<ObjectId>) -> Result<bool, disk::Error> {
    if stands(path)? {
        let found = path.metadata().doing("look at", path)?;
        if !found.is_file() || found.len() > CONFIG_BYTES_MAX as u64 {
            return Ok(false);
        }
    }
    Ok(disk::try_read(path, CONFIG_BYTES_MAX)?.map(|bytes| ObjectId::of(&bytes)) == over)
}

/// Renames a file or folder, unless that was done before.
fn rename_once(from: &Path, to: &Path) -> Result<(), disk::Error> {
    match std::fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        renamed => renamed.doing("rename to", to),
    }
}

/// Removes a folder and all that is in it; its absence is fine.
pub(super) fn remove_folder(path: &Path) -> Result<(), disk::Error> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(disk::Error::new("remove folder", path, e)),
        _ => Ok(()),
    }
}
