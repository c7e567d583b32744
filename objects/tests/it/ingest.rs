//! From a folder to a tree: what is taken in, what is refused, and that nothing but the content
//! decides what comes out.

use objects::archive;
use objects::id::ObjectId;
use objects::ingest::{Error, Ingested, Options, ingest, ingest_cached};
use objects::links;
use objects::progress::Silent;
use objects::store::pack::writer;
use objects::testing::{Files, Random, TempRepository, snapshot, snapshot_of_store};
use objects::tree::Mode;
use objects::walk;
use rustix::fs::inotify;
use sha2::Digest;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;
use tempfile::{TempDir, tempdir};

/// What publish does with `folder` by default; the store has to stay as it was if it refuses.
fn publish(folder: &Path) -> Result<Ingested, Error> {
    let repository = TempRepository::new();
    let before = snapshot_of_store(repository.root());
    let mut transaction = repository.store().transaction(writer::Options::default()).unwrap();
    let ingested = ingest(&mut transaction, folder, Options::default(), &Silent);
    drop(transaction);
    assert_eq!(snapshot_of_store(repository.root()), before, "a dropped transaction leaves nothing");
    ingested
}

fn written(files: &Files) -> TempDir {
    let folder = tempdir().unwrap();
    files.write(folder.path());
    folder
}

fn code(files: Files) -> &'static str {
    publish(written(&files).path()).map_or_else(|error| error.code(), |_| "accepted")
}

/// Runs `work` on a thread of its own; panics if it hangs. The time is far beyond any honest run.
fn without_hanging<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(Duration::from_secs(60)).expect("it hangs or panics")
}

/// Links by path and target.
type Table = &'static [(&'static str, &'static str)];

/// Sets of links: whether a package may hold them all.
const LINKS: [(&str, Table, bool); 30] = [
    ("beside", &[("l", "a")], true),
    ("into a folder", &[("l", "d/f")], true),
    ("dangling", &[("l", "nowhere/at/all")], true),
    ("to its own folder", &[("l", ".")], true),
    ("up and back", &[("d/l", "../d/f")], true),
    ("up to the root", &[("d/e/l", "../..")], true),
    ("through another link", &[("l", "m/f"), ("m", "d")], true),
    ("odd but inside", &[("d/l", ".././/d/./f")], true),
    ("two dots in a name", &[("l", "..a/b..")], true),
    ("out by itself", &[("l", "..")], false),
    ("out to a neighbour", &[("l", "../victim")], false),
    ("out from a folder", &[("d/l", "../../victim")], false),
    ("out and in again", &[("l", "../package/a")], false),
    ("deep, then out", &[("l", "d/../../victim")], false),
    ("absolute", &[("l", "/victim")], false),
    ("absolute with a letter", &[("l", "C:\\victim")], false),
    ("absolute with a letter, Unix slashes", &[("l", "c:/victim")], false),
    ("a drive's own folder", &[("l", "c:victim")], false),
    ("a share", &[("l", "\\\\server\\share")], false),
    ("the root", &[("l", "/")], false),
    ("out through a link", &[("l", "m/../.."), ("m", "d/e")], true),
    ("out through a link, farther", &[("l", "m/../../.."), ("m", "d/e")], false),
    ("a link that shortens the way", &[("d/e/l", "../../m/../.."), ("m", "d")], false),
    ("out in two steps", &[("d/e/up", ".."), ("d/l", "e/up/../../victim")], false),
    ("out in three steps", &[("a", "b/.."), ("b", "c"), ("c", "d/../..")], false),
    ("a ring", &[("a", "b"), ("b", "a")], false),
    ("its own target", &[("a", "a")], false),
    ("a ring of three", &[("a", "b/x"), ("b", "c/y"), ("c", "a/z")], false),
    ("backslashes, which climb on Windows", &[("l", "..\\..\\victim")], false),
    ("backslashes behind a folder", &[("l", "d\\..\\..\\victim")], false),
];

/// SEC-004: links that lead out, by themselves or through others, are refused on both sides.
#[test]
fn links_that_lead_out_are_refused() {
    for (what, table, fits) in LINKS {
        let map: BTreeMap<String, String> =
            table.iter().map(|(path, target)| ((*path).into(), (*target).into())).collect();
        let checked = links::check(&map).map_or_else(|error| error.code(), |()| "accepted");
        assert_eq!(checked, if fits { "accepted" } else { "E-PATH" }, "{what}");
        let base = Files::new().file("d/f", "f").file("d/e/g", "g");
        let files = table.iter().fold(base, |files, (path, target)| files.link(path, target));
        assert_eq!(code(files), checked, "{what}");
    }
    for target in ["", "a\0b", &"a/".repeat(3_000)] {
        let map = [("l".to_owned(), target.to_owned())].into();
        assert_eq!(links::check(&map).unwrap_err().code(), "E-PATH", "{target:.20}");
    }
}

/// SEC-004: thousands of links through each other are judged in bounded time.
#[test]
fn long_chains_of_links_are_bounded() {
    let chain = |n: usize| (format!("l{n:04}"), format!("l{:04}/x", n + 1));
    let links: BTreeMap<_, _> = (0..2_000).map(chain).collect();
    assert_eq!(links::check(&links).unwrap_err().code(), "E-PATH", "the kernel gives up at 40, too");
    let short: BTreeMap<_, _> = (0..30).map(chain).collect();
    assert!(links::check(&short).is_ok());
    let doubling = |n: usize| (format!("l{n:02}"), format!("l{:02}/l{:02}", n + 1, n + 1));
    let bomb: BTreeMap<_, _> = (0..40).map(doubling).collect();
    without_hanging(move || _ = links::check(&bomb));
    let round = |n: usize| (format!("l{n:02}"), format!("l{:02}{}", n + 1, "/b".repeat(2_040)));
    let long_ways_round: BTreeMap<_, _> = (0..60).map(round).collect();
    without_hanging(move || assert_eq!(links::check(&long_ways_round).unwrap_err().code(), "E-PATH"));
}

/// SEC-007, SEC-009, SEC-018: names that some systems cannot hold are refused unless allowed, and
/// the release is then marked.
#[test]
fn unportable_names_are_refused_unless_allowed() {
    let names = [
        "CON",
        "nul.txt",
        "COM1",
        "aux.c",
        "ends.",
        "ends ",
        "a:b",
        "a?b",
        "a\\b",
        "line\nbreak",
        "\u{1b}[31m",
        "a\u{202e}b",
    ];
    for name in names {
        let folder = written(&Files::new().file(&format!("sub/{name}"), "x"));
        let refused = publish(folder.path()).unwrap_err();
        assert_eq!(refused.code(), "E-PATH", "{name:?}");
        assert!(!refused.to_string().contains(char::is_control), "it is shown escaped: {refused:?}");
        assert!(TempRepository::new().ingest(folder.path()).unportable);
    }
    for pair in [["Foo", "foo"], ["É", "é"], ["straSSe", "strasse"], ["s", "ſ"]] {
        let folder = written(&Files::new().file(pair[0], "x").dir(pair[1]));
        assert_eq!(publish(folder.path()).unwrap_err().code(), "E-PATH", "{pair:?}");
        assert!(TempRepository::new().ingest(folder.path()).unportable);
    }
    let apart = Files::new().file("a/Foo", "x").file("b/foo", "x");
    assert_eq!(code(apart), "accepted", "only names in one folder meet");
}

/// SEC-003, SEC-008, SEC-010: names that no tree may hold cannot be allowed.
#[test]
fn names_that_no_tree_may_hold_are_refused() {
    for (name, expected) in
        [("e\u{301}", "E-FORMAT"), (".GIT", "E-PATH"), ("git~1", "E-PATH"), (".pkgs ", "E-PATH")]
    {
        assert_eq!(code(Files::new().file(name, "x")), expected, "{name:?} as a file");
        assert_eq!(code(Files::new().dir(&format!("a/{name}"))), expected, "{name:?} as a folder");
        assert_eq!(code(Files::new().link(name, "x")), expected, "{name:?} as a link");
    }
    let folder = tempdir().unwrap();
    let raw = std::os::unix::ffi::OsStrExt::from_bytes(b"caf\xe9");
    std::fs::write(folder.path().join::<&std::ffi::OsStr>(raw), "x").unwrap();
    assert_eq!(publish(folder.path()).unwrap_err().code(), "E-FORMAT");
    let target: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff");
    let folder = tempdir().unwrap();
    std::os::unix::fs::symlink(target, folder.path().join("l")).unwrap();
    assert_eq!(publish(folder.path()).unwrap_err().code(), "E-FORMAT", "a target that is no text");
}

/// Makes a pipe, a socket or a device; false if this user may not.
fn special(path: &Path, kind: rustix::fs::FileType) -> bool {
    if kind == rustix::fs::FileType::Socket {
        return std::os::unix::net::UnixListener::bind(path).is_ok();
    }
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    let made = rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, rustix::fs::makedev(1, 5));
    made.inspect_err(|error| eprintln!("{kind:?} is left out: {error}")).is_ok()
}

/// SEC-011: devices, pipes and sockets are named and never opened: at the top, deep below, as the
/// whole package, and where rules are looked for.
#[test]
fn special_files_are_named_and_never_opened() {
    use rustix::fs::FileType;
    for kind in [FileType::Fifo, FileType::Socket, FileType::CharacterDevice, FileType::BlockDevice] {
        for place in ["odd", "a/b/odd", ".pkgignore", "a/.pkgignore"] {
            let folder = written(&Files::new().file("a/b/file", "x"));
            let path = folder.path().join(place);
            if !special(&path, kind) {
                continue;
            }
            let (from, odd) = (folder.path().to_owned(), path.clone());
            let error = without_hanging(move || publish(&from).unwrap_err());
            assert!(matches!(&error, Error::Special { path, .. } if *path == odd), "{place}: {error}");
            assert_eq!(error.code(), "E-FORMAT");
            let error = without_hanging(move || publish(&path).unwrap_err());
            assert!(matches!(error, Error::Special { .. }), "as the package itself: {error}");
        }
    }
    let folder = written(&Files::new().link(".pkgignore", "/dev/zero").file("a", "x"));
    let from = folder.path().to_owned();
    let error = without_hanging(move || publish(&from).unwrap_err());
    assert!(matches!(error, Error::Special { .. }), "rules without end: {error}");
}

/// SEC-012: of all mode bits only "may its owner run it" is kept.
#[test]
fn only_the_exec_bit_is_kept() {
    let modes = [0o4777, 0o2755, 0o1755, 0o6711, 0o700, 0o100, 0o666, 0o4644, 0o600, 0o400, 0o677, 0o011];
    let files = modes
        .iter()
        .fold(Files::new(), |files, mode| files.file_with_mode(&format!("{mode:05o}"), "x", *mode));
    let folder = written(&files);
    let repository = TempRepository::new();
    let tree = repository.ingest(folder.path()).tree;
    for entry in walk::entries(repository.store(), tree).unwrap() {
        let mode = u32::from_str_radix(entry.name.as_str(), 8).unwrap();
        let expected = if mode & 0o100 != 0 { Mode::Exec } else { Mode::File };
        assert_eq!(entry.mode, expected, "{mode:o}");
    }
}

/// `.pkgignore` leaves out what it names, in git's syntax; tool folders go by themselves.
#[test]
fn ignored_files_stay_out() {
    let files = Files::new()
        .file(".pkgignore", "*.log\n/build\n!keep.log\nsecret/\n# a comment\n")
        .file("a.log", "")
        .file("keep.log", "")
        .file("build/out", "")
        .file("src/build/kept", "")
        .file("src/secret/key", "")
        .file("src/.pkgignore", "*.tmp\n")
        .file("src/x.tmp", "")
        .file("y.tmp", "")
        .file(".git/config", "")
        .file("src/.pkgs/state", "")
        .file(".gitignore", "*\n")
        .file(".ignore", "*\n");
    let folder = written(&files);
    let repository = TempRepository::new();
    let tree = repository.ingest(folder.path()).tree;
    let mut kept = Vec::new();
    walk::visit::<objects::object::Error>(repository.store(), tree, 100, &mut |path, entry| {
        if entry.mode.is_file() {
            kept.push(path.to_owned());
        }
        Ok(())
    })
    .unwrap();
    let expected =
        [".gitignore", ".ignore", ".pkgignore", "keep.log", "src/.pkgignore", "src/build/kept", "y.tmp"];
    assert_eq!(kept, expected);
}

/// A rule that cannot be read must not be passed over: what it was to keep out may be a secret.
#[test]
fn malformed_rules_are_refused() {
    for rules in ["{secret", "a\n[z-a]\n"] {
        for place in [".pkgignore", "sub/.pkgignore"] {
            let folder = written(&Files::new().file(place, rules).file("secret", "x"));
            let error = publish(folder.path());
            assert!(matches!(error, Err(Error::Walk { .. })), "{rules:?} in {place}: {error:?}");
        }
    }
    let folder = written(&Files::new().file("secret", "x"));
    std::fs::write(folder.path().join(".pkgignore"), b"secret\n\xff\xfe\n").unwrap();
    assert!(publish(folder.path()).is_err(), "rules that are no text");
}

/// The root may be a folder, a link to one, or a single file; anything else is told.
#[test]
fn roots_of_every_kind() {
    let folder = written(
        &Files::new().file("package/f", "content").link("link", "package").link("filelink", "package/f"),
    );
    let at = |name: &str| publish(&folder.path().join(name));
    let direct = at("package").unwrap();
    assert_eq!(at("link").unwrap().tree, direct.tree);
    assert_eq!(at("package/f").unwrap().tree, direct.tree, "a file serves as a package of itself");
    assert!(at("filelink").is_err());
    assert_eq!(at("nowhere").unwrap_err().code(), "E-NOTFOUND");
    let empty = tempdir().unwrap();
    let ingested = publish(empty.path()).unwrap();
    assert_eq!((ingested.files, ingested.size), (0, 0));
}

/// All a package can hold, in sizes that make blobs, parts and frames of every kind.
fn everything() -> Files {
    let mut random = Random::new(40);
    let mut files = Files::new()
        .file("empty", "")
        .file("large.bin", random.bytes(3 << 20))
        .file("large.txt", random.text(5 << 20))
        .file("small.py", random.text(4096))
        .file("middle.py", random.text(4097))
        .exec("bin/run", random.text(100_000))
        .link("bin/alias", "run")
        .link("up", "bin/../small.py")
        .dir("void/inner")
        .file("name with spaces/ünïcode.txt", "é");
    for n in 0..700 {
        files = files.file(&format!("many/{:03}.{}", n, ["json", "svg", "rs"][n % 3]), random.text(n * 7));
    }
    files
}

/// The ids, the digest and the bytes of the packs that `files` come to.
fn outcome(repository: &TempRepository, folder: &Path, jobs: usize) -> (Ingested, BTreeMap<String, String>) {
    let mut transaction = repository.store().transaction(writer::Options { level: 3, jobs }).unwrap();
    let options = Options { jobs, allow_unportable: false };
    let ingested = ingest(&mut transaction, folder, options, &Silent).unwrap();
    transaction.commit().unwrap().expect("it is new");
    (ingested, snapshot_of_store(&repository.store().packs_folder()))
}

/// REL-040: same ids and same pack bytes with 1 and 8 threads, with files created in another order,
/// on tmpfs and on disk, with other owners' modes and other times.
#[test]
fn the_outcome_depends_on_the_content_alone() {
    let files = everything();
    let disk = tempdir().unwrap();
    files.write(disk.path());
    let expected = outcome(&TempRepository::new(), disk.path(), 1);
    assert_eq!(outcome(&TempRepository::new(), disk.path(), 8), expected, "with 8 threads");

    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let other = TempDir::new_in(&memory).unwrap();
    files.write_backwards(other.path());
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    std::fs::File::options()
        .append(true)
        .open(other.path().join("small.py"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    std::fs::set_permissions(other.path().join("empty"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .unwrap();
    assert_eq!(
        outcome(&TempRepository::within(&memory), other.path(), 3),
        expected,
        "on {}",
        memory.display()
    );
}

/// G-20: the digest recorded while reading is the one of the archive written from the store, and
/// `tar` reads that archive back.
#[test]
fn the_digest_is_that_of_the_archive() {
    let folder = written(&everything().file(&format!("{}/x", "long-name/".repeat(12)), "x"));
    let repository = TempRepository::new();
    let ingested = repository.ingest(folder.path());
    let mut bytes = Vec::new();
    let len = archive::write_tree(repository.store(), ingested.tree, &mut bytes).unwrap();
    assert_eq!((len, bytes.len() as u64), (ingested.archive_size, ingested.archive_size));
    assert_eq!(<[u8; 32]>::from(sha2::Sha256::digest(&bytes)), ingested.sha256.0);
    let out = tempdir().unwrap();
    tar::Archive::new(bytes.as_slice()).unpack(out.path()).unwrap();
    assert_eq!(publish(out.path()).unwrap(), ingested);
}

/// REL-023: what was taken in is in the store, every byte; taken in again, nothing is new.
#[test]
fn content_comes_back() {
    let folder = written(&everything());
    let repository = TempRepository::new();
    let ingested = repository.ingest(folder.path());
    let mut files = 0;
    walk::visit::<objects::object::Error>(repository.store(), ingested.tree, 10_000, &mut |path, entry| {
        files += 1;
        let path = folder.path().join(path);
        if entry.mode.is_file() {
            let content = walk::read_file(repository.store(), entry, 10 << 20)?;
            assert_eq!(ObjectId::of(&content), ObjectId::of(&std::fs::read(path).unwrap()));
        } else if entry.mode == Mode::Link {
            assert_eq!(
                walk::link_target(repository.store(), entry)?,
                path.read_link().unwrap().to_str().unwrap()
            );
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(files, ingested.files);
    let before = snapshot(repository.root());
    assert_eq!(repository.ingest(folder.path()), ingested);
    let packs = |seen: &BTreeMap<String, _>| seen.keys().filter(|path| path.ends_with(".pack")).count();
    assert_eq!(packs(&snapshot(repository.root())), packs(&before));
}

/// A file that shrinks or grows while it is read is told, not stored half.
#[test]
fn a_file_that_changes_is_told() {
    struct Grows<'f>(&'f Path, std::sync::atomic::AtomicBool);
    impl objects::progress::Progress for Grows<'_> {
        fn advance(&self, _: u64) {
            if !self.1.swap(true, std::sync::atomic::Ordering::Relaxed) {
                std::fs::File::options().write(true).open(self.0).unwrap().set_len(3 << 20).unwrap();
            }
        }
    }
    let folder = written(&Files::new().file("large", Random::new(1).bytes(64 << 20)));
    let large = folder.path().join("large");
    let repository = TempRepository::new();
    let mut transaction = repository.store().transaction(writer::Options::default()).unwrap();
    let progress = Grows(&large, false.into());
    let error = ingest(&mut transaction, folder.path(), Options::default(), &progress).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
}

/// Takes `folder` in with a stat cache; gives the outcome, and which files were opened meanwhile.
fn cached(repository: &TempRepository, folder: &Path, cache: &Path) -> (Ingested, usize) {
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for folder in [folder.to_owned(), folder.join("src")] {
        inotify::add_watch(&watch, folder, inotify::WatchFlags::OPEN).unwrap();
    }
    let mut transaction = repository.store().transaction(writer::Options::default()).unwrap();
    let ingested = ingest_cached(&mut transaction, folder, cache, Options::default(), &Silent).unwrap();
    transaction.commit().unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4_096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut opened = 0;
    while let Ok(event) = events.next() {
        opened += usize::from(!event.events().contains(inotify::ReadFlags::ISDIR));
    }
    (ingested, opened)
}

/// Waits until the disk's clock has moved on, so that a later write shows in a file's times.
fn let_the_clock_tick(beside: &Path) {
    let probe = beside.join("probe");
    let begun = std::time::Instant::now();
    let first = write_probe(&probe);
    while write_probe(&probe) < first + Duration::from_millis(50) {
        assert!(begun.elapsed() < Duration::from_secs(60), "the disk's clock stands still");
    }
}

fn write_probe(path: &Path) -> std::time::SystemTime {
    std::fs::write(path, "").unwrap();
    std::fs::metadata(path).unwrap().modified().unwrap()
}

/// A folder, a repository and a cache that knows the folder.
fn known() -> (TempDir, TempRepository, Ingested) {
    let scene = tempdir().unwrap();
    let folder = scene.path().join("folder");
    let files = Files::new().file("a.txt", "one").file("src/b.rs", "fn b() {}").exec("src/run", "#!");
    files.link("src/l", "b.rs").file("src/c.rs", Random::new(2).bytes(100_000)).write(&folder);
    let_the_clock_tick(scene.path());
    let repository = TempRepository::new();
    let (first, opened) = cached(&repository, &folder, &scene.path().join("cache"));
    assert_eq!(opened, 4);
    (scene, repository, first)
}

/// DESIGN 4: unchanged files are not opened; what they come to is the same.
#[test]
fn an_unchanged_folder_is_not_read_again() {
    let (scene, repository, first) = known();
    let (again, opened) = cached(&repository, &scene.path().join("folder"), &scene.path().join("cache"));
    assert_eq!((again, opened), (first, 0));
}

/// Whatever changes is seen: content of the same size, the exec bit, names, links, rules, and a store
/// that has lost the tree.
#[test]
fn every_change_is_seen_through_the_cache() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 8] = [
        ("content", |folder| std::fs::write(folder.join("a.txt"), "two").unwrap()),
        ("exec bit", |folder| {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.join("src/b.rs"), mode).unwrap();
        }),
        ("new file", |folder| std::fs::write(folder.join("src/z"), "").unwrap()),
        ("lost file", |folder| std::fs::remove_file(folder.join("a.txt")).unwrap()),
        ("renamed", |folder| std::fs::rename(folder.join("a.txt"), folder.join("b.txt")).unwrap()),
        ("link", |folder| {
            std::fs::remove_file(folder.join("src/l")).unwrap();
            std::os::unix::fs::symlink("c.rs", folder.join("src/l")).unwrap();
        }),
        ("file for a folder", |folder| {
            std::fs::remove_dir_all(folder.join("src")).unwrap();
            std::fs::create_dir(folder.join("src")).unwrap();
        }),
        ("rules", |folder| std::fs::write(folder.join(".pkgignore"), "a.txt\n").unwrap()),
    ];
    for (what, change) in changes {
        let (scene, repository, first) = known();
        let folder = scene.path().join("folder");
        change(&folder);
        let (changed, _) = cached(&repository, &folder, &scene.path().join("cache"));
        assert_ne!(changed.tree, first.tree, "{what}");
        assert_eq!(changed, TempRepository::new().ingest(&folder), "{what}");
    }
}

/// REL-022: a cache that is lost, damaged, or of a tree that is no longer here costs a reading.
#[test]
fn a_cache_is_never_needed() {
    let (scene, repository, first) = known();
    let (folder, cache) = (scene.path().join("folder"), scene.path().join("cache"));
    let bytes = std::fs::read(&cache).unwrap();
    let mut random = Random::new(8);
    for _ in 0..60 {
        let damage = objects::testing::Damage::random(&mut random, &bytes);
        std::fs::write(&cache, damage.of(&bytes).unwrap_or_default()).unwrap();
        assert_eq!(cached(&repository, &folder, &cache).0, first, "{damage:?}");
    }
    let elsewhere = TempRepository::new();
    let (again, opened) = cached(&elsewhere, &folder, &cache);
    assert_eq!((again, opened), (first, 4));
    assert_eq!(elsewhere.store().packs().len(), 1);
}
