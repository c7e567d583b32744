//! The store as a whole: damage, doubles, transactions beside each other.

use objects::fsck;
use objects::id::{ObjectId, Prefix};
use objects::object::{Error, Exists, Find, Kind};
use objects::store::Store;
use objects::store::pack::writer::{Options, PackWriter};
use objects::store::pack::{file_name, index_name};
use objects::testing::literally::{self, PackedFrame};
use objects::testing::{Damage, Random, TempRepository, snapshot_of_store};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Twelve objects, some that compress and some that do not; the pack has a little over 9 KiB.
fn objects() -> Vec<Vec<u8>> {
    let mut random = Random::new(7);
    let text = (0..6).map(|n| random.text(500 + n * 700)).collect::<Vec<_>>();
    let noise = (0..5).map(|n| random.bytes(100 + n * 600)).collect::<Vec<_>>();
    text.into_iter().chain(noise).chain([Vec::new()]).collect()
}

/// A repository with one pack, and the pack's file and index.
fn one_pack() -> (TempRepository, PathBuf, PathBuf) {
    let repository = TempRepository::new();
    repository.add(&objects());
    let id = repository.store().packs()[0].id();
    let folder = repository.store().packs_folder();
    (repository, folder.join(file_name(id)), folder.join(index_name(id)))
}

/// Reads all objects: each read gives the right bytes or an error. True if all were right.
fn read_all(store: &Store) -> bool {
    objects().iter().all(|object| match store.find(Kind::Chunk, &ObjectId::of(object)) {
        Ok(bytes) => {
            assert_eq!(*bytes, **object, "other bytes were served");
            true
        }
        Err(error) => {
            assert!(["E-HASH", "E-FORMAT", "E-NOTFOUND", "E-IO"].contains(&error.code()), "{error}");
            false
        }
    })
}

fn findings(repository: &TempRepository) -> usize {
    fsck::check(&repository.reopened(), fsck::Options { data: true }).unwrap().findings.len()
}

/// Puts `content` where a store file lies.
fn replace(path: &Path, content: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, content).unwrap();
}

/// Objects come back, also the empty one and the largest; doubled ones are written once.
#[test]
fn objects_come_back() {
    let repository = TempRepository::new();
    let largest = Random::new(1).bytes(objects::limits::OBJECT_BYTES_MAX);
    let mut transaction = repository.store().transaction(Options::default()).unwrap();
    for _ in 0..2 {
        for object in objects() {
            transaction.write(&object).unwrap();
        }
        transaction.write(&largest).unwrap();
    }
    assert_eq!(transaction.objects(), objects().len() + 1);
    transaction.commit().unwrap().expect("there was something new");
    for store in [repository.store(), &repository.reopened_store()] {
        assert!(read_all(store));
        assert_eq!(*store.find(Kind::Chunk, &ObjectId::of(&largest)).unwrap(), *largest);
    }
    let mut again = repository.store().transaction(Options::default()).unwrap();
    objects().iter().for_each(|object| _ = again.write(object).unwrap());
    assert_eq!((again.objects(), again.commit().unwrap()), (0, None), "nothing is new");
    assert_eq!(findings(&repository), 0);
}

/// A package whose only file of its kind is empty is stored and read like any other.
#[test]
fn an_empty_object_alone_comes_back() {
    let repository = TempRepository::new();
    let id = repository.add(&[""])[0];
    assert_eq!(repository.reopened_store().find(Kind::Chunk, &id).unwrap().len(), 0);
    assert_eq!(findings(&repository), 0);
}

/// An object larger than any reader takes is refused when it is written, not when all is lost.
#[test]
fn an_object_beyond_the_limit_is_refused() {
    let repository = TempRepository::new();
    let mut transaction = repository.store().transaction(Options::default()).unwrap();
    let written = transaction.write(&vec![1; objects::limits::OBJECT_BYTES_MAX + 1]);
    assert!(written.is_err(), "nobody could read it");
    transaction.write(b"small").unwrap();
    transaction.commit().unwrap();
    assert_eq!(findings(&repository), 0);
}

/// SEC-013: store files are not for writing.
#[test]
fn store_files_are_read_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_kept, pack, index) = one_pack();
    for path in [pack, index] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o444);
    }
}

/// SEC-020, SEC-022: of 1,000 random flips of one bit in pack and index, each read gives the right
/// bytes or an error, and `fsck` finds every one.
#[test]
fn flipped_bits_are_never_served_and_always_found() {
    let (repository, pack, index) = one_pack();
    let mut random = Random::new(22);
    for path in [pack, index] {
        let good = std::fs::read(&path).unwrap();
        for _ in 0..500 {
            let flip = Damage::flip(&mut random, good.len());
            replace(&path, &flip.of(&good).unwrap());
            read_all(&repository.reopened_store());
            assert!(findings(&repository) > 0, "{flip:?} of {} is not found", path.display());
        }
        replace(&path, &good);
    }
    assert!(read_all(&repository.reopened_store()));
    assert_eq!(findings(&repository), 0);
}

/// SEC-021: pack and index cut at every length below 4 KiB and at 200 random lengths above: an
/// error each time, told by the store, and no panic.
#[test]
fn cut_packs_and_indexes_are_refused() {
    let (repository, pack, index) = one_pack();
    let mut random = Random::new(21);
    for path in [pack, index] {
        let good = std::fs::read(&path).unwrap();
        let above = (0..200).map(|_| random.below(good.len() as u64) as usize);
        for len in (0..good.len().min(4 << 10)).chain(above) {
            replace(&path, &good[..len]);
            let store = repository.reopened_store();
            assert!(!store.broken().is_empty(), "{} cut to {len} bytes", path.display());
            assert!(!read_all(&store));
        }
        replace(&path, &good);
    }
    assert_eq!(findings(&repository), 0);
}

/// A good copy of all objects in a pack of other frames.
fn second_copy(repository: &TempRepository) {
    let mut backwards = objects();
    backwards.reverse();
    let packed = literally::pack(&backwards.chunks(5).map(PackedFrame::of).collect::<Vec<_>>());
    repository.plant(packed.id, &packed.pack, Some(&packed.index));
}

/// SEC-020, SEC-031, REL-023: with a damaged pack and a good one of the same objects, the good
/// bytes are served, whichever is looked at first, also by a store that was open all along.
#[test]
fn a_good_copy_is_served_beside_a_damaged_one() {
    for seed in 0..20 {
        let (repository, pack, _) = one_pack();
        let content = std::fs::read(&pack).unwrap();
        replace(&pack, &Damage::flip(&mut Random::new(seed), content.len()).of(&content).unwrap());
        let open = repository.reopened_store();
        read_all(&open);
        second_copy(&repository);
        assert!(read_all(&open), "a store that was open finds the new pack");
        assert!(read_all(&repository.reopened_store()));
    }
}

/// SEC-031: an id in two packs, one of which has other bytes under it: with each pack present and
/// absent, what is served matches the id.
#[test]
fn two_packs_with_one_id_serve_the_right_bytes() {
    let right = Random::new(1).text(900);
    let id = ObjectId::of(&right);
    let mut forged = PackedFrame::of(&[Random::new(2).text(900)]);
    forged.ids = vec![id];
    let good = literally::pack(&[PackedFrame::of(&[&right, b"beside".as_slice()])]);
    let forged = literally::pack(&[forged]);
    for (planted, expected) in [(vec![&good], true), (vec![&forged], false), (vec![&good, &forged], true)] {
        let repository = TempRepository::new();
        planted.iter().for_each(|packed| repository.plant(packed.id, &packed.pack, Some(&packed.index)));
        match repository.reopened_store().try_find(&id) {
            Ok(bytes) => assert_eq!((&*bytes.unwrap(), expected), (&*right, true)),
            Err(error) => assert_eq!((error.code(), expected), ("E-HASH", false)),
        }
        let clean = planted.len() == 1 && expected;
        assert_eq!(findings(&repository) == 0, clean, "a wrong copy is a finding though a good one serves");
    }
}

/// REL-016: one pack that cannot be opened does not keep the others from serving.
#[test]
fn a_broken_pack_does_not_hide_the_others() {
    let (repository, pack, _) = one_pack();
    let other = repository.add(&["in a pack of its own"])[0];
    replace(&pack, b"no pack");
    let store = repository.reopened_store();
    assert!(store.find(Kind::Chunk, &other).is_ok());
    assert_eq!(store.broken().len(), 1);
    let missing = store.find(Kind::Chunk, &ObjectId::of(&objects()[0])).unwrap_err();
    assert!(matches!(missing, Error::Missing { .. }), "{missing}");
}

/// A store that is open sees what others add and drop.
#[test]
fn an_open_store_sees_new_and_lost_packs() {
    let repository = TempRepository::new();
    let open = repository.reopened_store();
    let id = repository.add(&["new"])[0];
    assert!(!open.contains(&id), "nobody has looked yet");
    assert!(open.try_find(&id).unwrap().is_some());
    assert!(open.contains(&id));
    std::fs::remove_dir_all(open.packs_folder()).unwrap();
    open.refresh().unwrap();
    assert!(!open.contains(&id));
}

/// Prefixes name what begins with them, over all packs, each once.
#[test]
fn prefixes_are_resolved_over_all_packs() {
    let (repository, ..) = one_pack();
    second_copy(&repository);
    let store = repository.reopened_store();
    for object in objects() {
        let id = ObjectId::of(&object);
        let prefix: Prefix = id.short(8).parse().unwrap();
        assert_eq!(store.ids_with_prefix(&prefix), [id]);
    }
    assert_eq!(store.ids_with_prefix(&"00000000".parse().unwrap()), []);
    for bad in ["", "1234567", "xyzxyzxyz", &"a".repeat(65)] {
        assert!(bad.parse::<Prefix>().is_err());
    }
}

/// REL-040: the pack is the same, byte for byte, with 1 and with 8 threads.
#[test]
fn packs_do_not_depend_on_threads() {
    let packs = [1, 8].map(|jobs| {
        let repository = TempRepository::new();
        let mut random = Random::new(40);
        let mut transaction = repository.store().transaction(Options { level: 3, jobs }).unwrap();
        for n in 0..600u64 {
            let object = if n % 2 == 0 { random.text(20_000) } else { random.bytes(5_000) };
            transaction.write_as(ObjectId::of(&object), &object, n % 11).unwrap();
        }
        transaction.commit().unwrap();
        snapshot_of_store(&repository.store().packs_folder())
    });
    assert_eq!(packs[0].len(), 2);
    assert_eq!(packs[0], packs[1]);
}

/// What writer `who` adds in its round: some objects of its own, and some that all share.
fn contribution(who: u64, round: u64) -> Vec<Vec<u8>> {
    let own = (0..20).map(|n| format!("{who} {round} {n}").into_bytes());
    own.chain((0..20).map(|n| format!("shared {round} {n}").into_bytes())).collect()
}

fn contribute(store: &Store, who: u64) {
    for round in 0..10 {
        let mut transaction = store.transaction(Options { level: 1, jobs: 1 }).unwrap();
        contribution(who, round).iter().for_each(|object| _ = transaction.write(object).unwrap());
        transaction.commit().unwrap();
    }
}

fn all_contributed(repository: &TempRepository, writers: u64) {
    for (who, round) in (0..writers).flat_map(|who| (0..10).map(move |round| (who, round))) {
        for object in contribution(who, round) {
            let found = repository.store().find(Kind::Chunk, &ObjectId::of(&object)).unwrap();
            assert_eq!(*found, *object);
        }
    }
    assert_eq!(findings(repository), 0);
    assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
}

/// REL-024: four threads on one open store, each with ten transactions: none is lost.
#[test]
fn threads_beside_each_other_lose_nothing() {
    let repository = TempRepository::new();
    let store = repository.store();
    std::thread::scope(|scope| {
        (0..4).for_each(|who| _ = scope.spawn(move || contribute(store, who)));
    });
    all_contributed(&repository, 4);
}

/// REL-024: four processes on one repository: none of their objects is lost.
#[test]
fn processes_beside_each_other_lose_nothing() {
    if let Ok(root) = std::env::var("PKG_TEST_STORE") {
        let who = std::env::var("PKG_TEST_WHO").unwrap().parse().unwrap();
        return contribute(&Store::open(Path::new(&root)).unwrap(), who);
    }
    let repository = TempRepository::new();
    let children = [0, 1, 2, 3].map(|who: u64| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::processes_beside_each_other_lose_nothing"])
            .env("PKG_TEST_STORE", repository.root().join("objects"))
            .env("PKG_TEST_WHO", who.to_string())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    });
    children.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    all_contributed(&repository, 4);
}

/// REL-002, REL-024: whoever salvages and sweeps beside living writers takes nothing from them.
#[test]
fn salvage_and_sweep_leave_living_writers_alone() {
    let repository = TempRepository::new();
    let store = repository.store();
    std::thread::scope(|scope| {
        let writers = [0, 1, 2].map(|who| scope.spawn(move || contribute(store, who)));
        while !writers.iter().all(|writer| writer.is_finished()) {
            store.salvage().unwrap();
            objects::store::gc::sweep_staging(store).unwrap();
        }
    });
    all_contributed(&repository, 3);
}

/// A leftover that a process of the same number left behind is not in the way: in containers the
/// numbers begin anew each time.
#[test]
fn leftovers_of_a_namesake_are_not_in_the_way() {
    let repository = TempRepository::new();
    let folder = repository.store().staging_folder();
    for n in 0..200 {
        std::fs::write(folder.join(format!(".{}-{n}.frames", std::process::id())), b"left").unwrap();
    }
    let written = repository.add(&["new"]);
    assert!(repository.store().find(Kind::Chunk, &written[0]).is_ok());
}

/// A writer that is dropped leaves nothing, whether or not it had written frames.
#[test]
fn a_dropped_writer_leaves_nothing() {
    let repository = TempRepository::new();
    for count in [0, 1, 40] {
        let mut writer =
            PackWriter::create(&repository.store().staging_folder(), Options::default()).unwrap();
        for n in 0..count {
            let object = Random::new(n).bytes(500_000);
            writer.add(ObjectId::of(&object), &object, 1).unwrap();
        }
        drop(writer);
        assert_eq!(snapshot_of_store(&repository.root().join("objects")).len(), 0);
        assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
    }
}
