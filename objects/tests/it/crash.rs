//! What killed processes leave, and what becomes of it.

use objects::fsck;
use objects::id::ObjectId;
use objects::object::{Find, Kind};
use objects::store::Store;
use objects::store::gc;
use objects::store::pack::writer::{Options, PackWriter};
use objects::store::pack::{file_name, index_name};
use objects::testing::{Author, Files, Random, TempRepository, snapshot_of_store};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::tempdir;

fn object(n: u64) -> Vec<u8> {
    let mut random = Random::new(n);
    if n.is_multiple_of(3) { random.text(300_000) } else { random.bytes(150_000) }
}

const OBJECTS: u64 = 60;

/// A writer that has written most of its objects to its file, and is alive.
fn half_written(store: &Store) -> PackWriter {
    let options = Options { level: 1, jobs: 1 };
    let mut writer = PackWriter::create(&store.staging_folder(), options).unwrap();
    for n in 0..OBJECTS {
        let object = object(n);
        writer.add(ObjectId::of(&object), &object, 1).unwrap();
    }
    writer
}

/// The files in the staging folder that end so.
fn staged(store: &Store, suffix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store.staging_folder()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_str().unwrap().ends_with(suffix)).collect()
}

/// The bytes of `.part` and `.frames` as a kill in mid-write leaves them.
fn left_by_a_kill() -> (Vec<u8>, Vec<u8>) {
    let repository = TempRepository::new();
    let writer = half_written(repository.store());
    let read = |suffix| std::fs::read(&staged(repository.store(), suffix)[0]).unwrap();
    let left = (read(".part"), read(".frames"));
    drop(writer);
    assert!(left.0.len() > 4 << 20 && !left.1.is_empty(), "frames were written before the kill");
    left
}

fn plant(store: &Store, part: &[u8], frames: &[u8]) {
    std::fs::write(store.staging_folder().join("999999-0.part"), part).unwrap();
    std::fs::write(store.staging_folder().join("999999-0.frames"), frames).unwrap();
}

/// How many of the objects are here; those that are have the right bytes.
fn served(store: &Store) -> usize {
    let here =
        (0..OBJECTS).map(object).filter(|object| match store.try_find(&ObjectId::of(object)).unwrap() {
            Some(bytes) => *bytes == **object || panic!("other bytes are served"),
            None => false,
        });
    here.count()
}

fn assert_whole(repository: &TempRepository) {
    let report = fsck::check(&repository.reopened(), fsck::Options { data: true }).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
}

/// REL-001: a transaction that is dropped leaves nothing visible and nothing behind.
#[test]
fn a_dropped_transaction_is_invisible() {
    let repository = TempRepository::new();
    let before = snapshot_of_store(repository.root());
    let mut transaction = repository.store().transaction(Options::default()).unwrap();
    (0..OBJECTS).for_each(|n| _ = transaction.write(&object(n)).unwrap());
    assert_eq!(served(&repository.reopened_store()), 0, "not before the commit");
    drop(transaction);
    assert_eq!(served(&repository.reopened_store()), 0);
    assert_eq!(snapshot_of_store(repository.root()), before);
}

/// REL-012: a commit that fails leaves nothing visible and nothing behind, and can be made again.
#[test]
fn a_failed_commit_is_invisible() {
    let repository = TempRepository::new();
    let packs = repository.store().packs_folder();
    std::fs::remove_dir(&packs).unwrap();
    std::fs::write(&packs, "a file in the way").unwrap();
    let mut transaction = repository.store().transaction(Options::default()).unwrap();
    transaction.write(b"content").unwrap();
    assert!(transaction.commit().is_err());
    assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
    std::fs::remove_file(&packs).unwrap();
    let id = repository.add(&["content"])[0];
    assert!(repository.store().find(Kind::Chunk, &id).is_ok());
}

/// REL-002: every frame that a killed writer had written whole is taken up; nothing stays behind.
#[test]
fn what_a_killed_writer_staged_is_salvaged() {
    let repository = TempRepository::new();
    let (part, frames) = left_by_a_kill();
    plant(repository.store(), &part, &frames);
    let saved = repository.store().salvage().unwrap();
    assert!(saved > 20, "{saved} of {OBJECTS}");
    assert_eq!(served(&repository.reopened_store()), saved);
    assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
    assert_whole(&repository);
    assert_eq!(repository.store().salvage().unwrap(), 0);
}

/// REL-002, SEC-022: cut at random places, or with bits flipped: whole objects are saved, never
/// wrong ones.
#[test]
fn salvage_takes_only_what_is_whole() {
    let (part, frames) = left_by_a_kill();
    let mut random = Random::new(5);
    for round in 0..24 {
        let (mut part, mut frames) = (part.clone(), frames.clone());
        let (in_part, in_frames) =
            (random.below(part.len() as u64) as usize, random.below(frames.len() as u64) as usize);
        match round % 5 {
            0 => part.truncate(in_part),
            1 => frames.truncate(in_frames),
            2 => part[in_part] ^= 1 << random.below(8),
            3 => frames[in_frames] ^= 1 << random.below(8),
            _ => part[in_part..].fill(0),
        }
        let repository = TempRepository::new();
        plant(repository.store(), &part, &frames);
        let saved = repository.store().salvage().unwrap();
        assert_eq!(served(&repository.reopened_store()), saved, "round {round}");
        assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
        assert_whole(&repository);
    }
}

/// Rows that state frames of any size take no memory; rows without a pack, or a pack without rows,
/// are swept.
#[test]
fn hostile_leftovers_are_harmless() {
    let repository = TempRepository::new();
    let store = repository.store();
    plant(store, &[0; 100], &[0xff; 100]);
    assert_eq!(store.salvage().unwrap(), 0);
    let folder = store.staging_folder();
    std::fs::write(folder.join("1-0.frames"), "rows without a pack").unwrap();
    std::fs::write(folder.join("1-1.tmp"), "an index").unwrap();
    std::fs::write(folder.join("1-2.part"), "a pack without rows").unwrap();
    let bytes = "rows without a pack".len() + "an index".len() + "a pack without rows".len();
    assert_eq!(gc::sweep_staging(store).unwrap(), bytes as u64);
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
}

fn child(test: &str, root: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env("PKG_TEST_ROOT", root);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn say(line: &str) {
    println!("\n{line}");
    std::io::stdout().flush().unwrap();
}

/// REL-002: what a living process writes is neither salvaged nor swept; once it is killed, it is.
#[test]
fn a_living_writer_is_left_alone() {
    if let Ok(root) = std::env::var("PKG_TEST_ROOT") {
        let store = Store::open(Path::new(&root)).unwrap();
        let _writer = half_written(&store);
        say("written");
        loop {
            std::thread::park();
        }
    }
    let repository = TempRepository::new();
    let store = repository.store();
    let mut writer = child("crash::a_living_writer_is_left_alone", &repository.root().join("objects"));
    let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "written"));
    for _ in 0..3 {
        assert_eq!((store.salvage().unwrap(), gc::sweep_staging(store).unwrap()), (0, 0));
    }
    assert_eq!((staged(store, ".part").len(), staged(store, ".frames").len()), (1, 1));
    writer.kill().unwrap();
    writer.wait().unwrap();
    assert!(store.salvage().unwrap() > 20);
    assert_eq!(std::fs::read_dir(store.staging_folder()).unwrap().count(), 0);
    assert_whole(&repository);
}

/// REL-001, REL-002, REL-009: writers killed at random moments: what they said is committed is
/// there, the store is whole, and a salvage leaves nothing behind.
#[test]
fn committed_objects_survive_a_kill() {
    if let Ok(root) = std::env::var("PKG_TEST_ROOT") {
        let store = Store::open(Path::new(&root)).unwrap();
        for n in 0.. {
            let mut transaction = store.transaction(Options { level: 1, jobs: 1 }).unwrap();
            let ids: Vec<_> =
                (0..3).map(|m| transaction.write(&Random::new(n * 3 + m).bytes(90_000)).unwrap()).collect();
            transaction.commit().unwrap();
            ids.iter().for_each(|id| say(&id.to_hex()));
        }
    }
    let mut random = Random::new(1);
    for _ in 0..8 {
        let repository = TempRepository::new();
        let acknowledged = kill_after(
            child("crash::committed_objects_survive_a_kill", &repository.root().join("objects")),
            random.below(20) as usize,
            |line| line.parse::<ObjectId>().ok(),
        );
        let store = repository.reopened_store();
        for id in &acknowledged {
            assert!(store.find(Kind::Chunk, id).is_ok(), "{id} was committed");
        }
        assert_whole(&repository);
        repository.store().salvage().unwrap();
        gc::sweep_staging(repository.store()).unwrap();
        assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
        assert_whole(&repository);
    }
}

/// Kills `child` after `wanted` lines that `parse` takes, and gives all it had said by then.
fn kill_after<T>(mut child: Child, wanted: usize, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said = Vec::new();
    while said.len() <= wanted {
        let line = lines.next().expect("the child goes on until it is killed");
        said.extend(parse(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said.extend(lines.filter_map(|line| parse(&line)));
    said
}

/// REL-001, REL-009: publishers killed at random moments: what they said is published is there, and
/// `fsck` has no finding, whatever step they were at.
#[test]
fn published_releases_survive_a_kill() {
    if let Ok(root) = std::env::var("PKG_TEST_ROOT") {
        let repository = objects::repository::Repository::open(Path::new(&root)).unwrap();
        let mut author = Author::new(7);
        for n in 0u64.. {
            let folder = tempdir().unwrap();
            Files::new().file("f", Random::new(n).text(5_000)).file("g", "same").write(folder.path());
            let mut transaction = repository.store().transaction(Options::default()).unwrap();
            let ingested = objects::ingest::ingest(
                &mut transaction,
                folder.path(),
                Default::default(),
                &objects::progress::Silent,
            );
            transaction.commit().unwrap();
            author.release(&repository, "hello", &format!("1.{n}.0"), &ingested.unwrap());
            author.announce(&repository);
            drop(folder);
            say(&format!("published {n}"));
        }
    }
    let mut random = Random::new(2);
    for round in 0..8 {
        let repository = TempRepository::new();
        let process = child("crash::published_releases_survive_a_kill", repository.root());
        let published = kill_after(process, 1 + random.below(5) as usize, |line| {
            line.strip_prefix("published ")?.parse::<u64>().ok()
        });
        assert_whole(&repository);
        let tags = repository.refs().list("refs/tags/").unwrap().len();
        assert!(tags >= published.len(), "round {round}");
        let summary = repository.summary().unwrap().unwrap();
        let index: objects::claim::Index =
            objects::codec::decode("index", summary.index.envelope().payload(), 1 << 16).unwrap();
        assert!(index.n >= *published.last().unwrap());
        let finished = Author::new(9).identity().id();
        let edit = objects::refs::RefEdit {
            name: "refs/identities/other".parse().unwrap(),
            previous: objects::refs::PreviousValue::Absent,
            new: Some(finished),
            message: "the next edit".into(),
        };
        repository.statements().insert(Author::new(9).identity().envelope()).unwrap();
        repository.refs().edit(&[edit], objects::time::Timestamp::default()).unwrap();
        assert_whole(&repository);
    }
}

/// REL-001: a pack whose index is lost gets it back, byte for byte; so does one that never had it.
#[test]
fn a_lost_index_is_rebuilt() {
    let repository = TempRepository::new();
    repository.add(&(0..30).map(object).chain([Vec::new()]).collect::<Vec<_>>());
    let pack = repository.store().packs()[0].id();
    let index = repository.store().packs_folder().join(index_name(pack));
    let content = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    let store = repository.reopened_store();
    assert_eq!(std::fs::read(&index).unwrap(), content);
    assert!(store.find(Kind::Chunk, &ObjectId::of(&object(3))).is_ok());
    assert_whole(&repository);
}

/// A pack without an index whose frames are damaged: the store says so and serves the others.
#[test]
fn a_damaged_pack_without_an_index_is_told() {
    let repository = TempRepository::new();
    repository.add(&[object(1), object(2)]);
    let pack = repository.store().packs()[0].clone();
    let good = repository.add(&[object(4)])[0];
    objects::testing::Damage::Flip { at: 40_000, bit: 1 }.apply(pack.path());
    std::fs::remove_file(repository.store().packs_folder().join(index_name(pack.id()))).unwrap();
    let store = repository.reopened_store();
    assert!(store.find(Kind::Chunk, &good).is_ok());
    let report = fsck::check(&repository.reopened(), fsck::Options { data: true }).unwrap();
    assert!(report.findings.iter().any(|finding| finding.place.contains(&pack.id().to_hex())), "{report:?}");
}

/// An index without its pack is passed over, and told by `fsck`.
#[test]
fn an_index_without_its_pack_is_passed_over() {
    let repository = TempRepository::new();
    repository.add(&[object(1)]);
    let pack = repository.store().packs()[0].id();
    std::fs::remove_file(repository.store().packs_folder().join(file_name(pack))).unwrap();
    let store = repository.reopened_store();
    assert_eq!((store.packs().len(), store.broken().len()), (0, 0));
    assert!(store.try_find(&ObjectId::of(&object(1))).unwrap().is_none());
    let report = fsck::check(&repository.reopened(), fsck::Options::default()).unwrap();
    assert!(report.findings.iter().any(|finding| finding.problem.contains("its pack is lost")), "{report:?}");
}
