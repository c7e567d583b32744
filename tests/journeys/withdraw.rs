//! Withdrawing versions: who has one keeps it, nobody new gets it (SEC-074).

use crate::delegate::{ada_and_ci, grant, publish_for};
use crate::distribute::{hex, id_of};
use crate::fixture::hello;
use crate::identity_team::{Team, team};
use crate::sandbox::{Person, Run, World, long, text};
use crate::stage::{Stage, strace};
use objects::claim::{Index as Head, Mark};
use objects::release::{Action, Entry};
use objects::repository::Repository;
use plumbing::index::Index;
use std::fs;
use std::path::Path;

/// Publishes a version of `hello` to somebody's repository.
fn publish(world: &World, person: &Person, version: &str) {
    hello(&world.path("hello"), version);
    person.publish(&world.path("hello"));
}

/// The reason for which an index says that a version is withdrawn.
fn marked(repo: &Path, name: &str, version: &str) -> Option<String> {
    let repository = Repository::open(repo).unwrap();
    let head: Head = repository.summary().unwrap().unwrap().index.envelope().peek().unwrap();
    let index = Index::open(repository.store(), head.root).unwrap();
    let record = index.record(&name.parse().unwrap()).unwrap().unwrap();
    let version = version.parse().unwrap();
    match record.versions.into_iter().find(|row| row.release.version == version).unwrap().mark {
        Some(Mark::Yanked { reason }) => Some(reason),
        None => None,
        other => panic!("{other:?}"),
    }
}

/// Withdrawals among all statements of a repository.
fn withdrawals(repo: &Path) -> usize {
    let repository = Repository::open(repo).unwrap();
    let all = repository.statements().list().unwrap().into_iter();
    let entries = all.filter_map(|id| repository.statements().find::<Entry>(id).ok());
    let entries = entries.map(|signed| signed.envelope().peek::<Entry>().unwrap());
    entries.filter(|entry| matches!(entry.action, Action::Yank { .. })).count()
}

/// SEC-074: a withdrawn version is not chosen anew, installs with a warning where a lockfile keeps it, and comes back
/// when the withdrawal is taken back. Said twice, it is signed once.
#[test]
fn a_withdrawn_version_stays_where_it_is_locked_and_nobody_new_gets_it() {
    let world = World::new();
    let ada = world.author("ada");
    publish(&world, &ada, "1.0.0");
    publish(&world, &ada, "1.1.0");
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "hello", "-y"]);
    let yank = ["yank", "hello#1.1.0", "--repo", "ada.repo", "--reason", "it burns"];
    let first = ada.yes(yank);
    assert_eq!((&first["index"], &first["versions"][0]["version"]), (&2.into(), &"1.1.0".into()), "{first}");
    let again = ada.yes(yank);
    assert!(again["index"].is_null() && again["versions"][0]["entry"].is_null(), "{again}");
    assert!(ada.ok(yank).contains("hello 1.1.0 is yanked already"));
    assert_eq!(marked(&ada.repo(), "hello", "1.1.0").as_deref(), Some("it burns"));
    assert_eq!(withdrawals(&ada.repo()), 1);
    ada.is_whole(&ada.repo());
    ada.ok(["push", "share", "--repo", "ada.repo"]);
    ada.is_whole(&world.path("share"));

    let list = ada.yes(["repo", "list", "--repo", "ada.repo"]);
    assert_eq!(list["carried"][0]["yanked"][0][1], "it burns", "{list}");
    assert_eq!(list["carried"][0]["newest"], "1.0.0", "{list}");

    ada.ok(["bundle", "create", "hello.bundle", "hello#1.1.0", "--repo", "ada.repo"]);
    let may = world.user("may").clone_of("hello.bundle", "may.env");
    may.no(["add", "hello#1.1.0"], "E-POLICY");
    for (n, source) in ["ada.repo", "share"].into_iter().enumerate() {
        let eve = world.user(&format!("eve-{n}")).clone_of(source, &format!("eve-{n}.env"));
        let refused = eve.no(["add", "hello#1.1.0"], "E-POLICY");
        assert!(refused.message.contains("it burns"), "{refused:?}");
        eve.ok(["add", "hello", "-y"]);
        assert_eq!(eve.installed()["hello"], "1.0.0");
        let zoe = world.user(&format!("zoe-{n}")).clone_of(source, &format!("zoe-{n}.env"));
        for file in ["pkg.cfg.toml", "pkg.lock"] {
            fs::copy(bob.here(file), zoe.here(file)).unwrap();
        }
        zoe.no(["sync", "--locked", "--deny-yanked"], "E-POLICY");
        let run = zoe.run(["sync", "--locked", "-y"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains("warning:") && run.stderr.contains("it burns"), "{run:?}");
        assert_eq!(zoe.installed()["hello"], "1.1.0");
    }
    bob.ok(["fetch"]);
    bob.ok(["sync", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");

    assert!(ada.ok(["unyank", "hello#1.1.0", "--to", "ada.repo"]).contains("unyanked hello 1.1.0"));
    let again = ada.yes(["yank", "--undo", "hello#1.1.0", "--repo", "ada.repo"]);
    assert!(again["index"].is_null() && again["versions"][0]["entry"].is_null(), "{again}");
    assert_eq!(marked(&ada.repo(), "hello", "1.1.0"), None);
    ada.ok(["push", "share", "--repo", "ada.repo"]);
    ada.is_whole(&world.path("share"));
    let kim = world.user("kim").clone_of("share", "kim.env");
    kim.ok(["add", "hello#1.1.0", "-y"]);
    ada.ok(["yank", "hello@<1.1", "hello#1.1.0", "--repo", "ada.repo"]);
    assert_eq!(withdrawals(&ada.repo()), 3);
    ada.is_whole(&ada.repo());
}

/// What is not there is not withdrawn, nothing is signed beside it, and a bare name is too much.
#[test]
fn what_is_not_listed_is_not_withdrawn() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    for specs in [["hello#1.0.0", "hello#9.0.0"], ["hello#1.0.0", "other#1.0.0"]] {
        ada.no(["yank", specs[0], specs[1], "--repo", "ada.repo"], "E-NOTFOUND");
    }
    ada.no(["yank", "hello", "--repo", "ada.repo"], "E-USAGE");
    ada.no(["yank", "hello#1.0.0", "--repo", "nowhere"], "E-NOTFOUND");
    let eve = world.author("eve");
    eve.no(["yank", "hello#1.0.0", "--repo", "ada.repo"], "E-SCOPE");
    eve.ok(["repo", "accept", "ada.repo", "--repo", "eve.repo"]);
    let refused = eve.no(["yank", "hello#1.0.0", "--repo", "eve.repo"], "E-SCOPE");
    assert!(refused.hints[0].contains("pkg repo refuse hello"), "{refused:?}");
    assert_eq!(withdrawals(&repo), 0);
}

/// A withdrawal is of the version, wherever it is listed: in a second repository of its author, and at a
/// distributor that takes it over; a distributor's refusal says more, and leaves the mark when it goes.
#[test]
fn a_withdrawal_is_of_the_version_wherever_it_is_listed() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let dan = world.author("dan");
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    ada.ok(["yank", "hello#1.0.0", "--repo", "ada.repo", "--reason", "it burns"]);
    ada.ok(["init", "--bare", "second"]);
    ada.ok(["publish", "hello", "--to", "second"]);
    assert_eq!(marked(&world.path("second"), "hello", "1.0.0").as_deref(), Some("it burns"));
    dan.ok(["repo", "refuse", "hello#1.0.0", "--repo", "dan.repo"]);
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    dan.ok(["repo", "refuse", "--undo", "hello#1.0.0", "--repo", "dan.repo"]);
    assert_eq!(marked(&dan.repo(), "hello", "1.0.0").as_deref(), Some("it burns"));
    dan.is_whole(&dan.repo());
    ada.ok(["yank", "--undo", "hello#1.0.0", "--repo", "second"]);
    ada.yes(["yank", "--undo", "hello#1.0.0", "--repo", "ada.repo"]); // signed already, listed now
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    for repo in [repo, world.path("second"), dan.repo()] {
        assert_eq!(marked(&repo, "hello", "1.0.0"), None, "{repo:?}");
    }
}

/// SEC-058: a delegate withdraws with the permission `yank`, and not with `release` alone; each takes back what they
/// withdrew themselves.
#[test]
fn a_delegate_withdraws_only_with_the_permission() {
    let (world, ada, ci) = ada_and_ci();
    grant(&ada, "ada", &id_of(&ci), "acme/web");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    ci.ok(publish_for(&world, "acme/web", "1.1.0", "ada"));
    let yank = ["yank", "acme/web@>=1", "--repo", "ci.repo", "--reason", "it burns"];
    let refused = ci.no(yank, "E-SCOPE");
    assert!(refused.message.contains("yank acme/web"), "{refused:?}");
    assert_eq!(withdrawals(&ci.repo()), 0);

    ada.ok(["id", "grant", &id_of(&ci), "acme/*", "--to", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    let dan = world.author("dan");
    for person in [&dan, &ada] {
        let own = format!("{}.repo", if std::ptr::eq(person, &dan) { "dan" } else { "ada" });
        person.ok(["repo", "accept", "ci.repo", "--repo", &own]);
    }
    let done = ci.yes(yank);
    assert_eq!(done["versions"].as_array().unwrap().len(), 2, "{done}");
    assert_eq!(hex(&done["versions"][0]["owner"]), id_of(&ada)[3..]);
    for version in ["1.0.0", "1.1.0"] {
        assert_eq!(marked(&ci.repo(), "acme/web", version).as_deref(), Some("it burns"));
        let bob = world.user(&format!("bob-{version}")).clone_of("ci.repo", &format!("work-{version}"));
        bob.no(["add", &format!("acme/web#{version}")], "E-POLICY");
    }
    ci.is_whole(&ci.repo());

    for (person, repo) in [(&dan, dan.repo()), (&ada, ada.repo())] {
        person.ok(["repo", "accept", "ci.repo", "--repo", text(&repo)]);
        assert_eq!(marked(&repo, "acme/web", "1.1.0").as_deref(), Some("it burns"));
        person.is_whole(&repo);
    }
    let refused = ada.no(["yank", "--undo", "acme/web#1.1.0", "--repo", "ada.repo"], "E-SCOPE");
    assert!(refused.message.contains(&id_of(&ci)), "{refused:?}");
    ci.ok(["unyank", "acme/web#1.1.0", "--repo", "ci.repo"]);
    ada.ok(["repo", "accept", "ci.repo", "--repo", "ada.repo"]);
    assert_eq!(marked(&ada.repo(), "acme/web", "1.1.0"), None);
}

/// REL-001, REL-043: a withdrawal that is killed is absent or whole, can be repeated, and is signed once.
#[test]
fn a_killed_yank_is_absent_or_whole() {
    let stage = Stage::set(|_| {});
    let verb = ["yank", "hello#1.0.0", "--repo", "repo", "--reason", "it burns"];
    stage.kill_at_every_call(&stage.ada, &verb, &|place, done| {
        stage.release_is_absent_or_whole("1.0.0", true, place);
        let reason = marked(&stage.repo(), "hello", "1.0.0");
        assert!(reason.as_deref() == Some("it burns") || (reason.is_none() && !done), "{place}: {reason:?}");
        if done {
            assert_eq!(withdrawals(&stage.repo()), 1, "{place}");
            stage.work().no(["add", "hello#1.0.0"], "E-POLICY");
        }
    });
}

/// Of a team of whom two have to sign, a withdrawal waits for the second, and is signed once.
#[test]
fn a_withdrawal_waits_for_the_second_signature() {
    let world = World::new();
    let Team { ada, bob, .. } = team(&world, &[]);
    ada.ok(["init", "--bare", "acme.repo"]);
    hello(&world.path("hello"), "1.0.0");
    let publish = ["publish", "hello", "--to", "acme.repo", "--as", "acme"];
    let yank = ["yank", "hello#1.0.0", "--repo", "acme.repo", "--reason", "it burns"];
    for command in [&publish[..], &yank[..]] {
        let waits = ada.no(command.iter().copied(), "E-SIG");
        let file = waits.hints[0].split(['`', ' ']).find(|word| word.ends_with(".pending")).unwrap();
        let said = bob.ok(["sign", file, "--yes"]);
        assert!(command[0] == "publish" || said.contains("withdraws hello 1.0.0: it burns"), "{said}");
        ada.ok(["id", "apply", file]);
        ada.ok(command);
    }
    let repo = world.path("acme.repo");
    assert_eq!((marked(&repo, "hello", "1.0.0").as_deref(), withdrawals(&repo)), (Some("it burns"), 1));
    ada.is_whole(&repo);
}

/// REL-042, REL-043: a collection that comes first after a killed withdrawal keeps what was signed.
#[test]
fn a_gc_after_a_killed_yank_keeps_what_was_signed() {
    let stage = Stage::set(|stage| stage.source_at(&stage.stage.join("newer"), "1.1.0"));
    let yank = ["--jobs", "1", "yank", "hello#1.0.0", "--repo", "repo", "--reason", "it burns"];
    let Some(points) = stage.points(&stage.ada, "fdatasync,rename", &yank) else { return };
    let stride = if long() { 1 } else { (points.len() / 8).max(1) };
    for (call, n) in points.iter().step_by(stride) {
        stage.restore();
        let inject = format!("inject={call}:signal=KILL:when={n}");
        Run::of(strace(&stage.ada, &["-e", &format!("trace={call}"), "-e", &inject], &yank));
        let place = format!("yank killed at {call} {n}, then gc");
        stage.ada.ok(["gc", "--grace", "0s", "--repo", "repo"]);
        let newer = stage.ada.run(["publish", "newer", "--to", "repo"]);
        assert_eq!(newer.code, Some(0), "{place}: {newer:?}");
        stage.ada.ok(yank);
        assert_eq!(withdrawals(&stage.repo()), 1, "{place}");
        assert_eq!(marked(&stage.repo(), "hello", "1.0.0").as_deref(), Some("it burns"), "{place}");
        stage.ada.is_whole(&stage.repo());
    }
}
