//! Checking a repository: every damage is found, and nothing else.

use objects::fsck::{self, Level, Options, Report};
use objects::release::Entry;
use objects::repository::{Error, Repository};
use objects::signed::Envelope;
use objects::testing::{Author, Damage, Files, Random, TempRepository, snapshot, snapshot_of_store};
use std::collections::BTreeMap;
use std::path::Path;
use tempfile::tempdir;

/// Files that change from version to version.
pub fn version(n: u64) -> Files {
    let mut random = Random::new(100);
    let mut files = Files::new()
        .file("README", format!("version {n}"))
        .exec("bin/run", random.text(30_000))
        .file("data/noise", random.bytes(20_000))
        .file("data/empty", "")
        .link("latest", "data/noise")
        .dir("void");
    for m in 0..12 {
        files = files.file(&format!("src/{m}.rs"), Random::new(n % 2 * 50 + m).text(1_500));
    }
    files
}

/// A repository with two releases of one package and one of another, published in turn: identity,
/// entries, refs loose and packed, logs, indexes, beacons, summary, list of packs.
pub fn published() -> (TempRepository, Author) {
    let repository = TempRepository::new();
    let mut author = Author::new(20);
    for (n, (package, release)) in
        [("hello", "1.0.0"), ("hello", "1.1.0"), ("web/ui", "2.0.0-rc.1")].iter().enumerate()
    {
        let folder = tempdir().unwrap();
        version(n as u64).write(folder.path());
        let ingested = repository.ingest(folder.path());
        author.release(&repository, package, release, &ingested);
        author.announce(&repository);
        if n == 1 {
            repository.refs().pack().unwrap();
        }
    }
    (repository, author)
}

fn check(root: &Path) -> Result<Report, Error> {
    fsck::check(&Repository::open(root)?, Options { data: true })
}

fn assert_clean(root: &Path) {
    let report = check(root).unwrap();
    assert!(report.findings.is_empty(), "a false alarm: {:?}", report.findings);
}

/// A whole repository has no finding; checking changes nothing, and says what it looked at.
#[test]
fn a_whole_repository_has_no_finding() {
    let (repository, _) = published();
    let before = snapshot(repository.root());
    for data in [false, true] {
        let report = fsck::check(&repository.reopened(), Options { data }).unwrap();
        assert_eq!(report.findings.len(), 0, "{:?}", report.findings);
        assert_eq!((report.statements, report.refs), (7, 7));
        assert_eq!(report.packs, repository.store().packs().len() as u64);
        assert!(report.objects > 20 && (report.bytes > 50_000) == data);
    }
    assert_eq!(snapshot(repository.root()), before);
    assert_clean(TempRepository::new().root());
}

/// REL-020: a random damage of a random file, 150 times (1,000 with `PKG_LONG_TESTS=1`), is found
/// each time: by a finding, or by a repository that does not open. An index that was deleted may
/// come back instead, byte for byte. Without damage there is no finding.
#[test]
fn every_damage_is_found_and_nothing_else() {
    let (rounds, clean_every) = match std::env::var_os("PKG_LONG_TESTS").is_some() {
        true => (1_000, 1),
        false => (150, 10),
    };
    let seed = 20_260;
    println!("seed {seed}, {rounds} rounds");
    let mut random = Random::new(seed);
    let (repository, _) = published();
    let root = repository.root();
    let files: Vec<_> = snapshot_of_store(root).into_keys().filter(|path| !path.contains("/tmp/")).collect();
    assert!(files.len() > 25, "{files:?}");
    for round in 0..rounds {
        let name = random.pick(&files);
        let path = root.join(name);
        let content = std::fs::read(&path).unwrap();
        let damage = Damage::random(&mut random, &content);
        damage.apply(&path);
        let found = check(root).map_or(true, |report| !report.findings.is_empty());
        let healed = std::fs::read(&path).is_ok_and(|now| now == content);
        assert!(found || healed, "round {round}: {damage:?} of {name} is not found");
        let _ = std::fs::remove_file(&path);
        std::fs::write(&path, content).unwrap();
        if round % clean_every == 0 {
            assert_clean(root);
        }
    }
    assert_clean(root);
}

/// REL-020: each file of a repository, one after the other, deleted and cut to nothing.
#[test]
fn every_lost_file_is_found() {
    let (repository, _) = published();
    let root = repository.root();
    for name in snapshot_of_store(root).into_keys() {
        for damage in [Damage::Delete, Damage::Cut { len: 0 }] {
            let path = root.join(&name);
            let content = std::fs::read(&path).unwrap();
            damage.apply(&path);
            let found = check(root).map_or(true, |report| !report.findings.is_empty());
            let healed = std::fs::read(&path).is_ok_and(|now| now == content);
            assert!(found || healed, "{damage:?} of {name} is not found");
            let _ = std::fs::remove_file(&path);
            std::fs::write(&path, content).unwrap();
        }
    }
    assert_clean(root);
}

/// The findings after `change`.
fn findings_after(change: impl Fn(&TempRepository, &mut Author)) -> Vec<String> {
    let (repository, mut author) = published();
    change(&repository, &mut author);
    let report = check(repository.root()).unwrap();
    report.findings.into_iter().map(|finding| format!("{}: {}", finding.place, finding.problem)).collect()
}

/// SEC-044, SEC-048, SEC-055: parts of a summary that do not belong together.
#[test]
fn a_summary_of_parts_is_found() {
    let summary = |change: fn(&mut objects::summary::Summary, &Author)| {
        findings_after(|repository, author| {
            let mut summary = repository.summary().unwrap().unwrap();
            change(&mut summary, author);
            repository.write_summary(&summary).unwrap();
        })
    };
    let cases: [(&str, Vec<String>); 5] = [
        ("another name", summary(|summary, _| summary.repository.name = "maim".into())),
        ("another owner", summary(|summary, _| summary.repository.owner = Author::new(21).id())),
        ("no owner", summary(|summary, _| summary.owner.clear())),
        (
            "another owner's chain",
            summary(|summary, _| summary.owner = vec![Author::new(21).identity().clone()]),
        ),
        (
            "a beacon of an older index",
            summary(|summary, author| {
                let mut beacon = codec_beacon(summary.beacon.envelope().payload());
                beacon.index = author.identity().id();
                summary.beacon = author.sign(&beacon);
            }),
        ),
    ];
    for (what, findings) in cases {
        assert!(findings.iter().any(|finding| finding.starts_with("summary")), "{what}: {findings:?}");
    }
}

fn codec_beacon(payload: &[u8]) -> objects::claim::Beacon {
    objects::codec::decode("beacon", payload, 1 << 16).unwrap()
}

/// SEC-040, SEC-044: a statement whose signature does not hold, or by nobody who is here.
#[test]
fn statements_that_nobody_signed_are_found() {
    let forged = findings_after(|repository, author| {
        let stranger = Author::new(66);
        let id = repository.statements().list().unwrap();
        let entry = id.iter().find_map(|id| repository.statements().find::<Entry>(*id).ok()).unwrap();
        let mut document: Entry =
            objects::codec::decode("entry", entry.envelope().payload(), 1 << 16).unwrap();
        document.signer = author.id();
        document.seq = 7;
        document.prev = Some(entry.id());
        repository.statements().insert(stranger.sign(&document).envelope()).unwrap();
    });
    assert!(forged.iter().any(|finding| finding.contains("has keys that signed it")), "{forged:?}");
    let broken = findings_after(|repository, author| {
        let path = repository.root().join(objects::statements::key(author.identity().id()));
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        assert!(Envelope::decode(&bytes).is_ok(), "only the signature is bent");
        std::fs::write(&path, bytes).unwrap();
    });
    assert!(broken.iter().any(|finding| finding.contains("does not hold")), "{broken:?}");
}

/// SEC-022: damage in a pack is told by the ids of the objects that are lost.
#[test]
fn damaged_objects_are_named() {
    let (repository, _) = published();
    let pack = repository.store().packs()[0].clone();
    let ids: Vec<_> = pack.index().ids_in_pack_order();
    let range = pack.table().objects_of(0);
    Damage::Flip { at: 30, bit: 0 }.apply(pack.path());
    let report = check(repository.root()).unwrap();
    for id in &ids[range.start as usize..range.end as usize] {
        assert!(
            report.findings.iter().any(|finding| finding.problem.contains(&id.to_string())),
            "{id} is not named"
        );
    }
}

/// REL-021: damage is told by the releases that are hit, with their paths; the others are whole.
#[test]
fn damage_is_told_by_release_and_path() {
    let (repository, _) = published();
    let entry =
        objects::walk::entry_at(repository.store(), tree_of(&repository, "web/ui"), "README").unwrap();
    let chunk = entry.unwrap().id;
    let (pack, number) = repository.store().locate(&chunk).unwrap();
    let frame = pack.table().place(number).frame;
    let at = pack.table().stored_range(frame).start as usize;
    Damage::Flip { at: at + 12, bit: 3 }.apply(pack.path());
    for level in [Level::Frames, Level::Data] {
        let request = fsck::Request { level, jobs: 2, progress: &objects::progress::Silent };
        let found = fsck::inspect(&repository.reopened(), request).unwrap();
        let report = found.report;
        let hit: Vec<_> =
            report.lost_releases.iter().map(|lost| (lost.name.as_str(), lost.version.as_str())).collect();
        assert_eq!(hit, [("web/ui", "2.0.0-rc.1")], "{report:?}");
        assert!(report.lost_releases[0].paths.contains(&"README".to_owned()), "{report:?}");
        assert!(report.lost_objects.contains(&chunk));
        assert_eq!(report.whole_releases, ["hello 1.0.0", "hello 1.1.0"].map(str::to_owned).into());
        assert_eq!(report.releases, 3);
        assert!(found.damage.lost.contains_key(&chunk) && found.damage.packs.contains(&pack.id()));
    }
}

/// The tree of the newest release of a package.
fn tree_of(repository: &Repository, package: &str) -> objects::id::TreeId {
    let ids = repository.statements().list().unwrap();
    let entries = ids.iter().filter_map(|id| repository.statements().find::<Entry>(*id).ok());
    let entries = entries.map(|signed| {
        objects::codec::decode::<Entry>("entry", signed.envelope().payload(), 1 << 16).unwrap()
    });
    let newest = entries.filter(|entry| entry.name.as_str() == package).max_by_key(|entry| entry.seq);
    newest.unwrap().release().unwrap().tree
}

/// The cheap end reads no contents: it finds what is missing, and not what is merely damaged.
#[test]
fn connectivity_alone_finds_what_is_missing() {
    let (repository, _) = published();
    let found = |repository: &TempRepository| {
        let (level, read) = (Level::Connectivity, Read::default());
        let request = fsck::Request { level, jobs: 1, progress: &read };
        let report = fsck::inspect(&repository.reopened(), request).unwrap().report;
        assert_eq!(read.0.into_inner(), 0, "no content is read");
        report
    };
    assert!(found(&repository).is_whole());
    let entry =
        objects::walk::entry_at(repository.store(), tree_of(&repository, "web/ui"), "README").unwrap();
    let (pack, number) = repository.store().locate(&entry.unwrap().id).unwrap();
    let at = pack.table().stored_range(pack.table().place(number).frame).start as usize;
    let whole = std::fs::read(pack.path()).unwrap();
    Damage::Flip { at: at + 12, bit: 3 }.apply(pack.path());
    assert!(found(&repository).is_whole(), "that is for the levels above");
    std::fs::remove_file(pack.path()).unwrap();
    assert!(!found(&repository).lost_releases.is_empty());
    std::fs::write(pack.path(), whole).unwrap();
}

/// Counts what is read.
#[derive(Default)]
struct Read(std::sync::atomic::AtomicU64);

impl objects::progress::Progress for Read {
    fn advance(&self, bytes: u64) {
        self.0.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Progress tells of every byte of frames once, whatever the number of threads; the report does not
/// depend on it.
#[test]
fn threads_change_nothing() {
    let (repository, _) = published();
    let pack = repository.store().packs()[0].clone();
    Damage::Flip { at: 30, bit: 0 }.apply(pack.path());
    let repository = repository.reopened();
    let total = fsck::bytes_to_read(&repository, Level::Data);
    let look = |jobs| {
        let read = Read::default();
        let request = fsck::Request { level: Level::Data, jobs, progress: &read };
        let found = fsck::inspect(&repository, request).unwrap();
        assert_eq!(read.0.into_inner(), total);
        found
    };
    assert_eq!(look(1), look(8));
}

/// REL-020: a pack that is listed for readers and gone, with its index; a tag that only the index knows;
/// an entry in the middle of a log.
#[test]
fn what_only_others_remember_is_missed() {
    let (repository, _) = published();
    let root = repository.root().to_owned();
    let pack = repository.add(&["a pack that nothing needs"])[0];
    repository.write_pack_list(&[], None).unwrap();
    let pack = repository.store().locate(&pack).unwrap().0.id();
    for name in [objects::repository::pack_key(pack), objects::repository::pack_index_key(pack)] {
        std::fs::remove_file(root.join(name)).unwrap();
    }
    assert!(check(&root).unwrap().findings.iter().any(|f| f.place == "objects/info/packs"), "a listed pack");
    repository.write_pack_list(&[], None).unwrap();
    assert_clean(&root);
    let tag = repository.refs().list("refs/tags/").unwrap().pop().unwrap().0;
    for path in [root.join(tag.as_str()), root.join("logs").join(tag.as_str())] {
        std::fs::remove_file(path).unwrap();
    }
    let report = check(&root).unwrap();
    assert!(report.findings.iter().any(|finding| finding.place == tag.as_str()), "{report:?}");
}

/// A folder that was pushed to has public files alone, and is whole.
#[test]
fn a_copy_without_refs_is_whole() {
    let (repository, _) = published();
    let copy = tempdir().unwrap();
    for path in snapshot_of_store(repository.root()).into_keys() {
        if ["config", "summary", "objects/", "statements/"].iter().any(|part| path.starts_with(part)) {
            std::fs::create_dir_all(copy.path().join(&path).parent().unwrap()).unwrap();
            std::fs::copy(repository.root().join(&path), copy.path().join(&path)).unwrap();
        }
    }
    assert_clean(copy.path());
    let report = check(copy.path()).unwrap();
    assert_eq!(report.releases, 3, "the index tells which releases there are");
}

/// REL-021: a chunk that is nowhere is told by the release that needs it.
#[test]
fn what_a_lost_pack_takes_along_is_named_by_release() {
    let (repository, _) = published();
    let pack = repository.store().packs()[0].clone();
    std::fs::remove_file(pack.path()).unwrap();
    let report = check(repository.root()).unwrap();
    let named = |text: &str| report.findings.iter().any(|finding| finding.place.contains(text));
    assert!(
        named("hello 1.0.0") || named("hello 1.1.0") || named("web/ui") || named("summary"),
        "{report:?}"
    );
    assert!(named(".idx"), "its index is left alone");
}

/// C10: a copy of what mirrors carry, without logs and locks, is whole; a ref that it lacks is
/// missed all the same.
#[test]
fn a_mirror_is_whole_without_logs() {
    let (repository, _) = published();
    let mirror = tempdir().unwrap();
    let wanted = |path: &&String| !path.starts_with("logs") && !path.ends_with("lock");
    let files: BTreeMap<_, _> = snapshot_of_store(repository.root());
    for path in files.keys().filter(wanted) {
        std::fs::create_dir_all(mirror.path().join(path).parent().unwrap()).unwrap();
        std::fs::copy(repository.root().join(path), mirror.path().join(path)).unwrap();
    }
    assert_clean(mirror.path());
    std::fs::remove_file(mirror.path().join("packed-refs")).unwrap();
    assert!(!check(mirror.path()).unwrap().findings.is_empty());
}

/// REL-001: what a killed publisher leaves at each step is no damage: packs that nothing names,
/// statements that no ref names, refs that no summary names.
#[test]
fn unfinished_work_is_no_damage() {
    let (repository, mut author) = published();
    let summary = std::fs::read(repository.root().join("summary")).unwrap();
    let list = std::fs::read(repository.root().join("objects/info/packs")).unwrap();
    repository.add(&["a pack that nothing names"]);
    assert_clean(repository.root());
    let refs = |root: &Path| {
        snapshot_of_store(root).into_keys().filter(|path| path.starts_with("refs")).collect::<Vec<_>>()
    };
    let before = refs(repository.root());
    let folder = tempdir().unwrap();
    version(9).write(folder.path());
    let ingested = repository.ingest(folder.path());
    author.release(&repository, "fresh", "0.1.0", &ingested);
    assert_clean(repository.root());
    author.announce(&repository);
    std::fs::write(repository.root().join("summary"), summary).unwrap();
    assert_clean(repository.root());
    std::fs::write(repository.root().join("objects/info/packs"), list).unwrap();
    assert_clean(repository.root());
    for path in
        refs(repository.root()).iter().filter(|path| path.contains("/fresh/") && !before.contains(path))
    {
        std::fs::remove_file(repository.root().join(path)).unwrap();
        std::fs::remove_file(repository.root().join("logs").join(path)).unwrap();
    }
    assert_clean(repository.root());
}

/// REL-039: a configuration of another format is refused with words that help; a damaged one too.
#[test]
fn other_formats_are_refused() {
    let repository = TempRepository::new();
    let path = repository.root().join("config");
    let good = std::fs::read_to_string(&path).unwrap();
    let opened = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Repository::open(repository.root()).map(drop).unwrap_err()
    };
    let newer = opened(&good.replace("format = 1", "format = 2"));
    assert!(matches!(newer, Error::Newer { .. }) && newer.to_string().contains("newer"), "{newer}");
    for bad in [
        "",
        "x",
        &good[1..],
        &good.replace("65536", "65537"),
        &good.replace("format = 1", "format = 0"),
        &format!("{good}\n"),
        &"#".repeat(2 << 20),
    ] {
        let error = opened(bad);
        assert!(["E-FORMAT", "E-IO"].contains(&error.code()), "{error}");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(matches!(Repository::init(repository.root()).map(drop), Err(Error::Exists { .. })));
    assert!(matches!(Repository::open(&repository.root().join("refs")).map(drop), Err(Error::None { .. })));
    assert!(Repository::open_or_init(repository.root()).is_ok());
}
