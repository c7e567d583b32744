//! Installing, loading, changing and repairing environments.

use crate::fixture::{hello, small};
use crate::sandbox::{Person, World, content, snapshot, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// An environment of bob's with `hello` 1.0.0 in it, and the author.
fn with_hello(world: &World) -> (Person, Person) {
    let (ada, _) = world.with_hello();
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "hello", "-y"]);
    (ada, bob)
}

fn publish_small(world: &World, ada: &Person, packages: &[(&str, &str, &str)]) {
    for (name, version, dependencies) in packages {
        let folder = world.path(format!("src-{name}-{version}"));
        small(&folder, name, version, dependencies);
        ada.publish(&folder);
    }
}

/// What a person sees of an environment; the index, the lock and times are left out.
fn visible(environment: &Path) -> BTreeMap<String, (char, String)> {
    let hidden = |path: &str| {
        [".pkgs/lock", ".pkgs/index-db", ".pkgs/tmp"].iter().any(|start| path.starts_with(start))
    };
    content(environment).into_iter().filter(|(path, _)| !hidden(path)).collect()
}

#[test]
fn the_whole_journey_of_a_package() {
    let world = World::new();
    let (ada, bob) = with_hello(&world);
    assert_eq!(bob.installed(), BTreeMap::from([("hello".into(), "1.0.0".into())]));
    assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")));
    assert_eq!(fs::read_to_string(bob.here("pkgs/hello/greeting.txt")).unwrap(), "hello from 1.0.0\n");
    assert!(fs::read_to_string(bob.here("pkg.cfg.toml")).unwrap().contains("hello = \"^1.0.0\""));

    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    let updated = bob.yes(["update"]);
    assert_eq!(
        (&updated["actions"][0]["action"], &updated["actions"][0]["to"]),
        (&"update".into(), &"1.1.0".into())
    );
    assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")));

    let back = bob.yes(["rollback"]);
    assert_eq!(back["packages"][0]["version"], "1.0.0");
    assert_eq!(fs::read_to_string(bob.here("pkgs/hello/greeting.txt")).unwrap(), "hello from 1.0.0\n");
    assert_eq!(bob.installed()["hello"], "1.0.0");

    let removed = bob.yes(["remove", "hello"]);
    assert_eq!(removed["actions"][0]["action"], "remove");
    assert!(bob.installed().is_empty());
    assert!(!bob.here("pkgs/hello").exists());
    bob.no(["load", "hello"], "E-NOTFOUND");

    let history = bob.yes(["history"]);
    let why: Vec<&str> = history.as_array().unwrap().iter().map(|g| g["why"].as_str().unwrap()).collect();
    assert_eq!(why, ["init", "add hello", "update", "rollback to 1", "remove hello"]);
    bob.ok(["rollback", "2"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");
    bob.store_is_whole();
}

/// O14: what was changed on disk is found, repaired, and kept as a backup.
#[test]
fn a_changed_file_is_found_and_repaired() {
    let world = World::new();
    let (_, bob) = with_hello(&world);
    assert_eq!(bob.yes(["verify"])[0]["differences"].as_array().unwrap().len(), 0);
    let place = bob.loaded("hello");
    fs::write(place.join("greeting.txt"), "edited by hand\n").unwrap();
    fs::remove_file(place.join("doc/nothing")).unwrap();
    fs::write(place.join("more"), "").unwrap();

    let run = bob.run(["verify", "--json"]);
    assert_eq!(run.code, Some(7), "{run:?}");
    let found = run.json()[0]["differences"].to_string();
    for path in ["greeting.txt", "doc/nothing", "more"] {
        assert!(found.contains(path), "{found}");
    }
    let backups = bob.yes(["verify", "--repair"]);
    let backup = Path::new(backups["backups"][0].as_str().unwrap()).to_owned();
    assert_eq!(fs::read_to_string(bob.here(backup).join("greeting.txt")).unwrap(), "edited by hand\n");
    assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")));
    bob.ok(["verify"]);
    bob.store_is_whole();
}

/// G-13: dependencies come before what needs them, and go when nothing needs them any more.
#[test]
fn dependencies_come_first_and_go_last() {
    let world = World::new();
    let ada = world.author("ada");
    let packages = [
        ("base", "1.0.0", ""),
        ("middle", "1.0.0", "base = \"^1\""),
        ("top", "1.0.0", "middle = \"^1\"\nbase = \"*\""),
    ];
    publish_small(&world, &ada, &packages);
    let bob = world.user("bob").clone_of("ada.repo", "work");

    let plan = bob.yes(["add", "top", "--dry-run"]);
    let names: Vec<&str> =
        plan["actions"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "middle", "top"]);
    bob.ok(["add", "top", "-y"]);
    assert_eq!(bob.installed().len(), 3);
    let failure = bob.no(["remove", "base"], "E-NOTFOUND");
    assert!(failure.hints[0].contains("another package needs it"), "{failure:?}");
    bob.ok(["remove", "top", "-y"]);
    assert!(bob.installed().is_empty());
}

#[test]
fn a_dry_run_changes_nothing() {
    let world = World::new();
    let (ada, bob) = with_hello(&world);
    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    let before = visible(&bob.here("."));
    for words in [["update", "--dry-run"], ["sync", "--dry-run"]] {
        bob.yes(words);
        assert_eq!(visible(&bob.here(".")), before);
    }
    bob.yes(["remove", "hello", "--dry-run"]);
    assert_eq!(visible(&bob.here(".")), before);
}

/// A colleague who gets `pkg.cfg.toml` and `pkg.lock` gets the same versions.
#[test]
fn the_same_lockfile_gives_the_same_environment() {
    let world = World::new();
    let (ada, bob) = with_hello(&world);
    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    let eve = world.user("eve").clone_of("ada.repo", "other");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(bob.here(file), eve.here(file)).unwrap();
    }
    eve.ok(["sync", "--locked"]);
    assert_eq!(eve.installed(), bob.installed());
    assert_eq!(content(&eve.loaded("hello")), content(&bob.loaded("hello")));
}

/// REL-036: what was fetched before serves without anybody; what was not is told plainly.
#[test]
fn off_line_what_was_fetched_before_can_be_installed() {
    let world = World::new();
    let (ada, bob) = with_hello(&world);
    publish_small(&world, &ada, &[("unfetched", "1.0.0", "")]);
    bob.ok(["fetch"]);
    bob.ok(["clone", "../ada.repo", "../second"]);
    fs::rename(ada.repo(), world.path("gone")).unwrap();

    let second = bob.at("../second");
    second.ok(["add", "hello", "--offline", "-y"]);
    assert_eq!(content(&second.loaded("hello")), content(&bob.loaded("hello")));
    let before = visible(&second.here("."));
    let failure = second.no(["add", "unfetched", "--offline"], "E-NOTFOUND");
    assert!(!failure.message.is_empty());
    assert_eq!(visible(&second.here(".")), before);
    second.ok(["remove", "hello", "--offline", "-y"]);
}

/// L-P4: why nothing fits is told in names and ranges that the reader knows.
#[test]
fn an_unsolvable_request_is_explained() {
    let world = World::new();
    let ada = world.author("ada");
    let packages = [
        ("base", "1.0.0", ""),
        ("base", "2.0.0", ""),
        ("left", "1.0.0", "base = \"^1\""),
        ("right", "1.0.0", "base = \"^2\""),
    ];
    publish_small(&world, &ada, &packages);
    let bob = world.user("bob").clone_of("ada.repo", "work");
    let before = visible(&bob.here("."));
    let failure = bob.no(["add", "left", "right"], "E-CONFLICT");
    for word in ["base", "left", "right"] {
        assert!(failure.message.contains(word), "{failure:?}");
    }
    let none = bob.no(["add", "base@^3"], "E-NOTFOUND");
    assert!(none.message.contains("base"), "{none:?}");
    assert_eq!(visible(&bob.here(".")), before);
}

#[test]
fn a_name_with_a_typo_gets_a_hint() {
    let world = World::new();
    let (_, bob) = with_hello(&world);
    let failure = bob.no(["add", "helo"], "E-NOTFOUND");
    assert!(failure.hints.iter().any(|hint| hint.contains("did you mean hello?")), "{failure:?}");
    let failure = bob.no(["update", "helo"], "E-NOTFOUND");
    assert!(failure.message.contains("helo"), "{failure:?}");
}

/// O8: what a person put into `pkgs/` is never touched; in the way of a link it stops the change.
#[test]
fn what_a_person_put_there_is_never_touched() {
    let world = World::new();
    let (ada, _) = world.with_hello();
    let bob = world.user("bob").clone_of("ada.repo", "work");
    for name in ["mine", "hello"] {
        fs::create_dir(bob.here("pkgs").join(name)).unwrap();
        fs::write(bob.here("pkgs").join(name).join("diary"), "private").unwrap();
    }
    let mine = snapshot(&bob.here("pkgs"));
    let failure = bob.no(["add", "hello"], "E-CONFLICT");
    assert!(failure.message.contains("pkgs/hello"), "{failure:?}");
    assert_eq!(snapshot(&bob.here("pkgs")), mine);
    assert_eq!(bob.loaded("mine"), bob.here("pkgs/mine").canonicalize().unwrap());

    publish_small(&world, &ada, &[("other", "1.0.0", "")]);
    bob.ok(["add", "other", "-y"]);
    bob.ok(["remove", "other", "-y"]);
    assert_eq!(snapshot(&bob.here("pkgs/mine")), snapshot(&bob.here("pkgs/mine")));
    assert_eq!(fs::read_to_string(bob.here("pkgs/mine/diary")).unwrap(), "private");
}

/// O15: links are relative, so an environment can be moved; sub-folders find it, as in git.
#[test]
fn a_moved_environment_still_loads() {
    let world = World::new();
    let (_, bob) = with_hello(&world);
    let before = content(&bob.loaded("hello"));
    fs::create_dir(world.path("elsewhere")).unwrap();
    fs::rename(world.path("work"), world.path("elsewhere/moved")).unwrap();
    let moved = bob.at(world.path("elsewhere/moved/pkgs"));
    assert_eq!(content(&moved.loaded("hello")), before);
    moved.ok(["verify"]);
    moved.ok(["update", "-y"]);
}

/// O3 to O9: by requirement, by version, by content; a removed link blocks, a repair makes it again.
#[test]
fn loading_follows_the_rules() {
    let world = World::new();
    let (_, bob) = with_hello(&world);
    let media = bob.yes(["load", "hello"]);
    let (tree, sha256) = (media["tree"].as_str().unwrap(), media["sha256"].as_str().unwrap());
    let place = bob.loaded("hello");
    let specs = [
        "hello@^1".to_owned(),
        "hello#>0.5<2".to_owned(),
        "hello#1.0.0".to_owned(),
        "hello#release:^1".to_owned(),
        format!("hello#{tree}"),
        format!("hello#{}", &tree[.."blake3:".len() + 8]),
        format!("hello#{sha256}"),
    ];
    for spec in &specs {
        assert_eq!(bob.loaded(spec), place, "{spec}");
    }
    for spec in ["hello@^2", "hello#1.0.1", "hello#nightly:^1", "hello#blake3:00000000", "nobody"] {
        bob.no(["load", spec], "E-NOTFOUND");
    }

    fs::remove_file(bob.here("pkgs/hello")).unwrap();
    let failure = bob.no(["load", "hello#1.0.0"], "E-NOTFOUND");
    assert!(failure.message.contains("link"), "{failure:?}");
    assert_eq!(bob.loaded(&format!("hello#{tree}")), place, "content is found, link or no link");
    assert_eq!(bob.yes(["load", "hello#1.0.0", "--repair-links"])["path"], text(&place));
    assert_eq!(bob.loaded("hello"), place);
}

/// SEC-012, SEC-013: installed files have plain modes, and no way back into the store.
#[test]
fn installed_files_are_copies_with_plain_modes() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    let (_, bob) = with_hello(&world);
    let place = bob.loaded("hello");
    for (path, mode) in [("greeting.txt", 0o644), ("bin/hello", 0o755)] {
        let meta = fs::metadata(place.join(path)).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (mode, 1), "{path}");
    }
    fs::write(place.join("greeting.txt"), "edited").unwrap();
    bob.store_is_whole();
    bob.ok(["clone", "../ada.repo", "../fresh"]);
    let fresh = bob.at("../fresh");
    fresh.ok(["add", "hello", "-y"]);
    assert_eq!(content(&fresh.loaded("hello")), content(&world.path("hello")));
}

/// L-S5: the store is kept below a size; what an environment has in any generation stays, what was used
/// last goes last, and what went is fetched again when it is wanted.
#[test]
fn the_store_is_trimmed_to_a_size() {
    let world = World::new();
    let ada = world.author("ada");
    for name in ["kept", "first", "second"] {
        let folder = world.path(name);
        crate::fixture::small(&folder, name, "1.0.0", "");
        fs::write(folder.join("noise"), crate::fixture::Dice(name.len() as u64).bytes(200_000)).unwrap();
        ada.publish(&folder);
    }
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "kept", "-y"]);
    let other = bob.at("../other");
    bob.at("..").ok(["clone", "ada.repo", "other"]);
    other.ok(["add", "first", "second", "-y"]);
    fs::remove_dir_all(world.path("other")).unwrap(); // its packages are nobody's any more

    let would = bob.yes(["gc", "--max-size", "500k", "--grace", "0s", "--dry-run"]);
    assert_eq!(would["let_go"].as_array().unwrap().len(), 1, "{would}");
    let done = bob.yes(["gc", "--max-size", "0", "--grace", "0s"]);
    assert_eq!(done["let_go"], serde_json::json!(["second 1.0.0", "first 1.0.0"]), "{done}");
    assert!(done["freed_bytes"].as_u64().unwrap() > 350_000, "{done}");
    bob.store_is_whole();
    bob.ok(["verify"]);
    assert_eq!(content(&bob.loaded("kept")), content(&world.path("kept")));
    bob.ok(["gc", "--grace", "0s"]);
    bob.ok(["add", "second", "-y"]);
    assert_eq!(content(&bob.loaded("second")), content(&world.path("second")));
    bob.store_is_whole();
    ada.no(["gc", "--max-size", "1G", "--repo", "ada.repo"], "E-USAGE");
}
