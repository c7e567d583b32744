//! Damaged packs: mended where nothing is lost, else rewritten without what is.
//!
//! Promises: what is whole is durable elsewhere before the pack is set aside, and the list of packs names
//! it before. What is rewritten stands in plain frames.

use super::remains::{Remains, write_whole};
use super::{Action, Error, Options, Step, quarantine};
use crate::disk;
use crate::fsck::Damage;
use crate::id::{ObjectId, PackId};
use crate::repository::{PACK_LIST_KEY, Repository, SUMMARY_KEY, pack_index_key, pack_key};
use crate::store::pack::writer::PackWriter;
use crate::store::pack::{file_name, index_name};
use std::collections::HashSet;
use std::io::Write;

/// The group that objects from broken-up frames share.
const MOVED: u64 = 1;

/// What is to be done about packs.
#[derive(Default)]
pub(super) struct Packs {
    mend: Vec<Remains>,
    rewrite: Vec<Remains>,
    /// Packs of which nothing can be read, and indexes without packs.
    set_aside: Vec<PackId>,
    list: bool,
}

impl Packs {
    pub fn plan(repository: &Repository, damage: &Damage) -> Packs {
        let mut packs = Packs { list: damage.pack_list, ..Packs::default() };
        for id in &damage.packs {
            match Remains::of(repository.store(), *id) {
                Some(remains) if remains.is_all_there() => packs.mend.push(remains),
                Some(remains) => packs.rewrite.push(remains),
                None => packs.set_aside.push(*id),
            }
        }
        packs.set_aside.extend(&damage.orphans);
        packs
    }

    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for remains in &self.mend {
            if !remains.tail {
                steps.push(Step { place: pack_key(remains.id), action: Action::Mend });
            }
            if !remains.index {
                steps.push(Step { place: pack_index_key(remains.id), action: Action::Mend });
            }
        }
        for remains in &self.rewrite {
            let (whole, lost) = remains.counts();
            steps.push(Step { place: pack_key(remains.id), action: Action::Rewrite { whole, lost } });
        }
        let aside = self.set_aside.iter();
        steps.extend(aside.map(|id| Step { place: pack_key(*id), action: Action::SetAside }));
        if self.list {
            steps.push(Step { place: PACK_LIST_KEY.to_owned(), action: Action::Restore });
        }
        steps
    }

    pub fn carry_out(&self, repository: &Repository, options: &Options<'_>) -> Result<(), Error> {
        let store = repository.store();
        self.mend.iter().try_for_each(|remains| mend(repository, remains))?;
        let heir = self.rewrite_whole_objects(repository, options)?;
        store.refresh()?;
        let leaving = self.rewrite.iter().map(|remains| remains.id).chain(self.set_aside.iter().copied());
        let leaving: Vec<PackId> = leaving.filter(|id| Some(*id) != heir).collect();
        let listed = repository.root().join(SUMMARY_KEY).exists();
        if self.list || (listed && !leaving.is_empty()) {
            if self.list {
                quarantine::keep_aside(repository.root(), PACK_LIST_KEY)?;
            }
            repository.unlist_packs(&leaving, heir)?;
        }
        for id in &leaving {
            quarantine::set_aside(repository.root(), &pack_key(*id))?;
            quarantine::set_aside(repository.root(), &pack_index_key(*id))?;
        }
        Ok(store.refresh()?)
    }

    fn rewrite_whole_objects(
        &self,
        repository: &Repository,
        options: &Options<'_>,
    ) -> Result<Option<PackId>, Error> {
        let store = repository.store();
        let mut writer = PackWriter::create(&store.staging_folder(), options.pack)?;
        let mut moved = HashSet::new();
        for remains in &self.rewrite {
            for number in 0..remains.frames.len() {
                rewrite_frame(repository, remains, number, &mut moved, &mut writer)?;
                options.progress.advance(u64::from(remains.table.frames()[number].stored));
            }
        }
        Ok(writer.finish(&store.packs_folder())?)
    }
}

fn rewrite_frame(
    repository: &Repository,
    remains: &Remains,
    number: usize,
    moved: &mut HashSet<ObjectId>,
    writer: &mut PackWriter,
) -> Result<(), Error> {
    let Some(ids) = &remains.frames[number] else { return Ok(()) };
    let frame = &remains.table.frames()[number];
    let distinct: HashSet<&ObjectId> = ids.iter().collect();
    let fresh = distinct.len() == ids.len() && ids.iter().all(|id| !moved.contains(id));
    match remains.stored(number).filter(|_| fresh && frame.base.is_empty()) {
        Some(stored) => {
            moved.extend(ids);
            writer.add_frame(frame.clone(), stored, ids)?;
        }
        None => {
            for (id, bytes) in remains.objects(repository.store(), number).unwrap_or_default() {
                if moved.insert(id) {
                    writer.add(id, &bytes, MOVED)?;
                }
            }
        }
    }
    Ok(())
}

/// Writes tail and index again. The old files are kept aside, and stand until the new ones do.
fn mend(repository: &Repository, remains: &Remains) -> Result<(), Error> {
    let (store, root) = (repository.store(), repository.root());
    let (staging, folder) = (store.staging_folder(), store.packs_folder());
    let mut files = Vec::new();
    if !remains.tail {
        quarantine::keep_aside(root, &pack_key(remains.id))?;
        files.push((write_whole(remains, &staging)?, folder.join(file_name(remains.id))));
    }
    if let Some(index) = remains.encode_index().filter(|_| !remains.index) {
        use crate::disk::Context;
        quarantine::keep_aside(root, &pack_index_key(remains.id))?;
        let scratch = disk::Scratch::create(&staging, ".tmp")?;
        scratch.file().write_all(&index).doing("write", scratch.path())?;
        files.push((scratch, folder.join(index_name(remains.id))));
    }
    for (scratch, _) in &files {
        make_read_only(scratch)?;
    }
    disk::keep_all(files)?;
    Ok(store.reopen(remains.id)?)
}

fn make_read_only(scratch: &disk::Scratch) -> Result<(), disk::Error> {
    use crate::disk::Context;
    use std::os::unix::fs::PermissionsExt;
    let read_only = std::fs::Permissions::from_mode(0o444);
    scratch.file().set_permissions(read_only).doing("make read-only", scratch.path())
}
