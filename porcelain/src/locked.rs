//! `pkg.lock` against what was signed: every field of every row, before anything is changed (SEC-073), and
//! how its rows are made.
//!
//! ```text
//! repository  owner name        what the environment is bound to      index-n index   in the line the believed one grew from
//! package     name … tree signer  the index, then the signed entry    signer-n grants the signed entry
//! identity    id                somebody a row names                  n head          in their chain
//! ```
//!
//! Promises: a field that says anything else than what was signed is E-LOCK, and named; a lockfile that
//! knows more than the sources show is E-ROLLBACK: they are stale (step 9).
//! Leaves to others: the judgement of releases (`fetch`), which is done anew here for each row.

use crate::env::{Installed, LockedIdentity, LockedPackage, LockedRepository, Lockfile};
use crate::error::Error;
use crate::event::Reporter;
use crate::fetch::{self, Known, Pick};
use crate::heads;
use crate::identity;
use crate::install::Found;
use crate::publish::tag_ref;
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{Index as IndexHead, Mark, PackageRecord, Repository as RepositoryName, VersionRow};
use objects::id::{GrantId, IdentityId, StatementId};
use objects::identity::Chain;
use objects::release::Entry;
use objects::signed::Envelope;
use plumbing::index::Index;
use plumbing::trust::{Error as TrustError, Policy, Statements, Trusted};
use std::collections::{BTreeMap, BTreeSet};

fn refuse(what: impl Into<String>) -> Error {
    Error::Refused {
        code: "E-LOCK",
        what: what.into(),
        hint: "run without --locked to let pkg.lock change, and review the difference".into(),
    }
}

fn wrong(field: &str, of: impl std::fmt::Display) -> Error {
    refuse(format!("the {field} of {of} in pkg.lock is not what was signed"))
}

fn stale(what: String) -> Error {
    Error::Refused {
        code: "E-ROLLBACK",
        what,
        hint: "the source is stale: fetch from another one, or ask its keeper".into(),
    }
}

/// What is judged, and by whose word.
pub(crate) struct Case<'a> {
    pub session: &'a Session,
    pub remotes: &'a [Remote],
    pub known: &'a Known,
    pub policy: &'a Policy,
    pub reporter: &'a dyn Reporter,
}

impl Case<'_> {
    /// Compares what was chosen from, before anything is chosen: from a stale source nothing may fit.
    ///
    /// # Errors
    /// `E-LOCK` naming the field that is not what was signed; `E-ROLLBACK` if the sources show an older
    /// index than the lockfile knows.
    pub(crate) fn begin<'l>(&self, lock: Option<&'l Lockfile>) -> Result<&'l Lockfile, Error> {
        let lock = lock.ok_or_else(|| refuse("there is no pkg.lock"))?;
        self.repositories(lock)?;
        Ok(lock)
    }

    /// Repeats the steps 6 to 16 for every row of the lockfile, and compares each field.
    ///
    /// # Errors
    /// `E-LOCK` naming the field that is not what was signed; `E-ROLLBACK` if the sources show less than
    /// the lockfile knows; those of the judge.
    pub(crate) fn check(&self, lock: &Lockfile, found: &[Found]) -> Result<(), Error> {
        rows(lock, found)?;
        let picks: Vec<Pick<'_>> =
            found.iter().map(|(_, record, row)| Pick { record, row, policy: self.policy }).collect();
        let entries = match fetch::judge(self.session, self.remotes, self.known, &picks, self.reporter) {
            Err(error) if self.is_out_of_reach(&error) => self.judged_before(found, error)?,
            judged => judged?.iter().map(|entry| entry.document().clone()).collect(),
        };
        signed(lock, &entries)?;
        self.identities(lock)
    }

    /// The indexes that were chosen from.
    fn repositories(&self, lock: &Lockfile) -> Result<(), Error> {
        let bound = self.known.repository();
        let Some(row) = lock.repositories.first() else {
            return Err(refuse(format!("pkg.lock has no row of repository {bound}")));
        };
        let of = format!("repository {}", row.name);
        if row.owner != bound.owner {
            return Err(wrong("owner", of));
        }
        if row.name != bound.name {
            return Err(wrong("name", of));
        }
        if lock.repositories.len() > 1 {
            let other = &lock.repositories[1].name;
            return Err(refuse(format!("pkg.lock has repository {other}, which nothing is chosen from")));
        }
        self.index(row, &of)
    }

    /// The locked index is the believed one, or one that it grew from.
    fn index(&self, row: &LockedRepository, of: &str) -> Result<(), Error> {
        let index = &self.known.accepted.index;
        let local = self.session.store()?.statements();
        let source = self.remotes.get(self.known.from);
        let lookup = source.map(|remote| Lookup::new(local, remote));
        let lookup = lookup.as_ref().map_or(local as &dyn Statements, |lookup| lookup);
        if index_number(lookup, row.index, index).is_some_and(|n| n != row.index_n) {
            return Err(wrong("index-n", of));
        }
        if row.index_n > index.n {
            let (locked, shown) = (row.index_n, index.n);
            return Err(stale(format!(
                "pkg.lock was made from index {locked} of {of}, the newest here is {shown}"
            )));
        }
        let there = match row.index_n == index.n {
            true => Some(index.id()),
            false => heads::ancestor(lookup, index, row.index_n),
        };
        match there {
            Some(id) if id == row.index => Ok(()),
            Some(_) => Err(wrong("index", of)),
            None => {
                let why = "the indexes between are not at hand";
                self.reporter
                    .warn(&format!("index {} of {of} in pkg.lock is not compared: {why}", row.index_n));
                Ok(())
            }
        }
    }

    /// True if something is missing that a source would have, but nobody is to be asked.
    fn is_out_of_reach(&self, error: &Error) -> bool {
        self.remotes.is_empty() && matches!(error, Error::Trust(TrustError::Missing { .. }))
    }

    /// The entries of releases that were judged when they were fetched; `error` if there is one that was not.
    fn judged_before(&self, found: &[Found], error: Error) -> Result<Vec<Entry>, Error> {
        let store = self.session.store()?;
        let mut entries = Vec::with_capacity(found.len());
        for (_, record, row) in found {
            let tag = tag_ref(record.owner, &record.name, &row.release.version);
            let envelope = store.statements().try_find(row.entry)?;
            match envelope.filter(|_| store.refs().try_find(&tag).is_ok_and(|at| at == Some(row.entry))) {
                Some(envelope) => entries.push(envelope.peek()?),
                None => return Err(error),
            }
        }
        self.reporter.warn("off line: what was judged before is not judged anew");
        Ok(entries)
    }

    /// An identity's chain: judged anew, or off line as it was judged last.
    fn chain(&self, id: IdentityId) -> Result<Chain, Error> {
        match fetch::identity(self.session, self.remotes, self.known, id, self.reporter) {
            Err(error) if self.is_out_of_reach(&error) => {
                identity::read_chain(self.session.store()?, id)?.ok_or(error)
            }
            judged => judged,
        }
    }

    /// The newest documents of everybody a row names, and of nobody else.
    fn identities(&self, lock: &Lockfile) -> Result<(), Error> {
        let named = named(lock);
        if let Some(row) = lock.identities.iter().find(|row| !named.contains(&row.id)) {
            return Err(refuse(format!(
                "the id of identity {} in pkg.lock is of nobody it names",
                row.id.nick()
            )));
        }
        for id in named {
            let nick = id.nick();
            let Some(row) = lock.identities.iter().find(|row| row.id == id) else {
                return Err(refuse(format!("pkg.lock has no row of identity {nick}")));
            };
            let chain = self.chain(id)?;
            let place = chain.documents().iter().find(|document| document.id() == row.head);
            let of = format!("identity {nick}");
            match (place, chain.at(row.n)) {
                (Some(document), _) if document.n == row.n => {}
                (Some(_), _) => return Err(wrong("n", of)),
                (None, Some(_)) => return Err(wrong("head", of)),
                (None, None) => {
                    let (locked, shown) = (row.n, chain.head().n);
                    return Err(stale(format!(
                        "pkg.lock knows document {locked} of {of}, the newest here is {shown}"
                    )));
                }
            }
        }
        Ok(())
    }
}

/// The number of an index, if it can be had.
fn index_number(lookup: &dyn Statements, id: StatementId, newest: &Trusted<IndexHead>) -> Option<u64> {
    if id == newest.id() {
        return Some(newest.n);
    }
    let envelope: Envelope = lookup.find(id).ok()??;
    (envelope.id() == id).then(|| envelope.peek::<IndexHead>().ok().map(|index| index.n))?
}

fn named(lock: &Lockfile) -> BTreeSet<IdentityId> {
    let repositories = lock.repositories.iter().map(|row| row.owner);
    repositories.chain(lock.packages.iter().flat_map(|row| [row.owner, row.signer])).collect()
}

/// What the index says of each row, as far as it says it.
fn rows(lock: &Lockfile, found: &[Found]) -> Result<(), Error> {
    for package in &lock.packages {
        let name = &package.name;
        if !found.iter().any(|(chosen, ..)| chosen.name == *name) {
            return Err(refuse(format!(
                "pkg.lock has {name}, which nothing wants: its name was edited, or pkg.cfg.toml"
            )));
        }
        if package.beside {
            return Err(refuse(format!(
                "pkg.lock has {name} beside its default version, which nothing wants"
            )));
        }
        if lock.of(name).count() > 1 {
            return Err(refuse(format!("pkg.lock has more than one version of {name}")));
        }
    }
    for (chosen, record, row) in found {
        let name = &chosen.name;
        let locked = lock.of(name).next();
        let locked = locked.ok_or_else(|| refuse(format!("pkg.lock does not have {name}")))?;
        if let Some(field) = differs(locked, record, row) {
            return Err(wrong(field, name));
        }
        if locked.entry != row.entry {
            let (there, here) = (&locked.version, &row.release.version);
            return Err(refuse(format!(
                "the version of {name} would have to change from {there} to {here} in pkg.lock"
            )));
        }
    }
    Ok(())
}

/// The first field that is not what the locked entry says; the row chosen now stands in if there is no
/// such entry.
fn differs(locked: &LockedPackage, record: &PackageRecord, chosen: &VersionRow) -> Option<&'static str> {
    let by_entry = record.versions.iter().find(|row| row.entry == locked.entry);
    let row = by_entry.unwrap_or(chosen);
    let fields = [
        ("version", locked.version == row.release.version),
        ("channel", locked.channel == row.release.channel),
        ("owner", locked.owner == record.owner),
        ("tree", locked.tree == row.release.tree),
        ("signer", locked.signer == row.signer),
        ("entry", by_entry.is_some()),
    ];
    fields.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}

/// What the index does not say of a row, but the signed entry does.
fn signed(lock: &Lockfile, entries: &[Entry]) -> Result<(), Error> {
    for entry in entries {
        let Some(locked) = lock.of(&entry.name).next() else { continue };
        if locked.signer_n != entry.signer_n {
            return Err(wrong("signer-n", &entry.name));
        }
        if locked.grants != entry.grants {
            return Err(wrong("grants", &entry.name));
        }
    }
    Ok(())
}

/// Tells of what the lockfile keeps although its author or distributor marked it, or refuses it (SEC-074).
///
/// # Errors
/// `E-POLICY` if `policy` does not allow what was withdrawn.
pub(crate) fn marks(found: &[Found], policy: &Policy, reporter: &dyn Reporter) -> Result<(), Error> {
    for (chosen, ..) in found {
        let (name, version) = (&chosen.name, &chosen.version);
        match &chosen.mark {
            Some(Mark::Yanked { reason }) if !policy.allow_yanked => {
                return Err(Error::Refused {
                    code: "E-POLICY",
                    what: format!("pkg.lock keeps {name} {version}, which was withdrawn: {reason}"),
                    hint: format!("take another version: `pkg update {name}`; or run without --deny-yanked"),
                });
            }
            Some(Mark::Yanked { reason }) => {
                reporter.warn(&format!("{name} {version}, which pkg.lock keeps, was withdrawn: {reason}"));
            }
            Some(Mark::Retired { successor }) => {
                let instead =
                    successor.as_ref().map_or(String::new(), |name| format!("; use {name} instead"));
                reporter
                    .warn(&format!("{name} {version}, which pkg.lock keeps, is no longer kept up{instead}"));
            }
            Some(Mark::Forbidden { .. } | Mark::Malicious { .. }) | None => {}
        }
    }
    Ok(())
}

/// What the lockfile may keep that nobody would choose anew: the withdrawn, unless that is denied, and
/// the young (SEC-074, SEC-079).
pub(crate) fn lenient(policy: &Policy, deny_yanked: bool) -> Policy {
    Policy { allow_yanked: !deny_yanked, min_age_seconds: 0, ..policy.clone() }
}

/// The lockfile of an environment in which `packages` stand; `old` knows the grants of those that stay.
///
/// # Errors
/// If a statement or the index cannot be read.
pub(crate) fn lockfile(
    session: &Session,
    known: &Known,
    packages: &[Installed],
    old: Option<&Lockfile>,
) -> Result<Lockfile, Error> {
    let index = &known.accepted.index;
    let RepositoryName { owner, name } = index.repository.clone();
    let repositories = vec![LockedRepository { owner, name, index_n: index.n, index: index.id() }];
    let kept: BTreeMap<StatementId, &LockedPackage> =
        old.into_iter().flat_map(|lock| &lock.packages).map(|row| (row.entry, row)).collect();
    let mut rows = Vec::with_capacity(packages.len());
    for package in packages {
        rows.push(LockedPackage {
            name: package.name.clone(),
            version: package.version.clone(),
            channel: package.channel.clone(),
            owner: package.owner,
            entry: package.entry,
            tree: package.tree,
            signer: package.signer,
            signer_n: package.signer_n,
            grants: grants(session, package.entry, &kept)?,
            beside: package.beside,
        });
    }
    let mut lock = Lockfile::new(repositories, Vec::new(), rows);
    let head = |id| head(session, known, id);
    let identities = named(&lock).into_iter().filter_map(|id| head(id).transpose());
    lock.identities = identities.collect::<Result<_, _>>()?;
    Ok(lock)
}

/// True if a lockfile says anything else than the one that would be written now, older indexes and
/// documents aside: somebody edited it, and it is to be put right.
pub(crate) fn is_off(lock: &Lockfile, now: &Lockfile) -> bool {
    let knows = |row: &LockedIdentity| {
        let newest = now.identities.iter().find(|other| other.id == row.id);
        newest.is_some_and(|newest| row.n < newest.n || row == newest)
    };
    let of = |row: &LockedRepository| {
        let newest =
            now.repositories.iter().find(|other| (row.owner, &row.name) == (other.owner, &other.name));
        newest.is_some_and(|newest| row.index_n < newest.index_n || row == newest)
    };
    let counts = |lock: &Lockfile| (lock.repositories.len(), lock.identities.len());
    let rows = lock.identities.iter().all(knows) && lock.repositories.iter().all(of);
    lock.packages != now.packages || counts(lock) != counts(now) || !rows
}

/// The path of grants of an entry, as its signer gave it.
fn grants(
    session: &Session,
    entry: StatementId,
    kept: &BTreeMap<StatementId, &LockedPackage>,
) -> Result<Vec<GrantId>, Error> {
    match session.store()?.statements().try_find(entry)? {
        Some(envelope) => Ok(envelope.peek::<Entry>()?.grants),
        None => Ok(kept.get(&entry).map(|row| row.grants.clone()).unwrap_or_default()),
    }
}

/// The newest document of an identity that was judged here, or that the index names.
fn head(session: &Session, known: &Known, id: IdentityId) -> Result<Option<LockedIdentity>, Error> {
    let newest = &known.accepted.owner;
    if id == newest.id() {
        return Ok(Some(LockedIdentity { id, n: newest.head().n, head: newest.head().id() }));
    }
    let store = session.store()?;
    if let Some(row) = Index::open(store.store(), known.root())?.identity(id)? {
        return Ok(Some(LockedIdentity { id, n: row.n, head: row.document }));
    }
    let chain = identity::read_chain(store, id)?;
    Ok(chain.map(|chain| LockedIdentity { id, n: chain.head().n, head: chain.head().id() }))
}
