//! Power cuts on the weakest disk there may be (REL-010, REL-006): whatever was not synced is lost or
//! kept, write by write and name by name, in any combination, and writes may be torn. Whatever is left
//! opens, is whole, has what was acknowledged, and the command that was cut off succeeds when repeated.
//!
//! The program is recorded once; its disk is then rebuilt in some hundred states, or some ten thousand.

use crate::disk::{Disk, has, with_mounts};
use crate::fixture::Dice;
use crate::recording::{FOLLOWED, Fate, Recording};
use crate::sandbox::{Person, Run, copy, long, text};
use crate::stage::{Stage, strace};
use std::collections::BTreeMap;
use std::fs;

/// A command of a story: who, and the words.
type Command = (Person, Vec<&'static str>);

/// Commands that are recorded, and what has to hold once so many of them were acknowledged.
struct Story<'s> {
    stage: &'s Stage,
    commands: Vec<Command>,
    check: &'s (dyn Fn(usize, &str) + Sync),
}

impl Story<'_> {
    fn tell(&self, what: &str, seed: u64) {
        if !has(what, &["strace"]) {
            return;
        }
        let told = with_mounts(what, || {
            // In memory, since what the test itself syncs need not last.
            let _disk = Disk::in_memory(&self.stage.stage, "size=1g");
            copy(&self.stage.world.path("template/."), &self.stage.stage);
            self.tell_here(seed);
        });
        if !told {
            self.stage.restore();
            self.tell_here(seed);
        }
    }

    fn tell_here(&self, seed: u64) {
        let recording = self.record();
        let samples = if long() { 5_000 } else { 70 };
        let mut dice = Dice(seed);
        for sample in 0..samples {
            let end = 1 + dice.below(recording.len());
            let fate = fates(&recording, end, &mut dice);
            let lost = fate.iter().filter(|(_, fate)| **fate != Fate::Kept);
            let lost: Vec<String> =
                lost.map(|(n, fate)| format!("\n  {n} {fate:?}: {}", recording.describe(*n))).collect();
            let place = format!("seed {seed}, sample {sample}, cut before step {end}{}", lost.concat());
            recording.play(end, &fate);
            let done = recording.acknowledged(end);
            (self.check)(done, &place);
            if let Some((person, words)) = self.commands.get(done) {
                let again = person.run(words);
                let is_done = again.code == Some(0) || again.stderr.contains("E-CONFLICT"); // it was
                assert!(is_done, "{place}\nagain: {again:?}");
                (self.check)(done + 1, &format!("{place}\nafter {words:?} again"));
            }
        }
        println!("{samples} states of {} steps with seed {seed}", recording.len());
    }

    fn record(&self) -> Recording {
        let mut recording = Recording::of(&self.stage.stage);
        for (n, (person, words)) in self.commands.iter().enumerate() {
            let log = self.stage.world.path(format!("log-{n}"));
            let trace = format!("trace={FOLLOWED}");
            let flags = ["-xx", "-s", "100000000", "-o", text(&log), "-e", &trace];
            let run = Run::of(strace(person, &flags, words));
            assert_eq!(run.code, Some(0), "{run:?}");
            recording.add(&fs::read_to_string(&log).unwrap(), &person.here(""));
            recording.acknowledge();
        }
        let truth = crate::sandbox::content(&self.stage.stage);
        recording.play(recording.len(), &BTreeMap::new());
        let mut played = crate::sandbox::content(&self.stage.stage);
        played.retain(|path, _| !path.ends_with("-shm")); // SQLite's shared memory, made anew from its log
        let differs = |path: &&String| played.get(*path) != truth.get(*path);
        let differing: Vec<&String> = truth.keys().chain(played.keys()).filter(differs).collect();
        assert!(differing.is_empty(), "the recording is not what happened to {differing:?}");
        recording
    }
}

/// What becomes of every step that need not last: mostly all lost or all kept, with a few the other way;
/// else each as the dice fall.
fn fates(recording: &Recording, end: usize, dice: &mut Dice) -> BTreeMap<usize, Fate> {
    let open = recording.unsynced(end);
    let percent = [0, 0, 10, 50, 90, 100][dice.below(6)];
    let mut fate = |n| {
        let kept = dice.below(100) < percent;
        let torn = dice.below(8) == 0;
        (
            n,
            if torn {
                Fate::Torn(dice.roll())
            } else if kept {
                Fate::Kept
            } else {
                Fate::Lost
            },
        )
    };
    open.into_iter().map(&mut fate).collect()
}

/// A repository after a cut: whole, but for what a killed publication may leave.
fn publications_stand(stage: &Stage, versions: &[&str], done: usize, place: &str) {
    stage.ada.is_whole_after_a_kill(&stage.repo());
    for (n, version) in versions.iter().enumerate() {
        stage.release_serves(version, n < done, place);
    }
}

/// REL-010: publications, with a collection after them.
#[test]
fn publications_survive_any_loss_of_what_was_not_synced() {
    let stage = Stage::set(|stage| {
        for version in ["1.1.0", "1.2.0"] {
            stage.source_at(&stage.world.path(format!("source-{version}")), version);
        }
        fs::write(stage.stage.join("rubbish"), Dice(9).bytes(50_000)).unwrap();
        stage.ada.ok(["hash-object", "-w", "rubbish", "--repo", "repo"]);
    });
    let commands = vec![
        (stage.ada.clone(), vec!["--jobs", "1", "publish", "../source-1.1.0", "--to", "repo"]),
        (stage.ada.clone(), vec!["--jobs", "1", "publish", "../source-1.2.0", "--to", "repo"]),
        (stage.ada.clone(), vec!["--jobs", "1", "gc", "--grace", "0s", "--repo", "repo"]),
    ];
    let check = |done: usize, place: &str| publications_stand(&stage, &["1.1.0", "1.2.0"], done, place);
    Story { stage: &stage, commands, check: &check }.tell("publications on a weak disk", 101);
}

/// REL-010, REL-006: from nothing: an identity, its key, a repository, the first publication.
#[test]
fn beginnings_survive_any_loss_of_what_was_not_synced() {
    let stage = Stage::set(|stage| {
        stage.source_at(&stage.world.path("source-2.0.0"), "2.0.0");
        fs::create_dir(stage.stage.join("eve")).unwrap();
    });
    let eve = stage.world.user_at(text(&stage.stage.join("eve"))).at(&stage.stage);
    let commands = vec![
        (eve.clone(), vec!["id", "new", "eve"]),
        (eve.clone(), vec!["init", "--bare", "fresh"]),
        (eve.clone(), vec!["--jobs", "1", "publish", "../source-2.0.0", "--to", "fresh"]),
        (eve.clone(), vec!["clone", "--mirror", "fresh", "mirror"]),
    ];
    let check = |done: usize, place: &str| {
        let listed = eve.run(["id", "list", "--json"]);
        assert_eq!(listed.code, Some(0), "{place}: {listed:?}");
        if done >= 1 {
            assert_eq!(listed.json()[0]["name"], "eve", "{place}");
        }
        for (needed, repo) in [(3, "fresh"), (4, "mirror")] {
            if done >= needed {
                let shown = eve.run(["show", "hello#2.0.0", "--repo", repo]);
                assert_eq!(shown.code, Some(0), "{place}: {shown:?}");
                eve.is_whole(&stage.stage.join(repo));
            }
        }
    };
    Story { stage: &stage, commands, check: &check }.tell("beginnings on a weak disk", 102);
}

/// REL-010: an environment that changes.
#[test]
fn environments_survive_any_loss_of_what_was_not_synced() {
    let stage = Stage::set(|stage| {
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
    });
    let work = stage.work();
    let commands = vec![
        (work.clone(), vec!["--jobs", "1", "add", "hello#1.0.0", "-y"]),
        (work.clone(), vec!["--jobs", "1", "add", "hello#1.1.0", "-y"]),
        (work.clone(), vec!["--jobs", "1", "add", "hello#1.0.0", "-y"]),
    ];
    let states = ["", "1.0.0", "1.1.0", "1.0.0"];
    let check = |done: usize, place: &str| {
        let next = states.get(done + 1).unwrap_or(&states[done]);
        stage.bob.is_whole_after_a_kill(&stage.stage.join("bob/pkg/store"));
        stage.environment_stands(&[states[done], next], place);
    };
    Story { stage: &stage, commands, check: &check }.tell("environments on a weak disk", 103);
}
