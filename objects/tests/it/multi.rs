//! The index over several packs: where to look first, and never the last word.

use objects::fsck;
use objects::id::ObjectId;
use objects::object::{Exists, Find, Kind};
use objects::store::Store;
use objects::store::gc;
use objects::testing::{Damage, Random, TempRepository};
use std::path::PathBuf;

/// A repository with `packs` packs of five objects, and an index over all of them.
fn indexed(packs: u64) -> (TempRepository, Vec<Vec<u8>>, PathBuf) {
    let repository = TempRepository::new();
    let mut random = Random::new(packs);
    let mut objects = Vec::new();
    for _ in 0..packs {
        let five: Vec<Vec<u8>> = (0..5).map(|_| random.bytes(300)).collect();
        repository.add(&five);
        objects.extend(five);
    }
    repository.store().write_multi_index().unwrap();
    let path = repository.store().info_folder().join("multi-index");
    (repository, objects, path)
}

fn serves(store: &Store, objects: &[Vec<u8>]) {
    for object in objects {
        let id = ObjectId::of(object);
        assert!(store.contains(&id));
        assert_eq!(*store.find(Kind::Chunk, &id).unwrap(), **object);
    }
    assert!(!store.contains(&ObjectId::of(b"nobody wrote this")));
    assert!(store.try_find(&ObjectId::of(b"nobody wrote this")).unwrap().is_none());
}

#[test]
fn objects_are_found_through_it_and_beside_it() {
    let (repository, mut objects, path) = indexed(9);
    assert!(path.exists());
    serves(&repository.reopened_store(), &objects);
    let later = vec![b"written after the index".to_vec()];
    repository.add(&later);
    objects.extend(later);
    serves(repository.store(), &objects);
    serves(&repository.reopened_store(), &objects);
    assert_eq!(repository.reopened_store().check_multi_index(), None);
}

/// With few packs there is none, and one that stood there is removed.
#[test]
fn it_is_kept_only_where_it_is_a_gain() {
    let (repository, objects, path) = indexed(3);
    assert!(!path.exists());
    serves(repository.store(), &objects);
    let (repository, objects, path) = indexed(4);
    let packs: Vec<_> = repository.store().packs().iter().map(|pack| pack.id()).collect();
    gc::remove_packs(repository.store(), &packs[..2]).unwrap();
    serves(&repository.reopened_store(), &kept(&repository, objects));
    repository.store().write_multi_index().unwrap();
    assert!(!path.exists());
}

/// Those of `objects` that are still in some pack.
fn kept(repository: &TempRepository, mut objects: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let ids: Vec<ObjectId> =
        repository.store().packs().iter().flat_map(|pack| pack.index().ids_in_pack_order()).collect();
    objects.retain(|object| ids.contains(&ObjectId::of(object)));
    assert_eq!(objects.len(), ids.len());
    objects
}

/// SEC-022, SEC-028, REL-020: whatever the file holds, every object is served and nothing else, and a
/// check names the damage.
#[test]
fn damage_of_it_costs_nothing_but_time() {
    let (repository, objects, path) = indexed(6);
    let whole = std::fs::read(&path).unwrap();
    let mut random = Random::new(77);
    for _ in 0..300 {
        let damage = Damage::random(&mut random, &whole);
        let damaged = damage.of(&whole).unwrap_or_default();
        std::fs::write(&path, &damaged).unwrap();
        let store = repository.reopened_store();
        for object in &objects {
            assert_eq!(*store.find(Kind::Chunk, &ObjectId::of(object)).unwrap(), **object, "{damage:?}");
        }
        assert!(damaged == whole || store.check_multi_index().is_some(), "{damage:?}");
    }
    let report = fsck::check(&repository.reopened(), fsck::Options::default()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.place == "objects/info/multi-index"));
}
