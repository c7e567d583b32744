//! `pkg trust`: what a person sees of pins, rules and reasons, and what they may say about them.

use crate::fixture::hello;
use crate::lock::forged;
use crate::sandbox::{Person, World, text};
use serde_json::Value;
use std::fs;

/// An environment of bob's with `hello` 1.0.0 in it, and the author.
fn with_hello(world: &World) -> (Person, Person) {
    let (ada, _) = world.with_hello();
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "hello", "-y"]);
    (ada, bob)
}

fn owner(ada: &Person) -> String {
    ada.yes(["id", "list"])[0]["id"].as_str().unwrap().trim_start_matches("blake3:").to_owned()
}

/// THREATS 1.6: first use shows the owner's id, the distributor and the date, and pins; it is listed, taken
/// back by name, and pinned again by hand.
#[test]
fn first_use_is_shown_and_pinned() {
    let world = World::new();
    let (ada, _) = world.with_hello();
    let id = owner(&ada);
    let bob = world.user("bob").clone_of("ada.repo", "work");
    let run = bob.run(["add", "hello", "-y"]);
    let first = run.stderr.lines().find(|line| line.starts_with("first use of hello")).unwrap().to_owned();
    for word in [id.as_str(), "/main", "since 20", "pinned on 20"] {
        assert!(first.contains(word), "{word}: {first}");
    }
    let pins = bob.yes(["trust", "list"]);
    assert_eq!(pins["packages"][0]["name"], "hello");
    assert!(pins["packages"][0]["owner"].as_str().unwrap().ends_with(&id), "{pins}");
    assert!(pins["packages"][0]["since"].as_u64().unwrap() > 0);
    assert_eq!(pins["repositories"][0]["source"], text(&ada.repo()));
    assert_eq!(pins["heads"].as_array().unwrap().len(), 3, "identity, index, log: {pins}");
    let shown = bob.ok(["trust", "list"]);
    assert!(shown.contains(&id) && shown.contains("source") && shown.contains("head"), "{shown}");

    let stranger = format!("id:{}", "ab".repeat(32));
    bob.no(["trust", "pin", "hello", &stranger], "E-CONFLICT");
    bob.yes(["trust", "unpin", "hello"]);
    bob.no(["trust", "unpin", "hello"], "E-NOTFOUND");
    bob.yes(["trust", "pin", "hello", &stranger]);
    let failure = bob.no(["update"], "E-IDENTITY-CHANGED");
    assert!(failure.message.contains(&id), "{failure:?}");
    bob.yes(["trust", "unpin", "hello"]);
    bob.yes(["trust", "pin", "hello", &format!("id:{id}"), "--repository", &format!("{}/main", &id[..12])]);
    bob.yes(["update"]);
    bob.no(["trust", "pin", "hello", &format!("id:{id}"), "--repository", "ffffffff/main"], "E-NOTFOUND");
    assert_eq!(bob.run(["trust", "pin", "hello", "id:abc"]).code, Some(2));

    let unpinned = bob.yes(["trust", "unpin", text(&ada.repo())]);
    assert_eq!(unpinned["kind"], "source");
    assert!(bob.yes(["trust", "list"])["repositories"].as_array().unwrap().is_empty());
}

/// The rules are shown with where they come from; setting one keeps what a person wrote beside it.
#[test]
fn rules_are_shown_and_set() {
    let world = World::new();
    let bob = world.user("bob");
    fs::create_dir_all(bob.home.join("pkg")).unwrap();
    let path = bob.home.join("pkg/config.toml");
    fs::write(&path, "# mine\njobs = 2 # not more\n").unwrap();
    let rule = |person: &Person, key: &str| -> Value {
        let rules = person.yes(["trust", "policy"]);
        rules.as_array().unwrap().iter().find(|rule| rule["key"] == key).unwrap().clone()
    };
    assert_eq!(rule(&bob, "freshness")["value"], "strict");
    assert_eq!(rule(&bob, "freshness")["from"], "default");
    assert_eq!(rule(&bob, "forbidden")["from"], "fixed");
    for (key, value) in [("freshness", "warn"), ("min-age", "36h"), ("deny-yanked", "true")] {
        bob.ok(["trust", "policy", "set", key, value]);
        assert_eq!(
            (rule(&bob, key)["value"].as_str(), rule(&bob, key)["from"].as_str()),
            (Some(value), Some("config.toml"))
        );
    }
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("# mine\n") && text.contains("jobs = 2 # not more"), "{text}");
    let rules: Value =
        serde_json::from_str(&bob.ok(["trust", "policy", "--json", "--max-stale", "90d"])).unwrap();
    assert_eq!((&rules[1]["value"], &rules[1]["from"]), (&"90d".into(), &"command line".into()));
    for (key, value) in
        [("freshness", "maybe"), ("min-age", "soon"), ("deny-yanked", "perhaps"), ("jobs", "3")]
    {
        bob.no(["trust", "policy", "set", key, value], "E-USAGE");
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "what is refused changes nothing");
    bob.ok(["trust", "policy", "unset", "min-age"]);
    assert_eq!(rule(&bob, "min-age")["from"], "default");
}

/// `pkg trust why`: every step that made a release acceptable, in words and as a tree; what would be
/// refused and why; and nothing is changed by asking.
#[test]
fn why_a_release_is_accepted_is_told_step_by_step() {
    let world = World::new();
    let (ada, bob) = with_hello(&world);
    let id = owner(&ada);
    let pins = bob.yes(["trust", "list"]);
    let shown = bob.ok(["trust", "why", "hello"]);
    assert!(shown.starts_with("hello 1.0.0: accepted, and installed here\n"), "{shown}");
    let words = [
        "distributor id:",
        "index 0",
        "beacon",
        "owner id:",
        "path from the owner",
        "entry 0 of id:",
        "release role of document 0",
        "threshold 1",
        "tree blake3:",
        "your rules",
        "content",
        "fresh until 20",
        "`- index 0",
        "check 13-14:",
        "its author did not withdraw it",
        "whole in your store",
        &id,
    ];
    for word in words {
        assert!(shown.contains(word), "{word:?} is not in\n{shown}");
    }
    let why = bob.yes(["trust", "why", "hello"]);
    assert_eq!((&why["accepted"], &why["installed"]), (&true.into(), &true.into()));
    assert_eq!(why["chain"][1]["below"].as_array().unwrap().len(), 6, "{why}");

    // without the source, by what is here; elsewhere, by the pin
    fs::rename(ada.repo(), world.path("gone")).unwrap();
    bob.yes(["trust", "why", "hello"]);
    bob.yes(["trust", "why", "hello", "--offline"]);
    bob.at("..").yes(["trust", "why", "hello"]);
    fs::rename(world.path("gone"), ada.repo()).unwrap();
    assert_eq!(bob.yes(["trust", "list"]), pins);

    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    forged::yank(&ada, "hello", "1.1.0", "too loud", true);
    bob.ok(["fetch"]);
    let refused = bob.run(["trust", "why", "hello@1.1.0", "--json"]);
    assert_eq!(refused.code, Some(4), "{refused:?}");
    let refused = refused.json();
    assert_eq!(
        (&refused["accepted"], &refused["refused"]["code"]),
        (&false.into(), &"E-POLICY".into()),
        "{refused}"
    );
    assert!(refused["refused"]["message"].as_str().unwrap().contains("too loud"), "{refused}");
    let others = bob.yes(["trust", "why", "hello"])["others"].clone();
    assert_eq!(others[0]["version"], "1.1.0", "{others}");
    bob.no(["trust", "why", "nothing"], "E-NOTFOUND");
    bob.at("..").yes(["trust", "why", "hello#1.0.0"]);
    assert_eq!(bob.yes(["trust", "list"])["packages"], pins["packages"]);

    // what is listed and was never used here is judged without being pinned
    let eve = world.user("eve").clone_of("ada.repo", "eve");
    let why = eve.yes(["trust", "why", "hello#1.0.0"]);
    assert_eq!((&why["accepted"], &why["installed"]), (&true.into(), &false.into()));
    assert!(eve.yes(["trust", "list"])["packages"].as_array().unwrap().is_empty());
}
