//! Forged releases: soundly signed, and never installed (THREATS 3 A and B).

use crate::forge::{Forged, Row, frame, tree};
use crate::sandbox::{Failure, Person, World, content, snapshot, text};
use objects::id::ObjectId;
use std::fs;

/// A folder beside everything, which nothing may touch.
pub struct Sentinel {
    world: World,
    before: std::collections::BTreeMap<String, crate::sandbox::Standing>,
}

impl Sentinel {
    pub fn new() -> Sentinel {
        let world = World::new();
        fs::create_dir_all(world.path("victim/inner")).unwrap();
        fs::write(world.path("victim/file"), "precious").unwrap();
        let before = snapshot(&world.path("victim"));
        Sentinel { world, before }
    }

    pub fn world(&self) -> &World {
        &self.world
    }

    /// Fails unless the folder is as it was and `person`'s store is whole.
    pub fn unharmed(&self, person: &Person, case: &str) {
        assert_eq!(snapshot(&self.world.path("victim")), self.before, "{case}");
        person.store_is_whole();
    }
}

/// Installs a forged release, which has to fail; the environment and all around it stay as they were.
fn refused(case: &str, forged: &Forged) -> Failure {
    let sentinel = Sentinel::new();
    forged.write(&sentinel.world().path("forged.repo"));
    let bob = sentinel.world().user("bob").clone_of("forged.repo", "work");
    let before = content(&bob.here("pkgs"));
    let run = bob.run(["add", "victim", "--json"]);
    assert_ne!(run.code, Some(0), "{case}: {run:?}");
    let failure = run.failure();
    assert_eq!(content(&bob.here("pkgs")), before, "{case}");
    assert!(bob.installed().is_empty(), "{case}");
    sentinel.unharmed(&bob, case);
    bob.run(["checkout", "victim", "out", "--json"]); // of what was fetched; wherever it ends, it ends inside
    sentinel.unharmed(&bob, case);
    failure
}

const FILE: u8 = 0;
const LINK: u8 = 4;
const FOLDER: u8 = 5;

fn id(bytes: &[u8]) -> ObjectId {
    ObjectId::of(bytes)
}

/// A release of one file called `name`, in a folder as well.
fn named(name: &str) -> [Forged; 3] {
    let body = b"content".to_vec();
    let size = body.len() as u64;
    let file = tree(&[(name, FILE, size, id(&body))]);
    let folder = tree(&[(name, FOLDER, size, id(&file))]);
    let below = tree(&[("below", FOLDER, size, id(&file))]);
    [
        Forged::of(vec![body.clone(), file.clone()], size, 1),
        Forged::of(vec![body.clone(), file.clone(), folder], size, 2),
        Forged::of(vec![body, file, below], size, 2),
    ]
}

/// SEC-001, 002, 003, 008, 010: names that lead out, are no names, or are those of control folders.
#[test]
fn names_that_lead_anywhere_are_refused() {
    let names = [
        "..",
        ".",
        "",
        "a/../../victim/file",
        "/victim/x",
        "a/b",
        "a\0b",
        "//x",      // 001 to 003
        "e\u{301}", // 008: not composed
        ".pkgs",
        ".PKGS",
        ".git",
        ".Git",
        ".git ",
        ".git.",
        "git~1",
        ".g\u{200c}it",
        ".git::$INDEX_ALLOCATION", // 010
    ];
    for name in names {
        for forged in &named(name) {
            let failure = refused(name, forged);
            assert!(["E-PATH", "E-FORMAT"].contains(&failure.code.as_str()), "{name:?}: {failure:?}");
            assert!(
                failure.message.contains("forged.repo") || failure.code == "E-PATH",
                "{name:?}: {failure:?}"
            );
        }
    }
}

/// SEC-004: links that leave the package by themselves or through others.
#[test]
fn links_that_leave_the_package_are_refused() {
    let world = World::new();
    let absolute = text(&world.path("victim")).to_owned();
    for target in ["../../victim", "/etc", absolute.as_str(), "..", "a/../../x", "", "inner/../../../victim"]
    {
        let bytes = target.as_bytes().to_vec();
        let inner = tree(&[]);
        let size = bytes.len() as u64;
        let rows: [Row<'_>; 2] = [("inner", FOLDER, 0, id(&inner)), ("link", LINK, size, id(&bytes))];
        let root = tree(&rows);
        let failure = refused(target, &Forged::of(vec![bytes, inner, root], size, 2));
        assert!(["E-PATH", "E-FORMAT"].contains(&failure.code.as_str()), "{target:?}: {failure:?}");
    }
    // through another link: each stays inside by itself, together they leave
    let (first, second) = (b"deep/deeper".to_vec(), b"first/../../../victim".to_vec());
    let empty = tree(&[]);
    let deep = tree(&[("deeper", FOLDER, 0, id(&empty))]);
    let size = (first.len() + second.len()) as u64;
    let rows: [Row<'_>; 3] = [
        ("deep", FOLDER, 0, id(&deep)),
        ("first", LINK, first.len() as u64, id(&first)),
        ("second", LINK, second.len() as u64, id(&second)),
    ];
    let root = tree(&rows);
    let failure = refused("through a link", &Forged::of(vec![first, second, empty, deep, root], size, 4));
    assert_eq!(failure.code, "E-PATH", "{failure:?}");
}

/// SEC-005: a link and a folder under one name, with a file through it; names out of order, doubled.
#[test]
fn two_things_under_one_name_are_refused() {
    let target = b"../victim".to_vec();
    let body = b"content".to_vec();
    let inner = tree(&[("file", FILE, 7, id(&body))]);
    let link: Row<'_> = ("d", LINK, target.len() as u64, id(&target));
    let folder: Row<'_> = ("d", FOLDER, 7, id(&inner));
    let file = |name| (name, FILE, 7, id(&body));
    for rows in [[link, folder], [folder, link], [file("b"), file("a")], [file("a"), file("a")]] {
        let objects = vec![target.clone(), body.clone(), inner.clone(), tree(&rows)];
        let failure = refused("one name", &Forged::of(objects, 16, 3));
        assert_eq!(failure.code, "E-FORMAT", "{failure:?}");
    }
}

/// SEC-011, 025, 027: unknown modes, sizes that lie, files where folders are meant.
#[test]
fn trees_that_lie_about_what_they_hold_are_refused() {
    let body = b"content".to_vec();
    let file = |size| ("file", FILE, size, id(&body));
    let of = |row: Row<'_>, size, files| Forged::of(vec![body.clone(), tree(&[row])], size, files);
    let cases = [
        ("unknown mode", of(("file", 9, 7, id(&body)), 7, 1)),
        ("a size too large", of(file(8), 8, 1)),
        ("a size too small", of(file(6), 6, 1)),
        ("an endless size", of(file(u64::MAX), u64::MAX, 1)),
        ("a file as a folder", of(("file", FOLDER, 7, id(&body)), 7, 1)),
        ("a file as a list of chunks", of(("file", 1, 7, id(&body)), 7, 1)),
        ("other totals than signed", of(file(7), 7, 5)),
        ("another size than signed", of(file(7), 700, 1)),
        ("an object that nobody has", of(("file", FILE, 7, id(b"absent")), 7, 1)),
        ("bytes that are no tree", Forged::of(vec![b"no tree".to_vec()], 7, 1)),
    ];
    for (case, forged) in cases {
        let failure = refused(case, &forged);
        let known = ["E-FORMAT", "E-LIMIT", "E-NOTFOUND"];
        assert!(known.contains(&failure.code.as_str()), "{case}: {failure:?}");
    }
}

/// SEC-015, 017: folders without end, and few objects that are many files.
#[test]
fn trees_without_end_are_refused() {
    let mut deep = vec![tree(&[])];
    for _ in 0..2_000 {
        let below = id(deep.last().unwrap());
        deep.push(tree(&[("d", FOLDER, 0, below)]));
    }
    let failure = refused("deep", &Forged::of(deep, 0, 2_000));
    assert_eq!(failure.code, "E-LIMIT", "{failure:?}");

    let mut bomb = vec![tree(&[])];
    for _ in 0..40 {
        let below = id(bomb.last().unwrap());
        bomb.push(tree(&[("a", FOLDER, 0, below), ("b", FOLDER, 0, below)]));
    }
    let failure = refused("bomb", &Forged::of(bomb, 0, 100));
    assert_eq!(failure.code, "E-LIMIT", "{failure:?}");
}

/// SEC-023, 024, 026: frames that unpack to more than they say, or ask for more memory than allowed.
#[test]
fn frames_that_are_bombs_are_refused() {
    let level = |bytes: &[u8], window: Option<u32>| {
        let mut context = zstd_safe::CCtx::create();
        context.set_parameter(zstd_safe::CParameter::CompressionLevel(19)).unwrap();
        if let Some(log) = window {
            context.set_parameter(zstd_safe::CParameter::WindowLog(log)).unwrap();
            context.set_parameter(zstd_safe::CParameter::ContentSizeFlag(false)).unwrap();
        }
        let mut out = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
        context.compress2(&mut out, bytes).unwrap();
        out
    };
    let zeros = vec![0; 64 << 20];
    let body = vec![0; 1000];
    let bomb = level(&zeros, None);
    assert!(bomb.len() < 64 << 10, "{}", bomb.len());
    let mut wide = level(&body, Some(27));
    let descriptor = wide[4];
    if descriptor & 0x20 == 0 {
        wide[5] = 21 << 3; // a window of 2 GiB
    }
    let honest = level(&body, None);
    let two = [honest.clone(), honest.clone()].concat();
    let skippable = [&0x184D_2A50_u32.to_le_bytes()[..], &4u32.to_le_bytes(), b"skip", &honest].concat();
    let mut trailing = honest.clone();
    trailing.push(0);
    let cases = [
        ("a bomb that says 1000", bomb.clone(), 1000),
        ("a bomb that says 16 MiB", bomb, 16 << 20),
        ("a window of 2 GiB", wide, 1000),
        ("two frames", two, 1000),
        ("a skippable frame", skippable, 1000),
        ("a byte behind", trailing, 1000),
        ("no frame", b"this is no frame at all".to_vec(), 1000),
        ("nothing", Vec::new(), 1000),
    ];
    for (case, stored, raw) in cases {
        let size = u64::from(raw);
        let root = tree(&[("file", FILE, size, id(&body))]);
        let mut forged = Forged::of(vec![root], size, 1);
        forged.frames = vec![(frame(&stored, raw), stored, id(&body))];
        let failure = refused(case, &forged);
        assert!(["E-FORMAT", "E-LIMIT", "E-HASH"].contains(&failure.code.as_str()), "{case}: {failure:?}");
    }
}

/// SEC-047: an index or beacon past its time is refused; who allows it gets it.
#[test]
fn an_index_past_its_time_is_refused() {
    let sentinel = Sentinel::new();
    let body = b"content".to_vec();
    let mut forged = Forged::of(vec![body.clone(), tree(&[("file", FILE, 7, id(&body))])], 7, 1);
    (forged.age, forged.lifetime) = (40 * 86_400, 30 * 86_400);
    forged.write(&sentinel.world().path("old.repo"));
    let bob = sentinel.world().user("bob");
    let failure = bob.no(["clone", "old.repo", "work"], "E-FREEZE");
    assert!(failure.hints.iter().any(|hint| hint.contains("--max-stale")), "{failure:?}");
    assert!(!sentinel.world().path("work").exists());
    bob.no(["clone", "old.repo", "work", "--max-stale", "5d"], "E-FREEZE");
    bob.ok(["clone", "old.repo", "work", "--max-stale", "90d"]);
    bob.at("work").no(["add", "victim"], "E-FREEZE");
    bob.at("work").ok(["add", "victim", "-y", "--max-stale", "90d"]);
    sentinel.unharmed(&bob, "old");
}

/// So that the refusals above are for their reasons.
#[test]
fn the_honest_form_of_a_forgery_installs() {
    let sentinel = Sentinel::new();
    let body = b"content".to_vec();
    Forged::of(vec![body.clone(), tree(&[("file", FILE, 7, id(&body))])], 7, 1)
        .write(&sentinel.world().path("fine.repo"));
    let bob = sentinel.world().user("bob").clone_of("fine.repo", "work");
    bob.ok(["add", "victim", "-y"]);
    assert_eq!(fs::read(bob.here("pkgs/victim/file")).unwrap(), body);
}
