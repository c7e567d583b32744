//! One journey over every carrier: the same content arrives, updates cost what changed, and pushes
//! are taken from the owner alone.

use crate::fixture::{edit_large, hello, large};
use crate::sandbox::{Person, World, content, received, snapshot, text};
use crate::web::Web;
use serde_json::Value;
use std::fs;

/// An author with `large` 1.0.0 in their repository, and its source in `large/`.
fn with_large(world: &World) -> Person {
    let ada = world.author("ada");
    large(&world.path("large"), "1.0.0");
    ada.publish(&world.path("large"));
    ada
}

fn publish_edited(world: &World, ada: &Person) -> u64 {
    edit_large(&world.path("large"), "1.1.0");
    ada.publish(&world.path("large"))["size"].as_u64().unwrap()
}

/// Clones, installs, checks out, and after `publish` updates; gives the outcomes of add and update.
fn journey(world: &World, source: &str, publish: impl FnOnce()) -> (Value, Value) {
    let bob = world.user("bob").clone_of(source, "work");
    let added = bob.yes(["add", "large"]);
    assert_eq!(content(&bob.loaded("large")), content(&world.path("large")), "{source}");
    publish();
    let updated = bob.yes(["update"]);
    assert_eq!(bob.installed()["large"], "1.1.0");
    assert_eq!(content(&bob.loaded("large")), content(&world.path("large")), "{source}");
    bob.ok(["checkout", "large", "../out"]);
    assert_eq!(content(&world.path("out")), content(&world.path("large")), "{source}");
    bob.ok(["verify"]);
    bob.store_is_whole();
    (added, updated)
}

fn fifth(size: u64) -> u64 {
    size / 5
}

#[test]
fn a_folder_carries() {
    let world = World::new();
    let ada = with_large(&world);
    let mut size = 0;
    let (_, updated) = journey(&world, text(&ada.repo()), || size = publish_edited(&world, &ada));
    assert!(received(&updated) < fifth(size), "{} of {size}", received(&updated));
}

/// C10: any web server over a copy of the folder is a source.
#[test]
fn a_web_server_with_ranges_carries() {
    let world = World::new();
    let ada = with_large(&world);
    let web = Web::files(ada.repo(), true);
    let mut size = 0;
    let (_, updated) = journey(&world, &web.url, || size = publish_edited(&world, &ada));
    assert!(received(&updated) < fifth(size), "{} of {size}", received(&updated));
    assert!(web.requests() > 0);
}

#[test]
fn a_web_server_without_ranges_carries() {
    let world = World::new();
    let ada = with_large(&world);
    let web = Web::files(ada.repo(), false);
    journey(&world, &web.url, || {
        publish_edited(&world, &ada);
    });
}

/// DESIGN 4: a repository packed anew, with old versions as deltas, serves them as before: as files, which
/// take what the deltas build on from the same place, and over a wire.
#[test]
fn a_repacked_repository_serves_every_version() {
    let world = World::new();
    let ada = with_large(&world);
    crate::sandbox::copy(&world.path("large"), &world.path("old"));
    publish_edited(&world, &ada);
    let before = ada.yes(["count-objects", "--repo", "ada.repo"]);
    let repacked = ada.yes(["repack", "--full", "--repo", "ada.repo"]);
    assert!(repacked["delta_frames"].as_u64().unwrap() > 0, "{repacked}");
    assert_eq!(repacked["packs_after"], 1);
    let after = ada.yes(["count-objects", "--repo", "ada.repo"]);
    assert_eq!(after["objects"], before["objects"]);
    assert!(after["stored_bytes"].as_u64() < before["stored_bytes"].as_u64(), "{before} {after}");
    ada.is_whole(&ada.repo());
    ada.ok(["verify-pack", "--repo", "ada.repo"]);

    let alike = ada.yes(["similar", "large@1.1.0:image.bin", "--repo", "ada.repo"]);
    assert_eq!((&alike[0]["version"], &alike[0]["path"]), (&"1.0.0".into(), &"image.bin".into()), "{alike}");
    assert!(alike[0]["same"].as_u64().unwrap() > 80, "{alike}");

    let web = Web::files(ada.repo(), true);
    let served = ada.serve(&ada.repo(), &["--no-iroh"]);
    for (name, source) in [("folder", text(&ada.repo())), ("web", &web.url), ("wire", &served.url)] {
        let bob = world.user(name).clone_of(source, &format!("work-{name}"));
        bob.ok(["add", "large@=1.0.0", "-y"]);
        assert_eq!(content(&bob.loaded("large")), content(&world.path("old")), "{name}");
        bob.ok(["add", "large@=1.1.0", "-y"]);
        assert_eq!(content(&bob.loaded("large")), content(&world.path("large")), "{name}");
        bob.store_is_whole();
    }
}

/// C8: over a wire an update costs about what an optimal patch would.
#[test]
fn pkg_serve_carries_over_http() {
    let world = World::new();
    let ada = with_large(&world);
    let served = ada.serve(&ada.repo(), &["--no-iroh"]);
    assert!(served.ticket.is_empty());
    let mut size = 0;
    let (added, updated) = journey(&world, &served.url, || size = publish_edited(&world, &ada));
    assert!(received(&added) < size + size / 10, "{} of {size}", received(&added));
    assert!(received(&updated) < fifth(size), "{} of {size}", received(&updated));
}

/// The announcement may be a bare file name.
#[test]
fn addresses_are_announced_in_the_folder_one_stands_in() {
    let world = World::new();
    let (ada, _) = world.with_hello();
    let mut command = ada.command(["serve", "--repo", "ada.repo", "--no-iroh", "--announce", "addresses"]);
    let mut served = crate::sandbox::Guard(command.stdout(std::process::Stdio::null()).spawn().unwrap());
    crate::sandbox::wait_for("the announcement", || world.path("addresses").exists());
    let url = fs::read_to_string(world.path("addresses")).unwrap();
    world.user("bob").ok(["ls-remote", url.trim()]);
    assert!(served.0.try_wait().unwrap().is_none(), "it goes on serving");
}

#[test]
fn pkg_serve_carries_over_iroh() {
    let world = World::new();
    let ada = with_large(&world);
    let served = ada.serve(&ada.repo(), &[]);
    let mut size = 0;
    let (_, updated) = journey(&world, &served.ticket, || size = publish_edited(&world, &ada));
    assert!(received(&updated) < fifth(size), "{} of {size}", received(&updated));
}

/// L-P1: who has the last release pays for an edit what the edit is, not what chunks are.
#[test]
fn an_edit_of_a_few_words_costs_a_few_kilobytes() {
    let world = World::new();
    let ada = with_large(&world);
    publish_edited(&world, &ada);
    let bytes = ada.yes(["delta-size", "large", "1.0.0", "1.1.0", "--repo", "ada.repo"])["bytes"].as_u64();
    assert!(bytes.unwrap() < 40_000, "{bytes:?}");
}

/// C9: a bundle holds all that is needed to check it, from nothing.
#[test]
fn a_bundle_carries() {
    let world = World::new();
    let ada = with_large(&world);
    let create = |file: &str| ada.yes(["bundle", "create", file, "large", "--repo", "ada.repo"]);
    create("one.bundle");
    ada.ok(["bundle", "verify", "one.bundle"]);
    fs::create_dir(world.path("stick")).unwrap();
    fs::rename(world.path("one.bundle"), world.path("stick/large.bundle")).unwrap();
    journey(&world, "stick/large.bundle", || {
        publish_edited(&world, &ada);
        create("two.bundle");
        fs::rename(world.path("two.bundle"), world.path("stick/large.bundle")).unwrap();
    });
}

/// SEC-033: a bundle that is cut, changed or longer than it says is refused, and nothing is kept.
#[test]
fn a_damaged_bundle_is_refused() {
    let world = World::new();
    let (ada, _) = world.with_hello();
    ada.ok(["bundle", "create", "hello.bundle", "hello", "--repo", "ada.repo"]);
    let whole = fs::read(world.path("hello.bundle")).unwrap();
    let bob = world.user("bob");
    let mut dice = crate::fixture::Dice(3);
    let mut cases = vec![Vec::new(), dice.bytes(5_000), [whole.clone(), whole.clone()].concat()];
    for _ in 0..8 {
        cases.push(whole[..dice.below(whole.len())].to_vec());
        let mut flipped = whole.clone();
        flipped[dice.below(whole.len())] ^= 1 << dice.below(8);
        cases.push(flipped);
    }
    for (n, bytes) in cases.into_iter().enumerate() {
        fs::write(world.path("bad.bundle"), &bytes).unwrap();
        let verified = bob.run(["bundle", "verify", "bad.bundle", "--json"]);
        assert_ne!(verified.code, Some(0), "case {n}");
        verified.failure();
        let folder = format!("work{n}");
        let cloned = bob.run(["clone", "bad.bundle", &folder, "--json"]);
        if cloned.code != Some(0) {
            cloned.failure();
            assert!(!world.path(&folder).exists(), "case {n}");
        } else {
            let added = bob.at(&folder).run(["add", "hello", "--json"]);
            if added.code == Some(0) {
                assert_eq!(content(&bob.at(&folder).loaded("hello")), content(&world.path("hello")));
            } else {
                added.failure();
            }
        }
        bob.store_is_whole();
    }
}

/// C10: a mirror of a mirror is as good as the repository, and follows it.
#[test]
fn a_mirror_of_a_mirror_carries() {
    let world = World::new();
    let ada = with_large(&world);
    let [carl, dora] = ["carl", "dora"].map(|name| world.user(name));
    let first = carl.yes(["clone", "--mirror", "ada.repo", "one"]);
    assert_eq!(first["new_versions"][0], "large 1.0.0");
    let served = carl.serve(&world.path("one"), &["--no-iroh"]);
    dora.ok(["clone", "--mirror", &served.url, "two"]);
    let web = Web::files(world.path("two"), true);
    journey(&world, &web.url, || {
        let size = publish_edited(&world, &ada);
        carl.ok(["fetch", "--repo", "one"]);
        let fetched = dora.yes(["fetch", "--repo", "two"]);
        assert!(received(&fetched) < fifth(size), "{fetched}");
        let again = dora.yes(["fetch", "--repo", "two"]);
        assert_eq!(
            (again["objects"].as_u64(), again["new_versions"].as_array().unwrap().len()),
            (Some(0), 0)
        );
    });
    for mirror in ["one", "two"] {
        carl.is_whole(&world.path(mirror));
    }
}

/// A push to a folder makes it a source; the second push sends what is new.
#[test]
fn a_folder_takes_a_push() {
    let world = World::new();
    let ada = with_large(&world);
    let first = ada.yes(["push", "copy", "--repo", "ada.repo"]);
    assert_eq!(first["unchanged"], false);
    journey(&world, "copy", || {
        let size = publish_edited(&world, &ada);
        let pushed = ada.yes(["push", "copy", "--repo", "ada.repo"]);
        assert!(pushed["sent"].as_u64().unwrap() < fifth(size), "{pushed}");
        assert_eq!(ada.yes(["push", "copy", "--repo", "ada.repo"])["unchanged"], true);
    });
}

/// A folder that has a newer state, or somebody else's, is not overwritten.
#[test]
fn a_folder_with_another_state_takes_no_push() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    crate::sandbox::copy(&repo, &world.path("old"));
    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    ada.ok(["push", "copy", "--repo", "ada.repo"]);
    let before = snapshot(&world.path("copy"));
    ada.no(["push", "copy", "--repo", "old"], "E-CONFLICT");
    assert_eq!(snapshot(&world.path("copy")), before);

    let eve = world.author("eve");
    eve.publish(&world.path("hello"));
    eve.no(["push", "copy", "--repo", "eve.repo"], "E-SCOPE");
    assert_eq!(snapshot(&world.path("copy")), before);
}

/// SEC-128: `pkg serve --accept-pushes` shows what its owner signed and what is newer, nothing else.
#[test]
fn a_server_shows_pushes_of_its_owner_alone() {
    let world = World::new();
    let ada = with_large(&world);
    crate::sandbox::copy(&ada.repo(), &world.path("old"));
    ada.ok(["push", "public", "--repo", "ada.repo"]);
    let host = world.user("host");
    let served = host.serve(&world.path("public"), &["--accept-pushes"]);

    let size = publish_edited(&world, &ada);
    let pushed = ada.yes(["push", &served.url, "--repo", "ada.repo"]);
    assert!(pushed["sent"].as_u64().unwrap() < fifth(size), "{pushed}");
    assert_eq!(ada.yes(["push", &served.ticket, "--repo", "ada.repo"])["unchanged"], true);
    let before = fs::read(world.path("public/summary")).unwrap();

    let eve = world.author("eve");
    hello(&world.path("hello"), "1.0.0");
    eve.publish(&world.path("hello"));
    let stranger = eve.yes(["push", &served.url, "--repo", "eve.repo"]);
    assert!(stranger["held"].is_string(), "{stranger}");
    let older = ada.no(["push", &served.ticket, "--repo", "old"], "E-POLICY");
    assert!(older.message.contains("newer"), "{older:?}");
    assert_eq!(fs::read(world.path("public/summary")).unwrap(), before);

    let closed = host.serve(&world.path("public"), &["--no-iroh"]);
    hello(&world.path("hello"), "1.2.0");
    ada.publish(&world.path("hello"));
    ada.no(["push", &closed.url, "--repo", "ada.repo"], "E-POLICY");
    drop(closed);
    ada.ok(["push", &served.ticket, "--repo", "ada.repo"]);

    let bob = world.user("bob").clone_of(&served.ticket, "work");
    bob.ok(["add", "large", "hello", "-y"]);
    assert_eq!(content(&bob.loaded("large")), content(&world.path("large")));
    drop(served);
    host.is_whole(&world.path("public"));
}
