//! A team: one identity, several people, each with a key on a machine of their own; statements travel
//! between them as files.

use crate::fixture::hello;
use crate::sandbox::{Person, World, text};
use serde_json::Value;
use std::fs;

/// Three people who are `acme`, two of whom have to sign.
pub struct Team {
    pub ada: Person,
    pub bob: Person,
    pub cy: Person,
    /// `id:…` of the team.
    pub id: String,
}

/// The file in which the outcome of a command waits.
pub fn file_of(outcome: &Value) -> String {
    outcome["waiting"][0]["file"].as_str().unwrap_or_else(|| panic!("nothing waits: {outcome}")).to_owned()
}

/// Founds the team; `flags` say more.
pub fn team(world: &World, flags: &[&str]) -> Team {
    let [ada, bob, cy] = ["ada", "bob", "cy"].map(|name| {
        let person = world.user(name);
        person.ok(["id", "new", name]);
        person
    });
    let key = |person: &Person| person.ok(["id", "key"]).trim().to_owned();
    let (b, c) = (key(&bob), key(&cy));
    let founding: Vec<&str> = ["id", "new", "acme", "--member", "ada", &b, &c, "--threshold", "2"]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    let founded = ada.yes(founding);
    let file = file_of(&founded);
    assert_eq!(ada.yes(["id", "list"]).as_array().unwrap().len(), 1, "it is not founded yet");
    let said = bob.ok(["sign", &file, "--yes"]);
    assert!(said.contains("document 0 of acme") && said.contains(&c), "{said}");
    cy.ok(["sign", &file, "--yes"]); // adds nothing if two are enough
    fs::copy(&file, world.path("acme.founded")).unwrap();
    for person in [&ada, &bob, &cy] {
        person.ok(["id", "apply", "acme.founded"]);
        let listed = person.yes(["id", "list"]);
        assert!(listed.as_array().unwrap().iter().any(|own| own["name"] == "acme"), "{listed}");
    }
    let id = format!("id:{}", founded["id"].as_str().unwrap().trim_start_matches("blake3:"));
    Team { ada, bob, cy, id }
}

/// Two of three found a team, rotate a key of it, and grant; nothing counts before the second has signed.
#[test]
fn two_of_three_rotate_and_grant() {
    let world = World::new();
    let Team { ada, bob, cy, .. } = team(&world, &["--threshold", "release=1"]);
    ada.ok(["init", "--bare", "acme.repo"]);
    let repo = world.path("acme.repo");
    hello(&world.path("hello"), "1.0.0");
    ada.ok(["publish", "hello", "--to", "acme.repo", "--as", "acme"]);
    let reader = world.user("reader").clone_of(text(&repo), "work");
    reader.ok(["add", "hello"]);

    let rotated = ada.yes(["id", "rotate", "acme"]);
    let file = file_of(&rotated);
    assert_eq!(ada.yes(["id", "show", "acme"])["n"], 0);
    ada.no(["id", "apply", &file], "E-SIG");
    let shown = bob.yes(["sign", &file, "--show"]);
    assert_eq!(shown[0]["held"][0]["file"], "bob", "{shown}");
    bob.ok(["sign", &file, "--yes"]);
    fs::copy(&file, world.path("acme.1")).unwrap();
    ada.ok(["id", "apply", &file, "--to", "acme.repo"]);
    bob.ok(["id", "apply", "acme.1"]);
    let log = bob.yes(["id", "log", "acme"]);
    assert_eq!((log[0]["n"].as_u64(), log[0]["keys"].as_array().unwrap().len()), (Some(1), 3));
    hello(&world.path("hello"), "1.1.0");
    ada.ok(["publish", "hello", "--to", "acme.repo", "--as", "acme"]);
    reader.ok(["update"]);
    assert_eq!(reader.installed()["hello"], "1.1.0");

    let ci = world.user("ci");
    ci.ok(["id", "new", "ci"]);
    let who = ci.ok(["id", "list"]).split_whitespace().last().unwrap().to_owned();
    let granted = bob.yes(["id", "grant", &who, "acme/**", "--until", "30d", "--as", "acme"]);
    let file = file_of(&granted);
    cy.no(["sign", &file, "--yes"], "E-NOTFOUND"); // cy has not heard of the new key
    bob.ok(["id", "export", "acme.documents", "acme"]);
    cy.ok(["id", "apply", "acme.documents"]);
    let said = cy.ok(["sign", &file, "--yes"]);
    assert!(said.contains(&format!("lets {who} release, yank acme/**")), "{said}");
    ada.ok(["id", "apply", &file, "--to", "acme.repo"]);
    assert_eq!(ada.yes(["id", "verify", "acme", "--repo", "acme.repo"])["grants"], 1);
    assert_eq!(ada.yes(["id", "grants", "acme"])[0]["state"], "counts");
    reader.ok(["fetch"]);
}

/// Copies of one statement that were signed apart are joined; the same number is signed for no other.
#[test]
fn signatures_that_were_made_apart_are_joined() {
    let world = World::new();
    let Team { ada, bob, cy, .. } = team(&world, &["--threshold", "3"]);
    let other = world.user("other");
    other.ok(["id", "new", "other"]);
    let key = other.ok(["id", "key"]).trim().to_owned();
    let file = file_of(&ada.yes(["id", "reset", "index=7", "--as", "acme"]));
    for (person, copy) in [(&bob, "for-bob"), (&cy, "for-cy")] {
        fs::copy(&file, world.path(copy)).unwrap();
        person.ok(["sign", copy, "--yes"]);
        person.no(["id", "apply", copy], "E-SIG");
    }
    let rival = file_of(&world_rival(&world, &key));
    bob.no(["sign", &rival, "--yes"], "E-CONFLICT");
    ada.ok(["id", "apply", "for-bob", "for-cy"]);
    assert_eq!(ada.yes(["id", "show", "acme"])["reset"][0]["n"], 7);
    assert_eq!(ada.yes(["id", "log", "acme"])[0]["keys"].as_array().unwrap().len(), 3);
}

/// Another change under the same number, made on a second machine of ada's that knows nothing of the first.
fn world_rival(world: &World, key: &str) -> Value {
    let second = world.user("second");
    fs::create_dir_all(second.home.join("pkg")).unwrap();
    let from = world.path("home-ada/pkg/keys");
    crate::sandbox::copy(&from, &second.home.join("pkg/keys"));
    second.ok(["id", "apply", "acme.founded"]);
    second.yes(["id", "rotate", "acme", "--with", key])
}
