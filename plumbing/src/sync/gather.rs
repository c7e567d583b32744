//! Bringing single objects by their ids, for a store that has lost some.
//!
//! ```text
//! lost ids ─▶ Give ─▶ hash ─▶ store;  what a tree or blob names and the store lacks is asked for next
//! ```
//!
//! Promises: bytes are kept only if they hash to an id that is lost, or that a kept object names
//! (REL-023). What arrived is stored whatever ends it. A giver that is damaged itself gives what is whole.
//! Leaves to others: which objects are lost; peers, who give whole trees only ([`super::fetch_tree`]).

use super::Error;
use objects::blob::Blob;
use objects::id::{ObjectId, PackId};
use objects::object::{Exists, Find, Kind};
use objects::progress::Progress;
use objects::repository::Repository;
use objects::store::Store;
use objects::store::pack::writer::Options;
use objects::store::transaction::{STRUCTURE, Transaction};
use objects::tree::{Mode, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// The group that contents share.
const CONTENT: u64 = 1;

/// Takes the bytes of an object.
pub type Take<'t> = dyn FnMut(&[u8]) -> Result<(), Error> + 't;

/// Somebody who can give single objects. Contract: what is not there, or damaged there, is passed over;
/// other objects than those wanted may be given too.
pub trait Give: Send + Sync {
    /// Hands those of the objects `wanted` that are here to `take`.
    ///
    /// # Errors
    /// Those of `take`; if nothing can be read at all.
    fn objects(
        &self,
        wanted: &BTreeSet<ObjectId>,
        take: &mut Take<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error>;
}

impl Give for Repository {
    fn objects(
        &self,
        wanted: &BTreeSet<ObjectId>,
        take: &mut Take<'_>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        // In the order they lie in, so that a frame is unpacked once.
        let mut placed: Vec<_> = wanted
            .iter()
            .filter_map(|id| self.store().locate(id).map(|(pack, number)| (pack.id(), number, *id)))
            .collect();
        placed.sort_unstable();
        for (_, _, id) in placed {
            if let Ok(Some(bytes)) = self.store().try_find(&id) {
                progress.advance(bytes.len() as u64);
                take(&bytes)?;
            }
        }
        Ok(())
    }
}

/// What a giver brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gathered {
    /// Objects that are in the store again.
    pub objects: u64,
    /// Their unpacked bytes.
    pub bytes: u64,
    /// The pack they are in.
    pub pack: Option<PackId>,
}

/// Brings the objects `lost` and what is missing below them, as far as `giver` has them.
///
/// # Errors
/// If the giver fails, or the store refuses. What arrived before is in the store.
pub fn gather(
    giver: &dyn Give,
    store: &Store,
    lost: &BTreeMap<ObjectId, Kind>,
    options: Options,
    progress: &dyn Progress,
) -> Result<Gathered, Error> {
    let mut transaction = store.transaction(options)?;
    let result = bring_all(giver, store, lost, &mut transaction, progress);
    let (objects, bytes) = (transaction.objects() as u64, transaction.bytes());
    let pack = transaction.commit()?;
    result.map(|()| Gathered { objects, bytes, pack })
}

fn bring_all(
    giver: &dyn Give,
    store: &Store,
    lost: &BTreeMap<ObjectId, Kind>,
    transaction: &mut Transaction<'_>,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let mut round = lost.clone();
    while !round.is_empty() {
        let wanted: BTreeSet<ObjectId> = round.keys().copied().collect();
        let mut next = BTreeMap::new();
        let mut take = |bytes: &[u8]| -> Result<(), Error> {
            let id = ObjectId::of(bytes);
            let Some(kind) = round.remove(&id) else { return Ok(()) };
            transaction.write_as(id, bytes, if kind == Kind::Chunk { CONTENT } else { STRUCTURE })?;
            next.extend(named_by(kind, bytes));
            Ok(())
        };
        giver.objects(&wanted, &mut take, progress)?;
        next.retain(|id, _| !store.contains(id) && !transaction.contains(id) && !round.contains_key(id));
        round = next;
    }
    Ok(())
}

/// What an object names; nothing if it is not of that kind, which a reader will tell.
fn named_by(kind: Kind, bytes: &[u8]) -> Vec<(ObjectId, Kind)> {
    match kind {
        Kind::Chunk => Vec::new(),
        Kind::Tree => match Tree::decode(bytes) {
            Ok(Tree::Fan(runs)) => runs.iter().map(|run| (run.1.object(), Kind::Tree)).collect(),
            Ok(Tree::Entries(entries)) => {
                entries.iter().map(|entry| (entry.id, kind_of(entry.mode))).collect()
            }
            Err(_) => Vec::new(),
        },
        Kind::Blob => match Blob::decode(bytes) {
            Ok(Blob::Fan { runs, .. }) => runs.iter().map(|run| (run.0.object(), Kind::Blob)).collect(),
            Ok(Blob::Chunks { pieces, .. }) => {
                pieces.iter().map(|(chunk, _)| (chunk.object(), Kind::Chunk)).collect()
            }
            Err(_) => Vec::new(),
        },
    }
}

fn kind_of(mode: Mode) -> Kind {
    match mode {
        Mode::Dir => Kind::Tree,
        mode if mode.is_blob() => Kind::Blob,
        _ => Kind::Chunk,
    }
}
