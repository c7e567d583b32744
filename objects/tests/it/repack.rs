//! Packing anew: smaller, the same to every reader, whatever is lost or killed on the way.

use objects::checkout;
use objects::fsck;
use objects::id::{ObjectId, TreeId};
use objects::limits::DELTA_DEPTH_MAX;
use objects::object::{Find, Kind};
use objects::progress::Silent;
use objects::store::gc::{self, Roots};
use objects::store::pack::writer::Options;
use objects::store::pack::{Pack, base_objects, index_name};
use objects::store::repack::{self, Repacked};
use objects::store::{Store, pack};
use objects::testing::{Files, Random, TempRepository, snapshot};
use objects::time::Timestamp;
use objects::walk;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tempfile::tempdir;

const JOBS_2: Options = Options { level: 3, jobs: 2 };

/// A program in several versions: sources with small edits, a binary that is linked anew, a file that
/// comes and goes.
struct Program {
    random: Random,
    sources: Vec<Vec<u8>>,
    binary: Vec<u8>,
}

impl Program {
    fn new(seed: u64) -> Program {
        let mut random = Random::new(seed);
        let sources = (0..60).map(|n| random.text(1_000 + n * 300)).collect();
        let binary = random.bytes(600 << 10);
        Program { random, sources, binary }
    }

    /// The next version as a folder's content.
    fn version(&mut self, n: usize) -> Files {
        for at in [n % 60, (n * 7) % 60, 59] {
            let edit = self.random.text(40);
            self.sources[at].splice(100..100, edit);
        }
        for at in (0..self.binary.len()).step_by(2_000) {
            self.binary[at] = self.binary[at].wrapping_add(1); // every address moves
        }
        let mut files = Files::new().exec("bin/program", &self.binary).link("bin/latest", "program");
        for (at, source) in self.sources.iter().enumerate() {
            files = files.file(&format!("src/{}/{at}.rs", at % 5), source);
        }
        if n.is_multiple_of(2) { files.file("notes.txt", format!("version {n}")) } else { files }
    }
}

/// A repository with `versions` of one program, a pack each; the trees, the newest first.
fn history(versions: usize) -> (TempRepository, Vec<TreeId>) {
    let repository = TempRepository::new();
    let mut program = Program::new(7);
    let mut trees = Vec::new();
    for n in 0..versions {
        let folder = tempdir().unwrap();
        program.version(n).write(folder.path());
        trees.insert(0, repository.ingest(folder.path()).tree);
    }
    (repository, trees)
}

fn full(repository: &TempRepository, trees: &[TreeId], options: Options) -> Repacked {
    repack::full(repository.store(), &[trees.to_vec()], options, &Silent).unwrap()
}

fn replace(repository: &TempRepository, repacked: &Repacked) {
    gc::remove_packs(repository.store(), &repacked.replaced).unwrap();
}

/// Every object below the trees, by id.
fn content(store: &Store, trees: &[TreeId]) -> BTreeMap<ObjectId, Vec<u8>> {
    let mut seen = walk::Seen::default();
    trees.iter().for_each(|tree| walk::mark(store, *tree, &mut seen).unwrap());
    seen.into_ids().iter().map(|id| (*id, store.try_find(id).unwrap().unwrap().to_vec())).collect()
}

fn bytes(store: &Store) -> u64 {
    store.packs().iter().map(|pack| pack.table().frames_bytes()).sum()
}

fn delta_frames(pack: &Pack) -> usize {
    pack.table().frames().iter().filter(|row| !row.base.is_empty()).count()
}

fn findings(repository: &TempRepository) -> BTreeMap<String, String> {
    let report = fsck::check(&repository.reopened(), fsck::Options { data: true }).unwrap();
    report.findings.into_iter().map(|finding| (finding.place, finding.problem)).collect()
}

/// DESIGN 4, C8: history costs little, and every version comes back as it was.
#[test]
fn old_versions_become_deltas_and_stay_whole() {
    let (repository, trees) = history(6);
    let before = content(repository.store(), &trees);
    let plain = bytes(repository.store());
    let repacked = full(&repository, &trees, JOBS_2);
    replace(&repository, &repacked);
    let store = repository.reopened_store();
    let packs = store.packs();
    assert_eq!(packs.len(), 1);
    assert!(delta_frames(&packs[0]) >= 5, "{} delta frames", delta_frames(&packs[0]));
    // One version and the edits: the binary alone would be 600 kB a version.
    assert!(bytes(&store) < plain / 2, "{} of {plain}", bytes(&store));
    assert_eq!(content(&store, &trees), before);
    assert_eq!(findings(&repository), BTreeMap::new());

    let (old, out) = (tempdir().unwrap(), tempdir().unwrap());
    Program::new(7).version(0).write(old.path());
    let to = out.path().join("tree");
    checkout::checkout(&store, trees[5], &to, checkout::Options::default(), &Silent).unwrap();
    let names = |root| snapshot(root).into_keys().collect::<Vec<_>>();
    assert_eq!(names(&to), names(old.path()));
    assert_eq!(std::fs::read(to.join("bin/program")).unwrap(), Program::new(7).version_bytes(0));
}

impl Program {
    fn version_bytes(mut self, n: usize) -> Vec<u8> {
        self.version(n);
        self.binary
    }
}

/// REL-040: the pack depends on the objects alone.
#[test]
fn packs_do_not_depend_on_threads() {
    let (repository, trees) = history(3);
    let ids: HashSet<_> =
        [1, 2, 5].map(|jobs| full(&repository, &trees, Options { level: 9, jobs }).pack).into();
    assert_eq!(ids.len(), 1);
}

/// SEC-030, DESIGN 4: nothing lies deeper than a reader goes, however long the history.
#[test]
fn chains_are_as_deep_as_readers_go_at_most() {
    let (repository, trees) = history(14);
    replace(&repository, &full(&repository, &trees, JOBS_2));
    let store = repository.reopened_store();
    let pack = store.packs().remove(0);
    let deepest = depths(&store, &pack).into_iter().max().unwrap();
    assert!((2..=DELTA_DEPTH_MAX).contains(&deepest), "{deepest}");
    assert_eq!(content(&store, &trees).len(), content(repository.store(), &trees).len());
}

/// How deep each frame of a pack lies; a plain one 0.
fn depths(store: &Store, pack: &Arc<Pack>) -> Vec<usize> {
    let rows = pack.table().frames();
    let frame_of = |id: &ObjectId| pack.table().place(pack.index().number(id).unwrap()).frame;
    let mut depths = vec![0; rows.len()];
    for _ in 0..=DELTA_DEPTH_MAX + 1 {
        for (number, row) in rows.iter().enumerate().filter(|(_, row)| !row.base.is_empty()) {
            let base = base_objects(&row.base, store).unwrap();
            depths[number] = base.iter().map(|id| depths[frame_of(id)] + 1).max().unwrap();
        }
    }
    depths
}

/// SEC-031, REL-020: the index of a pack with deltas is made again from the pack alone.
#[test]
fn a_lost_index_is_rebuilt_through_the_deltas() {
    let (repository, trees) = history(7);
    replace(&repository, &full(&repository, &trees, JOBS_2));
    let before = content(repository.store(), &trees);
    let id = repository.store().packs()[0].id();
    let index = repository.store().packs_folder().join(index_name(id));
    let bytes = std::fs::read(&index).unwrap();
    std::fs::remove_file(&index).unwrap();
    assert_eq!(content(&repository.reopened_store(), &trees), before);
    assert_eq!(std::fs::read(&index).unwrap(), bytes);
}

/// Files that were renamed and moved between packages are stored against what looks like them.
#[test]
fn chunks_without_a_namesake_are_stored_against_their_like() {
    let repository = TempRepository::new();
    let mut random = Random::new(5);
    let library = random.bytes(400 << 10);
    let mut vendored = library.clone();
    (1_000..vendored.len()).step_by(9_000).for_each(|at| vendored[at] ^= 0x55);
    let trees = [("lib/real.so", library), ("third-party/other-name.bin", vendored)].map(|(path, bytes)| {
        let folder = tempdir().unwrap();
        Files::new().file(path, bytes).write(folder.path());
        repository.ingest(folder.path()).tree
    });
    let plain = bytes(repository.store());
    let histories: Vec<_> = trees.iter().map(|tree| vec![*tree]).collect();
    let repacked = repack::full(repository.store(), &histories, JOBS_2, &Silent).unwrap();
    replace(&repository, &repacked);
    assert!(bytes(repository.store()) < plain * 3 / 4, "{} of {plain}", bytes(repository.store()));
    assert_eq!(findings(&repository), BTreeMap::new());
}

/// Collecting after repacking: dead versions go, the rest stays readable and small.
#[test]
fn a_repacked_store_is_collected() {
    let (repository, trees) = history(6);
    replace(&repository, &full(&repository, &trees, JOBS_2));
    let kept = [trees[0], trees[3]];
    let before = content(repository.store(), &kept);
    let roots = || {
        let live = before.keys().copied().collect();
        Roots { live, grace_seconds: 0, now: Timestamp::new(99_999_999_999).unwrap() }
    };
    for _ in 0..2 {
        let plan = gc::plan(repository.store(), roots()).unwrap();
        gc::apply(repository.store(), &plan, JOBS_2).unwrap();
        assert_eq!(content(&repository.reopened_store(), &kept), before);
        assert_eq!(findings(&repository), BTreeMap::new());
    }
}

/// What nobody named is kept: dropping is `gc`'s.
#[test]
fn objects_outside_every_history_are_kept() {
    let (repository, trees) = history(2);
    let stray = repository.add(&["a stray object", "another"]);
    let repacked = full(&repository, &trees[..1], JOBS_2);
    replace(&repository, &repacked);
    assert_eq!(&*repository.store().find(Kind::Chunk, &stray[0]).unwrap(), b"a stray object");
    content(repository.store(), &trees);
}

/// Joined step by step, packs stay few: a logarithm of their number.
#[test]
fn small_packs_are_joined_geometrically() {
    let repository = TempRepository::new();
    let mut random = Random::new(9);
    let mut objects = Vec::new();
    for _ in 0..64 {
        let object = random.bytes(1_000);
        repository.add(&[&object]);
        objects.push(object);
        let packs = repack::unbalanced(repository.store());
        if !packs.is_empty() {
            let joined = repack::gather(repository.store(), &packs, JOBS_2).unwrap();
            replace(&repository, &joined);
        }
        assert!(repository.store().packs().len() <= 8, "{}", repository.store().packs().len());
    }
    assert!(repack::unbalanced(repository.store()).is_empty());
    for object in objects {
        assert_eq!(*repository.store().find(Kind::Chunk, &ObjectId::of(&object)).unwrap(), *object);
    }
    assert_eq!(findings(&repository), BTreeMap::new());
}

/// Joining keeps deltas, and an object that two packs hold once.
#[test]
fn joining_keeps_deltas() {
    let (repository, trees) = history(4);
    replace(&repository, &full(&repository, &trees, JOBS_2));
    let before = content(repository.store(), &trees);
    let deltas = delta_frames(&repository.store().packs()[0]);
    let doubled: Vec<Vec<u8>> = before.values().take(3).cloned().collect();
    let writer = pack::writer::PackWriter::create(&repository.store().staging_folder(), JOBS_2);
    let mut writer = writer.unwrap();
    for bytes in &doubled {
        writer.add(ObjectId::of(bytes), bytes, 1).unwrap();
    }
    writer.finish(&repository.store().packs_folder()).unwrap();
    repository.store().refresh().unwrap();
    let packs = repository.store().packs();
    let joined = repack::gather(repository.store(), &packs, JOBS_2).unwrap();
    replace(&repository, &joined);
    let packs = repository.reopened_store().packs();
    assert_eq!((packs.len(), delta_frames(&packs[0])), (1, deltas));
    assert_eq!(content(&repository.reopened_store(), &trees), before);
    assert_eq!(findings(&repository), BTreeMap::new());
}

/// REL-003: a repacking that was killed leaves a file that the next collection sweeps, and nothing to
/// take up.
#[test]
fn a_killed_repacking_leaves_nothing_to_salvage() {
    let (repository, _) = history(1);
    let store = repository.store();
    let mut writer = pack::writer::PackWriter::copying(&store.staging_folder(), JOBS_2).unwrap();
    writer.add(ObjectId::of(b"x"), b"x", 1).unwrap();
    writer.flush().unwrap();
    std::mem::forget(writer); // its lock ends with the process, here with the copy below
    let left = std::fs::read_dir(store.staging_folder()).unwrap().next().unwrap().unwrap().path();
    std::fs::copy(&left, left.with_file_name(".1-1.copy")).unwrap();
    assert_eq!(store.salvage().unwrap(), 0);
    gc::sweep_staging(store).unwrap();
    assert!(!left.with_file_name(".1-1.copy").exists());
}

/// REL-003: what a removal that was cut short left of a pack is no damage, and goes with the next one; of
/// a pack that was not reached nothing goes.
#[test]
fn a_removal_that_was_cut_short_is_ended() {
    let (repository, trees) = history(2);
    let old: Vec<_> = repository.store().packs().iter().map(|pack| pack.id()).collect();
    full(&repository, &trees, JOBS_2);
    let folder = repository.store().packs_folder();
    let note: String = old.iter().map(|id| format!("{}\n", id.to_hex())).collect();
    std::fs::write(repository.store().info_folder().join("leaving"), note).unwrap();
    std::fs::remove_file(folder.join(pack::file_name(old[0]))).unwrap();
    assert_eq!(findings(&repository), BTreeMap::new());
    gc::remove_packs(repository.store(), &[]).unwrap();
    assert!(!folder.join(index_name(old[0])).exists());
    assert!(folder.join(index_name(old[1])).exists());
    assert!(gc::leaving(repository.store()).unwrap().is_empty());
    std::fs::remove_file(folder.join(pack::file_name(old[1]))).unwrap();
    assert_eq!(findings(&repository).len(), 1, "a pack that is gone without a note is lost");
}
