//! Names: of entries in a tree, of packages.
//!
//! Promises: an [`EntryName`] can be handed to a file system beneath an opened directory without
//! leaving it; a [`PackageName`] follows the pattern of the trust model (THREATS 1.3).
//! Leaves to others: whether a name suits every file system ([`unportable`] tells, publish decides).

use crate::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX, PACKAGE_NAME_BYTES_MAX};
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr};
use unicode_normalization::is_nfc;

/// Why a name is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The name would lead out of its directory or into a control folder.
    #[error("name {} is refused: {why}", printable(name))]
    Path {
        /// The name as it came.
        name: String,
        /// What it would do.
        why: &'static str,
    },
    /// The name is not well-formed.
    #[error("name {} is malformed: {why}", printable(name))]
    Format {
        /// The name as it came.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not a package name.
    #[error(
        "{} is not a package name: {why}; labels of a-z 0-9 . _ - that begin with a letter or digit, joined by /",
        printable(name)
    )]
    Package {
        /// The text as it came.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Not a pattern of package names.
    #[error("{} is not a pattern of package names: {why}", printable(name))]
    Pattern {
        /// The text as it came.
        name: String,
        /// What is wrong.
        why: &'static str,
    },
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Path { .. } => "E-PATH",
            _ => "E-FORMAT",
        }
    }
}

/// The name of one entry of a tree: NFC text of 1 to 255 bytes that stays in its directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct EntryName(String);

impl EntryName {
    /// Checks the absolute rules, which hold on every system (SEC-001 to 003, 008, 010).
    ///
    /// # Errors
    /// `Path` for what leads elsewhere, `Format` for what is no name.
    pub fn new(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        if let Some(why) = leads_elsewhere(&name) {
            return Err(Error::Path { name, why });
        }
        if let Some(why) = ill_formed(&name) {
            return Err(Error::Format { name, why });
        }
        Ok(EntryName(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn leads_elsewhere(name: &str) -> Option<&'static str> {
    let bytes = name.as_bytes();
    let drive = bytes.len() >= 3
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'/' | b'\\');
    if name.split(['/', '\\']).any(|part| part == "..") {
        Some("it climbs out of its directory")
    } else if drive || name.starts_with(['/', '\\']) {
        Some("it is an absolute path")
    } else if name.split(['/', '\\']).any(is_control_folder) {
        Some("it stands for a control folder")
    } else {
        None
    }
}

fn ill_formed(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name == "." {
        Some("it stands for the directory itself")
    } else if name.contains('/') {
        Some("it holds a slash")
    } else if name.contains('\0') {
        Some("it holds a zero byte")
    } else if name.len() > NAME_BYTES_MAX {
        Some("it is longer than 255 bytes")
    } else if !name.is_ascii() && !is_nfc(name) {
        Some("it is not in Unicode normalisation form C")
    } else {
        None
    }
}

/// True for every spelling under which some file system would open `.pkgs` or `.git`: other case,
/// ignorable characters (HFS+), trailing dots and spaces, streams and short names (NTFS).
fn is_control_folder(name: &str) -> bool {
    if name.is_ascii() && !name.starts_with(['.', 'g', 'G', 'p', 'P']) {
        return false; // nothing is folded away or into a letter, so the first one decides
    }
    let folded: String = name.chars().filter(|c| !is_ignorable(*c)).flat_map(fold).collect();
    let stem = folded.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    let short = stem.split_once('~').filter(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    matches!(stem, ".git" | ".pkgs") || matches!(short, Some(("git" | "pkgs", _)))
}

/// One case for all that some file system takes for one letter: by way of the upper case, in which
/// the long s and the final sigma meet the plain ones, as they do on APFS.
fn fold(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

/// Characters that HFS+ leaves out when it compares names.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Why `name` does not suit every file system, or None if it does (SEC-009, SEC-018).
///
/// Publishing refuses such names unless asked to allow them; the release is then marked unportable.
pub fn unportable(name: &EntryName) -> Option<&'static str> {
    if name.0.chars().any(is_unprintable) {
        return Some("it holds control or direction-changing characters");
    }
    let checked = gix_validate::path::component(name.0.as_bytes().into(), None, Default::default());
    checked
        .err()
        .map(|_| "Windows reserves it: a device name, a forbidden character, or a dot or space at its end")
}

/// Control characters and those that change the direction of what follows.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{061c}')
}

/// `text` with control and direction-changing characters escaped, so that it can be shown on a
/// terminal (SEC-018, SEC-090).
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unprintable(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// What names fold to on a file system that ignores case: two entries of one directory must differ
/// in it to be portable (SEC-007).
pub fn case_folded(name: &EntryName) -> String {
    if name.0.is_ascii() {
        return name.0.to_ascii_lowercase();
    }
    name.0.chars().flat_map(fold).collect()
}

impl TryFrom<String> for EntryName {
    type Error = Error;
    fn try_from(name: String) -> Result<Self, Error> {
        EntryName::new(name)
    }
}

impl Borrow<str> for EntryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

/// A package's name: labels of `[a-z0-9][a-z0-9._-]*`, at most 64 bytes each, joined by `/`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PackageName(String);

impl PackageName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as one path component: `/` becomes `~`, which no label may hold.
    pub fn to_component(&self) -> String {
        self.0.replace('/', "~")
    }

    /// Reads back what `to_component` wrote.
    ///
    /// # Errors
    /// As for any package name.
    pub fn from_component(component: &str) -> Result<Self, Error> {
        component.replace('~', "/").parse()
    }
}

impl FromStr for PackageName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split('/').find_map(label_fault) {
            Some(why) => Err(package_error(text, why)),
            None if text.len() > PACKAGE_NAME_BYTES_MAX => {
                Err(package_error(text, "it is longer than 255 bytes"))
            }
            None if EntryName::new(text.replace('/', "~")).is_err() => {
                Err(package_error(text, "it stands for a control folder"))
            }
            None => Ok(PackageName(text.to_owned())),
        }
    }
}

fn package_error(text: &str, why: &'static str) -> Error {
    Error::Package { name: text.chars().take(PACKAGE_NAME_BYTES_MAX).collect(), why }
}

fn label_fault(label: &str) -> Option<&'static str> {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    match label.as_bytes() {
        [] => Some("a label is empty"),
        [first, ..] if !first.is_ascii_lowercase() && !first.is_ascii_digit() => {
            Some("a label begins with another character")
        }
        bytes if bytes.len() > LABEL_BYTES_MAX => Some("a label is longer than 64 bytes"),
        bytes if !bytes.iter().copied().all(inner) => Some("it holds other characters"),
        _ => None,
    }
}

impl TryFrom<String> for PackageName {
    type Error = Error;
    fn try_from(name: String) -> Result<Self, Error> {
        name.parse()
    }
}

impl From<PackageName> for String {
    fn from(name: PackageName) -> String {
        name.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
