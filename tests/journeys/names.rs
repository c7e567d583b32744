//! Names that look like others (SEC-071), versions that are too young (SEC-079), and what is written wrong on
//! purpose (SEC-001).

use crate::disk::has;
use crate::fixture::{hello, small};
use crate::lock::forged;
use crate::sandbox::{Person, Run, World, text};
use objects::signed::Document;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// Publishes a small package of this name.
fn offers(world: &World, author: &Person, name: &str, dependencies: &str) {
    let folder = world.path(format!("source-{name}"));
    small(&folder, name, "1.0.0", dependencies);
    author.publish(&folder);
}

/// Ada's `letters` is known to bob; eve has `leters`, and `app` that needs it.
fn two_authors(world: &World) -> Person {
    let (ada, eve) = (world.author("ada"), world.author("eve"));
    offers(world, &ada, "letters", "");
    offers(world, &ada, "letters-2", "");
    offers(world, &eve, "leters", "");
    offers(world, &eve, "numbers", "");
    offers(world, &eve, "app", "leters = \"*\"\n");
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "letters", "-y"]);
    bob
}

/// SEC-071: a name that looks like a pinned one of another owner waits for a person's word, as a dependency
/// too; a sibling of the same owner does not, nor does any other name.
#[test]
fn a_new_name_that_looks_like_a_known_one_waits_for_a_word() {
    let world = World::new();
    let bob = two_authors(&world);
    bob.ok(["add", "letters-2", "-y"]);

    let other = bob.at("..").clone_of("eve.repo", "other");
    other.ok(["add", "numbers", "-y"]);
    for name in ["leters", "app"] {
        let failure = other.no(["add", name, "-y"], "E-POLICY");
        assert!(
            failure.message.contains("leters of") && failure.message.contains("letters of"),
            "{failure:?}"
        );
        assert!(failure.hints.iter().any(|hint| hint.contains("--accept-similar")), "{failure:?}");
    }
    let planned = other.yes(["add", "app", "--dry-run"]);
    assert_eq!(planned["similar"][0]["known"], "letters");
    assert_eq!(other.installed().keys().collect::<Vec<_>>(), ["numbers"]);

    other.ok(["add", "app", "-y", "--accept-similar"]);
    other.ok(["remove", "app", "-y"]);
    other.ok(["add", "leters", "-y"]); // it is known by now
}

/// SEC-071: what `pkg.lock` holds is known where nothing is pinned, and needs no word itself.
#[test]
fn the_lockfile_says_which_names_are_known() {
    let world = World::new();
    let bob = two_authors(&world);
    let eve = bob.at("..").clone_of("eve.repo", "other");
    eve.ok(["add", "leters", "-y", "--accept-similar"]);
    let zoe = world.user("zoe").clone_of("eve.repo", "zoe");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(eve.here(file), zoe.here(file)).unwrap();
    }
    zoe.ok(["sync", "--locked", "-y"]);
    zoe.at("..").clone_of("ada.repo", "more").no(["add", "letters", "-y"], "E-POLICY");
}

/// SEC-071: on a terminal it is a question, and only a plain yes is an answer.
#[test]
fn on_a_terminal_a_look_alike_is_asked_about() {
    if !has("questions about names that look alike", &["script"]) {
        return;
    }
    let world = World::new();
    let bob = two_authors(&world);
    let other = bob.at("..").clone_of("eve.repo", "other");
    for (answer, code, is_there) in [("\n", 0, false), ("n\n", 0, false), ("y\ny\n", 0, true)] {
        let run = on_a_terminal(&other, &format!("{} add leters", crate::sandbox::PKG), answer);
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(run.stdout.contains("do you mean leters? [y/N]"), "{run:?}");
        assert_eq!(other.installed().contains_key("leters"), is_there, "{answer:?}: {run:?}");
    }
}

/// Runs a command on a terminal of its own, where `answers` are typed.
fn on_a_terminal(person: &Person, line: &str, answers: &str) -> Run {
    let typed = person.here("typed");
    fs::File::create(&typed).unwrap().write_all(answers.as_bytes()).unwrap();
    let mut command = Command::new("script");
    command.args(["-qec", line, "/dev/null"]);
    person.dress(&mut command);
    command.stdin(Stdio::from(fs::File::open(&typed).unwrap()));
    Run::of(command)
}

/// SEC-079: an older version that is old enough is taken in place of one that is not; what the lockfile keeps
/// stays, however young.
#[test]
fn an_older_version_is_taken_in_place_of_one_too_young() {
    let world = World::new();
    let ada = world.author("ada");
    for version in ["1.0.0", "1.1.0"] {
        hello(&world.path("hello"), version);
        ada.publish(&world.path("hello"));
    }
    forged::backdate(&ada, "hello", "1.0.0", 8 * 24 * 3600);
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["trust", "policy", "set", "min-age", "7d"]);

    let failure = bob.no(["add", "hello#1.1.0", "-y"], "E-POLICY");
    assert!(failure.message.contains("hello 1.1.0 is younger than `min-age` asks for"), "{failure:?}");
    bob.ok(["add", "hello", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.0.0");

    bob.ok(["trust", "policy", "unset", "min-age"]);
    bob.ok(["update", "-y"]);
    bob.ok(["trust", "policy", "set", "min-age", "7d"]);
    bob.ok(["update", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");
}

/// SEC-001: a soundly signed release whose tree has an entry `..` is not installed.
#[test]
fn a_tree_that_climbs_out_is_refused_by_its_name() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let repo = text(&repo);
    let make = |name: &str, content: &[u8]| {
        let path = world.path(name);
        fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let body = ada.yes(["debug", "mkobj", &make("body", b"content"), "--repo", repo])["id"].clone();
    let rows = make("rows.json", serde_json::json!([["..", 0, 7, body]]).to_string().as_bytes());
    ada.no(["debug", "mktree", &rows, "--repo", repo], "E-PATH");
    let tree = ada.yes(["debug", "mktree", "--literally", &rows, "--repo", repo])["id"].clone();
    let tree = tree.as_str().unwrap().parse().unwrap();

    forged::release(&ada, "hello", "1.1.0", (tree, 7, 1), |payload| {
        let (file, kind) = (make("entry", payload), objects::release::Entry::KIND.media_type());
        let signed = ada.yes(["debug", "sign", &file, "--type", kind, "--key", "ada", "--repo", repo]);
        signed["id"].as_str().unwrap().parse().unwrap()
    });

    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.no(["add", "hello", "-y"], "E-PATH");
    assert!(bob.installed().is_empty());
    bob.ok(["add", "hello#1.0.0", "-y"]);
}

/// What is signed literally is what was given: a type nobody knows is made only if asked for, and never kept.
#[test]
fn any_payload_of_any_type_can_be_signed_and_not_kept() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let file = world.path("payload.json");
    fs::write(&file, r#"{"b": {"/": {"bytes": "AQI"}}, "a": 1}"#).unwrap();
    let file = text(&file);
    let cbor = ada.run(["debug", "encode", file]);
    assert!(cbor.code == Some(0) && cbor.stdout.contains("aa\u{1}abB\u{1}\u{2}"), "{cbor:?}");
    ada.no(["debug", "sign", file, "--type", "text/plain", "--key", "ada"], "E-FORMAT");
    let literally = ["debug", "sign", "--literally", file, "--type", "text/plain", "--key", "ada"];
    let run = ada.run(literally);
    assert!(
        run.code == Some(0) && run.stdout.contains("envelope/1") && run.stdout.contains("text/plain"),
        "{run:?}"
    );
    ada.no(literally.into_iter().chain(["--repo", text(&repo)]), "E-FORMAT");
    ada.is_whole(&repo);
}
