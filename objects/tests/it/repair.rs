//! Mending a repository from what is left of it: nothing whole is lost, nothing is deleted.

use crate::fsck::published;
use objects::disk;
use objects::fsck::{self, Inspection, Level, Report};
use objects::id::{ObjectId, PackId};
use objects::object::{Exists, Find};
use objects::progress::Silent;
use objects::repair::{self, Options, Stage, Step};
use objects::repository::{Repository, pack_index_key, pack_key};
use objects::store::pack::table::{Base, BaseOf};
use objects::testing::literally::{self, PackedFrame};
use objects::testing::{Author, Damage, Random, TempRepository, snapshot, snapshot_of_store};
use objects::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn inspect(repository: &Repository, level: Level) -> Inspection {
    fsck::inspect(repository, fsck::Request { level, jobs: 2, progress: &Silent }).unwrap()
}

/// A repair without anybody to ask: what was done, and what is still wrong.
fn mend(root: &Path) -> (Vec<Step>, Report) {
    repair::restore_config(root).unwrap();
    let repository = Repository::open(root).unwrap();
    let mut steps = Vec::new();
    let mut found = inspect(&repository, Level::Data);
    for stage in [Stage::First, Stage::Last] {
        let plan = repair::plan(&repository, &found, stage, 2).unwrap();
        steps.extend(plan.steps());
        let now = Timestamp::new(Author::NOW).unwrap();
        let options = Options { pack: Default::default(), now, progress: &Silent };
        repair::carry_out(&repository, &plan, &options).unwrap();
        found = inspect(&repository, Level::Connectivity);
    }
    (steps, inspect(&Repository::open(root).unwrap(), Level::Data).report)
}

/// Every object of a repository, read through its store.
fn objects_of(repository: &Repository) -> BTreeMap<ObjectId, Vec<u8>> {
    let packs = repository.store().packs();
    let ids = packs.iter().flat_map(|pack| pack.index().ids_in_pack_order());
    ids.filter_map(|id| Some((id, repository.store().try_find(&id).ok()??.to_vec()))).collect()
}

fn quarantined(root: &Path) -> Vec<String> {
    let folder = root.join(repair::quarantine::FOLDER);
    if folder.exists() { snapshot_of_store(&folder).into_keys().collect() } else { Vec::new() }
}

/// The files of a repository that damage may hit.
fn files_of(root: &Path) -> Vec<String> {
    let files = snapshot_of_store(root).into_keys();
    files.filter(|path| !path.contains("/tmp/") && !path.contains("quarantine")).collect()
}

/// The first pack that holds several frames of contents.
fn pack_of_frames(repository: &Repository) -> std::sync::Arc<objects::store::pack::Pack> {
    let packs = repository.store().packs();
    packs.into_iter().max_by_key(|pack| pack.table().frames().len()).unwrap()
}

/// A plan is shown before anything is done: making it changes nothing.
#[test]
fn a_plan_changes_nothing() {
    let (repository, _) = published();
    Damage::Flip { at: 40, bit: 2 }.apply(pack_of_frames(&repository).path());
    std::fs::remove_file(repository.root().join("objects/info/packs")).unwrap();
    let repository = repository.reopened();
    let before = snapshot(repository.root());
    let found = inspect(&repository, Level::Data);
    let plan = repair::plan(&repository, &found, Stage::First, 2).unwrap();
    assert!(plan.steps().len() >= 2, "{:?}", plan.steps());
    assert_eq!(snapshot(repository.root()), before);
}

/// A whole repository has nothing to be mended.
#[test]
fn a_whole_repository_has_no_plan() {
    let (repository, _) = published();
    let before = snapshot_of_store(repository.root());
    let (steps, report) = mend(repository.root());
    assert!(steps.is_empty() && report.is_whole(), "{steps:?} {report:?}");
    assert_eq!(snapshot_of_store(repository.root()), before);
}

/// REL-016, REL-021: what is whole of a damaged pack is served from a new one; the damaged one is set
/// aside as it was; exactly what was in the damaged frame is lost.
#[test]
fn what_is_whole_of_a_damaged_pack_is_still_served() {
    let (repository, _) = published();
    let root = repository.root();
    let pack = pack_of_frames(&repository);
    let mut whole = objects_of(&repository);
    let ids = pack.index().ids_in_pack_order();
    let lost = pack.table().objects_of(1);
    let lost: BTreeSet<ObjectId> = ids[lost.start as usize..lost.end as usize].iter().copied().collect();
    let at = pack.table().stored_range(1).start as usize;
    Damage::Flip { at: at + 20, bit: 5 }.apply(pack.path());
    let damaged = std::fs::read(pack.path()).unwrap();
    let (steps, report) = mend(root);
    assert!(steps.iter().any(|step| step.to_string().starts_with("rewrite")), "{steps:?}");
    let repository = Repository::open(root).unwrap();
    whole.retain(|id, _| !lost.contains(id));
    assert_eq!(objects_of(&repository), whole, "all but the damaged frame is served");
    assert!(lost.iter().all(|id| !repository.store().contains(id)), "and nothing pretends to be");
    let aside = root.join(repair::quarantine::FOLDER).join(format!("{}.pack", pack.id().to_hex()));
    assert_eq!(std::fs::read(aside).unwrap(), damaged);
    assert!(report.findings.iter().all(|finding| !finding.place.starts_with("objects/")), "{report:?}");
    assert!(report.lost_objects.iter().all(|id| lost.contains(id)) && !report.lost_objects.is_empty());
    let listed = repository.pack_list().unwrap();
    assert_eq!(listed.len(), repository.store().packs().len());
    assert!(listed.iter().all(|listed| listed.id != pack.id()));
}

/// Tails and indexes are made again, byte for byte: nothing is lost while one of the two is whole.
#[test]
fn tails_and_indexes_come_back_as_they_were() {
    let (repository, _) = published();
    let root = repository.root();
    let pack = pack_of_frames(&repository);
    let frames = pack.table().frames_bytes() as usize;
    let before = snapshot_of_store(root);
    let (pack_path, index_path) = (root.join(pack_key(pack.id())), root.join(pack_index_key(pack.id())));
    let (whole_pack, whole_index) = (std::fs::read(&pack_path).unwrap(), std::fs::read(&index_path).unwrap());
    let mut cases: Vec<(&PathBuf, Damage)> = vec![
        (&pack_path, Damage::Cut { len: frames }),
        (&pack_path, Damage::Cut { len: frames + 30 }),
        (&pack_path, Damage::Cut { len: whole_pack.len() - 1 }),
        (&pack_path, Damage::Zero { at: frames, len: whole_pack.len() - frames }),
        (&index_path, Damage::Delete),
        (&index_path, Damage::Cut { len: 0 }),
        (&index_path, Damage::Cut { len: 1_000 }),
    ];
    let mut random = Random::new(77);
    for _ in 0..20 {
        cases.push((&index_path, Damage::flip(&mut random, whole_index.len())));
        let at = frames + random.below((whole_pack.len() - frames) as u64) as usize;
        cases.push((&pack_path, Damage::Flip { at, bit: random.below(8) as u8 }));
    }
    for (path, damage) in cases {
        damage.apply(path);
        let (steps, report) = mend(root);
        assert!(report.is_whole(), "{damage:?}: {steps:?} {report:?}");
        let mut after = snapshot_of_store(root);
        after.retain(|path, _| !path.contains("quarantine"));
        assert_eq!(after, before, "{damage:?}");
        let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert!(steps.is_empty() || mode == 0o444, "{damage:?} left mode {mode:o}");
        let _ = std::fs::remove_dir_all(root.join(repair::quarantine::FOLDER));
    }
}

/// Refs, logs, `packed-refs`, the list of packs and the configuration come back, whatever happens to
/// one of them: each is told by the others.
#[test]
fn refs_logs_and_lists_come_back() {
    let (repository, _) = published();
    let root = repository.root();
    let refs = repository.refs().list("").unwrap();
    let mut random = Random::new(5);
    let parts = ["refs/", "packed-refs", "logs/", "objects/info/packs", "config"];
    let files: Vec<String> =
        files_of(root).into_iter().filter(|path| parts.iter().any(|part| path.starts_with(part))).collect();
    assert!(files.len() > 8, "{files:?}");
    for name in files {
        let path = root.join(&name);
        let content = std::fs::read(&path).unwrap();
        let mut damages = vec![Damage::Delete, Damage::Cut { len: 0 }];
        damages.extend((0..6).map(|_| Damage::random(&mut random, &content)));
        for damage in damages {
            damage.apply(&path);
            let (steps, report) = mend(root);
            assert!(report.is_whole(), "{damage:?} of {name}: {steps:?} {report:?}");
            assert_eq!(
                Repository::open(root).unwrap().refs().list("").unwrap(),
                refs,
                "{damage:?} of {name}"
            );
            disk::remove(&path).unwrap();
            std::fs::write(&path, &content).unwrap();
        }
    }
}

/// The same in a copy without logs: the index and the newest entries tell where refs belong.
#[test]
fn refs_come_back_without_logs() {
    let (repository, _) = published();
    let root = repository.root();
    let refs = repository.refs().list("").unwrap();
    std::fs::remove_dir_all(root.join("logs")).unwrap();
    let mut random = Random::new(6);
    for name in files_of(root).into_iter().filter(|path| path.starts_with("refs/") || path == "packed-refs") {
        let path = root.join(&name);
        let content = std::fs::read(&path).unwrap();
        for damage in [Damage::Delete, Damage::flip(&mut random, content.len()), Damage::Cut { len: 20 }] {
            damage.apply(&path);
            mend(root);
            let _ = std::fs::remove_dir_all(root.join("logs")); // the repair's own
            let now = Repository::open(root).unwrap().refs().list("").unwrap();
            let gone: Vec<_> = refs.iter().filter(|found| !now.contains(found)).collect();
            let identities =
                |name: &str| name.starts_with("refs/identities/") || name.starts_with("refs/index/");
            assert!(gone.iter().all(|(name, _)| identities(name.as_str())), "{damage:?} of {name}: {gone:?}");
            disk::remove(&path).unwrap();
            std::fs::write(&path, &content).unwrap();
        }
    }
}

/// REL-021: whatever happens to one file, a repair without help loses nothing that was whole: each
/// release is either named as lost or all of it is there; nothing else is wrong but what is named.
#[test]
fn without_help_exactly_what_is_lost_is_named() {
    let rounds = if std::env::var_os("PKG_LONG_TESTS").is_some() { 500 } else { 60 };
    let (original, _) = published();
    let files = files_of(original.root());
    let whole = objects_of(&original);
    let mut random = Random::new(20_261);
    for round in 0..rounds {
        let copy = tempfile::tempdir().unwrap();
        let root = copy.path().join("repository");
        copy_folder(original.root(), &root);
        let name = random.pick(&files);
        let content = std::fs::read(root.join(name)).unwrap();
        let damage = Damage::random(&mut random, &content);
        damage.apply(&root.join(name));
        let case = format!("round {round}: {damage:?} of {name}");
        let (_, report) = mend(&root);
        let repository = Repository::open(&root).unwrap();
        let left = objects_of(&repository);
        assert!(left.iter().all(|(id, bytes)| whole.get(id) == Some(bytes)), "{case}");
        let lost = whole.keys().filter(|id| !left.contains_key(id));
        if !name.ends_with(".pack") {
            assert_eq!(lost.count(), 0, "{case}: only a pack that is damaged loses objects");
        }
        assert!(
            report.findings.iter().all(|finding| !finding.place.starts_with("objects/")),
            "{case}: {report:?}"
        );
        let names: BTreeSet<String> =
            report.lost_releases.iter().map(|lost| format!("{} {}", lost.name, lost.version)).collect();
        assert!(names.is_disjoint(&report.whole_releases), "{case}");
        for lost in &report.lost_releases {
            assert!(name.ends_with(".pack") || name.starts_with("statements/"), "{case}: {lost:?}");
        }
        let (_, again) = mend(&root);
        assert_eq!(again.findings, report.findings, "{case}: a second repair has nothing to do");
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (entry, path) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        match entry.is_dir() {
            true => copy_folder(&entry, &path),
            false => assert!(std::fs::copy(&entry, &path).is_ok()),
        }
    }
}

/// A repository over one planted pack.
fn planted(frames: &[PackedFrame]) -> (TempRepository, PackId) {
    let repository = TempRepository::new();
    let packed = literally::pack(frames);
    repository.plant(packed.id, &packed.pack, Some(&packed.index));
    (repository, packed.id)
}

/// What is compressed against an object that is lost is lost with it, and a check of stored frames says
/// so; what is compressed against one that is whole moves, and stands alone from then on.
#[test]
fn what_builds_on_a_lost_object_is_lost_with_it() {
    let object = |n: u64| Random::new(n).text(20_000);
    let whole = |n: u64| Base { of: BaseOf::Object, id: ObjectId::of(&object(n)), start: 0, len: 20_000 };
    let changed = |n: u64| [object(n), b"changed".to_vec()].concat();
    let frames = [
        PackedFrame::of(&[object(1)]),
        PackedFrame::of(&[object(2)]),
        PackedFrame::delta(&changed(1), vec![whole(1)], &object(1)),
        PackedFrame::delta(&changed(2), vec![whole(2)], &object(2)),
    ];
    let (repository, pack) = planted(&frames);
    assert!(inspect(&repository.reopened(), Level::Data).report.is_whole());
    Damage::Flip { at: 30, bit: 1 }.apply(&repository.root().join(pack_key(pack)));
    for level in [Level::Frames, Level::Data] {
        let report = inspect(&repository.reopened(), level).report;
        for lost in [object(1), changed(1)] {
            let id = ObjectId::of(&lost).to_string();
            let named =
                report.findings.iter().any(|finding| finding.problem.contains(&format!("{id} is lost")));
            assert!(named, "{level:?}: {report:?}");
        }
        for kept in [object(2), changed(2)] {
            let id = ObjectId::of(&kept).to_string();
            assert!(
                report
                    .findings
                    .iter()
                    .all(|finding| !finding.problem.contains(&format!("object {id} is lost")))
            );
        }
    }
    let (_, report) = mend(repository.root());
    assert!(report.is_whole(), "nothing names what is lost: {report:?}");
    let store = repository.reopened_store();
    for (n, is_there) in [(1, false), (2, true)] {
        for object in [object(n), changed(n)] {
            let found = store.try_find(&ObjectId::of(&object)).unwrap().map(|bytes| bytes.to_vec());
            assert_eq!(found, is_there.then_some(object));
        }
    }
    assert!(store.packs().iter().all(|pack| pack.table().frames().iter().all(|frame| frame.base.is_empty())));
}

/// Of a pack that lost its index, what is compressed against others in it is found again.
#[test]
fn delta_frames_are_read_without_an_index() {
    let object = |n: u64| Random::new(n).text(20_000);
    let whole = Base { of: BaseOf::Object, id: ObjectId::of(&object(1)), start: 0, len: 20_000 };
    let changed = [object(1), b"changed".to_vec()].concat();
    let frames = [
        PackedFrame::delta(&changed, vec![whole], &object(1)),
        PackedFrame::of(&[object(1)]),
        PackedFrame::of(&[object(3)]),
    ];
    let (repository, pack) = planted(&frames);
    let index = repository.root().join(pack_index_key(pack));
    let before = std::fs::read(&index).unwrap();
    Damage::Cut { len: 500 }.apply(&index);
    let (_, report) = mend(repository.root());
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(std::fs::read(&index).unwrap(), before);
}

/// A pack of which nothing can be read is set aside, with its index; two of one name do not overwrite
/// each other there.
#[test]
fn what_cannot_be_read_is_set_aside() {
    let (repository, _) = published();
    let root = repository.root();
    let name = format!("{}.pack", ObjectId::of(b"no pack").to_hex());
    for content in [&b"this is no pack"[..], &Random::new(1).bytes(9_000)] {
        std::fs::write(root.join("objects/pack").join(&name), content).unwrap();
        let (steps, report) = mend(root);
        assert!(report.is_whole(), "{steps:?} {report:?}");
    }
    std::fs::write(root.join("statements").join("zz"), "").unwrap_or_default();
    let aside = quarantined(root);
    assert_eq!(aside.iter().filter(|aside| aside.starts_with(&name)).count(), 2, "{aside:?}");
}

/// REL-039: a configuration of a newer format is left alone; a damaged one is written again.
#[test]
fn a_newer_configuration_is_left_alone() {
    let repository = TempRepository::new();
    let path = repository.root().join("config");
    let good = std::fs::read_to_string(&path).unwrap();
    for damaged in [good.replace("format = 1", "format = 5"), good[..40].to_owned(), String::new()] {
        std::fs::write(&path, damaged).unwrap();
        assert!(repair::restore_config(repository.root()).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), good);
    }
    let newer = "[repository]\nformat = 2\nnew = true\n";
    std::fs::write(&path, newer).unwrap();
    let error = repair::restore_config(repository.root()).unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
    let nowhere = tempfile::tempdir().unwrap();
    assert_eq!(repair::restore_config(nowhere.path()).unwrap_err().code(), "E-NOTFOUND");
}

/// REL-023: a summary is taken only if it is whole, and the one that is lost.
#[test]
fn only_the_summary_that_is_lost_is_taken() {
    let (repository, mut author) = published();
    let path = repository.root().join("summary");
    let lost = repository.summary().unwrap().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let elsewhere = TempRepository::new();
    let mut stranger = Author::new(99);
    let foreign = stranger.announce(&elsewhere);
    assert!(!repair::restore_summary(&repository, &foreign).unwrap(), "another repository's");
    let mut bent = lost.clone();
    bent.repository.name = "other".into();
    assert!(!repair::restore_summary(&repository, &bent).unwrap(), "one of parts");
    let grown = tempfile::tempdir().unwrap();
    copy_folder(repository.root(), grown.path());
    let newer = author.announce(&Repository::open(grown.path()).unwrap());
    assert!(!repair::restore_summary(&repository, &newer).unwrap(), "a newer one, whose index is not here");
    assert!(!path.exists());
    assert!(repair::restore_summary(&repository, &lost).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}
