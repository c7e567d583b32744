//! Repositories that no honest program would write: any objects, any dates, soundly signed.

use objects::claim::{
    Beacon, IdentityRow, Index as IndexHead, LogRow, PackageRecord, Repository as Name, VersionRow,
};
use objects::codec;
use objects::id::{IdentityId, ObjectId, TreeId};
use objects::identity::{Identity, Role};
use objects::key::{SecretKey, Signer};
use objects::release::{About, Action, Entry, Release, Sha256};
use objects::repository::Repository;
use objects::signed::Signed;
use objects::store::pack::table::{Frame, Table};
use objects::store::pack::writer::Options;
use objects::store::pack::{file_name, index, index_name};
use objects::summary::Summary;
use objects::time::Timestamp;
use objects::version::Channel;
use plumbing::index::{Changes, Index, edit};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// One row of a tree: name, mode, size, object. Modes: 0 file, 1 file of chunks, 4 link, 5 folder.
pub type Row<'a> = (&'a str, u8, u64, ObjectId);

/// The bytes of a tree with whatever rows.
pub fn tree(rows: &[Row<'_>]) -> Vec<u8> {
    codec::encode(&("tree/1", rows))
}

/// What is forged of a release.
pub struct Forged {
    /// Objects of the release, its tree last.
    pub objects: Vec<Vec<u8>>,
    /// The size that is signed.
    pub size: u64,
    /// The number of files that is signed.
    pub files: u64,
    /// Frames that claim to hold objects, put into a pack of their own.
    pub frames: Vec<(Frame, Vec<u8>, ObjectId)>,
    /// How many seconds ago it was signed, and for how long it holds.
    pub age: u64,
    pub lifetime: u64,
}

impl Forged {
    /// A sound statement over these objects, the tree last.
    pub fn of(objects: Vec<Vec<u8>>, size: u64, files: u64) -> Forged {
        Forged { objects, size, files, frames: Vec::new(), age: 0, lifetime: 86_400 }
    }

    /// Writes it as `victim` 1.0.0 into a new repository.
    pub fn write(&self, path: &Path) {
        self.write_index(path, &self.objects.last().map(|bytes| ObjectId::of(bytes)).unwrap());
    }

    fn write_index(&self, path: &Path, tree: &ObjectId) {
        let repository = Repository::init(path).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let created = Timestamp::new(now - self.age).unwrap();
        let key = SecretKey::from_seed(&[66; 32]);
        let role = Role::new(vec![key.public()], 1).unwrap();
        let identity = Signed::sign(&Identity::found(None, &role, created), &[&key]).unwrap();
        let owner = IdentityId::new(identity.id().object());
        repository.statements().insert(identity.envelope()).unwrap();

        let mut transaction = repository.store().transaction(Options::default()).unwrap();
        for bytes in &self.objects {
            transaction.write(bytes).unwrap();
        }
        transaction.commit().unwrap();
        self.write_frames(&path.join("objects/pack"));

        let entry = Entry {
            owner,
            name: "victim".parse().unwrap(),
            signer: owner,
            signer_n: 0,
            seq: 0,
            prev: None,
            grants: Vec::new(),
            action: Action::Release(Box::new(self.release(TreeId::new(*tree)))),
            created,
        };
        let signed = Signed::sign(&entry, &[&key]).unwrap();
        repository.statements().insert(signed.envelope()).unwrap();
        let log = LogRow { signer: owner, seq: 0, entry: signed.id(), listed: created };
        let release = entry.release().unwrap().clone();
        let row =
            VersionRow { entry: signed.id(), signer: owner, seq: 0, listed: created, mark: None, release };
        let record = PackageRecord {
            name: entry.name.clone(),
            owner,
            transfer: None,
            logs: vec![log],
            versions: vec![row],
        };
        let document = IdentityRow { n: 0, document: identity.id() };
        let changes =
            Changes { records: vec![record], identities: vec![(owner, document)], ..Changes::default() };
        let mut transaction = repository.store().transaction(Options::default()).unwrap();
        let (root, totals) = edit(Index::empty(repository.store()), &changes, &mut transaction).unwrap();
        transaction.commit().unwrap();

        let name = Name { owner, name: "main".into() };
        let expires = created.after(self.lifetime);
        let head = IndexHead {
            repository: name.clone(),
            n: 0,
            prev: None,
            skips: Vec::new(),
            root,
            size: totals.bytes,
            files: totals.files,
            created,
            expires,
        };
        let index = Signed::sign(&head, &[&key]).unwrap();
        repository.statements().insert(index.envelope()).unwrap();
        let beacon = Beacon { repository: name.clone(), n: 0, index: index.id(), created, expires };
        let beacon = Signed::sign(&beacon, &[&key]).unwrap();
        repository.write_pack_list(&[], None).unwrap();
        repository
            .write_summary(&Summary { repository: name, index, beacon, owner: vec![identity] })
            .unwrap();
    }

    fn release(&self, tree: TreeId) -> Release {
        Release {
            version: "1.0.0".parse().unwrap(),
            channel: Channel::default(),
            tree,
            size: self.size,
            files: self.files,
            sha256: Sha256([0; 32]),
            archive_size: 0,
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

    fn write_frames(&self, packs: &Path) {
        if self.frames.is_empty() {
            return;
        }
        let table = Table::new(self.frames.iter().map(|(frame, ..)| frame.clone()).collect()).unwrap();
        let ids: Vec<ObjectId> = self.frames.iter().map(|(.., id)| *id).collect();
        let mut bytes: Vec<u8> = self.frames.iter().flat_map(|(_, stored, _)| stored.clone()).collect();
        bytes.extend(table.tail());
        fs::write(packs.join(file_name(table.pack_id())), bytes).unwrap();
        fs::write(packs.join(index_name(table.pack_id())), index::encode(&table, &ids)).unwrap();
    }
}

/// The description of a frame that claims to hold one object of `raw` bytes.
pub fn frame(stored: &[u8], raw: u32) -> Frame {
    Frame {
        stored: stored.len() as u32,
        raw,
        hash: ObjectId::of(stored),
        base: Vec::new(),
        lengths: vec![raw],
    }
}
