//! Versions, and the channels they are released on.
//!
//! ```text
//! version = [EPOCH "!"] semver ["~" REVISION]      2!1.4.0-rc.1+linux~3
//! ```
//!
//! An epoch (G-12) begins a new numbering that stands above every earlier one; a revision (G-11) is a
//! new packaging of the same software. Each is left out when it is 0, so a version has one spelling
//! but for its build metadata.
//!
//! Promises: one rule for odd versions (SEC-078): strict semver 2.0, numbers below 2^64 in plain ASCII
//! digits without leading zeros, at most [`VERSION_BYTES_MAX`] bytes; anything else is refused.
//! Two versions are equal exactly if neither orders before the other.
//! Leaves to others: which of many versions to prefer (`plumbing::resolve`).

mod requirement;

pub use requirement::{Comparator, Prereleases, Requirement};

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Longest text of a version, in bytes: room for every real one, and short enough for a file name.
pub const VERSION_BYTES_MAX: usize = 256;
/// Longest text of a requirement, in bytes.
pub const REQUIREMENT_BYTES_MAX: usize = 1024;
/// Most comparisons in one requirement.
pub const COMPARATORS_MAX: usize = 32;
/// Longest name of a channel, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 64;

/// Why a text is no version, requirement or channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is longer than its bound.
    #[error("a {what} of {bytes} bytes is too long; at most {bytes_max} are taken")]
    TooLong {
        /// What was read.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// The text is not a version.
    #[error("{text:?} is not a version: {why}")]
    Version {
        /// The text as it came.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text is not a version requirement.
    #[error("{text:?} is not a version requirement: {why}")]
    Requirement {
        /// The text as it came.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text is not the name of a channel.
    #[error("{text:?} is not a channel: {why}")]
    Channel {
        /// The text as it came.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::TooLong { .. } => "E-LIMIT",
            _ => "E-FORMAT",
        }
    }
}

/// A version of a package: ordered by epoch, then semver precedence, then revision.
///
/// Build metadata is kept and shown, but neither orders nor distinguishes.
///
/// ```
/// use objects::version::Version;
/// let version = |text: &str| text.parse::<Version>().unwrap();
/// assert!(version("1.9.0") < version("1.10.0"));
/// assert!(version("1.10.0") < version("1.10.0~1"));
/// assert!(version("9.0.0") < version("1!0.1.0"));
/// assert_eq!(version("1.0.0+linux"), version("1.0.0+mac"));
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version {
    /// Which numbering the version belongs to; a higher one stands above all of a lower one.
    pub epoch: u64,
    /// The version its authors gave the software.
    pub semver: semver::Version,
    /// Which packaging of that software it is.
    pub revision: u64,
}

impl Version {
    /// `MAJOR.MINOR.PATCH` of the first epoch, first revision.
    pub fn new(major: u64, minor: u64, patch: u64) -> Self {
        semver::Version::new(major, minor, patch).into()
    }

    /// True for `1.0.0-rc.1` and its like.
    pub fn is_prerelease(&self) -> bool {
        !self.semver.pre.is_empty()
    }

    /// Major, minor and patch: what a pre-release is a pre-release of.
    pub fn triple(&self) -> (u64, u64, u64) {
        (self.semver.major, self.semver.minor, self.semver.patch)
    }
}

impl From<semver::Version> for Version {
    fn from(semver: semver::Version) -> Self {
        Version { epoch: 0, semver, revision: 0 }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch
            .cmp(&other.epoch)
            .then_with(|| self.semver.cmp_precedence(&other.semver))
            .then_with(|| self.revision.cmp(&other.revision))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.epoch, self.triple(), &self.semver.pre, self.revision).hash(state);
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        within("version", text, VERSION_BYTES_MAX)?;
        parse_version(text).map_err(|why| Error::Version { text: text.to_owned(), why })
    }
}

fn parse_version(text: &str) -> Result<Version, String> {
    let (epoch, rest) = match text.split_once('!') {
        Some((epoch, rest)) => (above_zero("epoch", epoch)?, rest),
        None => (0, text),
    };
    let (semver, revision) = match rest.rsplit_once('~') {
        Some((semver, revision)) => (semver, above_zero("revision", revision)?),
        None => (rest, 0),
    };
    let semver = semver::Version::parse(semver).map_err(|error| error.to_string())?;
    Ok(Version { epoch, semver, revision })
}

/// A number that would not be written if it were 0.
fn above_zero(what: &str, text: &str) -> Result<u64, String> {
    match number(what, text)? {
        0 => Err(format!("{what} 0 is left out")),
        number => Ok(number),
    }
}

/// A number in plain digits; `str::parse` alone would take `+5` and `007`.
fn number(what: &str, text: &str) -> Result<u64, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !plain {
        return Err(format!("{what} {text:?} is not a number"));
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{what} {text} has a leading zero"));
    }
    text.parse().map_err(|_| format!("{what} {text} is out of range"))
}

fn within(what: &'static str, text: &str, bytes_max: usize) -> Result<(), Error> {
    match text.len() {
        bytes if bytes > bytes_max => Err(Error::TooLong { what, bytes, bytes_max }),
        _ => Ok(()),
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.epoch > 0 {
            write!(f, "{}!", self.epoch)?;
        }
        write!(f, "{}", self.semver)?;
        if self.revision > 0 {
            write!(f, "~{}", self.revision)?;
        }
        Ok(())
    }
}

/// The stream a version is released on: `release` unless said otherwise (O7).
///
/// Lower-case ASCII, `[a-z0-9][a-z0-9-]*`, at most [`CHANNEL_BYTES_MAX`] bytes. `blake3` and
/// `sha256` are no channels, since `name#blake3:…` speaks of content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Channel(String);

impl Channel {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `release`, which is left out where channels are written.
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT_CHANNEL
    }
}

const DEFAULT_CHANNEL: &str = "release";

impl Default for Channel {
    fn default() -> Self {
        Channel(DEFAULT_CHANNEL.to_owned())
    }
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        within("channel", text, CHANNEL_BYTES_MAX)?;
        match channel_fault(text) {
            None => Ok(Channel(text.to_owned())),
            Some(why) => Err(Error::Channel { text: text.to_owned(), why }),
        }
    }
}

fn channel_fault(text: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if text.is_empty() {
        Some("it is empty")
    } else if !text.bytes().all(|byte| plain(byte) || byte == b'-') {
        Some("it may hold a-z, 0-9 and - only")
    } else if text.starts_with('-') {
        Some("it begins with -")
    } else if matches!(text, "blake3" | "sha256") {
        Some("it stands for a content id")
    } else {
        None
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes a type that parses and shows itself go through serde as its text.
macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

as_text!(Version, Channel, Requirement);
