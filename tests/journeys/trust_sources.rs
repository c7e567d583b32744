//! Several sources of one repository, held against each other on each fetch (SEC-046, 049, 057): who is
//! behind is named, who contradicts is found out, the newest is used, whatever the order.

use crate::fixture::hello;
use crate::lock::forged;
use crate::sandbox::{Person, Run, World, copy, text};
use objects::claim::Index;
use objects::identity::{Chain, Identity};
use objects::signed::Signed;
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// Publishes a version of `hello` to ada's repository.
fn publish(world: &World, ada: &Person, version: &str) {
    hello(&world.path("hello"), version);
    ada.publish(&world.path("hello"));
}

/// An environment of a new user, bound to the first source, with the others named in its settings.
fn bound(world: &World, name: &str, sources: &[&str]) -> Person {
    let person = world.user(name).clone_of(sources[0], name);
    let wanted = fs::read_to_string(person.here("pkg.cfg.toml")).unwrap();
    let others: Vec<String> = sources[1..].iter().map(|source| format!("{source:?}")).collect();
    let named = format!("[environment]\nsources = [{}]", others.join(", "));
    fs::write(person.here("pkg.cfg.toml"), wanted.replace("[environment]", &named)).unwrap();
    person
}

/// Puts another state in the place of a repository.
fn replace(repo: &Path, with: &Path) {
    fs::remove_dir_all(repo).unwrap();
    copy(with, repo);
}

fn succeeds(run: &Run) {
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// The number of the newest index that was believed.
fn index_seen(person: &Person) -> Option<u64> {
    let heads = person.yes(["trust", "list"])["heads"].clone();
    heads
        .as_array()
        .unwrap()
        .iter()
        .find(|head| head["kind"] == "index")
        .map(|head| head["n"].as_u64().unwrap())
}

fn forks(person: &Person) -> Vec<Value> {
    person.yes(["trust", "log"])["forks"].as_array().unwrap().clone()
}

/// SEC-046: of two mirrors one serves old files: the newer one is used, the older one is named, in either
/// order, on a machine that never saw the newer state.
#[test]
fn the_newest_of_several_sources_is_used() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    copy(&repo, &world.path("old"));
    let (old, new) = (world.path("old"), world.path("ada.repo"));
    let people =
        [bound(&world, "bob", &[text(&old), text(&new)]), bound(&world, "eve", &[text(&new), text(&old)])];
    publish(&world, &ada, "1.1.0");
    for person in people {
        let run = person.run(["fetch"]);
        succeeds(&run);
        assert!(run.stderr.contains("/old is stale and not used"), "{run:?}");
        person.ok(["add", "hello", "-y"]);
        assert_eq!(person.installed()["hello"], "1.1.0");
        assert!(forks(&person).is_empty());
        person.store_is_whole();
    }
}

/// An author and somebody with a copy of their keys, each with a copy of the repository.
fn twins(world: &World) -> (Person, Person, PathBuf, PathBuf) {
    let (ada, repo) = world.with_hello();
    copy(&ada.home, &world.path("home-twin"));
    copy(&repo, &world.path("twin.repo"));
    (ada, world.user("twin"), world.path("ada.repo"), world.path("twin.repo"))
}

/// SEC-049: two mirrors show two indexes with one number: neither is applied, both are kept, shown and
/// exported; a person's word settles it, and what was given up stays out.
#[test]
fn two_sources_that_contradict_each_other_are_found_out() {
    let world = World::new();
    let (ada, twin, mine, theirs) = twins(&world);
    let bob = bound(&world, "bob", &[text(&mine), text(&theirs)]);
    bob.ok(["fetch"]);
    publish(&world, &ada, "1.1.0");
    hello(&world.path("hello"), "2.0.0");
    twin.publish(&world.path("hello"));

    bob.no(["fetch"], "E-FORK");
    bob.no(["add", "hello"], "E-FORK");
    assert_eq!(index_seen(&bob), Some(0), "neither is applied");
    let found = forks(&bob);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0]["kind"], &found[0]["n"]), (&"index".into(), &1.into()));
    let shown = bob.ok(["trust", "forks"]);
    for id in [&found[0]["ours"], &found[0]["theirs"]] {
        assert!(shown.contains(id.as_str().unwrap()), "{shown}");
    }
    assert_exported_evidence_holds(&bob, &found[0]);

    let fork = found[0]["fork"].as_str().unwrap();
    bob.no(["trust", "resolve", fork, "ours"], "E-USAGE"); // nobody can be asked
    bob.no(["trust", "resolve", "77", "ours", "-y"], "E-NOTFOUND");
    bob.no(["id", "resolve", fork, "blake3:00000000", "-y"], "E-USAGE"); // the same, where people look for it
    let keep = found[0]["theirs"].as_str().unwrap();
    bob.ok(["trust", "resolve", fork, keep, "-y"]);
    assert_eq!(forks(&bob)[0]["kept"], keep);
    let run = bob.run(["add", "hello", "-y"]);
    succeeds(&run);
    assert!(run.stderr.contains("was given up"), "{run:?}");
    let keeps_twins = repo_head(&theirs) == keep;
    let newest = if keeps_twins { "2.0.0" } else { "1.1.0" };
    assert_eq!(bob.installed()["hello"], newest);

    let (kept, lost, author) = if keeps_twins { (&theirs, &mine, &ada) } else { (&mine, &theirs, &twin) };
    publish(&world, author, "3.0.0");
    let run = bob.run(["update", "-y"]);
    succeeds(&run);
    assert_eq!(bob.installed()["hello"], newest, "what grew from the other one is not followed");
    replace(kept, lost);
    bob.no(["fetch"], "E-FORK");
    bob.store_is_whole();
}

/// The id of a repository's newest index.
fn repo_head(repo: &Path) -> String {
    let repository = objects::repository::Repository::open(repo).unwrap();
    repository.summary().unwrap().unwrap().index.id().to_string()
}

/// Anybody can check what was exported with nothing else at hand.
fn assert_exported_evidence_holds(person: &Person, fork: &Value) {
    person.ok(["trust", "log", "--export", "evidence"]);
    let name = |which: &str| {
        person.here(format!("evidence/fork-{}-{which}.statement", fork["fork"].as_str().unwrap()))
    };
    let index = |which: &str| Signed::<Index>::decode(&fs::read(name(which)).unwrap()).unwrap();
    let first = Signed::<Identity>::decode(&fs::read(name("identity-0")).unwrap()).unwrap();
    let id = objects::id::IdentityId::new(first.id().object());
    let chain = Chain::walk(id, &[first]).unwrap();
    let both =
        ["ours", "theirs"].map(|which| index(which).verify(&chain.head().roles.index, "index").unwrap());
    assert_eq!(both[0].n, both[1].n);
    assert_eq!(both[0].repository, both[1].repository);
    assert_ne!(both[0].id(), both[1].id());
    assert!(person.here("evidence/evidence.json").exists());
}

/// SEC-049 further back: a mirror that is behind shows an index that the newest one did not grow from.
#[test]
fn a_stale_source_of_another_branch_is_found_out() {
    let world = World::new();
    let (ada, twin, mine, theirs) = twins(&world);
    let bob = bound(&world, "bob", &[text(&theirs), text(&mine)]);
    for version in ["1.1.0", "1.2.0", "1.3.0"] {
        publish(&world, &ada, version);
    }
    hello(&world.path("hello"), "2.0.0");
    twin.publish(&world.path("hello"));
    let run = bob.run(["fetch"]);
    succeeds(&run);
    assert!(run.stderr.contains("another index 1 than the one index 3 grew from"), "{run:?}");
    assert!(run.stderr.contains("twin.repo is stale"), "{run:?}");
    assert_eq!(index_seen(&bob), Some(3));
    assert_eq!(forks(&bob)[0]["n"], 1);
    bob.ok(["add", "hello", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.3.0");
}

/// SEC-057: a mirror leaves out the newest identity document, to hide a revocation: it is named as stale
/// as soon as another source shows it, in either order, and is refused from then on.
#[test]
fn a_source_that_hides_an_identity_document_is_named() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    copy(&repo, &world.path("older"));
    let (hiding, older, whole) = (world.path("hiding"), world.path("older"), world.path("ada.repo"));
    copy(&repo, &hiding);
    let people = [
        bound(&world, "bob", &[text(&hiding), text(&whole)]),
        bound(&world, "eve", &[text(&whole), text(&hiding)]),
    ];
    forged::next_document(&ada);
    replace(&hiding, &whole);
    forged::hide_documents(&hiding, 1);
    for person in &people {
        let run = person.run(["fetch"]);
        succeeds(&run);
        assert!(run.stderr.contains("/hiding is stale and not used"), "{run:?}");
        let heads = person.yes(["trust", "list"])["heads"].clone();
        let identity =
            heads.as_array().unwrap().iter().find(|head| head["kind"] == "identity").unwrap().clone();
        assert_eq!(identity["n"], 1, "{heads}");
        person.ok(["add", "hello", "-y"]);
    }
    fs::rename(&whole, world.path("gone")).unwrap();
    for person in &people {
        person.no(["fetch"], "E-ROLLBACK");
    }
    replace(&hiding, &older);
    people[0].no(["fetch"], "E-ROLLBACK");
}

/// A source that shows another repository is named, and nothing of it is learned (SEC-063).
#[test]
fn a_source_of_another_repository_is_named() {
    let world = World::new();
    world.with_hello();
    let eve = world.author("eve");
    hello(&world.path("other"), "9.9.9");
    eve.publish(&world.path("other"));
    let bob = bound(&world, "bob", &[text(&world.path("ada.repo")), text(&eve.repo())]);
    let run = bob.run(["add", "hello", "-y"]);
    succeeds(&run);
    assert!(run.stderr.contains("eve.repo is passed over"), "{run:?}");
    assert_eq!(bob.installed()["hello"], "1.0.0");
    let pins = bob.yes(["trust", "list"]);
    assert_eq!(pins["heads"].as_array().unwrap().len(), 3, "one identity, index and log: {pins}");
    assert_eq!(pins["repositories"].as_array().unwrap().len(), 1, "{pins}");
}

/// Step 2: a source that hangs does not hold the others up, one that is gone is named, and what a stale
/// one has of objects is still taken; over HTTP as from a folder.
#[test]
fn a_source_that_hangs_or_is_gone_is_passed_over() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let served = ada.serve(&repo, &["--no-iroh"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap(); // connects, and never says a word
    let hanging = format!("http://{}/", silent.local_addr().unwrap());
    let gone = world.path("gone");
    copy(&repo, &world.path("old"));
    let bob = bound(&world, "bob", &[&served.url, &hanging, text(&gone), text(&world.path("old"))]);
    publish(&world, &ada, "1.1.0");
    let run = bob.run(["add", "hello", "-y"]);
    succeeds(&run);
    assert_eq!(bob.installed()["hello"], "1.1.0");
    assert!(run.stderr.contains(&format!("{hanging} is slow and not waited for")), "{run:?}");
    assert!(run.stderr.contains("/gone is passed over"), "{run:?}");
    assert!(run.stderr.contains("/old is stale and not used"), "{run:?}");
    bob.store_is_whole();
}
