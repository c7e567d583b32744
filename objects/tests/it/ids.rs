//! Many ids in little memory.

use objects::id::ObjectId;
use objects::ids::IdSet;
use objects::testing::memory::peak_of;

/// REL-019: a set is hardly larger than its ids, while it grows too.
#[test]
fn a_set_is_hardly_larger_than_its_ids() {
    let count = 400_000u32;
    let ids = (0..count).map(|number| ObjectId::of(&number.to_le_bytes()));
    let (set, peak) = peak_of(|| ids.collect::<IdSet>());
    assert_eq!(set.len(), count as usize);
    let bytes = set.len() * size_of::<ObjectId>();
    assert!(peak < bytes + bytes / 2, "{count} ids took {peak} bytes");
}
