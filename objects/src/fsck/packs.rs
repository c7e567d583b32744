//! Packs: their forms, and the hashes of their frames and objects.
//!
//! The frames of all packs are one list that all threads work off.

use super::presence::Presence;
use super::{Inspection, Level, Request};
use crate::disk;
use crate::id::{ObjectId, PackId};
use crate::object::{Error, Find};
use crate::repository::{MULTI_INDEX_KEY, Repository, pack_index_key, pack_key};
use crate::store::Store;
use crate::store::chain;
use crate::store::pack::table::{Base, BaseOf};
use crate::store::pack::{Pack, file_name, objects_in, read_table};
use crate::walk;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Most objects that are named of one damaged pack.
const NAMED_MAX: usize = 1_000;

/// A frame that is not as it has to be.
struct Trouble {
    pack: usize,
    frame: usize,
    what: What,
}

enum What {
    /// It cannot be read; all in it is lost.
    Frame(String),
    /// It can, but these objects do not hash to their ids.
    Objects(Vec<u32>),
}

/// Looks at every pack, and gives what is whole in them.
pub(super) fn look(
    repository: &Repository,
    request: Request<'_>,
    found: &mut Inspection,
) -> Result<Presence, disk::Error> {
    let store = repository.store();
    for (id, problem) in store.broken() {
        found.report.find(pack_key(id), problem);
        found.damage.packs.insert(id);
    }
    if let Some(problem) = store.check_multi_index() {
        found.report.find(MULTI_INDEX_KEY, problem);
    }
    look_for_orphans(store, found)?;
    let mut presence = Presence::of(store);
    let forms: Vec<Form> = presence.packs().par_iter().map(|pack| form(pack)).collect();
    found.report.packs = forms.len() as u64;
    found.report.objects = presence.packs().iter().map(|pack| pack.index().len() as u64).sum();
    for (pack, form) in presence.packs().iter().zip(&forms) {
        let places = [(pack_index_key(pack.id()), &form.index), (pack_key(pack.id()), &form.tail)];
        for (place, problem) in places {
            if let Some(problem) = problem {
                found.report.find(place, problem);
                found.damage.packs.insert(pack.id());
            }
        }
    }
    let (troubles, bytes) = read_frames(store, &presence, &forms, request);
    if request.level == Level::Data {
        found.report.bytes = bytes;
    }
    tell(&mut presence, troubles, found);
    lose_what_builds_on_it(store, &mut presence, found);
    Ok(presence)
}

fn look_for_orphans(store: &Store, found: &mut Inspection) -> Result<(), disk::Error> {
    let folder = store.packs_folder();
    let leaving = crate::store::gc::leaving(store)?;
    for name in disk::list(&folder)? {
        let id = name.strip_suffix(".idx").and_then(|stem| stem.parse::<PackId>().ok());
        let is_lost = |id: &PackId| !folder.join(file_name(*id)).exists() && !leaving.contains(id);
        let lost = id.filter(is_lost);
        if let Some(id) = lost {
            found.report.find(pack_index_key(id), "its pack is lost");
            found.damage.orphans.insert(id);
        }
    }
    Ok(())
}

/// What is wrong with the two lists of a pack.
struct Form {
    index: Option<String>,
    tail: Option<String>,
}

fn form(pack: &Pack) -> Form {
    let tail = match read_table(pack.file(), pack.path()) {
        Ok(table) if table == *pack.table() => None,
        Ok(_) => Some("its table differs from its index".to_owned()),
        Err(error) => Some(chain(&error)),
    };
    Form { index: pack.index().check().err(), tail }
}

/// Reads the frames of all packs; gives those in trouble, and how many bytes were unpacked.
fn read_frames(
    store: &Store,
    presence: &Presence,
    forms: &[Form],
    request: Request<'_>,
) -> (Vec<Trouble>, u64) {
    let packs = presence.packs();
    let ends: Vec<usize> = packs
        .iter()
        .scan(0, |end, pack| {
            *end += pack.table().frames().len();
            Some(*end)
        })
        .collect();
    let unpacked = AtomicU64::new(0);
    let look = |number: usize| {
        let pack = ends.partition_point(|end| *end <= number);
        let frame = number - if pack == 0 { 0 } else { ends[pack - 1] };
        // An index that is wrong in itself is held against the objects, whatever was asked for.
        let level = if forms[pack].index.is_some() { Level::Data } else { request.level };
        let what = match level {
            Level::Connectivity => Ok(()),
            Level::Frames => packs[pack].stored_frame(frame).map(drop).map_err(unreadable),
            Level::Data => unpack(store, &packs[pack], frame, &unpacked),
        };
        if request.level != Level::Connectivity {
            request.progress.advance(u64::from(packs[pack].table().frames()[frame].stored));
        }
        what.err().map(|what| Trouble { pack, frame, what })
    };
    let frames = (0..ends.last().copied().unwrap_or(0)).into_par_iter();
    let troubles = frames.filter_map(look).collect();
    (troubles, unpacked.into_inner())
}

/// Why a frame cannot be read; the pack is named beside it.
fn unreadable(error: Error) -> What {
    match error {
        Error::Damaged { reason, .. } => What::Frame(reason),
        other => What::Frame(chain(&other)),
    }
}

/// Unpacks a frame and looks each object up by its hash: so the order of the ids need not be held in
/// memory for every pack.
fn unpack(store: &Store, pack: &Pack, frame: usize, unpacked: &AtomicU64) -> Result<(), What> {
    let raw = store.read_frame(pack, frame).map_err(unreadable)?;
    unpacked.fetch_add(raw.len() as u64, Relaxed);
    let objects = pack.table().objects_of(frame).zip(objects_in(&pack.table().frames()[frame], &raw));
    let is_wrong =
        |(number, bytes): &(u32, &[u8])| pack.index().number(&ObjectId::of(bytes)) != Some(*number);
    let wrong: Vec<u32> = objects.filter(is_wrong).map(|(number, _)| number).collect();
    if wrong.is_empty() { Ok(()) } else { Err(What::Objects(wrong)) }
}

fn tell(presence: &mut Presence, troubles: Vec<Trouble>, found: &mut Inspection) {
    let mut by_pack: BTreeMap<usize, Vec<Trouble>> = BTreeMap::new();
    for trouble in troubles {
        by_pack.entry(trouble.pack).or_default().push(trouble);
    }
    for (number, troubles) in by_pack {
        let pack = presence.packs()[number].clone();
        let ids = pack.index().ids_in_pack_order();
        let mut told = Told { place: pack_key(pack.id()), ids: &ids, named: 0, unnamed: 0, found };
        for trouble in troubles {
            match trouble.what {
                What::Frame(reason) => {
                    presence.lose_frame(number, trouble.frame);
                    pack.table().objects_of(trouble.frame).for_each(|object| {
                        told.object(object, |id| format!("object {id} is lost: {reason}"));
                    });
                }
                What::Objects(objects) => objects.into_iter().for_each(|object| {
                    presence.lose_object(number, object);
                    told.object(object, |id| format!("object {id} hashes to another id"));
                }),
            }
        }
        told.end();
        found.damage.packs.insert(pack.id());
    }
}

/// Names the objects of a pack, up to a bound.
struct Told<'a> {
    place: String,
    ids: &'a [ObjectId],
    named: usize,
    unnamed: usize,
    found: &'a mut Inspection,
}

impl Told<'_> {
    fn object(&mut self, object: u32, problem: impl Fn(&ObjectId) -> String) {
        if self.named < NAMED_MAX {
            self.named += 1;
            self.found.report.find(&self.place, problem(&self.ids[object as usize]));
        } else {
            self.unnamed += 1;
        }
    }

    fn end(self) {
        if self.unnamed > 0 {
            self.found.report.find(&self.place, format!("{} more objects are lost with these", self.unnamed));
        }
    }
}

/// Takes out the delta frames whose bases are lost: they hash as they should and give nothing. One may
/// be the base of the next, so this goes on until nothing more is lost.
fn lose_what_builds_on_it(store: &Store, presence: &mut Presence, found: &mut Inspection) {
    let deltas: Vec<(usize, usize)> = presence
        .packs()
        .iter()
        .enumerate()
        .flat_map(|(number, pack)| {
            let frames = pack.table().frames().iter().enumerate();
            frames.filter(|(_, frame)| !frame.base.is_empty()).map(move |(frame, _)| (number, frame))
        })
        .collect();
    loop {
        let standing = deltas.par_iter().filter(|(pack, frame)| !presence.is_lost(*pack, *frame));
        let fallen: Vec<Trouble> = standing
            .filter_map(|(pack, frame)| {
                let bases = &presence.packs()[*pack].table().frames()[*frame].base;
                let reason = bases.iter().find_map(|base| lost_base(store, presence, base))?;
                Some(Trouble { pack: *pack, frame: *frame, what: What::Frame(reason) })
            })
            .collect();
        if fallen.is_empty() {
            return;
        }
        tell(presence, fallen, found);
    }
}

/// Why a base gives nothing, if it does not.
fn lost_base(store: &Store, presence: &Presence, base: &Base) -> Option<String> {
    let gone = |id: &ObjectId| {
        presence.whole(id).is_none().then(|| format!("its frame builds on object {id}, which is lost"))
    };
    let reason = gone(&base.id);
    if reason.is_some() || base.of == BaseOf::Object {
        return reason;
    }
    let pieces = match walk::blob_pieces(&store as &dyn Find, crate::id::BlobId::new(base.id)) {
        Ok(pieces) => pieces,
        Err(error) => return Some(format!("its frame builds on a file that is lost: {}", chain(&error))),
    };
    let mut at = 0u64;
    pieces.iter().find_map(|(chunk, len)| {
        let (from, to) = (at, at + len);
        at = to;
        let used = to > base.start && from < base.start.saturating_add(base.len);
        used.then(|| gone(&chunk.object())).flatten()
    })
}
