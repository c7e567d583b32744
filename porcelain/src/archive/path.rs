//! The path of an entry, judged once.
//!
//! Promises: an [`EntryPath`] is relative, leads only downwards, and means the same to every tool
//! that reads the archive. What is spelled in two ways is not cleaned up but refused, except for
//! the `./` in front that tar puts there and the `/` behind a folder.

use super::Limits;
use super::error::Reason;

/// Bytes of one name, as on every common file system.
const NAME_BYTES_MAX: usize = 255;

/// A path beneath the root: names joined by `/`, or nothing at all, which is the root itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPath(String);

impl EntryPath {
    pub(super) fn parse(spelled: &str, limits: &Limits) -> Result<Self, Reason> {
        if spelled.len() > limits.path_bytes {
            return Err(Reason::Limit { what: "bytes in a path", limit: limits.path_bytes as u64 });
        }
        if spelled.is_empty() {
            return Err(Reason::Path("is empty"));
        }
        if is_absolute(spelled) {
            return Err(Reason::Path("is absolute"));
        }
        let path = plain(spelled);
        if path.is_empty() {
            return Ok(Self(String::new()));
        }
        if path.split('/').count() > limits.levels {
            return Err(Reason::Limit { what: "levels in a path", limit: limits.levels as u64 });
        }
        path.split('/').try_for_each(judge)?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of the folder it is in, and its name there.
    pub(super) fn split(&self) -> (&str, &str) {
        self.0.rsplit_once('/').unwrap_or(("", &self.0))
    }

    /// The first name, and whether more follow.
    pub(super) fn top(&self) -> (&str, Option<&str>) {
        match self.0.split_once('/') {
            Some((first, rest)) => (first, Some(rest)),
            None => (&self.0, None),
        }
    }
}

/// Also in the ways of Windows: `\x`, `\\?\x`, `C:\x`, `C:/x`.
fn is_absolute(path: &str) -> bool {
    let has_drive = match path.as_bytes() {
        [letter, b':', b'/' | b'\\', ..] => letter.is_ascii_alphabetic(),
        _ => false,
    };
    path.starts_with(['/', '\\']) || has_drive
}

fn plain(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path);
    match path.strip_suffix('/').unwrap_or(path) {
        "." => "",
        path => path,
    }
}

fn judge(name: &str) -> Result<(), Reason> {
    match name {
        "" => return Err(Reason::Path("holds an empty name")),
        "." => return Err(Reason::Path("holds `.` as a name")),
        // A backslash is a letter of the name here and a separator elsewhere; `..` is safe in
        // neither reading.
        _ if name.split('\\').any(|part| part == "..") => return Err(Reason::Path("holds `..`")),
        _ => {}
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Reason::Limit { what: "bytes in a name", limit: NAME_BYTES_MAX as u64 });
    }
    if name.chars().any(char::is_control) {
        return Err(Reason::Path("holds a control character"));
    }
    if is_reserved(name) {
        return Err(Reason::Path("holds a name that git or pkg keeps for itself"));
    }
    Ok(())
}

/// Whether some file system takes the name for `.git` or `.pkgs`: without regard to case, to dots,
/// spaces or a stream's name at the end, to characters that a Mac ignores, or in the short form of
/// DOS.
fn is_reserved(name: &str) -> bool {
    let seen: String = name.chars().filter(|&c| !is_ignored(c)).map(|c| c.to_ascii_lowercase()).collect();
    let stem = seen.split(':').next().unwrap_or_default().trim_end_matches(['.', ' ']);
    matches!(stem, ".git" | "git~1" | ".pkgs" | "pkgs~1")
}

/// What HFS+ leaves out when it compares names.
fn is_ignored(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(spelled: &str) -> Result<String, &'static str> {
        EntryPath::parse(spelled, &Limits::default()).map(|path| path.0).map_err(|reason| reason.code())
    }

    #[test]
    fn plain_paths_are_taken_and_spelled_in_one_way() {
        for (spelled, path) in [
            ("a", "a"),
            ("a/b.c/d e", "a/b.c/d e"),
            ("./a/b", "a/b"),
            ("a/", "a"),
            (".", ""),
            ("./", ""),
            (".gitignore", ".gitignore"),
            ("..a/b..", "..a/b.."),
            // systemd names units like this.
            ("lib/system-x\\x2dy.slice", "lib/system-x\\x2dy.slice"),
            ("a:b", "a:b"),
        ] {
            assert_eq!(parse(spelled).as_deref(), Ok(path), "{spelled:?}");
        }
    }

    /// SEC-001, SEC-002, SEC-003, SEC-018.
    #[test]
    fn paths_that_are_not_a_plain_way_downwards_are_refused() {
        for spelled in [
            "",
            "/",
            "//x",
            "/victim/x",
            "\\x",
            "\\\\?\\x",
            "C:\\x",
            "c:/x",
            "..",
            "../x",
            "a/..",
            "a/../../x",
            "./..",
            "a\\..\\..\\x",
            "a//b",
            "a/./b",
            "././a",
            "a//",
            "a\0b",
            "a\nb",
            "a\x1b[0m",
            "a/\u{85}",
        ] {
            assert_eq!(parse(spelled), Err("E-PATH"), "{spelled:?}");
        }
    }

    /// SEC-010.
    #[test]
    fn control_names_are_refused_in_every_spelling() {
        for name in [".git", ".GIT", ".Git ", ".git.", ".git. .", "git~1", "GIT~1", ".git::$INDEX_ALLOCATION"]
        {
            assert_eq!(parse(&format!("a/{name}/b")), Err("E-PATH"), "{name:?}");
        }
        for name in
            [".pkgs", ".PKGS", ".pkgs..", ".g\u{200c}it", "\u{feff}.pk\u{200d}gs", ".pkgs:x", "pkgs~1"]
        {
            assert_eq!(parse(name), Err("E-PATH"), "{name:?}");
        }
    }

    /// SEC-015, SEC-016.
    #[test]
    fn paths_have_bounds() {
        assert_eq!(parse(&["d"; 128].join("/")).map(|path| path.len()), Ok(255));
        assert_eq!(parse(&["d"; 129].join("/")), Err("E-LIMIT"));
        assert_eq!(parse(&"n".repeat(256)), Err("E-LIMIT"));
        assert_eq!(parse(&["n".repeat(200).as_str(); 21].join("/")), Err("E-LIMIT"));
    }
}
