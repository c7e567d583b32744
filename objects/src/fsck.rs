//! Checking a repository.
//!
//! Promises: [`check`] changes nothing and names every damaged file and object it meets; a whole
//! repository has no finding.
//! Leaves to others: repair.
//!
//! Levels: structure (every file has its form, every frame its hash), connectivity (what refs and
//! summary name is here, down to the last chunk), statements (signatures hold under the identities
//! here), and, if asked, data (every object is unpacked and hashed).

use crate::claim::{Beacon, Index};
use crate::id::{IdentityId, ObjectId, StatementId, TreeId};
use crate::identity::{Chain, Identity};
use crate::limits::PACK_LIST_BYTES_MAX;
use crate::object::{Exists, Find, Kind};
use crate::packlist;
use crate::refs::{RefName, reflog};
use crate::release::Entry;
use crate::repository::Repository;
use crate::signed::{Document, Envelope, Kind as StatementKind, Signed};
use crate::store::chain;
use crate::store::pack::Pack;
use crate::store::pack::objects_in;
use crate::walk;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, ref or object.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, each once.
    pub findings: BTreeSet<Finding>,
    /// Packs looked at.
    pub packs: u64,
    /// Objects in them.
    pub objects: u64,
    /// Unpacked bytes read and hashed; zero unless data was asked for.
    pub bytes: u64,
    /// Statements looked at.
    pub statements: u64,
    /// Refs looked at.
    pub refs: u64,
}

impl Report {
    fn find(&mut self, place: impl ToString, problem: impl ToString) {
        self.findings.insert(Finding { place: place.to_string(), problem: problem.to_string() });
    }
}

/// How thorough a check is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// True to unpack and hash every object.
    pub data: bool,
}

/// Checks a repository.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn check(repository: &Repository, options: Options) -> Result<Report, crate::repository::Error> {
    let mut report = Report::default();
    check_packs(repository, options, &mut report)?;
    let statements = check_statements(repository, &mut report)?;
    check_refs(repository, &statements, &mut report);
    let index = check_summary(repository, &statements, &mut report);
    check_pack_list(repository, &mut report)?;
    check_connectivity(repository, &statements, index, &mut report);
    Ok(report)
}

/// Checks a copy that carries no refs, such as a bundle's files: everything else, data included.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn check_copy(repository: &Repository) -> Result<Report, crate::repository::Error> {
    let mut report = Report::default();
    check_packs(repository, Options { data: true }, &mut report)?;
    let statements = check_statements(repository, &mut report)?;
    let index = check_summary(repository, &statements, &mut report);
    check_pack_list(repository, &mut report)?;
    check_connectivity(repository, &statements, index, &mut report);
    Ok(report)
}

fn check_packs(
    repository: &Repository,
    options: Options,
    report: &mut Report,
) -> Result<(), crate::disk::Error> {
    let store = repository.store();
    for (id, problem) in store.broken() {
        report.find(crate::repository::pack_key(id), problem);
    }
    if let Some(problem) = store.check_multi_index() {
        report.find("objects/info/multi-index", problem);
    }
    for name in crate::disk::list(&store.packs_folder())? {
        let pack = name.strip_suffix(".idx").map(|stem| format!("{stem}.pack"));
        if pack.is_some_and(|pack| !store.packs_folder().join(pack).exists()) {
            report.find(format!("objects/pack/{name}"), "its pack is lost");
        }
    }
    for pack in store.packs() {
        report.packs += 1;
        report.objects += pack.index().len() as u64;
        if let Err(reason) = pack.index().check() {
            report.find(crate::repository::pack_index_key(pack.id()), reason);
        }
        match crate::store::pack::read_table(pack.file(), pack.path()) {
            Ok(table) if table == *pack.table() => {}
            Ok(_) => report.find(crate::repository::pack_key(pack.id()), "its table differs from its index"),
            Err(error) => report.find(crate::repository::pack_key(pack.id()), error),
        }
        check_frames(repository, &pack, options, report);
    }
    Ok(())
}

fn check_frames(repository: &Repository, pack: &Pack, options: Options, report: &mut Report) {
    let ids = pack.index().ids_in_pack_order();
    let frames = (0..pack.table().frames().len()).into_par_iter();
    let results: Vec<_> = frames.map(|number| check_frame(repository, pack, number, &ids, options)).collect();
    for (bytes, problems) in results {
        report.bytes += bytes;
        problems.into_iter().for_each(|problem| report.find(crate::repository::pack_key(pack.id()), problem));
    }
}

/// Unpacked bytes hashed, and what is wrong with the frame.
fn check_frame(
    repository: &Repository,
    pack: &Pack,
    number: usize,
    ids: &[ObjectId],
    options: Options,
) -> (u64, Vec<String>) {
    let range = pack.table().objects_of(number);
    let names = &ids[range.start as usize..range.end as usize];
    let lost = |reason: String| {
        let objects = names.iter().map(|id| format!("object {id} is lost: {reason}"));
        (0, objects.collect())
    };
    if !options.data {
        return pack.stored_frame(number).map_or_else(|error| lost(chain(&error)), |_| (0, Vec::new()));
    }
    let raw = match repository.store().read_frame(pack, number) {
        Ok(raw) => raw,
        Err(error) => return lost(chain(&error)),
    };
    let frame = &pack.table().frames()[number];
    let wrong = objects_in(frame, &raw).zip(names).filter(|(bytes, id)| ObjectId::of(bytes) != **id);
    (raw.len() as u64, wrong.map(|(_, id)| format!("object {id} hashes to another id")).collect())
}

/// The statements that are whole, by id.
type Known = BTreeMap<StatementId, Envelope>;

fn check_statements(repository: &Repository, report: &mut Report) -> Result<Known, crate::disk::Error> {
    let folder = repository.root().join("statements");
    let mut known = Known::new();
    for part in crate::disk::list(&folder)? {
        for name in crate::disk::list(&folder.join(&part))? {
            if name.ends_with(".tmp") {
                continue;
            }
            report.statements += 1;
            let place = format!("statements/{part}/{name}");
            match name.parse::<StatementId>().map(|id| (id, repository.statements().try_find(id))) {
                Ok((id, Ok(Some(envelope)))) => {
                    known.insert(id, envelope);
                }
                Ok((_, Err(error))) => report.find(place, chain(&error)),
                _ => report.find(place, "it is no statement"),
            }
        }
    }
    check_signatures(&known, report);
    Ok(known)
}

fn check_signatures(known: &Known, report: &mut Report) {
    let chains = chains(known);
    for (id, envelope) in known {
        let place = crate::statements::key(*id);
        let problem = match envelope.kind() {
            StatementKind::Identity => {
                let chained = chains.values().any(|chain| chain.documents().iter().any(|d| d.id() == *id));
                (!chained).then(|| "no chain of identity documents leads to it".to_owned())
            }
            StatementKind::Entry => unsigned::<Entry>(envelope, &chains, "release", |entry| entry.signer),
            StatementKind::Index => {
                unsigned::<Index>(envelope, &chains, "index", |index| index.repository.owner)
            }
            StatementKind::Beacon => {
                unsigned::<Beacon>(envelope, &chains, "beacon", |beacon| beacon.repository.owner)
            }
            StatementKind::Grants | StatementKind::Note => None,
        };
        if let Some(problem) = problem {
            report.find(place, problem);
        }
        if !all_signatures_hold(envelope) {
            report.find(crate::statements::key(*id), "a signature on it does not hold");
        }
    }
}

/// True if every signature is by the key it names. A stranger's key is not damage; a broken
/// signature is.
fn all_signatures_hold(envelope: &Envelope) -> bool {
    let message = crate::signed::pae(envelope.kind().media_type(), envelope.payload());
    envelope.signatures().count() > 0
        && envelope.signatures().all(|(key, signature)| {
            crate::key::PublicKey::from_bytes(*key).is_ok_and(|key| key.verifies(&message, signature))
        })
}

fn unsigned<T: Document>(
    envelope: &Envelope,
    chains: &BTreeMap<IdentityId, Chain>,
    role: &str,
    signer: impl Fn(&T) -> IdentityId,
) -> Option<String> {
    let signed = match envelope.clone().typed::<T>() {
        Ok(signed) => signed,
        Err(error) => return Some(chain(&error)),
    };
    let document = match signed.parse() {
        Ok(document) => document,
        Err(error) => return Some(chain(&error)),
    };
    let Some(identity) = chains.get(&signer(&document)) else {
        return Some(format!("the identity {} that signed it is not here", signer(&document).nick()));
    };
    let holds =
        identity.documents().iter().any(|doc| doc.role(role).is_some_and(|r| signed.verify(r, role).is_ok()));
    (!holds).then(|| format!("no document of {} has keys that signed it", identity.id().nick()))
}

/// Every identity whose chain can be followed from its first document.
fn chains(known: &Known) -> BTreeMap<IdentityId, Chain> {
    let documents: Vec<(Signed<Identity>, Identity)> = known
        .values()
        .filter_map(|envelope| envelope.clone().typed::<Identity>().ok())
        .filter_map(|signed| signed.parse().ok().map(|document| (signed, document)))
        .collect();
    let mut chains = BTreeMap::new();
    for (first, _) in documents.iter().filter(|(_, document)| document.n == 0) {
        let id = IdentityId::new(first.id().object());
        let Ok(mut chain) = Chain::begin(id, first) else { continue };
        while let Some((next, _)) =
            documents.iter().find(|(_, d)| d.prev == Some(chain.head().id()) && d.id == Some(id))
        {
            if chain.extend(next).is_err() {
                break;
            }
        }
        chains.insert(id, chain);
    }
    chains
}

fn check_refs(repository: &Repository, statements: &Known, report: &mut Report) {
    let listed = repository.refs().list("refs/").and_then(|refs| Ok((refs, repository.refs().unfinished()?)));
    let (refs, unfinished) = match listed {
        Ok((refs, unfinished)) => (BTreeMap::from_iter(refs), unfinished),
        Err(error) => return report.find("refs", chain(&error)),
    };
    for (name, id) in &refs {
        report.refs += 1;
        if !statements.contains_key(id) {
            report.find(name, format!("it points at statement {}, which is not here", id.short(16)));
        }
    }
    let logged = match reflog::names(repository.root()) {
        Ok(Some(logged)) => logged,
        Ok(None) => return check_entries_named(repository, statements, report),
        Err(error) => return report.find("logs", chain(&error)),
    };
    for name in refs.keys().chain(&logged).collect::<BTreeSet<_>>() {
        if !unfinished.contains(name) {
            // else a process was killed there; the next edit takes it up
            check_log(repository, name, refs.get(name).copied(), statements, report);
        }
    }
}

/// A log ends where its ref is, which is how a ref that was deleted shows; and what it names is
/// here, which is how a statement shows that no ref names any more.
fn check_log(
    repository: &Repository,
    name: &RefName,
    at: Option<StatementId>,
    statements: &Known,
    report: &mut Report,
) {
    let log = reflog::read(repository.root(), name);
    let named = log.iter().flat_map(|(lines, _)| lines).filter_map(|line| line.new);
    for lost in named.filter(|id| !statements.contains_key(id)) {
        report.find(
            format!("logs/{name}"),
            format!("it names statement {}, which is not here", lost.short(16)),
        );
    }
    match log {
        Ok((_, damaged)) if damaged > 0 => {
            report.find(format!("logs/{name}"), format!("{damaged} lines are damaged"))
        }
        Ok((lines, _)) if lines.last().and_then(|line| line.new) != at => match at {
            Some(_) => report.find(format!("logs/{name}"), "its last line is not where the ref is"),
            None => report.find(name, "it is lost; its log says where it was"),
        },
        Ok(_) => {}
        Err(error) => report.find(format!("logs/{name}"), chain(&error)),
    }
}

/// Every entry that is here and whose tag is lost: in a mirror, which has no logs, a deleted ref
/// shows nowhere else.
fn check_entries_named(repository: &Repository, statements: &Known, report: &mut Report) {
    let heads: HashSet<StatementId> =
        repository.refs().list("refs/").unwrap_or_default().into_iter().map(|(_, id)| id).collect();
    let prevs: HashSet<StatementId> = statements.values().filter_map(previous).collect();
    for (id, envelope) in statements {
        let tracked = matches!(envelope.kind(), StatementKind::Entry);
        if tracked && !heads.contains(id) && !prevs.contains(id) {
            report.find(crate::statements::key(*id), "no ref leads to this entry");
        }
        let Some((_, tree)) = release(*id, envelope) else { continue };
        // Entries of releases that were published elsewhere are kept for their place in the log.
        if !heads.contains(id) && repository.store().contains(&tree.object()) {
            report.find(crate::statements::key(*id), "this release has no tag");
        }
    }
}

/// What a release entry is called, and its tree.
fn release(id: StatementId, envelope: &Envelope) -> Option<(String, TreeId)> {
    let entry = envelope.clone().typed::<Entry>().ok()?.parse().ok()?;
    let release = entry.release()?;
    Some((format!("{} {} ({})", entry.name, release.version, id.short(12)), release.tree))
}

fn previous(envelope: &Envelope) -> Option<StatementId> {
    envelope.clone().typed::<Entry>().ok()?.parse().ok()?.prev
}

/// The tree of the index that the summary names.
fn check_summary(repository: &Repository, statements: &Known, report: &mut Report) -> Option<TreeId> {
    let summary = match repository.summary() {
        Ok(Some(summary)) => summary,
        Ok(None) => {
            if was_published(repository, statements) {
                report.find("summary", "it is lost");
            }
            return None;
        }
        Err(error) => {
            report.find("summary", chain(&error));
            return None;
        }
    };
    let chain_of_owner = match Chain::walk(summary.repository.owner, &summary.owner) {
        Ok(chain) => chain,
        Err(error) => {
            report.find("summary", chain(&error));
            return None;
        }
    };
    let roles = &chain_of_owner.head().roles;
    let index = summary.index.verify(&roles.index, "index");
    let beacon = summary.beacon.verify(&roles.beacon, "beacon");
    let owner = summary.owner.iter().map(Signed::envelope);
    for envelope in owner.chain([summary.index.envelope(), summary.beacon.envelope()]) {
        if !all_signatures_hold(envelope) {
            report.find("summary", "a signature in it does not hold");
        }
    }
    match (index, beacon) {
        (Ok(index), Ok(beacon)) => {
            if beacon.index != index.id() {
                report.find("summary", "its beacon speaks of another index");
            }
            if [&index.repository, &beacon.repository] != [&summary.repository; 2] {
                report.find("summary", "it is of another repository than its index and beacon");
            }
            Some(index.root)
        }
        (Err(error), _) | (_, Err(error)) => {
            report.find("summary", chain(&error));
            None
        }
    }
}

/// True if a summary has to be here: logs are kept, and a second index was made, which happens only
/// after the first was named by a summary. A first publication that was cut off is no damage.
fn was_published(repository: &Repository, statements: &Known) -> bool {
    let has_logs = repository.refs().list("refs/packages/").is_ok_and(|refs| !refs.is_empty());
    let index =
        |envelope: &Envelope| envelope.clone().typed::<Index>().ok().and_then(|signed| signed.parse().ok());
    has_logs && statements.values().filter_map(index).any(|index| index.n > 0)
}

/// Readers from outside begin at the summary and need the list. One that lacks a pack is no damage:
/// somebody was killed between the two, and the next to publish lists it.
fn check_pack_list(repository: &Repository, report: &mut Report) -> Result<(), crate::disk::Error> {
    if repository.summary().ok().flatten().is_none() {
        return Ok(());
    }
    let path = repository.root().join(crate::repository::PACK_LIST_KEY);
    match crate::disk::try_read(&path, PACK_LIST_BYTES_MAX)?.map(|bytes| packlist::decode(&bytes)) {
        None => report.find(crate::repository::PACK_LIST_KEY, "it is lost"),
        Some(Err(error)) => report.find(crate::repository::PACK_LIST_KEY, chain(&error)),
        Some(Ok(_)) => {}
    }
    Ok(())
}

fn check_connectivity(
    repository: &Repository,
    statements: &Known,
    index: Option<TreeId>,
    report: &mut Report,
) {
    let mut roots: Vec<(String, TreeId)> =
        index.map(|tree| ("summary".to_owned(), tree)).into_iter().collect();
    for (_, id) in repository.refs().list("refs/tags/").unwrap_or_default() {
        roots.extend(statements.get(&id).and_then(|envelope| release(id, envelope)));
    }
    let mut seen = HashSet::new();
    for (place, tree) in roots {
        check_tree(repository.store(), &place, tree, &mut seen, report);
    }
}

fn check_tree(
    store: &crate::store::Store,
    place: &str,
    tree: TreeId,
    seen: &mut HashSet<(Kind, ObjectId)>,
    report: &mut Report,
) {
    match walk::closure(&store as &dyn Find, tree, seen) {
        Ok(closure) => {
            for (chunk, _) in closure.chunks.iter().filter(|(chunk, _)| !store.contains(&chunk.object())) {
                report.find(place, format!("chunk {chunk} is not in the store"));
            }
        }
        Err(error) => report.find(place, chain(&error)),
    }
}
