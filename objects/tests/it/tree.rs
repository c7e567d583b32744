//! Names and trees: what may stand in one, and what hostile ones come to.

use objects::archive;
use objects::checkout;
use objects::fsck;
use objects::id::{ObjectId, TreeId};
use objects::limits::{PATH_DEPTH_MAX, ROWS_MAX};
use objects::name::{EntryName, case_folded, unportable};
use objects::object::{Find, Kind};
use objects::progress::Silent;
use objects::testing::literally::{self, Cbor, tree_of_one, tree_row};
use objects::testing::{Author, Files, Random, TempRepository};
use objects::tree::{self, Entry, Mode, Tree};
use objects::walk;
use std::collections::HashSet;

/// The numbers of modes in a tree.
const FILE: u64 = 0;
const FILE_BLOB: u64 = 1;
const LINK: u64 = 4;
const DIR: u64 = 5;

fn id(n: u64) -> ObjectId {
    ObjectId::of(&n.to_le_bytes())
}

fn code(bytes: &[u8]) -> &'static str {
    Tree::decode(bytes).map_or_else(|error| error.code(), |_| "accepted")
}

/// The codes of a name as a file, a directory, a link, and the first of a run.
fn codes_of_name(name: &str) -> [&'static str; 4] {
    [
        code(&tree_of_one(name, FILE, 0, id(1))),
        code(&tree_of_one(name, DIR, 0, id(1))),
        code(&tree_of_one(name, LINK, 0, id(1))),
        code(&literally::tree_fan(&[(name, id(1), 1, 1)])),
    ]
}

/// SEC-001, SEC-002: names that climb or are absolute, as Unix and Windows write them.
#[test]
fn names_that_climb_or_are_absolute_are_refused() {
    let climbing =
        ["..", "a/../../x", "../x", "a/..", "a/../b", "..\\x", "a\\..\\x", "a\\..", "../..", "./.."];
    let absolute =
        ["/victim/x", "/", "//x", "\\x", "\\", "C:\\x", "c:/x", "Z:\\", "\\\\?\\x", "\\\\server\\share"];
    for name in climbing.iter().chain(&absolute) {
        assert_eq!(codes_of_name(name), ["E-PATH"; 4], "{name:?}");
        let beside = literally::tree(vec![tree_row("a", FILE, 0, id(1)), tree_row(name, FILE, 0, id(1))]);
        assert_eq!(code(&beside), "E-PATH", "{name:?} beside a good one");
    }
    for good in ["...", "..a", "a..", "..a..b", "C", "c-", "~", "-rf", "*"] {
        assert_eq!(codes_of_name(good), ["accepted"; 4], "{good:?}");
    }
}

/// SEC-003, SEC-016: names that are none.
#[test]
fn names_that_are_none_are_malformed() {
    let long = ["n".repeat(256), "n".repeat(4_096), format!("{}é", "n".repeat(254))];
    for name in ["", ".", "a/b", "a/", "./a", "\0", "a\0b"].into_iter().chain(long.iter().map(String::as_str))
    {
        assert_eq!(codes_of_name(name), ["E-FORMAT"; 4], "{name:?}");
    }
    let named = |name: Cbor| {
        literally::tree(vec![Cbor::Array(vec![name, Cbor::Int(0), Cbor::Int(0), Cbor::id(id(1))])])
    };
    for bytes in [vec![0xff], vec![0xc3], b"caf\xe9".to_vec(), vec![0xed, 0xa0, 0x80], vec![0xc0, 0xaf]] {
        assert_eq!(code(&named(Cbor::RawText(bytes.clone()))), "E-FORMAT", "{bytes:?}");
        assert_eq!(code(&named(Cbor::Bytes(bytes))), "E-FORMAT");
    }
    assert_eq!(code(&named(Cbor::Int(1))), "E-FORMAT");
    assert_eq!(codes_of_name(&"n".repeat(255)), ["accepted"; 4]);
}

/// SEC-003: such a tree is refused wherever it is met, before anything is installed.
#[test]
fn a_malformed_tree_in_the_store_is_refused_by_every_reader() {
    for (name, expected) in [("a\0b", "E-FORMAT"), ("..", "E-PATH")] {
        let repository = TempRepository::new();
        let bad = repository.add(&[tree_of_one(name, FILE, 0, id(1))])[0];
        let root = TreeId::new(repository.add(&[tree_of_one("sub", DIR, 0, bad)])[0]);
        assert_eq!(refusals(&repository, root), [expected; 5], "{name:?}");
        assert!(fsck_names(&repository, root, "tree"), "{name:?}");
    }
}

/// What each reader of trees says of `root`: visit, closure, links, checkout, archive.
fn refusals(repository: &TempRepository, root: TreeId) -> [&'static str; 5] {
    let store = repository.store();
    let ignore = &mut |_: &str, _: &Entry| Ok::<(), objects::object::Error>(());
    let target = tempfile::tempdir().unwrap();
    let to = target.path().join("to");
    let checked_out = checkout::checkout(store, root, &to, Default::default(), &Silent);
    let refusals = [
        walk::visit(store, root, 100_000, ignore).map_or_else(|e| e.code(), |_| "accepted"),
        walk::closure(store, root, &mut walk::Seen::default()).map_or_else(|e| e.code(), |_| "accepted"),
        walk::check_links(store, root, 100_000).map_or_else(|e| e.code(), |_| "accepted"),
        checked_out.map_or_else(|e| e.code(), |_| "accepted"),
        archive::write_tree(store, root, &mut std::io::sink()).map_or_else(|e| e.code(), |_| "accepted"),
    ];
    assert!(refusals[3] == "accepted" || !to.exists(), "a refused tree leaves no folder");
    refusals
}

/// True if `fsck` of a repository that releases `root` finds fault with it, in words that hold `word`.
fn fsck_names(repository: &TempRepository, root: TreeId, word: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut ingested = repository.ingest(folder.path());
    ingested.tree = root;
    Author::new(5).release(repository, "forged", "1.0.0", &ingested);
    let report = fsck::check(&repository.reopened(), fsck::Options { data: true }).unwrap();
    report.findings.iter().any(|finding| finding.problem.contains(word))
}

/// SEC-005: names in a tree are unique and sorted by their bytes.
#[test]
fn names_are_unique_and_sorted() {
    let rows = |names: &[&str]| names.iter().map(|name| tree_row(name, FILE, 0, id(1))).collect();
    for names in [&["a", "a"][..], &["b", "a"], &["a", "c", "b"], &["é", "z"], &["a", "B"], &["a.b", "a-b"]]
    {
        assert_eq!(code(&literally::tree(rows(names))), "E-FORMAT", "{names:?}");
        let runs: Vec<_> = names.iter().map(|name| (*name, id(1), 1, 1)).collect();
        assert_eq!(code(&literally::tree_fan(&runs)), "E-FORMAT", "{names:?}");
    }
    for names in [&["a", "b"][..], &["B", "a"], &["z", "é"], &["a", "a-b", "a.b"]] {
        assert_eq!(code(&literally::tree(rows(names))), "accepted", "{names:?}");
    }
    let link_and_folder = vec![tree_row("d", LINK, 7, id(1)), tree_row("d", DIR, 0, id(2))];
    assert_eq!(code(&literally::tree(link_and_folder)), "E-FORMAT", "a link and a folder of one name");
    let doubled = vec![entry("a", Mode::File, 1), entry("a", Mode::Dir, 0)];
    assert_eq!(tree::build(doubled).unwrap_err().code(), "E-FORMAT", "nor are such trees made");
}

fn entry(name: &str, mode: Mode, size: u64) -> Entry {
    Entry { name: EntryName::new(name).unwrap(), mode, size, id: id(size) }
}

/// SEC-008: a name has one spelling, the composed one.
#[test]
fn names_are_in_nfc() {
    for (composed, other) in
        [("é", "e\u{301}"), ("Å", "\u{212b}"), ("한", "\u{1112}\u{1161}\u{11ab}"), ("Ω", "\u{2126}")]
    {
        assert_eq!(codes_of_name(composed), ["accepted"; 4], "{composed:?}");
        assert_eq!(codes_of_name(other), ["E-FORMAT"; 4], "{other:?}");
    }
}

/// The spellings under which some file system opens `.git` or `.pkgs`.
const CONTROL: [&str; 46] = [
    ".git",
    ".pkgs",
    ".GIT",
    ".Git",
    ".gIt",
    ".PKGS",
    ".Pkgs",
    ".pKgS", // case
    ".pkg\u{17f}",
    ".PKG\u{17f}", // the long s, which folds to s
    ".git.",
    ".git..",
    ".git ",
    ".git  ",
    ".git. .",
    ".pkgs.",
    ".pkgs ",
    ".PKGS. ", // NTFS drops these
    ".git::$INDEX_ALLOCATION",
    ".git::$index_allocation",
    ".pkgs::$INDEX_ALLOCATION",
    ".git:x",
    ".pkgs:stream:$DATA",
    ".git.::$INDEX_ALLOCATION",
    ".git :x",
    "git~1",
    "GIT~1",
    "Git~2",
    "git~12",
    "pkgs~1",
    "PKGS~1",
    "git~1.",
    "git~1 ",
    "git~1::$INDEX_ALLOCATION", // streams and short names
    ".g\u{200c}it",
    ".\u{200d}git",
    ".git\u{200e}",
    ".gi\u{200f}t",
    "\u{202a}.git",
    ".git\u{202e}",
    ".p\u{206a}kgs",
    "\u{feff}.git",
    ".pkgs\u{feff}",
    ".g\u{200c}it\u{200c}.", // HFS+ leaves these out
    ".git\\config",
    "a\\.git\\hooks", // a path on Windows
];

/// SEC-010: no spelling of a control folder, as file, folder or link, at any depth.
#[test]
fn control_folders_are_refused_in_every_spelling() {
    for name in CONTROL {
        assert_eq!(codes_of_name(name), ["E-PATH"; 4], "{name:?}");
    }
    for good in [
        "git",
        "pkgs",
        ".gitignore",
        ".github",
        ".pkgs-old",
        ".pkgignore",
        ".gi",
        "git~",
        "git~x",
        "a.git",
        "_git",
        ".git_",
    ] {
        assert_eq!(codes_of_name(good), ["accepted"; 4], "{good:?}");
    }
    let repository = TempRepository::new();
    let mut below = tree_of_one("..git::x", FILE, 0, id(1));
    for name in [".GIT", "deep", "deeper"] {
        let id = repository.add(&[below])[0];
        below = tree_of_one(name, DIR, 0, id);
    }
    let root = TreeId::new(repository.add(&[below])[0]);
    assert_eq!(refusals(&repository, root), ["E-PATH"; 5]);
}

/// SEC-007, SEC-009, SEC-018: what publish refuses unless told otherwise.
#[test]
fn unportable_names_are_known() {
    let reserved =
        ["CON", "con", "Nul", "nul.txt", "AUX.c", "COM1", "com9.log", "LPT1", "PRN", "CONIN$", "CONOUT$"];
    let ended = ["a.", "a ", "a..", " .", "a:b", "a<b", "a>b", "a|b", "a?b", "a*b", "a\"b", "a\\b"];
    let control = [
        "a\nb",
        "\u{1b}[31m",
        "a\u{202e}txt.exe",
        "a\tb",
        "\u{7f}",
        "\u{85}",
        "a\u{2066}b",
        "\u{200f}x",
        "\u{61c}x",
    ];
    for name in reserved.iter().chain(&ended).chain(&control) {
        let name = EntryName::new(*name).unwrap();
        assert!(unportable(&name).is_some(), "{name}");
        assert!(!name.to_string().contains(char::is_control), "{name} is shown escaped");
    }
    for good in
        ["a", "con1", "console", "com", "COM10", "nulls.txt", "a b", ".hidden", "é", "日本", "a-b_c+d=e,f"]
    {
        assert_eq!(unportable(&EntryName::new(good).unwrap()), None, "{good}");
    }
    let folded = |name: &str| case_folded(&EntryName::new(name).unwrap());
    for (a, b) in [("Foo", "foo"), ("É", "é"), ("ΣΑΣ", "σας"), ("ſ", "S")] {
        assert_eq!(folded(a), folded(b), "{a} and {b}");
    }
}

/// SEC-011: modes that format 1 does not know.
#[test]
fn unknown_modes_are_refused() {
    for mode in [6, 7, 8, 0o644, 0o755, 0o100_644, 255, 256, 1 << 32, u64::MAX] {
        assert_eq!(code(&tree_of_one("a", mode, 0, id(1))), "E-FORMAT", "mode {mode}");
    }
}

/// A tree in which `inner` lies `levels` folders deep, each called `name`.
fn nested(repository: &TempRepository, name: &str, levels: usize, inner: Vec<u8>) -> TreeId {
    let mut objects = vec![inner];
    for _ in 0..levels {
        let below = ObjectId::of(objects.last().unwrap());
        objects.push(tree_of_one(name, DIR, 0, below));
    }
    TreeId::new(*repository.add(&objects).last().unwrap())
}

/// SEC-015: 10,000 levels end in E-LIMIT for every reader, on a stack of 1 MiB.
#[test]
fn deep_nesting_is_refused() {
    let repository = TempRepository::new();
    let root = nested(&repository, "d", 10_000, literally::tree(vec![]));
    std::thread::scope(|scope| {
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let refused = small.spawn_scoped(scope, || {
            assert_eq!(refusals(&repository, root), ["E-LIMIT"; 5]);
            assert!(fsck_names(&repository, root, "limit"));
        });
        refused.unwrap().join().expect("no walk overflows a stack of 1 MiB");
    });
}

/// SEC-015: 128 levels are taken in and written out; one more is refused on both sides.
#[test]
fn the_deepest_folder_is_the_same_on_both_sides() {
    for (levels, inner) in [(PATH_DEPTH_MAX, None), (PATH_DEPTH_MAX - 1, Some("file"))] {
        let path = vec!["d"; levels].join("/");
        let files = match inner {
            None => Files::new().dir(&path),
            Some(name) => Files::new().file(&format!("{path}/{name}"), "deep"),
        };
        let folder = tempfile::tempdir().unwrap();
        files.write(folder.path());
        let repository = TempRepository::new();
        let root = repository.ingest(folder.path()).tree;
        assert_eq!(refusals(&repository, root), ["accepted"; 5], "{levels} folders");
    }
    let repository = TempRepository::new();
    let file = tree_of_one("file", FILE, 0, repository.add(&[""])[0]);
    let root = nested(&repository, "d", PATH_DEPTH_MAX, file);
    let ignore = &mut |_: &str, _: &Entry| Ok::<(), objects::object::Error>(());
    assert_eq!(walk::visit(repository.store(), root, 1_000, ignore).unwrap_err().code(), "E-LIMIT");
    let root = nested(&repository, &"n".repeat(255), 20, literally::tree(vec![]));
    assert_eq!(
        walk::visit(repository.store(), root, 1_000, ignore).unwrap_err().code(),
        "E-LIMIT",
        "a long path"
    );
}

/// SEC-016: a count that is only stated takes no memory; rows beyond the bound are refused.
#[test]
fn stated_counts_are_not_believed() {
    let tag = || Cbor::text("tree/1");
    for count in [1, 5_000_000, u64::from(u32::MAX), 1 << 40, 1 << 63, u64::MAX] {
        let stated = Cbor::Array(vec![tag(), Cbor::StatedArray(count, vec![])]).encode();
        assert_eq!(code(&stated), "E-FORMAT", "{count} rows stated");
        let name = Cbor::Raw([&[0x7b], count.to_be_bytes().as_slice()].concat());
        assert_eq!(
            code(&Cbor::Array(vec![tag(), Cbor::Array(vec![Cbor::Array(vec![name])])]).encode()),
            "E-FORMAT"
        );
    }
    let rows = (0..=ROWS_MAX as u64).map(|n| tree_row(&format!("{n:06}"), FILE, 0, id(1)));
    assert_eq!(code(&literally::tree(rows.collect())), "E-LIMIT");
}

/// SEC-016: a directory of 5,000,000 entries is refused before its runs are read.
#[test]
fn a_folder_of_five_million_is_refused() {
    let repository = TempRepository::new();
    let runs: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    let rows: Vec<_> = runs.iter().map(|name| (name.as_str(), id(404), 50_000, 0)).collect();
    let root = TreeId::new(repository.add(&[literally::tree_fan(&rows)])[0]);
    let refused = refusals(&repository, root);
    assert_eq!([refused[0], refused[2], refused[3], refused[4]], ["E-LIMIT"; 4]);
    let overflowing = [("a", id(404), u64::MAX, 0), ("b", id(404), 2, 0)];
    let root = TreeId::new(repository.add(&[literally::tree_fan(&overflowing)])[0]);
    assert_eq!(walk::entries(repository.store(), root).unwrap_err().code(), "E-LIMIT");
}

/// SEC-017: 2^40 paths out of 40 trees: bounded by the signed number of files, each tree once where
/// each object counts once.
#[test]
fn a_tree_bomb_is_bounded() {
    let repository = TempRepository::new();
    let mut objects = vec![b"x".to_vec()];
    objects.push(tree_of_one("f", FILE, 1, ObjectId::of(b"x")));
    for level in 0..40 {
        let below = ObjectId::of(objects.last().unwrap());
        let twice = ["a", "b"].map(|name| tree_row(name, DIR, 1 << level, below));
        objects.push(literally::tree(twice.into()));
    }
    let root = TreeId::new(*repository.add(&objects).last().unwrap());
    let signed = checkout::Options { files_max: 1_000, ..Default::default() };
    let target = tempfile::tempdir().unwrap();
    let error = checkout::checkout(repository.store(), root, &target.path().join("to"), signed, &Silent);
    assert_eq!(error.unwrap_err().code(), "E-LIMIT");
    let ignore = &mut |_: &str, _: &Entry| Ok::<(), objects::object::Error>(());
    assert_eq!(walk::visit(repository.store(), root, 20_000, ignore).unwrap_err().code(), "E-LIMIT");
    let closure = walk::closure(repository.store(), root, &mut walk::Seen::default()).unwrap();
    assert_eq!((closure.structure.len(), closure.chunks.len()), (41, 1), "each tree is visited once");
    assert!(!fsck_names(&repository, root, "limit"), "fsck visits each tree once, too");
}

/// SEC-025: sizes that overflow when they are added are a fault, not a panic.
#[test]
fn sizes_that_overflow_are_refused() {
    let repository = TempRepository::new();
    let chunk = repository.add(&["x"])[0];
    for size in [1u64 << 63, u64::MAX, u64::MAX / 2 + 1] {
        let rows = ["a", "b"].map(|name| tree_row(name, FILE, size, chunk));
        let run = repository.add(&[literally::tree(rows.into())])[0];
        let wrapped = size.wrapping_mul(2);
        let fan = repository.add(&[literally::tree_fan(&[("a", run, 2, wrapped)])])[0];
        assert_eq!(walk::entries(repository.store(), TreeId::new(fan)).unwrap_err().code(), "E-FORMAT");
        for (root, stated) in [(run, wrapped), (fan, wrapped), (run, u64::MAX)] {
            let above = TreeId::new(repository.add(&[tree_of_one("d", DIR, stated, root)])[0]);
            assert!(refusals(&repository, above)[3] != "accepted", "{size} twice, stated as {stated}");
        }
    }
}

/// SEC-025: a directory whose size is not what lies below it.
#[test]
fn folder_sizes_add_up() {
    let repository = TempRepository::new();
    let chunk = repository.add(&["12345"])[0];
    let inner = repository.add(&[tree_of_one("f", FILE, 5, chunk)])[0];
    for (size, fits) in [(5, true), (4, false), (6, false), (0, false), (u64::MAX, false)] {
        let root = TreeId::new(repository.add(&[tree_of_one("d", DIR, size, inner)])[0]);
        let codes = refusals(&repository, root);
        let expected = if fits { "accepted" } else { "E-FORMAT" };
        assert_eq!([codes[0], codes[3], codes[4]], [expected; 3], "stated as {size}");
    }
    for size in [4, 6, 0, 1 << 40] {
        let root = TreeId::new(repository.add(&[tree_of_one("f", FILE, size, chunk)])[0]);
        let codes = refusals(&repository, root);
        assert_eq!([codes[3], codes[4]], ["E-FORMAT"; 2], "a chunk stated as {size} bytes");
    }
}

/// SEC-027: one id read as two kinds stays two things; an object read as the wrong kind is refused.
#[test]
fn kinds_are_not_confused() {
    let repository = TempRepository::new();
    let folder = tempfile::tempdir().unwrap();
    let bytes = literally::tree(vec![]);
    Files::new().file("f", &bytes).dir("d").write(folder.path());
    let root = repository.ingest(folder.path()).tree;
    let entries = walk::entries(repository.store(), root).unwrap();
    assert_eq!(entries[0].id, entries[1].id, "the empty folder, and a file with its bytes");
    let closure = walk::closure(repository.store(), root, &mut walk::Seen::default()).unwrap();
    assert!(closure.structure.contains(&(Kind::Tree, ObjectId::of(&bytes))));
    assert_eq!(closure.chunks.len(), 1, "the same id as a chunk");
    let to = folder.path().join("out");
    checkout::checkout(repository.store(), root, &to, Default::default(), &Silent).unwrap();
    assert_eq!(std::fs::read(to.join("f")).unwrap(), bytes);
    assert!(to.join("d").is_dir());

    let text = Random::new(1).text(100);
    let ids = repository.add(&[text, literally::blob(5, &[(id(1), 5)]), bytes]);
    let (text, blob, tree) = (ids[0], ids[1], ids[2]);
    for (what, mode, target) in [
        ("a chunk as a folder", DIR, text),
        ("a blob as a folder", DIR, blob),
        ("a tree as a blob", FILE_BLOB, tree),
        ("a chunk as a blob", FILE_BLOB, text),
    ] {
        let root = TreeId::new(repository.add(&[tree_of_one("x", mode, 5, target)])[0]);
        let codes = refusals(&repository, root);
        assert_eq!([codes[1], codes[3], codes[4]], ["E-FORMAT"; 3], "{what}");
    }
    assert!(repository.store().find(Kind::Tree, &tree).is_ok());
}

/// A long directory is split, found again, and changes in one run when one name changes.
#[test]
fn long_folders_are_split_and_joined() {
    let entries = |skip: usize| -> Vec<Entry> {
        (0..6_000)
            .filter(|n| *n != skip)
            .map(|n| entry(&format!("file-{n:05}"), Mode::File, n as u64))
            .collect()
    };
    let repository = TempRepository::new();
    let (all, without) = (tree::build(entries(usize::MAX)).unwrap(), tree::build(entries(3_000)).unwrap());
    repository.add(&all.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>());
    let root = all.last().unwrap().0;
    assert_eq!(walk::entries(repository.store(), root).unwrap(), entries(usize::MAX));
    let old: HashSet<_> = all.iter().map(|(id, _)| *id).collect();
    assert!(without.iter().filter(|(id, _)| !old.contains(id)).count() <= 3, "one run or two, and the fan");
    let mut shuffled = entries(usize::MAX);
    shuffled.reverse();
    assert_eq!(tree::build(shuffled).unwrap().last().unwrap().0, root, "the order given does not matter");
}

/// SEC-016: names or chunks that are chosen to end every run do not make a fan too long to store.
#[test]
fn hostile_names_do_not_make_endless_runs() {
    let ends = |name: &str| ObjectId::of(name.as_bytes()).as_bytes()[0] == 0;
    let names = (0u64..).map(|n| format!("{n:x}")).filter(|name| ends(name)).take(5_000);
    let built = tree::build(names.map(|name| entry(&name, Mode::File, 1)).collect()).unwrap();
    assert!(built.len() <= 5_000 / 64 + 2, "{} objects for 5,000 entries", built.len());
    let chunk =
        (0u64..).map(|n| objects::id::ChunkId::new(id(n))).find(|c| c.object().as_bytes()[0] == 0).unwrap();
    let built = objects::blob::build(&vec![(chunk, 65_536); 70_000]);
    assert!(built.len() <= 70_000 / 64 + 2, "{} objects for 70,000 equal chunks", built.len());
}

/// SEC-005: a fan whose runs are out of place, doubled, nested, or not what their rows say.
#[test]
fn fans_that_lie_are_refused() {
    let repository = TempRepository::new();
    let run =
        |names: &[&str]| literally::tree(names.iter().map(|name| tree_row(name, FILE, 1, id(1))).collect());
    let ids = repository.add(&[run(&["a", "c"]), run(&["b", "d"]), run(&[])]);
    let nested = repository.add(&[literally::tree_fan(&[("a", ids[0], 2, 2)])])[0];
    type Rows<'r> = &'r [(&'r str, ObjectId, u64, u64)];
    let faults: [(&str, Rows<'_>); 7] = [
        ("runs that overlap", &[("a", ids[0], 2, 2), ("b", ids[1], 2, 2)]),
        ("a run that begins elsewhere", &[("aa", ids[0], 2, 2)]),
        ("a run counted short", &[("a", ids[0], 1, 2)]),
        ("a run counted long", &[("a", ids[0], 3, 2)]),
        ("a run of other bytes", &[("a", ids[0], 2, 3)]),
        ("an empty run", &[("a", ids[2], 0, 0)]),
        ("a nested fan", &[("a", nested, 2, 2)]),
    ];
    for (what, rows) in faults {
        let root = TreeId::new(repository.add(&[literally::tree_fan(rows)])[0]);
        assert_eq!(walk::entries(repository.store(), root).unwrap_err().code(), "E-FORMAT", "{what}");
    }
}
