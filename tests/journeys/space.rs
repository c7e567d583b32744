//! Disks without room: for bytes, for files, for handles; and disks that only read (REL-012 to 015,
//! REL-018).
//!
//! Every story is told on a disk in memory of its own. Where nothing can be mounted, the kernel's refusal
//! is injected instead.

use crate::disk::{Disk, has, left_out, with_mounts};
use crate::fixture::{Dice, edit_large, large, small};
use crate::sandbox::{Person, Run, content, copy, long, text};
use crate::stage::{Stage, strace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Room for every story.
const ROOMY: &str = "size=256m,nr_inodes=200k";

/// A verb that needs room, with what has to hold before and after it.
struct Story {
    stage: Stage,
    verb: Vec<String>,
    by: fn(&Stage) -> Person,
    /// What was there is whole.
    old: fn(&Stage),
    /// The verb has done what it is for.
    new: fn(&Stage),
}

impl Story {
    fn new(
        setup: impl FnOnce(&Stage),
        by: fn(&Stage) -> Person,
        verb: &[&str],
        [old, new]: [fn(&Stage); 2],
    ) -> Story {
        let verb = verb.iter().map(|word| (*word).to_owned()).collect();
        Story { stage: Stage::set(setup), by, verb, old, new }
    }

    fn run(&self) -> Run {
        (self.by)(&self.stage).run(self.verb.iter().map(String::as_str).chain(["--json"]))
    }

    /// Puts everything back to its beginning, on a new disk.
    fn restore(&self) -> Disk {
        let disk = Disk::in_memory(&self.stage.stage, ROOMY);
        copy(&self.stage.world.path("template/."), &self.stage.stage);
        disk
    }

    /// Bytes and inodes that are in use before the verb, and after it.
    fn need(&self) -> [(u64, u64); 2] {
        let disk = self.restore();
        let before = disk.used();
        let run = self.run();
        assert_eq!(run.code, Some(0), "{run:?}");
        [before, disk.used()]
    }

    /// Runs the verb with ever more room, from none to more than enough; counts the refusals.
    fn with_little_room(&self, options: impl Fn(u64) -> String, steps: impl Iterator<Item = u64>) -> usize {
        let mut refused = 0;
        for room in steps {
            let disk = self.restore();
            disk.remount(&options(room));
            let run = self.run();
            let place = format!("{} with {}: {run:?}", self.verb.join(" "), options(room));
            if run.code != Some(0) {
                refused += 1;
                self.is_a_clean_refusal(&run, &place);
                disk.remount(ROOMY);
                let again = self.run();
                assert_eq!(again.code, Some(0), "{place}, with room again: {again:?}");
            }
            (self.old)(&self.stage);
            (self.new)(&self.stage);
        }
        refused
    }

    fn is_a_clean_refusal(&self, run: &Run, place: &str) {
        let failure = run.failure();
        assert_eq!(failure.code, "E-NOSPACE", "{place}");
        let named = [text(&self.stage.stage), "repo", "mirror", "carried"];
        assert!(named.iter().any(|path| failure.message.contains(path)), "{place} names no path");
        (self.old)(&self.stage);
    }

    /// The same, refused by the kernel at calls that take room.
    fn with_injected_refusals(&self) {
        self.stage.restore();
        let (by, calls) = ((self.by)(&self.stage), "write,pwrite64");
        let mut args: Vec<&str> = vec!["--jobs", "1", "--json"];
        args.extend(self.verb.iter().map(String::as_str));
        let Some(points) = self.stage.points(&by, calls, &args) else {
            return left_out("a disk that refuses", "strace may not trace here either");
        };
        let stride = if long() { 1 } else { (points.len() / 6).max(1) };
        for (call, n) in points.iter().step_by(stride) {
            self.stage.restore();
            let inject = format!("inject={call}:error=ENOSPC:when={n}+");
            let run = Run::of(strace(&by, &["-e", &format!("trace={call}"), "-e", &inject], &args));
            let place = format!("{} from {call} {n} on: {run:?}", self.verb.join(" "));
            if run.code != Some(0) && !run.stdout.is_empty() {
                self.is_a_clean_refusal(&run, &place);
            }
            (self.old)(&self.stage);
            let again = self.run();
            assert_eq!(again.code, Some(0), "{place}, with room again: {again:?}");
            (self.new)(&self.stage);
        }
    }

    /// Both kinds of room, in steps.
    fn tell(&self) {
        let steps = if long() { 64 } else { 3 };
        let told = with_mounts("disks without room", || {
            let [before, after] = self.need();
            let bytes = after.0.saturating_sub(before.0).max(256 << 10) * 5 / 4;
            let size = |room: u64| format!("size={}k", (before.0 + room) >> 10);
            let refused = self.with_little_room(size, (0..steps).map(|n| n * bytes / steps));
            assert!(refused > 0, "{} never lacked bytes", self.verb.join(" "));
            let inodes = after.1.saturating_sub(before.1).max(8) * 5 / 4;
            let count = |room: u64| format!("nr_inodes={}", before.1 + room);
            let refused = self.with_little_room(count, (0..steps).map(|n| n * inodes / steps));
            assert!(refused > 0, "{} never lacked inodes", self.verb.join(" "));
        });
        if !told {
            self.with_injected_refusals();
        }
    }
}

fn source(stage: &Stage) -> PathBuf {
    stage.world.path("large")
}

fn publish_large(stage: &Stage, version: &str) {
    match version {
        "1.0.0" => large(&source(stage), version),
        _ => edit_large(&source(stage), version),
    }
    stage.ada.ok(["publish", "../large", "--to", "repo"]);
}

/// Everything that stood before the verb of any story.
fn hello_is_whole(stage: &Stage) {
    stage.release_is_absent_or_whole("1.0.0", true, "hello");
    stage.bob.store_is_whole();
}

fn large_is_in(person: &Person, repo: &Path, stage: &Stage) {
    person.is_whole(repo);
    let out = stage.world.path("out");
    let _ = fs::remove_dir_all(&out);
    person.ok(["checkout", "large", text(&out), "--repo", text(repo)]);
    assert_eq!(content(&out), content(&source(stage)));
}

/// REL-012, REL-013: publishing.
#[test]
fn publishing_without_room_loses_nothing() {
    let setup = |stage: &Stage| {
        publish_large(stage, "1.0.0");
        edit_large(&source(stage), "1.1.0");
        fs::write(source(stage).join("fresh.bin"), Dice(31).bytes(400 << 10)).unwrap();
    };
    let old = |stage: &Stage| {
        hello_is_whole(stage);
        let shown = stage.ada.run(["show", "large#1.0.0", "--repo", "repo"]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
    };
    let new = |stage: &Stage| large_is_in(&stage.ada, &stage.repo(), stage);
    let verb = ["publish", "../large", "--to", "repo"];
    Story::new(setup, |stage| stage.ada.clone(), &verb, [old, new]).tell();
}

/// REL-012, REL-013: fetching, into a mirror.
#[test]
fn fetching_without_room_loses_nothing() {
    let setup = |stage: &Stage| {
        stage.bob.ok(["clone", "--mirror", "repo", "mirror"]);
        publish_large(stage, "1.0.0");
    };
    let old = |stage: &Stage| {
        hello_is_whole(stage);
        stage.bob.is_whole(&stage.stage.join("mirror"));
    };
    let new = |stage: &Stage| large_is_in(&stage.bob, &stage.stage.join("mirror"), stage);
    Story::new(setup, |stage| stage.bob.clone(), &["fetch", "--repo", "mirror"], [old, new]).tell();
}

/// REL-012, REL-013: installing.
#[test]
fn installing_without_room_loses_nothing() {
    let setup = |stage: &Stage| {
        stage.work().ok(["add", "hello", "-y"]);
        publish_large(stage, "1.0.0");
    };
    let old = |stage: &Stage| {
        hello_is_whole(stage);
        assert_eq!(stage.work().installed()["hello"], "1.0.0");
        stage.work().ok(["verify"]);
    };
    let new = |stage: &Stage| {
        assert_eq!(content(&stage.work().loaded("large")), content(&source(stage)));
    };
    Story::new(setup, Stage::work, &["add", "large", "-y"], [old, new]).tell();
}

/// REL-012, REL-013: taking in a bundle.
#[test]
fn taking_in_a_bundle_without_room_loses_nothing() {
    let setup = |stage: &Stage| {
        publish_large(stage, "1.0.0");
        stage.ada.ok(["bundle", "create", "../all.bundle", "--repo", "repo"]);
    };
    let new = |stage: &Stage| large_is_in(&stage.bob, &stage.stage.join("carried"), stage);
    let verb = ["clone", "--mirror", "../all.bundle", "carried"];
    Story::new(setup, |stage| stage.bob.clone(), &verb, [hello_is_whole, new]).tell();
}

/// REL-012, REL-013: collecting, with packs to be gathered.
#[test]
fn collecting_without_room_loses_nothing() {
    let setup = |stage: &Stage| {
        publish_large(stage, "1.0.0");
        for n in 0..5 {
            small(&stage.world.path("small"), &format!("small-{n}"), "1.0.0", "");
            stage.ada.ok(["publish", "../small", "--to", "repo"]);
        }
    };
    let new = |stage: &Stage| large_is_in(&stage.ada, &stage.repo(), stage);
    let verb = ["gc", "--grace", "0s", "--repo", "repo"];
    Story::new(setup, |stage| stage.ada.clone(), &verb, [hello_is_whole, new]).tell();
}

/// REL-014: on a disk that is full to the last byte `gc` works: it frees what nothing refers to, and has
/// room then for the packs that are to be joined.
#[test]
fn gc_frees_space_on_a_full_disk() {
    let stage = Stage::set(|stage| {
        for n in 0..5 {
            small(&stage.world.path("small"), &format!("small-{n}"), "1.0.0", "");
            stage.ada.ok(["publish", "../small", "--to", "repo"]);
        }
        fs::write(stage.stage.join("rubbish"), Dice(9).bytes(3 << 20)).unwrap();
        stage.ada.ok(["hash-object", "-w", "rubbish", "--repo", "repo"]);
    });
    with_mounts("gc on a full disk", || {
        let disk = Disk::in_memory(&stage.stage, "size=8m");
        copy(&stage.world.path("template/."), &stage.stage);
        disk.fill();
        let (before, _) = disk.used();
        let collected = stage.ada.yes(["gc", "--grace", "0s", "--repo", "repo"]);
        assert_eq!(collected["dropped"], 1, "{collected}");
        assert!(collected["rewritten"].as_u64().unwrap() > 1, "{collected}");
        let (after, _) = disk.used();
        assert!(after + (3 << 20) <= before, "{before} bytes in use before, {after} after");
        hello_is_whole(&stage);
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
        stage.release_is_absent_or_whole("1.1.0", true, "after gc");
    });
}

/// REL-015: on a disk that may only be read, everything that reads works, down to serving; everything
/// that writes ends at once in E-IO, and changes nothing.
#[test]
fn a_read_only_disk_serves_readers() {
    let stage = Stage::set(|stage| {
        stage.work().ok(["add", "hello", "-y"]);
        stage.source("1.1.0");
    });
    let told = with_mounts("a disk that may only be read", || {
        let disk = Disk::in_memory(&stage.stage, ROOMY);
        copy(&stage.world.path("template/."), &stage.stage);
        disk.remount("ro");
        let (ada, work) = (&stage.ada, stage.work());
        let out = stage.world.path("out");
        for reads in [
            &["show", "hello", "--repo", "repo"][..],
            &["search", "--repo", "repo"],
            &["log", "hello", "--repo", "repo"],
            &["checkout", "hello", text(&out), "--repo", "repo"],
            &["archive", "hello", "--repo", "repo", "-o", "../archive.tar"],
            &["bundle", "create", "../hello.bundle", "--repo", "repo"],
            &["fsck", "--data", "--repo", "repo"],
            &["count-objects", "--repo", "repo"],
            &["verify-pack", "--repo", "repo"],
            &["gc", "--dry-run", "--repo", "repo"],
            &["id", "list"],
        ] {
            ada.ok(reads);
        }
        for reads in [&["list"][..], &["verify"], &["load", "hello"], &["history"]] {
            work.ok(reads);
        }
        let served = ada.serve(&stage.repo(), &["--no-iroh"]);
        let eve = stage.world.user("eve").clone_of(&served.url, "eve-work");
        eve.ok(["add", "hello", "-y"]);
        assert_eq!(content(&eve.loaded("hello")), content(&stage.world.path("out")));
        drop(served);
        ada.no(["publish", "hello", "--to", "repo"], "E-IO");
        ada.no(["gc", "--grace", "0s", "--repo", "repo"], "E-IO");
        ada.no(["id", "new", "second"], "E-IO");
        ada.no(["init", "--bare", "fresh"], "E-IO");
        ada.no(["clone", "--mirror", "repo", "mirror"], "E-IO");
        work.no(["remove", "hello", "-y"], "E-IO");
        work.no(["add", "hello#1.0.0", "-y"], "E-IO");
        work.no(["fetch"], "E-IO");
        disk.remount("rw");
        hello_is_whole(&stage);
        ada.ok(["publish", "hello", "--to", "repo"]);
        work.ok(["update", "-y"]);
        assert_eq!(work.installed()["hello"], "1.1.0");
    });
    if !told {
        left_out("a disk that may only be read", "nothing else here refuses root");
    }
}

/// The program under a limit of the kernel.
fn limited(person: &Person, limit: &str, args: &[&str]) -> Run {
    let mut command = Command::new("prlimit");
    command.args([limit, "--", crate::sandbox::PKG, "--json"]).args(args);
    person.dress(&mut command);
    Run::of(command)
}

/// REL-018: with 64 handles and eighty packs, every verb works or says what it lacks, and nothing
/// is taken for damage or for gone.
#[test]
fn sixty_four_handles_do_no_harm() {
    if !has("few handles", &["prlimit"]) {
        return;
    }
    let stage = Stage::set(|stage| {
        for n in 0..80 {
            fs::write(stage.stage.join("object"), format!("object {n}")).unwrap();
            stage.ada.ok(["hash-object", "-w", "object", "--repo", "repo"]);
        }
    });
    stage.source("1.1.0");
    let out = stage.world.path("out");
    for (person, args) in [
        (&stage.ada, &["fsck", "--data", "--repo", "repo"][..]),
        (&stage.ada, &["checkout", "hello", text(&out), "--repo", "repo"]),
        (&stage.ada, &["publish", "hello", "--to", "repo"]),
        (&stage.work(), &["add", "hello", "-y"]),
        (&stage.ada, &["gc", "--grace", "0s", "--repo", "repo"]),
        (&stage.ada, &["fsck", "--data", "--repo", "repo"]),
    ] {
        let run = limited(person, "--nofile=64", args);
        if run.code != Some(0) {
            let failure = run.failure();
            assert_eq!(failure.code, "E-IO", "{args:?}: {run:?}");
            assert!(failure.message.contains("open files"), "{args:?}: {run:?}");
        }
        hello_is_whole(&stage);
        stage.work().ok(["verify"]);
    }
    stage.ada.ok(["publish", "hello", "--to", "repo"]);
    stage.work().ok(["add", "hello", "-y"]);
    stage.release_is_absent_or_whole("1.1.0", true, "with handles again");
}

/// REL-018: no file may grow past a size: E-NOSPACE, no signal, and nothing lost.
#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    if !has("a limit on the size of files", &["prlimit"]) {
        return;
    }
    let stage = Stage::set(|stage| publish_large(stage, "1.0.0"));
    edit_large(&source(&stage), "1.1.0");
    fs::write(source(&stage).join("fresh.bin"), Dice(31).bytes(400 << 10)).unwrap();
    let mut refused = 0;
    for kilobytes in [0, 40, 80, 200, 500, 1 << 14] {
        for (person, args) in [
            (&stage.ada, &["publish", "../large", "--to", "repo"][..]),
            (&stage.work(), &["add", "large#1.0.0", "-y"]),
        ] {
            let run = limited(person, &format!("--fsize={}", kilobytes << 10), args);
            if run.code != Some(0) {
                refused += 1;
                assert_eq!(run.signal, None, "{kilobytes} KiB: {run:?}");
                assert_eq!(run.failure().code, "E-NOSPACE", "{kilobytes} KiB: {run:?}");
            }
            hello_is_whole(&stage);
            stage.work().ok(["verify"]);
        }
    }
    assert!(refused > 2, "only {refused} were refused");
    large_is_in(&stage.ada, &stage.repo(), &stage);
    assert_eq!(stage.work().installed()["large"], "1.0.0");
}
