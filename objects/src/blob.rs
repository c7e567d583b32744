//! Blobs: a file's content as a list of chunks.
//!
//! ```text
//! blob      ["blob/1", size, [[chunk id, length], …]]
//! blob fan  ["blob-fan/1", size, [[blob id, chunks, bytes], …]]     more than 4,096 chunks
//! ```
//!
//! Promises: a decoded blob's lengths add up to its size. A file of one chunk needs no blob: its
//! tree entry points at the chunk.
//! Leaves to others: reading and checking the chunks themselves.

use crate::codec::{self, Error};
use crate::fan;
use crate::id::{BlobId, ChunkId, ObjectId};
use crate::limits::{OBJECT_BYTES_MAX, ROWS_MAX};
use serde::{Deserialize, Serialize};

const BLOB: &str = "blob/1";
const FAN: &str = "blob-fan/1";

/// One chunk of a file and its length in bytes.
pub type Piece = (ChunkId, u64);

/// One run of a long blob: its blob object, how many chunks, how many bytes.
pub type Run = (BlobId, u64, u64);

/// A blob object: all chunks of a file, or the runs they are split into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blob {
    /// The chunks in order.
    Chunks {
        /// Bytes of the whole.
        size: u64,
        /// The chunks in order.
        pieces: Vec<Piece>,
    },
    /// The runs in order.
    Fan {
        /// Bytes of the whole.
        size: u64,
        /// The runs in order.
        runs: Vec<Run>,
    },
}

#[derive(Serialize, Deserialize)]
struct Rows<T>(String, u64, Vec<T>);

impl Blob {
    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        match self {
            Blob::Chunks { size, .. } | Blob::Fan { size, .. } => *size,
        }
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Blob::Chunks { size, pieces } => codec::encode(&(BLOB, size, pieces)),
            Blob::Fan { size, runs } => codec::encode(&(FAN, size, runs)),
        }
    }

    /// Reads a blob; its lengths must add up.
    ///
    /// # Errors
    /// `E-FORMAT` for any other kind, another encoding, or sums that differ; `E-LIMIT` for too many rows.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        if is_tagged(bytes, FAN) {
            let Rows(_, size, runs) = decode_rows::<Run>("blob fan", FAN, bytes)?;
            check_sum("blob fan", size, runs.iter().map(|run| run.2))?;
            if runs.is_empty() {
                return Err(Error::malformed("blob fan", "it has no run"));
            }
            Ok(Blob::Fan { size, runs })
        } else {
            let Rows(_, size, pieces) = decode_rows::<Piece>("blob", BLOB, bytes)?;
            check_sum("blob", size, pieces.iter().map(|piece| piece.1))?;
            if pieces.is_empty() {
                return Err(Error::malformed("blob", "it has no chunk"));
            }
            Ok(Blob::Chunks { size, pieces })
        }
    }
}

/// The objects of a file made of `pieces`: the runs first, the blob itself last.
pub fn build(pieces: &[Piece]) -> Vec<(BlobId, Vec<u8>)> {
    let encoded = |pieces: &[Piece]| {
        let bytes = codec::encode(&(BLOB, sum(pieces), pieces));
        (BlobId::new(ObjectId::of(&bytes)), bytes)
    };
    let runs = fan::runs(pieces, |piece| piece.0.object());
    let mut objects: Vec<_> = runs.iter().map(|run| encoded(run)).collect();
    if runs.len() > 1 {
        let rows =
            objects.iter().zip(&runs).map(|((id, _), run)| (*id, run.len() as u64, sum(run))).collect();
        let bytes = Blob::Fan { size: sum(pieces), runs: rows }.encode();
        objects.push((BlobId::new(ObjectId::of(&bytes)), bytes));
    }
    objects
}

fn sum(pieces: &[Piece]) -> u64 {
    pieces.iter().map(|piece| piece.1).sum()
}

/// True if `bytes` begin as an array whose first field is the text `tag`. The decoder checks the rest.
pub(crate) fn is_tagged(bytes: &[u8], tag: &str) -> bool {
    let text = 0x60 | tag.len() as u8; // a CBOR text of fewer than 24 bytes
    bytes.len() > tag.len() + 2 && bytes[1] == text && &bytes[2..2 + tag.len()] == tag.as_bytes()
}

fn decode_rows<T>(what: &'static str, tag: &str, bytes: &[u8]) -> Result<Rows<T>, Error>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    let rows: Rows<T> = codec::decode(what, bytes, OBJECT_BYTES_MAX)?;
    if rows.0 != tag {
        return Err(Error::malformed(what, format_args!("its first field is not {tag:?}")));
    }
    if rows.2.len() > ROWS_MAX {
        return Err(Error::TooLong { what: "list of rows", bytes: rows.2.len(), bytes_max: ROWS_MAX });
    }
    Ok(rows)
}

fn check_sum(what: &'static str, size: u64, lengths: impl Iterator<Item = u64>) -> Result<(), Error> {
    let total = lengths.into_iter().try_fold(0u64, |sum, length| match length {
        0 => None, // an empty piece would give one content two encodings
        _ => sum.checked_add(length),
    });
    match total {
        Some(total) if total == size => Ok(()),
        _ => Err(Error::malformed(what, "its lengths do not add up to its size")),
    }
}
