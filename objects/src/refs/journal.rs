//! The journal of an edit: what several refs are about to become, so that a killed process leaves
//! all of them moved or none.
//!
//! ```text
//! refs.lock    empty, or ["refs-journal/1", seconds, [[ref, old, new, message], …], BLAKE3 of the rows]
//! ```
//!
//! The rows are written into the lock file and synced before the first ref moves, and taken away
//! after the last. Whoever gets the lock next finishes what is written there. Rows that a power cut
//! tore have a wrong checksum: nothing had moved, so they are passed over.
//!
//! Promises: rows are believed only whole. Leaves to others: making the moves ([`super`]).

use super::{Error, Move, PreviousValue, RefEdit};
use crate::codec;
use crate::disk::{self, Context};
use crate::id::{ObjectId, StatementId};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const JOURNAL: &str = "refs-journal/1";
/// Longest journal, in bytes: many thousand refs.
const BYTES_MAX: usize = 16 << 20;

#[derive(Serialize, Deserialize)]
struct Row(String, Option<StatementId>, Option<StatementId>, String);

#[derive(Serialize, Deserialize)]
struct Rows(String, Timestamp, Vec<Row>, ObjectId);

/// Where the journal of the repository in `root` lies.
pub(super) fn path(root: &Path) -> PathBuf {
    root.join("refs.lock")
}

/// Writes down `moves`.
pub(super) fn begin(lock: &File, root: &Path, moves: &[Move], now: Timestamp) -> Result<(), Error> {
    let row = |(edit, old): &Move| Row(edit.name.as_str().to_owned(), *old, edit.new, edit.message.clone());
    let rows: Vec<Row> = moves.iter().map(row).collect();
    let sum = ObjectId::of(&codec::encode(&(now, &rows)));
    let bytes = codec::encode(&Rows(JOURNAL.to_owned(), now, rows, sum));
    lock.set_len(0).doing("write", &path(root))?;
    lock.write_all_at(&bytes, 0).doing("write", &path(root))?;
    Ok(lock.sync_data().doing("sync", &path(root))?)
}

/// Takes the journal away: all its refs have moved, or none.
pub(super) fn end(lock: &File, root: &Path) -> Result<(), Error> {
    match lock.metadata() {
        Ok(meta) if meta.len() == 0 => Ok(()),
        _ => Ok(lock.set_len(0).doing("write", &path(root))?),
    }
}

/// What a killed process had begun, and when; nothing if the last edit was finished, or had not
/// begun.
pub(super) fn unfinished(root: &Path) -> Result<(Vec<Move>, Timestamp), Error> {
    let bytes = disk::try_read(&path(root), BYTES_MAX)?.unwrap_or_default();
    let nothing = (Vec::new(), Timestamp::default());
    let Ok(Rows(tag, now, rows, sum)) = codec::decode::<Rows>("journal of refs", &bytes, BYTES_MAX) else {
        return Ok(nothing);
    };
    if tag != JOURNAL || sum != ObjectId::of(&codec::encode(&(now, &rows))) {
        return Ok(nothing);
    }
    let edit = |Row(name, old, new, message): Row| {
        let previous = old.map_or(PreviousValue::Absent, PreviousValue::At);
        Ok((RefEdit { name: name.parse()?, previous, new, message }, old))
    };
    Ok((rows.into_iter().map(edit).collect::<Result<_, Error>>()?, now))
}
