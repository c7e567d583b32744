//! Patterns of package names, as grants state them (THREATS 1.3).
//!
//! ```text
//! acme/web        that name alone
//! acme/*          any one label in its place: acme/web, not acme/web/ui
//! acme/web-*      `*` stands for any characters inside one label
//! acme/**         a last label `**`: everything beneath acme/, at any depth
//! **              every name
//! ```
//!
//! Promises: nothing but `*` is special; matching takes time proportional to the two lengths.

use crate::limits::{LABEL_BYTES_MAX, PACKAGE_NAME_BYTES_MAX};
use crate::name::{Error, PackageName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The last label that matches the rest of a name.
const REST: &str = "**";

/// Which names a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern that every name matches.
    pub fn everything() -> NamePattern {
        NamePattern(REST.to_owned())
    }

    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if it matches `name`.
    pub fn matches(&self, name: &PackageName) -> bool {
        let mut labels = name.as_str().split('/');
        for pattern in self.0.split('/') {
            match labels.next() {
                Some(_) if pattern == REST => return true, // it stands last
                Some(label) if matches_label(pattern.as_bytes(), label.as_bytes()) => {}
                _ => return false,
            }
        }
        labels.next().is_none()
    }
}

/// Matches one label: after a `*`, the rest is tried at each later place, of which only the last `*`
/// has to be remembered.
fn matches_label(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while place < label.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at, place));
                at += 1;
            }
            (Some(byte), _) if *byte == label[place] => (at, place) = (at + 1, place + 1),
            (_, Some((after, from))) => {
                star = Some((after, from + 1));
                (at, place) = (after + 1, from + 1);
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

fn fault(label: &str, is_last: bool) -> Option<&'static str> {
    let inner =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'*');
    match label.as_bytes() {
        [] => Some("a label is empty"),
        b"**" if is_last => None,
        bytes if bytes.windows(2).any(|pair| pair == b"**") => Some("`**` stands alone, as the last label"),
        bytes if bytes.len() > LABEL_BYTES_MAX => Some("a label is longer than 64 bytes"),
        [b'.' | b'_' | b'-', ..] => Some("a label begins with another character"),
        bytes if !bytes.iter().copied().all(inner) => Some("it holds other characters"),
        _ => None,
    }
}

impl FromStr for NamePattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |why| Error::Pattern { name: text.chars().take(PACKAGE_NAME_BYTES_MAX).collect(), why };
        if text.len() > PACKAGE_NAME_BYTES_MAX {
            return Err(refused("it is longer than 255 bytes"));
        }
        let last = text.split('/').count() - 1;
        match text.split('/').enumerate().find_map(|(n, label)| fault(label, n == last)) {
            Some(why) => Err(refused(why)),
            None => Ok(NamePattern(text.to_owned())),
        }
    }
}

impl TryFrom<String> for NamePattern {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> String {
        pattern.0
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-058: which names a pattern is for, to the letter of THREATS 1.3.
    #[test]
    fn patterns_match_names() {
        for (pattern, name, fits) in [
            ("acme/web", "acme/web", true),
            ("acme/web", "acme/web/ui", false),
            ("acme/web", "acme/webs", false),
            ("acme/web", "acme", false),
            ("acme/*", "acme/web", true),
            ("acme/*", "acme", false),
            ("acme/*", "acme/web/ui", false),
            ("acme/*", "acmes/web", false),
            ("acme/web-*", "acme/web-ui", true),
            ("acme/web-*", "acme/web-", true),
            ("acme/web-*", "acme/core", false),
            ("acme/web-*", "acme/web", false),
            ("acme/web-*", "acme/web-ui/core", false),
            ("acme/*-*-x", "acme/a-b-c-x", true),
            ("acme/*-*-x", "acme/a-x", false),
            ("*", "acme", true),
            ("*", "acme/web", false),
            ("*/web", "acme/web", true),
            ("*/web", "acme/core", false),
            ("*/*", "acme/web", true),
            ("acme/**", "acme/web", true),
            ("acme/**", "acme/web/ui/core", true),
            ("acme/**", "acme", false),
            ("acme/**", "acme2/web", false),
            ("**", "acme", true),
            ("**", "acme/web/ui", true),
            ("a.b", "axb", false),
            ("a.b", "a.b", true),
            ("a*", "a", true),
            ("*a*b*", "xaybz", true),
            ("*a*b*", "xbyaz", false),
        ] {
            let parsed: NamePattern = pattern.parse().unwrap();
            assert_eq!(parsed.matches(&name.parse().unwrap()), fits, "{pattern} {name}");
        }
        for refused in
            ["", "acme//x", "/x", "x/", "**/x", "a**", "***", "Acme/*", "a?", "[a]", "-x", "a b", "é"]
        {
            assert!(refused.parse::<NamePattern>().is_err(), "{refused}");
        }
    }
}
