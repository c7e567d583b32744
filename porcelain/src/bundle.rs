//! Bundles: releases and all that is needed to check them, in one file (C9).

use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::inspect::View;
use crate::session::Session;
use objects::claim::{PackageRecord, VersionRow};
use objects::id::{IdentityId, StatementId, TreeId};
use objects::limits::RELEASE_FILES_MAX;
use objects::name::PackageName;
use objects::object::{Exists, Find, Kind};
use objects::progress::Progress;
use objects::refs::{PreviousValue, RefEdit};
use objects::repository::Repository;
use objects::spec::PackageSpec;
use objects::store::pack::writer::Options;
use objects::store::transaction::STRUCTURE;
use objects::version::{Prereleases, Version};
use objects::walk::{self, Met, Seen};
use plumbing::index::Index;
use plumbing::transport::bundle;
use plumbing::transport::{Bare, Key};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a bundle holds.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// The releases in it, with the dependencies of those asked for.
    pub releases: Vec<String>,
}

/// Writes the releases that `specs` mean, with what they depend on, as the bundle `out`. Without
/// specs: every newest version.
///
/// # Errors
/// `NotFound` for a spec that means nothing here; those of reading and writing.
pub fn create(
    session: &Session,
    view: &View,
    specs: &[PackageSpec],
    out: &Path,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    let chosen = choose(view, specs)?;
    let folder = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new().prefix(".pkg-bundle-").tempdir_in(folder);
    let staging = staging.map_err(|e| objects::disk::Error::new("create folder in", folder, e))?;
    let target = Repository::init(&staging.path().join("repository"))?;
    let step = Step::begin(reporter, "writing the bundle", None);
    copy_objects(session, view, &chosen, &target, &step)?;
    copy_statements(session, view, &chosen, &target)?;
    let summary = view.repository().summary()?;
    let summary = summary.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    target.write_summary(&summary)?;
    let bytes = bundle::write(out, &files(&target)?)?;
    let releases =
        chosen.values().map(|(record, row)| format!("{} {}", record.name, row.release.version)).collect();
    Ok(Outcome { path: out.to_owned(), bytes, releases })
}

/// The group that contents share.
const CONTENT: u64 = 1;

type Chosen = BTreeMap<(PackageName, Version), (PackageRecord, VersionRow)>;

/// The releases asked for, and the newest fitting version of everything they need.
fn choose(view: &View, specs: &[PackageSpec]) -> Result<Chosen, Error> {
    let mut chosen = Chosen::new();
    let mut queue = Vec::new();
    for spec in specs {
        queue.push(view.release(spec)?);
    }
    if specs.is_empty() {
        for name in view.index()?.names() {
            queue.push(view.release(&name.as_str().parse()?)?);
        }
    }
    while let Some((record, row)) = queue.pop() {
        let key = (record.name.clone(), row.release.version.clone());
        if chosen.contains_key(&key) {
            continue;
        }
        for dependency in row.release.dependencies.iter().filter(|dependency| !dependency.optional) {
            let below = view.record(&dependency.name)?;
            let fits =
                |row: &&VersionRow| dependency.requirement.matches(&row.release.version, Prereleases::Named);
            let found = below.versions.iter().rev().find(fits).cloned();
            let found = found.ok_or_else(|| {
                let what = format!("a version of {} that fits {}", dependency.name, dependency.requirement);
                Error::not_found(what, format!("{} {} needs it", key.0, key.1))
            })?;
            queue.push((below, found));
        }
        chosen.insert(key, (record, row));
    }
    Ok(chosen)
}

fn copy_objects(
    session: &Session,
    view: &View,
    chosen: &Chosen,
    target: &Repository,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let from = view.repository().store();
    let summary = view.repository().summary()?;
    let summary = summary.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    let index: objects::claim::Index = summary.index.envelope().peek()?;
    let mut trees: Vec<TreeId> = vec![index.root];
    trees.extend(chosen.values().map(|(_, row)| row.release.tree));
    let options = Options { level: 9, jobs: session.jobs() }; // carried by hand: smaller is worth the time
    let mut transaction = target.store().transaction(options)?;
    let (mut structure, mut content) = (Seen::default(), Seen::default());
    for tree in &trees {
        walk::reach(from, *tree, &mut structure, &mut |met| match met {
            Met::Structure(kind, id) => {
                transaction.write_as(id, &from.find(kind, &id)?, STRUCTURE)?;
                Ok(())
            }
            Met::Chunk(_) => Ok::<(), Error>(()),
        })?;
        walk::reach(from, *tree, &mut content, &mut |met| match met {
            Met::Chunk((chunk, len)) if !transaction.contains(&chunk.object()) => {
                let bytes = from.find(Kind::Chunk, &chunk.object())?;
                transaction.write_as(chunk.object(), &bytes, CONTENT)?;
                progress.advance(len);
                Ok(())
            }
            _ => Ok::<(), Error>(()),
        })?;
    }
    let pack = transaction.commit()?;
    let made_for: Vec<_> = pack.iter().flat_map(|pack| trees.iter().map(|tree| (*pack, *tree))).collect();
    Ok(target.write_pack_list(&made_for, None)?)
}

fn copy_statements(
    session: &Session,
    view: &View,
    chosen: &Chosen,
    target: &Repository,
) -> Result<(), Error> {
    let from = view.repository().statements();
    let index = view.index()?;
    let mut heads: Vec<StatementId> = Vec::new();
    for (record, row) in chosen.values() {
        heads.extend(record.logs.iter().map(|log| log.entry));
        heads.push(row.entry);
        heads.extend(authority(&index, record)?);
        let name = crate::publish::tag_ref(record.owner, &record.name, &row.release.version);
        let edit =
            RefEdit { name, previous: PreviousValue::Any, new: Some(row.entry), message: "bundle".into() };
        target.refs().edit(&[edit], session.now())?;
    }
    if let Some(summary) = view.repository().summary()? {
        heads.push(summary.index.id());
        heads.extend(index.identity(summary.repository.owner)?.map(|row| row.document));
    }
    for head in heads {
        let mut next = Some(head);
        while let Some(id) = next.filter(|id| !matches!(target.statements().try_find(*id), Ok(Some(_)))) {
            let Some(envelope) = from.try_find(id)? else { break };
            next = plumbing::sync::serve::previous(&envelope);
            target.statements().insert(&envelope)?;
        }
    }
    Ok(())
}

/// The documents that say who may sign for a package: of its owner, of its signers, and of those who grant.
fn authority(index: &Index<'_>, record: &PackageRecord) -> Result<Vec<StatementId>, Error> {
    let signers = record.logs.iter().map(|log| log.signer);
    let mut concerned: Vec<IdentityId> = signers.chain([record.owner]).collect();
    let mut documents = Vec::new();
    if concerned.iter().any(|signer| *signer != record.owner) {
        // Who acts for whom shows only in the grants, which are few.
        for (issuer, row) in index.issuers()? {
            concerned.push(issuer);
            documents.push(row.document);
        }
    }
    for id in concerned {
        documents.extend(index.identity(id)?.map(|row| row.document));
    }
    Ok(documents)
}

/// The files of a bare repository that a reader needs, with their keys.
fn files(repository: &Repository) -> Result<Vec<(Key, PathBuf)>, Error> {
    let mut files = Vec::new();
    let mut add = |key: String| -> Result<(), Error> {
        files.push((Key::new(&key)?, repository.root().join(&key)));
        Ok(())
    };
    add(objects::repository::SUMMARY_KEY.to_owned())?;
    add(objects::repository::PACK_LIST_KEY.to_owned())?;
    for id in repository.statements().list()? {
        add(objects::statements::key(id))?;
    }
    for pack in repository.store().packs() {
        add(objects::repository::pack_index_key(pack.id()))?;
        add(objects::repository::pack_key(pack.id()))?;
    }
    Ok(files)
}

/// Every file of the releases of a bundle, checked down to the last chunk: what `bundle verify` does.
///
/// # Errors
/// If something in it is not what it says.
pub fn verify(session: &Session, path: &Path, reporter: &dyn Reporter) -> Result<Outcome, Error> {
    let scratch = tempfile::tempdir()
        .map_err(|e| objects::disk::Error::new("create folder in", &std::env::temp_dir(), e))?;
    let remote = crate::remote::Remote::open(session, &path.display().to_string())?;
    let target = Repository::init(&scratch.path().join("repository"))?;
    let releases = unpack(session, &remote, &target, reporter)?;
    check_files(path, &scratch.path().join("files"))?;
    let bytes = std::fs::metadata(path).map_err(|e| objects::disk::Error::new("read", path, e))?.len();
    Ok(Outcome { path: path.to_owned(), bytes, releases })
}

/// Takes every file out of a bundle and checks them as the repository they are, so that what no
/// reader happened to need is whole too.
fn check_files(path: &Path, scratch: &Path) -> Result<(), Error> {
    let file = bundle::Bundle::open(path)?;
    drop(Repository::init(scratch)?);
    let malformed = |why: String| Error::Malformed { path: path.to_owned(), why };
    for key in file.keys() {
        if !is_public(key) {
            return Err(malformed(format!("{key} has no place in a bundle")));
        }
        let key = Key::new(key)?;
        let length = file.try_size(&key)?.unwrap_or_default();
        let bytes = file.read_range(&key, 0..length)?;
        let to = scratch.join(key.as_str());
        objects::disk::make_folder(to.parent().unwrap_or(scratch))?;
        std::fs::write(&to, bytes).map_err(|e| objects::disk::Error::new("write", &to, e))?;
    }
    let found = objects::fsck::check_copy(&Repository::open(scratch)?)?;
    match found.findings.first() {
        Some(finding) => Err(malformed(format!("{}: {}", finding.place, finding.problem))),
        None => Ok(()),
    }
}

/// True for what a reader of a repository may ask for.
fn is_public(key: &str) -> bool {
    let listed = [objects::repository::SUMMARY_KEY, objects::repository::PACK_LIST_KEY];
    listed.contains(&key) || key.starts_with("objects/pack/") || key.starts_with("statements/")
}

fn unpack(
    session: &Session,
    remote: &crate::remote::Remote,
    target: &Repository,
    reporter: &dyn Reporter,
) -> Result<Vec<String>, Error> {
    use plumbing::sync::{self, Source, Wanted};
    use plumbing::trust::Places;
    let summary = remote.advertise()?;
    let state = plumbing::trust::State::in_memory()?;
    let lookup = crate::remote::Lookup::new(target.statements(), remote);
    let judge = plumbing::trust::Judge::new(&state, session.policy(), session.now())?;
    let accepted = judge.accept_summary(&summary, None, &lookup, &remote.shown())?;
    let step = Step::begin(reporter, "checking the bundle", None);
    let index = &accepted.index;
    let wanted = Wanted { tree: index.root, files_max: index.files, bytes_max: index.size };
    sync::fetch_tree(&[remote as &dyn Source], target.store(), wanted, &[], &step)?;
    let opened = Index::open(target.store(), index.root)?;
    let mut releases = Vec::new();
    for name in opened.names() {
        let Some(record) = opened.record(&name)? else { continue };
        let owner = opened.identity(record.owner)?;
        for row in &record.versions {
            let release = &row.release;
            let wanted = Wanted {
                tree: release.tree,
                files_max: release.files.min(RELEASE_FILES_MAX),
                bytes_max: release.size,
            };
            match sync::fetch_tree(&[remote as &dyn Source], target.store(), wanted, &[], &step) {
                Err(sync::Error::Incomplete { .. }) => continue, // the bundle was made without this version
                fetched => drop(fetched?),
            }
            let origin = &remote.shown();
            let chain = judge.identity(record.owner, owner.as_ref(), &lookup, origin)?;
            let places = Places { directory: &opened, statements: &lookup, origin };
            judge.accept_release(&accepted, &record, row, &chain, places)?;
            releases.push(format!("{name} {}", release.version));
        }
    }
    Ok(releases)
}
