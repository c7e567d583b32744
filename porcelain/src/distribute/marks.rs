//! Which versions of a package its logs withdraw, and the marks that say so in an index.
//!
//! A version is withdrawn by the log of its signer, after the release; by its owner's log; and by that of another
//! delegate with the permission `yank`, as far as a repository lists it. Logs are not ordered with each other:
//! each takes back what it withdrew itself.
//!
//! Promises: what an installer finds withdrawn is marked; other marks are left alone.
//! Leaves to others: refusing it (`plumbing::trust`), whatever an index says.

use super::authority;
use crate::error::Error;
use crate::session::Session;
use objects::claim::{Mark, PackageRecord, VersionRow};
use objects::grants::Permission;
use objects::id::IdentityId;
use objects::release::{Action, Entry};
use objects::repository::Repository;
use objects::version::Version;

/// The withdrawals in all logs of a package.
pub struct Withdrawals {
    owner: IdentityId,
    logs: Vec<SignerLog>,
    /// False if entries are lost: then what is marked stays marked.
    is_whole: bool,
}

struct SignerLog {
    signer: IdentityId,
    /// True if the signer may withdraw what others released.
    of_all: bool,
    /// Withdrawals and what takes them back, oldest first.
    entries: Vec<Entry>,
}

/// Why `version` is withdrawn by a log, oldest entry first, of which those after number `after` count.
pub fn standing<'e>(
    entries: impl DoubleEndedIterator<Item = &'e Entry>,
    version: &Version,
    after: Option<u64>,
) -> Option<&'e str> {
    let counting = entries.rev().filter(|entry| after.is_none_or(|after| entry.seq > after));
    let mut acts = counting.filter_map(|entry| match &entry.action {
        Action::Yank { version: of, reason } if of == version => Some(Some(reason.as_str())),
        Action::Unyank { version: of } if of == version => Some(None),
        _ => None,
    });
    acts.next().flatten()
}

impl Withdrawals {
    /// Reads the logs that `record` lists, from `repository`.
    ///
    /// # Errors
    /// If the repository cannot be read.
    pub fn read(
        session: &Session,
        repository: &Repository,
        record: &PackageRecord,
    ) -> Result<Withdrawals, Error> {
        let mut found = Withdrawals { owner: record.owner, logs: Vec::new(), is_whole: true };
        for row in &record.logs {
            let (mut entries, mut next) = (Vec::new(), Some(row.entry));
            while let Some(id) = next {
                let Some(envelope) = repository.statements().try_find(id)? else {
                    found.is_whole = false;
                    break;
                };
                let entry: Entry = envelope.peek()?;
                next = entry.prev;
                if matches!(entry.action, Action::Yank { .. } | Action::Unyank { .. }) {
                    entries.push(entry);
                }
            }
            if entries.is_empty() {
                continue;
            }
            entries.reverse();
            let of_all = may_withdraw(session, repository, record, row.signer)?;
            found.logs.push(SignerLog { signer: row.signer, of_all, entries });
        }
        Ok(found)
    }

    /// Who withdraws a version, and why.
    pub fn of(&self, row: &VersionRow) -> Option<(IdentityId, &str)> {
        let logs = self.logs.iter().filter(|log| log.of_all || log.signer == row.signer);
        let mut standing = logs.filter_map(|log| {
            let after = (log.signer == row.signer && log.signer != self.owner).then_some(row.seq);
            Some((log.signer, standing(log.entries.iter(), &row.release.version, after)?))
        });
        standing.next()
    }

    /// Marks what is withdrawn, and takes the mark from what no longer is.
    pub fn mark(&self, record: &mut PackageRecord) {
        for row in &mut record.versions {
            let reason = self.of(row).map(|(_, reason)| reason.to_owned());
            match (&row.mark, reason) {
                (None | Some(Mark::Yanked { .. }), Some(reason)) => row.mark = Some(Mark::Yanked { reason }),
                (Some(Mark::Yanked { .. }), None) if self.is_whole => row.mark = None,
                _ => {} // a warning or a refusal says more
            }
        }
    }
}

fn may_withdraw(
    session: &Session,
    repository: &Repository,
    record: &PackageRecord,
    signer: IdentityId,
) -> Result<bool, Error> {
    let between = (record.owner, signer);
    match authority::path(session, repository, between, &record.name, Permission::Yank) {
        Ok(_) => Ok(true),
        Err(Error::Refused { code: "E-SCOPE", .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
