//! One version of a package: steps 11 to 16, and whose a name is.

use super::error::{At, Error};
use super::judge::{Judge, ROOT, verify_by_present};
use super::path::{self, Places, Step};
use super::repository::Accepted;
use super::state::{Line, Log, PackagePin};
use super::statements::{Statements, find};
use super::{Trusted, log};
use objects::claim::{Mark, PackageRecord, VersionRow};
use objects::id::IdentityId;
use objects::identity::Chain;
use objects::release::{Action, Entry};
use objects::signed::{Kind, Signed, Verified};

/// A release that may be installed, and by whose word.
#[derive(Clone, Debug)]
pub struct Authorised {
    /// The entry that released it.
    pub entry: Trusted<Entry>,
    /// Who signed it.
    pub signer: Chain,
    /// The grants from the owner to the signer; none if the owner signed.
    pub path: Vec<Step>,
}

/// How a name stands on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameUse {
    /// Pinned to this owner.
    Known,
    /// Not used before: the caller shows owner, distributor and date.
    First,
}

impl Judge<'_> {
    /// Whether a record's name leads to the owner it led to before, in this repository and in any
    /// other. Asked before anything of the package is fetched (SEC-063). Pins nothing.
    ///
    /// # Errors
    /// `OwnerChanged` if it leads to another identity.
    pub fn accept_name(
        &self,
        accepted: &Accepted,
        record: &PackageRecord,
        origin: &str,
    ) -> Result<NameUse, Error> {
        let pins = self.state.package(&record.name)?;
        // A pin of this very repository decides: a person may have let two repositories differ.
        let here = pins.iter().find(|pin| pin.repository == accepted.index.repository);
        let known = here.or_else(|| pins.iter().find(|pin| pin.owner == record.owner)).or(pins.first());
        match known {
            None => Ok(NameUse::First),
            Some(pin) if pin.owner == record.owner => Ok(NameUse::Known),
            Some(pin) => Err(Error::OwnerChanged {
                origin: origin.to_owned(),
                name: record.name.clone(),
                pinned: pin.owner,
                offered: record.owner,
            }),
        }
    }

    /// The entry by which `from` handed the package to `to`, signed by the present root of both; None if the
    /// record names none. It moves no pin: that takes a person's word besides (SEC-072).
    ///
    /// # Errors
    /// `Scope` if the entry is of another package or between others; `Signed` or `Withdrawn` unless both
    /// roots signed it; `Missing` if it cannot be had.
    pub fn handed_on(
        &self,
        record: &PackageRecord,
        from: &Chain,
        to: &Chain,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Option<Verified<Entry>>, Error> {
        let Some(id) = record.transfer else { return Ok(None) };
        let at = |step| At::new(step, Kind::Entry, id, origin);
        let signed: Signed<Entry> = find(statements, id, 13, origin)?;
        let entry = verify_by_present(&signed, from, &ROOT, || at(13))?;
        verify_by_present(&signed, to, &ROOT, || at(13))?;
        self.check_dated(entry.created, || at(1))?;
        let is_this = entry.owner == from.id() && entry.name == record.name && record.owner == to.id();
        if !is_this || entry.action != (Action::Transfer { to: to.id() }) {
            return Err(Error::Scope { at: at(14), why: "it hands another package on, or to somebody else" });
        }
        Ok(Some(entry))
    }

    /// Judges one version of a record of an accepted index. `owner` is the chain of the record's
    /// owner, from [`Judge::identity`]. Pins the name on first use, and keeps what was learned of
    /// the log, before it returns.
    ///
    /// # Errors
    /// `OwnerChanged` as [`Judge::accept_name`]; `Scope` for an entry of another package; `NoGrant` or
    /// `OutOfTime` if the owner does not let its signer act for it; `Signed` or `Withdrawn` if it
    /// is not signed as its log asks; `Rollback` if the log ends before what is known; `Fork` if
    /// the log has two entries in one place; `Altered` if the index says of the release what its
    /// author did not sign; `TwoTrees`; `Policy` as the user's rules say.
    pub fn accept_release(
        &self,
        accepted: &Accepted,
        record: &PackageRecord,
        row: &VersionRow,
        owner: &Chain,
        places: Places<'_>,
    ) -> Result<Authorised, Error> {
        let at = |step| At::new(step, Kind::Entry, row.entry, places.origin);
        self.accept_name(accepted, record, places.origin)?;
        if record.owner != owner.id() {
            return Err(Error::Scope { at: at(14), why: "the identity at hand does not own the package" });
        }
        let signer = self.signer(row.signer, owner, places)?;
        let log = Log { owner: record.owner, name: record.name.clone(), signer: row.signer };
        let listed = record.log(&row.signer);
        let listed =
            listed.ok_or_else(|| Error::Mismatch { at: at(14), why: "the index lists no log for it" })?;
        let Places { statements, origin, .. } = places;
        let source = log::Source { log: &log, signer: &signer, statements, origin };
        let entry = log::entry(self, &source, listed, row)?;
        let when = row.listed.min(accepted.index.created); // nothing is listed after the index was made
        let path = path::of_entry(self, owner, &entry, &log, when, places)?;
        self.agrees(&entry, row, &log, origin)?;
        let withdrawn = self.withdrawn(record, row, owner, &log, places)?;
        self.allowed(accepted, &entry, row, withdrawn, origin)?;
        self.pin(accepted, record)?;
        self.state.note_time(entry.created)?;
        Ok(Authorised { entry: Trusted(entry), signer, path })
    }

    fn signer(&self, id: IdentityId, owner: &Chain, places: Places<'_>) -> Result<Chain, Error> {
        if id == owner.id() {
            return Ok(owner.clone());
        }
        let row = places.directory.identity(id)?;
        self.identity(id, row.as_ref(), places.statements, places.origin)
    }

    /// The reason, if the author or the owner withdrew the version. The owner's whole log counts, for it is
    /// not ordered with a delegate's.
    fn withdrawn(
        &self,
        record: &PackageRecord,
        row: &VersionRow,
        owner: &Chain,
        log: &Log,
        places: Places<'_>,
    ) -> Result<Option<String>, Error> {
        let version = &row.release.version;
        let by_signer = self.state.withdrawn(log, version, Some(row.seq))?;
        let (true, Some(listed)) = (by_signer.is_none() && log.signer != log.owner, record.log(&log.owner))
        else {
            return Ok(by_signer);
        };
        let owners = Log { signer: log.owner, ..log.clone() };
        let Places { statements, origin, .. } = places;
        log::follow(self, &log::Source { log: &owners, signer: owner, statements, origin }, listed)?;
        Ok(self.state.withdrawn(&owners, version, None)?)
    }

    /// The distributor's row says what the author signed, and so does every other signer (step 15).
    fn agrees(
        &self,
        entry: &Verified<Entry>,
        row: &VersionRow,
        log: &Log,
        origin: &str,
    ) -> Result<(), Error> {
        let at = |step| At::new(step, Kind::Entry, entry.id(), origin);
        let version = || row.release.version.to_string();
        if entry.release() != Some(&row.release) {
            return Err(Error::Altered { at: at(14), version: version() });
        }
        let trees = self.state.trees(log.owner, &log.name, &row.release.version)?;
        if trees.iter().any(|tree| *tree != row.release.tree) {
            return Err(Error::TwoTrees { at: at(15), version: version() });
        }
        Ok(())
    }

    /// Step 16. What the author withdrew in the log counts whether or not the index repeats it.
    fn allowed(
        &self,
        accepted: &Accepted,
        entry: &Verified<Entry>,
        row: &VersionRow,
        withdrawn: Option<String>,
        origin: &str,
    ) -> Result<(), Error> {
        let refusal = |why| Error::Policy { at: At::new(16, Kind::Entry, entry.id(), origin), why };
        if let Some(reason) = withdrawn.filter(|_| !self.policy.allow_yanked) {
            return Err(refusal(format!("its author withdrew it: {reason}")));
        }
        if let Some(why) = row.mark.as_ref().and_then(|mark| self.refused_mark(mark)) {
            return Err(refusal(why));
        }
        let age = self.effective.since(row.listed);
        if age < self.policy.min_age_seconds {
            let (distributor, min) = (accepted.index.repository.owner.nick(), self.policy.min_age_seconds);
            return Err(refusal(format!("{distributor} lists it since {age} seconds, {min} are asked for")));
        }
        Ok(())
    }

    fn refused_mark(&self, mark: &Mark) -> Option<String> {
        match mark {
            Mark::Yanked { reason } if !self.policy.allow_yanked => {
                Some(format!("it was withdrawn: {reason}"))
            }
            Mark::Forbidden { reason } if !self.policy.allow_forbidden => {
                Some(format!("the distributor forbids it: {reason}"))
            }
            Mark::Malicious { reason } if !self.policy.allow_malicious => {
                Some(format!("the distributor warns of it: {reason}"))
            }
            Mark::Yanked { .. } | Mark::Forbidden { .. } | Mark::Malicious { .. } | Mark::Retired { .. } => {
                None
            }
        }
    }

    fn pin(&self, accepted: &Accepted, record: &PackageRecord) -> Result<(), Error> {
        let repository = &accepted.index.repository;
        if self.state.package(&record.name)?.iter().any(|pin| pin.repository == *repository) {
            return Ok(());
        }
        let (name, repository) = (record.name.clone(), repository.clone());
        let pin = PackagePin { name, repository, owner: record.owner, since: self.now };
        Ok(self.state.pin_package(&pin)?)
    }

    /// Refuses entries from `n` on if the log is known to fork at or before it.
    pub(super) fn not_forked(&self, log: &Log, seq: u64, at: impl Fn() -> Box<At>) -> Result<(), Error> {
        match self.state.forked_from(&Line::Log(log.clone()))?.filter(|n| *n <= seq) {
            Some(n) => Err(Error::Fork { at: at(), n }),
            None => Ok(()),
        }
    }
}
