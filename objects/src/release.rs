//! Releases, and the log entries that carry them.
//!
//! Every package has one log per signer: entries numbered from 0, each naming the one before. A
//! release is an entry; so are withdrawing one and handing the package on (THREATS 1.3).
//!
//! Promises: a decoded entry is within its bounds and its position in the log is consistent.
//! Leaves to others: whether the signer may act for the package (`plumbing::trust`).

use crate::codec::Error as FormatError;
use crate::id::{GrantId, IdentityId, ObjectId, StatementId, TreeId};
use crate::limits::{RELEASE_FILES_MAX, STATEMENT_ROWS_MAX, TEXT_BYTES_MAX};
use crate::name::PackageName;
use crate::signed::{Document, Kind};
use crate::time::Timestamp;
use crate::version::{Channel, Requirement, Version};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A SHA-256 digest: of a release's canonical archive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return Ok(Sha256(serde_bytes::ByteArray::<32>::deserialize(deserializer)?.into_array()));
        }
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("sha256:").unwrap_or(&text);
        hex::decode_to_slice(digits, &mut bytes).map_err(serde::de::Error::custom)?;
        Ok(Sha256(bytes))
    }
}

/// A package another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Its name.
    pub name: PackageName,
    /// Which versions do.
    pub requirement: Requirement,
    /// Whose it has to be. Without one, whose the index says it is (SEC-070).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<IdentityId>,
    /// From which channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// True if it is installed only when asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// A package that cannot stand in one environment with this one (G-19).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Its name.
    pub name: PackageName,
    /// Which versions.
    pub requirement: Requirement,
}

/// The part of a package that is for one platform (L-S2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Where it stands inside the package.
    pub path: String,
    /// Its tree.
    pub tree: TreeId,
    /// Bytes of its files.
    pub size: u64,
    /// How many entries it has.
    pub files: u64,
}

/// A person, as a manifest names them (G-17).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The e-mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The website.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a person wants to know before installing; decides nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// One paragraph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// Where the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Person>,
    /// Where a catalogue would list it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

impl About {
    fn check(&self) -> Result<(), FormatError> {
        let one = [&self.description, &self.license, &self.homepage, &self.repository];
        let persons = self.authors.iter().flat_map(|p| [Some(&p.name), p.email.as_ref(), p.url.as_ref()]);
        let lists = self.categories.iter().chain(&self.tags).map(Some);
        let mut texts = one.into_iter().map(Option::as_ref).chain(persons).chain(lists).flatten();
        if texts.any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(FormatError::malformed("release", "a text in it is longer than 4,096 bytes"));
        }
        let rows = self.authors.len() + self.categories.len() + self.tags.len();
        bounded("release", rows)
    }
}

/// One version of a package: which tree, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The version, with epoch and revision.
    pub version: Version,
    /// The channel.
    #[serde(default, skip_serializing_if = "Channel::is_default")]
    pub channel: Channel,
    /// The package's content.
    pub tree: TreeId,
    /// Bytes of all its files and links.
    pub size: u64,
    /// How many files, links and directories.
    pub files: u64,
    /// SHA-256 of the canonical archive (G-20).
    pub sha256: Sha256,
    /// Bytes of the canonical archive.
    pub archive_size: u64,
    /// What it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// What it cannot stand beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<Conflict>,
    /// Its parts by platform.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, Variant>,
    /// Scripts by occasion, with the BLAKE3 of their content, to which a user consents (G-15).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scripts: BTreeMap<String, ObjectId>,
    /// The media type of its content (O2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// The versions of `pkg` that can use it (G-14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_pkg: Option<Requirement>,
    /// True if some names in it do not suit every file system.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unportable: bool,
    /// For people.
    #[serde(default)]
    pub about: About,
}

impl Release {
    fn check(&self) -> Result<(), FormatError> {
        if self.files > RELEASE_FILES_MAX {
            let (bytes, bytes_max) = (self.files as usize, RELEASE_FILES_MAX as usize);
            return Err(FormatError::TooLong { what: "release's list of files", bytes, bytes_max });
        }
        let rows = self.dependencies.len() + self.conflicts.len() + self.variants.len() + self.scripts.len();
        bounded("release", rows)?;
        self.about.check()
    }
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Action {
    /// Publishes a version.
    Release(Box<Release>),
    /// Withdraws a version: no new installs, with the reason.
    Yank {
        /// Which.
        version: Version,
        /// Why.
        reason: String,
    },
    /// Takes a withdrawal back.
    Unyank {
        /// Which.
        version: Version,
    },
    /// Hands the package to another owner.
    Transfer {
        /// To whom.
        to: IdentityId,
    },
}

/// One row of the log of (package, signer).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Whose package.
    pub owner: IdentityId,
    /// Its name.
    pub name: PackageName,
    /// Who signs.
    pub signer: IdentityId,
    /// The number of the signer's document whose release role signs.
    pub signer_n: u64,
    /// The number in the log, from 0.
    pub seq: u64,
    /// The entry before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<StatementId>,
    /// The grants from the owner to the signer; empty if the owner signs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<GrantId>,
    /// What it does.
    pub action: Action,
    /// When it was signed.
    pub created: Timestamp,
}

impl Entry {
    /// The release, if the entry is one.
    pub fn release(&self) -> Option<&Release> {
        match &self.action {
            Action::Release(release) => Some(release),
            _ => None,
        }
    }
}

impl Document for Entry {
    const KIND: Kind = Kind::Entry;

    fn check(&self) -> Result<(), FormatError> {
        if (self.seq == 0) != self.prev.is_none() {
            return Err(FormatError::malformed("entry", "the first entry, and only it, has no previous one"));
        }
        bounded("entry", self.grants.len())?;
        match &self.action {
            Action::Release(release) => release.check(),
            Action::Yank { reason, .. } if reason.len() > TEXT_BYTES_MAX => {
                Err(FormatError::malformed("entry", "its reason is longer than 4,096 bytes"))
            }
            _ => Ok(()),
        }
    }
}

fn bounded(what: &'static str, rows: usize) -> Result<(), FormatError> {
    if rows > STATEMENT_ROWS_MAX {
        return Err(FormatError::TooLong { what, bytes: rows, bytes_max: STATEMENT_ROWS_MAX });
    }
    Ok(())
}

/// The newest entry of one log: what checkpoints and indexes name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogHead {
    /// Whose package.
    pub owner: IdentityId,
    /// Its name.
    pub name: PackageName,
    /// Who signs the log.
    pub signer: IdentityId,
    /// The newest number.
    pub seq: u64,
    /// The newest entry.
    pub entry: StatementId,
}
