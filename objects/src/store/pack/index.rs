//! The index of a pack: from ids to object numbers.
//!
//! ```text
//! "pkgidx1\0"  objects (u32)  table length (u32)
//! 256 × u32    how many ids begin with a byte up to this one
//! objects × 32 the ids, sorted
//! objects × u32 the object's number in the pack
//! table        as in the pack
//! 32           BLAKE3 of everything before                    all little-endian
//! ```
//!
//! Promises: no read outside the file whatever it holds (SEC-028); the table's hash is the pack's
//! name. Whether an id really names its object is seen when it is read (SEC-029).
//! Leaves to others: the bytes themselves.

use super::table::Table;
use crate::id::{ObjectId, PackId};
use std::ops::Deref;

const MAGIC: &[u8; 8] = b"pkgidx1\0";
const HEAD_BYTES: usize = 16;
const FAN_BYTES: usize = 256 * 4;

/// The bytes of an index for `ids`, which stand in the order of the objects in the pack.
pub fn encode(table: &Table, ids: &[ObjectId]) -> Vec<u8> {
    debug_assert_eq!(ids.len(), table.objects() as usize);
    let mut order: Vec<u32> = (0..table.objects()).collect();
    order.sort_unstable_by_key(|number| ids[*number as usize]);
    let body = table.encode();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + FAN_BYTES + ids.len() * 36 + body.len() + 32);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&table.objects().to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let mut counts = [0u32; 256];
    ids.iter().for_each(|id| counts[id.as_bytes()[0] as usize] += 1);
    let mut below = 0;
    for count in counts {
        below += count;
        bytes.extend_from_slice(&below.to_le_bytes());
    }
    order.iter().for_each(|number| bytes.extend_from_slice(ids[*number as usize].as_bytes()));
    order.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes.extend_from_slice(&body);
    let sum = ObjectId::of(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

/// An index over any bytes: a mapped file, or what a mirror sent.
pub struct Index<B> {
    bytes: B,
    table: Table,
}

impl<B: Deref<Target = [u8]>> Index<B> {
    /// Checks the form of an index of pack `id`.
    ///
    /// # Errors
    /// The reason, if a count, length or order in it is wrong, or it belongs to another pack.
    pub fn open(bytes: B, id: PackId) -> Result<Self, String> {
        if bytes.len() < HEAD_BYTES + FAN_BYTES + 32 || &bytes[..8] != MAGIC {
            return Err("it is no pack index".into());
        }
        let objects = read_u32(&bytes, 8) as usize;
        let table_len = read_u32(&bytes, 12) as usize;
        let expected =
            objects.checked_mul(36).and_then(|n| n.checked_add(HEAD_BYTES + FAN_BYTES + table_len + 32));
        if expected != Some(bytes.len()) {
            return Err("its length does not fit its counts".into());
        }
        let at = bytes.len() - 32 - table_len;
        let body = &bytes[at..at + table_len];
        if ObjectId::of(body) != id.object() {
            return Err("it belongs to another pack".into());
        }
        let table = Table::decode(body)?;
        let index = Index { bytes, table };
        index.check_counts(objects)?;
        Ok(index)
    }

    fn check_counts(&self, objects: usize) -> Result<(), String> {
        if self.table.objects() as usize != objects {
            return Err("it counts other objects than its pack".into());
        }
        let fan: Vec<u32> = (0..256).map(|byte| self.fan(byte)).collect();
        if fan[255] as usize != objects || fan.windows(2).any(|pair| pair[0] > pair[1]) {
            return Err("its fan-out is wrong".into());
        }
        Ok(())
    }

    /// Checks what opening does not: the checksum, the order of the ids, every number.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self) -> Result<(), String> {
        let (body, sum) = self.bytes.split_at(self.bytes.len() - 32);
        if ObjectId::of(body).as_bytes() != sum {
            return Err("its checksum is wrong".into());
        }
        let objects = self.table.objects() as usize;
        let sorted = (1..objects).all(|at| self.id_at(at - 1) < self.id_at(at));
        let fanned = (0..objects).all(|at| self.bucket(&self.id_at(at)).contains(&at));
        let mut seen = vec![false; objects];
        let numbered = (0..objects).all(|at| match seen.get_mut(self.number_at(at) as usize) {
            Some(flag) => !std::mem::replace(flag, true),
            None => false,
        });
        if sorted && fanned && numbered { Ok(()) } else { Err("its ids are unsorted or misnumbered".into()) }
    }

    /// The pack's table of contents.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How many objects the pack has.
    pub fn len(&self) -> usize {
        self.table.objects() as usize
    }

    /// True if the pack has no objects.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the object `id` in the pack.
    pub fn number(&self, id: &ObjectId) -> Option<u32> {
        let bucket = self.bucket(id);
        let (mut low, mut high) = (bucket.start, bucket.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id_bytes(middle).cmp(id.as_bytes().as_slice()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return Some(self.number_at(middle)).filter(|number| *number < self.table.objects());
                }
            }
        }
        None
    }

    /// All ids, sorted, each with its object's number.
    pub fn ids(&self) -> impl Iterator<Item = (ObjectId, u32)> + '_ {
        (0..self.len()).map(|at| (self.id_at(at), self.number_at(at)))
    }

    /// The ids in the order of the objects in the pack.
    pub fn ids_in_pack_order(&self) -> Vec<ObjectId> {
        let mut ids = vec![ObjectId::from_bytes([0; 32]); self.len()];
        for (id, number) in self.ids() {
            if let Some(slot) = ids.get_mut(number as usize) {
                *slot = id;
            }
        }
        ids
    }

    fn bucket(&self, id: &ObjectId) -> std::ops::Range<usize> {
        let byte = id.as_bytes()[0] as usize;
        let start = if byte == 0 { 0 } else { self.fan(byte - 1) as usize };
        start..self.fan(byte) as usize
    }

    fn fan(&self, byte: usize) -> u32 {
        read_u32(&self.bytes, HEAD_BYTES + byte * 4)
    }

    fn id_bytes(&self, at: usize) -> &[u8] {
        let start = HEAD_BYTES + FAN_BYTES + at * 32;
        &self.bytes[start..start + 32]
    }

    fn id_at(&self, at: usize) -> ObjectId {
        let mut id = [0; 32];
        id.copy_from_slice(self.id_bytes(at));
        ObjectId::from_bytes(id)
    }

    fn number_at(&self, at: usize) -> u32 {
        read_u32(&self.bytes, HEAD_BYTES + FAN_BYTES + self.len() * 32 + at * 4)
    }
}

fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
