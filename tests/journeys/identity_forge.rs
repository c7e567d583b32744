//! What somebody with a key too few writes into a copy of a repository, and readers who meet it
//! (SEC-053, SEC-143).

use crate::fixture::hello;
use crate::identity_team::{Team, file_of, team};
use crate::sandbox::{Person, World, content, copy, text};
use objects::claim::{
    Beacon, GrantsRow, IdentityRow, Index as IndexHead, LogRow, PackageRecord, VersionRow, skip_distances,
};
use objects::grants::{Grant, Grants, Permission};
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity, Role};
use objects::key::{SecretKey, Signer};
use objects::pattern::NamePattern;
use objects::release::{Action, Entry};
use objects::repository::Repository;
use objects::signed::{Envelope, Signed};
use objects::store::pack::writer::Options;
use objects::summary::Summary;
use plumbing::index::{Changes, Index, edit};
use plumbing::trust::keyring::Keyring;
use std::fs;
use std::path::Path;

/// A copy of a repository in which somebody with some keys writes what they like.
struct Forger {
    repository: Repository,
    summary: Summary,
    head: IndexHead,
    key: SecretKey,
    chain: Chain,
}

/// A secret key of somebody.
fn key(who: &Person, name: &str) -> SecretKey {
    Keyring::open(&who.home.join("pkg/keys")).unwrap().load(name, &mut || None).unwrap()
}

impl Forger {
    fn at(repo: &Path, key: SecretKey) -> Forger {
        let repository = Repository::open(repo).unwrap();
        let summary = repository.summary().unwrap().unwrap();
        let head: IndexHead = summary.index.envelope().peek().unwrap();
        let chain = Chain::walk(summary.repository.owner, &summary.owner).unwrap();
        Forger { repository, summary, head, key, chain }
    }

    fn owner(&self) -> IdentityId {
        self.chain.id()
    }

    fn record(&self) -> PackageRecord {
        let index = Index::open(self.repository.store(), self.head.root).unwrap();
        index.record(&"hello".parse().unwrap()).unwrap().unwrap()
    }

    fn keep(&self, envelope: &Envelope) -> StatementId {
        self.repository.statements().insert(envelope).unwrap();
        envelope.id()
    }

    /// The document after the newest.
    fn next(&self) -> Identity {
        let last = self.chain.head();
        let (n, prev) = (last.n + 1, Some(last.id()));
        Identity { id: Some(self.owner()), n, prev, ..last.document().clone() }
    }

    /// Signs an index of `changes` with the forger's key, and shows it as the newest.
    fn show(&self, changes: &Changes, more: Option<Signed<Identity>>) {
        let store = self.repository.store();
        let mut transaction = store.transaction(Options::default()).unwrap();
        let (root, totals) =
            edit(Index::open(store, self.head.root).unwrap(), changes, &mut transaction).unwrap();
        transaction.commit().unwrap();
        let n = self.head.n + 1;
        let at = |wanted: u64| {
            let (mut id, mut head) = (self.summary.index.id(), self.head.clone());
            while head.n > wanted {
                id = head.prev.unwrap();
                head = self.repository.statements().find::<IndexHead>(id).unwrap().envelope().peek().unwrap();
            }
            id
        };
        let skips = skip_distances(n).map(|distance| at(n - distance)).collect();
        let (prev, size, files) = (Some(self.summary.index.id()), totals.bytes, totals.files);
        let index = IndexHead { n, prev, skips, root, size, files, ..self.head.clone() };
        let index = Signed::sign(&index, &[&self.key]).unwrap();
        self.keep(index.envelope());
        let old: Beacon = self.summary.beacon.envelope().peek().unwrap();
        let beacon = Signed::sign(&Beacon { n, index: index.id(), ..old }, &[&self.key]).unwrap();
        let mut owner = self.summary.owner.clone();
        owner.extend(more);
        let repository = self.summary.repository.clone();
        self.repository.write_pack_list(&[], None).unwrap();
        self.repository.write_summary(&Summary { repository, index, beacon, owner }).unwrap();
    }

    /// Shows `document` as the next of the owner's identity.
    fn show_identity(&self, document: &Identity, signers: &[&dyn Signer]) {
        let signed = Signed::sign(document, signers).unwrap();
        let row = IdentityRow { n: document.n, document: self.keep(signed.envelope()) };
        let changes = Changes { identities: vec![(self.owner(), row)], ..Changes::default() };
        self.show(&changes, Some(signed));
    }

    /// Shows an entry of the owner's log, signed with the forger's key alone.
    fn show_entry(&self, action: impl Fn(&VersionRow) -> Action) {
        let mut record = self.record();
        let newest = record.versions.last().unwrap().clone();
        let log = record.logs[0].clone();
        let entry = Entry {
            owner: self.owner(),
            name: record.name.clone(),
            signer: self.owner(),
            signer_n: self.chain.head().n,
            seq: log.seq + 1,
            prev: Some(log.entry),
            grants: Vec::new(),
            action: action(&newest),
            created: newest.listed,
        };
        let id = self.keep(Signed::sign(&entry, &[&self.key]).unwrap().envelope());
        record.logs = vec![LogRow { seq: entry.seq, entry: id, ..log }];
        if let Some(release) = entry.release() {
            record.versions.push(VersionRow {
                entry: id,
                seq: entry.seq,
                release: release.clone(),
                ..newest
            });
        }
        self.show(&Changes { records: vec![record], ..Changes::default() }, None);
    }
}

/// Puts a forged copy in the place of the repository, lets `bob` look, and puts the true one back.
fn meets(
    world: &World,
    repo: &Path,
    bob: &Person,
    spec: &str,
    forge: impl FnOnce(Forger),
    key: SecretKey,
) -> String {
    let aside = world.path("true.repo");
    fs::rename(repo, &aside).unwrap();
    copy(&aside, repo);
    forge(Forger::at(repo, key));
    let pkgs = || bob.here("pkgs").exists().then(|| content(&bob.here("pkgs")));
    let before = pkgs();
    let run = bob.run(["add", spec, "--json"]);
    let failure = run.failure();
    assert_eq!(pkgs(), before, "{run:?}");
    fs::remove_dir_all(repo).unwrap();
    fs::rename(&aside, repo).unwrap();
    failure.code
}

/// SEC-053: a successor signed only by the new keys, only by the old ones, one that skips a number, and one
/// with another predecessor: all are refused, and the pinned document stays.
#[test]
fn forged_successors_are_refused() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let bob = world.user("bob").clone_of(text(&repo), "work");
    bob.ok(["add", "hello"]);
    let (old, new) = (|| key(&ada, "ada"), SecretKey::from_seed(&[66; 32]));
    let rooted = |mut next: Identity| {
        next.roles.root = Role::new(vec![new.public()], 1).unwrap();
        next
    };
    let codes = [
        meets(
            &world,
            &repo,
            &bob,
            "hello",
            |forger| forger.show_identity(&rooted(forger.next()), &[&new]),
            old(),
        ),
        meets(
            &world,
            &repo,
            &bob,
            "hello",
            |forger| forger.show_identity(&rooted(forger.next()), &[&forger.key]),
            old(),
        ),
        meets(
            &world,
            &repo,
            &bob,
            "hello",
            |forger| {
                let skips = Identity { n: forger.next().n + 1, ..rooted(forger.next()) };
                forger.show_identity(&skips, &[&forger.key, &new]);
            },
            old(),
        ),
        meets(
            &world,
            &repo,
            &bob,
            "hello",
            |forger| {
                let stranger = Some(forger.summary.index.id());
                forger.show_identity(
                    &Identity { prev: stranger, ..rooted(forger.next()) },
                    &[&forger.key, &new],
                );
            },
            old(),
        ),
    ];
    assert_eq!(codes[..2], ["E-SIG", "E-SIG"]);
    for code in &codes[2..] {
        assert!(["E-ROLLBACK", "E-SIG", "E-NOTFOUND", "E-FORMAT"].contains(&code.as_str()), "{codes:?}");
    }
    ada.ok(["id", "rotate", "--to", text(&repo)]);
    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    bob.ok(["update"]);
    assert_eq!(bob.installed()["hello"], "1.1.0", "the honest successor is followed");
}

/// A stranger's file makes nobody sign what would not stand: another kind of statement, another identity's,
/// a document that takes back a withdrawal, skips a number, follows another one, or has a sibling.
#[test]
fn files_that_would_not_stand_are_not_signed() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    ada.ok(["id", "rotate", "--to", text(&repo)]);
    let forger = Forger::at(&repo, SecretKey::from_seed(&[66; 32]));
    let (next, index) = (forger.next(), forger.summary.index.clone());
    let unsigned = |document: Identity| Signed::sign(&document, &[]).unwrap().envelope().clone();
    let other = Some(IdentityId::new(index.id().object()));
    let first = Some(forger.chain.documents()[0].id());
    let sibling = Identity { n: 1, prev: first, name: Some("eve".into()), ..next.clone() };
    for (name, envelope, code) in [
        ("kind", index.envelope().clone(), "E-SCOPE"),
        ("graft", unsigned(Identity { id: other, ..next.clone() }), "E-NOTFOUND"),
        ("unretired", unsigned(Identity { retired: Vec::new(), ..next.clone() }), "E-SIG"),
        ("skip", unsigned(Identity { n: next.n + 1, ..next.clone() }), "E-NOTFOUND"),
        ("prev", unsigned(Identity { prev: Some(index.id()), ..next.clone() }), "E-ROLLBACK"),
        ("sibling", unsigned(sibling), "E-FORK"),
    ] {
        fs::write(world.path(name), envelope.encode()).unwrap();
        ada.no(["sign", name, "--yes"], code);
        ada.no(["id", "apply", name], code);
        assert_eq!(fs::read(world.path(name)).unwrap(), envelope.encode(), "{name}");
    }
    fs::write(world.path("sound"), unsigned(next).encode()).unwrap();
    let said = ada.ok(["sign", "sound", "--yes"]);
    assert!(said.contains("changes nothing"), "{said}");
}

/// SEC-143: one of three root keys is stolen, the threshold is two. With that key and this program the thief
/// can neither rotate, nor grant, nor release; what they forge by hand nobody takes.
#[test]
fn one_stolen_key_of_three_changes_nothing() {
    let world = World::new();
    let Team { ada, bob, cy, id } = team(&world, &[]);
    ada.ok(["init", "--bare", "acme.repo"]);
    let repo = world.path("acme.repo");
    hello(&world.path("hello"), "1.0.0");
    let publish = ["publish", "hello", "--to", "acme.repo", "--as", "acme"];
    let waits = ada.no(publish, "E-SIG");
    let file = waits.hints[0].split(['`', ' ']).find(|word| word.ends_with(".pending")).unwrap();
    let said = bob.ok(["sign", file, "--yes"]);
    assert!(said.contains("releases hello 1.0.0"), "{said}");
    ada.ok(["id", "apply", file]);
    ada.ok(publish);
    // Each forged index is another one under the same number: nobody meets two of them.
    let reader = |name: &str| {
        let reader = world.user(name).clone_of(text(&repo), &format!("work-{name}"));
        reader.ok(["add", "hello"]);
        reader
    };

    let thief = world.user("thief");
    copy(&cy.home.join("pkg"), &thief.home.join("pkg"));
    copy(&repo, &world.path("thief.repo"));
    for verb in [
        vec!["id", "rotate", "acme"],
        vec!["id", "revoke", "--as", "acme", "cy", "--drop"],
        vec!["id", "grant", "--as", "acme", &id, "hello"],
    ] {
        let waits = thief.yes(verb.iter().copied());
        let file = file_of(&waits);
        assert!(waits["put"].as_array().unwrap().is_empty());
        thief.no(["id", "apply", &file], "E-SIG");
        thief.no(["sign", &file, "--yes"], "E-SIG");
        thief.ok(["id", "abandon", &file]);
    }
    assert_eq!(thief.yes(["id", "show", "acme"])["n"], 0);
    hello(&world.path("hello"), "6.6.6");
    thief.no(["publish", "hello", "--to", "thief.repo", "--as", "acme"], "E-SIG");

    let stolen = || key(&thief, "cy");
    let mine = || SecretKey::from_seed(&[66; 32]);
    let rotate = |forger: Forger| {
        let mut next = forger.next();
        next.roles.root = Role::new(vec![forger.key.public(), mine().public()], 2).unwrap();
        forger.show_identity(&next, &[&forger.key, &mine()]);
    };
    assert_eq!(meets(&world, &repo, &reader("dan"), "hello", rotate, stolen()), "E-SIG");
    let release = |forger: Forger| {
        forger.show_entry(|newest| {
            let version = "6.6.6".parse().unwrap();
            Action::Release(Box::new(objects::release::Release { version, ..newest.release.clone() }))
        });
    };
    assert_eq!(meets(&world, &repo, &reader("eve"), "hello#6.6.6", release, stolen()), "E-SIG");
    let fay = world.user("fay").clone_of(text(&repo), "work-fay"); // has installed nothing yet
    let transfer = |forger: Forger| forger.show_entry(|_| Action::Transfer { to: forger.owner() });
    assert_eq!(meets(&world, &repo, &fay, "hello#1.0.0", transfer, stolen()), "E-SIG");
    let grants = |forger: Forger| grant_oneself(&forger, &mine());
    let code = meets(&world, &repo, &reader("gil"), "hello#6.6.6", grants, stolen());
    assert!(["E-SIG", "E-SCOPE"].contains(&code.as_str()), "{code}");
}

/// The thief grants everything to an identity of their own, which releases.
fn grant_oneself(forger: &Forger, mine: &SecretKey) {
    let created = forger.head.created;
    let role = Role::new(vec![mine.public()], 1).unwrap();
    let first = Signed::sign(&Identity::found(None, &role, created), &[mine]).unwrap();
    let to = IdentityId::new(forger.keep(first.envelope()).object());
    let grant = Grant {
        to,
        names: vec![NamePattern::everything()],
        permissions: Permission::ALL.into(),
        depth: 0,
        terminating: false,
        from: created,
        until: None,
    };
    let path = vec![grant.id(forger.owner())];
    let document = Grants {
        issuer: forger.owner(),
        issuer_n: forger.chain.head().n,
        n: 0,
        prev: None,
        grants: vec![grant],
        ended: Vec::new(),
        created,
    };
    let document = forger.keep(Signed::sign(&document, &[&forger.key]).unwrap().envelope());
    let mut record = forger.record();
    let newest = record.versions.last().unwrap().clone();
    let release = objects::release::Release { version: "6.6.6".parse().unwrap(), ..newest.release.clone() };
    let entry = Entry {
        owner: forger.owner(),
        name: record.name.clone(),
        signer: to,
        signer_n: 0,
        seq: 0,
        prev: None,
        grants: path,
        action: Action::Release(Box::new(release.clone())),
        created,
    };
    let entry = forger.keep(Signed::sign(&entry, &[mine]).unwrap().envelope());
    record.logs.push(LogRow { signer: to, seq: 0, entry, listed: created });
    record.versions.push(VersionRow { entry, signer: to, seq: 0, listed: created, mark: None, release });
    let own = IdentityRow { n: forger.chain.head().n, document: forger.chain.head().id() };
    let theirs = IdentityRow { n: 0, document: first.id() };
    forger.show(
        &Changes {
            records: vec![record],
            identities: vec![(forger.owner(), own), (to, theirs)],
            grants: vec![(forger.owner(), GrantsRow { n: 0, document })],
        },
        None,
    );
}
