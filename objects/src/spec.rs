//! Package specs: how a person names a package on a command line.
//!
//! ```text
//! spec    = ["id:" HEX "/"] name [("@" | "#") select]
//! select  = [channel ":"] requirement         dict@^1.2   dict#>0.1.2<0.1.5   dict#nightly:1.2
//!         | [channel ":"] version             dict#0.1.5  exactly this one; after "#" only
//!         | "blake3:" HEX | "sha256:" HEX     dict#blake3:1f0c9a3e…
//! ```
//!
//! Promises: what is parsed shows itself as a spec of the same meaning (O3 to O7, O9).
//! Leaves to others: finding what it names; a prefix of an id may fit several things.

use crate::id::{self, Prefix};
use crate::name::{self, PackageName};
use crate::version::{self, Channel, Requirement, Version};
use std::fmt;
use std::str::FromStr;

/// Longest spec, in bytes: an owner, a name and a requirement at their longest.
pub const SPEC_BYTES_MAX: usize = 2048;

/// Why a text is no package spec.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is longer than [`SPEC_BYTES_MAX`].
    #[error("a package spec of {bytes} bytes is too long; at most {SPEC_BYTES_MAX} are taken")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The name is none.
    #[error("{text:?} does not name a package")]
    Name {
        /// The spec as it came.
        text: String,
        /// What is wrong.
        source: name::Error,
    },
    /// The channel, version or requirement is none.
    #[error("{text:?} does not say which version")]
    Version {
        /// The spec as it came.
        text: String,
        /// What is wrong.
        source: version::Error,
    },
    /// The owner or content id is none.
    #[error("{text:?} holds a malformed id")]
    Id {
        /// The spec as it came.
        text: String,
        /// What is wrong.
        source: id::Error,
    },
    /// Something else is wrong.
    #[error("{text:?} is not a package spec: {why}")]
    Malformed {
        /// The spec as it came.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::TooLong { .. } => "E-LIMIT",
            Error::Name { source, .. } => source.code(),
            Error::Version { source, .. } => source.code(),
            Error::Id { .. } | Error::Malformed { .. } => "E-FORMAT",
        }
    }
}

/// A package as a person names it.
///
/// ```
/// use objects::spec::{PackageSpec, Select};
/// let spec: PackageSpec = "english-dict#nightly:1.2".parse().unwrap();
/// assert_eq!(spec.name.as_str(), "english-dict");
/// assert_eq!(spec.channel.as_ref().unwrap().as_str(), "nightly");
/// assert!(matches!(spec.select, Select::Matching(_)));
/// assert_eq!(spec.to_string(), "english-dict@nightly:1.2");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSpec {
    /// The beginning of its owner's identity. Good for finding the owner, not for trusting one.
    pub owner: Option<Prefix>,
    /// Its name.
    pub name: PackageName,
    /// The channel, if one is named; else the environment's default applies.
    pub channel: Option<Channel>,
    /// Which of its versions.
    pub select: Select,
}

/// Which version of a package a spec speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Select {
    /// Whichever is preferred.
    Any,
    /// The preferred one of those that match.
    Matching(Requirement),
    /// This one: written in full behind `#` (O6).
    Exact(Version),
    /// The one whose content id begins so.
    Blake3(Prefix),
    /// The one whose canonical archive has this SHA-256 (O4).
    Sha256([u8; 32]),
}

impl PackageSpec {
    /// What a resolver has to fulfil: `*` where the spec names content or nothing.
    pub fn requirement(&self) -> Requirement {
        match &self.select {
            Select::Matching(requirement) => requirement.clone(),
            Select::Exact(version) => Requirement::exactly(version),
            Select::Any | Select::Blake3(_) | Select::Sha256(_) => Requirement::any(),
        }
    }
}

impl FromStr for PackageSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > SPEC_BYTES_MAX {
            return Err(Error::TooLong { bytes: text.len() });
        }
        let (package, selection) = match text.find(['@', '#']) {
            Some(at) => (&text[..at], Some(&text[at..])),
            None => (text, None),
        };
        let (owner, name) = parse_package(text, package)?;
        let (channel, select) = match selection {
            Some(selection) => parse_selection(text, selection)?,
            None => (None, Select::Any),
        };
        Ok(PackageSpec { owner, name, channel, select })
    }
}

fn parse_package(text: &str, package: &str) -> Result<(Option<Prefix>, PackageName), Error> {
    let (owner, name) = match package.strip_prefix("id:") {
        Some(rest) => {
            let why = "behind id: stand an owner's digits, / and a name";
            let parts = rest.split_once('/').ok_or(malformed(text, why))?;
            (Some(prefix(text, parts.0)?), parts.1)
        }
        None => (None, package),
    };
    let name = name.parse().map_err(|source| Error::Name { text: text.to_owned(), source })?;
    Ok((owner, name))
}

/// Reads `@…` or `#…`.
fn parse_selection(text: &str, selection: &str) -> Result<(Option<Channel>, Select), Error> {
    let wrong = |source| Error::Version { text: text.to_owned(), source };
    let (mark, selection) = selection.split_at(1);
    let (channel, rest) = match selection.split_once(':') {
        Some(("blake3", digits)) => return Ok((None, Select::Blake3(prefix(text, digits)?))),
        Some(("sha256", digits)) => return Ok((None, Select::Sha256(sha256(text, digits)?))),
        Some((channel, rest)) => (Some(channel.parse().map_err(wrong)?), rest),
        None => (None, selection),
    };
    if mark == "#"
        && let Ok(version) = rest.parse()
    {
        return Ok((channel, Select::Exact(version)));
    }
    let requirement: Requirement = rest.parse().map_err(wrong)?;
    match requirement.is_any() {
        true => Ok((channel, Select::Any)),
        false => Ok((channel, Select::Matching(requirement))),
    }
}

fn prefix(text: &str, digits: &str) -> Result<Prefix, Error> {
    digits.parse().map_err(|source| Error::Id { text: text.to_owned(), source })
}

fn sha256(text: &str, digits: &str) -> Result<[u8; 32], Error> {
    let mut bytes = [0; 32];
    let why = "behind sha256: stand 64 hexadecimal digits";
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| malformed(text, why))?;
    Ok(bytes)
}

fn malformed(text: &str, why: &'static str) -> Error {
    Error::Malformed { text: text.to_owned(), why }
}

impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(owner) = &self.owner {
            write!(f, "id:{}/", owner.digits())?;
        }
        write!(f, "{}", self.name)?;
        let channel = self.channel.as_ref().map(|channel| format!("{channel}:")).unwrap_or_default();
        match &self.select {
            Select::Any if channel.is_empty() => Ok(()),
            Select::Any => write!(f, "@{channel}*"),
            Select::Matching(requirement) => write!(f, "@{channel}{requirement}"),
            Select::Exact(version) => write!(f, "#{channel}{version}"),
            Select::Blake3(prefix) => write!(f, "#{prefix}"),
            Select::Sha256(digest) => write!(f, "#sha256:{}", hex::encode(digest)),
        }
    }
}
