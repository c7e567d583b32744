//! The multi-pack index: in which pack an id lies, for all packs at once.
//!
//! ```text
//! objects/info/multi-index   "pkgmidx1"  packs (u32)  objects (u32)
//!                            packs × 32    the packs it speaks of, sorted
//!                            256 × u32     how many ids begin with a byte up to this one
//!                            objects × 32  the ids, sorted, each once
//!                            objects × u32 the number of a pack that holds it
//!                            32            BLAKE3 of everything before     all little-endian
//! ```
//!
//! Promises: no read outside the file, whatever it holds. It only says where to look first: the pack's own
//! index confirms, packs it does not speak of are searched one by one, and before an object is called
//! missing all are.
//! Leaves to others: when to write it ([`super::Store::write_multi_index`]).

use super::pack::Pack;
use crate::disk::{self, Context, Mapped, Scratch};
use crate::id::{ObjectId, PackId};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"pkgmidx1";
const HEAD_BYTES: usize = 16;
const FAN_BYTES: usize = 256 * 4;
/// With fewer packs than this, looking into each is as fast.
pub const PACKS_MIN: usize = 4;

/// The bytes of an index over `packs`.
pub fn encode(packs: &[Arc<Pack>]) -> Vec<u8> {
    let mut packs: Vec<&Arc<Pack>> = packs.iter().collect();
    packs.sort_by_key(|pack| pack.id());
    let mut rows: Vec<(ObjectId, u32)> =
        Vec::with_capacity(packs.iter().map(|pack| pack.index().len()).sum());
    for (number, pack) in packs.iter().enumerate() {
        rows.extend(pack.index().ids().map(|(id, _)| (id, number as u32)));
    }
    rows.sort_unstable();
    rows.dedup_by_key(|row| row.0);
    let mut bytes = Vec::with_capacity(HEAD_BYTES + FAN_BYTES + packs.len() * 32 + rows.len() * 36 + 32);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(packs.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(rows.len() as u32).to_le_bytes());
    packs.iter().for_each(|pack| bytes.extend_from_slice(pack.id().object().as_bytes()));
    for byte in 0..=255u8 {
        let below = rows.partition_point(|(id, _)| id.as_bytes()[0] <= byte);
        bytes.extend_from_slice(&(below as u32).to_le_bytes());
    }
    rows.iter().for_each(|(id, _)| bytes.extend_from_slice(id.as_bytes()));
    rows.iter().for_each(|(_, pack)| bytes.extend_from_slice(&pack.to_le_bytes()));
    let sum = ObjectId::of(&bytes);
    bytes.extend_from_slice(sum.as_bytes());
    bytes
}

/// An index over several packs, mapped into memory.
pub struct MultiIndex {
    bytes: Mapped,
    packs: usize,
    objects: usize,
}

impl MultiIndex {
    /// Opens the index in the file `path`; None if there is none or it does not have its form.
    pub fn open(path: &Path) -> Option<MultiIndex> {
        let bytes = Mapped::open(path).ok()?;
        if bytes.len() < HEAD_BYTES + FAN_BYTES + 32 || &bytes[..8] != MAGIC {
            return None;
        }
        let (packs, objects) = (word(&bytes, 8) as usize, word(&bytes, 12) as usize);
        let rows = objects.checked_mul(36)?.checked_add(packs.checked_mul(32)?)?;
        let index = MultiIndex { bytes, packs, objects };
        let fan: Vec<u32> = (0..256).map(|byte| index.fan_checked(byte)).collect::<Option<_>>()?;
        let is_sound = index.bytes.len() == rows + HEAD_BYTES + FAN_BYTES + 32
            && fan[255] as usize == objects
            && fan.windows(2).all(|pair| pair[0] <= pair[1]);
        is_sound.then_some(index)
    }

    /// The packs it speaks of, in the order of their numbers.
    pub fn packs(&self) -> impl Iterator<Item = PackId> + '_ {
        (0..self.packs).map(|at| PackId::new(self.id_at(HEAD_BYTES + at * 32)))
    }

    /// The number of a pack that holds `id`.
    pub fn pack_of(&self, id: &ObjectId) -> Option<usize> {
        let byte = id.as_bytes()[0] as usize;
        let (mut low, mut high) =
            (if byte == 0 { 0 } else { self.fan(byte - 1) as usize }, self.fan(byte) as usize);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.id_at(self.ids() + middle * 32).cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    return Some(word(&self.bytes, self.ids() + self.objects * 32 + middle * 4) as usize);
                }
            }
        }
        None
    }

    /// Checks what opening does not: the checksum, and that it says what the packs say.
    ///
    /// # Errors
    /// The reason.
    pub fn check(&self, packs: &[Arc<Pack>]) -> Result<(), String> {
        let (body, sum) = self.bytes.split_at(self.bytes.len() - 32);
        if ObjectId::of(body).as_bytes() != sum {
            return Err("its checksum is wrong".into());
        }
        let covered: Vec<PackId> = self.packs().collect();
        let known: Vec<Arc<Pack>> =
            packs.iter().filter(|pack| covered.contains(&pack.id())).cloned().collect();
        if known.len() == covered.len() && encode(&known) != self.bytes[..] {
            return Err("it says something else than the indexes of its packs".into());
        }
        Ok(())
    }

    fn ids(&self) -> usize {
        HEAD_BYTES + self.packs * 32 + FAN_BYTES
    }

    fn fan(&self, byte: usize) -> u32 {
        word(&self.bytes, HEAD_BYTES + self.packs * 32 + byte * 4)
    }

    fn fan_checked(&self, byte: usize) -> Option<u32> {
        let at = self.packs.checked_mul(32)?.checked_add(HEAD_BYTES + byte * 4)?;
        (at + 4 <= self.bytes.len()).then(|| self.fan(byte))
    }

    fn id_at(&self, at: usize) -> ObjectId {
        let mut id = [0; 32];
        id.copy_from_slice(&self.bytes[at..at + 32]);
        ObjectId::from_bytes(id)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A multi-pack index with the packs it speaks of, as far as they are open.
pub struct Multi {
    pub index: MultiIndex,
    packs: Vec<Option<Arc<Pack>>>,
}

impl Multi {
    /// The index in the file `path`, over `open` packs.
    pub fn open(path: &Path, open: &[Arc<Pack>]) -> Option<Multi> {
        let index = MultiIndex::open(path)?;
        let packs = index.packs().map(|id| open.iter().find(|pack| pack.id() == id).cloned()).collect();
        Some(Multi { index, packs })
    }

    /// The pack and number of an object, if the index is right about it.
    pub fn locate(&self, id: &ObjectId) -> Option<(Arc<Pack>, u32)> {
        let pack = self.packs.get(self.index.pack_of(id)?)?.as_ref()?;
        Some((pack.clone(), pack.index().number(id)?))
    }

    /// True if the index speaks of a pack.
    pub fn covers(&self, id: PackId) -> bool {
        self.packs.iter().flatten().any(|pack| pack.id() == id)
    }
}

/// Writes the index over `packs` to the file `path`, or removes it where it would be no gain. After a power
/// cut the old one or the new one is there, whole: `fsck` would take anything else for damage.
///
/// # Errors
/// If the disk refuses.
pub fn write(path: &Path, packs: &[Arc<Pack>]) -> Result<(), disk::Error> {
    if packs.len() < PACKS_MIN {
        return disk::remove(path);
    }
    let scratch = Scratch::create(path.parent().unwrap_or(Path::new(".")), ".tmp")?;
    scratch.file().write_all(&encode(packs)).doing("write", scratch.path())?;
    scratch.keep_as(path)
}
