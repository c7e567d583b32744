//! Identities of one person: roles, keys that change, are stolen or lost, and what they grant
//! (THREATS 1.1, 1.5).

use crate::fixture::hello;
use crate::sandbox::{Person, World, content, copy, text};
use crate::stage::Stage;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn publish(world: &World, who: &Person, version: &str) {
    hello(&world.path("hello"), version);
    who.publish(&world.path("hello"));
}

/// The keys of a role, as `pkg id show` tells them.
fn keys_of(shown: &Value, role: &str) -> Vec<String> {
    let roles = shown["roles"].as_array().unwrap();
    let found = roles.iter().find(|row| row["roles"].as_array().unwrap().iter().any(|name| name == role));
    let keys = found.map(|row| row["keys"].as_array().unwrap().clone()).unwrap_or_default();
    keys.iter().map(|key| key["key"].as_str().unwrap().to_owned()).collect()
}

fn key_file(who: &Person, name: &str) -> std::path::PathBuf {
    who.home.join("pkg/keys").join(format!("{name}.key"))
}

/// Somebody new installs a version from a repository.
fn installs(world: &World, name: &str, repo: &Path, version: &str) {
    let work = world.user(name).clone_of(text(repo), &format!("work-{name}"));
    work.ok(["add", &format!("hello#{version}")]);
    assert_eq!(work.installed()["hello"], version);
}

/// One key stands in all roles; `--separate` gives root and recovery a key each.
#[test]
fn roles_and_keys_are_shown() {
    let world = World::new();
    let ada = world.user("ada");
    ada.ok(["id", "new", "ada"]);
    let key = ada.ok(["id", "key"]).trim().to_owned();
    let shown = ada.yes(["id", "show"]);
    for role in ["root", "admin", "release", "note", "index", "beacon"] {
        assert_eq!(keys_of(&shown, role), std::slice::from_ref(&key), "{role}");
    }
    assert!(keys_of(&shown, "recovery").is_empty());
    assert_eq!(ada.yes(["id", "verify"])["documents"], 1);
    assert_eq!(ada.yes(["id", "log"])[0]["says"][0], "founded");

    let careful = ada.yes(["id", "new", "careful", "--separate"]);
    assert_eq!(careful["keys"].as_array().unwrap().len(), 3);
    let shown = ada.yes(["id", "show", "careful"]);
    let [root, recovery, release] = ["root", "recovery", "release"].map(|role| keys_of(&shown, role));
    assert!(root != recovery && recovery != release && root != release);
    assert!(key_file(&ada, "careful-root").exists() && key_file(&ada, "careful-recovery").exists());
    let people = ada.ok(["id", "show", "careful"]);
    assert!(people.contains("here, in careful-root.key"), "{people}");
    ada.no(["id", "show", "nobody"], "E-NOTFOUND");
    ada.no(["id", "new", "x", "--threshold", "2"], "E-USAGE");
    ada.no(["id", "new", "x", "--threshold", "cook=1"], "E-USAGE");
}

/// A list of identities of an older program, which knew one key each, still serves.
#[test]
fn an_older_list_of_identities_is_read() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let list = ada.home.join("pkg/identities.toml");
    let id = ada.yes(["id", "list"])[0]["id"].as_str().unwrap().to_owned();
    let key = ada.ok(["id", "key"]).trim().to_owned();
    fs::write(&list, format!("[[identity]]\nname = \"ada\"\nid = \"{id}\"\nkey = \"{key}\"\n")).unwrap();
    publish(&world, &ada, "1.1.0");
    ada.ok(["id", "rotate"]);
    publish(&world, &ada, "1.2.0");
    installs(&world, "bob", &repo, "1.2.0");
}

/// A rotated key retires: what it signed still installs, the new one signs from then on, and machines that
/// knew the old one follow.
#[test]
fn a_rotated_key_retires_and_what_it_signed_stands() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let bob = world.user("bob").clone_of(text(&repo), "work");
    bob.ok(["add", "hello"]);
    let old = ada.ok(["id", "key"]).trim().to_owned();

    let changed = ada.yes(["id", "rotate", "--to", text(&repo)]);
    assert_eq!(changed["n"], 1);
    assert!(changed["put"][0]["index"].as_u64().unwrap() >= 1);
    assert!(key_file(&ada, "ada").exists(), "old keys are not deleted");
    let new = ada.ok(["id", "key"]).trim().to_owned();
    assert_ne!(old, new);
    let shown = ada.yes(["id", "show"]);
    assert_eq!(shown["retired"][0]["key"], old);
    assert_eq!(shown["retired"][0]["checkpoint"][0]["seq"], 0);
    assert_eq!(keys_of(&shown, "release"), [new]);

    publish(&world, &ada, "1.1.0");
    bob.ok(["update"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");
    installs(&world, "carol", &repo, "1.0.0");
    installs(&world, "dan", &repo, "1.1.0");
    assert_eq!(ada.yes(["id", "verify", "--repo", text(&repo)])["documents"], 2);
    ada.is_whole(&repo);
}

/// REL-042: a restored backup does not sign a document under a number that a repository has.
#[test]
fn a_restored_backup_does_not_fork_its_identity() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    copy(&ada.home.join("pkg"), &world.path("backup"));
    ada.ok(["id", "rotate", "--to", text(&repo)]);
    ada.ok(["id", "export", "ada.documents"]);
    fs::remove_dir_all(ada.home.join("pkg")).unwrap();
    copy(&world.path("backup"), &ada.home.join("pkg"));
    let refused = ada.no(["id", "rotate", "--to", text(&repo)], "E-CONFLICT");
    assert!(refused.message.contains("document 1"), "{refused:?}");
    ada.ok(["id", "apply", "ada.documents"]);
    assert_eq!(ada.yes(["id", "show"])["n"], 1);
}

/// SEC-056, SEC-142 in small: a stolen key signs on in a copy of the repository; after the revocation nobody
/// who saw it takes that, and what was good still installs.
#[test]
fn a_stolen_key_is_worth_nothing_once_revoked() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let bob = world.user("bob").clone_of(text(&repo), "work");
    bob.ok(["add", "hello"]);
    let thief = world.user("thief");
    copy(&ada.home.join("pkg"), &thief.home.join("pkg"));
    copy(&repo, &world.path("thief.repo"));

    ada.ok(["id", "revoke", "ada", "--to", text(&repo)]);
    publish(&world, &ada, "1.1.0");
    bob.ok(["update"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");
    let shown = ada.yes(["id", "show"]);
    assert_eq!(shown["revoked"][0]["checkpoint"][0]["seq"], 0);

    publish(&world, &thief, "6.6.6");
    fs::rename(&repo, world.path("true.repo")).unwrap();
    copy(&world.path("thief.repo"), &repo);
    let before = content(&bob.here("pkgs"));
    let run = bob.run(["update"]);
    assert_eq!(run.code, Some(4), "{run:?}");
    assert_eq!(content(&bob.here("pkgs")), before);
    fs::remove_dir_all(&repo).unwrap();
    fs::rename(world.path("true.repo"), &repo).unwrap();
    installs(&world, "carol", &repo, "1.0.0");
}

/// A lost root is replaced in the name of the recovery role, and readers follow.
#[test]
fn a_lost_root_is_recovered() {
    let world = World::new();
    let ada = world.user("ada");
    ada.ok(["id", "new", "ada", "--separate"]);
    ada.ok(["init", "--bare", "ada.repo"]);
    publish(&world, &ada, "1.0.0");
    let bob = world.user("bob").clone_of(text(&ada.repo()), "work");
    bob.ok(["add", "hello"]);
    fs::rename(key_file(&ada, "ada-root"), world.path("sunk")).unwrap();

    let waits = ada.yes(["id", "rotate"]);
    assert_eq!(waits["waiting"][0]["needs"][0]["role"], "root or recovery");
    ada.ok(["id", "abandon", waits["waiting"][0]["file"].as_str().unwrap()]);
    let recovered = ada.yes(["id", "recover", "--to", text(&ada.repo())]);
    assert_eq!(recovered["waiting"].as_array().unwrap().len(), 0, "{recovered}");
    assert_eq!(ada.yes(["id", "log"])[0]["by"], "recovery");
    publish(&world, &ada, "1.1.0");
    bob.ok(["update"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");
    ada.ok(["id", "new", "bare"]);
    ada.no(["id", "recover", "bare"], "E-NOTFOUND");
}

/// Root lies on a machine without network: the statement goes there in a file, and comes back signed.
#[test]
fn a_root_key_elsewhere_signs_a_file() {
    let world = World::new();
    let [ada, vault] = ["ada", "vault"].map(|name| world.user(name));
    ada.ok(["id", "new", "ada", "--separate"]);
    fs::create_dir_all(vault.home.join("pkg")).unwrap();
    copy(&ada.home.join("pkg/keys"), &vault.home.join("pkg/keys"));
    fs::remove_file(key_file(&vault, "ada")).unwrap();
    for moved in ["ada-root", "ada-recovery"] {
        fs::remove_file(key_file(&ada, moved)).unwrap();
    }

    let waits = ada.yes(["id", "rotate"]);
    let file = waits["waiting"][0]["file"].as_str().unwrap();
    ada.no(["id", "apply", file], "E-SIG");
    ada.no(["sign", file, "--yes"], "E-SIG");
    let shown = ada.yes(["id", "show"]);
    assert_eq!((shown["n"].as_u64(), shown["waiting"][0]["file"].as_str()), (Some(0), Some(file)));
    vault.no(["sign", file, "--yes"], "E-NOTFOUND"); // it knows nothing of ada yet
    ada.ok(["id", "export", "ada.documents"]);
    assert_eq!(vault.yes(["id", "verify", "ada.documents"])["documents"], 1);
    vault.ok(["id", "apply", "ada.documents"]);
    vault.no(["sign", file], "E-USAGE"); // nobody can be asked here
    let said = vault.ok(["sign", file, "--yes"]);
    assert!(said.contains("leaves") && said.contains("retires ed25519:"), "{said}");
    let signed = ada.yes(["sign", file, "--show"]);
    assert_eq!(signed[0]["needs"].as_array().unwrap().len(), 0, "{signed}");
    ada.ok(["id", "apply", file]);
    assert_eq!(ada.yes(["id", "show"])["n"], 1);
    assert_eq!(ada.yes(["id", "log"])[0]["by"], "root");
}

/// Keys behind a passphrase are opened when they have to sign, and new ones can have one too.
#[test]
fn keys_with_a_passphrase_change_with_it_only() {
    let world = World::new();
    let ada = world.user("ada");
    let knowing = ada.with("PKG_PASSPHRASE", "open sesame");
    knowing.ok(["id", "new", "ada", "--encrypt"]);
    ada.ok(["id", "show"]);
    ada.no(["id", "rotate"], "E-KEYPERM");
    assert_eq!(ada.yes(["id", "show"])["n"], 0);
    knowing.ok(["id", "rotate", "--encrypt"]);
    ada.no(["id", "rotate"], "E-KEYPERM");
    knowing.ok(["id", "rotate"]); // signed with the old key, for one that is open
    ada.ok(["id", "rotate"]);
    assert_eq!(ada.yes(["id", "verify"])["documents"], 4);
}

/// REL-043: while one statement waits, no second one is signed under its number; one that was given up
/// frees it. A file that is damaged or of another kind is refused.
#[test]
fn one_number_is_signed_once() {
    let world = World::new();
    let ada = world.user("ada");
    ada.ok(["id", "new", "ada"]);
    let elsewhere = world.user("elsewhere");
    elsewhere.ok(["id", "new", "other"]);
    let key = elsewhere.ok(["id", "key"]).trim().to_owned();
    let waits = ada.yes(["id", "rotate", "--with", &key]);
    let file = waits["waiting"][0]["file"].as_str().unwrap().to_owned();
    ada.no(["id", "rotate"], "E-CONFLICT");
    ada.no(["id", "reset", "index=3"], "E-CONFLICT");
    ada.ok(["id", "abandon", &file]);
    ada.ok(["id", "reset", "index=3"]);
    assert_eq!(ada.yes(["id", "show"])["reset"][0]["n"], 3);
    ada.no(["id", "reset", "cook=3"], "E-USAGE");

    fs::write(world.path("noise"), b"no statement").unwrap();
    ada.no(["sign", "noise", "--yes"], "E-FORMAT");
    ada.no(["sign", "nothing", "--yes"], "E-NOTFOUND");
    ada.no(["id", "apply", "noise"], "E-FORMAT");
}

/// Grants are given, listed, put into the index, and ended with a checkpoint; they outlive a change of
/// the key that signed them.
#[test]
fn grants_are_given_and_ended() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let ci = world.user("ci");
    ci.ok(["id", "new", "ci"]);
    let id = ci.ok(["id", "list"]).split_whitespace().last().unwrap().to_owned();

    let given = ada.yes([
        "id",
        "grant",
        &id,
        "acme/*",
        "hello",
        "--until",
        "2099-01-01",
        "--actions",
        "release",
        "--to",
        text(&repo),
    ]);
    let grant = given["grant"].as_str().unwrap().trim_start_matches("blake3:").to_owned();
    ada.no(
        ["id", "grant", &id, "acme/*", "hello", "--until", "2099-01-01", "--actions", "release"],
        "E-CONFLICT",
    );
    ada.no(["id", "grant", &id, "x", "--until", "2001-01-01"], "E-USAGE");
    ada.no(["id", "grant", "nobody", "x"], "E-NOTFOUND");
    let listed = ada.yes(["id", "grants"]);
    assert_eq!((listed[0]["state"].as_str(), listed.as_array().unwrap().len()), (Some("counts"), 1));
    assert_eq!(ada.yes(["id", "verify", "--repo", text(&repo)])["grants"], 1);
    assert!(ada.ok(["id", "show"]).contains("release acme/* hello from"));

    ada.ok(["id", "rotate"]); // the new admin key signs them anew
    assert_eq!(ada.yes(["id", "verify"])["grants"], 2);
    let ended = ada.yes(["id", "ungrant", &grant[..12], "--to", text(&repo)]);
    assert!(ended["says"][1].as_str().unwrap().starts_with("ends what lets"), "{ended}");
    assert_eq!(ada.yes(["id", "grants"])[0]["state"], "ended");
    ada.no(["id", "ungrant", &id], "E-NOTFOUND");
    ada.is_whole(&repo);
    ada.ok(["gc"]);
    ada.store_is_whole();
    assert_eq!(ada.yes(["id", "verify"])["grants"], 3);
    assert_eq!(ada.run(["id", "grant", &id, "Acme"]).code, Some(2));
}

/// REL-043: a change of keys that is killed anywhere leaves an identity that stands, one document a number,
/// and publishing goes on.
#[test]
fn a_killed_rotation_leaves_an_identity_that_stands() {
    let stage = Stage::set(|_| {});
    let check = |place: &str, done: bool| {
        let log = stage.ada.yes(["id", "log"]);
        let numbers: Vec<u64> =
            log.as_array().unwrap().iter().map(|line| line["n"].as_u64().unwrap()).collect();
        let expected: Vec<u64> = (0..numbers.len() as u64).rev().collect();
        assert_eq!(numbers, expected, "{place}");
        assert!(!done || numbers.len() >= 2, "{place}");
        stage.ada.ok(["id", "verify"]);
        if done {
            stage.source("1.1.0");
            stage.ada.ok(["publish", "hello", "--to", "repo"]);
            stage.release_serves("1.1.0", true, place);
            stage.work().ok(["fetch"]);
        }
    };
    stage.kill_at_every_call(&stage.ada, &["id", "rotate", "--to", "repo"], &check);
}
