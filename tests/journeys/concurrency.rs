//! Several processes on one repository, and on one environment (REL-024 to REL-028).

use crate::disk::has;
use crate::fixture::{hello, small};
use crate::sandbox::{Guard, PKG, Person, Run, World, content, long, text, wait_for};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

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
    let begun = Instant::now();
    let goes_on =
        |round: &usize| if long() { begun.elapsed() < Duration::from_secs(300) } else { *round < 4 };
    ada.ok(["clone", "--mirror", "ada.repo", "mirror"]);
    for round in (1..).take_while(goes_on) {
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
        let fetch = ["fetch", "--repo", "mirror", "--json"];
        let runs = at_once(&ada, vec![words(&gc), words(&fetch), words(&gc)]);
        assert!(runs.iter().all(|run| run.code == Some(0)), "{runs:?}");
        published.join().unwrap();
        cloned.join().unwrap();
        ada.is_whole(&repo);
        ada.is_whole(&world.path("mirror"));
        bob.store_is_whole();
        let out = format!("out{round}");
        ada.ok(["checkout", &format!("hello#{version}"), &out, "--repo", "ada.repo"]);
        assert_eq!(content(&world.path(&out)), content(&world.path("hello")));
    }
}

/// REL-026: what a killed process had locked is free at once: a publication that hangs in its middle, with
/// every lock it takes, is killed, and the one that waits for it goes on.
#[test]
fn the_locks_of_a_killed_process_are_free() {
    if !has("a process killed with its locks", &["strace"]) {
        return;
    }
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let bob = world.user("bob").clone_of("ada.repo", "work");
    small(&world.path("other"), "other", "1.0.0", "");
    let verbs: [(&Person, &[&str], &[&str]); 3] = [
        (&ada, &["publish", "other", "--to", "ada.repo"], &["publish", "other", "--to", "ada.repo"]),
        (&ada, &["gc", "--grace", "0s", "--repo", "ada.repo"], &["publish", "other", "--to", "ada.repo"]),
        (&bob, &["add", "hello", "-y"], &["add", "hello", "-y"]),
    ];
    for (person, hangs, waits) in verbs {
        let log = world.path("log");
        // The program itself is our child, and its tracer stops it at the first rename.
        let mut command = Command::new("strace");
        let stop = "inject=rename,renameat,renameat2:signal=STOP:when=1";
        command.args(["-D", "-f", "-o", text(&log), "-e", "trace=rename,renameat,renameat2", "-e", stop]);
        person.dress(command.arg(PKG).args(hangs));
        let holder = Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let is_stopped = || fs::read_to_string(&log).is_ok_and(|log| log.contains("stopped by SIGSTOP"));
        wait_for("a process to stop with its locks", is_stopped);
        let (person, waits) = (person.clone(), words(waits));
        let waiting = std::thread::spawn(move || person.run(waits));
        drop(holder);
        let run = waiting.join().unwrap();
        assert_eq!(run.code, Some(0), "after {hangs:?} was killed: {run:?}");
        fs::remove_file(&log).unwrap();
    }
    ada.is_whole(&repo);
    bob.store_is_whole();
    assert_eq!(bob.installed()["hello"], "1.0.0");
}

/// REL-027, REL-025: a daemon serves, and takes pushes, while the command line publishes to the same
/// repository and collects in it: readers find every version whole.
#[test]
fn a_daemon_and_the_command_line_share_a_repository() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let served = ada.serve(&repo, &[]);
    let begun = Instant::now();
    let goes_on = |round: usize| if long() { begun.elapsed() < Duration::from_secs(300) } else { round < 4 };
    let mut round = 1;
    while goes_on(round) {
        let version = format!("1.{round}.0");
        hello(&world.path("hello"), &version);
        let publish = words(&["publish", "hello", "--to", "ada.repo", "--json"]);
        let gc = words(&["gc", "--grace", "0s", "--repo", "ada.repo", "--json"]);
        let readers: Vec<_> = [("http", &served.url), ("iroh", &served.ticket)]
            .map(|(way, address)| {
                let (bob, folder) = (world.user(&format!("{way}{round}")), format!("work-{way}{round}"));
                let address = address.clone();
                std::thread::spawn(move || {
                    let bob = bob.clone_of(&address, &folder);
                    bob.ok(["add", "hello", "-y"]);
                    bob.ok(["verify"]);
                    bob.store_is_whole();
                    bob
                })
            })
            .into_iter()
            .collect();
        let runs = at_once(&ada, vec![publish, gc.clone()]);
        assert!(runs.iter().all(|run| run.code == Some(0)), "{runs:?}");
        for reader in readers {
            let bob = reader.join().unwrap();
            bob.ok(["add", &format!("hello#{version}"), "-y"]);
            assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")), "{version}");
        }
        ada.is_whole(&repo);
        round += 1;
    }
}

/// REL-028: a program that runs from an environment, and a file that it holds open, outlive an update, a
/// removal and a collection.
#[test]
fn a_running_program_keeps_its_files() {
    let world = World::new();
    let ada = world.author("ada");
    let folder = world.path("tool");
    small(&folder, "tool", "1.0.0", "");
    fs::create_dir(folder.join("bin")).unwrap();
    fs::copy("/bin/cat", folder.join("bin/cat")).unwrap(); // a program of the system, to run from the package
    ada.publish(&folder);
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "tool", "-y"]);
    let place = bob.here("pkgs/tool");
    let mut cat = Command::new(place.join("bin/cat"));
    let mut cat = Guard(cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut text_file = fs::File::open(place.join("text.txt")).unwrap();

    small(&folder, "tool", "2.0.0", "");
    ada.publish(&folder);
    bob.ok(["fetch"]);
    bob.ok(["add", "tool#2.0.0", "-y"]);
    assert_eq!(fs::read_to_string(place.join("text.txt")).unwrap(), "tool 2.0.0\n");
    bob.ok(["remove", "tool", "-y"]);
    bob.ok(["gc", "--grace", "0s"]);
    fs::remove_dir_all(bob.here("pkgs")).unwrap(); // as far as any tidying can go

    let mut read = String::new();
    text_file.read_to_string(&mut read).unwrap();
    assert_eq!(read, "tool 1.0.0\n");
    cat.0.stdin.take().unwrap().write_all(b"still here").unwrap();
    let mut said = String::new();
    cat.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "still here");
    assert!(cat.0.wait().unwrap().success());
}
