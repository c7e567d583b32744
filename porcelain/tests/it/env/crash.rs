//! Processes that end anywhere, and processes that come at once.

use super::support::{World, lockfile, materialise, now, package, packages};
use porcelain::env::{Change, Environment, Error, Installed, WantedPackage, Writer};
use rustix::process::{Signal, getpid, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

const CHILD: &str = "PKG_TEST_CHILD";

/// Runs one of the functions below in a process of its own.
fn child(role: &str, folder: &Path, number: usize) -> Child {
    child_under(Command::new(std::env::current_exe().unwrap()), role, folder, number)
}

fn child_under(mut command: Command, role: &str, folder: &Path, number: usize) -> Child {
    command
        .args(["env::crash::as_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{role} {number} {}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

fn run(role: &str, folder: &Path, number: usize) -> ExitStatus {
    child(role, folder, number).wait_with_output().unwrap().status
}

/// What a child process does; nothing where there is no word for it.
#[test]
fn as_child() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = words.splitn(3, ' ').collect();
    let (number, folder) = (words[1].parse().unwrap(), Path::new(words[2]));
    match words[0] {
        "switch" => {
            let env = Environment::open(folder).unwrap();
            switch(&env, &mut killer(number));
        }
        "open" => drop(Environment::open_watched(folder, &mut killer(number)).unwrap()),
        "hold" => hold(folder),
        "add" => add(folder, number),
        other => panic!("{other}"),
    }
}

/// Ends the process at the `n`-th step, as a power cut would.
fn killer(n: usize) -> impl FnMut(&'static str) {
    let mut steps = 0;
    move |_| {
        if steps == n {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
        steps += 1;
    }
}

fn before() -> Vec<Installed> {
    packages(&["dict#1.0.0", "acme/web#1.0.0", "gone#1.0.0", "same#1.0.0"])
}

fn after() -> Vec<Installed> {
    packages(&["dict#2.0.0", "acme#1.0.0", "new/one#1.0.0", "same#1.0.0"])
}

/// An environment in its old state, every kind of thing in it.
fn world() -> World {
    let world = World::with(before());
    let writer = world.env.lock_exclusive().unwrap();
    let index = writer.stage().unwrap();
    fs::create_dir(index.path()).unwrap();
    fs::write(index.path().join("names"), "old").unwrap();
    writer.replace_index_db(index).unwrap();
    world
}

/// From the old state to the new one.
fn switch(env: &Environment, watch: porcelain::env::Watch) {
    switch_by(&env.lock_exclusive().unwrap(), watch);
}

fn switch_by(writer: &Writer<'_>, watch: porcelain::env::Watch) {
    materialise(writer, &after());
    let index = writer.stage().unwrap();
    fs::create_dir(index.path()).unwrap();
    fs::write(index.path().join("names"), "new").unwrap();
    let mut edit = writer.environment().edit_wanted().unwrap();
    edit.set(&"dict".parse().unwrap(), &WantedPackage::of_version("^2".parse().unwrap()));
    let mut change = Change::of_packages(1, after(), "update", now());
    change.lockfile = Some(lockfile(&after()));
    change.wanted = Some(edit.finish().unwrap().0);
    change.index_db = Some(index);
    writer.switch_watched(change, watch).unwrap();
}

/// Everything of an environment that can be seen.
fn seen(world: &World) -> BTreeMap<String, String> {
    let read = |path: &str| fs::read_to_string(world.path(path)).unwrap_or_default();
    let mut seen = world.links();
    for path in ["pkg.cfg.toml", "pkg.lock", ".pkgs/index-db/names", ".pkgs/HEAD"] {
        seen.insert(format!("file {path}"), read(path));
    }
    let current: Vec<String> =
        world.env.current().unwrap().packages.iter().map(super::support::content).collect();
    seen.insert("current".to_owned(), current.join("\n"));
    seen
}

/// REL-004: killed before any step, the environment is the old or the new one once it is opened
/// again, and every link resolves before that, too.
#[test]
fn killed_anywhere_it_is_old_or_new() {
    let reference = world();
    let old = seen(&reference);
    switch(&reference.env, &mut |_| {});
    let new = seen(&reference);
    assert_ne!(old, new);

    let (mut olds, mut news) = (0, 0);
    for step in 0.. {
        let world = world();
        let status = run("switch", world.env.root(), step);
        assert!(world.all_links_resolve(), "killed at step {step}");
        Environment::open(world.env.root()).unwrap();
        let now = seen(&world);
        assert!(now == old || now == new, "killed at step {step}: {now:#?}");
        assert!(world.all_links_resolve() && !world.path(".pkgs/journal").exists());
        if status.success() {
            assert_eq!(now, new);
            break;
        }
        if now == old {
            olds += 1
        } else {
            news += 1
        }
        // The next change finds everything in order.
        world.become_of(packages(&["later#1.0.0"])).unwrap();
        assert_eq!(world.links().len(), 1);
    }
    assert!(olds >= 4 && news >= 10, "{olds} old, {news} new");
}

/// REL-004 by method M1: killed at any call that changes the disk. Needs strace, and the right to use
/// it; the test above goes without.
#[test]
fn killed_at_any_system_call_it_is_old_or_new() {
    let probe = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return;
    }
    let reference = world();
    let old = seen(&reference);
    switch(&reference.env, &mut |_| {});
    let new = seen(&reference);
    for call in ["rename", "symlink", "unlink", "rmdir"] {
        for count in 1.. {
            let world = world();
            let mut strace = Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={count}")]);
            strace.arg(std::env::current_exe().unwrap());
            let traced = child_under(strace, "switch", world.env.root(), usize::MAX);
            let status = traced.wait_with_output().unwrap().status;
            assert!(world.all_links_resolve(), "killed at {call} {count}");
            Environment::open(world.env.root()).unwrap();
            let now = seen(&world);
            assert!(now == old || now == new, "killed at {call} {count}: {now:#?}");
            if status.success() {
                assert_eq!(now, new);
                break;
            }
            assert!(count < 200);
        }
    }
}

/// What the disk refused halfway is completed before anything else is done, by the same writer too.
#[test]
fn a_switch_that_stopped_halfway_is_completed_before_the_next() {
    let reference = world();
    switch(&reference.env, &mut |_| {});
    let world = world();
    let writer = world.env.lock_exclusive().unwrap();
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut links = 0;
        switch_by(&writer, &mut |step| {
            links += usize::from(step == "link");
            assert!(links < 2, "stopped on purpose");
        });
    }));
    assert!(stopped.is_err() && world.path(".pkgs/journal").exists());
    let error = writer.switch(Change::of_packages(1, Vec::new(), "test", now())).unwrap_err();
    assert!(matches!(error, Error::Moved { expected: 1, found: 2 }), "{error:?}");
    assert_eq!(seen(&world), seen(&reference));
}

/// REL-004: so it is if the process that completes it is killed as well, anywhere.
#[test]
fn killed_while_completing_it_is_completed_later() {
    let reference = world();
    switch(&reference.env, &mut |_| {});
    let new = seen(&reference);
    let journal_stands = |world: &World| world.path(".pkgs/journal").exists();
    let first = (0..).find(|step| {
        let world = world();
        run("switch", world.env.root(), *step);
        journal_stands(&world)
    });
    for step in 0.. {
        let world = world();
        assert!(!run("switch", world.env.root(), first.unwrap()).success());
        let status = run("open", world.env.root(), step);
        assert!(world.all_links_resolve(), "killed at step {step}");
        Environment::open(world.env.root()).unwrap();
        assert_eq!(seen(&world), new, "killed at step {step}");
        if status.success() {
            assert!(step > 5);
            return;
        }
    }
}

/// O8: what a person did between the kill and the completion stays.
#[test]
fn completing_leaves_what_a_person_did_meanwhile() {
    let world = world();
    let journal = (0..).find(|step| {
        run("switch", world.env.root(), *step);
        world.path(".pkgs/journal").exists()
    });
    assert!(journal.is_some());
    fs::create_dir_all(world.path("pkgs/new/one")).unwrap();
    fs::write(world.path("pkgs/new/one/work"), "mine").unwrap();
    fs::write(world.path("pkg.cfg.toml"), "# mine\n").unwrap();
    let env = Environment::open(world.env.root()).unwrap();
    assert_eq!(env.head().unwrap(), 2);
    assert_eq!(world.loaded("dict"), "2.0.0");
    assert_eq!(fs::read_to_string(world.path("pkgs/new/one/work")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(world.path("pkg.cfg.toml")).unwrap(), "# mine\n");
    assert!(!world.path(".pkgs/journal").exists());
}

/// REL-004: between the removal of a link and that of the folder around it, which another link needs.
#[test]
fn an_emptied_folder_does_not_stop_the_completion() {
    let reference = world();
    switch(&reference.env, &mut |_| {});
    let world = world();
    let journal = (0..).find(|step| {
        run("switch", world.env.root(), *step);
        world.path(".pkgs/journal").exists()
    });
    assert!(journal.is_some());
    fs::remove_file(world.path("pkgs/acme/web")).unwrap();
    Environment::open(world.env.root()).unwrap();
    assert_eq!(seen(&world), seen(&reference));
}

fn hold(folder: &Path) {
    let env = Environment::open(folder).unwrap();
    let _writer = env.lock_exclusive().unwrap();
    println!("\nheld");
    loop {
        std::thread::park();
    }
}

/// REL-026: the lock of a killed process is free.
#[test]
fn a_killed_holder_frees_the_lock() {
    let world = World::with(packages(&["dict#1.0.0"]));
    let mut holder = child("hold", world.env.root(), 0);
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    lines.map(Result::unwrap).find(|line| line == "held").unwrap();
    assert!(world.env.try_lock_exclusive().unwrap().is_none());
    assert_eq!(world.loaded("dict"), "1.0.0", "readers do not wait");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(world.env.try_lock_exclusive().unwrap().is_some());
}

const ADDED: usize = 8;

/// Adds packages one by one, each upon what stands by then.
fn add(folder: &Path, number: usize) {
    let env = Environment::open(folder).unwrap();
    for count in 0..ADDED {
        let writer = env.lock_exclusive().unwrap();
        let current = env.current().unwrap();
        let added = vec![package(&format!("p{number}-{count}#1.0.0"))];
        materialise(&writer, &added);
        let packages = [current.packages, added].concat();
        writer.switch(Change::of_packages(current.number, packages, "add", now())).unwrap();
    }
}

/// REL-024's like: two processes that change one environment at once both succeed; none is lost.
#[test]
fn switches_at_once_lose_nothing() {
    let world = World::new();
    let children: Vec<Child> = (0..2).map(|number| child("add", world.env.root(), number)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(world.links().len(), 2 * ADDED);
    assert_eq!(world.env.head().unwrap(), 2 * ADDED as u64);
    assert_eq!(world.env.history().unwrap().len(), 2 * ADDED + 1);
    assert!(world.all_links_resolve());
}

/// What a killed process staged goes; what it put in place is used again.
#[test]
fn leftovers_are_cleared_by_the_next_writer() {
    let world = World::new();
    let tmp: PathBuf = world.path(".pkgs/tmp");
    fs::create_dir_all(tmp.join("stage-1-1/deep/er")).unwrap();
    fs::write(tmp.join("file-1-1"), "half").unwrap();
    drop(world.env.lock_exclusive().unwrap());
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0);
}
