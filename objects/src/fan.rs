//! Splitting of long lists: one mechanism for trees and blobs.
//!
//! A list of more than [`SPLIT_ROWS`] rows is cut into runs at content-defined places; the object
//! itself becomes a *fan* that names the runs. One changed row rewrites one run and the fan.
//!
//! Promises: the cut depends on the rows alone, so the same list has the same id everywhere.
//! Leaves to others: what a row is ([`crate::tree`], [`crate::blob`]).

use crate::id::ObjectId;
use crate::limits::ROWS_MAX;

/// Lists up to this many rows stay in one object.
pub const SPLIT_ROWS: usize = 4_096;
/// A run ends after a row whose key has this many zero bits: 256 rows further on average.
const CUT_BITS: u16 = 8;
/// No run but the last is shorter, whatever its keys: 4,194,304 rows always fit one fan of 65,536
/// runs, though somebody chose the names or chunks.
const RUN_ROWS_MIN: usize = 64;

/// True if a run ends after the row with this key (the hash of an entry's name, a chunk's id).
fn ends_run(key: &ObjectId) -> bool {
    let low = u16::from_le_bytes([key.as_bytes()[0], key.as_bytes()[1]]);
    low & ((1 << CUT_BITS) - 1) == 0
}

/// The runs of `rows`: one if the list is short, else cut where `key` says so, not before
/// [`RUN_ROWS_MIN`] and at the latest after [`SPLIT_ROWS`].
pub(crate) fn runs<T>(rows: &[T], key: impl Fn(&T) -> ObjectId) -> Vec<&[T]> {
    if rows.len() <= SPLIT_ROWS {
        return vec![rows];
    }
    let mut runs = Vec::new();
    let mut start = 0;
    for (at, row) in rows.iter().enumerate() {
        let len = at + 1 - start;
        if (len >= RUN_ROWS_MIN && ends_run(&key(row))) || len == SPLIT_ROWS {
            runs.push(&rows[start..=at]);
            start = at + 1;
        }
    }
    if start < rows.len() {
        runs.push(&rows[start..]);
    }
    assert!(runs.len() <= ROWS_MAX, "the callers bound their lists by FILE_CHUNKS_MAX and RELEASE_FILES_MAX");
    runs
}
