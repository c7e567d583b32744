//! What stays out of a package: `.pkgignore`, in git's syntax, and the folders of tools.
//!
//! Promises: rules are read whole or not at all; one that is malformed, or that cannot be read, ends the
//! walk, since what it was to keep out may be a secret.
//! Leaves to others: the syntax itself (crate `ignore`, which follows gitignore(5)).

use super::Error;
use super::source::{Root, special_word};
use crate::disk::{self, Context};
use crate::limits::CONFIG_BYTES_MAX;
use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use std::io;
use std::sync::Arc;

/// Where a folder says what stays out.
pub const FILE_NAME: &str = ".pkgignore";

/// The rules that hold in a folder: its own, and those above it.
pub struct Rules {
    own: Gitignore,
    above: Option<Arc<Rules>>,
}

impl Rules {
    /// The rules of the folder `path`, which has a file of them.
    pub fn read(root: &Root, path: &str, above: Option<Arc<Rules>>) -> Result<Arc<Rules>, Error> {
        let file = root.shown(path).join(FILE_NAME);
        // Opening a pipe would wait, reading a device might not end.
        let meta = std::fs::metadata(&file).doing("read", &file)?;
        if !meta.is_file() {
            return Err(Error::Special { path: file, what: special_word(meta.file_type()) });
        }
        let bytes = disk::try_read(&file, CONFIG_BYTES_MAX)?.unwrap_or_default();
        let text = String::from_utf8(bytes).map_err(io::Error::other).doing("read", &file)?;
        let malformed = |source| Error::Walk { path: file.clone(), source };
        let mut builder = GitignoreBuilder::new(path);
        for line in text.strip_prefix('\u{feff}').unwrap_or(&text).lines() {
            builder.add_line(None, line).map_err(malformed)?;
        }
        Ok(Arc::new(Rules { own: builder.build().map_err(malformed)?, above }))
    }

    /// True if `path` stays out. The nearest rule that speaks of it decides.
    pub fn leave_out(&self, path: &str, is_folder: bool) -> bool {
        match (self.own.matched(path, is_folder), &self.above) {
            (Match::Ignore(_), _) => true,
            (Match::Whitelist(_), _) | (Match::None, None) => false,
            (Match::None, Some(above)) => above.leave_out(path, is_folder),
        }
    }
}

/// True for folders that belong to a tool and are never part of a package.
pub fn is_tool_folder(name: &[u8]) -> bool {
    name == b".git" || name == b".pkgs"
}
