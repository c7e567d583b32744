//! Pack indexes that are cut, bent, or lie.

use objects::fsck;
use objects::id::{ObjectId, PackId};
use objects::object::Find;
use objects::store::pack::index::Index;
use objects::testing::literally::{self, Packed, PackedFrame, reseal};
use objects::testing::{Random, TempRepository};
use proptest::prelude::*;

const HEAD: usize = 16;
const FAN: usize = 1024;

fn object(n: u64) -> Vec<u8> {
    let mut random = Random::new(n);
    let len = 1 + random.below(300) as usize;
    random.bytes(len)
}

/// A pack of `count` objects in frames of three.
fn sample(count: u64) -> Packed {
    let objects: Vec<_> = (0..count).map(object).collect();
    literally::pack(&objects.chunks(3).map(PackedFrame::of).collect::<Vec<_>>())
}

/// Every way an index can be wrong while its checksum is right, and a few where it is not.
fn faults(count: u64) -> Vec<(&'static str, Packed)> {
    let good = sample(count);
    let ids = HEAD + FAN;
    let numbers = ids + count as usize * 32;
    let put = |index: &mut Vec<u8>, at: usize, number: u32| {
        index[at..at + 4].copy_from_slice(&number.to_le_bytes())
    };
    let swap = |index: &mut Vec<u8>, at: usize, len: usize| {
        let (first, second) = index[at..at + 2 * len].split_at_mut(len);
        first.swap_with_slice(second);
    };
    type Edit<'e> = Box<dyn Fn(&mut Vec<u8>) + 'e>;
    let edits: Vec<(&'static str, Edit<'_>)> = vec![
        ("one object more", Box::new(|i| put(i, 8, count as u32 + 1))),
        ("one object less", Box::new(|i| put(i, 8, count as u32 - 1))),
        ("no objects", Box::new(|i| put(i, 8, 0))),
        ("4,294,967,295 objects", Box::new(|i| put(i, 8, u32::MAX))),
        ("a product beyond 32 bits", Box::new(|i| put(i, 8, u32::MAX / 36 + 2))),
        ("a table of no bytes", Box::new(|i| put(i, 12, 0))),
        ("a table of 4 GiB", Box::new(|i| put(i, 12, u32::MAX))),
        (
            "a longer table",
            Box::new(|i| {
                let len = u32::from_le_bytes(i[12..16].try_into().unwrap());
                put(i, 12, len + 1)
            }),
        ),
        ("a fan-out that falls", Box::new(|i| put(i, HEAD + 400, count as u32 + 7))),
        (
            "a fan-out beyond the end",
            Box::new(|i| (0..256).for_each(|byte| put(i, HEAD + byte * 4, u32::MAX))),
        ),
        ("a fan-out that ends early", Box::new(|i| put(i, HEAD + 255 * 4, count as u32 - 1))),
        ("a fan-out of zeros", Box::new(|i| i[HEAD..HEAD + FAN - 4].fill(0))),
        ("unsorted ids", Box::new(|i| swap(i, ids, 32))),
        ("a doubled id", Box::new(|i| i.copy_within(ids..ids + 32, ids + 32))),
        ("a number past the end", Box::new(|i| put(i, numbers, count as u32))),
        ("the largest number", Box::new(|i| put(i, numbers + 4, u32::MAX))),
        ("a doubled number", Box::new(|i| i.copy_within(numbers..numbers + 4, numbers + 4))),
        ("a byte more", Box::new(|i| i.insert(HEAD + FAN, 0))),
        ("a byte less", Box::new(|i| _ = i.remove(HEAD + FAN))),
        ("another magic", Box::new(|i| i[7] = 1)),
    ];
    let mut faults: Vec<_> = edits
        .into_iter()
        .map(|(what, edit)| {
            let mut index = good.index.clone();
            edit(&mut index);
            reseal(&mut index);
            (what, Packed { index, ..good.clone() })
        })
        .collect();
    let mut unsealed = good.clone();
    *unsealed.index.last_mut().unwrap() ^= 1;
    faults.push(("a wrong checksum", unsealed));
    faults.push(("the index of another pack", Packed { index: sample(count + 3).index, ..good.clone() }));
    faults.push(("no bytes", Packed { index: Vec::new(), ..good }));
    faults
}

/// SEC-028: fault by fault: refused when opened or when checked; until then each read gives the
/// right bytes, none, or an error; and `fsck` names the file.
#[test]
fn every_fault_of_an_index_is_seen() {
    let count = 20;
    for (what, packed) in faults(count) {
        let refused = Index::open(packed.index.clone(), packed.id).and_then(|index| index.check());
        assert!(refused.is_err(), "{what}");
        let folder = TempRepository::new();
        folder.plant(packed.id, &packed.pack, Some(&packed.index));
        let repository = folder.reopened();
        for n in 0..count {
            let object = object(n);
            if let Ok(Some(bytes)) = repository.store().try_find(&ObjectId::of(&object)) {
                assert_eq!(*bytes, *object, "{what}");
            }
        }
        for n in 0..40u64 {
            let _ = repository.store().try_find(&ObjectId::of(&n.to_le_bytes()));
        }
        let report = fsck::check(&repository, fsck::Options { data: true }).unwrap();
        let named = report.findings.iter().any(|finding| finding.place.contains(&packed.id.to_hex()));
        assert!(named, "{what} is not named: {report:?}");
    }
}

/// SEC-029: an index that sends id A to the bytes of B and the reverse, all else right.
#[test]
fn swapped_rows_are_noticed_by_the_hash() {
    let count = 9;
    let mut packed = sample(count);
    let numbers = HEAD + FAN + count as usize * 32;
    let (first, second) = packed.index[numbers..numbers + 8].split_at_mut(4);
    first.swap_with_slice(second);
    reseal(&mut packed.index);
    let index = Index::open(packed.index.clone(), packed.id).unwrap();
    index.check().expect("it agrees with itself");
    let swapped: Vec<ObjectId> = index.ids().take(2).map(|(id, _)| id).collect();
    let repository = TempRepository::new();
    repository.plant(packed.id, &packed.pack, Some(&packed.index));
    let store = repository.reopened_store();
    for n in 0..count {
        let id = ObjectId::of(&object(n));
        match store.try_find(&id) {
            Ok(bytes) => assert_eq!(*bytes.unwrap(), *object(n)),
            Err(error) => assert_eq!((error.code(), swapped.contains(&id)), ("E-HASH", true)),
        }
    }
    let report = fsck::check(&repository.reopened(), fsck::Options { data: true }).unwrap();
    for id in swapped {
        assert!(
            report.findings.iter().any(|finding| finding.problem.contains(&id.to_string())),
            "{id} is not named"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..Default::default() })]

    /// Every id is found at its place, no other id is, and the order of the pack comes back.
    #[test]
    fn an_index_finds_what_it_lists(count in 1..400u64, strangers in prop::collection::vec(any::<[u8; 32]>(), 20)) {
        let packed = sample(count);
        let index = Index::open(packed.index.clone(), packed.id).unwrap();
        index.check().unwrap();
        prop_assert_eq!(index.len(), count as usize);
        let ids: Vec<_> = (0..count).map(|n| ObjectId::of(&object(n))).collect();
        prop_assert_eq!(&index.ids_in_pack_order(), &ids);
        for (number, id) in ids.iter().enumerate() {
            prop_assert_eq!(index.number(id), Some(number as u32));
        }
        for stranger in strangers {
            prop_assert_eq!(index.number(&ObjectId::from_bytes(stranger)), None);
        }
        let mut sorted = ids.clone();
        sorted.sort();
        prop_assert!(index.ids().map(|(id, _)| id).eq(sorted));
    }

    /// SEC-035: no bytes whatever make an index panic.
    #[test]
    fn any_bytes_are_an_index_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..3_000), magic: bool) {
        let mut bytes = bytes;
        if magic && bytes.len() > 16 {
            bytes[..8].copy_from_slice(b"pkgidx1\0");
        }
        prop_assert!(Index::open(bytes, PackId::new(ObjectId::of(b""))).is_err());
    }
}
