//! Mending with the help of others: all comes back with a good source; without, what is lost is named
//! and the rest can be used; a bad source changes nothing.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use objects::fsck::{Level, Report};
use objects::object::Find;
use objects::repository::Repository;
use objects::testing::{Author, Damage, Files, Random, TempRepository, snapshot_of_store};
use porcelain::event::Silent;
use porcelain::repair::{self, Outcome, Request};
use porcelain::session::{Options, Session};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A folder with a home for a user, a repository, and a good copy of it.
struct World {
    folder: TempDir,
    good: PathBuf,
    objects: BTreeMap<objects::id::ObjectId, Vec<u8>>,
}

impl World {
    /// Three releases by one author, in several packs; refs loose and packed.
    fn new() -> World {
        let repository = TempRepository::new();
        let mut author = Author::new(41);
        for (n, (name, version)) in
            [("hello", "1.0.0"), ("hello", "1.1.0"), ("web/ui", "0.1.0")].into_iter().enumerate()
        {
            let folder = tempfile::tempdir().unwrap();
            let mut random = Random::new(n as u64);
            let files = Files::new().file("README", format!("{name} {version}")).link("again", "README");
            files
                .exec("bin/tool", random.text(30_000))
                .file("data/noise", Random::new(7).bytes(90_000))
                .file("data/own", random.bytes(70_000))
                .write(folder.path());
            let ingested = repository.ingest(folder.path());
            author.release(&repository, name, version, &ingested);
            author.announce(&repository);
            if n == 1 {
                repository.refs().pack().unwrap();
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good");
        copy(repository.root(), &good);
        let objects = objects_of(&repository);
        World { folder, good, objects }
    }

    fn session(&self) -> Session {
        let home = Some(self.folder.path().join("home"));
        Session::open(Options { home, jobs: Some(2), freshness: None }).unwrap()
    }

    /// A fresh copy, to be damaged.
    fn copy(&self) -> PathBuf {
        let path = self.folder.path().join("damaged");
        let _ = fs::remove_dir_all(&path);
        copy(&self.good, &path);
        path
    }

    fn repair(&self, path: &Path, from: &[&Path]) -> Outcome {
        let from = from.iter().map(|path| path.display().to_string()).collect();
        let request = Request { path: path.to_owned(), level: Level::Data, from, dry_run: false };
        repair::repair(&self.session(), &request, &Silent).unwrap()
    }

    /// Everything in the good copy, as one file that is no repository.
    fn bundle(&self) -> PathBuf {
        let path = self.folder.path().join("all.bundle");
        if !path.exists() {
            let repository = Repository::open(&self.good).unwrap();
            let keys = snapshot_of_store(&self.good).into_keys();
            let public = ["objects/", "statements/", "summary"];
            let keys = keys.filter(|key| public.iter().any(|part| key.starts_with(part)));
            let files: Vec<_> = keys
                .map(|key| (plumbing::transport::Key::new(&key).unwrap(), repository.root().join(&key)))
                .collect();
            plumbing::transport::bundle::write(&path, &files).unwrap();
        }
        path
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (entry, path) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        match entry.is_dir() {
            true => copy(&entry, &path),
            false => assert!(fs::copy(&entry, &path).is_ok()),
        }
    }
}

fn objects_of(repository: &Repository) -> BTreeMap<objects::id::ObjectId, Vec<u8>> {
    let packs = repository.store().packs();
    let ids = packs.iter().flat_map(|pack| pack.index().ids_in_pack_order());
    ids.filter_map(|id| Some((id, repository.store().try_find(&id).ok()??.to_vec()))).collect()
}

/// The files that damage may hit.
fn files_of(root: &Path) -> Vec<String> {
    snapshot_of_store(root).into_keys().filter(|path| !path.contains("/tmp/")).collect()
}

fn rounds(short: u64, long: u64) -> u64 {
    if std::env::var_os("PKG_LONG_TESTS").is_some() { long } else { short }
}

/// REL-021: with a good source everything is restored, whatever happened to three files at once: from a
/// folder, or from a bundle. The bytes are those that were.
#[test]
fn with_a_good_source_all_is_restored() {
    let world = World::new();
    let files = files_of(&world.good);
    let bundle = world.bundle();
    let mut random = Random::new(2_021);
    for round in 0..rounds(40, 600) {
        let path = world.copy();
        let mut case = format!("round {round}:");
        for _ in 0..3 {
            let name = random.pick(&files);
            let Ok(content) = fs::read(path.join(name)) else { continue };
            if content.is_empty() {
                continue;
            }
            let damage = Damage::random(&mut random, &content);
            damage.apply(&path.join(name));
            case += &format!(" {damage:?} of {name}");
        }
        let source = if round % 2 == 0 { &world.good } else { &bundle };
        let outcome = world.repair(&path, &[source]);
        assert!(outcome.report.is_whole(), "{case}: {outcome:#?}");
        assert!(outcome.report.lost_releases.is_empty(), "{case}");
        let repository = Repository::open(&path).unwrap();
        let here = objects_of(&repository);
        let trees = |root: &Path| Repository::open(root).unwrap().refs().list("refs/tags/").unwrap();
        assert_eq!(trees(&path), trees(&world.good), "{case}");
        assert!(here.iter().all(|(id, bytes)| world.objects.get(id) == Some(bytes)), "{case}");
        assert_eq!(
            fs::read(path.join("summary")).unwrap(),
            fs::read(world.good.join("summary")).unwrap(),
            "{case}"
        );
        let again = world.repair(&path, &[source]);
        assert!(again.steps.is_empty() && again.restored == Default::default(), "{case}: {again:#?}");
    }
}

/// REL-021: every pack lost at once, and every statement: a source brings all of it.
#[test]
fn what_is_lost_altogether_is_brought_back() {
    let world = World::new();
    for parts in [&["objects/pack"][..], &["statements"], &["objects/pack", "statements", "refs", "logs"]] {
        for source in [world.good.clone(), world.bundle()] {
            let path = world.copy();
            for part in parts {
                fs::remove_dir_all(path.join(part)).unwrap();
                fs::create_dir_all(path.join(part)).unwrap();
            }
            let outcome = world.repair(&path, &[&source]);
            let lost = |report: &Report| report.lost_releases.len() + report.lost_objects.len();
            assert_eq!(lost(&outcome.report), 0, "{parts:?}: {outcome:#?}");
            if !parts.contains(&"refs") {
                assert!(outcome.report.is_whole(), "{parts:?}: {outcome:#?}");
            }
            let needed = objects_of(&Repository::open(&path).unwrap());
            assert!(needed.iter().all(|(id, bytes)| world.objects.get(id) == Some(bytes)), "{parts:?}");
        }
    }
}

/// REL-021: without a source, the releases named as lost are those that cannot be read, and no others.
#[test]
fn without_a_source_the_lost_are_named_and_the_rest_is_whole() {
    let world = World::new();
    let packs: Vec<String> =
        files_of(&world.good).into_iter().filter(|name| name.ends_with(".pack")).collect();
    let mut random = Random::new(2_022);
    let mut hit = 0;
    for round in 0..rounds(25, 400) {
        let path = world.copy();
        let name = random.pick(&packs);
        let content = fs::read(path.join(name)).unwrap();
        let damage = Damage::random(&mut random, &content);
        damage.apply(&path.join(name));
        let case = format!("round {round}: {damage:?} of {name}");
        let outcome = world.repair(&path, &[]);
        let repository = Repository::open(&path).unwrap();
        let named: BTreeSet<String> = outcome
            .report
            .lost_releases
            .iter()
            .map(|lost| format!("{} {}", lost.name, lost.version))
            .collect();
        let mut unreadable = BTreeSet::new();
        for (tag, id) in repository.refs().list("refs/tags/").unwrap() {
            let signed = repository.statements().find::<objects::release::Entry>(id).unwrap();
            let entry: objects::release::Entry = objects::codec::peek(signed.envelope().payload()).unwrap();
            let tree = entry.release().unwrap().tree;
            if objects::archive::write_tree(repository.store(), tree, &mut std::io::sink()).is_err() {
                unreadable.insert(format!("{} {}", entry.name, tag.last()));
            }
        }
        assert_eq!(named, unreadable, "{case}");
        hit += usize::from(!named.is_empty());
        assert_eq!(
            outcome.report.is_whole(),
            named.is_empty() && outcome.report.lost_objects.is_empty(),
            "{case}"
        );
        let mended = world.repair(&path, &[&world.good]);
        assert!(mended.report.is_whole(), "{case}: what is lost can still be brought: {mended:#?}");
    }
    assert!(hit > 0);
}

/// REL-023: a damaged source gives what is whole of it and nothing else; what is whole here stays.
#[test]
fn a_damaged_source_replaces_nothing() {
    let world = World::new();
    let files = files_of(&world.good);
    let mut random = Random::new(23);
    for round in 0..rounds(15, 300) {
        let (path, source) = (world.copy(), world.folder.path().join("bad"));
        let _ = fs::remove_dir_all(&source);
        copy(&world.good, &source);
        let mut case = format!("round {round}");
        for root in [&path, &source] {
            for _ in 0..4 {
                let name = random.pick(&files);
                let Some(content) = fs::read(root.join(name)).ok().filter(|content| !content.is_empty())
                else {
                    continue;
                };
                let damage = Damage::random(&mut random, &content);
                damage.apply(&root.join(name));
                case += &format!(", {damage:?} of {}", root.join(name).display());
            }
        }
        let before = Repository::open(&path).map(|repository| objects_of(&repository)).unwrap_or_default();
        let request = Request {
            path: path.clone(),
            level: Level::Data,
            from: vec![source.display().to_string()],
            dry_run: false,
        };
        // A source too damaged to be opened is refused; that changes nothing either.
        let outcome = repair::repair(&world.session(), &request, &Silent);
        let repository = Repository::open(&path).unwrap();
        let here = objects_of(&repository);
        assert!(here.iter().all(|(id, bytes)| world.objects.get(id) == Some(bytes)), "{case}: {outcome:?}");
        assert!(before.keys().all(|id| here.contains_key(id)), "{case}: what was whole is lost");
        let whole = world.repair(&path, &[&world.good]);
        assert!(whole.report.is_whole(), "{case}: {whole:#?}");
    }
}

/// A plan is shown before it is carried out: nothing changes, the sources are named.
#[test]
fn a_dry_run_shows_the_plan() {
    let world = World::new();
    let path = world.copy();
    let pack = files_of(&path).into_iter().find(|name| name.ends_with(".pack")).unwrap();
    Damage::Flip { at: 30, bit: 1 }.apply(&path.join(pack));
    let before = snapshot_of_store(&path);
    let from = vec![world.good.display().to_string()];
    let request = Request { path: path.clone(), level: Level::Frames, from, dry_run: true };
    let outcome = repair::repair(&world.session(), &request, &Silent).unwrap();
    assert!(outcome.steps.iter().any(|step| step.to_string().starts_with("rewrite")), "{outcome:#?}");
    assert!(!outcome.report.is_whole() && outcome.dry_run);
    assert_eq!(outcome.asked, [world.good.display().to_string()]);
    assert_eq!(snapshot_of_store(&path), before);
}
