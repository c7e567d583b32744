//! Checkpoints: up to which entry of each log something that ended still counts.
//!
//! Known heads come from the ledger (what this machine signed), from the refs of the user's store (what
//! was fetched and judged), and from repositories that the caller names. An entry counts as a signer's
//! only if a release role of theirs signed it.

use super::{own_statement, read_chain, try_chain};
use crate::error::Error;
use crate::ledger::Ledger;
use crate::session::Session;
use objects::id::{IdentityId, StatementId};
use objects::identity::Chain;
use objects::name::PackageName;
use objects::release::{Entry, LogHead};
use objects::repository::Repository;
use objects::signed::{Envelope, Kind};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

/// The last good entry of a package, as a user names it: `hello=3`, or `hello=none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoodUntil {
    /// Of which package.
    pub name: PackageName,
    /// Its number; None if no entry is good.
    pub seq: Option<u64>,
}

impl FromStr for GoodUntil {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fault = || format!("{text:?} is not PACKAGE=NUMBER or PACKAGE=none");
        let (name, seq) = text.split_once('=').ok_or_else(fault)?;
        let name = name.parse().map_err(|error: objects::name::Error| error.to_string())?;
        let seq = if seq == "none" { None } else { Some(seq.parse().map_err(|_| fault())?) };
        Ok(GoodUntil { name, seq })
    }
}

/// Which heads a checkpoint is made of.
pub(super) struct Wanted<'a> {
    /// Whose logs.
    pub(super) signer: IdentityId,
    /// Of whose packages; None for everybody's.
    pub(super) owner: Option<IdentityId>,
    /// Repositories that may know more than the user's store.
    pub(super) repositories: &'a [PathBuf],
    /// True to take only what this machine signed itself: for a key that a thief has.
    pub(super) own_only: bool,
    /// What a person knows better.
    pub(super) good_until: &'a [GoodUntil],
}

type Heads = BTreeMap<(IdentityId, PackageName), (u64, StatementId)>;

struct Places<'a> {
    session: &'a Session,
    repositories: Vec<Repository>,
    chain: Chain,
}

/// The checkpoint.
///
/// # Errors
/// `NotFound` for a package or an entry in `good_until` that this machine does not know.
pub(super) fn make(session: &Session, wanted: &Wanted<'_>) -> Result<Vec<LogHead>, Error> {
    let repositories = wanted.repositories.iter().map(|path| Repository::open(path));
    let repositories = repositories.collect::<Result<Vec<_>, _>>()?;
    let Some(chain) = signer_chain(session, wanted.signer, &repositories)? else {
        return Ok(Vec::new()); // nothing of theirs is known here
    };
    let places = Places { session, repositories, chain };
    let all = places.heads(wanted)?;
    let mut heads = if wanted.own_only { places.own_heads(wanted)? } else { all.clone() };
    for good in wanted.good_until {
        let known = all.iter().find(|((_, name), _)| *name == good.name);
        let ((owner, name), (_, head)) = known.ok_or_else(|| {
            Error::not_found(
                format!("a log of {} by {}", good.name, wanted.signer.nick()),
                "name the repository that has it with --to REPO",
            )
        })?;
        let key = (*owner, name.clone());
        match good.seq {
            None => drop(heads.remove(&key)),
            Some(seq) => drop(heads.insert(key, (seq, places.entry_at(*head, seq, &good.name)?))),
        }
    }
    let head = |((owner, name), (seq, entry))| LogHead { owner, name, signer: wanted.signer, seq, entry };
    Ok(heads.into_iter().map(head).collect())
}

fn signer_chain(
    session: &Session,
    signer: IdentityId,
    repositories: &[Repository],
) -> Result<Option<Chain>, Error> {
    let mut best = try_chain(session, signer)?;
    for repository in repositories {
        let found = read_chain(repository, signer)?;
        let is_newer = |found: &Chain| best.as_ref().is_none_or(|best| best.head().n < found.head().n);
        best = found.filter(is_newer).or(best);
    }
    Ok(best)
}

impl Places<'_> {
    fn heads(&self, wanted: &Wanted<'_>) -> Result<Heads, Error> {
        let mut heads = self.own_heads(wanted)?;
        let store: &Repository = self.session.store()?;
        for repository in self.repositories.iter().chain([store]) {
            for (name, id) in repository.refs().survey()?.refs {
                let is_log = name.as_str().starts_with("refs/packages/");
                if is_log && name.as_str().ends_with(&wanted.signer.to_hex()) {
                    let envelope = repository.statements().try_find(id)?;
                    self.take(&mut heads, envelope, wanted);
                }
            }
        }
        Ok(heads)
    }

    fn own_heads(&self, wanted: &Wanted<'_>) -> Result<Heads, Error> {
        let mut heads = Heads::new();
        for envelope in Ledger::open(self.session.state()?)?.newest()? {
            self.take(&mut heads, Some(envelope), wanted);
        }
        Ok(heads)
    }

    fn take(&self, heads: &mut Heads, envelope: Option<Envelope>, wanted: &Wanted<'_>) {
        let Some(entry) = envelope.and_then(|envelope| self.verified(envelope)) else { return };
        let (id, entry) = entry;
        if entry.signer != wanted.signer || wanted.owner.is_some_and(|owner| owner != entry.owner) {
            return;
        }
        let head = heads.entry((entry.owner, entry.name)).or_insert((entry.seq, id));
        if head.0 < entry.seq {
            *head = (entry.seq, id);
        }
    }

    /// An entry that the signer signed.
    fn verified(&self, envelope: Envelope) -> Option<(StatementId, Entry)> {
        if envelope.kind() != Kind::Entry {
            return None;
        }
        let signed = envelope.typed::<Entry>().ok()?;
        let verified = self.chain.verify_by_any(&signed, "release").ok()?;
        Some((verified.id(), verified.document().clone()))
    }

    /// The entry with number `seq` of the log that ends with `head`.
    fn entry_at(&self, head: StatementId, seq: u64, name: &PackageName) -> Result<StatementId, Error> {
        let missing = || {
            let hint = "`pkg log` shows which there are; name the repository that has it with --to REPO";
            Error::not_found(format!("entry {seq} of {name}"), hint)
        };
        let mut at = head;
        loop {
            let (_, entry) = self.find(at)?.and_then(|found| self.verified(found)).ok_or_else(missing)?;
            if entry.seq == seq {
                return Ok(at);
            }
            at = entry.prev.filter(|_| entry.seq > seq).ok_or_else(missing)?;
        }
    }

    fn find(&self, id: StatementId) -> Result<Option<Envelope>, Error> {
        if let Some(found) = own_statement(self.session, id)? {
            return Ok(Some(found));
        }
        for repository in &self.repositories {
            if let Some(found) = repository.statements().try_find(id)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}
