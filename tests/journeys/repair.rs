//! Damage, and how a person gets out of it: `pkg fsck`, `pkg fsck --repair`, over every carrier.

use crate::fixture::{Dice, hello, large};
use crate::sandbox::{Person, Run, World, content, copy, snapshot, text};
use crate::web::{Answer, Web, file};
use plumbing::trust::State;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An author with two releases of `hello` and one of `large`, and a good copy of the repository.
fn published(world: &World) -> (Person, PathBuf) {
    let ada = world.author("ada");
    for version in ["1.0.0", "1.1.0"] {
        hello(&world.path(format!("hello-{version}")), version);
        ada.publish(&world.path(format!("hello-{version}")));
    }
    large(&world.path("large-1.0.0"), "1.0.0");
    ada.publish(&world.path("large-1.0.0"));
    let good = world.path("good");
    copy(&ada.repo(), &good);
    (ada, good)
}

/// Puts the good repository in place of the damaged one.
fn reset(good: &Path, repo: &Path) {
    let _ = fs::remove_dir_all(repo);
    copy(good, repo);
}

/// Turns a bit in the middle of every pack of more than 10 kB, and in one statement.
fn hurt(repo: &Path) {
    for entry in fs::read_dir(repo.join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        if path.extension().is_some_and(|kind| kind == "pack") && bytes.len() > 10_000 {
            write(&path, &flipped(bytes, 2));
        }
    }
    let statement =
        crate::sandbox::public_files(repo).into_iter().find(|name| name.starts_with("statements/"));
    let path = repo.join(statement.unwrap());
    write(&path, &flipped(fs::read(&path).unwrap(), 3));
}

fn flipped(mut bytes: Vec<u8>, part: usize) -> Vec<u8> {
    let at = bytes.len() / part;
    bytes[at] ^= 16;
    bytes
}

/// Replaces a file that may be read-only.
fn write(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn fsck(person: &Person, repo: &Path, flags: &[&str]) -> (Run, Value) {
    let run = person.run(["fsck", "--repo", text(repo), "--json"].iter().chain(flags));
    let value = run.json();
    (run, value)
}

/// Every release can be checked out, and is what was published.
fn all_is_there(world: &World, person: &Person, repo: &Path, case: &str) {
    for (name, version) in [("hello", "1.0.0"), ("hello", "1.1.0"), ("large", "1.0.0")] {
        let out = world.path("out");
        let _ = fs::remove_dir_all(&out);
        person.ok(["checkout", &format!("{name}@{version}"), text(&out), "--repo", text(repo)]);
        assert_eq!(content(&out), content(&world.path(format!("{name}-{version}"))), "{case}");
    }
    person.is_whole(repo);
}

/// REL-021: with a good source all is restored, whatever kind of source it is.
#[test]
fn every_carrier_brings_back_what_is_lost() {
    let world = World::new();
    let (ada, good) = published(&world);
    let repo = ada.repo();
    ada.ok(["bundle", "create", "all.bundle", "hello@1.0.0", "hello@1.1.0", "large", "--repo", text(&good)]);
    ada.ok(["push", "public", "--repo", text(&good)]);
    let served = ada.serve(&good, &[]);
    let [web, whole] = [true, false].map(|ranges| Web::files(good.clone(), ranges));
    let sources = [
        ("a folder", text(&good)),
        ("a folder of public files", "public"),
        ("a bundle", "all.bundle"),
        ("a web server", &web.url),
        ("a web server without ranges", &whole.url),
        ("a peer over HTTP", &served.url),
        ("a peer over iroh", &served.ticket),
    ];
    for (case, source) in sources {
        hurt(&repo);
        let (found, report) = fsck(&ada, &repo, &[]);
        assert_eq!(found.code, Some(7), "{case}");
        let lost = report["lost_releases"].as_array().unwrap();
        assert!(
            lost.iter().any(|lost| lost["name"] == "large" && lost["version"] == "1.0.0"),
            "{case}: {report}"
        );
        let (run, outcome) = fsck(&ada, &repo, &["--repair", "--from", source]);
        assert_eq!(run.code, Some(0), "{case}: {outcome:#}");
        assert!(outcome["restored"]["objects"].as_u64().unwrap() > 0, "{case}: {outcome:#}");
        assert_eq!(outcome["findings"].as_array().unwrap().len(), 0, "{case}: {outcome:#}");
        assert!(repo.join("objects/quarantine").is_dir(), "{case}: the damaged files are kept");
        all_is_there(&world, &ada, &repo, case);
        reset(&good, &repo);
    }
}

/// REL-021: without a source, a repair names the releases that are lost and exits 7; the others work on,
/// and what is lost can be brought later.
#[test]
fn without_a_source_the_rest_stays_usable() {
    let world = World::new();
    let (ada, good) = published(&world);
    let repo = ada.repo();
    let dora = world.user("dora"); // nobody who has a store of her own
    hurt(&repo);
    let before = snapshot(&repo);
    let (planned, plan) = fsck(&dora, &repo, &["--repair", "--dry-run"]);
    assert_eq!(planned.code, Some(7));
    assert!(plan["steps"].as_array().unwrap().iter().any(|step| step["action"] == "rewrite"), "{plan:#}");
    assert_eq!(snapshot(&repo), before, "a dry run changes nothing");
    let (run, outcome) = fsck(&dora, &repo, &["--repair"]);
    assert_eq!(run.code, Some(7), "{outcome:#}");
    let lost: Vec<_> =
        outcome["lost_releases"].as_array().unwrap().iter().map(|lost| &lost["name"]).collect();
    assert!(lost.iter().any(|name| **name == "large"), "{outcome:#}");
    for release in outcome["whole_releases"].as_array().unwrap() {
        let (name, version) = release.as_str().unwrap().split_once(' ').unwrap();
        let out = world.path("out");
        let _ = fs::remove_dir_all(&out);
        dora.ok(["checkout", &format!("{name}@{version}"), text(&out), "--repo", text(&repo)]);
        assert_eq!(content(&out), content(&world.path(format!("{name}-{version}"))));
    }
    let (run, outcome) = fsck(&dora, &repo, &["--repair", "--from", text(&good)]);
    assert_eq!(run.code, Some(0), "{outcome:#}");
    all_is_there(&world, &dora, &repo, "brought later");
}

/// An author who still has the files mends a repository by publishing them again: the same content has
/// the same objects; what was signed is in the ledger.
#[test]
fn an_author_brings_back_what_was_published() {
    let world = World::new();
    let (ada, _) = published(&world);
    hurt(&ada.repo());
    let (run, outcome) = fsck(&ada, &ada.repo(), &["--repair"]);
    assert_eq!(run.code, Some(7), "{outcome:#}");
    let before = fs::read(ada.repo().join("summary")).unwrap();
    for release in ["hello-1.0.0", "hello-1.1.0", "large-1.0.0"] {
        assert_eq!(ada.publish(&world.path(release))["unchanged"], true, "{release}");
    }
    assert_eq!(fs::read(ada.repo().join("summary")).unwrap(), before, "nothing was signed anew");
    let (run, outcome) = fsck(&ada, &ada.repo(), &["--repair"]);
    assert_eq!(run.code, Some(0), "{outcome:#}");
    all_is_there(&world, &ada, &ada.repo(), "published again");
}

/// REL-016: a pack that the disk does not read any more (EIO) is named; a repair sets it aside and brings
/// its objects from a source, while the disk still refuses.
#[test]
fn a_pack_that_cannot_be_read_is_replaced() {
    let world = World::new();
    let (ada, good) = published(&world);
    let repo = ada.repo();
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success())
    {
        println!("skipped: strace is not here or may not trace");
        return;
    }
    let packs = fs::read_dir(repo.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
    let pack = packs.filter(|path| path.extension().is_some_and(|kind| kind == "pack"));
    let pack = pack.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let failing = |args: &[&str]| {
        let mut command = Command::new("strace");
        let inject = "inject=read,pread64:error=EIO";
        command.args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-P",
            text(&pack),
            "-e",
            "trace=read,pread64",
            "-e",
            inject,
        ]);
        command.arg(crate::sandbox::PKG).args(args);
        ada.dress(&mut command);
        Run::of(command)
    };
    let found = failing(&["fsck", "--repo", text(&repo)]);
    assert_eq!(found.code, Some(7), "{found:?}");
    let name = pack.file_name().unwrap().to_str().unwrap();
    assert!(found.stdout.contains(name) && found.stdout.contains("lost: large 1.0.0"), "{found:?}");
    let run = failing(&["fsck", "--repair", "--from", text(&good), "--repo", text(&repo)]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(!pack.exists() && repo.join("objects/quarantine").join(name).exists());
    all_is_there(&world, &ada, &repo, "EIO");
}

/// REL-023: a source that sends other bytes changes nothing; the next one restores.
#[test]
fn a_bad_source_restores_nothing_bad() {
    let world = World::new();
    let (ada, good) = published(&world);
    let repo = ada.repo();
    let dora = world.user("dora");
    let mut dice = Dice(23);
    for kind in [".pack", ".idx", "statements/", "objects/info/packs", ""] {
        let (folder, roll) = (good.clone(), dice.roll() as usize);
        let liar = Web::start(move |request| {
            let mut honest = file(&folder, request, true);
            if request.key.contains(kind) && !honest.body.is_empty() {
                let at = roll % honest.body.len();
                honest.body.iter_mut().skip(at).step_by(97).for_each(|byte| *byte ^= 1);
            }
            Answer::Reply(honest)
        });
        hurt(&repo);
        let bad = dora.run(["fsck", "--repo", text(&repo), "--json", "--repair", "--from", &liar.url]);
        assert_eq!(bad.signal, None);
        let (_, found) = fsck(&dora, &repo, &["--data"]);
        let wrong = |finding: &Value| finding["place"].as_str().unwrap().starts_with("objects/pack");
        let damaged = found["findings"].as_array().unwrap().iter().any(wrong);
        assert!(!damaged || bad.code == Some(6), "{kind}: {bad:?} {found:#}");
        let (run, outcome) = fsck(&dora, &repo, &["--repair", "--from", text(&good)]);
        assert_eq!(run.code, Some(0), "{kind}: {outcome:#}");
        all_is_there(&world, &dora, &repo, kind);
        reset(&good, &repo);
    }
}

/// A mirror asks where it was cloned from, without being told; its summary comes back too.
#[test]
fn a_mirror_mends_itself_from_its_origin() {
    let world = World::new();
    let (ada, _) = published(&world);
    let served = ada.serve(&ada.repo(), &["--no-iroh"]);
    let carl = world.user("carl");
    carl.ok(["clone", "--mirror", &served.url, "mirror"]);
    let mirror = world.path("mirror");
    let whole = fs::read(mirror.join("summary")).unwrap();
    hurt(&mirror);
    fs::remove_file(mirror.join("summary")).unwrap();
    fs::remove_dir_all(mirror.join("refs")).unwrap();
    let run = carl.at("mirror").run(["fsck", "--repair"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("restored"), "{run:?}");
    assert_eq!(fs::read(mirror.join("summary")).unwrap(), whole);
    all_is_there(&world, &carl, &mirror, "a mirror");
}

/// The user's store asks the sources that were fetched from.
#[test]
fn the_users_store_is_mended_from_its_sources() {
    let world = World::new();
    let (ada, _) = published(&world);
    let bob = world.user("bob").clone_of(text(&ada.repo()), "work");
    bob.ok(["add", "large", "hello", "-y"]);
    let store = bob.home.join("pkg/store");
    let out = world.user("bob").at("out-of-any-repository");
    fs::create_dir(world.path("out-of-any-repository")).unwrap();
    hurt(&store);
    let found = out.run(["fsck"]);
    assert_eq!(found.code, Some(7));
    assert!(found.stdout.contains("lost: large 1.0.0"), "{found:?}");
    let run = out.run(["fsck", "--repair"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    bob.store_is_whole();
    fs::write(store.join("config"), "[repository]\nformat = 1\n").unwrap();
    assert_eq!(out.run(["fsck"]).code, Some(7));
    assert_eq!(out.run(["fsck", "--repair"]).code, Some(0));
    bob.store_is_whole();
    bob.ok(["verify"]);
}

/// What a person believed, as the database keeps it.
fn believed(person: &Person) -> (Vec<String>, Vec<String>) {
    let state = State::open(&person.home.join("pkg/state.db")).unwrap();
    let heads =
        state.heads().unwrap().into_iter().map(|(kind, line, head)| format!("{kind} {line} {head:?}"));
    let names =
        state.packages().unwrap().into_iter().map(|pin| format!("{} {}", pin.name, pin.owner.to_hex()));
    (heads.collect(), names.collect())
}

fn lose_state(person: &Person) {
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(person.home.join(format!("pkg/state.db{end}")));
    }
}

/// REL-022: a lost database is told, and rebuilt from the store: the same heads and owners of names; what
/// cannot be rebuilt is said. An older state of the source is refused afterwards as before.
#[test]
fn a_lost_database_is_rebuilt() {
    let world = World::new();
    let (ada, old) = published(&world);
    hello(&world.path("hello-1.2.0"), "1.2.0");
    ada.publish(&world.path("hello-1.2.0"));
    let bob = world.user("bob").clone_of(text(&ada.repo()), "work");
    let added = bob.run(["add", "hello", "-y"]);
    assert!(!added.stderr.contains("state.db"), "a fresh start is no loss: {added:?}");
    let before = believed(&bob);
    assert_eq!((before.0.len(), before.1.len()), (3, 1), "{before:?}");

    lose_state(&bob);
    let found = bob.run(["fsck"]);
    assert_eq!(found.code, Some(7), "{found:?}");
    assert!(found.stdout.contains("state.db: it is lost"), "{found:?}");
    assert!(!bob.home.join("pkg/state.db").exists(), "looking changes nothing");
    let run = bob.run(["fsck", "--repair"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stderr.contains("not rebuildable: which repository each source has to show"), "{run:?}");
    assert_eq!(believed(&bob), before);

    lose_state(&bob);
    reset(&old, &ada.repo());
    let refused = bob.run(["update", "--json"]);
    assert_eq!(refused.failure().code, "E-ROLLBACK", "{refused:?}");
    assert!(refused.stderr.contains("state.db was lost"), "any command tells: {refused:?}");
    assert_eq!(believed(&bob), before);
    assert!(!bob.run(["update"]).stderr.contains("state.db was lost"), "once");
}

/// REL-022: a damaged database is set aside, not deleted, and rebuilt.
#[test]
fn a_damaged_database_is_set_aside_and_rebuilt() {
    let world = World::new();
    let (ada, _) = published(&world);
    let bob = world.user("bob").clone_of(text(&ada.repo()), "work");
    bob.ok(["add", "hello", "-y"]);
    let before = believed(&bob);
    let path = bob.home.join("pkg/state.db");
    let noise = b"this is no database, and was never one".repeat(200);
    lose_state(&bob);
    fs::write(&path, &noise).unwrap();
    let failure = bob.no(["update"], "E-FORMAT");
    assert!(failure.hints.iter().any(|hint| hint.contains("fsck --repair")), "{failure:?}");
    assert_eq!(bob.run(["fsck"]).code, Some(7));
    let run = bob.run(["fsck", "--repair"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(believed(&bob), before);
    assert_eq!(fs::read(bob.home.join("pkg/state.db~1")).unwrap(), noise);
    for cut in [&b""[..], b"x"] {
        lose_state(&bob);
        fs::write(&path, cut).unwrap(); // SQLite would take it for a new one
        let run = bob.run(["update"]);
        assert!(run.code == Some(0) && run.stderr.contains("state.db was lost"), "{run:?}");
        assert_eq!(believed(&bob), before);
    }
}

/// The levels, from cheap to thorough: what each finds.
#[test]
fn levels_find_what_they_say() {
    let world = World::new();
    let (ada, good) = published(&world);
    let repo = ada.repo();
    let code = |flags: &[&str]| fsck(&ada, &repo, flags).0.code;
    for flags in [&["--quick"][..], &["--connectivity-only"], &[], &["--data"]] {
        assert_eq!(code(flags), Some(0), "{flags:?}");
    }
    assert_eq!(ada.run(["fsck", "--quick", "--data"]).code, Some(2));
    assert_eq!(ada.run(["fsck", "--from", "x"]).code, Some(2));
    hurt(&repo);
    fs::remove_dir_all(repo.join("statements")).unwrap();
    copy(&good.join("statements"), &repo.join("statements"));
    assert_eq!((code(&["--quick"]), code(&[]), code(&["--data"])), (Some(0), Some(7), Some(7)));
    for pack in fs::read_dir(repo.join("objects/pack")).unwrap() {
        fs::remove_file(pack.unwrap().path()).unwrap();
    }
    assert_eq!(code(&["--quick"]), Some(7));
}
