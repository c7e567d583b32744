//! What distributors say: which index is theirs, and that it is the newest.
//!
//! The index itself is a tree of objects like any other (DESIGN 7); the signed [`Index`] names its
//! root. [`PackageRecord`] is the content of one file in it.
//!
//! Promises: decoded statements are within their bounds.
//! Leaves to others: freshness, rollback and forks (`plumbing::trust`); the tree (`plumbing::index`).

use crate::codec::{self, Error as FormatError};
use crate::id::{IdentityId, StatementId, TreeId};
use crate::limits::{NAME_BYTES_MAX, OBJECT_BYTES_MAX};
use crate::name::PackageName;
use crate::release::Release;
use crate::signed::{Document, Kind};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A repository: who signs its index, and which of theirs it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repository {
    /// Who signs its index.
    pub owner: IdentityId,
    /// Which of theirs; `main` unless they have several.
    pub name: String,
}

impl Repository {
    fn check(&self, what: &'static str) -> Result<(), FormatError> {
        let fits = (1..=NAME_BYTES_MAX).contains(&self.name.len());
        if fits && self.name.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(());
        }
        Err(FormatError::malformed(what, "its repository's name is empty, too long or not plain ASCII"))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner.nick(), self.name)
    }
}

/// The signed head of a repository's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// Which repository.
    pub repository: Repository,
    /// The number, from 0.
    pub n: u64,
    /// The index before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<StatementId>,
    /// The indexes n-2, n-4, n-8, … as far as they exist: so that an old head is found in few steps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<StatementId>,
    /// The map: `packages/`, `identities/`, `grants/`, and in time `notes/`.
    pub root: TreeId,
    /// Bytes of all files in the map.
    pub size: u64,
    /// How many entries the map has.
    pub files: u64,
    /// When it was signed.
    pub created: Timestamp,
    /// From when on it must not be used without saying so.
    pub expires: Timestamp,
}

impl Document for Index {
    const KIND: Kind = Kind::Index;

    fn check(&self) -> Result<(), FormatError> {
        self.repository.check("index")?;
        if (self.n == 0) != self.prev.is_none() {
            return Err(FormatError::malformed("index", "the first index, and only it, has no previous one"));
        }
        if self.skips.len() != skip_distances(self.n).count() {
            return Err(FormatError::malformed("index", "its skip links do not fit its number"));
        }
        Ok(())
    }
}

/// The distances of the skip links of index `n`: 2, 4, 8, … up to `n`.
pub fn skip_distances(n: u64) -> impl Iterator<Item = u64> {
    (1..64).map(|power| 1u64 << power).take_while(move |distance| *distance <= n)
}

/// A short-lived word that an index is the newest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beacon {
    /// Which repository.
    pub repository: Repository,
    /// The number of its newest index.
    pub n: u64,
    /// Its newest index.
    pub index: StatementId,
    /// When it was signed.
    pub created: Timestamp,
    /// Until when it is believed.
    pub expires: Timestamp,
}

impl Document for Beacon {
    const KIND: Kind = Kind::Beacon;

    fn check(&self) -> Result<(), FormatError> {
        self.repository.check("beacon")
    }
}

/// Why a version is not to be chosen, as an index tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mark {
    /// Withdrawn by its author.
    Yanked {
        /// Why.
        reason: String,
    },
    /// No longer kept up (G-18).
    Retired {
        /// What to use instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<PackageName>,
    },
    /// No new installs (G-16).
    Forbidden {
        /// Why.
        reason: String,
    },
    /// Warned of (G-24).
    Malicious {
        /// Why.
        reason: String,
    },
}

/// The newest entry of one signer's log for a package, and when the index first listed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogRow {
    /// Who signs the log.
    pub signer: IdentityId,
    /// The newest number.
    pub seq: u64,
    /// The newest entry.
    pub entry: StatementId,
    /// When the index first listed it.
    pub listed: Timestamp,
}

/// One version, as a resolver and a reader need it. The entry says the same, signed by the author;
/// what is installed is checked against that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRow {
    /// The entry that released it.
    pub entry: StatementId,
    /// Who signed it.
    pub signer: IdentityId,
    /// Its number in the signer's log.
    pub seq: u64,
    /// When the index first listed it.
    pub listed: Timestamp,
    /// Why not to choose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// What it is.
    pub release: Release,
}

/// All an index knows of one package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageRecord {
    /// Its name.
    pub name: PackageName,
    /// Whose it is.
    pub owner: IdentityId,
    /// The entry by which the owner before handed it to this one, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transfer: Option<StatementId>,
    /// The heads of its logs.
    pub logs: Vec<LogRow>,
    /// Its versions, oldest first.
    pub versions: Vec<VersionRow>,
}

impl PackageRecord {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `E-FORMAT` or `E-LIMIT`; versions have to be in order and distinct.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let record: PackageRecord = codec::decode("package record", bytes, OBJECT_BYTES_MAX)?;
        let sorted = record.versions.windows(2).all(|pair| pair[0].release.version < pair[1].release.version);
        if !sorted {
            return Err(FormatError::malformed("package record", "its versions are doubled or out of order"));
        }
        Ok(record)
    }

    /// The log head of `signer`.
    pub fn log(&self, signer: &IdentityId) -> Option<&LogRow> {
        self.logs.iter().find(|row| row.signer == *signer)
    }
}

/// Declares a row that names the newest of a line of documents.
macro_rules! document_row {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Its number.
            pub n: u64,
            /// Its statement.
            pub document: StatementId,
        }

        impl $name {
            /// The canonical bytes.
            pub fn encode(&self) -> Vec<u8> {
                codec::encode(self)
            }

            /// Reads a row.
            ///
            /// # Errors
            /// `E-FORMAT`.
            pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
                codec::decode($what, bytes, 256)
            }
        }
    };
}

document_row!(
    /// The newest document of one identity, as an index names it.
    IdentityRow,
    "identity row"
);
document_row!(
    /// The newest grants of one identity, as an index names them.
    GrantsRow,
    "grants row"
);
