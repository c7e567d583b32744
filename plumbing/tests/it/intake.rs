//! Taking in trees: what is held in memory meanwhile.

use objects::id::TreeId;
use objects::progress::Silent;
use objects::testing::literally::{self, tree_row};
use objects::testing::{TempRepository, snapshot_of_store};
use plumbing::sync::mirror::Mirror;
use plumbing::sync::{self, Wanted};
use plumbing::transport::memory::Memory;
use plumbing::transport::{BareWrite, Key};

/// REL-019: structure that is larger than what is held of it at once goes into packs on the way; all of it
/// arrives and is counted, and nothing is asked for again.
#[test]
fn large_structure_is_stored_on_the_way() {
    let there = TempRepository::new();
    let chunk = there.add(&["x"])[0];
    let sizes: Vec<u64> = (60_000..60_009).collect();
    let blobs: Vec<Vec<u8>> =
        sizes.iter().map(|size| literally::blob(*size, &vec![(chunk, 1); *size as usize])).collect();
    assert!(blobs.iter().map(Vec::len).sum::<usize>() > 16 << 20);
    let ids = there.add(&blobs);
    let rows = sizes.iter().zip(&ids).map(|(size, id)| tree_row(&size.to_string(), 1, *size, *id));
    let tree = TreeId::new(there.add(&[literally::tree(rows.collect())])[0]);
    there.write_pack_list(&[], None).unwrap();
    let memory = Memory::new();
    for key in snapshot_of_store(there.root()).into_keys().filter(|key| key.starts_with("objects/")) {
        let bytes = std::fs::read(there.root().join(&key)).unwrap();
        memory.write(&Key::new(&key).unwrap(), &mut bytes.as_slice()).unwrap();
    }

    let here = TempRepository::new();
    let wanted = Wanted { tree, files_max: 9, bytes_max: sizes.iter().sum() };
    let mirror = Mirror::new(Box::new(memory));
    let fetched = sync::fetch_tree(&[&mirror], here.store(), wanted, &[], &Silent).unwrap();

    assert_eq!(fetched.packs.len(), 2);
    assert_eq!(fetched.objects, 1 + 9 + 1);
    assert_eq!(fetched.packs.len(), here.store().packs().len());
    assert!(sync::is_complete(here.store(), wanted).unwrap());
}
