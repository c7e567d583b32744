//! A world that is put back to its beginning before every fault, and what strikes it.
//!
//! Promises: every round begins with the same bytes at the same paths.

use crate::fixture::{Dice, hello};
use crate::sandbox::{Guard, Person, Run, World, content, copy, long, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The calls that change something on disk.
pub const CALLS: &str = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,ftruncate,mkdir,mkdirat,symlink,symlinkat";
/// Most kills of one verb in the short form.
const KILLS_SHORT: usize = 22;

/// A world that is put back to its beginning before every kill, at the same path.
pub struct Stage {
    pub world: World,
    pub stage: PathBuf,
    pub ada: Person,
    pub bob: Person,
}

impl Stage {
    /// `ada` published `hello` 1.0.0; `bob` has an environment in `stage/work`, `setup` does the rest.
    pub fn set(setup: impl FnOnce(&Stage)) -> Stage {
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

    pub fn restore(&self) {
        let _ = fs::remove_dir_all(&self.stage);
        copy(&self.world.path("template"), &self.stage);
    }

    /// Writes the source of a version of `hello` that fills more than one frame.
    pub fn source(&self, version: &str) {
        self.source_at(&self.stage.join("hello"), version);
    }

    /// The same in another folder.
    pub fn source_at(&self, folder: &Path, version: &str) {
        fill(folder, version);
    }

    pub fn repo(&self) -> PathBuf {
        self.stage.join("repo")
    }

    pub fn work(&self) -> Person {
        self.bob.at(self.stage.join("work"))
    }

    /// Kills `verb` of `person` at its calls, one after the other; `check` looks after each kill, and
    /// once more after the same command was run to its end.
    pub fn kill_at_every_call(&self, person: &Person, verb: &[&str], check: &dyn Fn(&str, bool)) {
        let args: Vec<&str> = ["--jobs", "1"].iter().chain(verb).copied().collect();
        let Some(points) = self.points(person, CALLS, &args) else {
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
    pub fn points(&self, person: &Person, calls: &str, args: &[&str]) -> Option<Vec<(String, usize)>> {
        if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success()) {
            println!("strace is not here or may not trace: killing at observed progress instead");
            return None;
        }
        self.restore();
        let log = self.world.path("calls");
        let run = Run::of(strace(person, &["-e", &format!("trace={calls}"), "-o", text(&log)], args));
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
    pub fn look_after(&self, person: &Person, repo: &Path, done: bool) {
        match done {
            true => person.is_whole(repo),
            false => person.is_whole_after_a_kill(repo),
        }
    }

    /// Fails unless a version of `hello` in the repository is absent or whole, and the repository is whole.
    pub fn release_is_absent_or_whole(&self, version: &str, has_to_be: bool, place: &str) {
        self.look_after(&self.ada, &self.repo(), has_to_be);
        self.release_serves(version, has_to_be, place);
    }

    /// Fails unless a version of `hello` comes out of the repository as it went in, or is not there.
    pub fn release_serves(&self, version: &str, has_to_be: bool, place: &str) {
        let out = self.world.path("out");
        let _ = fs::remove_dir_all(&out);
        let run =
            self.ada.run(["checkout", &format!("hello#{version}"), text(&out), "--repo", text(&self.repo())]);
        match run.code {
            Some(0) => {
                let expected = self.world.path(format!("hello-{version}"));
                fill(&expected, version);
                assert_eq!(content(&out), content(&expected), "{place}");
            }
            Some(3) if !has_to_be => assert!(run.stderr.contains("E-NOTFOUND"), "{place}: {run:?}"),
            _ => panic!("{place}: {run:?}"),
        }
    }

    /// Fails unless bob's environment is one of `versions` (empty for none), whole, with links that
    /// resolve.
    pub fn environment_is_one_of(&self, versions: &[&str], place: &str) {
        self.look_after(&self.bob, &self.bob.home.join("pkg/store"), versions.len() == 1);
        self.environment_stands(versions, place);
    }

    /// Likewise, of the environment alone.
    pub fn environment_stands(&self, versions: &[&str], place: &str) {
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

fn fill(folder: &Path, version: &str) {
    hello(folder, version);
    fs::write(folder.join("data"), Dice(5).prose(300 << 10)).unwrap();
    fs::write(folder.join("noise"), Dice(6).bytes(100 << 10)).unwrap();
}

/// The program beneath `strace`.
pub fn strace(person: &Person, flags: &[&str], args: &[&str]) -> Command {
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
