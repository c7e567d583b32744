//! How fast the store takes folders in, writes them out, and checks itself.
//!
//! Data: one seeded corpus, made anew for each run, 24 MiB in 906 files: 900 small texts of 4 to 20
//! KiB as in a source package, four binaries of 2 MiB that do not compress, two logs of 2 MiB that
//! do. Unit: unpacked bytes of content. Baseline in the same run: a plain copy of the same files,
//! and their BLAKE3 alone.

use divan::Bencher;
use divan::counter::BytesCount;
use objects::checkout;
use objects::fsck;
use objects::id::{ObjectId, TreeId};
use objects::ingest;
use objects::parallel::default_jobs;
use objects::progress::Silent;
use objects::store::pack::writer;
use objects::testing::{Files, Random, TempRepository};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::{TempDir, tempdir};

fn main() {
    divan::main();
}

/// The corpus on disk, and a repository that holds it.
struct Corpus {
    folder: TempDir,
    repository: TempRepository,
    tree: TreeId,
    size: u64,
}

static CORPUS: LazyLock<Corpus> = LazyLock::new(|| {
    let mut random = Random::new(12);
    let mut files = Files::new();
    for n in 0..900 {
        let len = 4_000 + random.below(16_000) as usize;
        files = files.file(&format!("src/{}/{n}.rs", n % 30), random.text(len));
    }
    for n in 0..4 {
        files = files.exec(&format!("bin/{n}"), random.bytes(2 << 20));
    }
    for n in 0..2 {
        files = files.file(&format!("log/{n}.log"), random.text(2 << 20));
    }
    let folder = tempdir().expect("a temporary folder can be made");
    files.write(folder.path());
    let repository = TempRepository::new();
    let ingested = repository.ingest(folder.path());
    Corpus { folder, repository, tree: ingested.tree, size: ingested.size }
});

/// All regular files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder is ours") {
        let path = entry.expect("the folder is ours").path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

fn take_in(repository: &TempRepository, jobs: usize) {
    let options = writer::Options { level: 3, jobs };
    let mut transaction = repository.store().transaction(options).expect("the staging folder is ours");
    let options = ingest::Options { jobs, allow_unportable: false };
    ingest::ingest(&mut transaction, CORPUS.folder.path(), options, &Silent).expect("the corpus is portable");
    transaction.commit().expect("the disk takes a pack");
}

/// Walk, cut, hash, compress and sync into an empty repository.
#[divan::bench(args = [1, default_jobs()], sample_count = 10, sample_size = 1)]
fn ingest_fresh(bencher: Bencher, jobs: usize) {
    let bencher = bencher.counter(BytesCount::new(CORPUS.size)).with_inputs(TempRepository::new);
    bencher.bench_refs(|repository| take_in(repository, jobs));
}

/// The same folder once more: everything is known, nothing is compressed or written.
#[divan::bench(args = [1, default_jobs()], sample_count = 10, sample_size = 1)]
fn ingest_known(bencher: Bencher, jobs: usize) {
    bencher.counter(BytesCount::new(CORPUS.size)).bench(|| take_in(&CORPUS.repository, jobs));
}

/// Unpack, check and write into a fresh folder; removing it is not counted.
#[divan::bench(args = [1, default_jobs()], sample_count = 10, sample_size = 1)]
fn checkout_fresh(bencher: Bencher, jobs: usize) {
    let fresh = || tempdir().expect("a temporary folder can be made");
    bencher.counter(BytesCount::new(CORPUS.size)).with_inputs(fresh).bench_refs(|to| {
        let options = checkout::Options { jobs, ..Default::default() };
        let store = CORPUS.repository.reopened_store(); // no frame is cached
        checkout::checkout(&store, CORPUS.tree, to.path(), options, &Silent).expect("the corpus is whole")
    });
}

/// Every frame unpacked, every object hashed.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn fsck_with_data(bencher: Bencher) {
    bencher.counter(BytesCount::new(CORPUS.size)).bench(|| {
        fsck::check(&CORPUS.repository.reopened(), fsck::Options { data: true })
            .expect("the folder can be read")
    });
}

/// Forms, frame hashes and connections only.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn fsck_of_structure(bencher: Bencher) {
    bencher.counter(BytesCount::new(CORPUS.size)).bench(|| {
        fsck::check(&CORPUS.repository.reopened(), fsck::Options { data: false })
            .expect("the folder can be read")
    });
}

/// Baseline: the files read and written as they are, on one thread.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn baseline_copy(bencher: Bencher) {
    let fresh = || tempdir().expect("a temporary folder can be made");
    bencher.counter(BytesCount::new(CORPUS.size)).with_inputs(fresh).bench_refs(|to| {
        for (n, path) in files(CORPUS.folder.path()).iter().enumerate() {
            std::fs::copy(path, to.path().join(n.to_string())).expect("the disk takes a copy");
        }
    });
}

/// Baseline: the files read and hashed, on one thread.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn baseline_hash(bencher: Bencher) {
    bencher.counter(BytesCount::new(CORPUS.size)).bench(|| {
        let hash = |path: &PathBuf| ObjectId::of(&std::fs::read(path).expect("the file is ours"));
        files(CORPUS.folder.path()).iter().map(hash).collect::<Vec<_>>()
    });
}
