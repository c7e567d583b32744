//! The table of contents at the end of a pack.
//!
//! ```text
//! pack    frame* tail
//! tail    one zstd skippable frame: magic 0x184D2A50, length, table, BLAKE3 of the table (32),
//!         length of the table (u32), "pkgpack1"                           all little-endian
//! table   ["pack/1", [[stored bytes, raw bytes, BLAKE3 of the stored bytes,
//!                      [[what, id, start, length], …], [object length, …]], …]]
//! ```
//!
//! Objects lie behind each other in their frame, so a length each is enough; their ids are the
//! hashes of their bytes and stand in the index (`.idx`), not here. The hash of each frame makes
//! the table, and with it the pack's name, depend on every byte of the pack.
//!
//! Promises: a decoded table is consistent with itself and with the length of its pack.
//! Leaves to others: where an id is ([`super::index`]).

use crate::codec;
use crate::id::{ObjectId, PackId};
use crate::limits::{
    FRAME_BYTES_MAX, FRAME_STORED_BYTES_MAX, PACK_FRAMES_MAX, PREFIX_BYTES_MAX, PREFIX_RANGES_MAX,
    TABLE_BYTES_MAX,
};
use serde::{Deserialize, Serialize, Serializer};
use std::ops::Range;

/// Length of the tail without the table.
pub const TAIL_BYTES: usize = 8 + 32 + 4 + 8;
const SKIPPABLE: [u8; 4] = 0x184D_2A50_u32.to_le_bytes();
const END: &[u8; 8] = b"pkgpack1";
const TABLE: &str = "pack/1";

/// A range of bytes that serves as (part of) a delta frame's prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "BaseTuple", into = "BaseTuple")]
pub struct Base {
    /// Whether `id` names an object's own bytes, or a blob whose content is meant.
    pub of: BaseOf,
    /// The object, or the blob.
    pub id: ObjectId,
    /// The first byte.
    pub start: u64,
    /// How many bytes.
    pub len: u64,
}

/// What a [`Base`] counts its bytes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseOf {
    /// The bytes of an object: a chunk, tree or blob as it is stored.
    Object,
    /// The content of the file that a blob lists.
    Content,
}

#[derive(Serialize, Deserialize)]
struct BaseTuple(u8, ObjectId, u64, u64);

impl From<BaseTuple> for Base {
    fn from(BaseTuple(what, id, start, len): BaseTuple) -> Self {
        let of = if what == 0 { BaseOf::Object } else { BaseOf::Content };
        Base { of, id, start, len }
    }
}

impl From<Base> for BaseTuple {
    fn from(base: Base) -> Self {
        let what = match base.of {
            BaseOf::Object => 0,
            BaseOf::Content => 1,
        };
        BaseTuple(what, base.id, base.start, base.len)
    }
}

/// One frame, as the table and the wire describe it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "FrameTuple")]
pub struct Frame {
    /// Bytes of the zstd frame.
    pub stored: u32,
    /// Bytes it unpacks to.
    pub raw: u32,
    /// BLAKE3 of the zstd frame.
    pub hash: ObjectId,
    /// What it was compressed against; empty for a plain frame.
    pub base: Vec<Base>,
    /// The lengths of the objects in it.
    pub lengths: Vec<u32>,
}

#[derive(Deserialize)]
struct FrameTuple(u32, u32, ObjectId, Vec<Base>, Vec<u32>);

impl From<FrameTuple> for Frame {
    fn from(FrameTuple(stored, raw, hash, base, lengths): FrameTuple) -> Self {
        Frame { stored, raw, hash, base, lengths }
    }
}

impl Serialize for Frame {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.stored, self.raw, self.hash, &self.base, &self.lengths).serialize(serializer)
    }
}

impl Frame {
    /// Checks what holds of every frame: its objects fill it, its prefix is bounded.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<(), String> {
        let total: u64 = self.lengths.iter().map(|len| u64::from(*len)).sum();
        if total != u64::from(self.raw) || self.lengths.is_empty() {
            return Err("a frame's objects do not fill it".into());
        }
        if self.raw as usize > FRAME_BYTES_MAX {
            return Err(format!("a frame unpacks to {} bytes, more than {FRAME_BYTES_MAX}", self.raw));
        }
        if self.stored as usize > FRAME_STORED_BYTES_MAX {
            return Err(format!(
                "a frame has {} stored bytes, more than {FRAME_STORED_BYTES_MAX}",
                self.stored
            ));
        }
        let prefix = self.base.iter().try_fold(0u64, |sum, base| sum.checked_add(base.len));
        if self.base.len() > PREFIX_RANGES_MAX || prefix.is_none_or(|sum| sum > PREFIX_BYTES_MAX as u64) {
            return Err("a frame's prefix is too large".into());
        }
        Ok(())
    }
}

/// All frames of a pack, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    frames: Vec<Frame>,
    /// Where each frame begins in the pack; one more than there are frames.
    offsets: Vec<u64>,
    /// The number of each frame's first object; one more than there are frames.
    firsts: Vec<u32>,
    /// Where each object begins in its frame.
    starts: Vec<u32>,
}

/// Where an object lies: its frame, and the range inside the unpacked frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The frame's number.
    pub frame: usize,
    /// The bytes inside it.
    pub range: Range<usize>,
}

#[derive(Serialize, Deserialize)]
struct Rows(String, Vec<Frame>);

impl Table {
    /// The table of `frames`.
    ///
    /// # Errors
    /// The reason, if the frames are inconsistent or too many.
    pub fn new(frames: Vec<Frame>) -> Result<Table, String> {
        if frames.len() > PACK_FRAMES_MAX {
            return Err(format!("it has more than {PACK_FRAMES_MAX} frames"));
        }
        let (mut offsets, mut firsts, mut starts) = (vec![0u64], vec![0u32], Vec::new());
        let mut offset = 0;
        for frame in &frames {
            frame.check()?;
            offset += u64::from(frame.stored);
            offsets.push(offset);
            let mut start = 0;
            for len in &frame.lengths {
                starts.push(start);
                start += len;
            }
            firsts.push(u32::try_from(starts.len()).map_err(|_| "it has too many objects")?);
        }
        Ok(Table { frames, offsets, firsts, starts })
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(&(TABLE, &self.frames))
    }

    /// Reads a table.
    ///
    /// # Errors
    /// The reason, if it is malformed or inconsistent.
    pub fn decode(bytes: &[u8]) -> Result<Table, String> {
        let Rows(tag, frames) =
            codec::decode("table of contents", bytes, TABLE_BYTES_MAX).map_err(|e| e.to_string())?;
        if tag != TABLE {
            return Err("its table of contents is of another kind".into());
        }
        Table::new(frames)
    }

    /// The pack's name: the hash of the table.
    pub fn pack_id(&self) -> PackId {
        PackId::new(ObjectId::of(&self.encode()))
    }

    /// The frames in order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// How many objects there are.
    pub fn objects(&self) -> u32 {
        self.firsts.last().copied().unwrap_or(0)
    }

    /// Bytes of all frames; the tail follows.
    pub fn frames_bytes(&self) -> u64 {
        self.offsets.last().copied().unwrap_or(0)
    }

    /// The bytes of frame `frame` in the pack.
    pub fn stored_range(&self, frame: usize) -> Range<u64> {
        self.offsets[frame]..self.offsets[frame + 1]
    }

    /// The numbers of the objects in frame `frame`.
    pub fn objects_of(&self, frame: usize) -> Range<u32> {
        self.firsts[frame]..self.firsts[frame + 1]
    }

    /// Where object number `object` lies, which must be below [`Table::objects`].
    pub fn place(&self, object: u32) -> Place {
        let frame = self.firsts.partition_point(|first| *first <= object) - 1;
        let start = self.starts[object as usize] as usize;
        let len = self.frames[frame].lengths[(object - self.firsts[frame]) as usize] as usize;
        Place { frame, range: start..start + len }
    }

    /// The tail: what follows the frames.
    pub fn tail(&self) -> Vec<u8> {
        let table = self.encode();
        let inner = table.len() + TAIL_BYTES - 8;
        let mut tail = Vec::with_capacity(inner + 8);
        tail.extend_from_slice(&SKIPPABLE);
        tail.extend_from_slice(&(inner as u32).to_le_bytes());
        tail.extend_from_slice(&table);
        tail.extend_from_slice(ObjectId::of(&table).as_bytes());
        tail.extend_from_slice(&(table.len() as u32).to_le_bytes());
        tail.extend_from_slice(END);
        tail
    }
}

/// How long the table is, from the last 12 bytes of a pack.
///
/// # Errors
/// The reason, if that is not how a pack ends.
pub fn table_len(end: &[u8; 12]) -> Result<usize, String> {
    let (len, tag) = end.split_at(4);
    let len = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
    if tag != END {
        return Err("it does not end as a pack ends".into());
    }
    if len > TABLE_BYTES_MAX {
        return Err("its table of contents is too long".into());
    }
    Ok(len)
}

/// Reads a tail as a whole, for a pack of `pack_len` bytes.
///
/// # Errors
/// The reason, if it is not exactly what [`Table::tail`] writes for a pack of that length.
pub fn decode_tail(tail: &[u8], pack_len: u64) -> Result<Table, String> {
    let body = tail.len().checked_sub(TAIL_BYTES).ok_or("it is too short")?;
    let table = Table::decode(&tail[8..8 + body])?;
    if table.tail() != tail {
        return Err("the end of the pack is malformed".into());
    }
    if table.frames_bytes() + tail.len() as u64 != pack_len {
        return Err("its frames do not fill it".into());
    }
    Ok(table)
}
