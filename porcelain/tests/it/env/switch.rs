//! Switching: what becomes of links, and what is left alone.

use super::support::{World, beside, content, lockfile, materialise, now, package, packages};
use porcelain::env::{Change, Environment, Error, LinkEdit};
use std::fs;
use std::os::unix::fs::symlink;

fn edits(links: &[LinkEdit]) -> Vec<String> {
    let sign = |edit: &LinkEdit| if edit.tree.is_some() { '+' } else { '-' };
    links.iter().map(|edit| format!("{}{}", sign(edit), edit.link)).collect()
}

/// DESIGN 10: a plan is shown before anything is done, and what is shown is what is done.
#[test]
fn a_plan_changes_nothing_and_then_comes_about() {
    let world = World::with(packages(&["dict#1.0.0", "gone#1.0.0", "same#1.0.0"]));
    let next =
        vec![package("dict#2.0.0"), beside("dict#1.0.0"), package("same#1.0.0"), package("acme/web#1.0.0")];
    let before = world.links();
    let plan = world.env.plan_switch(&Change::of_packages(1, next.clone(), "test", now())).unwrap();
    assert_eq!(edits(&plan.links), ["-gone", "+acme/web", "+dict", "+dict#1.0.0"]);
    assert_eq!((plan.base, plan.number), (1, 2));
    assert_eq!(world.links(), before);

    let generation = world.become_of(next.clone()).unwrap();
    assert_eq!(generation.number, 2);
    assert_eq!(world.env.current().unwrap().packages, next);
    let links: Vec<String> = world.links().into_keys().collect();
    assert_eq!(links, ["acme/web", "dict", "dict#1.0.0", "same"]);
    assert_eq!(fs::read_to_string(world.path("pkgs/acme/web/content")).unwrap(), content(&next[3]));
    assert!(world.all_links_resolve());
    assert_eq!(world.env.history().unwrap().len(), 3);
}

/// O9: the default and one beside it.
#[test]
fn links_are_relative_and_named_as_asked() {
    let world = World::with(vec![package("name#2.0.0"), beside("name#1.0.3"), package("acme/web#1.0.0")]);
    let links = world.links();
    let cid = |text: &str| package(text).tree.short(32);
    assert_eq!(links["name"], format!("../.pkgs/name/name#{}", cid("name#2.0.0")));
    assert_eq!(links["name#1.0.3"], format!("../.pkgs/name/name#{}", cid("name#1.0.3")));
    assert_eq!(links["acme/web"], format!("../../.pkgs/acme~web/acme~web#{}", cid("acme/web#1.0.0")));
}

/// DESIGN 10: an environment can be moved.
#[test]
fn links_survive_moving_the_environment() {
    let world = World::with(packages(&["dict#1.0.0", "acme/web#1.0.0"]));
    let moved = world.env.root().with_file_name("moved");
    fs::rename(world.env.root(), &moved).unwrap();
    let env = Environment::open(&moved).unwrap();
    for name in ["dict", "acme/web"] {
        let info = env.load(&name.parse().unwrap(), Default::default()).unwrap();
        assert!(info.path.starts_with(&moved) && info.path.join("content").exists());
        assert!(moved.join("pkgs").join(name).join("content").exists());
    }
}

/// O8, E-CONFLICT: what a person put where a link has to go is named, and nothing is changed.
#[test]
fn what_a_person_put_into_pkgs_is_never_touched() {
    type Put = fn(&World);
    let puts: [(&str, Put); 5] = [
        ("a folder", |w| fs::create_dir(w.path("pkgs/new")).unwrap()),
        ("a file", |w| fs::write(w.path("pkgs/new"), "mine").unwrap()),
        ("a link elsewhere", |w| symlink("/tmp", w.path("pkgs/new")).unwrap()),
        ("a link to another package", |w| symlink("dict", w.path("pkgs/new")).unwrap()),
        ("a dangling link", |w| symlink("../.pkgs/new/other", w.path("pkgs/new")).unwrap()),
    ];
    for (what, put) in puts {
        let world = World::with(packages(&["dict#1.0.0", "gone#1.0.0"]));
        put(&world);
        let before = world.links();
        let error = world.become_of(packages(&["dict#2.0.0", "new#1.0.0"])).unwrap_err();
        assert!(
            matches!(&error, Error::InTheWay { path, .. } if path.ends_with("pkgs/new")),
            "{what}: {error:?}"
        );
        assert_eq!(error.code(), "E-CONFLICT");
        assert_eq!(world.links(), before, "{what}");
        assert_eq!(world.env.head().unwrap(), 1);
        assert_eq!(world.loaded("dict"), "1.0.0");
    }
}

/// No path through a person's link is followed (SEC-085).
#[test]
fn links_are_not_made_through_other_links() {
    let world = World::new();
    let outside = tempfile::tempdir().unwrap();
    symlink(outside.path(), world.path("pkgs/acme")).unwrap();
    let error = world.become_of(packages(&["acme/web#1.0.0"])).unwrap_err();
    assert!(matches!(&error, Error::InTheWay { path, .. } if path.ends_with("pkgs/acme")), "{error:?}");
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

/// O6, O8: a change of other packages does not bring back a link that was removed, nor mind a folder
/// that stands in its place; asking for the package does.
#[test]
fn untouched_packages_are_left_as_a_person_left_them() {
    let world = World::with(packages(&["dict#1.0.0", "mine#1.0.0"]));
    fs::remove_file(world.path("pkgs/dict")).unwrap();
    fs::remove_file(world.path("pkgs/mine")).unwrap();
    fs::create_dir(world.path("pkgs/mine")).unwrap();
    let next = packages(&["dict#1.0.0", "mine#1.0.0", "new#1.0.0"]);
    world.become_of(next.clone()).unwrap();
    assert_eq!(world.links().into_keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(world.loaded("mine"), "own");

    let writer = world.env.lock_exclusive().unwrap();
    let mut change = Change::of_packages(2, next, "test", now());
    change.relink = ["dict".parse().unwrap()].into();
    writer.switch(change).unwrap();
    assert_eq!(world.loaded("dict"), "1.0.0");
    assert_eq!(world.loaded("mine"), "own");
}

/// O8: removing a package does not remove what a person put in its place.
#[test]
fn removal_leaves_a_persons_folder() {
    let world = World::with(packages(&["acme/web#1.0.0"]));
    fs::remove_file(world.path("pkgs/acme/web")).unwrap();
    fs::create_dir(world.path("pkgs/acme/web")).unwrap();
    fs::write(world.path("pkgs/acme/web/work"), "mine").unwrap();
    world.become_of(Vec::new()).unwrap();
    assert_eq!(fs::read_to_string(world.path("pkgs/acme/web/work")).unwrap(), "mine");
}

/// SEC-085: two packages that want one path are both named, in either order, before any change.
#[test]
fn two_packages_for_one_path_are_a_conflict() {
    let other_owner = || {
        let mut package = package("dict#1.0.0");
        package.owner = objects::id::IdentityId::new(super::support::id("other"));
        package
    };
    let pairs = [
        [package("acme#1.0.0"), package("acme/web#2.0.0")],
        [package("a/b#1.0.0"), package("a/b/c/d#2.0.0")],
        [package("dict#1.0.0"), other_owner()],
        [package("dict#1.0.0"), package("dict#2.0.0")],
        [beside("dict#1.0.0+a"), beside("dict#1.0.0+a")],
    ];
    for [first, second] in pairs {
        for pair in [[first.clone(), second.clone()], [second.clone(), first.clone()]] {
            let world = World::with(packages(&["old#1.0.0"]));
            let before = world.links();
            let error = world.become_of(pair.to_vec()).unwrap_err();
            assert_eq!(error.code(), "E-CONFLICT", "{error:?}");
            let shown = error.to_string();
            assert!(shown.contains(first.name.as_str()) && shown.contains(second.name.as_str()), "{shown}");
            assert_eq!(world.links(), before);
        }
    }
}

/// A package may take the name of the folder that others stood in, and give it back.
#[test]
fn a_folder_of_links_and_a_link_may_change_places() {
    let world = World::with(packages(&["acme/web#1.0.0", "acme/db#1.0.0"]));
    world.become_of(packages(&["acme#1.0.0"])).unwrap();
    assert_eq!(world.links().into_keys().collect::<Vec<_>>(), ["acme"]);
    world.become_of(packages(&["acme/web#1.0.0"])).unwrap();
    assert_eq!(world.links().into_keys().collect::<Vec<_>>(), ["acme/web"]);

    fs::create_dir(world.path("pkgs/acme/mine")).unwrap();
    let error = world.become_of(packages(&["acme#1.0.0"])).unwrap_err();
    assert!(matches!(error, Error::InTheWay { .. }), "{error:?}");
    assert_eq!(world.loaded("acme/web"), "1.0.0");
}

/// A name too long for the disk is refused before anything is changed; long names that fit work.
#[test]
fn long_names_are_refused_or_work() {
    let long = vec!["a".repeat(60); 4].join("/");
    let world = World::with(vec![package(&format!("{long}#1.0.0"))]);
    assert_eq!(world.loaded(&long), "1.0.0");
    assert!(world.all_links_resolve());
    let pre = "x".repeat(250);
    let error = world.become_of(vec![beside(&format!("dict#1.0.0-{pre}"))]).unwrap_err();
    assert_eq!(error.code(), "E-LIMIT");
}

/// REL-024's like: a change made for another generation is refused, not carried out over it.
#[test]
fn a_change_for_another_generation_is_refused() {
    let world = World::with(packages(&["dict#1.0.0"]));
    let writer = world.env.lock_exclusive().unwrap();
    let error = writer.switch(Change::of_packages(0, Vec::new(), "test", now())).unwrap_err();
    assert!(matches!(error, Error::Moved { expected: 0, found: 1 }), "{error:?}");
    assert_eq!(world.loaded("dict"), "1.0.0");
}

/// REL-004: without its tree no link is made.
#[test]
fn a_link_is_never_made_to_nothing() {
    let world = World::with(packages(&["dict#1.0.0"]));
    let writer = world.env.lock_exclusive().unwrap();
    let error = writer.switch(Change::of_packages(1, packages(&["dict#2.0.0"]), "test", now())).unwrap_err();
    assert!(matches!(error, Error::ContentGone { .. }), "{error:?}");
    assert_eq!(world.loaded("dict"), "1.0.0");
    assert_eq!(world.env.head().unwrap(), 1);
}

/// The lockfile, the index and what is wanted change with the packages, as one.
#[test]
fn everything_switches_together() {
    let world = World::new();
    let next = packages(&["dict#1.0.0"]);
    let writer = world.env.lock_exclusive().unwrap();
    materialise(&writer, &next);
    for (number, text) in ["first", "second"].into_iter().enumerate() {
        let index = writer.stage().unwrap();
        fs::create_dir(index.path()).unwrap();
        fs::write(index.path().join("names"), text).unwrap();
        let mut edit = world.env.edit_wanted().unwrap();
        edit.set(&"dict".parse().unwrap(), &porcelain::env::WantedPackage::of_version("^1".parse().unwrap()));
        let mut change = Change::of_packages(number as u64, next.clone(), "add dict", now());
        change.lockfile = Some(lockfile(&next));
        change.wanted = Some(edit.finish().unwrap().0);
        change.index_db = Some(index);
        writer.switch(change).unwrap();
        assert_eq!(fs::read_to_string(world.env.index_db().unwrap().join("names")).unwrap(), text);
        assert_eq!(world.env.lockfile().unwrap(), Some(lockfile(&next)));
        assert_eq!(world.env.wanted().unwrap().packages.len(), 1);
        assert_eq!(fs::read_dir(world.path(".pkgs/tmp")).unwrap().count(), 0);
    }
    assert_eq!(world.env.current().unwrap().why, "add dict");

    let index = writer.stage().unwrap();
    fs::create_dir(index.path()).unwrap();
    fs::write(index.path().join("names"), "third").unwrap();
    writer.replace_index_db(index).unwrap();
    assert_eq!(fs::read_to_string(world.env.index_db().unwrap().join("names")).unwrap(), "third");
    assert_eq!(world.env.head().unwrap(), 2);
}

/// What a person writes into `pkg.cfg.toml` meanwhile is not lost.
#[test]
fn an_edit_meanwhile_is_a_conflict() {
    let world = World::new();
    let (text, _) = world.env.edit_wanted().unwrap().finish().unwrap();
    fs::write(world.path("pkg.cfg.toml"), "# mine\n").unwrap();
    let mut change = Change::of_packages(0, Vec::new(), "test", now());
    change.wanted = Some(text);
    let error = world.env.lock_exclusive().unwrap().switch(change).unwrap_err();
    assert!(matches!(error, Error::Edited { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(world.path("pkg.cfg.toml")).unwrap(), "# mine\n");
}
