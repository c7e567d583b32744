//! An author with fixed keys who publishes into a repository, in the order that `repository`
//! promises: packs, statements, refs, summary.

use crate::chunker;
use crate::claim::{Beacon, IdentityRow, Index, LogRow, PackageRecord, Repository as Name, VersionRow};
use crate::id::{IdentityId, ObjectId, StatementId, TreeId};
use crate::identity::{Identity, Role};
use crate::ingest::Ingested;
use crate::key::{SecretKey, Signer};
use crate::name::EntryName;
use crate::refs::{PreviousValue, RefEdit};
use crate::release::{Action, Entry, Release};
use crate::repository::Repository;
use crate::signed::{Document, Signed};
use crate::store::pack::writer::Options;
use crate::store::transaction::Transaction;
use crate::summary::Summary;
use crate::time::Timestamp;
use crate::tree::{self, Entry as TreeEntry, Mode};
use crate::version::Channel;
use std::collections::BTreeMap;

/// Somebody with one key in all roles, who is their own distributor.
pub struct Author {
    key: SecretKey,
    first: Signed<Identity>,
    records: BTreeMap<String, PackageRecord>,
    indexes: Vec<StatementId>,
}

impl Author {
    /// When everything is signed: the beginning of 2026.
    pub const NOW: u64 = 1_767_225_600;

    /// The author whose key has the seed of 32 bytes `seed`.
    pub fn new(seed: u8) -> Author {
        let key = SecretKey::from_seed(&[seed; 32]);
        let role = Role::new(vec![key.public()], 1).expect("one key can meet a threshold of one");
        let document = Identity::found(Some(format!("author-{seed}")), &role, now());
        let first = Signed::sign(&document, &[&key]).expect("the document is within its bounds");
        Author { key, first, records: BTreeMap::new(), indexes: Vec::new() }
    }

    /// The identity's id.
    pub fn id(&self) -> IdentityId {
        IdentityId::new(self.first.id().object())
    }

    /// The key in all roles.
    pub fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The first document of the identity.
    pub fn identity(&self) -> &Signed<Identity> {
        &self.first
    }

    /// The name of the repository this author keeps.
    pub fn repository(&self) -> Name {
        Name { owner: self.id(), name: "main".into() }
    }

    /// Signs `document`.
    pub fn sign<T: Document>(&self, document: &T) -> Signed<T> {
        Signed::sign(document, &[&self.key]).expect("the document is within its bounds")
    }

    /// The release of `ingested` as `version`.
    pub fn describe(version: &str, ingested: &Ingested) -> Release {
        Release {
            version: version.parse().expect("tests use good versions"),
            channel: Channel::default(),
            tree: ingested.tree,
            size: ingested.size,
            files: ingested.files,
            sha256: ingested.sha256,
            archive_size: ingested.archive_size,
            dependencies: Vec::new(),
            conflicts: Vec::new(),
            variants: BTreeMap::new(),
            scripts: BTreeMap::new(),
            media: None,
            requires_pkg: None,
            unportable: ingested.unportable,
            about: Default::default(),
        }
    }

    /// Writes the next entry of the log of `package`, and moves its refs.
    pub fn release(
        &mut self,
        to: &Repository,
        package: &str,
        version: &str,
        ingested: &Ingested,
    ) -> Signed<Entry> {
        let release = Author::describe(version, ingested);
        let id = self.id();
        let name: crate::name::PackageName = package.parse().expect("tests use good package names");
        let component = name.to_component();
        let record = self.records.entry(package.to_owned()).or_insert_with(|| PackageRecord {
            name: name.clone(),
            owner: id,
            transfer: None,
            logs: Vec::new(),
            versions: Vec::new(),
        });
        let before = record.logs.first().map(|log| (log.seq, log.entry));
        let (seq, prev) = (before.map_or(0, |(seq, _)| seq + 1), before.map(|(_, entry)| entry));
        let action = Action::Release(Box::new(release.clone()));
        let entry = Entry {
            owner: id,
            name,
            signer: id,
            signer_n: 0,
            seq,
            prev,
            grants: vec![],
            action,
            created: now(),
        };
        let signed = Signed::sign(&entry, &[&self.key]).expect("the entry is within its bounds");
        record.logs = vec![LogRow { signer: id, seq, entry: signed.id(), listed: now() }];
        record.versions.push(VersionRow {
            entry: signed.id(),
            signer: id,
            seq,
            listed: now(),
            mark: None,
            release,
        });
        keep(to, &self.first);
        keep(to, &signed);
        let owner = id.to_hex();
        let head = prev.map_or(PreviousValue::Absent, PreviousValue::At);
        move_refs(
            to,
            &[
                (format!("refs/identities/{owner}"), PreviousValue::Any, self.first.id()),
                (format!("refs/packages/{owner}/{component}/{owner}"), head, signed.id()),
                (format!("refs/tags/{owner}/{component}/{version}"), PreviousValue::Absent, signed.id()),
            ],
        );
        signed
    }

    /// Writes the index of everything released so far, the pack list, and last the summary.
    pub fn announce(&mut self, to: &Repository) -> Summary {
        let (root, size, files) = self.write_index(to);
        let n = self.indexes.len() as u64;
        let skips = crate::claim::skip_distances(n).map(|back| self.indexes[(n - back) as usize]).collect();
        let prev = self.indexes.last().copied();
        let repository = self.repository();
        let (created, expires) = (now(), now().after(30 * 86_400));
        let index =
            Index { repository: repository.clone(), n, prev, skips, root, size, files, created, expires };
        let index = self.sign(&index);
        keep(to, &index);
        let head = prev.map_or(PreviousValue::Absent, PreviousValue::At);
        move_refs(to, &[(format!("refs/index/{}/main", self.id().to_hex()), head, index.id())]);
        self.indexes.push(index.id());
        let expires = now().after(3 * 86_400);
        let beacon = Beacon { repository: repository.clone(), n, index: index.id(), created, expires };
        let beacon = self.sign(&beacon);
        let summary = Summary { repository, index, beacon, owner: vec![self.first.clone()] };
        to.write_summary(&summary).expect("the disk takes a summary");
        summary
    }

    fn write_index(&self, to: &Repository) -> (TreeId, u64, u64) {
        let mut transaction = to.store().transaction(Options::default()).expect("the staging folder is ours");
        let row = IdentityRow { n: 0, document: self.first.id() };
        let identities = vec![file(&mut transaction, &self.id().to_hex(), &row.encode())];
        let packages = self.records.values();
        let packages: Vec<_> = packages
            .map(|record| file(&mut transaction, &record.name.to_component(), &record.encode()))
            .collect();
        let files = (2 + identities.len() + packages.len()) as u64;
        let rows = vec![
            folder(&mut transaction, "identities", identities),
            folder(&mut transaction, "packages", packages),
        ];
        let root = folder(&mut transaction, "root", rows);
        let root_id = TreeId::new(root.id);
        let made_for: Vec<_> = transaction
            .commit()
            .expect("the disk takes a pack")
            .map(|pack| (pack, root_id))
            .into_iter()
            .collect();
        to.write_pack_list(&made_for, None).expect("the disk takes a list of packs");
        (root_id, root.size, files)
    }
}

fn now() -> Timestamp {
    Timestamp::new(Author::NOW).expect("it lies before the year 9999")
}

fn keep<T: Document>(to: &Repository, signed: &Signed<T>) {
    to.statements().insert(signed.envelope()).expect("the disk takes a statement");
}

fn move_refs(to: &Repository, moves: &[(String, PreviousValue, StatementId)]) {
    let edit = |(name, previous, id): &(String, PreviousValue, StatementId)| RefEdit {
        name: name.parse().expect("the name is made of good parts"),
        previous: *previous,
        new: Some(*id),
        message: "publish".into(),
    };
    let edits: Vec<_> = moves.iter().map(edit).collect();
    to.refs().edit(&edits, now()).expect("nobody else moves these refs");
}

fn name(text: &str) -> EntryName {
    EntryName::new(text).expect("the name is made of good parts")
}

fn file(transaction: &mut Transaction<'_>, file_name: &str, bytes: &[u8]) -> TreeEntry {
    let size = bytes.len() as u64;
    let mut pieces = Vec::new();
    for range in chunker::chunks(bytes) {
        let len = range.len() as u64;
        let id = transaction.write(&bytes[range]).expect("the disk takes a chunk");
        pieces.push((crate::id::ChunkId::new(id), len));
    }
    let is_blob = pieces.len() > 1;
    let mut id = pieces[0].0.object();
    if is_blob {
        let objects = crate::blob::build(&pieces);
        objects
            .into_iter()
            .for_each(|(_, bytes)| id = transaction.write(&bytes).expect("the disk takes a blob"));
    }
    TreeEntry { name: name(file_name), mode: Mode::file(false, is_blob), size, id }
}

fn folder(transaction: &mut Transaction<'_>, folder_name: &str, entries: Vec<TreeEntry>) -> TreeEntry {
    let size = tree::sum(&entries);
    let objects = tree::build(entries).expect("the names differ");
    let mut id = ObjectId::of(b"");
    objects.into_iter().for_each(|(_, bytes)| id = transaction.write(&bytes).expect("the disk takes a tree"));
    TreeEntry { name: name(folder_name), mode: Mode::Dir, size, id }
}
