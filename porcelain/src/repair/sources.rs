//! Who may have what a repository has lost: sources that were named, where it was cloned from, the user's
//! store.
//!
//! Repositories on this machine and sources that are only files are asked object by object; a peer is
//! asked for the releases that are hit.

use super::Restored;
use crate::error::Error;
use crate::event::Reporter;
use crate::remote::{BytesFrom, Remote};
use crate::session::Session;
use objects::fsck::Signers;
use objects::id::{ObjectId, StatementId};
use objects::object::Kind;
use objects::progress::Progress;
use objects::repository::Repository;
use objects::signed::Envelope;
use objects::store::pack::writer::Options as PackOptions;
use objects::summary::Summary;
use plumbing::sync::gather::{self, Give};
use plumbing::sync::{self, Source as _, Wanted};
use plumbing::transport::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Somebody to ask.
pub(super) enum Source {
    /// A repository on this machine.
    Local(Repository),
    /// Anybody else.
    Remote(Remote),
}

/// What is lost.
pub(super) struct Need<'a> {
    pub missing: &'a BTreeSet<StatementId>,
    pub lost: &'a BTreeMap<ObjectId, Kind>,
    pub trees: &'a [Wanted],
}

/// Opens those named, then where the repository came from, then the user's store. One that was named and
/// cannot be opened is an error; the others are passed over.
pub(super) fn open(
    session: &Session,
    repository: &Repository,
    named: &[String],
    reporter: &dyn Reporter,
) -> Result<Vec<Source>, Error> {
    let own = canonical(repository.root());
    let mut sources =
        named.iter().map(|address| open_one(session, address)).collect::<Result<Vec<_>, _>>()?;
    if named.is_empty() {
        for address in origins(session, repository)? {
            match open_one(session, &address) {
                Ok(source) => sources.push(source),
                Err(error) => reporter.warn(&format!("{address} is passed over: {}", error.message())),
            }
        }
    }
    let store = session.home().join("store");
    if let Ok(store) = Repository::open(&store) {
        sources.push(Source::Local(store));
    }
    let mut places = BTreeSet::from([own]);
    sources.retain(|source| match source {
        Source::Local(local) => places.insert(canonical(local.root())),
        Source::Remote(_) => true,
    });
    Ok(sources)
}

fn canonical(path: &Path) -> std::path::PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn open_one(session: &Session, address: &str) -> Result<Source, Error> {
    if let Address::Path(path) = Address::parse(address)?
        && let Ok(local) = Repository::open(&path)
    {
        return Ok(Source::Local(local));
    }
    Ok(Source::Remote(Remote::open(session, address)?))
}

/// Where a mirror was cloned from; for the user's store, every source that was ever fetched from.
fn origins(session: &Session, repository: &Repository) -> Result<Vec<String>, Error> {
    if repository.root().join("remotes.toml").exists() {
        return Ok(crate::mirror::origin(repository.root()).into_iter().collect());
    }
    let is_store = canonical(&session.home().join("store")) == canonical(repository.root());
    let has_pins = is_store && crate::rebuild::path(session.home()).exists();
    let pins = if has_pins { session.state()?.repositories()? } else { Vec::new() };
    Ok(pins.into_iter().map(|pin| pin.source).collect())
}

impl Source {
    pub fn name(&self) -> String {
        match self {
            Source::Local(local) => local.root().display().to_string(),
            Source::Remote(remote) => remote.shown(),
        }
    }

    pub fn bytes(&self) -> Option<BytesFrom> {
        match self {
            Source::Local(_) => None,
            Source::Remote(remote) => Some(remote.bytes()),
        }
    }

    fn summary(&self) -> Option<Summary> {
        match self {
            Source::Local(local) => local.summary().ok().flatten(),
            Source::Remote(remote) => remote.advertise().ok(),
        }
    }

    /// Takes what is needed and is here. A failure of the source is told beside what it gave before.
    ///
    /// # Errors
    /// If the repository refuses.
    pub fn give(
        &self,
        to: &Repository,
        need: &Need<'_>,
        summary: bool,
        options: PackOptions,
        progress: &dyn Progress,
    ) -> Result<(Restored, Option<String>), Error> {
        let mut restored = Restored::default();
        let mut failure = None;
        if !need.missing.is_empty() {
            match self.statements(need.missing) {
                Ok(found) => restored.statements = keep_statements(to, need.missing, found)?,
                Err(error) => failure = Some(error.message()),
            }
        }
        if summary && let Some(summary) = self.summary() {
            restored.summary = objects::repair::restore_summary(to, &summary)?;
        }
        if !need.lost.is_empty() {
            match self.objects(to, need, options, progress) {
                Ok(gathered) => (restored.objects, restored.object_bytes) = gathered,
                Err(error) if error.is_local() => return Err(error.into()),
                Err(error) => failure = Some(plumbing::chain(&error)),
            }
        }
        Ok((restored, failure))
    }

    fn statements(&self, wanted: &BTreeSet<StatementId>) -> Result<Vec<Envelope>, Error> {
        match self {
            Source::Local(local) => {
                Ok(wanted.iter().filter_map(|id| local.statements().try_find(*id).ok().flatten()).collect())
            }
            Source::Remote(remote) => {
                let wanted: Vec<(StatementId, u32)> = wanted.iter().map(|id| (*id, 0)).collect();
                Ok(remote.statements(&wanted)?)
            }
        }
    }

    fn objects(
        &self,
        to: &Repository,
        need: &Need<'_>,
        options: PackOptions,
        progress: &dyn Progress,
    ) -> Result<(u64, u64), sync::Error> {
        let giver = match self {
            Source::Local(local) => Some(local as &dyn Give),
            Source::Remote(remote) => remote.giver(),
        };
        match (giver, self) {
            (Some(giver), _) => {
                let gathered = gather::gather(giver, to.store(), need.lost, options, progress)?;
                Ok((gathered.objects, gathered.bytes))
            }
            (None, Source::Remote(peer)) => fetch_trees(peer, to, need.trees, progress),
            (None, Source::Local(_)) => Ok((0, 0)),
        }
    }
}

/// Has a peer complete the releases that are hit; one that it does not have does not keep it from the next.
fn fetch_trees(
    peer: &Remote,
    to: &Repository,
    trees: &[Wanted],
    progress: &dyn Progress,
) -> Result<(u64, u64), sync::Error> {
    let (mut objects, mut bytes, mut failure) = (0, 0, None);
    for wanted in trees {
        let before = to.store().packs().len();
        match sync::fetch_tree(&[peer as &dyn sync::Source], to.store(), *wanted, &[], progress) {
            Ok(fetched) => {
                objects += fetched.objects;
                bytes += fetched.bytes;
            }
            Err(error) if error.is_local() => return Err(error),
            Err(error) => {
                objects += u64::from(to.store().packs().len() > before); // part of it came
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if objects == 0 => Err(error),
        _ => Ok((objects, bytes)),
    }
}

/// Keeps those of `found` that are wanted and stand; gives how many.
pub(super) fn keep_statements(
    to: &Repository,
    wanted: &BTreeSet<StatementId>,
    found: Vec<Envelope>,
) -> Result<u64, Error> {
    let mut known = BTreeMap::new();
    for id in to.statements().list()? {
        known.extend(to.statements().try_find(id).ok().flatten().map(|envelope| (id, envelope)));
    }
    let found = found.into_iter().map(|envelope| (envelope.id(), envelope));
    let found: BTreeMap<StatementId, Envelope> = found.filter(|(id, _)| wanted.contains(id)).collect();
    known.extend(found.iter().map(|(id, envelope)| (*id, envelope.clone())));
    let signers = Signers::of(&known);
    let good: Vec<&Envelope> = found.values().filter(|envelope| signers.accept(envelope)).collect();
    to.statements().insert_all(good.iter().copied())?;
    Ok(good.len() as u64)
}
