//! Delegates: versions of somebody else's package, by a grant of its owner (THREATS 1.1, SEC-058).

use crate::distribute::{alter, hex, id_of, key_of};
use crate::fixture::small;
use crate::sandbox::{Person, World, content, text};
use objects::claim::{LogRow, VersionRow};
use objects::grants::{Grant, Grants, Permission};
use objects::id::StatementId;
use objects::refs::{PreviousValue, RefEdit};
use objects::release::{Action, Entry};
use objects::repository::Repository;
use objects::signed::Signed;
use objects::time::Timestamp;
use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lets `to` release packages whose names fit `pattern` for `owner`, as the next of the owner's grants.
pub fn grant(owner: &Person, name: &str, to: &str, pattern: &str) {
    let store = Repository::open(&owner.home.join("pkg/store")).unwrap();
    let issuer = id_of(owner)[3..].parse().unwrap();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let created = Timestamp::new(seconds).unwrap();
    let reference: objects::refs::RefName = format!("refs/grants/{}", &id_of(owner)[3..]).parse().unwrap();
    let prev: Option<StatementId> = store.refs().try_find(&reference).unwrap();
    let old: Option<Grants> =
        prev.map(|prev| store.statements().find::<Grants>(prev).unwrap().envelope().peek().unwrap());
    let mut grants = old.as_ref().map(|old| old.grants.clone()).unwrap_or_default();
    grants.push(Grant {
        to: to.strip_prefix("id:").unwrap().parse().unwrap(),
        names: vec![pattern.parse().unwrap()],
        permissions: BTreeSet::from([Permission::Release]),
        depth: 0,
        terminating: false,
        from: created,
        until: None,
    });
    let n = old.map_or(0, |old| old.n + 1);
    let document = Grants { issuer, issuer_n: 0, n, prev, grants, ended: Vec::new(), created };
    let signed = Signed::sign(&document, &[&key_of(owner, name)]).unwrap();
    store.statements().insert(signed.envelope()).unwrap();
    let edit = RefEdit {
        name: reference,
        previous: PreviousValue::Any,
        new: Some(signed.id()),
        message: format!("grants: document {n}"),
    };
    store.refs().edit(&[edit], created).unwrap();
}

/// Ada, who published `acme/web` 1.0.0, and a delegate with a repository of their own.
pub fn ada_and_ci() -> (World, Person, Person) {
    let world = World::new();
    let ada = world.author("ada");
    small(&world.path("web"), "acme/web", "1.0.0", "");
    ada.publish(&world.path("web"));
    let ci = world.author("ci");
    (world, ada, ci)
}

/// Publishes a version of a package of ada's as a delegate.
pub fn publish_for(world: &World, name: &str, version: &str, owner: &str) -> [String; 6] {
    let folder = world.path(format!("{}-{version}", name.replace('/', "-")));
    small(&folder, name, version, "");
    ["publish", text(&folder), "--to", "ci.repo", "--owner", owner].map(ToOwned::to_owned)
}

/// SEC-058: a delegate publishes what a grant that is known here is for, and nothing else; the entry names owner, signer
/// and grant, and the index names the grants.
#[test]
fn a_delegate_publishes_what_was_granted_and_nothing_else() {
    let (world, ada, ci) = ada_and_ci();
    let web = publish_for(&world, "acme/web", "1.1.0", &id_of(&ada));
    let refused = ci.run(web.iter().map(String::as_str).chain(["--json"])).failure();
    assert_eq!(refused.code, "E-SCOPE", "{refused:?}");
    assert!(refused.hints[0].contains(&format!("pkg id grant {}", id_of(&ci))), "{refused:?}");

    grant(&ada, "ada", &id_of(&ci), "acme/web");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    ci.ok(&web);
    assert_eq!(ci.yes(web.iter().map(String::as_str))["unchanged"], true);
    let named = publish_for(&world, "acme/web", "1.2.0", "ada");
    ci.ok(&named);
    let core = publish_for(&world, "acme/core", "1.0.0", "ada");
    let refused = ci.run(core.iter().map(String::as_str).chain(["--json"])).failure();
    assert_eq!(refused.code, "E-SCOPE", "{refused:?}");
    small(&world.path("web"), "acme/web", "1.3.0", "");
    ci.no(["publish", text(&world.path("web")), "--to", "ci.repo"], "E-CONFLICT");

    let list = ci.yes(["repo", "list", "--repo", "ci.repo"]);
    let web = &list["carried"][0];
    assert_eq!(format!("id:{}", hex(&web["owner"])), id_of(&ada), "{list}");
    assert_eq!((&web["newest"], &web["versions"]), (&"1.2.0".into(), &3.into()), "{list}");
    assert!(web["signers"].as_array().unwrap().iter().any(|signer| hex(signer) == id_of(&ci)[3..]), "{list}");
    let repository = Repository::open(&ci.repo()).unwrap();
    let by_ci = repository.statements().list().unwrap().into_iter();
    let by_ci = by_ci.filter_map(|id| repository.statements().find::<Entry>(id).ok());
    let by_ci = by_ci.map(|signed| signed.envelope().peek::<Entry>().unwrap());
    let by_ci: Vec<Entry> = by_ci.filter(|entry| entry.signer != entry.owner).collect();
    assert_eq!(by_ci.len(), 2);
    assert!(by_ci.iter().all(|entry| entry.grants.len() == 1));
    ci.is_whole(&ci.repo());
    ada.is_whole(&ada.repo());
}

/// SEC-041, O10: an entry that names an owner who granted its signer nothing is taken by nobody: not by a distributor,
/// whatever index lists it, and not by a user.
#[test]
fn an_entry_without_a_grant_is_taken_by_nobody() {
    let (world, ada, eve) = ada_and_ci();
    eve.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    let repository = Repository::open(&eve.repo()).unwrap();
    let statements = repository.statements().list().unwrap().into_iter();
    let mut entries = statements.filter_map(|id| repository.statements().find::<Entry>(id).ok());
    let mut entry: Entry = entries.next().unwrap().envelope().peek().unwrap();
    entry.signer = id_of(&eve)[3..].parse().unwrap();
    let Action::Release(release) = &mut entry.action else { panic!("{entry:?}") };
    release.version = "9.0.0".parse().unwrap();
    let release = release.as_ref().clone();
    let signed = Signed::sign(&entry, &[&key_of(&eve, "ci")]).unwrap();
    repository.statements().insert(signed.envelope()).unwrap();
    alter(&eve.repo(), &key_of(&eve, "ci"), "acme/web", |record| {
        let (signer, seq, listed) = (entry.signer, 0, entry.created);
        record.logs.push(LogRow { signer, seq, entry: signed.id(), listed });
        record.versions.push(VersionRow { entry: signed.id(), signer, seq, listed, mark: None, release });
    });
    drop(ada);

    let bob = world.user("bob").clone_of("ci.repo", "work");
    bob.no(["add", "acme/web#9.0.0", "-y"], "E-SCOPE");
    let dan = world.author("dan");
    dan.no(["repo", "accept", "ci.repo", "acme/web#9.0.0", "--repo", "dan.repo"], "E-SCOPE");
    dan.ok(["repo", "accept", "ci.repo", "--repo", "dan.repo"]); // what stands in it is taken
    let list = dan.yes(["repo", "list", "--repo", "dan.repo"]);
    assert_eq!(
        (&list["carried"][0]["newest"], &list["carried"][0]["versions"]),
        (&"1.0.0".into(), &1.into())
    );
    dan.is_whole(&dan.repo());
}

/// A mirror of a repository with grants has them too; one that lost them is not whole.
#[test]
fn copies_carry_the_grants() {
    let (world, ada, ci) = ada_and_ci();
    grant(&ada, "ada", &id_of(&ci), "acme/**");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    ci.ok(publish_for(&world, "acme/web", "1.1.0", "ada"));
    ci.ok(["push", "share", "--repo", "ci.repo"]);
    let served = world.user("host").serve(&world.path("share"), &["--accept-pushes"]);
    let cy = world.user("cy");
    cy.ok(["clone", "--mirror", &served.url, "mirror"]);
    cy.is_whole(&world.path("mirror"));
    grant(&ada, "ada", &id_of(&ci), "other/*");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    ci.ok(["repo", "sign", "--repo", "ci.repo"]);
    ci.ok(["push", &served.url, "--repo", "ci.repo"]);
    cy.ok(["fetch", "--repo", "mirror"]);
    cy.is_whole(&world.path("mirror"));

    let mirror = Repository::open(&world.path("mirror")).unwrap();
    let name = format!("refs/grants/{}", &id_of(&ada)[3..]).parse().unwrap();
    let newest = mirror.refs().try_find(&name).unwrap().unwrap();
    let grants: Grants = mirror.statements().find::<Grants>(newest).unwrap().envelope().peek().unwrap();
    assert_eq!(grants.n, 1);
    let lost = objects::statements::key(grants.prev.unwrap());
    std::fs::remove_file(world.path("mirror").join(lost)).unwrap();
    let run = cy.run(["fsck", "--repo", "mirror", "--json"]);
    assert_ne!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("the index names it, but it is not here"), "{run:?}");
}

/// O10: a user installs what a delegate signed: from the delegate, from a distributor who took it, from a mirror and a
/// bundle of that, and off line. The lock names the signer.
#[test]
fn a_user_installs_what_a_delegate_signed() {
    let (world, ada, ci) = ada_and_ci();
    grant(&ada, "ada", &id_of(&ci), "acme/web");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    ci.ok(publish_for(&world, "acme/web", "1.1.0", "ada"));
    let dan = world.author("dan");
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    let taken = dan.yes(["repo", "accept", "ci.repo", "--repo", "dan.repo"]);
    assert_eq!(hex(&taken["taken"][0]["signer"]), id_of(&ci)[3..], "{taken}");
    dan.is_whole(&dan.repo());
    dan.ok(["bundle", "create", "web.bundle", "acme/web", "--repo", "dan.repo"]);
    dan.ok(["bundle", "verify", "web.bundle"]);
    dan.ok(["clone", "--mirror", "dan.repo", "mirror"]);
    for (n, source) in ["ci.repo", "dan.repo", "mirror", "web.bundle"].into_iter().enumerate() {
        let bob = world.user(&format!("bob-{n}")).clone_of(source, &format!("work-{n}"));
        bob.ok(["add", "acme/web", "-y"]);
        assert_eq!(bob.installed()["acme/web"], "1.1.0", "{source}");
        assert_eq!(content(&bob.loaded("acme/web")), content(&world.path("acme-web-1.1.0")), "{source}");
        let lock = std::fs::read_to_string(bob.here("pkg.lock")).unwrap();
        assert!(lock.contains(&id_of(&ci)[3..]), "{source}: {lock}");
        bob.ok(["remove", "acme/web", "-y"]);
        bob.ok(["add", "acme/web", "-y", "--offline"]);
        bob.store_is_whole();
    }
}

/// O10, SEC-128: a delegate pushes to a distributor who accepts the owner: it is listed at once, and installs.
#[test]
fn what_a_delegate_pushes_for_an_accepted_owner_is_listed() {
    let (world, ada, ci) = ada_and_ci();
    grant(&ada, "ada", &id_of(&ci), "acme/*");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    ci.ok(publish_for(&world, "acme/web", "1.1.0", "ada"));
    let dan = world.author("dan");
    dan.ok(["repo", "sign", "--repo", "dan.repo"]);
    let settings = format!("accept = [\"{}\"]\n", id_of(&ada));
    std::fs::write(dan.repo().join("distribute.toml"), settings).unwrap();
    let served = dan.serve(&dan.repo(), &["--accept-pushes", "--sign"]);
    let pushed = ci.yes(["push", &served.url, "--repo", "ci.repo"]);
    assert_eq!(pushed["held"], serde_json::Value::Null, "{pushed}");
    let bob = world.user("bob").clone_of(&served.ticket, "work");
    bob.ok(["add", "acme/web#1.1.0", "-y"]);
    drop(served);
    dan.is_whole(&dan.repo());
}

/// SEC-052: one version with two contents, by owner and delegate: a distributor lists the first it saw, no other.
#[test]
fn a_version_with_two_contents_is_listed_once() {
    let (world, ada, ci) = ada_and_ci();
    grant(&ada, "ada", &id_of(&ci), "acme/web");
    ada.ok(["repo", "sign", "--repo", "ada.repo"]);
    ci.ok(["repo", "accept", "ada.repo", "--repo", "ci.repo"]);
    let args = publish_for(&world, "acme/web", "1.1.0", "ada");
    std::fs::write(world.path("acme-web-1.1.0/text.txt"), "another").unwrap();
    ci.ok(args);
    small(&world.path("web"), "acme/web", "1.1.0", "");
    ada.publish(&world.path("web"));
    let dan = world.author("dan");
    dan.ok(["repo", "accept", "ada.repo", "--repo", "dan.repo"]);
    let failure =
        dan.run(["repo", "accept", "ci.repo", "acme/web#1.1.0", "--repo", "dan.repo", "--json"]).failure();
    assert!(["E-FORK", "E-CONFLICT", "E-POLICY", "E-SCOPE"].contains(&failure.code.as_str()), "{failure:?}");
    let bob = world.user("bob").clone_of("dan.repo", "work");
    bob.ok(["add", "acme/web#1.0.0", "-y"]);
    dan.is_whole(&dan.repo());
}
