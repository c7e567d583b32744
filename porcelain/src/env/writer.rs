//! Changing an environment: one writer at a time.
//!
//! ```text
//! lock → stage, check out, materialise → plan → everything durable → journal → apply
//! ```
//!
//! Promises: the lock is the system's own, so a killed holder frees it (REL-026); whoever gets it
//! first completes what the last holder left and clears `tmp/`. Trees are synced before they get
//! their place, and have it before a link points at them.
//! Leaves to others: what to put in; fetching and checking out.

use super::error::Error;
use super::facts;
use super::generation::{Generation, Installed};
use super::journal::{Journal, StagedWanted, Watch, remove_folder};
use super::layout::{Cid, component, try_read_text, unique};
use super::lock::LOCKFILE_BYTES_MAX;
use super::switch::{Change, Switch, links_of};
use super::{Binding, Environment, config};
use objects::disk::{self, Context};
use objects::name::{EntryName, PackageName};
use objects::time::Timestamp;
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The right to change an environment, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Writer<'e> {
    environment: &'e Environment,
    _lock: File,
}

/// A place in `.pkgs/tmp/` where nothing stands yet. What is made there and not used goes when the
/// next writer comes.
#[derive(Debug)]
pub struct Staged {
    path: PathBuf,
    name: EntryName,
}

impl Staged {
    /// Where to make it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Environment {
    /// Waits until nobody else changes the environment, then holds everybody off.
    ///
    /// # Errors
    /// If a journal that was left cannot be completed, or the disk refuses.
    pub fn lock_exclusive(&self) -> Result<Writer<'_>, Error> {
        let (file, path) = self.lock_file()?;
        file.lock().doing("lock", &path)?;
        self.begin_writing(file, &mut |_| {})
    }

    /// Holds everybody off, or gives None if somebody is changing the environment.
    ///
    /// # Errors
    /// As [`Environment::lock_exclusive`].
    pub fn try_lock_exclusive(&self) -> Result<Option<Writer<'_>>, Error> {
        self.try_lock_watched(&mut |_| {})
    }

    pub(super) fn try_lock_watched(&self, watch: Watch) -> Result<Option<Writer<'_>>, Error> {
        let (file, path) = self.lock_file()?;
        match file.try_lock() {
            Ok(()) => self.begin_writing(file, watch).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(disk::Error::new("lock", &path, e).into()),
        }
    }

    /// Keeps writers off while something is added that none of them plans for.
    pub(super) fn try_lock_shared(&self) -> Result<File, Error> {
        let (file, path) = self.lock_file()?;
        match file.try_lock_shared() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::Busy { path: self.layout.root.clone() }),
            Err(TryLockError::Error(e)) => Err(disk::Error::new("lock", &path, e).into()),
        }
    }

    fn lock_file(&self) -> Result<(File, PathBuf), disk::Error> {
        let path = self.layout.lock();
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
        Ok((file, path))
    }

    fn begin_writing(&self, lock: File, watch: Watch) -> Result<Writer<'_>, Error> {
        self.settle(watch)?;
        let tmp = self.layout.tmp();
        for name in disk::list(&tmp)? {
            let path = tmp.join(name);
            match path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                true => remove_folder(&path)?,
                false => disk::remove(&path)?,
            }
        }
        disk::make_folder(&tmp)?;
        Ok(Writer { environment: self, _lock: lock })
    }

    /// Completes what a process that was killed, or that the disk refused, had begun.
    fn settle(&self, watch: Watch) -> Result<(), Error> {
        match Journal::read(&self.layout)? {
            Some(journal) => journal.apply(&self.layout, watch),
            None => Ok(()),
        }
    }
}

impl Writer<'_> {
    /// The environment it writes.
    pub fn environment(&self) -> &Environment {
        self.environment
    }

    /// Binds the environment to a source, or pins its repository.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn bind(&self, binding: &Binding) -> Result<(), Error> {
        config::write_binding(&self.environment.layout, binding)
    }

    /// A fresh place to check a tree out to, or to write an index to.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn stage(&self) -> Result<Staged, Error> {
        let name = EntryName::new(unique("stage")).expect("it is made of letters, digits and -");
        let path = self.environment.layout.tmp().join(name.as_str());
        match path.symlink_metadata() {
            Err(_) => Ok(Staged { path, name }),
            Ok(_) => self.stage(), // left by a process of the same number
        }
    }

    /// Gives staged trees their places: one sync for all, then a rename each. A tree that stands
    /// already is used again, and the staged one goes.
    ///
    /// # Errors
    /// If the disk refuses. Trees that have their place by then keep it.
    pub fn materialise(&self, trees: Vec<(Staged, &Installed)>) -> Result<(), Error> {
        self.sync_all()?;
        for (staged, installed) in trees {
            let known = self.environment.whole_tree(&installed.name, installed.tree)?;
            if known.is_none() {
                self.put(&staged, installed)?;
            }
            facts::note(&self.environment.layout, installed, known)?;
        }
        Ok(())
    }

    /// Puts a staged tree where it belongs. What stands there has no facts, so it may be half of one.
    fn put(&self, staged: &Staged, installed: &Installed) -> Result<(), Error> {
        let layout = &self.environment.layout;
        disk::make_folder(&layout.package(&installed.name))?;
        let place = layout.tree(&installed.name, &Cid::of(installed.tree));
        match place.symlink_metadata() {
            Ok(_) => Ok(exchange(&staged.path, &place)?),
            Err(_) => Ok(std::fs::rename(&staged.path, &place).doing("rename to", &place)?),
        }
    }

    /// Puts a fresh copy in the place of a tree that was changed, and keeps the changed one in
    /// `.pkgs/backups/` (O14). Links resolve throughout. Returns where the changed one is.
    ///
    /// # Errors
    /// `ContentGone` if there is no tree to keep; or the disk refuses.
    pub fn replace_with_backup(
        &self,
        fresh: Staged,
        installed: &Installed,
        now: Timestamp,
    ) -> Result<PathBuf, Error> {
        let layout = &self.environment.layout;
        let place = layout.tree(&installed.name, &Cid::of(installed.tree));
        if place.symlink_metadata().is_err() {
            return Err(Error::ContentGone { name: installed.name.clone(), path: place });
        }
        self.sync_all()?;
        let backup = self.new_backup(&installed.name, now)?;
        // The fresh copy waits under the backup's name, so that one exchange does both.
        std::fs::rename(&fresh.path, &backup).doing("rename to", &backup)?;
        exchange(&backup, &place)?;
        let known = self.environment.whole_tree(&installed.name, installed.tree)?;
        facts::note(layout, installed, known)?;
        self.sync_all()?;
        Ok(backup)
    }

    /// `backups/NAME-SECONDS`, with a number behind it if that is taken.
    fn new_backup(&self, name: &PackageName, now: Timestamp) -> Result<PathBuf, Error> {
        let folder = self.environment.layout.backups();
        disk::make_folder(&folder)?;
        let stem = format!("{}-{}", component(name), now.seconds());
        let numbered = (1..).map(|number| format!("{stem}-{number}"));
        let mut paths = std::iter::once(stem.clone()).chain(numbered).map(|name| folder.join(name));
        Ok(paths.find(|path| path.symlink_metadata().is_err()).expect("some number is free"))
    }

    /// Carries out a change: from the moment its journal stands it comes about, before that nothing
    /// has changed (REL-004). Every tree has to have its place.
    ///
    /// # Errors
    /// Those of [`Environment::plan_switch`]; `ContentGone` for a tree that has no place.
    pub fn switch(&self, change: Change) -> Result<Generation, Error> {
        self.switch_watched(change, &mut |_| {})
    }

    /// As [`Writer::switch`], telling each step. For tests that end the process there.
    #[doc(hidden)]
    pub fn switch_watched(&self, change: Change, watch: Watch) -> Result<Generation, Error> {
        self.environment.settle(watch)?;
        let plan = self.environment.plan_switch(&change)?;
        self.carry_out(plan, change, watch)
    }

    /// Brings back the packages and the lockfile of an earlier generation, as a new one; the one
    /// before the current if `to` names none. `pkg.cfg.toml` is a person's and stays. This also
    /// leads out of a current generation that is damaged.
    ///
    /// # Errors
    /// `NoGeneration` if it is not kept; `ContentGone` if a tree of it was pruned; those of
    /// [`Environment::plan_switch`].
    pub fn rollback(&self, to: Option<u64>, now: Timestamp) -> Result<Generation, Error> {
        let environment = self.environment;
        environment.settle(&mut |_| {})?;
        let base = environment.head()?;
        let before = || environment.history_numbers().map(|all| all.into_iter().rfind(|n| *n < base));
        let to = match to {
            Some(number) => number,
            None => before()?.ok_or(Error::NoGeneration { number: base.saturating_sub(1) })?,
        };
        let target = environment.generation(to)?;
        let mut change = Change::of_packages(base, target.packages, format!("rollback to {to}"), now);
        change.lockfile = environment.generation_lockfile(to)?;
        let before = match environment.current() {
            Ok(current) => links_of(&current.packages)?,
            Err(_) => {
                change.relink = change.packages.iter().map(|package| package.name.clone()).collect();
                environment.links_ever()?
            }
        };
        let plan = environment.plan_links(&before, &change)?;
        self.carry_out(plan, change, &mut |_| {})
    }

    /// Replaces `index-db` by a staged folder, and nothing else (O11).
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn replace_index_db(&self, index_db: Staged) -> Result<(), Error> {
        self.environment.settle(&mut |_| {})?;
        self.sync_all()?;
        let journal = Journal { index_db: Some(index_db.name), ..Journal::default() };
        journal.write(&self.environment.layout)?;
        journal.apply(&self.environment.layout, &mut |_| {})
    }

    fn carry_out(&self, plan: Switch, change: Change, watch: Watch) -> Result<Generation, Error> {
        let layout = &self.environment.layout;
        watch("facts");
        change.packages.iter().try_for_each(|installed| self.note_standing(installed))?;
        let mut journal = Journal { links: plan.links, head: Some(plan.number), ..Journal::default() };
        watch("staging");
        if let Some(wanted) = &change.wanted {
            let file = self.stage_file(wanted.as_str())?;
            journal.wanted = Some(StagedWanted { file, over: wanted.over });
        }
        if let Some(lockfile) = &change.lockfile {
            journal.lockfile = Some(self.stage_file(&lockfile.to_string())?);
        }
        journal.index_db = change.index_db.map(|staged| staged.name);
        let generation =
            Generation { number: plan.number, when: change.now, why: change.why, packages: change.packages };
        watch("generation");
        self.keep_lockfile(plan.number, change.lockfile.as_ref().map(ToString::to_string))?;
        generation.write(layout)?;
        watch("sync all");
        self.sync_all()?;
        watch("journal");
        journal.write(layout)?;
        journal.apply(layout, watch)?;
        Ok(generation)
    }

    /// Keeps the lockfile that belongs to a generation beside it: the new one, or the one that stays.
    fn keep_lockfile(&self, number: u64, new: Option<String>) -> Result<(), Error> {
        let layout = &self.environment.layout;
        let path = layout.generation_lock(number);
        let text = match new {
            Some(text) => Some(text),
            None => try_read_text(&layout.lockfile(), LOCKFILE_BYTES_MAX)?,
        };
        match text {
            Some(text) => Ok(layout.write_unsynced(&path, text.as_bytes())?),
            None => Ok(disk::remove(&path)?), // a change that never came about may have left one
        }
    }

    /// Notes a release of a tree that has its place; another release may have brought it there.
    fn note_standing(&self, installed: &Installed) -> Result<(), Error> {
        let layout = &self.environment.layout;
        let known = self.environment.whole_tree(&installed.name, installed.tree)?;
        if known.is_none() {
            let path = layout.tree(&installed.name, &Cid::of(installed.tree));
            return Err(Error::ContentGone { name: installed.name.clone(), path });
        }
        facts::note(layout, installed, known)
    }

    fn stage_file(&self, text: &str) -> Result<EntryName, Error> {
        let Staged { path, name } = self.stage()?;
        std::fs::write(&path, text).doing("write", &path)?;
        Ok(name)
    }

    /// Makes durable whatever was written: trees, facts, generations.
    fn sync_all(&self) -> Result<(), disk::Error> {
        let control = self.environment.layout.control();
        let folder = File::open(&control).doing("open", &control)?;
        rustix::fs::syncfs(&folder).map_err(|e| disk::Error::new("sync", &control, e.into()))
    }
}

/// Exchanges two folders, at one stroke where the file system can.
fn exchange(a: &Path, b: &Path) -> Result<(), disk::Error> {
    let here = rustix::fs::CWD;
    match rustix::fs::renameat_with(here, a, here, b, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => exchange_slowly(a, b),
        exchanged => exchanged.map_err(|e| disk::Error::new("exchange", b, e.into())),
    }
}

fn exchange_slowly(a: &Path, b: &Path) -> Result<(), disk::Error> {
    let aside = a.with_file_name(unique("exchange"));
    std::fs::rename(b, &aside).doing("rename", b)?;
    std::fs::rename(a, b).doing("rename to", b)?;
    std::fs::rename(&aside, a).doing("rename to", a)
}
