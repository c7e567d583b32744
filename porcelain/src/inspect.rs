//! Looking: releases, trees, objects, differences. Nothing here changes anything.

use crate::error::Error;
use crate::publish::index_ref;
use crate::session::Session;
use objects::blob::Blob;
use objects::claim::{Index as IndexHead, PackageRecord, VersionRow};
use objects::id::{ObjectId, Prefix, StatementId, TreeId};
use objects::limits::RELEASE_FILES_MAX;
use objects::name::PackageName;
use objects::object::{Find, Kind};
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::{Envelope, Kind as StatementKind};
use objects::spec::{PackageSpec, Select};
use objects::time::Timestamp;
use objects::tree::{Entry as TreeEntry, Mode, Tree};
use objects::version::{Prereleases, Requirement, Version};
use objects::walk;
use plumbing::index::Index;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A repository to look into, and which index of it counts.
pub struct View {
    repository: Arc<Repository>,
    root: Option<TreeId>,
}

impl View {
    /// A bare repository: its summary's index counts.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn bare(repository: Arc<Repository>) -> Result<View, Error> {
        let root = match repository.summary()? {
            Some(summary) => Some(summary.index.envelope().peek::<IndexHead>()?.root),
            None => None,
        };
        Ok(View { repository, root })
    }

    /// The user's store, by the index last fetched from `name`; without a name, no index counts.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn store(session: &Session, name: Option<&objects::claim::Repository>) -> Result<View, Error> {
        let repository = session.store()?.clone();
        let head = match name {
            Some(name) => repository.refs().try_find(&index_ref(name))?,
            None => None,
        };
        let root = match head {
            Some(id) => {
                Some(repository.statements().find::<IndexHead>(id)?.envelope().peek::<IndexHead>()?.root)
            }
            None => None,
        };
        Ok(View { repository, root })
    }

    /// The repository.
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    /// The index.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn index(&self) -> Result<Index<'_>, Error> {
        let root =
            self.root.ok_or_else(|| Error::not_found("an index", "publish something, or `pkg fetch`"))?;
        Ok(Index::open(self.repository.store(), root)?)
    }

    /// What the index knows of `name`.
    ///
    /// # Errors
    /// `NotFound` if it knows nothing.
    pub fn record(&self, name: &PackageName) -> Result<PackageRecord, Error> {
        let hint = "`pkg search` lists what there is; `pkg fetch` looks for news";
        self.index()?.record(name)?.ok_or_else(|| Error::not_found(format!("a package {name}"), hint))
    }

    /// The newest version that `spec` means.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    pub fn release(&self, spec: &PackageSpec) -> Result<(PackageRecord, VersionRow), Error> {
        let record = self.record(&spec.name)?;
        let requirement = exactly(spec);
        let fits = |row: &&VersionRow| match &spec.select {
            Select::Blake3(prefix) => prefix.matches(&row.release.tree.object()),
            Select::Sha256(digest) => row.release.sha256.0 == *digest,
            _ => {
                let channel = spec.channel.as_ref().is_none_or(|channel| *channel == row.release.channel);
                channel && requirement.matches(&row.release.version, Prereleases::Named)
            }
        };
        let row = record.versions.iter().rev().find(fits).cloned();
        let row = row.or_else(|| newest_prerelease(spec, &record));
        let row = row.ok_or_else(|| {
            let versions: Vec<String> =
                record.versions.iter().map(|row| row.release.version.to_string()).collect();
            Error::not_found(
                format!("a version of {} that fits {spec}", record.name),
                format!("there is {}", versions.join(", ")),
            )
        })?;
        Ok((record, row))
    }
}

/// Who looks at `name@1.2.3` means that version, as with git's tags; who installs it means `^1.2.3`.
fn exactly(spec: &PackageSpec) -> Requirement {
    let requirement = spec.requirement();
    match requirement.as_str().parse::<Version>() {
        Ok(version) => Requirement::exactly(&version),
        Err(_) => requirement,
    }
}

/// A bare name means the newest version even if there are only pre-releases.
fn newest_prerelease(spec: &PackageSpec, record: &PackageRecord) -> Option<VersionRow> {
    (spec.select == Select::Any).then(|| record.versions.last().cloned()).flatten()
}

/// One entry of a package's log, for people.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// The entry.
    pub entry: StatementId,
    /// Its number.
    pub seq: u64,
    /// Who signed it.
    pub signer: objects::id::IdentityId,
    /// When.
    pub created: Timestamp,
    /// What it did: `release 1.0.0`.
    pub action: String,
    /// The version it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The tree it released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeId>,
    /// Bytes it released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What its author says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The log of a package, newest first, as far as its entries are here.
///
/// # Errors
/// `NotFound` if the index does not know the package.
pub fn log(view: &View, name: &PackageName) -> Result<Vec<LogLine>, Error> {
    let record = view.record(name)?;
    let mut lines = Vec::new();
    for log in &record.logs {
        let mut next = Some(log.entry);
        while let Some(id) = next {
            let Some(envelope) = view.repository.statements().try_find(id)? else { break };
            let entry: Entry = envelope.peek()?;
            next = entry.prev;
            lines.push(log_line(id, &entry));
        }
    }
    if lines.is_empty() {
        lines = record.versions.iter().rev().map(version_line).collect(); // only the index is here
    }
    Ok(lines)
}

fn log_line(id: StatementId, entry: &Entry) -> LogLine {
    use objects::release::Action;
    let release = entry.release();
    let (action, version) = match &entry.action {
        Action::Release(release) => (format!("release {}", release.version), Some(release.version.clone())),
        Action::Yank { version, reason } => (format!("yank {version}: {reason}"), Some(version.clone())),
        Action::Unyank { version } => (format!("unyank {version}"), Some(version.clone())),
        Action::Transfer { to } => (format!("transfer to {}", to.nick()), None),
    };
    LogLine {
        entry: id,
        seq: entry.seq,
        signer: entry.signer,
        created: entry.created,
        action,
        version,
        tree: release.map(|release| release.tree),
        size: release.map(|release| release.size),
        description: release.and_then(|release| release.about.description.clone()),
    }
}

fn version_line(row: &VersionRow) -> LogLine {
    LogLine {
        entry: row.entry,
        seq: row.seq,
        signer: row.signer,
        created: row.listed,
        action: format!("release {}", row.release.version),
        version: Some(row.release.version.clone()),
        tree: Some(row.release.tree),
        size: Some(row.release.size),
        description: row.release.about.description.clone(),
    }
}

/// How one path differs between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Only in the new one.
    Added,
    /// Only in the old one.
    Removed,
    /// In both, with other content.
    Modified,
    /// In both, with the same content and another mode.
    Mode,
    /// The same content under another path.
    Renamed,
}

impl Change {
    /// The letter git shows.
    pub fn letter(self) -> char {
        match self {
            Change::Added => 'A',
            Change::Removed => 'D',
            Change::Modified => 'M',
            Change::Mode => 'T',
            Change::Renamed => 'R',
        }
    }
}

/// One path that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// How.
    pub change: Change,
    /// Where, in the new tree if it is there.
    pub path: String,
    /// Where it was, if it was renamed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Bytes in the old tree.
    pub old_size: u64,
    /// Bytes in the new tree.
    pub new_size: u64,
    /// Bytes of the new content's chunks that the old tree does not have anywhere.
    pub new_bytes: u64,
}

/// How two trees differ, path by path.
///
/// # Errors
/// If they cannot be read.
pub fn diff(find: &dyn Find, old: TreeId, new: TreeId) -> Result<Vec<Difference>, Error> {
    let mut seen = walk::Seen::default();
    walk::mark(find, old, &mut seen)?;
    let is_old = |id: ObjectId| seen.chunks.contains(&id);
    let (before, after) = (list(find, old)?, list(find, new)?);
    let mut differences = Vec::new();
    for (path, entry) in &after {
        let change = match before.get(path) {
            Some(was) if was.id == entry.id && was.mode == entry.mode => continue,
            Some(was) if was.id == entry.id => Change::Mode,
            Some(_) => Change::Modified,
            None => Change::Added,
        };
        let mut new_bytes = 0;
        if entry.mode != Mode::Dir {
            let pieces = walk::pieces(find, entry)?;
            new_bytes = pieces.iter().filter(|(chunk, _)| !is_old(chunk.object())).map(|(_, len)| len).sum();
        }
        let old_size = before.get(path).map_or(0, |was| was.size);
        differences.push(Difference {
            change,
            path: path.clone(),
            from: None,
            old_size,
            new_size: entry.size,
            new_bytes,
        });
    }
    let removed = before.iter().filter(|(path, _)| !after.contains_key(*path));
    let mut removed: BTreeMap<String, TreeEntry> =
        removed.map(|(path, entry)| (path.clone(), entry.clone())).collect();
    find_renames(&mut differences, &mut removed, &after);
    differences.extend(removed.into_iter().map(|(path, entry)| Difference {
        change: Change::Removed,
        path,
        from: None,
        old_size: entry.size,
        new_size: 0,
        new_bytes: 0,
    }));
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(differences)
}

/// Files only; a directory shows if it is empty, since nothing else would show it.
fn list(find: &dyn Find, tree: TreeId) -> Result<BTreeMap<String, TreeEntry>, Error> {
    let mut found: BTreeMap<String, TreeEntry> = BTreeMap::new();
    walk::visit::<objects::object::Error>(find, tree, RELEASE_FILES_MAX, &mut |path, entry| {
        if let Some((above, _)) = path.rsplit_once('/') {
            found.remove(above);
        }
        found.insert(path.to_owned(), entry.clone());
        Ok(())
    })?;
    Ok(found)
}

/// Turns an addition of exactly what was removed elsewhere into a rename.
fn find_renames(
    differences: &mut [Difference],
    removed: &mut BTreeMap<String, TreeEntry>,
    after: &BTreeMap<String, TreeEntry>,
) {
    for difference in differences.iter_mut().filter(|d| d.change == Change::Added && d.new_size > 0) {
        let id = after[&difference.path].id;
        let from = removed.iter().find(|(_, entry)| entry.id == id).map(|(path, _)| path.clone());
        if let Some(from) = from {
            removed.remove(&from);
            difference.change = Change::Renamed;
            difference.old_size = difference.new_size;
            difference.from = Some(from);
        }
    }
}

/// One line of `ls-tree`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// As git writes it: 100644, 100755, 120000, 040000.
    pub mode: &'static str,
    /// chunk, blob or tree.
    pub kind: &'static str,
    /// The object.
    pub id: ObjectId,
    /// Bytes.
    pub size: u64,
    /// The path.
    pub path: String,
}

/// The entries of a tree; with `recursive`, of all trees below it.
///
/// # Errors
/// If they cannot be read.
pub fn ls_tree(find: &dyn Find, tree: TreeId, recursive: bool) -> Result<Vec<Listed>, Error> {
    let listed = |path: &str, entry: &TreeEntry| Listed {
        mode: entry.mode.octal(),
        kind: kind_of(entry.mode).word(),
        id: entry.id,
        size: entry.size,
        path: path.to_owned(),
    };
    if !recursive {
        return Ok(walk::entries(find, tree)?
            .iter()
            .map(|entry| listed(entry.name.as_str(), entry))
            .collect());
    }
    let mut lines = Vec::new();
    walk::visit::<objects::object::Error>(find, tree, RELEASE_FILES_MAX, &mut |path, entry| {
        if entry.mode != Mode::Dir {
            lines.push(listed(path, entry));
        }
        Ok(())
    })?;
    Ok(lines)
}

fn kind_of(mode: Mode) -> Kind {
    match mode {
        Mode::Dir => Kind::Tree,
        mode if mode.is_blob() => Kind::Blob,
        _ => Kind::Chunk,
    }
}

/// What a revision names: something to be shown by `cat-file`.
pub enum Thing {
    /// An object and its bytes.
    Object(ObjectId, Vec<u8>),
    /// A statement.
    Statement(StatementId, Envelope),
}

/// What `text` names: an id or a prefix of one, `NAME@VERSION` (its tree), or `NAME@VERSION:PATH`.
///
/// # Errors
/// `NotFound`, or `Ambiguous` with the candidates.
pub fn rev_parse(view: &View, text: &str) -> Result<ObjectId, Error> {
    if let Ok(prefix) = text.parse::<Prefix>() {
        return expand(view, &prefix, text);
    }
    let spec_end = text.find('@').map_or(0, |at| at);
    let (spec, path) = match text[spec_end..].split_once(':') {
        Some((spec, path)) => (&text[..spec_end + spec.len()], Some(path)),
        None => (text, None),
    };
    let (_, row) = view.release(&spec.parse()?)?;
    let tree = row.release.tree;
    match path.map(|path| path.trim_matches('/')).filter(|path| !path.is_empty()) {
        None => Ok(tree.object()),
        Some(path) => {
            let entry = walk::entry_at(view.repository.store(), tree, path)?;
            let entry = entry.ok_or_else(|| {
                Error::not_found(
                    format!("{path} in {spec}"),
                    format!("`pkg ls-tree -r {spec}` lists what there is"),
                )
            })?;
            Ok(entry.id)
        }
    }
}

fn expand(view: &View, prefix: &Prefix, text: &str) -> Result<ObjectId, Error> {
    let mut found = view.repository.store().ids_with_prefix(prefix);
    let statements = view.repository.statements().list()?;
    found.extend(statements.iter().map(|id| id.object()).filter(|id| prefix.matches(id)));
    match found.as_slice() {
        [] => Err(Error::not_found(format!("an object {text}"), "give more digits, or NAME@VERSION")),
        [only] => Ok(*only),
        several => {
            let shown: Vec<String> = several.iter().take(8).map(ToString::to_string).collect();
            Err(Error::Ambiguous { what: text.to_owned(), candidates: shown.join(", ") })
        }
    }
}

/// The object or statement with this id.
///
/// # Errors
/// `NotFound` if neither is here.
pub fn thing(view: &View, id: ObjectId) -> Result<Thing, Error> {
    if let Some(bytes) = view.repository.store().try_find(&id)? {
        return Ok(Thing::Object(id, bytes.to_vec()));
    }
    let statement = StatementId::new(id);
    match view.repository.statements().try_find(statement)? {
        Some(envelope) => Ok(Thing::Statement(statement, envelope)),
        None => Err(Error::not_found(format!("object {id}"), "`pkg fsck` tells if something is lost")),
    }
}

/// What kind an object's bytes can be read as. Only a reference says what they are; this is a guess
/// for people.
pub fn guess_kind(bytes: &[u8]) -> Kind {
    if Tree::decode(bytes).is_ok() {
        Kind::Tree
    } else if Blob::decode(bytes).is_ok() {
        Kind::Blob
    } else {
        Kind::Chunk
    }
}

/// A statement's document as JSON, unverified.
///
/// # Errors
/// If the payload is malformed.
pub fn document(envelope: &Envelope) -> Result<serde_json::Value, Error> {
    fn read<T: objects::signed::Document>(envelope: &Envelope) -> Result<serde_json::Value, Error> {
        let document: T = envelope.peek()?;
        Ok(serde_json::to_value(document).unwrap_or_default())
    }
    match envelope.kind() {
        StatementKind::Identity => read::<objects::identity::Identity>(envelope),
        StatementKind::Entry => read::<Entry>(envelope),
        StatementKind::Index => read::<IndexHead>(envelope),
        StatementKind::Beacon => read::<objects::claim::Beacon>(envelope),
        StatementKind::Grants | StatementKind::Note => Ok(serde_json::Value::Null),
    }
}

/// A package that a search found.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Its name.
    pub name: PackageName,
    /// Its newest version.
    pub version: Version,
    /// What its author says of it.
    pub description: Option<String>,
    /// Whose it is.
    pub owner: objects::id::IdentityId,
}

/// The packages whose name, description, categories or tags hold every word of `words`.
///
/// # Errors
/// If the index cannot be read.
pub fn search(view: &View, words: &[String]) -> Result<Vec<Found>, Error> {
    let index = view.index()?;
    let mut found = Vec::new();
    for name in index.names() {
        let Some(record) = index.record(&name)? else { continue };
        let Some(row) = record.versions.last() else { continue };
        let about = &row.release.about;
        let parts = [Some(name.as_str()), about.description.as_deref()];
        let lists = about.tags.iter().chain(&about.categories).map(String::as_str);
        let text = parts.into_iter().flatten().chain(lists).collect::<Vec<_>>().join(" ").to_lowercase();
        if words.iter().all(|word| text.contains(&word.to_lowercase())) {
            let (version, owner, description) =
                (row.release.version.clone(), record.owner, about.description.clone());
            found.push(Found { name, version, description, owner });
        }
    }
    Ok(found)
}
