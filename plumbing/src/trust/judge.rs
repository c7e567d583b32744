//! The judge: one command's view of time, and what all steps share.
//!
//! The steps themselves: `repository.rs` (1 to 5), `chain.rs` (6 to 9), `grants.rs` (10), `path.rs`
//! (11 and 12), `release.rs` and `log.rs` (13 to 16).

use super::error::{At, Error};
use super::policy::{Age, Policy};
use super::state::{Line, Sighting, State};
use super::withdrawn;
use objects::identity::{Chain, Identity, Role};
use objects::signed::{Document, Envelope, Signed, Verified};
use objects::time::Timestamp;
use std::sync::{Mutex, PoisonError};

/// How far ahead of the local clock a document may be dated (step 1), in seconds.
const AHEAD_SECONDS_MAX: u64 = 600;
/// The highest number of a statement that is followed: what the state can hold. Nobody counts so
/// far by ones; a thief may jump there.
pub(super) const NUMBER_MAX: u64 = i64::MAX as u64;

/// Holds what arrives against what this machine believes and its user allows.
pub struct Judge<'a> {
    pub(super) state: &'a State,
    pub(super) policy: &'a Policy,
    /// The local clock.
    pub(super) now: Timestamp,
    /// The later of the local clock and the last known time.
    pub(super) effective: Timestamp,
    warnings: Mutex<Vec<String>>,
}

/// One of an identity's roles: from a document, the role and its name.
#[derive(Clone, Copy)]
pub(super) struct Office {
    pub(super) of: fn(&Identity) -> &Role,
    pub(super) name: &'static str,
}

pub(super) const RELEASE: Office = Office { of: |identity| &identity.roles.release, name: "release" };
pub(super) const ROOT: Office = Office { of: |identity| &identity.roles.root, name: "root" };
pub(super) const ADMIN: Office = Office { of: |identity| &identity.roles.admin, name: "admin" };
pub(super) const INDEX: Office = Office { of: |identity| &identity.roles.index, name: "index" };
pub(super) const BEACON: Office = Office { of: |identity| &identity.roles.beacon, name: "beacon" };

impl<'a> Judge<'a> {
    /// A judge for one command; `now` is the local clock, read once (step 1).
    ///
    /// # Errors
    /// If the state cannot be read.
    pub fn new(state: &'a State, policy: &'a Policy, now: Timestamp) -> Result<Judge<'a>, Error> {
        let effective = now.max(state.last_known()?);
        Ok(Judge { state, policy, now, effective, warnings: Mutex::default() })
    }

    /// The time by which expiry and age are judged.
    pub fn effective_time(&self) -> Timestamp {
        self.effective
    }

    /// What the user should be told of the identities judged since the last call.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn warn(&self, warning: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Step 1: refuses what is dated too far ahead of the local clock.
    pub(super) fn check_dated(&self, created: Timestamp, at: impl Fn() -> Box<At>) -> Result<(), Error> {
        if created > self.now.after(AHEAD_SECONDS_MAX) {
            return Err(Error::Future { at: at(), created, now: self.now });
        }
        Ok(())
    }

    /// The time a document says it was made, or none to speak of if that is too far ahead: a log may hold
    /// an entry by somebody whose clock was wrong, and must not move the last known time there (SEC-062).
    pub(super) fn not_ahead(&self, created: Timestamp) -> Timestamp {
        if created > self.now.after(AHEAD_SECONDS_MAX) { Timestamp::EPOCH } else { created }
    }

    /// How a document that counts until `expires` stands now, by the freshness rule.
    pub(super) fn age(&self, expires: Timestamp) -> Age {
        self.policy.freshness.judge(expires, self.effective)
    }

    /// Keeps two statements of `line` with one number as evidence. Returns the refusal.
    pub(super) fn fork(
        &self,
        (line, n): (&Line, u64),
        ours: &Envelope,
        theirs: &Envelope,
        at: Box<At>,
    ) -> Result<Error, Error> {
        let (origin, seen) = (at.origin.as_str(), self.now);
        self.state.record_fork(&Sighting { line, n, ours, theirs, origin, seen })?;
        Ok(Error::Fork { at, n })
    }
}

/// Checks `signed` against an office of the newest document, without withdrawn keys.
pub(super) fn verify_by_present<T: Document>(
    signed: &Signed<T>,
    chain: &Chain,
    office: &Office,
    at: impl Fn() -> Box<At>,
) -> Result<Verified<T>, Error> {
    let newest = chain.head();
    let role = withdrawn::present((office.of)(newest), newest);
    let role = role.ok_or_else(|| Error::Withdrawn { at: at() })?;
    signed.verify(&role, office.name).map_err(|source| Error::signed(at(), source))
}

/// Checks `signed` against an office of any document, newest first: for what was signed long ago.
pub(super) fn verify_by_any<T: Document>(
    signed: &Signed<T>,
    chain: &Chain,
    office: &Office,
    at: impl Fn() -> Box<At>,
) -> Result<Verified<T>, Error> {
    chain.verify_by_any(signed, office.name).map_err(|source| Error::signed(at(), source))
}
