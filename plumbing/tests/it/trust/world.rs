//! A world to judge: people with keys, mirrors that grow, logs, and machines with a clock of ours.
//!
//! Everything is plain data that a test may copy, cut and forge before a [`Machine`] sees it.

use objects::claim::{
    Beacon, GrantsRow, IdentityRow, Index, LogRow, PackageRecord, Repository, VersionRow, skip_distances,
};
use objects::codec;
use objects::grants::{Grant, Grants, Permission};
use objects::id::{IdentityId, ObjectId, StatementId, TreeId};
use objects::identity::{Identity, Role};
use objects::key::{SecretKey, Signer};
use objects::release::{About, Action, Entry, Release, Sha256};
use objects::signed::{Document, Envelope, Signed, pae};
use objects::summary::Summary;
use objects::time::Timestamp;
use objects::version::{Channel, Version};
use plumbing::trust::{
    Accepted, Authorised, Directory, Error, Judge, Places, Policy, State, Statements, Trusted, Unlisted,
};
use serde_bytes::ByteBuf;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// When the world begins.
pub const NOW: u64 = 1_800_000_000;
pub const DAY: u64 = 86_400;

pub fn time(seconds: u64) -> Timestamp {
    Timestamp::new(seconds).unwrap()
}

pub fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

pub fn role(seeds: &[u8], threshold: u32) -> Role {
    Role::new(seeds.iter().map(|seed| key(*seed).public()).collect(), threshold).unwrap()
}

pub fn sign<T: Document>(document: &T, seeds: &[u8]) -> Signed<T> {
    let keys: Vec<SecretKey> = seeds.iter().map(|seed| key(*seed)).collect();
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    Signed::sign(document, &signers).unwrap()
}

/// An envelope with whatever type, payload and signatures.
pub fn forge(media_type: &str, payload: &[u8], signatures: &[([u8; 32], [u8; 64])]) -> Vec<u8> {
    let rows: Vec<(ByteBuf, ByteBuf)> =
        signatures.iter().map(|(key, signature)| (ByteBuf::from(*key), ByteBuf::from(*signature))).collect();
    codec::encode(&("envelope/1", media_type, ByteBuf::from(payload), rows))
}

/// A good signature of `seed` over whatever bytes.
pub fn signature(seed: u8, media_type: &str, payload: &[u8]) -> ([u8; 32], [u8; 64]) {
    let key = key(seed);
    (*key.public().as_bytes(), key.sign(&pae(media_type, payload)))
}

/// Statements by id, and how often they were asked for.
#[derive(Default)]
pub struct Shelf {
    rows: RefCell<BTreeMap<StatementId, Envelope>>,
    pub asked: Cell<usize>,
}

impl Shelf {
    pub fn put<T: Document>(&self, signed: &Signed<T>) {
        self.rows.borrow_mut().insert(signed.id(), signed.envelope().clone());
    }

    pub fn drop(&self, id: StatementId) {
        self.rows.borrow_mut().remove(&id);
    }

    /// Answers questions for `id` with another statement.
    pub fn exchange(&self, id: StatementId, other: &Envelope) {
        self.rows.borrow_mut().insert(id, other.clone());
    }
}

impl Statements for Shelf {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, Error> {
        self.asked.set(self.asked.get() + 1);
        Ok(self.rows.borrow().get(&id).cloned())
    }
}

/// Someone with an identity; one key in all roles at first.
#[derive(Clone)]
pub struct Person {
    pub seed: u8,
    pub documents: Vec<Signed<Identity>>,
    pub newest: Identity,
}

impl Person {
    pub fn new(seed: u8) -> Person {
        Person::with(seed, Identity::found(None, &role(&[seed], 1), time(NOW - 100 * DAY)))
    }

    /// Someone whose first document, signed by `seed`, is this one.
    pub fn with(seed: u8, first: Identity) -> Person {
        Person { seed, documents: vec![sign(&first, &[seed])], newest: first }
    }

    pub fn id(&self) -> IdentityId {
        IdentityId::new(self.documents[0].id().object())
    }

    /// The next document, as it should be if nothing changes.
    pub fn next(&self) -> Identity {
        Identity {
            id: Some(self.id()),
            n: self.newest.n + 1,
            prev: Some(self.documents.last().unwrap().id()),
            ..self.newest.clone()
        }
    }

    pub fn take(&mut self, next: Identity, seeds: &[u8]) {
        self.documents.push(sign(&next, seeds));
        self.newest = next;
    }

    pub fn row(&self) -> IdentityRow {
        IdentityRow { n: self.newest.n, document: self.documents.last().unwrap().id() }
    }

    pub fn shelve(&self, shelf: &Shelf) {
        self.documents.iter().for_each(|document| shelf.put(document));
    }
}

/// A repository as one mirror shows it.
#[derive(Clone)]
pub struct Mirror {
    pub owner: Person,
    pub repository: Repository,
    pub indexes: Vec<Signed<Index>>,
    pub now: u64,
}

impl Mirror {
    /// A repository with `count` indexes.
    pub fn new(owner: Person, count: usize) -> Mirror {
        let repository = Repository { owner: owner.id(), name: "main".into() };
        let mirror = Mirror { owner, repository, indexes: Vec::new(), now: NOW };
        (0..count).fold(mirror, |mirror, _| mirror.grown("honest"))
    }

    /// The next index, as it should be; `root` is told by any word.
    pub fn next(&self, root: &str) -> Index {
        let n = self.indexes.len();
        Index {
            repository: self.repository.clone(),
            n: n as u64,
            prev: self.indexes.last().map(Signed::id),
            skips: skip_distances(n as u64).map(|d| self.indexes[n - d as usize].id()).collect(),
            root: TreeId::new(ObjectId::of(root.as_bytes())),
            size: 0,
            files: 0,
            created: time(self.now),
            expires: time(self.now + 30 * DAY),
        }
    }

    pub fn grown(mut self, root: &str) -> Mirror {
        let next = sign(&self.next(root), &[self.owner.seed]);
        self.indexes.push(next);
        self
    }

    /// The same mirror as it was when it had `count` indexes.
    pub fn back_at(&self, count: usize) -> Mirror {
        Mirror { indexes: self.indexes[..count].to_vec(), ..self.clone() }
    }

    pub fn beacon(&self) -> Beacon {
        Beacon {
            repository: self.repository.clone(),
            n: self.indexes.len() as u64 - 1,
            index: self.indexes.last().unwrap().id(),
            created: time(self.now),
            expires: time(self.now + 3 * DAY),
        }
    }

    pub fn summary(&self) -> Summary {
        Summary {
            repository: self.repository.clone(),
            index: self.indexes.last().unwrap().clone(),
            beacon: sign(&self.beacon(), &[self.owner.seed]),
            owner: self.owner.documents.clone(),
        }
    }

    pub fn shelf(&self) -> Shelf {
        let shelf = Shelf::default();
        self.owner.shelve(&shelf);
        self.indexes.iter().for_each(|index| shelf.put(index));
        shelf
    }
}

/// The log of an author for one package.
#[derive(Clone)]
pub struct Book {
    /// Who signs it.
    pub author: Person,
    /// Whose package it is, if not the author's.
    pub owner: Option<Person>,
    pub name: String,
    pub entries: Vec<Signed<Entry>>,
    pub drafts: Vec<Entry>,
}

impl Book {
    /// A log with the releases 1.0.0, 1.1.0, …
    pub fn new(author: Person, name: &str, releases: u64) -> Book {
        Book::by(author, None, name, releases)
    }

    /// The same by a delegate of `owner`.
    pub fn by(author: Person, owner: Option<Person>, name: &str, releases: u64) -> Book {
        let book = Book { author, owner, name: name.into(), entries: Vec::new(), drafts: Vec::new() };
        (0..releases).fold(book, |book, minor| book.released(&format!("1.{minor}.0"), "honest"))
    }

    pub fn owner(&self) -> &Person {
        self.owner.as_ref().unwrap_or(&self.author)
    }

    /// The next entry, as it should be.
    pub fn next(&self, action: Action) -> Entry {
        Entry {
            owner: self.owner().id(),
            name: self.name.parse().unwrap(),
            signer: self.author.id(),
            signer_n: self.author.newest.n,
            seq: self.entries.len() as u64,
            prev: self.entries.last().map(Signed::id),
            grants: Vec::new(),
            action,
            created: time(NOW),
        }
    }

    pub fn with(mut self, entry: Entry) -> Book {
        self.entries.push(sign(&entry, &[self.author.seed]));
        self.drafts.push(entry);
        self
    }

    pub fn released(self, version: &str, tree: &str) -> Book {
        let entry = self.next(Action::Release(Box::new(release(version, tree))));
        self.with(entry)
    }

    pub fn yanked(self, version: &str) -> Book {
        let action = Action::Yank { version: version.parse().unwrap(), reason: "it burns".into() };
        let entry = self.next(action);
        self.with(entry)
    }

    pub fn unyanked(self, version: &str) -> Book {
        let entry = self.next(Action::Unyank { version: version.parse().unwrap() });
        self.with(entry)
    }

    /// What an honest index says of the package.
    pub fn record(&self) -> PackageRecord {
        let rows = self.entries.iter().zip(&self.drafts);
        let versions = rows.filter_map(|(signed, entry)| {
            let (signer, seq, listed) = (entry.signer, entry.seq, time(NOW));
            let release = entry.release()?.clone();
            Some(VersionRow { entry: signed.id(), signer, seq, listed, mark: None, release })
        });
        let (signer, listed) = (self.author.id(), time(NOW));
        let (seq, entry) = (self.entries.len() as u64 - 1, self.entries.last().unwrap().id());
        PackageRecord {
            name: self.name.parse().unwrap(),
            owner: self.owner().id(),
            transfer: None,
            logs: vec![LogRow { signer, seq, entry, listed }],
            versions: versions.collect(),
        }
    }

    pub fn shelf(&self) -> Shelf {
        let shelf = Shelf::default();
        self.author.shelve(&shelf);
        self.owner().shelve(&shelf);
        self.entries.iter().for_each(|entry| shelf.put(entry));
        shelf
    }
}

pub fn release(version: &str, tree: &str) -> Release {
    Release {
        version: version.parse().unwrap(),
        channel: Channel::default(),
        tree: TreeId::new(ObjectId::of(tree.as_bytes())),
        size: 1,
        files: 1,
        sha256: Sha256([0; 32]),
        archive_size: 1,
        dependencies: Vec::new(),
        conflicts: Vec::new(),
        variants: BTreeMap::new(),
        scripts: BTreeMap::new(),
        media: None,
        requires_pkg: None,
        unportable: false,
        about: About::default(),
    }
}

/// Someone who grants: the documents signed so far.
#[derive(Clone)]
pub struct Giver {
    pub issuer: Person,
    pub documents: Vec<Signed<Grants>>,
    pub newest: Grants,
}

impl Giver {
    /// Whose first document grants this.
    pub fn new(issuer: &Person, grants: Vec<Grant>) -> Giver {
        let (id, issuer_n) = (issuer.id(), issuer.newest.n);
        let ended = Vec::new();
        let first = Grants { issuer: id, issuer_n, n: 0, prev: None, grants, ended, created: time(NOW) };
        Giver { issuer: issuer.clone(), documents: vec![sign(&first, &[issuer.seed])], newest: first }
    }

    /// The next document, as it should be if nothing changes.
    pub fn next(&self) -> Grants {
        let prev = Some(self.documents.last().unwrap().id());
        let (n, issuer_n) = (self.newest.n + 1, self.issuer.newest.n);
        Grants { n, prev, issuer_n, ..self.newest.clone() }
    }

    pub fn take(mut self, next: Grants) -> Giver {
        self.documents.push(sign(&next, &[self.issuer.seed]));
        self.newest = next;
        self
    }

    pub fn row(&self) -> GrantsRow {
        GrantsRow { n: self.newest.n, document: self.documents.last().unwrap().id() }
    }
}

/// A grant for these names, to release and withdraw, without end.
pub fn grant(to: &Person, names: &[&str]) -> Grant {
    Grant {
        to: to.id(),
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        permissions: Permission::ALL.into(),
        depth: 0,
        terminating: false,
        from: time(NOW - DAY),
        until: None,
    }
}

/// What an index names of people and their grants.
#[derive(Clone, Default)]
pub struct Register {
    pub people: BTreeMap<IdentityId, Person>,
    pub givers: BTreeMap<IdentityId, Giver>,
}

impl Register {
    pub fn of(people: &[&Person], givers: &[&Giver]) -> Register {
        Register {
            people: people.iter().map(|person| (person.id(), (*person).clone())).collect(),
            givers: givers.iter().map(|giver| (giver.issuer.id(), (*giver).clone())).collect(),
        }
    }

    pub fn shelve(&self, shelf: &Shelf) {
        self.people.values().for_each(|person| person.shelve(shelf));
        self.givers.values().flat_map(|giver| &giver.documents).for_each(|document| shelf.put(document));
        self.givers.values().for_each(|giver| giver.issuer.shelve(shelf));
    }
}

impl Directory for Register {
    fn identity(&self, id: IdentityId) -> Result<Option<IdentityRow>, Error> {
        Ok(self.people.get(&id).map(Person::row))
    }

    fn grants(&self, id: IdentityId) -> Result<Option<GrantsRow>, Error> {
        Ok(self.givers.get(&id).map(Giver::row))
    }
}

/// A machine that believes or not.
pub struct Machine {
    pub state: State,
    pub policy: Policy,
    pub now: u64,
}

impl Machine {
    pub fn new() -> Machine {
        Machine { state: State::in_memory().unwrap(), policy: Policy::default(), now: NOW }
    }

    pub fn judge(&self) -> Judge<'_> {
        Judge::new(&self.state, &self.policy, time(self.now)).unwrap()
    }

    /// Shows the machine what a mirror has.
    pub fn shown(&self, mirror: &Mirror) -> Result<Accepted, Error> {
        self.shown_summary(&mirror.summary(), &mirror.shelf())
    }

    pub fn shown_summary(&self, summary: &Summary, shelf: &Shelf) -> Result<Accepted, Error> {
        self.judge().accept_summary(summary, Some(&summary.repository), shelf, "mirror")
    }

    /// Installs one version of a package that `mirror` carries.
    pub fn installs(&self, mirror: &Mirror, book: &Book, version: &str) -> Result<Trusted<Entry>, Error> {
        self.installs_from(mirror, &book.record(), &book.author, version, &book.shelf())
    }

    pub fn installs_from(
        &self,
        mirror: &Mirror,
        record: &PackageRecord,
        author: &Person,
        version: &str,
        shelf: &Shelf,
    ) -> Result<Trusted<Entry>, Error> {
        let places = Places { directory: &Unlisted, statements: shelf, origin: "mirror" };
        Ok(self.installs_at(mirror, record, author, version, places)?.entry)
    }

    /// Installs what a delegate may have released, by what `register` says of people and grants.
    pub fn installs_by(&self, register: &Register, book: &Book, version: &str) -> Result<Authorised, Error> {
        let shelf = book.shelf();
        register.shelve(&shelf);
        self.installs_record(register, &book.record(), book.owner(), version, &shelf)
    }

    /// The same by a record that was tampered with.
    pub fn installs_record(
        &self,
        register: &Register,
        record: &PackageRecord,
        owner: &Person,
        version: &str,
        shelf: &Shelf,
    ) -> Result<Authorised, Error> {
        let places = Places { directory: register, statements: shelf, origin: "mirror" };
        let mirror = Mirror { now: NOW, ..Mirror::new(Person::new(99), 1) };
        let mirror = if self.now > NOW { Mirror { now: self.now, ..mirror }.grown("later") } else { mirror };
        self.installs_at(&mirror, record, owner, version, places)
    }

    fn installs_at(
        &self,
        mirror: &Mirror,
        record: &PackageRecord,
        owner: &Person,
        version: &str,
        places: Places<'_>,
    ) -> Result<Authorised, Error> {
        let judge = self.judge();
        let accepted = self.shown(mirror)?;
        judge.accept_name(&accepted, record, places.origin)?;
        let owner = judge.identity(owner.id(), Some(&owner.row()), places.statements, places.origin)?;
        let version: Version = version.parse().unwrap();
        let row = record.versions.iter().find(|row| row.release.version == version).unwrap();
        judge.accept_release(&accepted, record, row, &owner, places)
    }
}

/// The code of a refusal; `ok` if there is none.
pub fn code<T>(result: Result<T, Error>) -> &'static str {
    result.err().map_or("ok", |error| error.code())
}
