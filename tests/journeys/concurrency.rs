//! Several processes on one repository (REL-024, REL-025).

use crate::fixture::{hello, small};
use crate::sandbox::{Person, Run, World, content, long, text};
use std::collections::BTreeSet;

/// Runs all of these at once, each to its end.
fn at_once(person: &Person, lines: Vec<Vec<String>>) -> Vec<Run> {
    let threads: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let person = person.clone();
            std::thread::spawn(move || person.run(line))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

fn words(line: &[&str]) -> Vec<String> {
    line.iter().map(|word| (*word).to_owned()).collect()
}

/// REL-024: ten publications at once into one repository: each is there, or was told of a conflict.
#[test]
fn ten_publications_at_once_lose_nothing() {
    for _ in 0..if long() { 100 } else { 2 } {
        let world = World::new();
        let ada = world.author("ada");
        let name = |n: usize| format!("package-{}", n % 7); // some packages twice, in two versions
        let lines = (0..10).map(|n| {
            let (folder, version) = (format!("src-{n}"), format!("1.{n}.0"));
            small(&world.path(&folder), &name(n), &version, "");
            words(&["publish", &folder, "--to", "ada.repo", "--json"])
        });
        let lines: Vec<_> = lines.collect();
        let runs = at_once(&ada, lines.clone());
        let mut done = BTreeSet::new();
        for (n, run) in runs.iter().enumerate() {
            match run.code {
                Some(0) => drop(done.insert(n)),
                _ => assert_eq!(run.failure().code, "E-CONFLICT", "{run:?}"),
            }
        }
        assert!(!done.is_empty());
        ada.is_whole(&ada.repo());
        for n in done {
            let spec = format!("{}#1.{n}.0", name(n));
            let shown = ada.run(["show", &spec, "--repo", "ada.repo"]);
            assert_eq!(shown.code, Some(0), "{spec} was published and is lost: {shown:?}");
        }
        lines.into_iter().for_each(|line| drop(ada.ok(line)));
        ada.is_whole(&ada.repo());
        assert_eq!(ada.yes(["search", "--repo", "ada.repo"]).as_array().unwrap().len(), 7);
    }
}

/// REL-025: collections beside publications and installations take nothing that is needed.
#[test]
fn collections_beside_work_take_nothing() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let bob = world.user("bob");
    for round in 1..if long() { 40 } else { 4 } {
        let version = format!("1.{round}.0");
        hello(&world.path("hello"), &version);
        let published = {
            let (ada, hello) = (ada.clone(), world.path("hello"));
            std::thread::spawn(move || ada.publish(&hello))
        };
        let cloned = {
            let (bob, folder) = (bob.clone(), format!("work{round}"));
            std::thread::spawn(move || {
                let bob = bob.clone_of("ada.repo", &folder);
                bob.ok(["add", "hello", "-y"]);
            })
        };
        let gc = ["gc", "--grace", "0s", "--repo", text(&repo), "--json"];
        let runs = at_once(&ada, vec![words(&gc), words(&gc)]);
        assert!(runs.iter().all(|run| run.code == Some(0)), "{runs:?}");
        published.join().unwrap();
        cloned.join().unwrap();
        ada.is_whole(&repo);
        bob.store_is_whole();
        let out = format!("out{round}");
        ada.ok(["checkout", &format!("hello#{version}"), &out, "--repo", "ada.repo"]);
        assert_eq!(content(&world.path(&out)), content(&world.path("hello")));
    }
}
