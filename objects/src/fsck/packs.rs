//! Packs: their forms, and the hashes of their frames and objects.

use super::{Options, Report};
use crate::id::ObjectId;
use crate::repository::Repository;
use crate::store::chain;
use crate::store::pack::{Pack, objects_in};
use rayon::prelude::*;

pub(super) fn check_packs(
    repository: &Repository,
    options: Options,
    report: &mut Report,
) -> Result<(), crate::disk::Error> {
    let store = repository.store();
    for (id, problem) in store.broken() {
        report.find(crate::repository::pack_key(id), problem);
    }
    for name in crate::disk::list(&store.packs_folder())? {
        let pack = name.strip_suffix(".idx").map(|stem| format!("{stem}.pack"));
        if pack.is_some_and(|pack| !store.packs_folder().join(pack).exists()) {
            report.find(format!("objects/pack/{name}"), "its pack is lost");
        }
    }
    for pack in store.packs() {
        report.packs += 1;
        report.objects += pack.index().len() as u64;
        if let Err(reason) = pack.index().check() {
            report.find(crate::repository::pack_index_key(pack.id()), reason);
        }
        match crate::store::pack::read_table(pack.file(), pack.path()) {
            Ok(table) if table == *pack.table() => {}
            Ok(_) => report.find(crate::repository::pack_key(pack.id()), "its table differs from its index"),
            Err(error) => report.find(crate::repository::pack_key(pack.id()), error),
        }
        check_frames(repository, &pack, options, report);
    }
    Ok(())
}

fn check_frames(repository: &Repository, pack: &Pack, options: Options, report: &mut Report) {
    let ids = pack.index().ids_in_pack_order();
    let frames = (0..pack.table().frames().len()).into_par_iter();
    let results: Vec<_> = frames.map(|number| check_frame(repository, pack, number, &ids, options)).collect();
    for (bytes, problems) in results {
        report.bytes += bytes;
        problems.into_iter().for_each(|problem| report.find(crate::repository::pack_key(pack.id()), problem));
    }
}

/// Unpacked bytes hashed, and what is wrong with the frame.
fn check_frame(
    repository: &Repository,
    pack: &Pack,
    number: usize,
    ids: &[ObjectId],
    options: Options,
) -> (u64, Vec<String>) {
    let range = pack.table().objects_of(number);
    let names = &ids[range.start as usize..range.end as usize];
    let lost = |reason: String| {
        let objects = names.iter().map(|id| format!("object {id} is lost: {reason}"));
        (0, objects.collect())
    };
    if !options.data {
        return pack.stored_frame(number).map_or_else(|error| lost(chain(&error)), |_| (0, Vec::new()));
    }
    let raw = match repository.store().read_frame(pack, number) {
        Ok(raw) => raw,
        Err(error) => return lost(chain(&error)),
    };
    let frame = &pack.table().frames()[number];
    let wrong = objects_in(frame, &raw).zip(names).filter(|(bytes, id)| ObjectId::of(bytes) != **id);
    (raw.len() as u64, wrong.map(|(_, id)| format!("object {id} hashes to another id")).collect())
}
