//! Publishing: from a folder or archive to a signed release in a repository.
//!
//! ```text
//! limits → may this key? → ingest → release → seal pack → sign entry → refs → index → summary
//! ```
//!
//! Promises: stopped anywhere, the old state stands and at most an unreferenced pack is left; run
//! again, it goes on where it stopped, and no number is ever signed twice (REL-001, REL-042, REL-043).
//! Leaves to others: pushing to a repository elsewhere ([`crate::push`]).

use crate::distribute::authority;
use crate::distribute::listing::{self, Listing};
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::identity::{self, Own};
use crate::log::Log;
use crate::manifest::{self, Manifest};
use crate::pen::Pen;
use crate::session::Session;
use crate::{archive, describe, maintain};
use objects::claim::Repository as RepositoryName;
use objects::grants::Permission;
use objects::id::{GrantId, IdentityId, PackId, StatementId, TreeId};
use objects::ingest::{self, Ingested};
use objects::name::PackageName;
use objects::refs::RefName;
use objects::release::{Action, Sha256};
use objects::repository::Repository;
use objects::store::pack::writer::Options as PackOptions;
use objects::version::{Channel, Version};
use serde::Serialize;
use std::path::{Path, PathBuf};

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
    /// Whose package it is, if not the signer's own: an id, the beginning of one, or a name.
    pub owner: Option<String>,
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
    let outcome = add_release(session, &repository, request, reporter)?;
    if !outcome.unchanged && !request.dry_run {
        maintain::tidy(session, &repository);
    }
    Ok(outcome)
}

fn add_release(
    session: &Session,
    repository: &Repository,
    request: &Request,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    let _lock = repository.lock_shared()?;
    repository.refs().edit(&[], session.now())?; // completes what a killed process had begun
    let source = Source::open(&request.from, request.to.as_path())?;
    let manifest = source.manifest(request)?;
    let (own, new_identity) = signer(session, request.identity.as_deref())?;
    let pen = Pen::new(session, own)?;
    let owner = match &request.owner {
        Some(owner) => authority::owner(session, repository, owner)?,
        None => pen.id(),
    };
    may_publish(session, repository, &pen, owner, &manifest.name)?;

    let (ingested, written) = ingest_source(session, repository, &source, request, reporter)?;
    let release = describe::release(repository.store(), &source.root, &manifest, &ingested)?;
    let _signing = (session.lock_signing()?, repository.lock_signing()?);
    repository.store().refresh()?; // others may have published while this one was read
    let (mut log, mut listing, grants) = may_publish(session, repository, &pen, owner, &manifest.name)?;
    let mut outcome = outcome(&manifest, &log, &ingested, &written);
    outcome.new_identity = new_identity;
    if request.dry_run {
        return Ok(outcome);
    }
    log.catch_up()?;
    let listed = listing.claim(owner, &manifest.name)?;
    let by_others = listed.versions.iter().map(|row| (row.entry, &row.release));
    let mut present = log.released(&release.version).into_iter().chain(by_others);
    let entry = match present.find(|(_, present)| present.version == release.version) {
        Some((id, present)) if present.tree == release.tree => id,
        Some(_) => return Err(version_exists(&manifest)),
        None => log.append(Action::Release(Box::new(release)), grants)?,
    };
    outcome.entry = Some(entry);
    listing.list_log(&log)?;
    if listing.is_listed() {
        outcome.unchanged = true;
        return Ok(outcome);
    }
    let packs: Vec<(PackId, TreeId)> = written.packs.iter().map(|pack| (*pack, ingested.tree)).collect();
    let (n, pack) = listing.publish(&packs)?;
    outcome.index = Some(n);
    outcome.stored_bytes += pack;
    Ok(outcome)
}

/// Whether a release may be published here, before it is read and again before it is signed: the log it
/// goes to, the index that will list it, and the grants it is published by.
fn may_publish<'a>(
    session: &'a Session,
    repository: &'a Repository,
    pen: &'a Pen<'a>,
    owner: IdentityId,
    name: &PackageName,
) -> Result<(Log<'a>, Listing<'a>, Vec<GrantId>), Error> {
    let log = Log::open(session, repository, pen, owner, name)?;
    let listing = Listing::open(session, repository, pen)?;
    listing.claim(owner, name)?;
    let grants = authority::path(session, repository, (owner, pen.id()), name, Permission::Release)?;
    Ok((log, listing, grants))
}

pub(crate) fn no_repository(error: objects::repository::Error, path: &Path) -> Error {
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
    unpacked: Option<tempfile::TempDir>,
}

impl Source {
    fn open(from: &Path, repository: &Path) -> Result<Source, Error> {
        let meta = std::fs::metadata(from).map_err(|e| objects::disk::Error::new("open", from, e))?;
        if meta.is_dir() {
            return Ok(Source { root: from.to_owned(), about: None, unpacked: None });
        }
        let staging = repository.join("objects/tmp");
        let folder = tempfile::tempdir_in(&staging)
            .map_err(|e| objects::disk::Error::new("create folder in", &staging, e))?;
        match archive::unpack(from, &folder.path().join("tree"), &archive::Limits::default()) {
            Ok(unpacked) => {
                Ok(Source { root: folder.path().join("tree"), about: unpacked.about, unpacked: Some(folder) })
            }
            Err(error) if matches!(error.reason(), archive::Reason::Unrecognised) && meta.is_file() => {
                Ok(Source { root: from.to_owned(), about: None, unpacked: None }) // one file is a package too (O2)
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
        match stat_cache(session, repository, source) {
            Some(cache) => ingest::ingest_cached(&mut transaction, &source.root, &cache, options, &step)?,
            None => ingest::ingest(&mut transaction, &source.root, options, &step)?,
        }
    };
    let (objects, bytes) = (transaction.objects() as u64, transaction.bytes());
    let packs: Vec<PackId> = transaction.commit()?.into_iter().collect();
    let stored_bytes = listing::stored_bytes(repository, &packs);
    Ok((ingested, Written { objects, bytes, packs, stored_bytes }))
}

/// Where it is kept what a folder came to when it was published to a repository last; None for what was
/// unpacked, which is in another place each time.
fn stat_cache(session: &Session, repository: &Repository, source: &Source) -> Option<PathBuf> {
    if source.unpacked.is_some() {
        return None;
    }
    let [from, to] = [source.root.as_path(), repository.root()].map(|path| path.canonicalize().ok());
    let key = format!("{}\0{}", from?.display(), to?.display());
    Some(session.home().join("cache/stat").join(objects::id::ObjectId::of(key.as_bytes()).short(32)))
}

fn outcome(manifest: &describe::Described, log: &Log<'_>, ingested: &Ingested, written: &Written) -> Outcome {
    Outcome {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        channel: manifest.channel.clone(),
        owner: log.owner(),
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

pub(crate) fn parse_ref(text: String) -> RefName {
    text.parse().expect("ids, package names and versions are parts of ref names")
}
