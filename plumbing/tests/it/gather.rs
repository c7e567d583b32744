//! Bringing back single objects: from files that are whole, damaged, or lie.

use objects::id::ObjectId;
use objects::object::{Exists, Find, Kind};
use objects::packlist::{self, ListedPack};
use objects::progress::Silent;
use objects::repository::{PACK_LIST_KEY, pack_index_key, pack_key};
use objects::store::pack::table::{Base, BaseOf};
use objects::testing::literally::{self, Packed, PackedFrame};
use objects::testing::{Files, Random, TempRepository, snapshot_of_store};
use plumbing::sync::Error;
use plumbing::sync::gather::{Gathered, gather};
use plumbing::sync::mirror::Mirror;
use plumbing::transport::memory::Memory;
use plumbing::transport::{BareWrite, Key};
use std::collections::BTreeMap;

fn write(to: &Memory, key: &str, bytes: &[u8]) {
    to.write(&Key::new(key).unwrap(), &mut &bytes[..]).unwrap();
}

/// A mirror with these packs, and a list of them.
fn mirror(packs: &[Packed]) -> Memory {
    let memory = Memory::new();
    let mut list = Vec::new();
    for packed in packs {
        write(&memory, &pack_key(packed.id), &packed.pack);
        write(&memory, &pack_index_key(packed.id), &packed.index);
        let (bytes, index_bytes) = (packed.pack.len() as u64, packed.index.len() as u64);
        list.push(ListedPack { id: packed.id, bytes, index_bytes, objects: 1, tips: Vec::new() });
    }
    list.sort_by_key(|pack| pack.id);
    write(&memory, PACK_LIST_KEY, &packlist::encode(&list));
    memory
}

fn object(n: u64) -> Vec<u8> {
    Random::new(n).text(20_000)
}

fn bring(from: Memory, to: &TempRepository, wanted: &[(Vec<u8>, Kind)]) -> Result<Gathered, Error> {
    let lost: BTreeMap<_, _> = wanted.iter().map(|(bytes, kind)| (ObjectId::of(bytes), *kind)).collect();
    gather(&Mirror::new(Box::new(from)), to.store(), &lost, Default::default(), &Silent)
}

/// REL-021: a lost tree comes back with all below it that is missing, and nothing else of the packs.
#[test]
fn what_a_lost_tree_names_comes_along() {
    let (whole, folder) = (TempRepository::new(), tempfile::tempdir().unwrap());
    let mut random = Random::new(9);
    let files = Files::new().file("a/b/text", "text").link("a/link", "b/text");
    files.file("large", random.bytes(300_000)).write(folder.path());
    let ingested = whole.ingest(folder.path());
    whole.add(&["nobody asks for this"]);
    whole.write_pack_list(&[], None).unwrap();
    let memory = Memory::new();
    for key in snapshot_of_store(whole.root()).into_keys().filter(|key| key.starts_with("objects/")) {
        write(&memory, &key, &std::fs::read(whole.root().join(&key)).unwrap());
    }
    let store = TempRepository::new();
    let root = whole.store().find(Kind::Tree, &ingested.tree.object()).unwrap().to_vec();
    let gathered = bring(memory, &store, &[(root, Kind::Tree)]).unwrap();
    let count = |repository: &TempRepository| {
        repository.reopened_store().packs().iter().map(|pack| pack.index().len()).sum::<usize>()
    };
    assert_eq!(gathered.objects as usize, count(&store));
    assert_eq!(count(&store) + 1, count(&whole), "all but what nobody asked for");
    let read = objects::archive::write_tree(store.store(), ingested.tree, &mut std::io::sink());
    assert!(read.is_ok());
}

/// REL-023: a frame that is damaged there is passed over, though another pack holds the object; an index
/// that lies changes nothing: bytes are what they hash to.
#[test]
fn damaged_frames_are_passed_over() {
    let good = literally::pack(&[PackedFrame::of(&[object(1), object(2)])]);
    let mut bad = literally::pack(&[PackedFrame::of(&[object(1)]), PackedFrame::of(&[object(3)])]);
    bad.pack[40] ^= 1;
    let mut cut = literally::pack(&[PackedFrame::of(&[object(4)]), PackedFrame::of(&[object(5)])]);
    cut.pack.truncate(cut.pack.len() / 2);
    let mut lying = PackedFrame::of(&[object(6)]);
    lying.ids = vec![ObjectId::of(&object(7))];
    let packs = [good, bad, cut, literally::pack(&[lying])];
    let store = TempRepository::new();
    let wanted: Vec<_> = (1..=8).map(|n| (object(n), Kind::Chunk)).collect();
    let gathered = bring(mirror(&packs), &store, &wanted).unwrap();
    let here: Vec<u64> = (1..=8).filter(|n| store.store().contains(&ObjectId::of(&object(*n)))).collect();
    // The index says 7 where 6 lies: 6 was wanted too, and is what its bytes are.
    assert_eq!((gathered.objects, here.as_slice()), (5, &[1, 2, 3, 4, 6][..]));
    for n in here {
        assert_eq!(*store.store().find(Kind::Chunk, &ObjectId::of(&object(n))).unwrap(), *object(n));
    }
}

fn whole(n: u64) -> Base {
    Base { of: BaseOf::Object, id: ObjectId::of(&object(n)), start: 0, len: 20_000 }
}

/// Objects in delta frames come back too, with bases from any pack there; they are kept as they are.
#[test]
fn delta_frames_give_their_objects() {
    let changed = [object(1), b"changed".to_vec()].concat();
    let twice = [changed.clone(), b"again".to_vec()].concat();
    let on_changed =
        Base { of: BaseOf::Object, id: ObjectId::of(&changed), start: 0, len: changed.len() as u64 };
    let packs = [
        literally::pack(&[PackedFrame::delta(&twice, vec![on_changed], &changed)]),
        literally::pack(&[
            PackedFrame::delta(&changed, vec![whole(1)], &object(1)),
            PackedFrame::of(&[object(1)]),
        ]),
    ];
    let store = TempRepository::new();
    let gathered = bring(mirror(&packs), &store, &[(twice.clone(), Kind::Chunk)]).unwrap();
    assert_eq!(gathered.objects, 1, "the bases were not asked for");
    assert_eq!(*store.store().find(Kind::Chunk, &ObjectId::of(&twice)).unwrap(), *twice);
    assert!(store.store().packs().iter().all(|pack| pack.table().frames()[0].base.is_empty()));
}

/// SEC-023: frames that build on each other in a ring, or on nothing, give nothing, and end.
#[test]
fn rings_of_delta_frames_end() {
    let frame = |n: u64, base: u64| PackedFrame::delta(&object(n), vec![whole(base)], &object(base));
    let packs = [literally::pack(&[frame(1, 2), frame(2, 1), frame(3, 404)])];
    let store = TempRepository::new();
    let wanted: Vec<_> = (1..=3).map(|n| (object(n), Kind::Chunk)).collect();
    assert_eq!(bring(mirror(&packs), &store, &wanted).unwrap().objects, 0);
}

/// A mirror without a list, or with nothing that can be read, says so.
#[test]
fn a_mirror_that_gives_nothing_says_why() {
    let wanted = [(object(1), Kind::Chunk)];
    let empty = bring(Memory::new(), &TempRepository::new(), &wanted).unwrap_err();
    assert_eq!(empty.code(), "E-NOTFOUND", "{empty}");
    let mut packed = literally::pack(&[PackedFrame::of(&[object(1)])]);
    packed.index.truncate(100);
    let broken = bring(mirror(&[packed]), &TempRepository::new(), &wanted).unwrap_err();
    assert_eq!(broken.code(), "E-FORMAT", "{broken}");
}
