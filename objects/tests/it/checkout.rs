//! From a tree to a folder: what comes out is what went in, and nothing outside is touched.

use objects::checkout::{self, Error, Options};
use objects::id::{ObjectId, TreeId};
use objects::limits::{FILE_CHUNKS_MAX, ROWS_MAX};
use objects::progress::Silent;
use objects::testing::literally::{self, PackedFrame, tree_of_one, tree_row};
use objects::testing::{Damage, Files, Random, Stamp, TempRepository, snapshot};
use objects::walk::Totals;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{TempDir, tempdir};

fn write_out(repository: &TempRepository, root: TreeId, to: &Path) -> Result<Totals, Error> {
    checkout::checkout(repository.store(), root, to, Options::default(), &Silent)
}

/// A folder with a victim, a target beside it, and a picture of all that is not the target.
struct Scene {
    folder: TempDir,
    before: BTreeMap<String, Stamp>,
}

impl Scene {
    fn new() -> Scene {
        Scene::within(tempdir().unwrap())
    }

    fn within(folder: TempDir) -> Scene {
        let victim =
            Files::new().file("victim/secret", "old").exec("victim/tool", "old").link("victim/l", "secret");
        victim.dir("victim/empty").dir("target").write(folder.path());
        let before = outside(folder.path());
        Scene { folder, before }
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    fn assert_untouched(&self, what: &str) {
        assert_eq!(outside(self.folder.path()), self.before, "{what}");
    }
}

/// Everything in `folder` but the target and the folder's own times.
fn outside(folder: &Path) -> BTreeMap<String, Stamp> {
    let mut seen = snapshot(folder);
    seen.retain(|path, _| !path.is_empty() && !path.starts_with("target"));
    seen
}

/// What of a folder a package keeps: kinds, exec bits, bytes and targets.
fn content(folder: &Path) -> BTreeMap<String, (u32, String)> {
    let seen = snapshot(folder).into_iter();
    let kept = seen.map(|(path, stamp)| (path, (stamp.mode & 0o170_100, stamp.content)));
    kept.filter(|(path, _)| !path.is_empty()).collect()
}

/// All that a package can hold: an exec bit, links, an empty folder, an empty file, a file of
/// 3 MiB, 5,000 files in one folder so that it is split, deep nesting.
fn everything() -> Files {
    let mut random = Random::new(1);
    let mut files = Files::new()
        .exec("bin/run", random.text(10_000))
        .file("bin/run.txt", random.text(10_000))
        .link("bin/alias", "run")
        .link("dangling", "not/here")
        .link("deep", "d/d/d")
        .dir("void/inner")
        .file("empty", "")
        .exec("empty-too", "")
        .file("large", random.bytes(3 << 20))
        .exec("large-text", random.text(3 << 20))
        .file(&format!("{}leaf", "d/".repeat(100)), "deep")
        .file("ünïcode/日本 語.txt", "name");
    for n in 0..5_000 {
        files = files.file(
            &format!("many/{n:04}.svg"),
            if n % 5 == 0 { random.text(90) } else { vec![n as u8; n % 40] },
        );
    }
    files
}

/// REL-040: a folder with all features comes out as it went in, and has the same tree when it is
/// taken in again; nothing beside it is touched.
#[test]
fn everything_comes_out_as_it_went_in() {
    let memory = Path::new("/dev/shm"); // thousands of files are slow to make on a disk
    let fast = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let source = TempDir::new_in(&fast).unwrap();
    everything().write(source.path());
    let repository = TempRepository::new();
    let ingested = repository.ingest(source.path());
    for jobs in [1, 8] {
        let scene = Scene::within(TempDir::new_in(&fast).unwrap());
        let options = Options { jobs, files_max: ingested.files, ..Options::default() };
        let totals =
            checkout::checkout(repository.store(), ingested.tree, &scene.target(), options, &Silent).unwrap();
        assert_eq!((totals.files, totals.bytes), (ingested.files, ingested.size));
        assert_eq!(content(&scene.target()), content(source.path()));
        assert_eq!(TempRepository::new().ingest(&scene.target()), ingested);
        scene.assert_untouched("a good checkout");
    }
}

/// SEC-012: installed modes are 0644 and 0755 less the umask, whatever the source had. The umask is
/// the process's, so each runs in a process of its own.
#[test]
fn modes_follow_the_umask() {
    if let Ok(folder) = std::env::var("PKG_TEST_FOLDER") {
        return check_modes(Path::new(&folder), &std::env::var("PKG_TEST_UMASK").unwrap());
    }
    let source = tempdir().unwrap();
    let modes = Files::new()
        .file_with_mode("setuid", "x", 0o4777)
        .file_with_mode("setgid", "x", 0o2755)
        .file_with_mode("sticky", "x", 0o1766)
        .file_with_mode("open", "x", 0o666)
        .file_with_mode("closed", "x", 0o600)
        .dir("folder");
    modes.write(source.path());
    std::fs::set_permissions(source.path().join("folder"), PermissionsExt::from_mode(0o7777)).unwrap();
    for umask in ["022", "077", "000", "027"] {
        let run = "umask $PKG_TEST_UMASK; exec \"$0\" --exact checkout::modes_follow_the_umask";
        let child = Command::new("sh")
            .args(["-c", run])
            .arg(std::env::current_exe().unwrap())
            .env("PKG_TEST_FOLDER", source.path())
            .env("PKG_TEST_UMASK", umask)
            .output()
            .unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    }
}

fn check_modes(source: &Path, umask: &str) {
    let less = |mode: u32| mode & !u32::from_str_radix(umask, 8).unwrap();
    let repository = TempRepository::new();
    let tree = repository.ingest(source).tree;
    let folder = tempdir().unwrap();
    let target = folder.path().join("target");
    write_out(&repository, tree, &target).unwrap();
    let expected = [
        ("setuid", 0o755),
        ("setgid", 0o755),
        ("sticky", 0o755),
        ("open", 0o644),
        ("closed", 0o644),
        ("folder", 0o755),
    ];
    for (name, mode) in expected {
        let found = std::fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(format!("{found:o}"), format!("{:o}", less(mode)), "{name} under umask {umask}");
    }
}

/// A target that holds something, or is no folder, is refused before anything is written.
#[test]
fn a_target_in_use_is_refused() {
    let repository = TempRepository::new();
    let source = tempdir().unwrap();
    Files::new().file("f", "new").write(source.path());
    let tree = repository.ingest(source.path()).tree;
    type Prepare = fn(&Path);
    let cases: [(&str, Prepare, &str); 7] = [
        ("a file in it", |target| std::fs::write(target.join("f"), "old").unwrap(), "E-CONFLICT"),
        ("a hidden file in it", |target| std::fs::write(target.join(".x"), "").unwrap(), "E-CONFLICT"),
        ("an empty folder in it", |target| std::fs::create_dir(target.join("x")).unwrap(), "E-CONFLICT"),
        ("a link in it", |target| symlink("../victim", target.join("f")).unwrap(), "E-CONFLICT"),
        (
            "a link in its place",
            |target| replace(target, |target| symlink("victim/empty", target).unwrap()),
            "E-IO",
        ),
        (
            "a dangling link in its place",
            |target| replace(target, |target| symlink("nowhere", target).unwrap()),
            "E-IO",
        ),
        (
            "a file in its place",
            |target| replace(target, |target| std::fs::write(target, "old").unwrap()),
            "E-IO",
        ),
    ];
    for (what, prepare, expected) in cases {
        let scene = Scene::new();
        prepare(&scene.target());
        let before = snapshot(scene.folder.path());
        let error = write_out(&repository, tree, &scene.target()).unwrap_err();
        assert_eq!(error.code(), expected, "{what}: {error}");
        assert_eq!(snapshot(scene.folder.path()), before, "{what}");
    }
    let scene = Scene::new();
    let error = write_out(&repository, tree, &scene.target().join("not/there")).unwrap_err();
    assert_eq!(error.code(), "E-NOTFOUND", "folders above the target are the caller's");
    write_out(&repository, tree, &scene.target().join("fresh")).unwrap();
}

fn replace(target: &Path, with: impl Fn(&Path)) {
    std::fs::remove_dir(target).unwrap();
    with(target);
}

/// SEC-001, SEC-002, SEC-004, SEC-005, SEC-011: forged trees end in an error, no link is made, and
/// nothing outside changes.
#[test]
fn forged_trees_touch_nothing() {
    let repository = TempRepository::new();
    let ids = repository.add(&["x", "../../victim", "/victim", "../victim", "victim", "a/../../.."]);
    let (file, up, absolute, beside) = (ids[0], ids[1], ids[2], ids[3]);
    let inner = repository.add(&[tree_of_one("secret", 0, 1, file)])[0];
    let link = |name: &str, target: ObjectId, len| tree_row(name, 4, len, target);
    let trees = [
        ("a name that climbs", tree_of_one("../victim/secret", 0, 1, file), "E-PATH"),
        ("the name ..", tree_of_one("..", 5, 1, inner), "E-PATH"),
        ("an absolute name", tree_of_one("/victim/x", 0, 1, file), "E-PATH"),
        ("a link that climbs", literally::tree(vec![link("l", up, 12)]), "E-PATH"),
        ("a link to a neighbour", literally::tree(vec![link("l", beside, 9)]), "E-PATH"),
        ("an absolute link", literally::tree(vec![link("l", absolute, 7)]), "E-PATH"),
        ("a link that climbs later", literally::tree(vec![link("l", ids[5], 10)]), "E-PATH"),
        (
            "a link and a folder",
            literally::tree(vec![link("d", beside, 9), tree_row("d", 5, 1, inner)]),
            "E-FORMAT",
        ),
        (
            "a folder and a link",
            literally::tree(vec![tree_row("d", 5, 1, inner), link("d", beside, 9)]),
            "E-FORMAT",
        ),
        ("a link of another length", literally::tree(vec![link("l", ids[4], 7)]), "E-FORMAT"),
        ("a device", tree_of_one("null", 6, 0, file), "E-FORMAT"),
        ("a missing chunk", tree_of_one("f", 0, 1, ObjectId::of(b"missing")), "E-NOTFOUND"),
    ];
    for (what, tree, expected) in trees {
        let root = TreeId::new(repository.add(&[tree])[0]);
        let scene = Scene::new();
        let error = write_out(&repository, root, &scene.target()).unwrap_err();
        assert_eq!(error.code(), expected, "{what}: {error}");
        scene.assert_untouched(what);
        assert_eq!(std::fs::read_dir(scene.target()).unwrap().count(), 0, "{what}: nothing is made");
    }
}

/// SEC-006: another process swaps a folder of the target for a link while files are written: the
/// victim never changes; the checkout ends in E-PATH or inside the target.
#[test]
fn a_folder_swapped_for_a_link_leads_nowhere() {
    let source = tempdir().unwrap();
    let files = (0..400).fold(Files::new(), |files, n| {
        files.file(&format!("d/{}/secret", n % 20), "").file(&format!("d/{}/f{n}", n % 20), n.to_string())
    });
    files.write(source.path());
    let repository = TempRepository::new();
    let tree = repository.ingest(source.path()).tree;
    for _ in 0..15 {
        let scene = Scene::new();
        let (d, aside) = (scene.target().join("d"), scene.folder.path().join("target-link"));
        symlink("../victim", &aside).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_out(&repository, tree, &scene.target()));
            while !writer.is_finished() {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                let _ = rustix::fs::renameat_with(rustix::fs::CWD, &d, rustix::fs::CWD, &aside, flags);
            }
            if let Err(error) = writer.join().unwrap() {
                assert!(["E-PATH", "E-NOTFOUND"].contains(&error.code()), "{error}");
            }
        });
        scene.assert_untouched("a swapped folder");
    }
}

/// SEC-005, SEC-006: a name that somebody else made in the meantime is never written through.
#[test]
fn what_somebody_else_made_is_not_written_through() {
    struct Plants(PathBuf);
    impl objects::progress::Progress for Plants {
        fn advance(&self, _: u64) {
            let _ = symlink("../victim/secret", self.0.join("z-last"));
            let _ = std::fs::write(self.0.join("z-link"), "mine");
        }
    }
    let source = tempdir().unwrap();
    let files =
        Files::new().file("a.bin", Random::new(1).bytes(5_000_000)).file("z-last", Random::new(2).bytes(100));
    files.link("z-link", "a.bin").write(source.path());
    let repository = TempRepository::new();
    let tree = repository.ingest(source.path()).tree;
    let scene = Scene::new();
    let options = Options { jobs: 1, ..Default::default() };
    let plants = Plants(scene.target());
    let error = checkout::checkout(repository.store(), tree, &scene.target(), options, &plants).unwrap_err();
    assert_eq!(error.code(), "E-PATH", "{error}");
    scene.assert_untouched("a link that was planted");
}

/// REL-016, REL-023, SEC-031: a damaged pack beside a good one of the same objects: the good bytes
/// are written; with the damaged one alone the error names the object or pack.
#[test]
fn a_good_copy_is_written_beside_a_damaged_one() {
    let source = tempdir().unwrap();
    let texts: Vec<_> = (0..6).map(|n| Random::new(n).text(9_000)).collect();
    let files = texts
        .iter()
        .enumerate()
        .fold(Files::new(), |files, (n, text)| files.file(&format!("f{n}.txt"), text));
    files.write(source.path());
    for seed in 0..12 {
        let repository = TempRepository::new();
        let ingested = repository.ingest(source.path());
        let pack = repository.store().packs()[0].path().to_owned();
        let frames = repository.store().packs()[0].table().frames_bytes() as usize;
        Damage::flip(&mut Random::new(seed), frames).apply(&pack);
        let scene = Scene::new();
        let damaged = checkout::checkout(
            &repository.reopened_store(),
            ingested.tree,
            &scene.target(),
            Options::default(),
            &Silent,
        );
        assert!(["E-FORMAT", "E-HASH"].contains(&damaged.unwrap_err().code()));

        let copy = TempRepository::new();
        copy.ingest(source.path());
        let good = &copy.store().packs()[0];
        let mut frames = Vec::new();
        let ids = good.index().ids_in_pack_order();
        for number in 0..good.table().frames().len() {
            let raw = copy.store().frame(good, number).unwrap();
            let range = good.table().objects_of(number);
            let objects: Vec<_> =
                range.map(|object| raw[good.table().place(object).range].to_vec()).collect();
            frames.extend(objects.chunks(2).map(PackedFrame::of));
        }
        assert_eq!(frames.iter().map(|frame| frame.ids.len()).sum::<usize>(), ids.len());
        let packed = literally::pack(&frames);
        repository.plant(packed.id, &packed.pack, Some(&packed.index));
        let target = scene.folder.path().join("target-2");
        checkout::checkout(&repository.reopened_store(), ingested.tree, &target, Options::default(), &Silent)
            .unwrap();
        assert_eq!(content(&target), content(source.path()));
    }
}

/// SEC-029: an index that sends an id to other bytes never brings those bytes to disk.
#[test]
fn bytes_of_another_id_are_not_written() {
    let repository = TempRepository::new();
    let mut forged = PackedFrame::of(&["evil"]);
    let wanted = ObjectId::of(b"good");
    forged.ids = vec![wanted];
    let packed = literally::pack(&[forged]);
    repository.plant(packed.id, &packed.pack, Some(&packed.index));
    let root = TreeId::new(repository.add(&[tree_of_one("f", 0, 4, wanted)])[0]);
    repository.store().refresh().unwrap();
    let scene = Scene::new();
    let error = write_out(&repository, root, &scene.target()).unwrap_err();
    assert_eq!(error.code(), "E-HASH", "{error}");
    assert!(!scene.target().join("f").exists());
}

/// SEC-017: many files that each name one long blob are bounded as a whole. Long: about a minute.
#[test]
fn a_plan_is_bounded() {
    if std::env::var_os("PKG_LONG_TESTS").is_none() {
        return eprintln!("left out: set PKG_LONG_TESTS=1");
    }
    let repository = TempRepository::new();
    let chunk = repository.add(&["x"])[0];
    let run = literally::blob(ROWS_MAX as u64, &vec![(chunk, 1); ROWS_MAX]);
    let runs = FILE_CHUNKS_MAX / ROWS_MAX as u64;
    let fan = literally::blob_fan(
        FILE_CHUNKS_MAX,
        &vec![(ObjectId::of(&run), ROWS_MAX as u64, ROWS_MAX as u64); runs as usize],
    );
    let fan = repository.add(&[run, fan])[1];
    let rows = (0..1_000).map(|n| tree_row(&format!("{n:04}"), 1, FILE_CHUNKS_MAX, fan));
    let root = TreeId::new(repository.add(&[literally::tree(rows.collect())])[0]);
    let scene = Scene::new();
    assert_eq!(write_out(&repository, root, &scene.target()).unwrap_err().code(), "E-LIMIT");
}

/// What was written is read back and hashed; the checkout is the same.
#[test]
fn a_verified_checkout_is_a_checkout() {
    let files = Files::new().file("a", "one").dir("empty").file("deep/er/b", Random::new(3).bytes(300_000));
    let folder = tempdir().unwrap();
    files.exec("run", "#!").link("l", "a").file("nothing", "").write(folder.path());
    let repository = TempRepository::new();
    let tree = repository.ingest(folder.path()).tree;
    let out = tempdir().unwrap();
    let options = Options { verify: true, ..Options::default() };
    checkout::checkout(repository.store(), tree, out.path(), options, &Silent).unwrap();
    assert_eq!(TempRepository::new().ingest(out.path()).tree, tree);
}
