//! Where files are cut into chunks: FastCDC v2020, normalised.
//!
//! Promises: cut points depend on the bytes alone; the parameters are part of format 1 and golden
//! vectors guard them (DESIGN 12).
//! Leaves to others: reading the files ([`crate::ingest`]).
//!
//! Follows Xia et al., "The Design of Fast Content-Defined Chunking for Data Deduplication Based
//! Storage Systems", IEEE TPDS 2020.

use fastcdc::v2020::{FastCDC, Normalization};
use std::ops::Range;

/// Files up to this many bytes are one chunk.
pub const BYTES_MIN: usize = 4 << 10;
/// What chunks come to on average, in bytes.
pub const BYTES_AVERAGE: usize = 16 << 10;
/// No chunk is longer, in bytes.
pub const BYTES_MAX: usize = 64 << 10;

/// The chunks of `bytes`, which are a whole file, in order.
pub fn chunks(bytes: &[u8]) -> Vec<Range<usize>> {
    if bytes.len() <= BYTES_MIN {
        return std::iter::once(0..bytes.len()).collect();
    }
    let cutter = FastCDC::with_level(bytes, BYTES_MIN, BYTES_AVERAGE, BYTES_MAX, Normalization::Level2);
    cutter.map(|chunk| chunk.offset..chunk.offset + chunk.length).collect()
}

/// The chunks of `bytes`, which are the next part of a file that goes on: the last, unsettled piece
/// is left out. Begin the next part after the end of the last range.
///
/// A cut depends on at most [`BYTES_MAX`] bytes from its chunk's start, so every range that ends
/// while as many bytes follow is where it would be in the whole file.
pub fn settled_chunks(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut ranges = chunks(bytes);
    ranges.retain(|range| range.start + BYTES_MAX <= bytes.len());
    ranges
}
