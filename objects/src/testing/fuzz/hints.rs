//! What can be made again if it is lost: sketches, the stat cache, the index over several packs.

use super::{same, with_sum};
use crate::id::ObjectId;
use crate::ingest::cache::Cache;
use crate::similar;
use crate::store::multi::MultiIndex;
use crate::testing::folder_in_memory;

/// Sketches of a pack: one spelling.
pub fn sketches(data: &[u8]) -> bool {
    behind_sum(data, |data| {
        let Some(rows) = similar::decode(data) else { return false };
        same("sketches", &similar::encode(&rows), data);
        true
    })
}

/// A stat cache: one spelling, but for flags nobody sets.
pub fn stat_cache(data: &[u8]) -> bool {
    behind_sum(data, |data| {
        let Some(cache) = Cache::decode(data.to_vec()) else { return false };
        let again = Cache::encode(&cache.outcome, cache.allow_unportable, cache.rows());
        assert_eq!(again.len(), data.len(), "it is written with another length");
        true
    })
}

/// An index over several packs: no read outside it, whatever is looked up.
pub fn multi_index(data: &[u8]) -> bool {
    behind_sum(data, |data| {
        let folder = folder_in_memory();
        let path = folder.path().join("multi-index");
        std::fs::write(&path, data).expect("the folder is ours");
        let Some(index) = MultiIndex::open(&path) else { return false };
        for byte in 0..=255u8 {
            index.pack_of(&ObjectId::from_bytes([byte; 32]));
        }
        let _ = (index.packs().take(1_000).count(), index.check(&[]));
        true
    })
}

/// Runs `target` on the input, and on the input with its checksum made right.
fn behind_sum(data: &[u8], target: impl Fn(&[u8]) -> bool) -> bool {
    let body = &data[..data.len().saturating_sub(32)];
    let mended = with_sum(data, body).is_some_and(|mended| target(&mended));
    mended | target(data)
}
