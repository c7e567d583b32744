//! What trust and the index cost: figures of docs/BENCHMARKS.md that anybody can take again.
//!
//! ```text
//! cargo run --release -p plumbing --example figures            both
//! cargo run --release -p plumbing --example figures grants     a release behind four grants, judged
//! cargo run --release -p plumbing --example figures index      60,000 packages of 10 versions
//! ```
//!
//! Data: made anew for each run from fixed seeds; all packages have one author. The entries of the packages
//! are random ids, for an index is read without them; sizes are those of real ones. Units: seconds of a
//! monotonic clock (medians), bytes that the transport's meter counted on a plain folder.

#![allow(clippy::unwrap_used)] // all data are made here: what fails is a mistake of this file

use objects::claim::{Beacon, Index as IndexHead, LogRow, PackageRecord, Repository as Name, VersionRow};
use objects::grants::Grant;
use objects::id::{ObjectId, StatementId, TreeId};
use objects::object::{Bytes, Error as ObjectError, Find};
use objects::progress::Silent;
use objects::repository::Repository;
use objects::signed::Signed;
use objects::store::pack::writer::Options;
use objects::summary::Summary;
use objects::tree::Tree;
use objects::walk::{self, Totals};
use plumbing::index::{Changes, Index, edit};
use plumbing::sync::mirror::Mirror as MirrorSource;
use plumbing::sync::{self, Source, Wanted};
use plumbing::transport::file::Folder;
use plumbing::transport::meter::{Meter, Metered};
use plumbing::trust::{Judge, Places, Policy, State};
use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};
use world::{Book, Giver, Mirror, NOW, Person, Register, grant, release, sign, time};

#[allow(dead_code)]
#[path = "../tests/it/trust/world.rs"]
mod world;

const PACKAGES: u64 = 60_000;
const VERSIONS: u64 = 10;
/// Packages that have a new version after a day: 1.5 %.
const CHANGED: u64 = PACKAGES * 15 / 1_000;
const ROUNDS: usize = 201;

fn main() {
    let which = std::env::args().nth(1);
    let is_asked = |name: &str| which.as_deref().is_none_or(|which| which == name);
    if is_asked("grants") {
        grants();
    }
    if is_asked("index") {
        index();
    }
}

/// Judges a release whose signer is four grants away from the owner of the package.
fn grants() {
    let people: Vec<Person> = (2..=6).map(Person::new).collect();
    let give = |pair: &[Person]| {
        let deep = Grant { depth: 3, ..grant(&pair[1], &["acme/**"]) };
        Giver::new(&pair[0], vec![deep])
    };
    let givers: Vec<Giver> = people.windows(2).map(give).collect();
    let register = Register::of(&people.iter().collect::<Vec<_>>(), &givers.iter().collect::<Vec<_>>());
    let book = Book::by(people[4].clone(), Some(people[0].clone()), "acme/web", 1);
    let mirror = Mirror::new(Person::new(99), 1);
    let judged = |state: &State| {
        let (shelf, mirrored) = (book.shelf(), mirror.shelf());
        register.shelve(&shelf);
        let (summary, record, policy) = (mirror.summary(), book.record(), Policy::default());
        let begin = Instant::now();
        let judge = Judge::new(state, &policy, time(NOW)).unwrap();
        let repository = Some(&summary.repository);
        let accepted = judge.accept_summary(&summary, repository, &mirrored, "mirror").unwrap();
        let head = begin.elapsed();
        let owner = judge.identity(people[0].id(), Some(&people[0].row()), &shelf, "mirror").unwrap();
        let places = Places { directory: &register, statements: &shelf, origin: "mirror" };
        let found = judge.accept_release(&accepted, &record, &record.versions[0], &owner, places).unwrap();
        assert_eq!(found.path.len(), 4);
        (head, begin.elapsed() - head)
    };
    println!("a release behind four grants, medians of {ROUNDS}:");
    told("nothing known, state in memory", |_| judged(&State::in_memory().unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let at = |n: usize| State::open(&folder.path().join(format!("{n}.db"))).unwrap();
    told("nothing known, state in a file", |n| judged(&at(n)));
    let state = at(0);
    told("all known, state in a file", |_| judged(&state));
}

fn told(what: &str, round: impl Fn(usize) -> (Duration, Duration)) {
    let (heads, releases): (Vec<_>, Vec<_>) = (0..ROUNDS).map(round).unzip();
    let median = |mut all: Vec<Duration>| {
        all.sort();
        all[all.len() / 2].as_secs_f64() * 1_000.0
    };
    let (head, release) = (median(heads), median(releases));
    println!("  {what:<32} index and beacon {head:.3} ms, release {release:.3} ms");
}

/// Fetches an index of many packages, whole and after a day.
fn index() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("origin");
    let origin = Repository::init(&at).unwrap();
    let client = Repository::init(&folder.path().join("client")).unwrap();
    let author = Person::new(1);
    let all: Vec<PackageRecord> = (0..PACKAGES).map(|n| record(&author, n, VERSIONS)).collect();
    let one = all[all.len() / 2].clone();
    let bytes = one.encode().len();
    println!("an index of {PACKAGES} packages of {VERSIONS} versions, {bytes} bytes each:");
    let (root, totals) = write(&origin, Index::empty(origin.store()), all);
    let head = publish(&origin, &author, None, (root, &totals));
    let (content, disk) = (totals.bytes, size_of(&at));
    println!("  {:<32} {content} bytes, {disk} on the mirror's disk", "content");
    on_the_way(&origin, root, &one);
    fetch(&at, &client, &totals, root, &[], "a new client fetches");

    let apart = PACKAGES / CHANGED;
    let day: Vec<PackageRecord> = (0..CHANGED).map(|n| record(&author, n * apart, VERSIONS + 1)).collect();
    let (next, totals) = write(&origin, Index::open(origin.store(), root).unwrap(), day);
    publish(&origin, &author, Some(head), (next, &totals));
    fetch(&at, &client, &totals, next, &[root], &format!("after a day, {CHANGED} changed"));
}

fn write(repository: &Repository, old: Index<'_>, records: Vec<PackageRecord>) -> (TreeId, Totals) {
    let begin = Instant::now();
    let mut transaction = repository.store().transaction(Options::default()).unwrap();
    let made = edit(old, &Changes { records, ..Changes::default() }, &mut transaction).unwrap();
    transaction.commit().unwrap();
    println!("  {:<32} {:.2} s", "written", begin.elapsed().as_secs_f64());
    made
}

/// Signs an index and shows it in the summary.
fn publish(
    repository: &Repository,
    author: &Person,
    prev: Option<StatementId>,
    (root, totals): (TreeId, &Totals),
) -> StatementId {
    let name = Name { owner: author.id(), name: "main".into() };
    let n = u64::from(prev.is_some());
    let (created, expires) = (time(NOW + n), time(NOW + world::DAY));
    let (size, files, skips) = (totals.bytes, totals.files, Vec::new());
    let repository_name = name.clone();
    let head = IndexHead { repository: repository_name, n, prev, skips, root, size, files, created, expires };
    let index = sign(&head, &[author.seed]);
    let id = index.id();
    let beacon = Beacon { repository: name.clone(), n, index: id, created, expires };
    let beacon: Signed<Beacon> = sign(&beacon, &[author.seed]);
    repository.write_pack_list(&[], None).unwrap();
    let owner = author.documents.clone();
    repository.write_summary(&Summary { repository: name, index, beacon, owner }).unwrap();
    id
}

fn fetch(origin: &Path, client: &Repository, totals: &Totals, tree: TreeId, haves: &[TreeId], what: &str) {
    let meter = Meter::new();
    let folder = Folder::open(origin).unwrap();
    let mirror = MirrorSource::new(Box::new(Metered::new(folder, meter.clone())));
    let begin = Instant::now();
    mirror.advertise().unwrap();
    let head = meter.traffic().received;
    let wanted = Wanted { tree, files_max: totals.files, bytes_max: totals.bytes };
    sync::fetch_tree(&[&mirror], client.store(), wanted, haves, &Silent).unwrap();
    let (all, seconds) = (meter.traffic(), begin.elapsed().as_secs_f64());
    let (received, requests) = (all.received, all.requests);
    println!("  {what:<32} {received} bytes in {requests} requests, {head} of them the head, {seconds:.2} s");
}

/// What has to be read of the index to come to one record, if nothing else of it is.
fn on_the_way(repository: &Repository, root: TreeId, record: &PackageRecord) {
    let reader = Counting { find: repository.store(), bytes: Cell::new(0), objects: Cell::new(0) };
    let below = |tree: TreeId, name: &str| match walk::tree(&reader, tree).unwrap() {
        Tree::Entries(entries) => entries.into_iter().find(|entry| entry.name.as_str() == name),
        Tree::Fan(runs) => {
            let run = runs.into_iter().rev().find(|run| run.0.as_str() <= name).unwrap();
            let entries = walk::entries(&reader, run.1).unwrap();
            entries.into_iter().find(|entry| entry.name.as_str() == name)
        }
    };
    let packages = TreeId::new(below(root, "packages").unwrap().id);
    let entry = below(packages, &record.name.to_component()).unwrap();
    walk::read_file(&reader, &entry, 1 << 24).unwrap();
    let (bytes, objects) = (reader.bytes.get(), reader.objects.get());
    println!("  {:<32} {bytes} bytes in {objects} objects, unpacked", "on the way to one record");
}

/// A package with so many versions; what is random in it is told by its number.
fn record(author: &Person, n: u64, versions: u64) -> PackageRecord {
    let random = |what: &str, version: u64| ObjectId::of(format!("{what} {n} {version}").as_bytes());
    let row = |version: u64| {
        let mut release = release(&format!("1.{version}.0"), &format!("{n} {version}"));
        release.sha256.0 = *random("archive", version).as_bytes();
        (release.size, release.files) = (100_000 + n * 7 + version, 40 + n % 50);
        release.archive_size = 120_000 + n;
        release.about.description = Some(format!("Package number {n}, which does what its name says"));
        release.about.license = Some("MIT OR Apache-2.0".into());
        let (entry, signer) = (StatementId::new(random("entry", version)), author.id());
        VersionRow { entry, signer, seq: version, listed: time(NOW - 100 + version), mark: None, release }
    };
    let versions: Vec<VersionRow> = (0..versions).map(row).collect();
    let last = versions.last().unwrap();
    let log = LogRow { signer: author.id(), seq: last.seq, entry: last.entry, listed: time(NOW - 100) };
    let name = format!("group-{}/package-{n}", n % 251).parse().unwrap();
    PackageRecord { name, owner: author.id(), transfer: None, logs: vec![log], versions }
}

/// Counts what is read through it.
struct Counting<'a> {
    find: &'a dyn Find,
    bytes: Cell<usize>,
    objects: Cell<usize>,
}

impl Find for Counting<'_> {
    fn try_find(&self, id: &ObjectId) -> Result<Option<Bytes>, ObjectError> {
        let found = self.find.try_find(id)?;
        self.bytes.set(self.bytes.get() + found.as_ref().map_or(0, |bytes| bytes.len()));
        self.objects.set(self.objects.get() + 1);
        Ok(found)
    }
}

fn size_of(folder: &Path) -> u64 {
    let rows = std::fs::read_dir(folder).unwrap().map(|row| row.unwrap());
    let size = |row: std::fs::DirEntry| match row.metadata().unwrap() {
        meta if meta.is_dir() => size_of(&row.path()),
        meta => meta.len(),
    };
    rows.map(size).sum()
}
