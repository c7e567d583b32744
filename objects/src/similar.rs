//! Sketches of chunks: what resembles what, without comparing bytes.
//!
//! A rolling hash runs over a chunk; where it has seven zero bits it is taken as a sample. Twelve
//! linear functions of the samples each keep their greatest value: chunks that share most of their
//! content keep most of them. Four together make a super-feature; two chunks with a super-feature in
//! common are very likely alike.
//!
//! ```text
//! objects/pack/<pack>.sim   "pkgsim1\0"  rows (u32)  rows × (object number (u32), 3 × super-feature (u32))
//!                           BLAKE3 of everything before                          all little-endian
//! ```
//!
//! Promises: a sketch depends on the bytes alone. A file of sketches is a hint, made again if it is lost
//! or malformed; nothing but a worse delta comes of a wrong one.
//! Leaves to others: whether a delta against what was found pays.
//!
//! Follows Zou et al., "Odess: Speeding up Resemblance Detection for Redundancy Elimination by Fast
//! Content-Defined Sampling", ICDE 2021, and Broder, "On the Resemblance and Containment of
//! Documents", 1997.

use crate::disk;
use crate::id::ObjectId;
use crate::object::Error;
use crate::store::Store;
use crate::store::pack::{Pack, objects_in, sketches_name};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Shorter chunks have no sketch: there are too few samples, and little to gain.
pub const CHUNK_BYTES_MIN: usize = 2 << 10;
/// A sample is taken where these bits of the rolling hash are zero: one byte in 128.
const SAMPLE_MASK: u64 = 0x7F << 40;
/// How many linear functions there are.
const FEATURES: usize = 12;
/// How many of them make a super-feature.
const TOGETHER: usize = 4;
/// Super-features of a sketch.
pub const SUPER_FEATURES: usize = FEATURES / TOGETHER;

const MAGIC: &[u8; 8] = b"pkgsim1\0";
const HEAD_BYTES: usize = 12;
const ROW_BYTES: usize = 4 + 4 * SUPER_FEATURES;

/// Pseudo-random numbers that are the same everywhere: BLAKE3 of a name, drawn out.
struct Constants {
    gear: [u64; 256],
    factors: [(u32, u32); FEATURES],
}

static CONSTANTS: LazyLock<Constants> = LazyLock::new(|| {
    let mut stream = blake3::Hasher::new().update(b"pkg similarity sketch, format 1").finalize_xof();
    let mut next = || {
        let mut bytes = [0; 8];
        stream.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    };
    let gear = std::array::from_fn(|_| next());
    let factors = std::array::from_fn(|_| (next() as u32 | 1, next() as u32));
    Constants { gear, factors }
});

/// What a chunk looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sketch([u32; SUPER_FEATURES]);

impl Sketch {
    /// The sketch of a chunk; None for one that is short or has too few samples, such as zeros.
    pub fn of(chunk: &[u8]) -> Option<Sketch> {
        if chunk.len() < CHUNK_BYTES_MIN {
            return None;
        }
        let Constants { gear, factors } = &*CONSTANTS;
        let mut features = [0u32; FEATURES];
        let (mut rolling, mut samples) = (0u64, 0);
        for byte in chunk {
            rolling = (rolling << 1).wrapping_add(gear[*byte as usize]);
            if rolling & SAMPLE_MASK == 0 {
                samples += 1;
                let sample = (rolling >> 32) as u32;
                for (feature, (factor, addend)) in features.iter_mut().zip(factors) {
                    *feature = (*feature).max(sample.wrapping_mul(*factor).wrapping_add(*addend));
                }
            }
        }
        (samples >= TOGETHER).then(|| Sketch(std::array::from_fn(|at| gather(&features, at))))
    }

    /// How many super-features two chunks share.
    pub fn likeness(&self, other: &Sketch) -> usize {
        self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count()
    }
}

fn gather(features: &[u32; FEATURES], at: usize) -> u32 {
    let mut hasher = blake3::Hasher::new();
    features[at * TOGETHER..][..TOGETHER].iter().for_each(|feature| {
        hasher.update(&feature.to_le_bytes());
    });
    let hash = hasher.finalize();
    let [a, b, c, d, ..] = *hash.as_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Chunks that can be found by what they look like.
#[derive(Default)]
pub struct Similar {
    by_feature: [HashMap<u32, ObjectId>; SUPER_FEATURES],
    sketches: HashMap<ObjectId, Sketch>,
}

impl Similar {
    /// Adds a chunk. Of several that share a super-feature the first is found by it.
    pub fn insert(&mut self, id: ObjectId, sketch: Sketch) {
        for (by, feature) in self.by_feature.iter_mut().zip(sketch.0) {
            by.entry(feature).or_insert(id);
        }
        self.sketches.insert(id, sketch);
    }

    /// The chunk most like one with this sketch.
    pub fn find(&self, sketch: &Sketch) -> Option<ObjectId> {
        let found = self.by_feature.iter().zip(sketch.0).filter_map(|(by, feature)| by.get(&feature));
        let likeness = |id: &ObjectId| self.sketches[id].likeness(sketch);
        found.copied().max_by_key(|id| (likeness(id), std::cmp::Reverse(*id)))
    }

    /// The sketch of a chunk, if it is among these.
    pub fn sketch(&self, id: &ObjectId) -> Option<Sketch> {
        self.sketches.get(id).copied()
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.sketches.len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.sketches.is_empty()
    }
}

/// The sketches of all chunks of a store that are long enough.
///
/// # Errors
/// If a pack cannot be read.
pub fn of_store(store: &Store) -> Result<Similar, Error> {
    let mut similar = Similar::default();
    for pack in store.packs() {
        let ids = pack.index().ids_in_pack_order();
        for (number, sketch) in of_pack(store, &pack)? {
            if let Some(id) = ids.get(number as usize) {
                similar.insert(*id, sketch);
            }
        }
    }
    Ok(similar)
}

/// The sketches of a pack, by object number: from beside its index, or made and kept there if the disk
/// takes them.
///
/// # Errors
/// If the pack cannot be read.
pub fn of_pack(store: &Store, pack: &Arc<Pack>) -> Result<Vec<(u32, Sketch)>, Error> {
    let path = store.packs_folder().join(sketches_name(pack.id()));
    let bytes_max = HEAD_BYTES + pack.index().len() * ROW_BYTES + 32;
    if let Some(rows) = disk::try_read(&path, bytes_max).ok().flatten().and_then(|bytes| decode(&bytes)) {
        return Ok(rows);
    }
    let frames = (0..pack.table().frames().len()).into_par_iter();
    let rows: Vec<Vec<_>> = frames.map(|frame| of_frame(store, pack, frame)).collect::<Result<_, _>>()?;
    let rows = rows.concat();
    let _ = disk::write_whole(&path, &encode(&rows)); // on a disk that is full or read-only, next time again
    Ok(rows)
}

fn of_frame(store: &Store, pack: &Arc<Pack>, frame: usize) -> Result<Vec<(u32, Sketch)>, Error> {
    let raw = store.read_frame(pack, frame)?;
    let numbered = pack.table().objects_of(frame).zip(objects_in(&pack.table().frames()[frame], &raw));
    Ok(numbered.filter_map(|(number, bytes)| Some((number, Sketch::of(bytes)?))).collect())
}

pub(crate) fn encode(rows: &[(u32, Sketch)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + rows.len() * ROW_BYTES + 32);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    for (number, sketch) in rows {
        bytes.extend_from_slice(&number.to_le_bytes());
        sketch.0.iter().for_each(|feature| bytes.extend_from_slice(&feature.to_le_bytes()));
    }
    let sum = ObjectId::of(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<(u32, Sketch)>> {
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    let (head, rows) = body.split_first_chunk::<HEAD_BYTES>()?;
    let count = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
    let is_whole = &head[..8] == MAGIC && rows.len() == count.checked_mul(ROW_BYTES)?;
    if !is_whole || ObjectId::of(body).as_bytes() != sum {
        return None;
    }
    let word = |row: &[u8], at: usize| u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]]);
    let row = |row: &[u8]| (word(row, 0), Sketch(std::array::from_fn(|at| word(row, 4 + 4 * at))));
    Some(rows.chunks_exact(ROW_BYTES).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    #[test]
    fn chunks_with_a_small_edit_are_found() {
        let mut random = Random::new(3);
        let mut similar = Similar::default();
        let chunks: Vec<Vec<u8>> = (0..200).map(|_| random.bytes(16 << 10)).collect();
        for chunk in &chunks {
            similar.insert(ObjectId::of(chunk), Sketch::of(chunk).expect("it is long enough"));
        }
        let found = chunks.iter().filter(|chunk| {
            let mut edited = chunk.to_vec();
            edited.splice(3_000..3_200, random.bytes(170));
            similar.find(&Sketch::of(&edited).expect("it is long enough")) == Some(ObjectId::of(chunk))
        });
        assert!(found.count() >= 190);
        let stranger = Sketch::of(&random.bytes(16 << 10)).expect("it is long enough");
        assert_eq!(similar.find(&stranger), None);
    }

    #[test]
    fn what_has_no_samples_has_no_sketch() {
        assert_eq!(Sketch::of(&[0; 64 << 10]), None);
        assert_eq!(Sketch::of(b"short"), None);
    }

    #[test]
    fn rows_come_back_and_damage_shows() {
        let mut random = Random::new(4);
        let sketch = |random: &mut Random| Sketch::of(&random.bytes(5_000)).expect("it is long enough");
        let rows: Vec<(u32, Sketch)> = (0..9).map(|n| (n * 7, sketch(&mut random))).collect();
        let bytes = encode(&rows);
        assert_eq!(decode(&bytes), Some(rows));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert_eq!(decode(&damaged), None);
            assert_eq!(decode(&bytes[..at]), None);
        }
    }
}
