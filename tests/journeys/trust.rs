//! Old states, forks, exchanged repositories and edited indexes, as a person meets them
//! (SEC-046, 049, 063, THREATS 1.4).

use crate::fixture::hello;
use crate::sandbox::{Person, World, content, copy, text};
use std::fs;
use std::path::Path;

/// Publishes a version of `hello` to ada's repository.
fn publish(world: &World, ada: &Person, version: &str) {
    hello(&world.path("hello"), version);
    ada.publish(&world.path("hello"));
}

/// Puts another state in the place of a repository.
fn replace(repo: &Path, with: &Path) {
    fs::remove_dir_all(repo).unwrap();
    copy(with, repo);
}

/// SEC-046: an older index than was seen is refused, off and on; the newer one is still taken.
#[test]
fn an_older_state_is_refused() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    copy(&repo, &world.path("old"));
    publish(&world, &ada, "1.1.0");
    copy(&repo, &world.path("new"));
    let bob = world.user("bob").clone_of("ada.repo", "work");

    replace(&repo, &world.path("old"));
    for words in [&["fetch"][..], &["add", "hello"], &["update"]] {
        let failure = bob.no(words.iter().copied(), "E-ROLLBACK");
        assert!(failure.message.contains("ada.repo"), "{failure:?}");
    }
    bob.no(["clone", text(&repo), "../second"], "E-ROLLBACK");
    let wanted = fs::read_to_string(bob.here("pkg.cfg.toml")).unwrap();
    let sources = format!("[environment]\nsources = [\"{}\"]", text(&world.path("new")));
    fs::write(bob.here("pkg.cfg.toml"), wanted.replace("[environment]", &sources)).unwrap();
    bob.ok(["add", "hello", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.1.0", "another source with the newer state serves");
    replace(&repo, &world.path("new"));
    bob.ok(["update", "-y"]);
    bob.store_is_whole();
}

/// SEC-049: two indexes with one number: neither is followed, whichever came first.
#[test]
fn two_states_with_one_number_are_a_fork() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    // a machine that was copied with its keys and its memory signs the same number twice
    copy(&ada.home, &world.path("home-twin"));
    copy(&repo, &world.path("twin.repo"));
    let twin = world.user("twin");
    publish(&world, &ada, "1.1.0");
    hello(&world.path("hello"), "2.0.0");
    twin.publish(&world.path("hello"));

    let bob = world.user("bob").clone_of("ada.repo", "work");
    copy(&repo, &world.path("mine"));
    replace(&repo, &world.path("twin.repo"));
    let failure = bob.no(["fetch"], "E-FORK");
    assert!(failure.hints.iter().any(|hint| hint.contains("evidence")), "{failure:?}");
    bob.no(["add", "hello"], "E-FORK");
    replace(&repo, &world.path("mine"));
    bob.no(["fetch"], "E-FORK");
    assert!(bob.installed().is_empty());
    bob.store_is_whole();
}

/// SEC-063: somebody else's repository at a known address is refused.
#[test]
fn another_repository_at_the_same_address_is_refused() {
    let world = World::new();
    let (_, repo) = world.with_hello();
    let bob = world.user("bob").clone_of("ada.repo", "work");
    let eve = world.author("eve");
    hello(&world.path("hello"), "9.9.9");
    eve.publish(&world.path("hello"));
    replace(&repo, &eve.repo());
    let failure = bob.no(["add", "hello"], "E-IDENTITY-CHANGED");
    assert!(failure.message.contains("ada.repo"), "{failure:?}");
    bob.no(["clone", text(&repo), "../again"], "E-IDENTITY-CHANGED");
    assert!(bob.installed().is_empty());
    bob.store_is_whole();
}

/// SEC-063: a second repository cannot take over a name that is pinned.
#[test]
fn a_second_repository_does_not_take_over_a_name() {
    let world = World::new();
    world.with_hello();
    let bob = world.user("bob");
    let first = bob.clone_of("ada.repo", "work");
    first.ok(["add", "hello", "-y"]);
    let eve = world.author("eve");
    hello(&world.path("hello"), "9.9.9");
    eve.publish(&world.path("hello"));
    let second = bob.clone_of("eve.repo", "other");
    second.no(["add", "hello"], "E-IDENTITY-CHANGED");
    assert!(second.installed().is_empty());
    first.ok(["update", "-y"]);
    assert_eq!(first.installed()["hello"], "1.0.0");
}

/// What the index says of a release is checked against what its author signed.
#[test]
fn an_index_that_alters_what_the_author_signed_is_refused() {
    use objects::claim::{Beacon, IdentityRow, Index as Head};
    use objects::key::SecretKey;
    use objects::repository::Repository;
    use objects::signed::Signed;
    use objects::store::pack::writer::Options;
    use plumbing::index::{Changes, Index, edit};
    use plumbing::trust::keyring::Keyring;
    type Edit = fn(&mut objects::claim::PackageRecord);
    let cases: [(&str, Edit); 5] = [
        ("size", |record| record.versions[0].release.size += 1),
        ("tree", |record| record.versions[0].release.tree = record.versions[1].release.tree),
        ("files", |record| record.versions[0].release.files += 1),
        ("licence", |record| record.versions[0].release.about.license = Some("none".into())),
        ("version", |record| record.versions[1].release.version = "7.0.0".parse().unwrap()),
    ];
    for (case, change) in cases {
        let world = World::new();
        let (ada, repo) = world.with_hello();
        publish(&world, &ada, "1.1.0");
        let repository = Repository::open(&repo).unwrap();
        let mut summary = repository.summary().unwrap().unwrap();
        let key: SecretKey =
            Keyring::open(&ada.home.join("pkg/keys")).unwrap().load("ada", &mut || None).unwrap();
        let old: Head = objects::codec::peek(summary.index.envelope().payload()).unwrap();
        let index = Index::open(repository.store(), old.root).unwrap();
        let mut record = index.record(&"hello".parse().unwrap()).unwrap().unwrap();
        change(&mut record);
        let identities: Vec<(_, IdentityRow)> = Vec::new();
        let mut transaction = repository.store().transaction(Options::default()).unwrap();
        let (root, totals) = edit(
            index,
            &Changes { records: vec![record], identities, ..Changes::default() },
            &mut transaction,
        )
        .unwrap();
        transaction.commit().unwrap();
        let mut next = old.clone();
        (next.root, next.size, next.files) = (root, totals.bytes, totals.files);
        summary.index = Signed::sign(&next, &[&key]).unwrap();
        let (n, index, expires) = (next.n, summary.index.id(), next.created.after(86_400));
        let beacon = Beacon { repository: next.repository, n, index, created: next.created, expires };
        summary.beacon = Signed::sign(&beacon, &[&key]).unwrap();
        repository.statements().insert(summary.index.envelope()).unwrap();
        repository.write_pack_list(&[], None).unwrap();
        repository.write_summary(&summary).unwrap();

        let bob = world.user("bob").clone_of("ada.repo", "work");
        let spec = if case == "version" { "hello#7.0.0" } else { "hello#1.0.0" };
        let failure = bob.run(["add", spec, "--json"]).failure();
        assert!(["E-SIG", "E-HASH", "E-SCOPE"].contains(&failure.code.as_str()), "{case}: {failure:?}");
        assert!(content(&bob.here("pkgs")).is_empty(), "{case}");
        bob.store_is_whole();
    }
}
