//! What a distributor takes: `distribute.toml` in the repository.
//!
//! ```toml
//! accept = ["id:1f0c…"]       # owners whose releases are taken without asking (`pkg serve --sign`)
//! [incoming]                  # what others push, until somebody decides
//! push-bytes = "1GiB"
//! total-bytes = "4GiB"
//! pushes = 8                  # of one identity
//! age = "1d"
//! ```
//!
//! The file is beside `config`, which is the same in all repositories of a format. Where it stands in a plain
//! folder, pushes of others are taken there as well as by `pkg serve --accept-pushes`.
//!
//! Promises: an unknown key is an error that names file and line.

use crate::config::{parse_duration, parse_size, read_toml};
use crate::error::Error;
use objects::id::IdentityId;
use objects::limits::{
    INCOMING_BYTES_MAX, INCOMING_PUSH_BYTES_MAX, INCOMING_PUSHES_MAX, INCOMING_SECONDS_MAX,
};
use objects::repository::Repository;
use serde::Deserialize;

/// The file, in the folder of the repository.
pub const FILE: &str = "distribute.toml";

/// What may be held of pushes by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Most bytes of one push.
    pub push_bytes: u64,
    /// Most bytes of all.
    pub total_bytes: u64,
    /// Most pushes of one identity.
    pub pushes: usize,
    /// For how long.
    pub seconds: u64,
}

/// A distributor's settings for one repository.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Owners whose releases are taken without asking.
    pub accept: Vec<IdentityId>,
    /// What may be held.
    pub caps: Caps,
    /// True if the file is there.
    pub stated: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct File {
    accept: Vec<String>,
    incoming: Incoming,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct Incoming {
    push_bytes: Option<String>,
    total_bytes: Option<String>,
    pushes: Option<usize>,
    age: Option<String>,
}

impl Settings {
    /// The settings of `repository`; absent ones are the defaults.
    ///
    /// # Errors
    /// `Malformed` with file and line; `Usage` for an id, size or duration that is none.
    pub fn read(repository: &Repository) -> Result<Settings, Error> {
        let file: Option<File> = read_toml(&repository.root().join(FILE))?;
        let stated = file.is_some();
        let File { accept, incoming } = file.unwrap_or_default();
        let size = |text: Option<String>, default| text.map_or(Ok(default), |text| parse_size(&text));
        let caps = Caps {
            push_bytes: size(incoming.push_bytes, INCOMING_PUSH_BYTES_MAX)?,
            total_bytes: size(incoming.total_bytes, INCOMING_BYTES_MAX)?,
            pushes: incoming.pushes.unwrap_or(INCOMING_PUSHES_MAX),
            seconds: incoming.age.map_or(Ok(INCOMING_SECONDS_MAX), |text| parse_duration(&text))?,
        };
        let accept = accept.iter().map(|text| whole_id(text)).collect::<Result<_, _>>()?;
        Ok(Settings { accept, caps, stated })
    }
}

/// Whom to believe is written in full: the beginning of an id can be had by trying.
fn whole_id(text: &str) -> Result<IdentityId, Error> {
    let id = text.strip_prefix("id:").and_then(|digits| digits.parse().ok());
    id.ok_or_else(|| {
        Error::usage(
            format!("{text:?} in {FILE} is no id"),
            "write `id:` and all 64 digits: `pkg id list` shows them",
        )
    })
}
