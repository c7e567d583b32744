//! The state of this machine, made again when `state.db` is lost (REL-022).
//!
//! ```text
//! from the user's store     heads of identities, indexes and logs; owners of names in use; the last known time
//! from nowhere              which repository a source has to show; what this machine has signed; forks
//! ```
//!
//! Promises: the new file stands only once it is whole; what could not be rebuilt is said. Nothing older
//! than what the store holds is believed afterwards.
//! Leaves to others: the judgement; what is in the store was judged before it came there.

use crate::error::Error;
use objects::claim::Index as IndexHead;
use objects::disk::{self, Context};
use objects::fsck::Signers;
use objects::id::StatementId;
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::{Envelope, Verified};
use objects::time::Timestamp;
use plumbing::index::Index;
use plumbing::trust::{Advance, Head, Line, Log, PackagePin, Position, State};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a rebuilt state holds, and what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// Heads of identities, indexes and logs that are known again.
    pub heads: u64,
    /// Names whose owners are known again.
    pub names: u64,
    /// What could not be rebuilt.
    pub lost: Vec<&'static str>,
}

const LOST: [&str; 3] = [
    "which repository each source has to show: the next fetch takes what it shows, so compare the owner",
    "what this machine has signed: compare with a mirror before you publish from a backup",
    "evidence of forks",
];

impl Rebuilt {
    /// What a person should be told.
    pub fn message(&self) -> String {
        format!(
            "state.db was lost; {} heads and the owners of {} names were rebuilt from your store. \
             These are not rebuildable: {}",
            self.heads,
            self.names,
            self.lost.join("; ")
        )
    }
}

/// Where the state of the user with this home is.
pub fn path(home: &Path) -> PathBuf {
    home.join("state.db")
}

/// Bytes of the header of a database: SQLite takes a shorter file for a new one.
const HEADER_BYTES: u64 = 100;

fn is_there(home: &Path) -> bool {
    std::fs::metadata(path(home)).is_ok_and(|meta| meta.len() >= HEADER_BYTES)
}

/// True if there is no state though there was one: something was fetched or signed.
pub fn is_lost(home: &Path) -> bool {
    if is_there(home) {
        return false;
    }
    let was_fetched = disk::list(&home.join("summaries")).is_ok_and(|names| !names.is_empty());
    let is_used = || {
        let store = Repository::open(&home.join("store")).ok();
        let refs = store.and_then(|store| store.refs().survey().ok()).map(|survey| survey.refs);
        refs.unwrap_or_default().keys().any(|name| name.as_str().starts_with("refs/index/"))
    };
    was_fetched || home.join("signing.lock").exists() || is_used()
}

/// Makes a lost state again from `store`; None if somebody else has done so meanwhile.
///
/// # Errors
/// If the store cannot be listed, or the disk refuses; nothing then stands in place of the state.
pub fn rebuild(home: &Path, store: &Repository) -> Result<Option<Rebuilt>, Error> {
    let _lock = disk::lock_file(&home.join("state.lock"))?;
    if is_there(home) {
        return Ok(None);
    }
    move_aside(home)?; // what is left of a file that was cut
    let aside = home.join(".state.db.new");
    for file in with_journals(&aside) {
        disk::remove(&file)?;
    }
    let rebuilt = fill(&State::open(&aside)?, store)?;
    std::fs::rename(&aside, path(home)).doing("rename", &aside)?;
    disk::sync_folder(home)?;
    Ok(Some(rebuilt))
}

/// Moves a damaged state aside; it is not deleted.
///
/// # Errors
/// If the disk refuses.
pub fn set_aside(home: &Path) -> Result<(), Error> {
    let _lock = disk::lock_file(&home.join("state.lock"))?;
    move_aside(home)
}

fn move_aside(home: &Path) -> Result<(), Error> {
    let numbered = (1u32..).map(|n| home.join(format!("state.db~{n}")));
    let free = numbered.into_iter().find(|path| !path.exists()).expect("some number is free");
    for (from, to) in with_journals(&path(home)).into_iter().zip(with_journals(&free)) {
        if from.exists() {
            std::fs::rename(&from, &to).doing("set aside", &from)?;
        }
    }
    Ok(disk::sync_folder(home)?)
}

fn with_journals(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| PathBuf::from(format!("{}{end}", path.display())))
}

fn fill(state: &State, store: &Repository) -> Result<Rebuilt, Error> {
    let mut known: BTreeMap<StatementId, Envelope> = BTreeMap::new();
    for id in store.statements().list()? {
        known.extend(store.statements().try_find(id).ok().flatten().map(|envelope| (id, envelope)));
    }
    let refs = store.refs().survey()?.refs;
    let filling = Filling { state, store, signers: Signers::of(&known), known: &known };
    let mut rebuilt = Rebuilt { lost: LOST.to_vec(), ..Rebuilt::default() };
    rebuilt.heads += filling.identities()?;
    rebuilt.heads += filling.logs()?;
    for (_, id) in refs.iter().filter(|(name, _)| name.as_str().starts_with("refs/index/")) {
        if let Some(index) = filling.index(*id)? {
            rebuilt.heads += 1;
            let tags = refs.keys().filter_map(|name| name.as_str().strip_prefix("refs/tags/"));
            rebuilt.names += filling.names(&index, &tags.collect())?;
        }
    }
    Ok(rebuilt)
}

struct Filling<'a> {
    state: &'a State,
    store: &'a Repository,
    signers: Signers,
    known: &'a BTreeMap<StatementId, Envelope>,
}

impl Filling<'_> {
    fn head(
        &self,
        line: &Line,
        to: Head,
        of: (&Envelope, Timestamp),
        positions: &[Position],
    ) -> Result<(), Error> {
        let (envelope, created) = of;
        let from = self.state.head(line)?;
        self.state.advance(&Advance { line, from, to, envelope, positions }, created)?;
        Ok(())
    }

    fn identities(&self) -> Result<u64, Error> {
        let mut heads = 0;
        for chain in self.signers.chains() {
            let newest = chain.head();
            let to = Head { n: newest.n, id: newest.id() };
            self.head(&Line::Identity(chain.id()), to, (newest.envelope(), newest.created), &[])?;
            heads += 1;
        }
        Ok(heads)
    }

    fn index(&self, id: StatementId) -> Result<Option<IndexHead>, Error> {
        let Some(envelope) = self.known.get(&id) else { return Ok(None) };
        let verified = self.signers.verify::<IndexHead>(envelope, "index", |index| index.repository.owner);
        let Some(index) = verified else { return Ok(None) };
        let line = Line::Index(index.repository.clone());
        self.head(&line, Head { n: index.n, id }, (envelope, index.created), &[])?;
        Ok(Some(index.document().clone()))
    }

    /// Of each log the newest entry that is here, and those before it as far as there is no gap.
    fn logs(&self) -> Result<u64, Error> {
        let mut logs: BTreeMap<(String, String, String), BTreeMap<u64, Verified<Entry>>> = BTreeMap::new();
        for envelope in self.known.values() {
            let verified = self.signers.verify::<Entry>(envelope, "release", |entry| entry.signer);
            let Some(entry) = verified else { continue };
            let key = (entry.owner.to_hex(), entry.name.to_string(), entry.signer.to_hex());
            logs.entry(key).or_default().insert(entry.seq, entry);
        }
        for entries in logs.values() {
            let Some(newest) = entries.values().next_back() else { continue };
            let (owner, name, signer) = (newest.owner, newest.name.clone(), newest.signer);
            let run =
                entries.values().rev().zip(0..).take_while(|(entry, back)| entry.seq + back == newest.seq);
            let positions: Vec<Position> = run.map(|(entry, _)| Position::of(entry)).collect();
            let to = Head { n: newest.seq, id: newest.id() };
            let line = Line::Log(Log { owner, name, signer });
            self.head(&line, to, (newest.envelope(), newest.created), &positions)?;
        }
        Ok(logs.len() as u64)
    }

    /// Pins the names that were in use: those of which a version is tagged.
    fn names(&self, index: &IndexHead, tags: &BTreeSet<&str>) -> Result<u64, Error> {
        let Ok(opened) = Index::open(self.store.store(), index.root) else { return Ok(0) };
        let mut pinned = 0;
        for name in opened.names() {
            let Ok(Some(record)) = opened.record(&name) else { continue };
            let prefix = format!("{}/{}/", record.owner.to_hex(), name.to_component());
            if tags.iter().any(|tag| tag.starts_with(&prefix)) {
                let (repository, since) = (index.repository.clone(), index.created);
                self.state.pin_package(&PackagePin { name, repository, owner: record.owner, since })?;
                pinned += 1;
            }
        }
        Ok(pinned)
    }
}
