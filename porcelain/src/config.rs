//! The user's settings: `$PKG_HOME/config.toml`.
//!
//! ```toml
//! identity = "ada"            # who publishes, if there are several
//! jobs = 4
//! freshness = "strict"        # strict, warn, off, or max-stale with a duration such as "90d"
//! max-stale = "90d"
//! min-age = "7d"
//! deny-yanked = true          # not even if pkg.lock keeps it
//! [net]
//! relays = []                 # iroh relays; none by default
//! ca-file = "/etc/ssl/own.pem"
//! ```
//!
//! Promises: an unknown key is an error that names file and line.

use crate::error::Error;
use objects::disk;
use objects::limits::CONFIG_BYTES_MAX;
use plumbing::trust::{Freshness, Policy};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
#[cfg(feature = "net")]
use std::str::FromStr;

/// What `config.toml` says. Everything may be absent.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Config {
    /// Who publishes.
    pub identity: Option<String>,
    /// Threads for computing.
    pub jobs: Option<usize>,
    /// `strict`, `warn` or `off`.
    pub freshness: Option<String>,
    /// How old an index may be at most.
    pub max_stale: Option<String>,
    /// How long a release has to be listed before it is chosen.
    pub min_age: Option<String>,
    /// Refuse withdrawn versions even if the lockfile keeps them.
    pub deny_yanked: bool,
    /// Network settings.
    pub net: Net,
}

/// Network settings (L-S4).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Net {
    /// iroh relays.
    pub relays: Vec<String>,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
}

impl Net {
    /// The relays as URLs.
    ///
    /// # Errors
    /// `Usage` naming the first that is none.
    #[cfg(feature = "net")]
    pub(crate) fn parse_relays<Url: FromStr>(&self) -> Result<Vec<Url>, Error> {
        let wrong =
            |relay: &str| Error::usage(format!("{relay:?} is no URL"), "correct [net] relays in config.toml");
        self.relays.iter().map(|relay| relay.parse().map_err(|_| wrong(relay))).collect()
    }
}

impl Config {
    /// Reads the settings; absent ones are the defaults.
    ///
    /// # Errors
    /// `Malformed` with file and line.
    pub fn read(path: &Path) -> Result<Config, Error> {
        Ok(read_toml(path)?.unwrap_or_default())
    }

    /// What is believed of old statements and young releases.
    ///
    /// # Errors
    /// `Usage` for a word or duration that is none.
    pub fn policy(&self) -> Result<Policy, Error> {
        let mut policy = Policy::default();
        match self.freshness.as_deref() {
            None | Some("strict") => {}
            Some("warn") => policy.freshness = Freshness::Warn,
            Some("off") => policy.freshness = Freshness::Off,
            Some(other) => {
                return Err(Error::usage(
                    format!("freshness {other:?} is unknown"),
                    "use strict, warn or off",
                ));
            }
        }
        if let Some(text) = &self.max_stale {
            policy.freshness = Freshness::MaxStale { seconds: parse_duration(text)? };
        }
        if let Some(text) = &self.min_age {
            policy.min_age_seconds = parse_duration(text)?;
        }
        Ok(policy)
    }
}

/// Bytes of a size such as `500M`, `2G`, `1.5T` (powers of 1,000), `512MiB` (powers of 1,024), or `0`.
///
/// # Errors
/// `Usage` if it is none.
pub fn parse_size(text: &str) -> Result<u64, Error> {
    let fault = || Error::usage(format!("{text:?} is no size"), "write a number and k, M, G or T: 2G");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].trim_start();
    let (factor, letter) = match unit.strip_suffix("iB").or_else(|| unit.strip_suffix('i')) {
        Some(letter) => (1_024f64, letter),
        None => (1_000f64, unit.strip_suffix('B').unwrap_or(unit)),
    };
    let power = match letter {
        "" => 0,
        "k" | "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(fault()),
    };
    let number: f64 = digits.parse().map_err(|_| fault())?;
    let bytes = number * factor.powi(power);
    if (0.0..u64::MAX as f64).contains(&bytes) { Ok(bytes as u64) } else { Err(fault()) }
}

/// Levels of tables and lists in a file of settings; honest ones have three.
const LEVELS_MAX: usize = 16;

/// A file of settings; None if there is none. How deep it nests is measured before it is read.
///
/// # Errors
/// `Malformed` with file and line.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let Some(bytes) = disk::try_read(path, CONFIG_BYTES_MAX)? else { return Ok(None) };
    let malformed = |why: String| Error::Malformed { path: path.to_owned(), why };
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8".into()))?;
    if crate::manifest::too_deep(&text, LEVELS_MAX).is_some() {
        return Err(malformed("it nests too deep".into()));
    }
    toml::from_str(&text).map(Some).map_err(|error| malformed(error.to_string().trim_end().to_owned()))
}

/// Seconds of a duration such as `90d`, `12h`, `30m`, `45s`, `2w`.
///
/// # Errors
/// `Usage` if it is none.
pub fn parse_duration(text: &str) -> Result<u64, Error> {
    let fault =
        || Error::usage(format!("{text:?} is no duration"), "write a number and s, m, h, d or w: 90d");
    let unit = text.chars().last().ok_or_else(fault)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(fault()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| fault())?;
    number.checked_mul(seconds).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let sizes = [
            ("0", 0),
            ("1500", 1_500),
            ("2k", 2_000),
            ("2 kB", 2_000),
            ("1.5G", 1_500_000_000),
            ("512MiB", 512 << 20),
            ("1Ki", 1_024),
        ];
        for (text, bytes) in sizes {
            assert_eq!(parse_size(text).ok(), Some(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1X", "1e400", "9999999999T", "one"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
