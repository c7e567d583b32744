//! Encoders that write what they are told, however wrong: trees, blobs, statements, frames, packs
//! and indexes that the store would never make.
//!
//! Promises: nothing is checked, sorted or mended.

use crate::id::{ObjectId, PackId};
use crate::store::pack::table::{Base, Frame, Table};
use crate::store::pack::{frame, index, writer};

/// A CBOR item, well-formed or not (RFC 8949).
#[derive(Clone, Debug)]
pub enum Cbor {
    /// An unsigned integer in its shortest form.
    Int(u64),
    /// An unsigned integer in nine bytes, however small it is.
    LongInt(u64),
    /// A text.
    Text(String),
    /// A text whose bytes may not be UTF-8.
    RawText(Vec<u8>),
    /// A text in chunks of indefinite length.
    ChunkedText(Vec<String>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array.
    Array(Vec<Cbor>),
    /// An array of indefinite length.
    EndlessArray(Vec<Cbor>),
    /// An array that states another length than it has.
    StatedArray(u64, Vec<Cbor>),
    /// A map with its rows in the order given.
    Map(Vec<(Cbor, Cbor)>),
    /// A tag before an item.
    Tagged(u64, Box<Cbor>),
    /// Any bytes.
    Raw(Vec<u8>),
}

impl Cbor {
    /// A text.
    pub fn text(text: &str) -> Cbor {
        Cbor::Text(text.to_owned())
    }

    /// An id as a byte string.
    pub fn id(id: ObjectId) -> Cbor {
        Cbor::Bytes(id.as_bytes().to_vec())
    }

    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out);
        out
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Cbor::Int(number) => head(0, *number, out),
            Cbor::LongInt(number) => {
                out.push(0x1b);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Cbor::Text(text) => string(3, text.as_bytes(), out),
            Cbor::RawText(bytes) => string(3, bytes, out),
            Cbor::ChunkedText(parts) => {
                out.push(0x7f);
                parts.iter().for_each(|part| string(3, part.as_bytes(), out));
                out.push(0xff);
            }
            Cbor::Bytes(bytes) => string(2, bytes, out),
            Cbor::Array(items) => array(items.len() as u64, items, out),
            Cbor::StatedArray(len, items) => array(*len, items, out),
            Cbor::EndlessArray(items) => {
                out.push(0x9f);
                items.iter().for_each(|item| item.put(out));
                out.push(0xff);
            }
            Cbor::Map(rows) => {
                head(5, rows.len() as u64, out);
                rows.iter().for_each(|(key, value)| {
                    key.put(out);
                    value.put(out);
                });
            }
            Cbor::Tagged(tag, item) => {
                head(6, *tag, out);
                item.put(out);
            }
            Cbor::Raw(bytes) => out.extend_from_slice(bytes),
        }
    }
}

fn string(major: u8, bytes: &[u8], out: &mut Vec<u8>) {
    head(major, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn array(len: u64, items: &[Cbor], out: &mut Vec<u8>) {
    head(4, len, out);
    items.iter().for_each(|item| item.put(out));
}

/// The first bytes of an item of a major type, in the shortest form.
fn head(major: u8, number: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    match number {
        0..24 => out.push(major | number as u8),
        24..0x100 => out.extend_from_slice(&[major | 24, number as u8]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

/// One row of a tree: name, mode number, size, id.
pub fn tree_row(name: &str, mode: u64, size: u64, id: ObjectId) -> Cbor {
    Cbor::Array(vec![Cbor::text(name), Cbor::Int(mode), Cbor::Int(size), Cbor::id(id)])
}

/// A tree of `rows`.
pub fn tree(rows: Vec<Cbor>) -> Vec<u8> {
    Cbor::Array(vec![Cbor::text("tree/1"), Cbor::Array(rows)]).encode()
}

/// A tree of one row.
pub fn tree_of_one(name: &str, mode: u64, size: u64, id: ObjectId) -> Vec<u8> {
    tree(vec![tree_row(name, mode, size, id)])
}

/// A tree split into runs: first name, tree, entries, bytes.
pub fn tree_fan(runs: &[(&str, ObjectId, u64, u64)]) -> Vec<u8> {
    let row = |(name, id, count, bytes): &(&str, ObjectId, u64, u64)| {
        Cbor::Array(vec![Cbor::text(name), Cbor::id(*id), Cbor::Int(*count), Cbor::Int(*bytes)])
    };
    Cbor::Array(vec![Cbor::text("tree-fan/1"), Cbor::Array(runs.iter().map(row).collect())]).encode()
}

/// A blob of pieces: chunk, length.
pub fn blob(size: u64, pieces: &[(ObjectId, u64)]) -> Vec<u8> {
    let row = |(id, len): &(ObjectId, u64)| Cbor::Array(vec![Cbor::id(*id), Cbor::Int(*len)]);
    let rows = pieces.iter().map(row).collect();
    Cbor::Array(vec![Cbor::text("blob/1"), Cbor::Int(size), Cbor::Array(rows)]).encode()
}

/// A blob split into runs: blob, chunks, bytes.
pub fn blob_fan(size: u64, runs: &[(ObjectId, u64, u64)]) -> Vec<u8> {
    let row = |(id, count, bytes): &(ObjectId, u64, u64)| {
        Cbor::Array(vec![Cbor::id(*id), Cbor::Int(*count), Cbor::Int(*bytes)])
    };
    let rows = runs.iter().map(row).collect();
    Cbor::Array(vec![Cbor::text("blob-fan/1"), Cbor::Int(size), Cbor::Array(rows)]).encode()
}

/// A frame as a pack holds it: its row in the table, its bytes, and the ids of its objects.
#[derive(Clone, Debug)]
pub struct PackedFrame {
    /// The row.
    pub row: Frame,
    /// The zstd frame.
    pub stored: Vec<u8>,
    /// Under which ids the index lists the objects.
    pub ids: Vec<ObjectId>,
}

impl PackedFrame {
    /// `objects` as the store would pack them.
    pub fn of<B: AsRef<[u8]>>(objects: &[B]) -> PackedFrame {
        let raw: Vec<u8> = objects.iter().flat_map(|object| object.as_ref()).copied().collect();
        PackedFrame::stored_as(objects, frame::seal(&raw, 3))
    }

    /// `objects`, which `stored` is said to unpack to.
    pub fn stored_as<B: AsRef<[u8]>>(objects: &[B], stored: Vec<u8>) -> PackedFrame {
        let raw: Vec<u8> = objects.iter().flat_map(|object| object.as_ref()).copied().collect();
        let lengths = objects.iter().map(|object| object.as_ref().len() as u32).collect();
        let ids = objects.iter().map(|object| ObjectId::of(object.as_ref())).collect();
        PackedFrame { row: writer::describe(&raw, &stored, lengths, Vec::new()), stored, ids }
    }

    /// One object as a delta frame whose prefix is said to be `base`, made against `prefix`.
    pub fn delta(object: &[u8], base: Vec<Base>, prefix: &[u8]) -> PackedFrame {
        let stored = frame::seal_with_prefix(object, prefix, 3);
        let row = writer::describe(object, &stored, vec![object.len() as u32], base);
        PackedFrame { row, stored, ids: vec![ObjectId::of(object)] }
    }
}

/// A pack and its index.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The name.
    pub id: PackId,
    /// The pack's bytes.
    pub pack: Vec<u8>,
    /// The index's bytes.
    pub index: Vec<u8>,
}

/// A pack of `frames`, which must at least agree with themselves.
pub fn pack(frames: &[PackedFrame]) -> Packed {
    let rows = frames.iter().map(|frame| frame.row.clone()).collect();
    let table = Table::new(rows).expect("the rows of the frames agree with themselves");
    let ids: Vec<ObjectId> = frames.iter().flat_map(|frame| frame.ids.clone()).collect();
    let mut pack: Vec<u8> = frames.iter().flat_map(|frame| frame.stored.clone()).collect();
    pack.extend(table.tail());
    Packed { id: table.pack_id(), pack, index: index::encode(&table, &ids) }
}

/// A pack and index around a table of any bytes, with `frames` before it.
pub fn pack_around(frames: &[u8], table: &[u8], objects: u32) -> Packed {
    let mut tail = 0x184D_2A50_u32.to_le_bytes().to_vec();
    tail.extend_from_slice(&(table.len() as u32 + 44).to_le_bytes());
    tail.extend_from_slice(table);
    tail.extend_from_slice(ObjectId::of(table).as_bytes());
    tail.extend_from_slice(&(table.len() as u32).to_le_bytes());
    tail.extend_from_slice(b"pkgpack1");
    let mut index = b"pkgidx1\0".to_vec();
    index.extend_from_slice(&objects.to_le_bytes());
    index.extend_from_slice(&(table.len() as u32).to_le_bytes());
    (0..256).for_each(|_| index.extend_from_slice(&objects.to_le_bytes()));
    (0..objects).for_each(|number| index.extend_from_slice(&[number as u8; 32]));
    (0..objects).for_each(|number| index.extend_from_slice(&number.to_le_bytes()));
    index.extend_from_slice(table);
    index.extend_from_slice(&[0; 32]);
    reseal(&mut index);
    Packed { id: PackId::new(ObjectId::of(table)), pack: [frames, &tail].concat(), index }
}

/// Makes the checksum at the end of an index right again.
pub fn reseal(index: &mut [u8]) {
    let at = index.len() - 32;
    let sum = ObjectId::of(&index[..at]);
    index[at..].copy_from_slice(sum.as_bytes());
}
