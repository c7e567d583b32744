//! Killed at a system call: the old state stands or the new one does, and the same command then
//! succeeds (REL-001 to REL-006).
//!
//! With `strace` every run is killed at one call (THREATS 4, M1); the short form takes a sample of
//! them, the long one all. Without it, the program is killed as soon as it is seen to be at work.

use crate::fixture::{Dice, manifest};
use crate::sandbox::{Person, Run, long, received};
use crate::stage::{CALLS, Stage, strace};
use std::fs;

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
    let Some(points) = stage.points(&stage.work(), CALLS, &["--jobs", "1", "remove", "hello", "-y"]) else {
        return;
    };
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
        stage.ada.is_whole_after_a_kill(&stage.repo()); // the index of a pack that went may stay
        stage.release_serves("1.1.0", true, place);
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
    let Some(points) = stage.points(&stage.ada, CALLS, &args) else { return };
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

/// REL-005: a bundle that is taken in is absent or whole; so is one that is written.
#[test]
fn a_killed_bundle_is_absent_or_whole() {
    let stage = Stage::set(|stage| {
        stage.ada.ok(["bundle", "create", "all.bundle", "--repo", "repo"]);
    });
    let carried = stage.stage.join("carried");
    let verbs: [&[&str]; 2] = [
        &["--jobs", "1", "clone", "--mirror", "all.bundle", "carried"],
        &["--jobs", "1", "bundle", "create", "other.bundle", "--repo", "repo"],
    ];
    for verb in verbs {
        let Some(points) = stage.points(&stage.bob, CALLS, verb) else { return };
        let stride = if long() { 1 } else { (points.len() / 10).max(7) };
        for (call, n) in points.iter().skip(4).step_by(stride) {
            stage.restore();
            let inject = format!("inject={call}:signal=KILL:when={n}");
            Run::of(strace(&stage.bob, &["-e", &format!("trace={call}"), "-e", &inject], verb));
            let place = format!("{} killed at {call} {n}", verb.join(" "));
            if stage.stage.join("other.bundle").exists() {
                stage.bob.ok(["bundle", "verify", "other.bundle"]);
            }
            let again = stage.bob.run(verb);
            let is_done = again.code == Some(0) || again.stderr.contains("E-CONFLICT"); // it was
            assert!(is_done, "{place}, again: {again:?}");
            match verb.contains(&"clone") {
                true => {
                    stage.bob.is_whole(&carried);
                    stage.bob.ok(["show", "hello#1.0.0", "--repo", "carried"]);
                }
                false => drop(stage.bob.ok(["bundle", "verify", "other.bundle"])),
            }
        }
    }
}

/// REL-003, REL-009: a collection that comes first after a kill takes nothing that the killed command was
/// about to name: of a fetch whose tags were being moved, the releases stay.
#[test]
fn a_gc_after_a_kill_takes_nothing_that_was_about_to_be_named() {
    let stage = Stage::set(|stage| {
        stage.bob.ok(["clone", "--mirror", "repo", "mirror"]);
        stage.source("1.1.0");
        stage.ada.ok(["publish", "hello", "--to", "repo"]);
    });
    let mirror = stage.stage.join("mirror");
    let fetch = ["--jobs", "1", "fetch", "--repo", "mirror"];
    let Some(points) = stage.points(&stage.bob, "fdatasync,rename,pwrite64,ftruncate", &fetch) else {
        return;
    };
    let stride = if long() { 1 } else { (points.len() / 16).max(1) };
    for (call, n) in points.iter().step_by(stride) {
        stage.restore();
        let inject = format!("inject={call}:signal=KILL:when={n}");
        Run::of(strace(&stage.bob, &["-e", &format!("trace={call}"), "-e", &inject], &fetch));
        let place = format!("fetch killed at {call} {n}, then gc");
        let collected = stage.bob.run(["gc", "--grace", "0s", "--repo", "mirror"]);
        assert_eq!(collected.code, Some(0), "{place}: {collected:?}");
        println!("{place}");
        stage.bob.is_whole_after_a_kill(&mirror);
        let again = stage.bob.run(fetch);
        assert_eq!(again.code, Some(0), "{place}, again: {again:?}");
        stage.bob.is_whole_after_a_kill(&mirror);
        stage.bob.ok(["show", "hello#1.1.0", "--repo", "mirror"]);
    }
}

/// REL-042, REL-043: a collection that comes first after a killed publication keeps what was signed: the
/// author's next version goes on where the killed one stopped.
#[test]
fn a_gc_after_a_killed_publish_keeps_what_was_signed() {
    let stage = Stage::set(|stage| {
        stage.source("1.1.0");
        stage.source_at(&stage.stage.join("newer"), "1.2.0");
    });
    let publish = ["--jobs", "1", "publish", "hello", "--to", "repo"];
    let Some(points) = stage.points(&stage.ada, "fdatasync,rename", &publish) else { return };
    let stride = if long() { 1 } else { (points.len() / 16).max(1) };
    for (call, n) in points.iter().step_by(stride) {
        stage.restore();
        let inject = format!("inject={call}:signal=KILL:when={n}");
        Run::of(strace(&stage.ada, &["-e", &format!("trace={call}"), "-e", &inject], &publish));
        let place = format!("publish killed at {call} {n}, then gc");
        let collected = stage.ada.run(["gc", "--grace", "0s", "--repo", "repo"]);
        assert_eq!(collected.code, Some(0), "{place}: {collected:?}");
        let newer = stage.ada.run(["publish", "newer", "--to", "repo"]);
        assert_eq!(newer.code, Some(0), "{place}: {newer:?}");
        stage.ada.is_whole(&stage.repo());
        let again = stage.ada.run(publish);
        assert_eq!(again.code, Some(0), "{place}, again: {again:?}");
        stage.ada.ok(["show", "hello#1.1.0", "--repo", "repo"]);
    }
}
