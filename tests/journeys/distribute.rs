//! Distributors: an index of what other authors signed, and what strangers push (O10, SEC-128).

use crate::fixture::{hello, small};
use crate::sandbox::{Person, World, content, copy, text, walk};
use crate::stage::Stage;
use objects::claim::{Beacon, Index as Head, PackageRecord};
use objects::key::SecretKey;
use objects::repository::Repository;
use objects::signed::Signed;
use objects::store::pack::writer::Options;
use plumbing::index::{Changes, Index, edit};
use plumbing::trust::keyring::Keyring;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Publishes a version of `hello` to somebody's repository.
fn publish(world: &World, person: &Person, version: &str) {
    hello(&world.path("hello"), version);
    person.publish(&world.path("hello"));
}

/// Publishes a small package of a name to somebody's repository.
fn publish_small(world: &World, person: &Person, name: &str, version: &str) {
    let folder = world.path(format!("{name}-{version}"));
    small(&folder, name, version, "");
    person.publish(&folder);
}

/// The id of somebody's only identity, as `id:…`.
pub fn id_of(person: &Person) -> String {
    let all = person.yes(["id", "list"]);
    format!("id:{}", hex(&all[0]["id"]))
}

/// The digits of an id in an outcome.
pub fn hex(id: &serde_json::Value) -> String {
    id.as_str().unwrap().trim_start_matches("blake3:").to_owned()
}

/// The key of somebody's identity.
pub fn key_of(person: &Person, name: &str) -> SecretKey {
    Keyring::open(&person.home.join("pkg/keys")).unwrap().load(name, &mut || None).unwrap()
}

/// Changes a record in the index of a repository, and signs that as its distributor.
pub fn alter(repo: &Path, key: &SecretKey, name: &str, change: impl FnOnce(&mut PackageRecord)) {
    let repository = Repository::open(repo).unwrap();
    let mut summary = repository.summary().unwrap().unwrap();
    let old: Head = summary.index.envelope().peek().unwrap();
    let index = Index::open(repository.store(), old.root).unwrap();
    let mut record = index.record(&name.parse().unwrap()).unwrap().unwrap();
    change(&mut record);
    let mut transaction = repository.store().transaction(Options::default()).unwrap();
    let changes = Changes { records: vec![record], ..Changes::default() };
    let (root, totals) = edit(index, &changes, &mut transaction).unwrap();
    transaction.commit().unwrap();
    let next = Head { root, size: totals.bytes, files: totals.files, ..old };
    summary.index = Signed::sign(&next, &[key]).unwrap();
    let (n, index, expires) = (next.n, summary.index.id(), next.created.after(86_400));
    let beacon = Beacon { repository: next.repository, n, index, created: next.created, expires };
    summary.beacon = Signed::sign(&beacon, &[key]).unwrap();
    repository.statements().insert(summary.index.envelope()).unwrap();
    repository.write_pack_list(&[], None).unwrap();
    repository.write_summary(&summary).unwrap();
}

/// Ada's `hello` 1.0.0 and 1.1.0, and Dan, who has a repository of his own.
fn ada_and_dan() -> (World, Person, Person) {
    let world = World::new();
    let ada = world.author("ada");
    publish(&world, &ada, "1.0.0");
    publish(&world, &ada, "1.1.0");
    let dan = world.author("dan");
    (world, ada, dan)
}

/// O10: a distributor lists what an author signed; users install it from there, straight, from a mirror and from
/// a bundle, and see whose it is.
#[test]
fn a_distributor_carries_what_an_author_signed() {
    let (world, ada, dan) = ada_and_dan();
    let taken = dan.yes(["repo", "accept", "ada.repo", "hello#1.0.0", "--repo", "dan.repo"]);
    assert_eq!(taken["taken"].as_array().unwrap().len(), 1, "{taken}");
    let taken = dan.yes(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    assert_eq!(taken["taken"][0]["version"], "1.1.0", "{taken}");
    assert_eq!(
        dan.yes(["repo", "accept", "ada.repo", "--repo", "dan.repo"])["index"],
        serde_json::Value::Null
    );
    publish_small(&world, &dan, "own", "1.0.0");

    let list = dan.yes(["repo", "list", "--repo", "dan.repo"]);
    let [first, second] = [&list["carried"][0], &list["carried"][1]];
    assert_eq!((&first["name"], &second["name"]), (&"hello".into(), &"own".into()), "{list}");
    assert_eq!(format!("id:{}", hex(&first["owner"])), id_of(&ada));
    assert_eq!(first["newest"], "1.1.0");
    dan.is_whole(&dan.repo());

    let bob = world.user("bob").clone_of("dan.repo", "work");
    bob.ok(["add", "hello", "own", "-y"]);
    assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")));
    let lock = fs::read_to_string(bob.here("pkg.lock")).unwrap();
    assert!(lock.contains(&id_of(&ada)[3..]) && lock.contains(&id_of(&dan)[3..]), "{lock}");

    publish(&world, &ada, "1.2.0");
    dan.ok(["repo", "accept", "ada.repo", "hello", "--repo", "dan.repo"]);
    bob.ok(["fetch"]);
    bob.ok(["update", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.2.0");

    let cy = world.user("cy");
    cy.ok(["clone", "--mirror", "dan.repo", "mirror"]);
    cy.is_whole(&world.path("mirror"));
    let cy = cy.clone_of("mirror", "cy-work");
    cy.ok(["add", "hello", "-y"]);
    assert_eq!(content(&cy.loaded("hello")), content(&world.path("hello")));

    dan.ok(["bundle", "create", "carried.bundle", "hello", "--repo", "dan.repo"]);
    dan.ok(["bundle", "verify", "carried.bundle"]);
    let eli = world.user("eli").clone_of("carried.bundle", "eli-work");
    eli.ok(["add", "hello", "-y"]);
    assert_eq!(content(&eli.loaded("hello")), content(&world.path("hello")));
    [&bob, &cy, &eli].into_iter().for_each(Person::store_is_whole);
}

/// O10, SEC-045: a distributor who alters a row, or lists a release under another owner, is refused by users; one who
/// is shown an altered row takes nothing.
#[test]
fn what_a_distributor_altered_is_refused() {
    type Change = fn(&mut PackageRecord);
    let cases: [(&str, Change); 3] = [
        ("size", |record| record.versions[0].release.size += 1),
        ("tree", |record| record.versions[0].release.tree = record.versions[1].release.tree),
        ("version", |record| record.versions[1].release.version = "7.0.0".parse().unwrap()),
    ];
    let (world, ada, dan) = ada_and_dan();
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    copy(&dan.repo(), &world.path("honest"));
    for (case, change) in cases {
        fs::remove_dir_all(dan.repo()).unwrap();
        copy(&world.path("honest"), &dan.repo());
        alter(&dan.repo(), &key_of(&dan, "dan"), "hello", change);
        let bob = world.user(&format!("bob-{case}")).clone_of("dan.repo", &format!("work-{case}"));
        let spec = if case == "version" { "hello#7.0.0" } else { "hello#1.0.0" };
        let failure = bob.run(["add", spec, "-y", "--json"]).failure();
        assert!(["E-SIG", "E-HASH", "E-SCOPE"].contains(&failure.code.as_str()), "{case}: {failure:?}");
        assert!(content(&bob.here("pkgs")).is_empty(), "{case}");
        bob.store_is_whole();

        let fay = world.user(&format!("fay-{case}"));
        fay.ok(["id", "new", "fay"]);
        let repo = format!("fay-{case}.repo");
        fay.ok(["init", "--bare", &repo]);
        fay.ok(["repo", "sign", "--repo", &repo]);
        let before = fs::read(world.path(format!("{repo}/summary"))).unwrap();
        let failure = fay.run(["repo", "accept", "dan.repo", spec, "--repo", &repo, "--json"]).failure();
        assert!(["E-SIG", "E-HASH", "E-SCOPE"].contains(&failure.code.as_str()), "{case}: {failure:?}");
        assert_eq!(fs::read(world.path(format!("{repo}/summary"))).unwrap(), before, "{case}");
    }
    drop(ada);
}

/// SEC-070, SEC-072: a name in an index leads to one owner, whoever comes with the same name later; no other
/// owner takes it over, the distributor neither.
#[test]
fn one_name_has_one_owner_in_an_index() {
    let (world, _ada, dan) = ada_and_dan();
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    let before = fs::read(dan.repo().join("summary")).unwrap();
    let eve = world.author("eve");
    publish(&world, &eve, "9.0.0");
    dan.no(["repo", "accept", "eve.repo", "hello", "--repo", "dan.repo"], "E-CONFLICT");
    dan.no(["repo", "accept", "eve.repo", "--repo", "dan.repo"], "E-CONFLICT");
    hello(&world.path("hello"), "9.0.0");
    dan.no(["publish", text(&world.path("hello")), "--to", "dan.repo"], "E-CONFLICT");
    assert_eq!(fs::read(dan.repo().join("summary")).unwrap(), before);
    dan.is_whole(&dan.repo());
}

/// A version that a distributor forbids is not installed anew; what is installed stays, and it can be taken back.
/// The mark stays when more is taken.
#[test]
fn a_forbidden_version_is_not_installed_anew() {
    let (world, ada, dan) = ada_and_dan();
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    let bob = world.user("bob").clone_of("dan.repo", "work");
    bob.ok(["add", "hello#1.1.0", "-y"]);

    let refused =
        dan.yes(["repo", "refuse", "hello#1.1.0", "--reason", "it eats tapes", "--repo", "dan.repo"]);
    assert_eq!(refused["versions"][0], "1.1.0", "{refused}");
    publish(&world, &ada, "1.0.1");
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    let list = dan.yes(["repo", "list", "--repo", "dan.repo"]);
    assert_eq!(list["carried"][0]["forbidden"][0][1], "it eats tapes", "{list}");
    assert_eq!(list["carried"][0]["newest"], "1.0.1", "{list}");

    bob.ok(["fetch"]);
    assert_eq!(bob.installed()["hello"], "1.1.0");
    bob.ok(["verify"]);
    let cy = world.user("cy").clone_of("dan.repo", "cy-work");
    cy.run(["add", "hello#1.1.0", "-y", "--json"]).failure();
    cy.ok(["add", "hello", "-y"]);
    assert_eq!(cy.installed()["hello"], "1.0.1");

    dan.ok(["repo", "refuse", "hello#1.1.0", "--undo", "--repo", "dan.repo"]);
    cy.ok(["fetch"]);
    cy.ok(["update", "-y"]);
    assert_eq!(cy.installed()["hello"], "1.1.0");
    dan.no(["repo", "refuse", "nothing", "--repo", "dan.repo"], "E-NOTFOUND");
    dan.is_whole(&dan.repo());
}

/// Names of files below a folder that hold `needle` in their path.
fn named(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    walk(folder, &mut |path, _| {
        let path = text(path).to_owned();
        found.extend(path.contains(needle).then_some(path));
    });
    found
}

/// SEC-128: what a stranger pushes is held apart: no other client sees anything of it, `fsck` neither. It waits for
/// the distributor, who takes it, and users install it.
#[test]
fn a_strangers_push_is_seen_by_nobody_before_it_is_taken() {
    let (world, _ada, dan) = ada_and_dan();
    publish_small(&world, &dan, "own", "1.0.0");
    let eve = world.author("eve");
    publish_small(&world, &eve, "eves", "1.0.0");
    let served = dan.serve(&dan.repo(), &["--accept-pushes"]);
    let before = fs::read(dan.repo().join("summary")).unwrap();

    let pushed = eve.yes(["push", &served.url, "--repo", "eve.repo"]);
    let id = pushed["held"].as_str().unwrap().to_owned();
    assert_eq!(fs::read(dan.repo().join("summary")).unwrap(), before);
    let tree =
        eve.yes(["show", "eves", "--repo", "eve.repo"])["release"]["tree"].as_str().unwrap().to_owned();
    dan.no(["cat-file", "-p", &tree, "--repo", "dan.repo"], "E-NOTFOUND");
    dan.is_whole(&dan.repo());
    let held = named(&dan.repo().join("incoming"), ".pack");
    assert!(!held.is_empty());
    let hidden = held[0].strip_prefix(text(&dan.repo())).unwrap();
    assert_eq!(get(&served.url, "/summary"), 200);
    assert_eq!(get(&served.url, hidden), 404);
    let bob = world.user("bob").clone_of(&served.ticket, "work");
    bob.no(["add", "eves", "-y"], "E-NOTFOUND");

    let list = dan.yes(["repo", "list", "--repo", "dan.repo"]);
    assert_eq!(list["waiting"][0]["id"], id.as_str(), "{list}");
    assert_eq!(list["waiting"][0]["releases"][0], "eves 1.0.0", "{list}");
    let again = eve.yes(["push", &served.ticket, "--repo", "eve.repo"]);
    assert_eq!(again["held"], id.as_str());

    dan.ok(["repo", "accept", &id, "--repo", "dan.repo"]);
    assert!(dan.yes(["repo", "list", "--repo", "dan.repo"])["waiting"].as_array().unwrap().is_empty());
    bob.ok(["fetch"]);
    bob.ok(["add", "eves", "-y"]);
    assert_eq!(content(&bob.loaded("eves")), content(&world.path("eves-1.0.0")));

    // What is carried already does not travel again.
    publish_small(&world, &eve, "eves", "1.1.0");
    let pushed = eve.yes(["push", &served.ticket, "--repo", "eve.repo"]);
    let id = pushed["held"].as_str().unwrap().to_owned();
    let taken = dan.yes(["repo", "accept", &id, "--repo", "dan.repo"]);
    assert_eq!(taken["taken"][0]["version"], "1.1.0", "{taken}");

    publish_small(&world, &eve, "eves", "1.2.0");
    let id = eve.yes(["push", &served.url, "--repo", "eve.repo"])["held"].as_str().unwrap().to_owned();
    dan.ok(["repo", "refuse", &id, "--repo", "dan.repo"]);
    assert!(named(&dan.repo().join("incoming"), &id).is_empty());
    dan.no(["repo", "accept", &id, "--repo", "dan.repo"], "E-NOTFOUND");
    drop(served);
    dan.is_whole(&dan.repo());
}

/// The status a web server answers a path with.
fn get(url: &str, path: &str) -> u16 {
    use std::io::{Read, Write};
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    String::from_utf8_lossy(&head)[9..].parse().unwrap()
}

/// SEC-128: what is held is capped: bytes of a push, bytes of all, pushes of one identity; and it is gone after a day,
/// by the time of its files. What is not signed by who it says is not held at all.
#[test]
fn what_is_held_is_capped_and_goes_after_a_day() {
    let (world, _ada, dan) = ada_and_dan();
    publish_small(&world, &dan, "own", "1.0.0");
    let eve = world.author("eve");
    publish_small(&world, &eve, "eves", "1.0.0");
    let served = dan.serve(&dan.repo(), &["--accept-pushes"]);
    let settings = dan.repo().join("distribute.toml");
    let refused = |why: &str| {
        let failure = eve.no(["push", &served.url, "--repo", "eve.repo"], "E-POLICY");
        assert!(failure.message.contains(why), "{failure:?}");
    };
    fs::write(&settings, "[incoming]\npush-bytes = \"100\"\n").unwrap();
    refused("at most 100 of others");
    fs::write(&settings, "[incoming]\ntotal-bytes = \"100\"\n").unwrap();
    refused("would wait, more than 100");
    fs::write(&settings, "[incoming]\npushes = 1\n").unwrap();
    let id = eve.yes(["push", &served.url, "--repo", "eve.repo"])["held"].as_str().unwrap().to_owned();
    publish_small(&world, &eve, "eves", "1.1.0");
    refused("pushes of id:");
    let folder = dan.repo().join("incoming").join(&id);
    assert!(folder.exists());

    let yesterday = SystemTime::now() - Duration::from_secs(86_400 + 60);
    fs::File::options().write(true).open(folder.join("summary")).unwrap().set_modified(yesterday).unwrap();
    assert!(dan.yes(["repo", "list", "--repo", "dan.repo"])["waiting"].as_array().unwrap().is_empty());
    assert!(!folder.exists());
    let id = eve.yes(["push", &served.url, "--repo", "eve.repo"])["held"].as_str().unwrap().to_owned();
    let folder = dan.repo().join("incoming").join(&id);
    fs::File::options().write(true).open(folder.join("summary")).unwrap().set_modified(yesterday).unwrap();
    dan.no(["repo", "accept", &id, "--repo", "dan.repo"], "E-NOTFOUND");
    assert!(!folder.exists());

    forge_entry(&eve);
    refused("is not signed by who it says");
    assert!(named(&dan.repo(), "incoming/").is_empty());
    drop(served);
    dan.is_whole(&dan.repo());
}

/// Puts an entry that a stranger's key signed among somebody's statements.
fn forge_entry(person: &Person) {
    use objects::release::Entry;
    let repository = Repository::open(&person.repo()).unwrap();
    let ids = repository.statements().list().unwrap();
    let mut entries = ids.into_iter().filter_map(|id| repository.statements().find::<Entry>(id).ok());
    let mut entry: Entry = entries.next().unwrap().envelope().peek().unwrap();
    entry.created = entry.created.after(1);
    let forged = Signed::sign(&entry, &[&SecretKey::from_seed(&[7; 32])]).unwrap();
    repository.statements().insert(forged.envelope()).unwrap();
}

/// Whom the settings accept is listed at once if the server may sign, and waits if the key has a passphrase; a name
/// of somebody else waits whatever the settings say.
#[test]
fn accepted_owners_are_listed_at_once() {
    let (world, ada, dan) = ada_and_dan();
    publish_small(&world, &dan, "own", "1.0.0");
    fs::write(dan.repo().join("distribute.toml"), format!("accept = [\"{}\"]\n", id_of(&ada))).unwrap();
    let served = dan.serve(&dan.repo(), &["--accept-pushes", "--sign"]);
    let pushed = ada.yes(["push", &served.url, "--repo", "ada.repo"]);
    assert_eq!(pushed["held"], serde_json::Value::Null, "{pushed}");
    let bob = world.user("bob").clone_of(&served.url, "work");
    bob.ok(["add", "hello", "-y"]);
    let eve = world.author("eve");
    publish_small(&world, &eve, "eves", "1.0.0");
    assert!(eve.yes(["push", &served.url, "--repo", "eve.repo"])["held"].is_string());
    drop(served);
    dan.is_whole(&dan.repo());

    let fay = world.user("fay");
    fs::write(world.path("secret"), "open sesame\n").unwrap();
    fs::set_permissions(world.path("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fay.ok(["id", "new", "fay", "--passphrase-file", "secret"]);
    fay.ok(["init", "--bare", "fay.repo"]);
    fay.with("PKG_PASSPHRASE_FILE", world.path("secret")).ok(["repo", "sign", "--repo", "fay.repo"]);
    fs::write(fay.repo().join("distribute.toml"), format!("accept = [\"{}\"]\n", id_of(&ada))).unwrap();
    let served = fay.serve(&fay.repo(), &["--accept-pushes", "--sign"]);
    let pushed = ada.yes(["push", &served.url, "--repo", "ada.repo"]);
    let id = pushed["held"].as_str().unwrap();
    let fay = fay.with("PKG_PASSPHRASE_FILE", world.path("secret"));
    fay.ok(["repo", "accept", id, "--repo", "fay.repo"]);
    drop(served);
    fay.is_whole(&fay.repo());
}

/// A plain folder takes offers of others where its owner says so, and only there.
#[test]
fn a_folder_takes_offers_where_its_owner_says_so() {
    let (world, ada, dan) = ada_and_dan();
    publish_small(&world, &dan, "own", "1.0.0");
    let refused = ada.no(["push", "dan.repo", "--repo", "ada.repo"], "E-SCOPE");
    assert!(refused.hints[0].contains("pkg repo accept"), "{refused:?}");
    fs::write(dan.repo().join("distribute.toml"), "accept = []\n").unwrap();
    let pushed = ada.yes(["push", "dan.repo", "--repo", "ada.repo"]);
    dan.is_whole(&dan.repo());
    dan.ok(["repo", "accept", pushed["held"].as_str().unwrap(), "--repo", "dan.repo"]);
    let bob = world.user("bob").clone_of("dan.repo", "work");
    bob.ok(["add", "hello", "-y"]);
    assert_eq!(content(&bob.loaded("hello")), content(&world.path("hello")));

    // A distributor pushes what they carry to where it is served, as an author does.
    dan.ok(["push", "share", "--repo", "dan.repo"]);
    let host = world.user("host");
    let served = host.serve(&world.path("share"), &["--accept-pushes"]);
    publish(&world, &ada, "1.2.0");
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    let pushed = dan.yes(["push", &served.url, "--repo", "dan.repo"]);
    assert_eq!(pushed["held"], serde_json::Value::Null, "{pushed}");
    let cy = world.user("cy").clone_of(&served.ticket, "cy-work");
    cy.ok(["add", "hello#1.2.0", "-y"]);
    drop(served);
    host.is_whole(&world.path("share"));
}

/// REL-001: a distributor killed while taking a release has the old index or the new one, and goes on.
#[test]
fn a_killed_accept_is_absent_or_whole() {
    let stage = Stage::set(|stage| {
        stage.bob.ok(["id", "new", "bob"]);
        stage.bob.ok(["init", "--bare", "shelf"]);
    });
    let shelf = stage.stage.join("shelf");
    stage.kill_at_every_call(&stage.bob, &["repo", "accept", "repo", "--repo", "shelf"], &|place, done| {
        stage.look_after(&stage.bob, &shelf, done);
        let shown = stage.bob.run(["show", "hello", "--repo", "shelf", "--json"]);
        assert!(!done || shown.code == Some(0), "{place}: {shown:?}");
    });
}

/// REL-001, SEC-128: an author killed while offering leaves the repository as it was, and at most what a sweep takes.
#[test]
fn a_killed_offer_leaves_the_repository_as_it_was() {
    let stage = Stage::set(|stage| {
        stage.bob.ok(["id", "new", "bob"]);
        stage.bob.ok(["init", "--bare", "shelf"]);
        stage.bob.ok(["repo", "sign", "--repo", "shelf"]);
        fs::write(stage.stage.join("shelf/distribute.toml"), "").unwrap();
    });
    let shelf = stage.stage.join("shelf");
    let before = fs::read(shelf.join("summary")).unwrap();
    stage.kill_at_every_call(&stage.ada, &["push", "shelf", "--repo", "repo"], &|place, done| {
        stage.bob.is_whole(&shelf);
        assert_eq!(fs::read(shelf.join("summary")).unwrap(), before, "{place}");
        let list = stage.bob.yes(["repo", "list", "--repo", "shelf"]);
        let waiting = list["waiting"].as_array().unwrap().len();
        assert!(if done { waiting == 1 } else { waiting <= 1 }, "{place}: {list}");
        if done {
            stage.bob.ok(["repo", "accept", list["waiting"][0]["id"].as_str().unwrap(), "--repo", "shelf"]);
        }
    });
}
