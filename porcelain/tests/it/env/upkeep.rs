//! Verifying, backing up, rolling back and pruning.

use super::support::{World, beside, content, lockfile, materialise, now, package, packages, said};
use objects::checkout::{self, checkout};
use objects::ingest::{self, ingest};
use objects::progress::Silent;
use objects::repository::Repository;
use porcelain::env::{Change, Error, Fault, Installed};
use std::fs;
use std::io::{Read, Seek};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A real package, from a folder into a store and out again into an environment.
struct Stored {
    world: World,
    _folder: tempfile::TempDir,
    repository: Repository,
    installed: Installed,
}

impl Stored {
    fn new() -> Stored {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source");
        fs::create_dir_all(source.join("bin")).unwrap();
        fs::create_dir_all(source.join("empty")).unwrap();
        fs::write(source.join("readme"), "hello").unwrap();
        fs::write(source.join("nothing"), "").unwrap();
        let large: Vec<u8> =
            (0..300_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(source.join("large"), large).unwrap();
        fs::write(source.join("bin/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(source.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../readme", source.join("bin/link")).unwrap();

        let repository = Repository::init(&folder.path().join("repository")).unwrap();
        let mut transaction = repository.store().transaction(Default::default()).unwrap();
        let taken = ingest(&mut transaction, &source, ingest::Options::default(), &Silent).unwrap();
        transaction.commit().unwrap();
        let installed =
            Installed { tree: taken.tree, size: taken.size, files: taken.files, ..package("tool#1.0.0") };
        let stored = Stored { world: World::new(), _folder: folder, repository, installed };
        stored.install();
        stored
    }

    fn check_out(&self, to: &Path) {
        let options = checkout::Options::default();
        checkout(self.repository.store(), self.installed.tree, to, options, &Silent).unwrap();
    }

    fn install(&self) {
        let writer = self.world.env.lock_exclusive().unwrap();
        let staged = writer.stage().unwrap();
        self.check_out(staged.path());
        writer.materialise(vec![(staged, &self.installed)]).unwrap();
        let change = Change::of_packages(0, vec![self.installed.clone()], "add tool", now());
        writer.switch(change).unwrap();
    }

    fn differences(&self) -> Vec<(String, Fault)> {
        let found = self.world.env.verify_installed(&self.installed, self.repository.store()).unwrap();
        found.into_iter().map(|difference| (difference.path, difference.fault)).collect()
    }
}

/// SEC-013's other half: whatever was changed in an installed tree is found.
#[test]
fn changes_of_an_installed_tree_are_found() {
    type Harm = fn(&Path);
    let table: [(&str, Fault, Harm); 10] = [
        ("readme", Fault::Changed, |p| fs::write(p.join("readme"), "hollo").unwrap()),
        ("nothing", Fault::Changed, |p| fs::write(p.join("nothing"), "x").unwrap()),
        ("large", Fault::Changed, |p| {
            let mut bytes = fs::read(p.join("large")).unwrap();
            bytes[700_000] ^= 1;
            fs::write(p.join("large"), bytes).unwrap();
        }),
        ("bin/tool", Fault::Changed, |p| {
            fs::set_permissions(p.join("bin/tool"), fs::Permissions::from_mode(0o644)).unwrap()
        }),
        ("bin/link", Fault::Changed, |p| {
            fs::remove_file(p.join("bin/link")).unwrap();
            symlink("../nothing", p.join("bin/link")).unwrap();
        }),
        ("readme", Fault::Changed, |p| {
            fs::rename(p.join("readme"), p.join("bin/../empty/away")).unwrap();
            symlink("empty/away", p.join("readme")).unwrap();
        }),
        ("readme", Fault::Missing, |p| fs::remove_file(p.join("readme")).unwrap()),
        ("empty", Fault::Missing, |p| fs::remove_dir(p.join("empty")).unwrap()),
        ("added", Fault::Extra, |p| fs::create_dir_all(p.join("added/deep")).unwrap()),
        ("empty/added", Fault::Extra, |p| fs::write(p.join("empty/added"), "x").unwrap()),
    ];
    for (path, fault, harm) in table {
        let stored = Stored::new();
        assert_eq!(stored.differences(), []);
        harm(&stored.world.try_load("tool").unwrap().path);
        assert!(
            stored.differences().contains(&(path.to_owned(), fault)),
            "{path}: {:?}",
            stored.differences()
        );
    }
}

/// A folder that became something else takes all below it along.
#[test]
fn a_folder_replaced_by_a_file_is_found() {
    let stored = Stored::new();
    let path = stored.world.try_load("tool").unwrap().path;
    fs::remove_dir_all(path.join("bin")).unwrap();
    fs::write(path.join("bin"), "").unwrap();
    let expected = [("bin", Fault::Changed), ("bin/link", Fault::Missing), ("bin/tool", Fault::Missing)];
    assert_eq!(stored.differences(), expected.map(|(path, fault)| (path.to_owned(), fault)));
}

/// O14: the changed copy is kept, the current version stands again, and the link resolves throughout.
#[test]
fn a_changed_tree_is_backed_up_and_replaced() {
    let stored = Stored::new();
    let path = stored.world.try_load("tool").unwrap().path;
    for number in 0..3 {
        fs::write(path.join("readme"), format!("mine {number}")).unwrap();
        let writer = stored.world.env.lock_exclusive().unwrap();
        let fresh = writer.stage().unwrap();
        stored.check_out(fresh.path());
        let backup = writer.replace_with_backup(fresh, &stored.installed, now()).unwrap();
        let name = ["tool-1800000000", "tool-1800000000-1", "tool-1800000000-2"][number];
        assert_eq!(backup, stored.world.path(".pkgs/backups").join(name));
        assert_eq!(fs::read_to_string(backup.join("readme")).unwrap(), format!("mine {number}"));
        assert_eq!(stored.differences(), []);
        assert_eq!(fs::read_to_string(stored.world.path("pkgs/tool/readme")).unwrap(), "hello");
    }
}

/// A tree that lost its facts may be half of one: it is put there anew.
#[test]
fn half_a_tree_is_replaced() {
    let world = World::with(packages(&["dict#1.0.0"]));
    let dict = package("dict#1.0.0");
    let path = world.try_load("dict").unwrap().path;
    fs::write(path.join("content"), "hal").unwrap();
    let facts = path.with_file_name(format!("{}.json", path.file_name().unwrap().to_str().unwrap()));
    for damage in ["", "{\"name\":"] {
        fs::write(&facts, damage).unwrap();
        assert!(!world.env.has_tree(&dict.name, dict.tree).unwrap());
        materialise(&world.env.lock_exclusive().unwrap(), std::slice::from_ref(&dict));
        assert_eq!(fs::read_to_string(path.join("content")).unwrap(), content(&dict));
        assert_eq!(world.loaded("dict"), "1.0.0");
    }
    fs::remove_file(facts).unwrap();
    assert_eq!(world.loaded("dict"), "1.0.0", "the generation says what it is");
}

/// DESIGN 10: every change is a generation, and each can be brought back as a new one.
#[test]
fn rollback_brings_back_packages_and_lockfile() {
    let world = World::new();
    for (base, version) in [(0, "dict#1.0.0"), (1, "dict#2.0.0")] {
        let next = packages(&[version]);
        let writer = world.env.lock_exclusive().unwrap();
        materialise(&writer, &next);
        let mut change = Change::of_packages(base, next.clone(), "add", now());
        change.lockfile = Some(lockfile(&next));
        writer.switch(change).unwrap();
    }
    let writer = world.env.lock_exclusive().unwrap();
    let generation = writer.rollback(None, now()).unwrap();
    assert_eq!((generation.number, generation.why.as_str()), (3, "rollback to 1"));
    assert_eq!(world.loaded("dict"), "1.0.0");
    assert_eq!(world.env.lockfile().unwrap(), Some(lockfile(&packages(&["dict#1.0.0"]))));
    writer.rollback(Some(2), now()).unwrap();
    assert_eq!(world.loaded("dict"), "2.0.0");
    writer.rollback(Some(0), now()).unwrap();
    assert_eq!(world.links().len(), 0);
    assert!(matches!(writer.rollback(Some(9), now()), Err(Error::NoGeneration { number: 9 })));
    assert_eq!(world.env.history_numbers().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert!(matches!(
        World::new().env.lock_exclusive().unwrap().rollback(None, now()),
        Err(Error::NoGeneration { .. })
    ));
}

/// A current generation that is damaged is left by going back.
#[test]
fn rollback_leads_out_of_a_damaged_generation() {
    let world = World::with(packages(&["dict#1.0.0", "other#1.0.0"]));
    world.become_of(packages(&["dict#2.0.0", "other#1.0.0"])).unwrap();
    fs::write(world.path(".pkgs/generations/2"), "").unwrap();
    fs::remove_file(world.path("pkgs/other")).unwrap();
    assert!(matches!(world.become_of(Vec::new()), Err(Error::Malformed { .. })));
    assert_eq!(world.loaded("dict"), "2.0.0");
    world.env.lock_exclusive().unwrap().rollback(Some(1), now()).unwrap();
    assert_eq!(world.loaded("dict"), "1.0.0");
    assert_eq!(world.loaded("other"), "1.0.0");
}

/// Pruning removes what nothing refers to: not what a person linked, nor backups.
#[test]
fn prune_removes_what_nothing_refers_to() {
    let world = World::with(packages(&["dict#1.0.0", "acme/web#1.0.0", "config#1.0.0"]));
    world.become_of(packages(&["dict#2.0.0"])).unwrap();
    world.become_of(vec![package("dict#3.0.0"), beside("dict#2.5.0")]).unwrap();
    fs::create_dir_all(world.path(".pkgs/backups/dict-1/kept")).unwrap();
    assert_eq!(said(world.repair("acme/web#1.0.0")), "1.0.0");
    let writer = world.env.lock_exclusive().unwrap();

    let plan = world.env.plan_prune(2).unwrap();
    assert_eq!(plan.generations, [0, 1]);
    let tree = |text: &str| package(text).tree.short(32);
    assert_eq!(
        plan.trees,
        [format!("dict/dict#{}", tree("dict#1.0.0")), format!("~config/~config#{}", tree("config#1.0.0")),]
    );
    assert_eq!(world.env.history_numbers().unwrap(), [0, 1, 2, 3], "a plan changes nothing");

    assert_eq!(writer.prune(2).unwrap(), plan);
    assert_eq!(world.env.history_numbers().unwrap(), [2, 3]);
    assert!(!world.path(".pkgs/~config").exists() && world.path(".pkgs/backups/dict-1/kept").exists());
    assert_eq!(world.loaded("dict#1.0.0"), "E-NOTFOUND");
    assert_eq!(world.loaded("acme/web#1.0.0"), "1.0.0");
    assert!(matches!(writer.rollback(Some(1), now()), Err(Error::NoGeneration { number: 1 })));
    writer.rollback(Some(2), now()).unwrap();
    assert_eq!(world.loaded("dict"), "2.0.0");
    assert_eq!(writer.prune(0).unwrap().generations, [2, 3], "the current one always stays");
    assert!(world.all_links_resolve());
}

/// Nothing is removed while a generation that is kept cannot be read.
#[test]
fn prune_stops_at_a_damaged_generation() {
    let world = World::with(packages(&["dict#1.0.0"]));
    world.become_of(packages(&["dict#2.0.0"])).unwrap();
    fs::write(world.path(".pkgs/generations/1"), "?").unwrap();
    let writer = world.env.lock_exclusive().unwrap();
    assert!(matches!(writer.prune(2), Err(Error::Malformed { .. })));
    assert!(world.path(".pkgs/generations/0").exists());
    assert_eq!(writer.prune(1).unwrap().generations, [0, 1]);
}

/// REL-028: a program keeps the files it opened when the environment is switched and pruned.
#[test]
fn a_running_program_keeps_its_files() {
    let world = World::with(packages(&["dict#1.0.0"]));
    let info = world.try_load("dict").unwrap();
    let mut open = fs::File::open(info.path.join("content")).unwrap();
    world.become_of(packages(&["dict#2.0.0"])).unwrap();
    assert_eq!(fs::read_to_string(info.path.join("content")).unwrap(), content(&package("dict#1.0.0")));
    world.env.lock_exclusive().unwrap().prune(1).unwrap();
    assert!(!info.path.exists());
    let mut text = String::new();
    open.rewind().unwrap();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, content(&package("dict#1.0.0")));
}
