//! Killed at a system call, or with a full disk: the old state stands or the new one does, and the
//! same command then succeeds (REL-001, 002, 003, 004, 006, 012).
//!
//! With `strace` every run is killed at one call (THREATS 4, M1); the short form takes a sample of
//! them, the long one all. Without it, the program is killed as soon as it is seen to be at work.

use crate::fixture::{Dice, edit_large, hello, large, manifest};
use crate::sandbox::{Guard, Person, Run, World, content, copy, long, received, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The calls that change something on disk.
const CALLS: &str = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,ftruncate,mkdir,mkdirat,symlink,symlinkat";
/// Most kills of one verb in the short form.
const KILLS_SHORT: usize = 22;

/// A world that is put back to its beginning before every kill, at the same path.
struct Stage {
    world: World,
    stage: PathBuf,
    ada: Person,
    bob: Person,
}

impl Stage {
    /// `ada` published `hello` 1.0.0; `bob` has an environment in `stage/work`, `setup` does the rest.
    fn set(setup: impl FnOnce(&Stage)) -> Stage {
        let world = World::new();
        let stage = world.path("stage");
        fs::create_dir(&stage).unwrap();
        let [ada, bob] = ["stage/ada", "stage/bob"].map(|name| world.user_at(name));
        let set = Stage { ada: ada.at(&stage), bob: bob.at(&stage), world, stage };
        set.ada.ok(["id", "new", "ada"]);
        set.ada.ok(["init", "--bare", "repo"]);
        set.source("1.0.0");
        set.ada.ok(["publish", "hello", "--to", "repo"]);
        set.bob.ok(["clone", "repo", "work"]);
        setup(&set);
        fs::rename(&set.stage, set.world.path("template")).unwrap();
        set.restore();
        set
    }

    fn restore(&self) {
        let _ = fs::remove_dir_all(&self.stage);
        copy(&self.world.path("template"), &self.stage);
    }

    /// Writes the source of a version of `hello` that fills more than one frame.
    fn source(&self, version: &str) {
        hello(&self.stage.join("hello"), version);
        fs::write(self.stage.join("hello/data"), Dice(5).prose(300 << 10)).unwrap();
        fs::write(self.stage.join("hello/noise"), Dice(6).bytes(100 << 10)).unwrap();
    }

    fn repo(&self) -> PathBuf {
        self.stage.join("repo")
    }

    fn work(&self) -> Person {
        self.bob.at(self.stage.join("work"))
    }

    /// Kills `verb` of `person` at its calls, one after the other; `check` looks after each kill, and
    /// once more after the same command was run to its end.
    fn kill_at_every_call(&self, person: &Person, verb: &[&str], check: &dyn Fn(&str, bool)) {
        let args: Vec<&str> = ["--jobs", "1"].iter().chain(verb).copied().collect();
        let Some(points) = self.points(person, &args) else {
            return self.kill_while_it_works(person, &args, check);
        };
        let stride = if long() { 1 } else { (points.len() / KILLS_SHORT).max(7) };
        let offset = stride / 2;
        let mut kills = 0;
        for (call, n) in points.iter().skip(offset).step_by(stride) {
            self.restore();
            let place = format!("{} killed at {call} {n}", verb.join(" "));
            let inject = format!("inject={call}:signal=KILL:when={n}");
            let run = Run::of(strace(person, &["-e", &format!("trace={call}"), "-e", &inject], &args));
            kills += usize::from(run.code != Some(0));
            assert!(run.code.is_none_or(|code| code == 0 || code == 137), "{place}: {run:?}");
            check(&place, false);
            let again = person.run(&args);
            assert_eq!(again.code, Some(0), "{place}, again: {again:?}");
            check(&place, true);
        }
        println!("{}: {kills} kills at {} calls", verb.join(" "), points.len());
        assert!(kills > 0);
    }

    /// Every call of one clean run: its name, and its number in its thread. None without strace.
    fn points(&self, person: &Person, args: &[&str]) -> Option<Vec<(String, usize)>> {
        if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success()) {
            println!("strace is not here or may not trace: killing at observed progress instead");
            return None;
        }
        self.restore();
        let log = self.world.path("calls");
        let run = Run::of(strace(person, &["-e", &format!("trace={CALLS}"), "-o", text(&log)], args));
        assert_eq!(run.code, Some(0), "{run:?}");
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        let mut points: Vec<(String, usize)> = Vec::new();
        for line in fs::read_to_string(&log).unwrap().lines() {
            let Some((thread, rest)) = line.split_once(' ') else { continue };
            let Some((call, _)) = rest.trim_start().split_once('(') else { continue };
            if !call.bytes().all(|b| b.is_ascii_alphanumeric()) {
                continue; // a signal, or the second half of a call
            }
            let count = counts.entry((thread.to_owned(), call.to_owned())).or_default();
            *count += 1;
            let is_load = call == "openat" && rest.contains(".so");
            if !is_load && !points.contains(&(call.to_owned(), *count)) {
                points.push((call.to_owned(), *count));
            }
        }
        Some(points)
    }

    /// Kills ten runs, each after some more files were seen to change.
    fn kill_while_it_works(&self, person: &Person, args: &[&str], check: &dyn Fn(&str, bool)) {
        let mut dice = Dice(11);
        for round in 0..10 {
            self.restore();
            let steps = 1 + dice.below(12);
            let mut command = person.command(args);
            let mut child = Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
            let (mut seen, mut changes) = (names(&self.stage), 0);
            while changes < steps && child.0.try_wait().unwrap().is_none() {
                let now = names(&self.stage);
                changes += usize::from(now != seen);
                seen = now;
            }
            drop(child);
            let place = format!("{} killed after {changes} changes, round {round}", args.join(" "));
            check(&place, false);
            let again = person.run(args);
            assert_eq!(again.code, Some(0), "{place}, again: {again:?}");
            check(&place, true);
        }
    }

    /// Fails unless a repository is whole; after a kill, something may be left to be tidied.
    fn look_after(&self, person: &Person, repo: &Path, done: bool) {
        match done {
            true => person.is_whole(repo),
            false => person.is_whole_after_a_kill(repo),
        }
    }

    /// Fails unless a version of `hello` in the repository is absent or whole.
    fn release_is_absent_or_whole(&self, version: &str, has_to_be: bool, place: &str) {
        self.look_after(&self.ada, &self.repo(), has_to_be);
        let out = self.stage.join("out");
        let _ = fs::remove_dir_all(&out);
        let run =
            self.ada.run(["checkout", &format!("hello#{version}"), text(&out), "--repo", text(&self.repo())]);
        match run.code {
            Some(0) => assert_eq!(content(&out), content(&self.stage.join("hello")), "{place}"),
            Some(3) if !has_to_be => assert!(run.stderr.contains("E-NOTFOUND"), "{place}: {run:?}"),
            _ => panic!("{place}: {run:?}"),
        }
    }

    /// Fails unless bob's environment is one of `versions` (empty for none), whole, with links that
    /// resolve.
    fn environment_is_one_of(&self, versions: &[&str], place: &str) {
        self.look_after(&self.bob, &self.bob.home.join("pkg/store"), versions.len() == 1);
        let installed = self.work().installed().get("hello").cloned().unwrap_or_default();
        assert!(versions.contains(&installed.as_str()), "{place}: {installed:?} is not one of {versions:?}");
        let mut linked = 0;
        for entry in fs::read_dir(self.stage.join("work/pkgs")).unwrap() {
            let link = entry.unwrap().path();
            let told = fs::read_to_string(link.join("greeting.txt"))
                .unwrap_or_else(|e| panic!("{place}: {link:?}: {e}"));
            assert_eq!(told, format!("hello from {installed}\n"), "{place}");
            linked += 1;
        }
        assert_eq!(linked, usize::from(!installed.is_empty()), "{place}");
        let verified = self.work().run(["verify"]);
        assert_eq!(verified.code, Some(0), "{place}: {verified:?}");
    }
}

fn strace(person: &Person, flags: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]);
    if !flags.contains(&"-o") {
        command.args(["-o", "/dev/null"]);
    }
    command.args(flags).arg(crate::sandbox::PKG).args(args);
    person.dress(&mut command);
    command
}

/// The paths below a folder, as far as they can be read while somebody changes them.
fn names(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(names(&path));
        }
        found.push(path);
    }
    found
}

/// REL-001, REL-043: a publication that is killed is absent or whole, and can be repeated.
#[test]
fn a_killed_publish_is_absent_or_whole() {
    let stage = Stage::set(|stage| stage.source("1.1.0"));
    stage.kill_at_every_call(&stage.ada, &["publish", "hello", "--to", "repo"], &|place, done| {
        stage.release_is_absent_or_whole("1.1.0", done, place);
        if done {
            let bob = stage.work();
            bob.ok(["add", "hello", "-y"]);
            assert_eq!(bob.installed()["hello"], "1.1.0", "{place}");
        }
    });
}

/// REL-001: the very first publication into a repository too.
#[test]
fn a_killed_first_publish_is_absent_or_whole() {
    let stage = Stage::set(|stage| {
        stage.ada.ok(["init", "--bare", "fresh"]);
        manifest(&stage.stage.join("other"), "other", "1.0.0", "");
    });
    let fresh = stage.stage.join("fresh");
    stage.kill_at_every_call(&stage.ada, &["publish", "other", "--to", "fresh"], &|place, done| {
        stage.look_after(&stage.ada, &fresh, done);
        let shown = stage.ada.run(["show", "other", "--repo", "fresh", "--json"]);
        assert!(!done || shown.code == Some(0), "{place}: {shown:?}");
    });
}

/// REL-002, REL-004: an installation that is killed leaves the old environment or the new one; what
/// was fetched is not fetched again.
#[test]
fn a_killed_add_leaves_the_old_environment_or_the_new_one() {
    let stage = Stage::set(|_| {});
    let clean = received(&stage.work().yes(["add", "hello"]));
    stage.kill_at_every_call(&stage.work(), &["add", "hello", "-y"], &|place, done| {
        stage.environment_is_one_of(if done { &["1.0.0"] } else { &["", "1.0.0"] }, place);
        if !done {
            let again = received(&stage.work().yes(["add", "hello"]));
            assert!(again <= clean + 1_000, "{place}: {again} bytes, {clean} for all of it");
        }
    });
}

/// REL-004: likewise an update.
#[test]
fn a_killed_update_leaves_the_old_environment_or_the_new_one() {
    let stage = Stage::set(|stage| {
        stage.work().ok(["add", "hello", "-y"]);
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
    });
    stage.kill_at_every_call(&stage.work(), &["update", "-y"], &|place, done| {
        stage.environment_is_one_of(if done { &["1.1.0"] } else { &["1.0.0", "1.1.0"] }, place);
    });
}

/// REL-004: likewise a removal.
#[test]
fn a_killed_remove_leaves_the_old_environment_or_the_new_one() {
    let stage = Stage::set(|stage| drop(stage.work().ok(["add", "hello", "-y"])));
    let remove = |person: &Person| person.run(["remove", "hello", "-y"]);
    let Some(points) = stage.points(&stage.work(), &["--jobs", "1", "remove", "hello", "-y"]) else { return };
    let stride = if long() { 1 } else { (points.len() / 12).max(7) };
    for (call, n) in points.iter().skip(3).step_by(stride) {
        stage.restore();
        let inject = format!("inject={call}:signal=KILL:when={n}");
        let flags = ["-e", &format!("trace={call}"), "-e", &inject];
        Run::of(strace(&stage.work(), &flags, &["--jobs", "1", "remove", "hello", "-y"]));
        let place = format!("remove killed at {call} {n}");
        stage.environment_is_one_of(&["", "1.0.0"], &place);
        let again = remove(&stage.work());
        assert!(matches!(again.code, Some(0 | 3)), "{place}: {again:?}"); // 3: it was done already
        stage.environment_is_one_of(&[""], &place);
    }
}

/// REL-003: what a release needs is never lost to a killed collection.
#[test]
fn a_killed_gc_loses_nothing() {
    let stage = Stage::set(|stage| {
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
        fs::write(stage.stage.join("rubbish"), Dice(9).bytes(50_000)).unwrap();
        stage.ada.ok(["hash-object", "-w", "rubbish", "--repo", "repo"]);
    });
    stage.kill_at_every_call(&stage.ada, &["gc", "--grace", "0s", "--repo", "repo"], &|place, done| {
        stage.release_is_absent_or_whole("1.1.0", true, place);
        if done {
            let bob = stage.work();
            let added = bob.yes(["add", "hello#1.0.0"]);
            assert_eq!(added["actions"][0]["to"], "1.0.0", "{place}");
        }
    });
}

/// REL-003: nor to a killed repacking, at whatever call; what it left is swept by the next collection.
#[test]
fn a_killed_repack_loses_nothing() {
    let stage = Stage::set(|stage| {
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
    });
    stage.kill_at_every_call(&stage.ada, &["repack", "--full", "--repo", "repo"], &|place, done| {
        stage.release_is_absent_or_whole("1.1.0", true, place);
        if done {
            let bob = stage.work();
            let added = bob.yes(["add", "hello#1.0.0"]);
            assert_eq!(added["actions"][0]["to"], "1.0.0", "{place}");
            stage.ada.ok(["gc", "--grace", "0s", "--repo", "repo"]);
            assert_eq!(fs::read_dir(stage.repo().join("objects/tmp")).unwrap().count(), 0, "{place}");
        }
    });
}

/// REL-006: a killed `id new` leaves no half key, and the name can be used.
#[test]
fn a_killed_id_new_leaves_no_half_key() {
    let stage = Stage::set(|_| {});
    let args = ["--jobs", "1", "id", "new", "second"];
    let Some(points) = stage.points(&stage.ada, &args) else { return };
    let stride = if long() { 1 } else { (points.len() / 12).max(3) };
    for (call, n) in points.iter().skip(1).step_by(stride) {
        stage.restore();
        let inject = format!("inject={call}:signal=KILL:when={n}");
        Run::of(strace(&stage.ada, &["-e", &format!("trace={call}"), "-e", &inject], &args));
        let place = format!("id new killed at {call} {n}");
        let listed = stage.ada.yes(["id", "list"]);
        assert_eq!(listed[0]["name"], "ada", "{place}");
        let made = listed.as_array().unwrap().len() == 2;
        let again = stage.ada.run(["id", "new", "second", "--json"]);
        match made {
            true => assert_eq!(again.failure().code, "E-CONFLICT", "{place}"),
            false => assert_eq!(again.code, Some(0), "{place}: {again:?}"),
        }
        manifest(&stage.stage.join("other"), "other", "1.0.0", "");
        stage.ada.ok(["init", "--bare", "second"]);
        stage.ada.ok(["publish", "other", "--to", "second", "--as", "second"]);
        stage.ada.is_whole(&stage.stage.join("second"));
    }
}

/// A tmpfs of some size, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, kilobytes: usize) -> Option<Small> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={kilobytes}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs", text(at)]).output();
        mounted.is_ok_and(|output| output.status.success()).then(|| Small(at.to_owned()))
    }

    fn grow(&self) {
        let status = Command::new("mount").args(["-o", "remount,size=64m", text(&self.0)]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let begun = Instant::now();
        while !Command::new("umount").arg(&self.0).output().is_ok_and(|output| output.status.success()) {
            if begun.elapsed() > Duration::from_secs(10) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// REL-012: with a full disk, publishing and installing end in E-NOSPACE, which names the path; what
/// was there is whole; with space the same command works.
#[test]
fn a_full_disk_loses_nothing() {
    let sizes = if long() { 64 } else { 6 };
    for step in 0..sizes {
        let world = World::new();
        let small = world.path("small");
        let Some(disk) = Small::mount(&small, 512 + step * (6_000 / sizes)) else {
            println!("skipped: no tmpfs can be mounted here (it takes root)");
            return;
        };
        let [ada, bob] = ["small/ada", "small/bob"].map(|name| world.user_at(name).at(&small));
        ada.ok(["id", "new", "ada"]);
        ada.ok(["init", "--bare", "repo"]);
        hello(&world.path("hello"), "1.0.0");
        ada.ok(["publish", "../hello", "--to", "repo"]);
        bob.ok(["clone", "repo", "work"]);
        large(&world.path("large"), "1.0.0");
        for person in [&ada, &bob.at("work")] {
            let args: &[&str] = if person.home == ada.home {
                &["publish", "../large", "--to", "repo"]
            } else {
                &["add", "large", "-y"]
            };
            let run = person.run(args.iter().chain(&["--json"]));
            if run.code != Some(0) {
                let failure = run.failure();
                assert_eq!(failure.code, "E-NOSPACE", "{step}: {failure:?}");
                assert!(
                    failure.message.contains(text(&small)) || failure.message.contains("repo"),
                    "{failure:?}"
                );
                ada.is_whole(&small.join("repo"));
                bob.store_is_whole();
                assert!(bob.at("work").installed().is_empty());
                disk.grow();
                person.ok(args);
            }
            ada.is_whole(&small.join("repo"));
        }
        assert_eq!(content(&bob.at("work").loaded("large")), content(&world.path("large")), "{step}");
        bob.store_is_whole();
        edit_large(&world.path("large"), "1.1.0");
    }
}
