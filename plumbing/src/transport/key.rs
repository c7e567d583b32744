//! Names of files in a bare repository.
//!
//! Promises: a [`Key`] is safe to append to a folder, a URL or a bucket prefix: it is relative, has no empty, hidden or `..`
//! segment, and holds none but `[A-Za-z0-9._~+-]` and `/`. Temporary and lock files begin with a dot, so that no key names one.
//! Leaves to others: which keys mean what.

use std::{fmt, str::FromStr};

use super::{
    error::Error,
    limits::{KEY_BYTES_MAX, KEY_SEGMENTS_MAX},
};

/// A relative key: `summary`, `objects/pack/<hex>.pack`, `statements/ab/<hex>`.
///
/// ```
/// use plumbing::transport::Key;
/// assert_eq!(Key::new("objects/pack/00ff.pack")?.to_string(), "objects/pack/00ff.pack");
/// assert!(Key::new("../etc/passwd").is_err());
/// # Ok::<(), plumbing::transport::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Takes `text` if it is a key.
    ///
    /// # Errors
    /// [`Error::Key`] with what is wrong.
    pub fn new(text: &str) -> Result<Self, Error> {
        match fault(text) {
            None => Ok(Self(text.to_owned())),
            Some(reason) => Err(Error::Key { text: text.chars().take(80).collect(), reason }),
        }
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder and the name in it; the folder of a key of one segment is empty.
    pub(crate) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// What messages call this key of `source`.
    pub(crate) fn at(&self, source: &str) -> String {
        format!("{}/{self}", source.trim_end_matches('/'))
    }
}

fn fault(text: &str) -> Option<&'static str> {
    if text.len() > KEY_BYTES_MAX {
        return Some("it is longer than 512 bytes");
    }
    if text.split('/').count() > KEY_SEGMENTS_MAX {
        return Some("it has more than 8 segments");
    }
    text.split('/').find_map(segment_fault)
}

fn segment_fault(segment: &str) -> Option<&'static str> {
    if segment.is_empty() {
        return Some("a segment is empty");
    }
    if segment.starts_with('.') {
        return Some("a segment starts with a dot");
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._~+-".contains(&b);
    (!segment.bytes().all(allowed)).then_some("it holds a character other than A-Z a-z 0-9 . _ ~ + -")
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_bare_repository_are_keys() {
        for text in
            ["summary", "objects/pack/00ff.pack", "statements/ab/cdef", "a/b/c/d/e/f/g/h", "v1.0~rc+1_x-y"]
        {
            assert_eq!(Key::new(text).unwrap().as_str(), text);
        }
        assert!(Key::new(&"k".repeat(512)).is_ok());
    }

    /// SEC-105: nothing that could leave the folder or be read in two ways is a key.
    #[test]
    fn what_could_leave_the_folder_is_no_key() {
        let long = "k".repeat(513);
        let table = [
            "",
            "/",
            "/a",
            "a/",
            "a//b",
            ".",
            "..",
            "../a",
            "a/..",
            "a/../b",
            ".hidden",
            "a/.lock",
            "a\\b",
            "a b",
            "a\0b",
            "a%2fb",
            "C:",
            "a:b",
            "é",
            "a\n",
            "a?b",
            "a#b",
            "a*b",
            "a/b/c/d/e/f/g/h/i",
            long.as_str(),
        ];
        for text in table {
            let error = Key::new(text).unwrap_err();
            assert_eq!(error.code(), "E-PATH", "{text:?}");
        }
    }

    #[test]
    fn a_key_splits_into_folder_and_name() {
        assert_eq!(Key::new("a/b/c").unwrap().split(), ("a/b", "c"));
        assert_eq!(Key::new("c").unwrap().split(), ("", "c"));
    }
}
