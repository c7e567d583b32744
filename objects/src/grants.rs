//! Grants: what an identity lets other identities do for its packages.
//!
//! A grant points at an identity, not at a key, so that a delegate changes keys without the owner. The
//! grants of an issuer are one document that replaces the one before; those that ended stay in it, with
//! the checkpoint up to which they count, for what was signed under them is still installed.
//!
//! Promises: a decoded document is within its bounds; no grant is live and ended at once.
//! Leaves to others: the search for a path of grants, and what of it counts (`plumbing::trust`).
//!
//! Follows the delegations of The Update Framework (TUF 1.0, section 4.5), with identities in the place
//! of keys.

use crate::codec::{self, Error as FormatError};
use crate::id::{GrantId, IdentityId, ObjectId, StatementId};
use crate::limits::{GRANT_DEPTH_MAX, GRANTS_MAX, PATTERNS_MAX, STATEMENT_ROWS_MAX};
use crate::name::PackageName;
use crate::pattern::NamePattern;
use crate::release::{Action, LogHead};
use crate::signed::{Document, Kind};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// What a grant lets its receiver do. Handing a package on is nobody's but its owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Permission {
    /// Publish versions.
    Release,
    /// Withdraw versions, and take that back.
    Yank,
}

impl Permission {
    /// All of them.
    pub const ALL: [Permission; 2] = [Permission::Release, Permission::Yank];

    /// What an entry needs, or None if no grant allows it.
    pub fn needed(action: &Action) -> Option<Permission> {
        match action {
            Action::Release(_) => Some(Permission::Release),
            Action::Yank { .. } | Action::Unyank { .. } => Some(Permission::Yank),
            Action::Transfer { .. } => None,
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Permission::Release => "release",
            Permission::Yank => "yank",
        })
    }
}

impl FromStr for Permission {
    type Err = FormatError;
    fn from_str(text: &str) -> Result<Self, FormatError> {
        let found = Permission::ALL.into_iter().find(|permission| permission.to_string() == text);
        found.ok_or_else(|| FormatError::malformed("permission", "it is neither `release` nor `yank`"))
    }
}

/// The terms on which one identity acts for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who may act.
    pub to: IdentityId,
    /// For which names.
    pub names: Vec<NamePattern>,
    /// What they may do.
    pub permissions: BTreeSet<Permission>,
    /// How many grants may follow this one on a path: 0 if the receiver may not pass it on.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub depth: u32,
    /// True if a search that this grant fits looks no further than beneath it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminating: bool,
    /// From when on.
    pub from: Timestamp,
    /// Until when; no end if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Grant {
    /// The grant's id, as `issuer` gives it. The same terms given twice are one grant.
    pub fn id(&self, issuer: IdentityId) -> GrantId {
        GrantId::new(ObjectId::of(&codec::encode(&("grant/1", issuer, self))))
    }

    /// True if it is for `name` and allows `permission`.
    pub fn fits(&self, name: &PackageName, permission: Permission) -> bool {
        self.permissions.contains(&permission) && self.names.iter().any(|pattern| pattern.matches(name))
    }

    /// True if `time` is inside its window.
    pub fn covers(&self, time: Timestamp) -> bool {
        self.from <= time && self.until.is_none_or(|until| time < until)
    }

    fn check(&self) -> Result<(), FormatError> {
        let fault = |why: &str| Err(FormatError::malformed("grant", why));
        if self.names.is_empty() || self.permissions.is_empty() {
            return fault("it is for no name, or allows nothing");
        }
        if self.names.len() > PATTERNS_MAX {
            return fault("it has more than 64 patterns of names");
        }
        if self.depth as usize >= GRANT_DEPTH_MAX {
            return fault("a path has at most 4 grants");
        }
        if self.until.is_some_and(|until| until <= self.from) {
            return fault("it ends before it begins");
        }
        Ok(())
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the form serde asks for")]
fn is_zero(depth: &u32) -> bool {
    *depth == 0
}

/// A grant that counts no longer, but for what the checkpoint covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Its terms.
    pub grant: Grant,
    /// The heads of the receiver's logs up to which it counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoint: Vec<LogHead>,
}

/// All that one identity grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grants {
    /// Who grants.
    pub issuer: IdentityId,
    /// The number of the issuer's document whose admin role signs.
    pub issuer_n: u64,
    /// The number of this document, from 0.
    pub n: u64,
    /// The document before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<StatementId>,
    /// What counts, in the order in which a search follows it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// What ended. Only grows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ended: Vec<Ended>,
    /// When it was signed.
    pub created: Timestamp,
}

impl Grants {
    /// True if all that `older` ended is ended here too, on the same terms and with the same checkpoint.
    pub fn keeps_ended(&self, older: &Grants) -> bool {
        older.ended.iter().all(|ended| self.ended.contains(ended))
    }
}

impl Document for Grants {
    const KIND: Kind = Kind::Grants;

    fn check(&self) -> Result<(), FormatError> {
        let fault = |why: &str| Err(FormatError::malformed("grants", why));
        if (self.n == 0) != self.prev.is_none() {
            return fault("the first document, and only it, has no previous one");
        }
        let all = || self.grants.iter().chain(self.ended.iter().map(|ended| &ended.grant));
        if all().count() > GRANTS_MAX {
            let (bytes, bytes_max) = (all().count(), GRANTS_MAX);
            return Err(FormatError::TooLong { what: "list of grants", bytes, bytes_max });
        }
        let heads: usize = self.ended.iter().map(|ended| ended.checkpoint.len()).sum();
        if heads > STATEMENT_ROWS_MAX {
            return fault("its checkpoints are too long");
        }
        let distinct: BTreeSet<GrantId> = all().map(|grant| grant.id(self.issuer)).collect();
        if distinct.len() != all().count() {
            return fault("a grant stands in it twice");
        }
        all().try_for_each(Grant::check)
    }
}
