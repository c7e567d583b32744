//! Clocks that are ten years off, or are set while the program works (REL-037): nothing hangs, nothing
//! is collected by a wrong age, what is out of date or ahead of its time is said to be.

use crate::disk::left_out;
use crate::fixture::{Dice, hello};
use crate::io::preload;
use crate::sandbox::{Person, World, content, text};
use std::fs;
use std::path::PathBuf;

const TEN_YEARS: i64 = 10 * 365 * 24 * 3600;

/// A world with people whose clocks can be set.
struct Scene {
    world: World,
    library: PathBuf,
    ada: Person,
    repo: PathBuf,
}

impl Scene {
    fn set() -> Option<Scene> {
        let world = World::new();
        let library = preload(&world, "other clocks")?;
        let (ada, repo) = world.with_hello();
        let scene = Scene { world, library, ada, repo };
        let shown = scene.at(&scene.world.user("probe"), TEN_YEARS).run(["--version"]);
        if shown.code != Some(0) {
            left_out("other clocks", "the program cannot be preloaded here");
            return None;
        }
        Some(scene)
    }

    /// Somebody whose clock is so many seconds ahead.
    fn at(&self, person: &Person, seconds: i64) -> Person {
        person.with("LD_PRELOAD", &self.library).with("PKG_TEST_CLOCK", seconds.to_string())
    }

    /// ... until it is put right, after so many looks at it.
    fn set_back_after(&self, person: &Person, seconds: i64, looks: usize) -> Person {
        self.at(person, seconds).with("PKG_TEST_CLOCK_TURNS", looks.to_string())
    }

    fn source(&self, version: &str) -> PathBuf {
        let folder = self.world.path(format!("hello-{version}"));
        hello(&folder, version);
        folder
    }

    fn installs(&self, person: &Person, version: &str) {
        person.ok(["add", &format!("hello#{version}"), "-y"]);
        self.stands(person, version);
    }

    /// As [`Scene::installs`], or it is told that it is ahead of its time.
    fn installs_or_is_ahead(&self, person: &Person, version: &str) {
        let run = person.run(["add", &format!("hello#{version}"), "-y", "--json"]);
        match run.code {
            Some(0) => self.stands(person, version),
            _ => assert_eq!(run.failure().code, "E-EXPIRED", "{version}: {run:?}"),
        }
        person.ok(["verify"]);
    }

    fn stands(&self, person: &Person, version: &str) {
        assert_eq!(content(&person.loaded("hello")), content(&self.source(version)));
        person.ok(["verify"]);
    }
}

/// REL-037, SEC-047: who looks at a good repository with a wrong clock is told that it is out of date, or
/// ahead of its time; with the right clock everything is as before.
#[test]
fn a_wrong_clock_of_the_reader_is_told_and_forgotten() {
    let Some(scene) = Scene::set() else { return };
    for (seconds, codes) in [(TEN_YEARS, ["E-FREEZE", "E-EXPIRED"]), (-TEN_YEARS, ["E-EXPIRED", "E-FREEZE"])]
    {
        let bob = scene.world.user(&format!("bob{seconds}"));
        let refused =
            scene.at(&bob, seconds).run(["clone", "ada.repo", &format!("early{seconds}"), "--json"]);
        assert!(codes.contains(&refused.failure().code.as_str()), "{refused:?}");
        let work = bob.clone_of("ada.repo", &format!("work{seconds}"));
        scene.installs(&work, "1.0.0");
        let late = scene.at(&work, seconds);
        let refused = late.run(["fetch", "--json"]);
        assert!(codes.contains(&refused.failure().code.as_str()), "{refused:?}");
        late.ok(["verify"]);
        late.ok(["list"]);
        late.ok(["load", "hello"]);
        work.ok(["fetch"]);
        work.ok(["verify"]);
    }
}

/// REL-037: an author whose clock is ahead is not believed, one whose clock is behind is out of date;
/// when the clock is right again, so is everything.
#[test]
fn a_wrong_clock_of_the_author_is_mended_by_the_next_publication() {
    for seconds in [TEN_YEARS, -TEN_YEARS] {
        let Some(scene) = Scene::set() else { return };
        let wrong = scene.at(&scene.ada, seconds);
        wrong.publish(&scene.source("1.1.0"));
        scene.ada.is_whole(&scene.repo);
        let bob = scene.world.user("bob");
        let refused = bob.run(["clone", "ada.repo", "early", "--json"]).failure();
        assert!(["E-EXPIRED", "E-FREEZE"].contains(&refused.code.as_str()), "{refused:?}");
        scene.ada.publish(&scene.source("1.2.0"));
        let work = bob.clone_of("ada.repo", "work");
        scene.installs(&work, "1.2.0");
        match seconds > 0 {
            true => drop(work.no(["add", "hello#1.1.0", "-y"], "E-EXPIRED")),
            false => scene.installs(&work, "1.1.0"),
        }
        scene.installs(&work, "1.0.0"); // the way back through the log leads past 1.1.0
        scene.ada.is_whole(&scene.repo);
    }
}

/// REL-037: `gc` with a wrong clock takes nothing that is needed; with one that is behind, nothing at all.
#[test]
fn gc_with_a_wrong_clock_takes_nothing_that_is_needed() {
    let Some(scene) = Scene::set() else { return };
    fs::write(scene.world.path("rubbish"), Dice(9).bytes(50_000)).unwrap();
    scene.ada.ok(["hash-object", "-w", "rubbish", "--repo", "ada.repo"]);
    let args = ["gc", "--repo", "ada.repo"];
    for (seconds, dropped) in [(-TEN_YEARS, 0), (0, 0), (TEN_YEARS, 1)] {
        let collected = scene.at(&scene.ada, seconds).yes(args);
        assert_eq!(collected["dropped"], dropped, "{seconds} s: {collected}");
        scene.ada.is_whole(&scene.repo);
    }
    scene.ada.ok(["checkout", "hello", "out", "--repo", text(&scene.repo)]);
    assert_eq!(content(&scene.world.path("out")), content(&scene.world.path("hello")));
}

/// REL-037: a clock that is set while a command runs: it ends, and what it did stands.
#[test]
fn a_clock_that_is_set_during_work_harms_nothing() {
    let Some(scene) = Scene::set() else { return };
    for (n, (seconds, looks)) in
        [(TEN_YEARS, 1), (TEN_YEARS, 4), (-TEN_YEARS, 1), (-TEN_YEARS, 4)].into_iter().enumerate()
    {
        let ada = scene.set_back_after(&scene.ada, seconds, looks);
        let version = format!("1.{}.0", n + 1);
        ada.publish(&scene.source(&version));
        ada.ok(["gc", "--repo", "ada.repo"]);
        scene.ada.is_whole(&scene.repo);
        let last = format!("2.{n}.0");
        scene.ada.publish(&scene.source(&last)); // by the right clock
        let bob = scene.world.user(&format!("bob{n}")).clone_of("ada.repo", &format!("work{n}"));
        scene.set_back_after(&bob, seconds, looks).run(["add", "hello", "-y"]);
        scene.installs(&bob, &last);
        scene.installs_or_is_ahead(&bob, &version); // by which look the clock is right, it is dated
    }
}
