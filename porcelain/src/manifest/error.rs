//! Why a text is not a manifest, and where.

use std::fmt;
use std::io;

const MESSAGE_CHARS_MAX: usize = 300;
const KEY_CHARS_MAX: usize = 64;

/// A manifest that could not be read. Every message names where it came from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What the disk says.
    #[error("cannot read {origin:?}")]
    Io {
        /// The file.
        origin: String,
        /// What came of it.
        source: io::Error,
    },
    /// A folder, fifo or device of this name.
    #[error("{origin:?} is not a file")]
    NotAFile {
        /// What is there.
        origin: String,
    },
    /// Not even text.
    #[error("{origin:?} is not UTF-8")]
    NotText {
        /// The file.
        origin: String,
    },
    /// More text than any manifest needs.
    #[error("{origin:?} is longer than 1 MiB")]
    TooLong {
        /// The file.
        origin: String,
    },
    /// Not TOML, or not a manifest.
    #[error("{place}: {problem}{}", suggest(.nearest.as_deref()))]
    Syntax {
        /// Where it stands.
        place: Place,
        /// What is wrong.
        problem: String,
        /// For an unknown key: the known one that was likely meant.
        nearest: Option<String>,
    },
    /// A text that would not be safe to show.
    #[error("{origin}: {field} holds a control character")]
    ControlCharacter {
        /// The file.
        origin: String,
        /// The key, with those around it.
        field: String,
    },
    /// A path that is not a plain way downwards.
    #[error("{origin}: {field} is not a path inside the package")]
    Path {
        /// The file.
        origin: String,
        /// The key, with those around it.
        field: String,
    },
    /// A list or a text that is longer than allowed.
    #[error("{origin}: {field} has more than {limit} {unit}")]
    Limit {
        /// The file.
        origin: String,
        /// The key, with those around it.
        field: String,
        /// How many are allowed.
        limit: usize,
        /// What is counted.
        unit: &'static str,
    },
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the text is called.
    pub origin: String,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.origin.escape_debug(), self.line, self.column)
    }
}

impl Place {
    pub(super) fn new(text: &str, at: usize, origin: &str) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            origin: origin.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl Error {
    /// The code users see and scripts match on.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Io { .. } => "E-IO",
            Error::Path { .. } => "E-PATH",
            Error::Limit { .. } => "E-LIMIT",
            Error::NotAFile { .. } | Error::NotText { .. } | Error::TooLong { .. } => "E-FORMAT",
            Error::Syntax { .. } | Error::ControlCharacter { .. } => "E-FORMAT",
        }
    }

    pub(super) fn of_toml(error: &toml::de::Error, text: &str, origin: &str) -> Self {
        let at = error.span().map_or(0, |span| span.start);
        let (problem, nearest) = match UnknownKey::of(error.message()) {
            Some(unknown) => (unknown.problem(), unknown.nearest()),
            None => (error.message().replace("missing field", "missing key"), None),
        };
        let problem = safe(&problem);
        Error::Syntax { place: Place::new(text, at, origin), problem, nearest }
    }
}

fn suggest(nearest: Option<&str>) -> String {
    nearest.map(|key| format!(", did you mean `{key}`?")).unwrap_or_default()
}

/// Messages quote the text, which may be long, and hold anything.
fn safe(message: &str) -> String {
    let escape = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    message.chars().take(MESSAGE_CHARS_MAX).map(escape).collect()
}

/// What serde says of an unknown key: "unknown field `a`, expected one of `b`, `c`".
struct UnknownKey<'a> {
    key: &'a str,
    known: Vec<&'a str>,
}

impl<'a> UnknownKey<'a> {
    fn of(message: &'a str) -> Option<Self> {
        // The known keys are ours and hold no backtick, whatever the unknown one may hold.
        let (key, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
        Some(Self { key, known: known.split('`').skip(1).step_by(2).collect() })
    }

    fn problem(&self) -> String {
        format!("unknown key `{}`", self.key)
    }

    /// The known key that takes the fewest edits, if they are few for its length.
    fn nearest(&self) -> Option<String> {
        // Comparing is quadratic in the length of a key, which is the author's to choose.
        let key: String =
            self.key.chars().take(KEY_CHARS_MAX).collect::<String>().to_lowercase().replace('_', "-");
        let by_distance = self.known.iter().map(|known| (distance(&key, known), *known));
        let (edits, known) = by_distance.min()?;
        (edits <= 1 + known.len() / 3).then(|| known.to_owned())
    }
}

/// How many characters must be put in, taken out or exchanged to make one text of the other
/// (Levenshtein).
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, in_a) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, in_b) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(in_a != *in_b);
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nearest(key: &str) -> Option<String> {
        UnknownKey { key, known: vec!["name", "version", "requires-pkg", "post-install"] }.nearest()
    }

    #[test]
    fn the_key_that_was_meant_is_found() {
        for (key, meant) in [
            ("nmae", Some("name")),
            ("Name", Some("name")),
            ("versoin", Some("version")),
            ("requires_pkg", Some("requires-pkg")),
            ("postinstall", Some("post-install")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(key).as_deref(), meant, "{key}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20)), None);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("kitten", "sitting", 3), ("ab", "ba", 2)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (edits, edits));
        }
    }

    #[test]
    fn places_are_counted_in_lines_and_characters() {
        for (at, line, column) in [(0, 1, 1), (1, 1, 2), (3, 1, 3), (4, 2, 1), (7, 2, 4), (99, 2, 4)] {
            let place = Place::new("aü\nbcd", at, "x");
            assert_eq!((place.line, place.column), (line, column), "{at}");
        }
    }
}
