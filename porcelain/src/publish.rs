//! Publishing: from a folder or archive to a signed release in a repository.
//!
//! ```text
//! limits → may this key? → ingest → release → seal pack → sign entry → refs → index → summary
//! ```
//!
//! Promises: stopped anywhere, the old state stands and at most an unreferenced pack is left; run
//! again, it goes on where it stopped, and no number is ever signed twice (REL-001, REL-042, REL-043).
//! Leaves to others: pushing to a repository elsewhere ([`crate::push`]).

use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::identity::{self, Own};
use crate::ledger::Ledger;
use crate::manifest::{self, Manifest};
use crate::session::Session;
use crate::{archive, describe};
use objects::claim::{
    Beacon, IdentityRow, Index as IndexHead, LogRow, PackageRecord, Repository as RepositoryName, VersionRow,
    skip_distances,
};
use objects::id::{IdentityId, PackId, StatementId, TreeId};
use objects::identity::Chain;
use objects::ingest::{self, Ingested};
use objects::key::SecretKey;
use objects::name::PackageName;
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::release::{Action, Entry, Release, Sha256};
use objects::repository::Repository;
use objects::signed::Signed;
use objects::store::pack::writer::Options as PackOptions;
use objects::summary::Summary;
use objects::version::{Channel, Version};
use objects::walk::Totals;
use plumbing::index::{self, Changes, Index};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// How long an index is believed without a newer one.
const INDEX_SECONDS: u64 = 365 * 86_400;
/// How long a beacon is believed.
const BEACON_SECONDS: u64 = 30 * 86_400;
/// Which of the owner's repositories: they have one unless they say otherwise.
const MAIN: &str = "main";

/// What to publish, where.
#[derive(Clone, Debug)]
pub struct Request {
    /// A folder, an archive, or any one file.
    pub from: PathBuf,
    /// The name, where there is no manifest, or instead of what it says.
    pub name: Option<PackageName>,
    /// The version, likewise.
    pub version: Option<Version>,
    /// The channel, likewise.
    pub channel: Option<Channel>,
    /// The bare repository.
    pub to: PathBuf,
    /// Which of the user's identities signs.
    pub identity: Option<String>,
    /// True to take names that some systems cannot hold.
    pub allow_unportable: bool,
    /// The zstd level of the pack.
    pub level: i32,
    /// True to stop before anything is signed or made visible.
    pub dry_run: bool,
}

/// What was published.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// The channel.
    pub channel: Channel,
    /// Whose it is.
    pub owner: IdentityId,
    /// The entry that releases it; None in a dry run.
    pub entry: Option<StatementId>,
    /// Its tree.
    pub tree: TreeId,
    /// SHA-256 of the canonical archive.
    pub sha256: Sha256,
    /// Files, links and directories.
    pub files: u64,
    /// Bytes of them.
    pub size: u64,
    /// Objects that are new in the repository.
    pub new_objects: u64,
    /// Their bytes.
    pub new_bytes: u64,
    /// Bytes of the packs that were written.
    pub stored_bytes: u64,
    /// The number of the index that lists it.
    pub index: Option<u64>,
    /// True if this very release was there already.
    pub unchanged: bool,
    /// The identity that was made because the user had none.
    pub new_identity: Option<String>,
}

/// Publishes.
///
/// # Errors
/// `Conflict` if the version exists with another content, or the repository is somebody else's;
/// those of reading, signing and writing.
pub fn publish(session: &Session, request: &Request, reporter: &dyn Reporter) -> Result<Outcome, Error> {
    let repository = Repository::open(&request.to).map_err(|error| no_repository(error, &request.to))?;
    let source = Source::open(&request.from, request.to.as_path())?;
    let manifest = source.manifest(request)?;
    let (own, new_identity) = signer(session, request.identity.as_deref())?;
    let _lock = repository.lock_shared()?;
    let mut log = Log::open(session, &repository, own, &manifest.name)?;

    let (ingested, written) = ingest_source(session, &repository, &source, request, reporter)?;
    let release = describe::release(repository.store(), &source.root, &manifest, &ingested)?;
    let mut outcome = outcome(&manifest, &log, &ingested, &written);
    outcome.new_identity = new_identity;
    if request.dry_run {
        return Ok(outcome);
    }
    let entry = match log.released(&release.version)? {
        Some((id, present)) if present.tree == release.tree => {
            outcome.unchanged = written.objects == 0 && log.is_indexed();
            id
        }
        Some(_) => return Err(version_exists(&manifest)),
        None => log.append(Action::Release(Box::new(release)))?,
    };
    outcome.entry = Some(entry);
    if outcome.unchanged {
        return Ok(outcome);
    }
    let (n, pack) = log.publish_index(&written.packs, ingested.tree)?;
    outcome.index = Some(n);
    outcome.stored_bytes += pack;
    Ok(outcome)
}

fn no_repository(error: objects::repository::Error, path: &Path) -> Error {
    match error {
        objects::repository::Error::None { .. } => Error::not_found(
            format!("a repository in {}", path.display()),
            format!("make one: `pkg init --bare {}`", path.display()),
        ),
        other => other.into(),
    }
}

fn version_exists(manifest: &describe::Described) -> Error {
    Error::conflict(
        format!("{} {} was published before with another content", manifest.name, manifest.version),
        "a version never changes: publish a new version, or a new revision of it",
    )
}

/// The identity that signs; with none at all one is made, called as the user is.
fn signer(session: &Session, name: Option<&str>) -> Result<(Own, Option<String>), Error> {
    if name.is_none() && identity::list(session)?.is_empty() {
        let own = identity::new(session, "me", None)?;
        return Ok((own.clone(), Some(own.name)));
    }
    Ok((identity::choose(session, name)?, None))
}

/// What is published: a folder, or an archive that was unpacked into one.
struct Source {
    root: PathBuf,
    about: Option<archive::About>,
    _unpacked: Option<tempfile::TempDir>,
}

impl Source {
    fn open(from: &Path, repository: &Path) -> Result<Source, Error> {
        let meta = std::fs::metadata(from).map_err(|e| objects::disk::Error::new("open", from, e))?;
        if meta.is_dir() {
            return Ok(Source { root: from.to_owned(), about: None, _unpacked: None });
        }
        let staging = repository.join("objects/tmp");
        let folder = tempfile::tempdir_in(&staging)
            .map_err(|e| objects::disk::Error::new("create folder in", &staging, e))?;
        match archive::unpack(from, &folder.path().join("tree"), &archive::Limits::default()) {
            Ok(unpacked) => Ok(Source {
                root: folder.path().join("tree"),
                about: unpacked.about,
                _unpacked: Some(folder),
            }),
            Err(error) if matches!(error.reason(), archive::Reason::Unrecognised) && meta.is_file() => {
                Ok(Source { root: from.to_owned(), about: None, _unpacked: None }) // one file is a package too (O2)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn manifest(&self, request: &Request) -> Result<describe::Described, Error> {
        let stated = Manifest::read(&self.root.join(manifest::FILE_NAME)).or_else(|error| match error {
            manifest::Error::NotAFile { .. } => Ok(None),
            other => Err(other),
        });
        let stated = if self.root.is_dir() { stated? } else { None };
        describe::describe(stated, self.about.as_ref(), request)
    }
}

/// What an ingest added to the store.
struct Written {
    objects: u64,
    bytes: u64,
    packs: Vec<PackId>,
    stored_bytes: u64,
}

fn ingest_source(
    session: &Session,
    repository: &Repository,
    source: &Source,
    request: &Request,
    reporter: &dyn Reporter,
) -> Result<(Ingested, Written), Error> {
    let store = repository.store();
    let mut transaction = store.transaction(PackOptions { level: request.level, jobs: session.jobs() })?;
    let options = ingest::Options { jobs: session.jobs(), allow_unportable: request.allow_unportable };
    let ingested = {
        let step = Step::begin(reporter, "reading", None);
        ingest::ingest(&mut transaction, &source.root, options, &step)?
    };
    let (objects, bytes) = (transaction.objects() as u64, transaction.bytes());
    let packs: Vec<PackId> = transaction.commit()?.into_iter().collect();
    let stored_bytes = stored_bytes(repository, &packs);
    Ok((ingested, Written { objects, bytes, packs, stored_bytes }))
}

fn stored_bytes(repository: &Repository, packs: &[PackId]) -> u64 {
    let all = repository.store().packs();
    all.iter().filter(|pack| packs.contains(&pack.id())).map(|pack| pack.table().frames_bytes()).sum()
}

fn outcome(manifest: &describe::Described, log: &Log<'_>, ingested: &Ingested, written: &Written) -> Outcome {
    Outcome {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        channel: manifest.channel.clone(),
        owner: log.chain.id(),
        entry: None,
        tree: ingested.tree,
        sha256: ingested.sha256,
        files: ingested.files,
        size: ingested.size,
        new_objects: written.objects,
        new_bytes: written.bytes,
        stored_bytes: written.stored_bytes,
        index: None,
        unchanged: false,
        new_identity: None,
    }
}

/// One signer's log of one package, and the index of the repository it is in.
struct Log<'a> {
    session: &'a Session,
    repository: &'a Repository,
    own: Own,
    chain: Chain,
    secret: Option<SecretKey>,
    name: PackageName,
    /// The entries that no index lists yet, oldest first: more than the new one after a crash.
    pending: Vec<(StatementId, Entry)>,
    head: Option<(StatementId, u64)>,
    summary: Option<Summary>,
    old_index: Option<(StatementId, IndexHead)>,
    record: Option<PackageRecord>,
}

impl<'a> Log<'a> {
    fn open(
        session: &'a Session,
        repository: &'a Repository,
        own: Own,
        name: &PackageName,
    ) -> Result<Log<'a>, Error> {
        let chain = identity::chain(session, own.id)?;
        let summary = repository.summary()?;
        let mut log = Log {
            session,
            repository,
            chain,
            secret: None,
            name: name.clone(),
            pending: Vec::new(),
            head: None,
            old_index: None,
            record: None,
            summary,
            own,
        };
        log.read_index()?;
        log.read_head()?;
        log.check_state()?;
        Ok(log)
    }

    fn read_index(&mut self) -> Result<(), Error> {
        let Some(summary) = &self.summary else { return Ok(()) };
        if summary.repository.owner != self.own.id {
            return Err(Error::Refused {
                code: "E-SCOPE",
                what: format!(
                    "the repository belongs to {}, not to your identity {}",
                    summary.repository.owner.nick(),
                    self.own.name
                ),
                hint: "publish into a repository of your own and let its owner fetch from it".into(),
            });
        }
        let index = self.newest_index(summary)?.verify(&self.chain.head().roles.index, "index")?;
        let opened = Index::open(self.repository.store(), index.root)?;
        self.record = opened.record(&self.name)?;
        if let Some(record) = self.record.as_ref().filter(|record| record.owner != self.own.id) {
            return Err(Error::Refused {
                code: "E-SCOPE",
                what: format!("{} belongs to {}", self.name, record.owner.nick()),
                hint: "choose another name".into(),
            });
        }
        self.old_index = Some((index.id(), index.document().clone()));
        Ok(())
    }

    /// The newest index that was signed: after a crash it may be one that the summary does not name
    /// yet. Its number is used, so it is never signed again (REL-043).
    fn newest_index(&self, summary: &Summary) -> Result<Signed<IndexHead>, Error> {
        match self.repository.refs().try_find(&index_ref(&summary.repository))? {
            Some(id) => Ok(self.repository.statements().find(id)?),
            None => Ok(summary.index.clone()),
        }
    }

    /// Reads the head of the log, and the entries that the index does not list yet.
    fn read_head(&mut self) -> Result<(), Error> {
        let Some(head) = self.repository.refs().try_find(&self.head_ref())? else { return Ok(()) };
        let listed = self.record.as_ref().and_then(|record| record.log(&self.own.id)).map(|row| row.entry);
        let mut next = Some(head);
        while let Some(id) = next.filter(|id| Some(*id) != listed) {
            let signed = self.repository.statements().find::<Entry>(id)?;
            let entry = signed.verify(&self.chain.head().roles.release, "release")?;
            next = entry.prev;
            self.pending.push((id, entry.document().clone()));
        }
        self.pending.reverse();
        let seq = match self.pending.last() {
            Some((_, entry)) => entry.seq,
            None => self.record.as_ref().and_then(|record| record.log(&self.own.id)).map_or(0, |row| row.seq),
        };
        self.head = Some((head, seq));
        Ok(())
    }

    /// A repository restored from a backup is behind what this machine has signed (REL-042).
    fn check_state(&self) -> Result<(), Error> {
        let stored = Ledger::open(self.session.state()?)?.head(&self.state_key())?;
        let here = self.head.map(|(_, seq)| seq);
        match stored {
            Some((seq, id)) if here.is_none_or(|here| here < seq) => Err(Error::conflict(
                format!(
                    "this repository is behind: entry {seq} of {} ({}) was signed already",
                    self.name,
                    id.short(16)
                ),
                "it may have been restored from a backup: fetch the newer state first (`pkg fetch --repo`)",
            )),
            _ => Ok(()),
        }
    }

    fn state_key(&self) -> String {
        let repository =
            self.repository.root().canonicalize().unwrap_or_else(|_| self.repository.root().to_owned());
        format!("{} {} {}", self.own.id.to_hex(), self.name, repository.display())
    }

    fn head_ref(&self) -> RefName {
        let (owner, name) = (self.own.id.to_hex(), self.name.to_component());
        parse_ref(format!("refs/packages/{owner}/{name}/{owner}"))
    }

    fn tag_ref(&self, version: &Version) -> RefName {
        tag_ref(self.own.id, &self.name, version)
    }

    /// The release of `version`, listed or pending.
    fn released(&self, version: &Version) -> Result<Option<(StatementId, Release)>, Error> {
        let pending = self.pending.iter().filter_map(|(id, entry)| Some((*id, entry.release()?.clone())));
        let listed = self.record.iter().flat_map(|record| &record.versions);
        let listed = listed.map(|row| (row.entry, row.release.clone()));
        Ok(pending.chain(listed).find(|(_, release)| release.version == *version))
    }

    fn is_indexed(&self) -> bool {
        let named = self.summary.as_ref().map(|summary| summary.index.id());
        self.pending.is_empty() && named.is_some() && named == self.old_index.as_ref().map(|(id, _)| *id)
    }

    fn secret(&mut self) -> Result<&SecretKey, Error> {
        if self.secret.is_none() {
            self.secret = Some(identity::unlock(self.session, &self.own)?);
        }
        Ok(self.secret.as_ref().expect("it was just unlocked"))
    }

    /// Signs the next entry; it is on disk, and known as signed, before anybody can see it.
    fn append(&mut self, action: Action) -> Result<StatementId, Error> {
        let entry = Entry {
            owner: self.own.id,
            name: self.name.clone(),
            signer: self.own.id,
            signer_n: self.chain.head().n,
            seq: self.head.map_or(0, |(_, seq)| seq + 1),
            prev: self.head.map(|(id, _)| id),
            grants: Vec::new(),
            action,
            created: self.session.now(),
        };
        let signed = Signed::sign(&entry, &[self.secret()?])?;
        identity::keep_chain(self.repository, &self.chain, self.session)?;
        self.repository.statements().insert(signed.envelope())?;
        let id = signed.id();
        let edit = |name, previous, message: String| RefEdit { name, previous, new: Some(id), message };
        let previous = self.head.map_or(PreviousValue::Absent, |(id, _)| PreviousValue::At(id));
        let mut edits = vec![edit(self.head_ref(), previous, format!("publish: entry {}", entry.seq))];
        if let Some(release) = entry.release() {
            edits.push(edit(
                self.tag_ref(&release.version),
                PreviousValue::Any,
                format!("publish: {}", release.version),
            ));
        }
        self.repository.refs().edit(&edits, self.session.now())?;
        Ledger::open(self.session.state()?)?.note(&self.state_key(), entry.seq, id)?;
        self.head = Some((id, entry.seq));
        self.pending.push((id, entry));
        Ok(id)
    }

    /// Lists the pending entries in the next index and makes it the head. Gives its number and the
    /// bytes of its pack.
    fn publish_index(&mut self, packs: &[PackId], tree: TreeId) -> Result<(u64, u64), Error> {
        self.restore_tags()?;
        let record = self.next_record();
        let row = IdentityRow { n: self.chain.head().n, document: self.chain.head().id() };
        let changes = Changes { records: vec![record], identities: vec![(self.own.id, row)] };
        let store = self.repository.store();
        let mut transaction = store.transaction(PackOptions { jobs: 1, ..PackOptions::default() })?;
        let old = match &self.old_index {
            Some((_, head)) => Index::open(store, head.root)?,
            None => Index::empty(store),
        };
        let (root, totals) = index::edit(old, &changes, &mut transaction)?;
        let index_pack = transaction.commit()?;
        let (index, beacon) = self.sign_index(root, totals)?;
        let made_for: Vec<(PackId, TreeId)> =
            packs.iter().map(|pack| (*pack, tree)).chain(index_pack.map(|pack| (pack, root))).collect();
        self.repository.write_pack_list(&made_for, None)?;
        let n = self.old_index.as_ref().map_or(0, |(_, head)| head.n + 1);
        let owner =
            self.chain.documents().iter().map(|d| d.envelope().clone().typed()).collect::<Result<_, _>>()?;
        let repository = self.repository_name();
        self.repository.write_summary(&Summary { repository, index, beacon, owner })?;
        Ok((n, stored_bytes(self.repository, index_pack.as_slice())))
    }

    /// Tags are made after the head of the log moves; a crash in between leaves them out.
    fn restore_tags(&self) -> Result<(), Error> {
        let mut edits = Vec::new();
        for (id, entry) in &self.pending {
            let Some(release) = entry.release() else { continue };
            let (name, previous) = (self.tag_ref(&release.version), PreviousValue::Any);
            edits.push(RefEdit {
                name,
                previous,
                new: Some(*id),
                message: format!("publish: {}", release.version),
            });
        }
        Ok(self.repository.refs().edit(&edits, self.session.now())?)
    }

    fn repository_name(&self) -> RepositoryName {
        match &self.summary {
            Some(summary) => summary.repository.clone(),
            None => RepositoryName { owner: self.own.id, name: MAIN.to_owned() },
        }
    }

    /// The record with the pending entries in it.
    fn next_record(&self) -> PackageRecord {
        let empty = || PackageRecord {
            name: self.name.clone(),
            owner: self.own.id,
            logs: Vec::new(),
            versions: Vec::new(),
        };
        let mut record = self.record.clone().unwrap_or_else(empty);
        let listed = self.session.now();
        for (id, entry) in &self.pending {
            record.logs.retain(|row| row.signer != entry.signer);
            record.logs.push(LogRow { signer: entry.signer, seq: entry.seq, entry: *id, listed });
            if let Some(release) = entry.release() {
                record.versions.retain(|row| row.release.version != release.version);
                let (signer, seq, release) = (entry.signer, entry.seq, release.clone());
                record.versions.push(VersionRow { entry: *id, signer, seq, listed, mark: None, release });
            }
        }
        record.versions.sort_by(|a, b| a.release.version.cmp(&b.release.version));
        record
    }

    fn sign_index(
        &mut self,
        root: TreeId,
        totals: Totals,
    ) -> Result<(Signed<IndexHead>, Signed<Beacon>), Error> {
        let now = self.session.now();
        let (n, prev) = match &self.old_index {
            Some((id, head)) => (head.n + 1, Some(*id)),
            None => (0, None),
        };
        let repository = self.repository_name();
        let skips = self.skips(n)?;
        let (size, files) = (totals.bytes, totals.files);
        let expires = now.after(INDEX_SECONDS);
        let head = IndexHead {
            repository: repository.clone(),
            n,
            prev,
            skips,
            root,
            size,
            files,
            created: now,
            expires,
        };
        let index = Signed::sign(&head, &[self.secret()?])?;
        let beacon =
            Beacon { repository, n, index: index.id(), created: now, expires: now.after(BEACON_SECONDS) };
        let beacon = Signed::sign(&beacon, &[self.secret()?])?;
        self.repository.statements().insert(index.envelope())?;
        let name = index_ref(&head.repository);
        let edit = RefEdit {
            name,
            previous: PreviousValue::Any,
            new: Some(index.id()),
            message: format!("index: {n}"),
        };
        self.repository.refs().edit(&[edit], now)?;
        Ok((index, beacon))
    }

    /// The statements of index n-2, n-4, n-8, …: each found from the one half as far away.
    fn skips(&self, n: u64) -> Result<Vec<StatementId>, Error> {
        let mut skips = Vec::new();
        for distance in skip_distances(n) {
            let Some((id, _)) = self.old_index.as_ref() else { break };
            let wanted = n - distance;
            skips.push(index_at(self.repository, *id, wanted)?);
        }
        Ok(skips)
    }
}

/// The index with number `wanted` in the chain that ends with `from`, by skip links.
fn index_at(repository: &Repository, from: StatementId, wanted: u64) -> Result<StatementId, Error> {
    let mut id = from;
    loop {
        let signed = repository.statements().find::<IndexHead>(id)?;
        let head: IndexHead =
            objects::codec::peek(signed.envelope().payload()).map_err(objects::signed::Error::from)?;
        if head.n <= wanted {
            return Ok(id);
        }
        let farthest = skip_distances(head.n).zip(&head.skips).filter(|(d, _)| head.n - d >= wanted).last();
        id = match farthest {
            Some((_, skip)) => *skip,
            None => head.prev.ok_or_else(|| {
                Error::not_found(format!("index {wanted}"), "`pkg fsck` tells what else is lost")
            })?,
        };
    }
}

/// The ref of a repository's newest index.
pub fn index_ref(repository: &RepositoryName) -> RefName {
    parse_ref(format!(
        "refs/index/{}/{}",
        repository.owner.to_hex(),
        objects::id::ObjectId::of(repository.name.as_bytes()).short(16)
    ))
}

/// The ref of a version.
pub fn tag_ref(owner: IdentityId, name: &PackageName, version: &Version) -> RefName {
    parse_ref(format!("refs/tags/{}/{}/{version}", owner.to_hex(), name.to_component()))
}

fn parse_ref(text: String) -> RefName {
    text.parse().expect("ids, package names and versions are parts of ref names")
}
