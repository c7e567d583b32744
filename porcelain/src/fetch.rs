//! Fetching: what a source offers, judged, and brought into the user's store.
//!
//! ```text
//! remotes → advertise → verify, judge → wants → receive (hash on arrival) → commit pack → refs
//! ```
//!
//! Promises: nothing is believed that was not judged; stopped anywhere, the old state stands and
//! what arrived is kept.

use crate::clock;
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::heads::{self, Word};
use crate::identity;
use crate::publish::{index_ref, tag_ref};
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{PackageRecord, Repository as RepositoryName, VersionRow};
use objects::disk;
use objects::id::{IdentityId, ObjectId, StatementId, TreeId};
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
use plumbing::trust::{Accepted, Authorised, Freshness, Judge, NameUse, Places, Policy, Trusted};
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

/// Fetches the newest index that `remotes` show and that can be believed. Each is held against what this
/// machine knows and against the others; one that is behind is named, and not used for the index.
///
/// # Errors
/// `Fork` if two of them contradict each other: neither is applied, both are kept. If none can be
/// believed, the weightiest reason.
pub fn index(
    session: &Session,
    remotes: &[Remote],
    pinned: Option<&RepositoryName>,
    reporter: &dyn Reporter,
) -> Result<Known, Error> {
    let (mut words, mut failed): (Vec<Word>, Vec<(usize, Error)>) = (Vec::new(), Vec::new());
    for (from, remote) in remotes.iter().enumerate() {
        match remote.learn() {
            Ok(summary) => words.push(Word { from, summary }),
            Err(error) => failed.push((from, error.into())),
        }
    }
    words.retain(|word| match heads::given_up(session, word) {
        Ok(None) => true,
        Ok(Some(error)) | Err(error) => {
            failed.push((word.from, error));
            false
        }
    });
    if words.len() > 1 {
        heads::in_order(&mut words);
        for (n, one, other) in heads::contradictions(session, &words, remotes, pinned)? {
            let seen = format!("{one} and {other} show two indexes with number {n}");
            reporter.warn(&format!("{seen}: `pkg trust log` shows them"));
        }
    }
    let mut believed = None;
    for word in &words {
        let judged = match &believed {
            None => believe(session, remotes, word, pinned, reporter).map(|known| believed = Some(known)),
            Some(known) => compare(session, remotes, known, word, reporter),
        };
        match judged {
            Err(error) if heads::is_final(session, &error) => return Err(error),
            Err(error) => failed.push((word.from, error)),
            Ok(()) => {}
        }
    }
    if remotes.len() > 1 {
        failed.iter().for_each(|(from, error)| reporter.warn(&passed_over(&remotes[*from], error)));
    }
    failed.sort_by_key(|(from, _)| *from);
    let failed = failed.into_iter().map(|(_, error)| error).reduce(heads::weightier);
    believed.ok_or_else(|| failed.unwrap_or_else(heads::no_source))
}

fn passed_over(remote: &Remote, error: &Error) -> String {
    match error.code() {
        "E-ROLLBACK" => format!("{} is stale and not used: {}", remote.shown(), error.message()),
        _ => format!("{} is passed over: {}", remote.shown(), error.message()),
    }
}

/// Holds a further source against the index that is believed.
fn compare(
    session: &Session,
    remotes: &[Remote],
    known: &Known,
    word: &Word,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let (repository, state, remote) = (session.store()?, session.state()?, &remotes[word.from]);
    let (accepted, summary) = (&known.accepted, &word.summary);
    let knows_as_much = summary.owner.len() == accepted.owner.documents().len();
    if knows_as_much && summary.index.id() == accepted.index.id() {
        state.pin_repository(&remote.kept(), known.repository(), session.now())?;
        return Ok(());
    }
    let lookup = Lookup::new(repository.statements(), &remotes[known.from]);
    if let Some(n) = heads::rewritten(session, known, &lookup, word, &remote.shown())? {
        let (name, newest) = (remote.shown(), accepted.index.n);
        reporter.warn(&format!(
            "{name} shows another index {n} than the one index {newest} grew from: `pkg trust log` shows both"
        ));
    }
    let judge = Judge::new(state, session.policy(), session.now())?;
    let lookup = Lookup::new(repository.statements(), remote);
    judge.accept_summary(summary, Some(known.repository()), &lookup, &remote.shown())?;
    Ok(())
}

fn believe(
    session: &Session,
    remotes: &[Remote],
    word: &Word,
    pinned: Option<&RepositoryName>,
    reporter: &dyn Reporter,
) -> Result<Known, Error> {
    let (remote, summary) = (&remotes[word.from], &word.summary);
    let repository = session.store()?;
    let _lock = repository.lock_shared()?;
    let state = session.state()?;
    let pin = state.repository(&remote.kept())?;
    let pinned = pinned.or(pin.as_ref());
    let lookup = Lookup::new(repository.statements(), remote);
    let judge = Judge::new(state, session.policy(), session.now())?;
    let old = known_root(repository, &summary.repository)?;
    let is_expected = pinned.is_none_or(|pinned| *pinned == summary.repository);
    if is_expected && !state.is_forked(summary.index.id())? {
        fetch_index_tree(session, remote, summary, old, reporter)?;
    }
    let accepted = judge.accept_summary(summary, pinned, &lookup, &remote.shown())?;
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
    Ok(Known { accepted, changed, from: word.from })
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
    let summary = last_summary(session, name)?;
    let mut policy = session.policy().clone();
    if policy.freshness == Freshness::Strict {
        policy.freshness = Freshness::Warn;
    }
    let judge = Judge::new(session.state()?, &policy, session.now())?;
    let statements = session.store()?.statements();
    let accepted = judge.accept_summary(&summary, Some(name), statements, "the index fetched last")?;
    Ok(Known { accepted, changed: false, from: 0 })
}

/// The summary last believed of a repository.
///
/// # Errors
/// `NotFound` if none was fetched yet.
pub(crate) fn last_summary(session: &Session, name: &RepositoryName) -> Result<Summary, Error> {
    let missing =
        || Error::not_found(format!("an index of {name}"), "fetch it while you are on line: `pkg fetch`");
    let bytes = disk::try_read(&summary_path(session, name), SUMMARY_BYTES_MAX)?.ok_or_else(missing)?;
    Ok(Summary::decode(&bytes)?)
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
    /// What is allowed: what the lockfile keeps may be withdrawn or young.
    pub policy: &'a Policy,
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
    let _lock = session.store()?.lock_shared()?;
    Bench::of(session, remotes, known).judge(known, picks, reporter, &mut |pick, entry| {
        content(session, remotes, known.from, pick, entry, reporter)
    })
}

/// Judges releases of a believed index, and leaves their content where it is.
///
/// # Errors
/// If one is not to be believed.
pub(crate) fn judge(
    session: &Session,
    remotes: &[Remote],
    known: &Known,
    picks: &[Pick<'_>],
    reporter: &dyn Reporter,
) -> Result<Vec<Trusted<Entry>>, Error> {
    let repository = session.store()?;
    let _lock = repository.lock_shared()?;
    Bench::of(session, remotes, known).judge(known, picks, reporter, &mut |_, entry| {
        repository.statements().insert(entry.envelope())?;
        Ok(entry)
    })
}

/// The chain of an identity, as far as a believed index names it.
///
/// # Errors
/// If it is not to be believed, or cannot be had.
pub(crate) fn identity(
    session: &Session,
    remotes: &[Remote],
    known: &Known,
    id: IdentityId,
    reporter: &dyn Reporter,
) -> Result<Chain, Error> {
    if id == known.accepted.owner.id() {
        return Ok(known.accepted.owner.clone());
    }
    let repository = session.store()?;
    let row = Index::open(repository.store(), known.root())?.identity(id)?;
    Bench::of(session, remotes, known).first_believed(reporter, &|lookup, origin| {
        let judge = Judge::new(session.state()?, session.policy(), session.now())?;
        Ok(judge.identity(id, row.as_ref(), lookup, origin)?)
    })
}

/// The sources of statements, the one whose index is believed first.
struct Bench<'a> {
    session: &'a Session,
    sources: Vec<&'a dyn Source>,
}

/// Does something with a release that was believed.
type Then<'a, T> = dyn FnMut(&Pick<'_>, Trusted<Entry>) -> Result<T, Error> + 'a;

/// Judges by the statements of a source, which has a name.
type JudgeFrom<'a, T> = dyn Fn(&Lookup<'_>, &str) -> Result<T, Error> + 'a;

impl<'a> Bench<'a> {
    fn of(session: &'a Session, remotes: &'a [Remote], known: &Known) -> Bench<'a> {
        let (later, first) = remotes.split_at(known.from.min(remotes.len()));
        let mut sources: Vec<&dyn Source> =
            first.iter().chain(later).map(|remote| remote as &dyn Source).collect();
        if sources.is_empty() {
            sources.push(&Offline);
        }
        Bench { session, sources }
    }

    fn judge<T>(
        &self,
        known: &Known,
        picks: &[Pick<'_>],
        reporter: &dyn Reporter,
        then: &mut Then<'_, T>,
    ) -> Result<Vec<T>, Error> {
        let lookups = self.lookups()?;
        let entries: Vec<StatementId> = picks.iter().map(|pick| pick.row.entry).collect();
        let _ = lookups[0].prefetch(&entries); // what cannot be had now is asked for again, and told then
        let mut judged = Vec::with_capacity(picks.len());
        for pick in picks {
            let entry = first_believed(&self.sources, &lookups, reporter, &|lookup, origin| {
                judge_release(self.session, known, pick, lookup, origin, reporter)
            })?;
            judged.push(then(pick, entry)?);
        }
        Ok(judged)
    }

    fn first_believed<T>(&self, reporter: &dyn Reporter, judge: &JudgeFrom<'_, T>) -> Result<T, Error> {
        first_believed(&self.sources, &self.lookups()?, reporter, judge)
    }

    fn lookups(&self) -> Result<Vec<Lookup<'a>>, Error> {
        let local = self.session.store()?.statements();
        Ok(self.sources.iter().map(|source| Lookup::new(local, *source)).collect())
    }
}

/// What the first source says that can be believed; the ones before it are named.
fn first_believed<T>(
    sources: &[&dyn Source],
    lookups: &[Lookup<'_>],
    reporter: &dyn Reporter,
    judge: &JudgeFrom<'_, T>,
) -> Result<T, Error> {
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
    let judge = Judge::new(session.state()?, pick.policy, session.now())?;
    let index = Index::open(repository.store(), known.root())?;
    let row = index.identity(pick.record.owner)?;
    let owner = judge.identity(pick.record.owner, row.as_ref(), lookup, origin)?;
    identity::keep_chain(repository, &owner, session)?;
    let is_first = judge.accept_name(&known.accepted, pick.record, origin)? == NameUse::First;
    let places = Places { directory: &index, statements: lookup, origin };
    let release = judge.accept_release(&known.accepted, pick.record, pick.row, &owner, places)?;
    keep_path(session, repository, &release)?;
    if is_first {
        reporter.note(&first_use(session, known, pick));
    }
    if let Some(reason) = &release.withdrawn {
        let (name, version) = (&pick.record.name, &pick.row.release.version);
        reporter.warn(&format!("{name} {version} was withdrawn by its author: {reason}"));
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

/// First use shows owner, distributor and date (THREATS 1.6); the judge has pinned them.
fn first_use(session: &Session, known: &Known, pick: &Pick<'_>) -> String {
    let (name, owner) = (&pick.record.name, pick.record.owner.to_hex());
    let listed = pick.record.versions.iter().map(|row| row.listed).min().unwrap_or(pick.row.listed);
    let (listed, now) = (clock::shown(listed), clock::shown(session.now()));
    let distributor = known.repository();
    format!("first use of {name}: owner id:{owner}, listed by {distributor} since {listed}; pinned on {now}")
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
