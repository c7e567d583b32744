//! Disks that answer badly: syncs that fail, packs that cannot be read, calls that do half of what they
//! were asked or are interrupted (REL-011, 016, 017).

use crate::disk::{has, left_out, tool};
use crate::fixture::{Dice, edit_large, large, small};
use crate::sandbox::{Person, Run, Served, World, content, long, public_files, text};
use crate::stage::{Stage, strace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What stands between the program and the C library, built here and now; None if nobody can.
pub fn preload(world: &World, what: &str) -> Option<PathBuf> {
    if !has(what, &["cc"]) {
        return None;
    }
    let library = world.path("preload.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journeys/preload.c");
    tool("cc", &["-shared", "-fPIC", "-O1", "-o", text(&library), text(&source), "-ldl"]);
    Some(library)
}

/// Every sync of one run fails once, one after the other: the command fails, nothing counts as stored, no
/// file that was not synced is kept, and the same command then succeeds with new files.
fn fail_at_every_sync(stage: &Stage, person: &Person, verb: &[&str], check: &dyn Fn(&str, bool)) {
    let args: Vec<&str> = ["--jobs", "1", "--json"].iter().chain(verb).copied().collect();
    stage.restore();
    let Some(points) = stage.points(person, "fsync,fdatasync", &args) else {
        return left_out("syncs that fail", "strace may not trace here");
    };
    let stride = if long() { 1 } else { (points.len() / 8).max(1) };
    let mut failures = 0;
    for (call, n) in points.iter().step_by(stride) {
        stage.restore();
        let place = format!("{} with {call} {n} failing", verb.join(" "));
        let inject = format!("inject={call}:error=EIO:when={n}");
        let run = Run::of(strace(person, &["-e", &format!("trace={call}"), "-e", &inject], &args));
        match run.code {
            Some(0) => check(&place, true), // SQLite tries some again, in other words
            _ => {
                failures += 1;
                assert_eq!(run.failure().code, "E-IO", "{place}: {run:?}");
                for staging in ["repo/objects/tmp", "bob/pkg/store/objects/tmp"] {
                    let left = fs::read_dir(stage.stage.join(staging)).into_iter().flatten().count();
                    assert_eq!(left, 0, "{place}: {staging} keeps what was not synced");
                }
                check(&place, false);
            }
        }
        let again = person.run(&args);
        assert_eq!(again.code, Some(0), "{place}, again: {again:?}");
        check(&place, true);
    }
    println!("{}: {failures} failures at {} syncs", verb.join(" "), points.len());
    assert!(failures > 0);
}

/// REL-011: publishing.
#[test]
fn a_publish_whose_sync_fails_has_not_published() {
    let stage = Stage::set(|stage| stage.source("1.1.0"));
    fail_at_every_sync(&stage, &stage.ada, &["publish", "hello", "--to", "repo"], &|place, done| {
        stage.release_is_absent_or_whole("1.1.0", done, place);
    });
}

/// REL-011: installing.
#[test]
fn an_installation_whose_sync_fails_has_not_installed() {
    let stage = Stage::set(|_| {});
    fail_at_every_sync(&stage, &stage.work(), &["add", "hello", "-y"], &|place, done| {
        stage.environment_is_one_of(if done { &["1.0.0"] } else { &["", "1.0.0"] }, place);
    });
}

/// REL-011: collecting.
#[test]
fn a_collection_whose_sync_fails_loses_nothing() {
    let stage = Stage::set(|stage| {
        fs::write(stage.stage.join("rubbish"), Dice(9).bytes(50_000)).unwrap();
        stage.ada.ok(["hash-object", "-w", "rubbish", "--repo", "repo"]);
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
    });
    fail_at_every_sync(&stage, &stage.ada, &["gc", "--grace", "0s", "--repo", "repo"], &|place, _| {
        stage.release_is_absent_or_whole("1.0.0", true, place);
        stage.release_is_absent_or_whole("1.1.0", true, place);
    });
}

/// A repository with two packages, and the pack that holds the content of the first.
fn two_packages(world: &World) -> (Person, PathBuf, PathBuf) {
    let ada = world.author("ada");
    let repo = ada.repo();
    large(&world.path("large"), "1.0.0");
    ada.publish(&world.path("large"));
    let packs = || public_files(&repo).into_iter().filter(|name| name.ends_with(".pack"));
    let pack = packs().map(|name| repo.join(name)).max_by_key(|path| fs::metadata(path).unwrap().len());
    for name in ["small", "other"] {
        small(&world.path(name), name, "1.0.0", "");
        ada.publish(&world.path(name));
    }
    let pack = pack.unwrap();
    (ada, repo, pack)
}

/// The flags that make one file unreadable.
fn unreadable(pack: &Path) -> Vec<String> {
    let flags = ["-P", text(pack), "-e", "trace=read,pread64", "-e", "inject=read,pread64:error=EIO"];
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

/// REL-016: one pack that cannot be read is named, and the object with it; everything else is served.
#[test]
fn a_pack_that_cannot_be_read_is_named_and_the_others_serve() {
    if !has("a pack that cannot be read", &["strace"]) {
        return;
    }
    let world = World::new();
    let (ada, repo, pack) = two_packages(&world);
    let flags = unreadable(&pack);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let out = |name: &str| world.path(format!("out-{name}"));
    let checkout = |name: &str| {
        Run::of(strace(&ada, &flags, &["checkout", name, text(&out(name)), "--repo", text(&repo), "--json"]))
    };
    let failure = checkout("large").failure();
    assert_eq!(failure.code, "E-IO", "{failure:?}");
    assert!(failure.message.contains(text(pack.file_name().unwrap().as_ref())), "{failure:?}");
    assert!(failure.message.contains("blake3:"), "no object is named: {failure:?}");
    let run = checkout("small");
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(content(&out("small")), content(&world.path("small")));
    let found = Run::of(strace(&ada, &flags, &["fsck", "--data", "--repo", text(&repo), "--json"]));
    assert!(matches!(found.code, Some(1 | 7)) && found.stdout.contains("nput/output error"), "{found:?}");
    ada.is_whole(&repo);
}

/// REL-016: a daemon that cannot read one pack lives, serves the others, and serves all once it can.
#[test]
fn a_daemon_outlives_a_pack_that_cannot_be_read() {
    if !has("a daemon and a pack that cannot be read", &["strace"]) {
        return;
    }
    let world = World::new();
    let (ada, repo, pack) = two_packages(&world);
    let served = serve_beneath_strace(&ada, &repo, &unreadable(&pack));
    let bob = world.user("bob").clone_of(&served.url, "work");
    let failure = bob.run(["add", "large", "--json"]).failure();
    assert!(bob.installed().is_empty(), "{failure:?}");
    for name in ["small", "other"] {
        bob.ok(["add", name, "-y"]);
        assert_eq!(content(&bob.loaded(name)), content(&world.path(name)));
    }
    drop(served);
    let served = ada.serve(&repo, &["--no-iroh"]);
    let config = bob.here("pkg.cfg.toml");
    let wanted = fs::read_to_string(&config).unwrap();
    let sources = format!("[environment]\nsources = [\"{}\"]", served.url);
    fs::write(&config, wanted.replace("[environment]", &sources)).unwrap();
    bob.ok(["add", "large", "-y"]);
    assert_eq!(content(&bob.loaded("large")), content(&world.path("large")));
}

/// `pkg serve` with a tracer beside it: `-D` leaves the program itself as our child.
fn serve_beneath_strace(person: &Person, repo: &Path, flags: &[String]) -> Served {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o", "/dev/null"]).args(flags).arg(crate::sandbox::PKG);
    person.serve_as(command, repo, &["--no-iroh"])
}

/// REL-017: with reads and writes that do a part only, or are interrupted, everything comes out as it
/// does without: the same ids, the same files, a whole repository.
#[test]
fn short_and_interrupted_calls_change_nothing() {
    let world = World::new();
    let Some(library) = preload(&world, "short reads and writes") else { return };
    large(&world.path("large"), "1.0.0");
    large(&world.path("next"), "1.0.0");
    edit_large(&world.path("next"), "1.1.0");
    let reference = world.author("grace");
    let trees =
        |person: &Person| ["large", "next"].map(|source| person.publish(&world.path(source))["tree"].clone());
    let expected = trees(&reference);
    for seed in 1..=if long() { 50 } else { 2 } {
        let shaken =
            |person: Person| person.with("LD_PRELOAD", &library).with("PKG_TEST_SHORT", seed.to_string());
        let ada = shaken(world.user(&format!("ada{seed}")));
        ada.ok(["id", "new", "ada"]);
        ada.ok(["init", "--bare", text(&ada.repo())]);
        assert_eq!(trees(&ada), expected, "seed {seed}");
        let served = ada.serve(&ada.repo(), &[]);
        for (who, source) in
            [("http", &served.url), ("iroh", &served.ticket), ("path", &text(&ada.repo()).to_owned())]
        {
            let bob =
                shaken(world.user(&format!("{who}{seed}"))).clone_of(source, &format!("work-{who}{seed}"));
            bob.ok(["add", "large#1.0.0", "-y"]);
            bob.ok(["update", "-y"]);
            bob.ok(["add", "large#1.1.0", "-y"]);
            assert_eq!(content(&bob.loaded("large")), content(&world.path("next")), "{who}, seed {seed}");
            bob.ok(["verify"]);
            bob.store_is_whole();
        }
        ada.ok(["gc", "--grace", "0s", "--repo", text(&ada.repo())]);
        let mut calm = reference.clone();
        calm.home = ada.home.clone();
        calm.is_whole(&ada.repo());
    }
}
