//! Fetching: what a source offers, judged, and brought into the user's store.
//!
//! ```text
//! remotes → advertise → verify, judge → wants → receive (hash on arrival) → commit pack → refs
//! ```
//!
//! Promises: nothing is believed that was not judged; stopped anywhere, the old state stands and
//! what arrived is kept.

use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::identity;
use crate::publish::{index_ref, tag_ref};
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{PackageRecord, Repository as RepositoryName, VersionRow};
use objects::disk;
use objects::id::{ObjectId, StatementId, TreeId};
use objects::identity::Chain;
use objects::limits::SUMMARY_BYTES_MAX;
use objects::object::{Error as ObjectError, Exists};
use objects::progress::Progress;
use objects::refs::{PreviousValue, RefEdit};
use objects::release::{Entry, Release};
use objects::repository::Repository;
use objects::signed::Envelope;
use objects::summary::Summary;
use objects::walk;
use plumbing::index::Index;
use plumbing::sync::intake::Intake;
use plumbing::sync::{self, Source, Wanted};
use plumbing::trust::{Accepted, Authorised, Freshness, Judge, NameUse, Places, Trusted};
use serde::Serialize;
use std::path::PathBuf;

/// A repository's index that was judged and is in the user's store.
pub struct Known {
    /// What was believed of its head.
    pub accepted: Accepted,
    /// True if the head is new here.
    pub changed: bool,
    /// Which of the remotes it came from.
    pub from: usize,
}

impl Known {
    /// Which repository.
    pub fn repository(&self) -> &RepositoryName {
        &self.accepted.index.repository
    }

    /// The root of its index.
    pub fn root(&self) -> TreeId {
        self.accepted.index.root
    }
}

/// What a fetch of an index came to, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Which repository.
    pub repository: RepositoryName,
    /// The number of its index.
    pub index: u64,
    /// True if it is new here.
    pub changed: bool,
    /// Bytes by source.
    pub bytes: Vec<crate::remote::BytesFrom>,
}

/// The outcome of [`index`], with what came from where.
pub fn outcome(known: &Known, remotes: &[Remote]) -> Outcome {
    Outcome {
        repository: known.repository().clone(),
        index: known.accepted.index.n,
        changed: known.changed,
        bytes: remotes.iter().map(Remote::bytes).collect(),
    }
}

/// Fetches the index of the first of `remotes` whose head can be believed.
///
/// # Errors
/// The last remote's error if none can.
pub fn index(
    session: &Session,
    remotes: &[Remote],
    pinned: Option<&RepositoryName>,
    reporter: &dyn Reporter,
) -> Result<Known, Error> {
    let mut last = None;
    for (from, remote) in remotes.iter().enumerate() {
        match index_from(session, remote, pinned, reporter) {
            Ok(known) => return Ok(Known { from, ..known }),
            Err(error) => {
                if remotes.len() > 1 {
                    reporter.warn(&format!("{} is passed over: {}", remote.shown(), error.message()));
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::usage("there is no remote", "name one: `pkg clone SOURCE`")))
}

fn index_from(
    session: &Session,
    remote: &Remote,
    pinned: Option<&RepositoryName>,
    reporter: &dyn Reporter,
) -> Result<Known, Error> {
    let repository = session.store()?;
    let _lock = repository.lock_shared()?;
    let state = session.state()?;
    let pin = state.repository(&remote.kept())?;
    let pinned = pinned.or(pin.as_ref());
    let summary = remote.advertise()?;
    let lookup = Lookup::new(repository.statements(), remote);
    let judge = Judge::new(state, session.policy(), session.now())?;
    let old = known_root(repository, &summary.repository)?;
    if pinned.is_none_or(|pinned| *pinned == summary.repository) {
        fetch_index_tree(session, remote, &summary, old, reporter)?;
    }
    let accepted = judge.accept_summary(&summary, pinned, &lookup, &remote.shown())?;
    accepted.warnings.iter().for_each(|warning| reporter.warn(warning));

    let name = &accepted.index.repository;
    identity::keep_chain(repository, &accepted.owner, session)?;
    repository.statements().insert(accepted.index.envelope())?;
    let edit = RefEdit {
        name: index_ref(name),
        previous: PreviousValue::Any,
        new: Some(accepted.index.id()),
        message: format!("fetch: index {} from {}", accepted.index.n, remote.shown()),
    };
    repository.refs().edit(&[edit], session.now())?;
    state.pin_repository(&remote.kept(), name, session.now())?;
    disk::write_whole(&summary_path(session, name), &summary.encode())?;
    let changed = old != Some(accepted.index.root);
    Ok(Known { accepted, changed, from: 0 })
}

/// Where the summary last believed of a repository is kept, for work off line.
fn summary_path(session: &Session, name: &RepositoryName) -> PathBuf {
    let file = ObjectId::of(format!("{} {}", name.owner.to_hex(), name.name).as_bytes()).short(32);
    session.home().join("summaries").join(file)
}

/// The index last fetched from a repository, judged again without asking anybody. Past its time it is
/// used all the same, with a warning: off line there is no newer one.
///
/// # Errors
/// `NotFound` if none was fetched yet.
pub fn last(session: &Session, name: &RepositoryName) -> Result<Known, Error> {
    let missing =
        || Error::not_found(format!("an index of {name}"), "fetch it while you are on line: `pkg fetch`");
    let bytes = disk::try_read(&summary_path(session, name), SUMMARY_BYTES_MAX)?.ok_or_else(missing)?;
    let summary = Summary::decode(&bytes)?;
    let mut policy = session.policy().clone();
    if policy.freshness == Freshness::Strict {
        policy.freshness = Freshness::Warn;
    }
    let judge = Judge::new(session.state()?, &policy, session.now())?;
    let statements = session.store()?.statements();
    let accepted = judge.accept_summary(&summary, Some(name), statements, "the index fetched last")?;
    Ok(Known { accepted, changed: false, from: 0 })
}

/// The root of the index of `name` that the user's store holds.
fn known_root(repository: &Repository, name: &RepositoryName) -> Result<Option<TreeId>, Error> {
    let Some(id) = repository.refs().try_find(&index_ref(name))? else { return Ok(None) };
    let signed = repository.statements().find::<objects::claim::Index>(id)?;
    let head: objects::claim::Index = signed.envelope().peek()?;
    Ok(Some(head.root))
}

/// Brings the tree of an index that its owner signed. It is not believed yet; but once it is, its
/// content must be here, or what is kept of it would be ahead of what can be used.
fn fetch_index_tree(
    session: &Session,
    remote: &Remote,
    summary: &Summary,
    old: Option<TreeId>,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let owner = Chain::walk(summary.repository.owner, &summary.owner)?;
    let index = summary.index.verify(&owner.head().roles.index, "index")?;
    let wanted = Wanted { tree: index.root, files_max: index.files, bytes_max: index.size };
    let step = Step::begin(reporter, "fetching the index", None);
    let haves: Vec<TreeId> = old.into_iter().collect();
    sync::fetch_tree(&[remote], session.store()?.store(), wanted, &haves, &step)?;
    Ok(())
}

/// A release to be had.
pub struct Pick<'a> {
    /// The package.
    pub record: &'a PackageRecord,
    /// The version.
    pub row: &'a VersionRow,
}

/// A release that was judged and is in the user's store.
pub struct Had {
    /// The entry that released it.
    pub entry: Trusted<Entry>,
    /// True if its content was here already.
    pub was_here: bool,
    /// New objects and their bytes.
    pub objects: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Judges releases of a believed index and brings their content into the user's store.
///
/// # Errors
/// If one is not to be believed, or cannot be had from any of `remotes`; what arrived is kept.
pub fn releases(
    session: &Session,
    remotes: &[Remote],
    known: &Known,
    picks: &[Pick<'_>],
    reporter: &dyn Reporter,
) -> Result<Vec<Had>, Error> {
    let repository = session.store()?;
    let _lock = repository.lock_shared()?;
    let offline = Offline;
    let (later, first) = remotes.split_at(known.from.min(remotes.len())); // first who showed the index
    let mut sources: Vec<&dyn Source> =
        first.iter().chain(later).map(|remote| remote as &dyn Source).collect();
    if sources.is_empty() {
        sources.push(&offline);
    }
    let lookups: Vec<Lookup<'_>> =
        sources.iter().map(|source| Lookup::new(repository.statements(), *source)).collect();
    let entries: Vec<StatementId> = picks.iter().map(|pick| pick.row.entry).collect();
    let _ = lookups[0].prefetch(&entries); // what cannot be had now is asked for again, and told then
    let mut had = Vec::with_capacity(picks.len());
    for pick in picks {
        let entry = first_believed(&sources, &lookups, reporter, &|lookup, origin| {
            judge_release(session, known, pick, lookup, origin, reporter)
        })?;
        had.push(content(session, remotes, known.from, pick, entry, reporter)?);
    }
    Ok(had)
}

/// Judges by the statements of a source, which has a name.
type JudgeFrom<'a> = dyn Fn(&Lookup<'_>, &str) -> Result<Trusted<Entry>, Error> + 'a;

/// What the first source says that can be believed; the ones before it are named.
fn first_believed(
    sources: &[&dyn Source],
    lookups: &[Lookup<'_>],
    reporter: &dyn Reporter,
    judge: &JudgeFrom<'_>,
) -> Result<Trusted<Entry>, Error> {
    let mut tries = sources.iter().zip(lookups).peekable();
    loop {
        let (source, lookup) = tries.next().expect("there is one source at least, and the last one returns");
        match judge(lookup, &source.name()) {
            Err(error) if tries.peek().is_some() => {
                reporter.warn(&format!("{} is passed over: {}", source.name(), error.message()));
            }
            judged => return judged,
        }
    }
}

fn judge_release(
    session: &Session,
    known: &Known,
    pick: &Pick<'_>,
    lookup: &Lookup<'_>,
    origin: &str,
    reporter: &dyn Reporter,
) -> Result<Trusted<Entry>, Error> {
    let repository = session.store()?;
    let judge = Judge::new(session.state()?, session.policy(), session.now())?;
    let index = Index::open(repository.store(), known.root())?;
    let row = index.identity(pick.record.owner)?;
    let owner = judge.identity(pick.record.owner, row.as_ref(), lookup, origin)?;
    identity::keep_chain(repository, &owner, session)?;
    let is_first = judge.accept_name(&known.accepted, pick.record, origin)? == NameUse::First;
    let places = Places { directory: &index, statements: lookup, origin };
    let release = judge.accept_release(&known.accepted, pick.record, pick.row, &owner, places)?;
    keep_path(session, repository, &release)?;
    if is_first {
        let (name, owner) = (&pick.record.name, pick.record.owner.to_hex());
        reporter.note(&format!("first use of {name}: owner id:{owner}, listed by {}", known.repository()));
    }
    judge.take_warnings().iter().for_each(|warning| reporter.warn(warning));
    Ok(release.entry)
}

/// Keeps by whose word a delegate acted: it is judged again off line, and passed on.
fn keep_path(session: &Session, repository: &Repository, release: &Authorised) -> Result<(), Error> {
    if release.path.is_empty() {
        return Ok(());
    }
    for step in &release.path {
        identity::keep_chain(repository, &step.issuer, session)?;
        repository.statements().insert(step.document.envelope())?;
    }
    identity::keep_chain(repository, &release.signer, session)?;
    Ok(())
}

fn content(
    session: &Session,
    remotes: &[Remote],
    from: usize,
    pick: &Pick<'_>,
    entry: Trusted<Entry>,
    reporter: &dyn Reporter,
) -> Result<Had, Error> {
    let repository = session.store()?;
    let release = &pick.row.release;
    let wanted = Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size };
    let was_here = sync::is_complete(repository.store(), wanted)?;
    let (mut objects, mut bytes) = (0, 0);
    if !was_here {
        let haves = haves(repository, pick.record, release.tree)?;
        let what = format!("fetching {} {}", pick.record.name, release.version);
        let step = Step::begin(reporter, &what, None);
        // The one whose index is believed first, then the others.
        let others = remotes.iter().enumerate().filter(|(n, _)| *n != from).map(|(_, remote)| remote);
        let sources: Vec<&dyn Source> =
            remotes.get(from).into_iter().chain(others).map(|remote| remote as &dyn Source).collect();
        let fetched = sync::fetch_tree(&sources, repository.store(), wanted, &haves, &step)?;
        fetched.dropped.iter().for_each(|dropped| reporter.warn(&format!("a source was dropped: {dropped}")));
        (objects, bytes) = (fetched.objects, fetched.bytes);
    }
    if !is_whole(repository, pick.record, &release.version)? {
        check_tree(repository, release)?;
    }
    repository.statements().insert(entry.envelope())?;
    let edit = RefEdit {
        name: tag_ref(pick.record.owner, &pick.record.name, &release.version),
        previous: PreviousValue::Any,
        new: Some(entry.id()),
        message: format!("fetch: {} {}", pick.record.name, release.version),
    };
    repository.refs().edit(&[edit], session.now())?;
    Ok(Had { entry, was_here, objects, bytes })
}

/// Step 17: what arrived is exactly what was signed, and nothing in it leads out.
pub(crate) fn check_tree(repository: &Repository, release: &Release) -> Result<(), Error> {
    let store = repository.store();
    let totals = walk::visit::<ObjectError>(store, release.tree, release.files, &mut |_, _| Ok(()))?;
    if (totals.files, totals.bytes) != (release.files, release.size) {
        return Err(Error::Refused {
            code: "E-FORMAT",
            what: format!("tree {} has other totals than were signed", release.tree),
            hint: "tell its author: the release is malformed".into(),
        });
    }
    Ok(walk::check_links(store, release.tree, release.files)?)
}

/// True if the version is tagged here: a tag is made after its content is whole.
fn is_whole(
    repository: &Repository,
    record: &PackageRecord,
    version: &objects::version::Version,
) -> Result<bool, Error> {
    Ok(repository.refs().try_find(&tag_ref(record.owner, &record.name, version))?.is_some())
}

/// How many older versions are offered as bases.
const HAVES: usize = 4;

/// Trees of other versions that are whole here, nearest first.
pub fn haves(repository: &Repository, record: &PackageRecord, wanted: TreeId) -> Result<Vec<TreeId>, Error> {
    let at =
        record.versions.iter().position(|row| row.release.tree == wanted).unwrap_or(record.versions.len());
    let mut rows: Vec<(usize, &VersionRow)> = record.versions.iter().enumerate().collect();
    rows.sort_by_key(|(n, _)| n.abs_diff(at));
    let mut haves = Vec::new();
    for (_, row) in rows {
        let tree = row.release.tree;
        let whole = tree != wanted
            && repository.store().contains(&tree.object())
            && is_whole(repository, record, &row.release.version)?;
        if whole && haves.len() < HAVES {
            haves.push(tree);
        }
    }
    Ok(haves)
}

/// In place of a source when nobody is to be asked.
struct Offline;

impl Source for Offline {
    fn name(&self) -> String {
        "what was fetched before".to_owned()
    }

    fn advertise(&self) -> Result<Summary, sync::Error> {
        Err(sync::Error::Empty { from: self.name() })
    }

    fn statements(&self, _: &[(StatementId, u32)]) -> Result<Vec<Envelope>, sync::Error> {
        Ok(Vec::new())
    }

    fn bring(&self, _: &mut Intake<'_>, _: &[TreeId], _: &dyn Progress) -> Result<(), sync::Error> {
        Ok(())
    }
}
