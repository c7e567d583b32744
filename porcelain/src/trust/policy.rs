//! The rules by which releases are judged: what holds, and where it comes from.
//!
//! They stand in `config.toml`; what a person wrote there beside them stays as it is.

use crate::config::{Config, parse_duration};
use crate::error::Error;
use crate::session::Session;
use objects::disk;
use objects::limits::CONFIG_BYTES_MAX;
use plumbing::trust::Freshness;
use serde::Serialize;
use toml_edit::{DocumentMut, value};

/// A rule, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name, as in `config.toml`.
    pub key: &'static str,
    /// What holds.
    pub value: String,
    /// `default`, `config.toml`, `command line`, or `fixed` if nothing changes it.
    pub from: &'static str,
    /// What it means.
    pub says: &'static str,
}

/// The rules that can be set, with what they mean.
const KEYS: [(&str, &str); 4] = [
    ("freshness", "what is done with an index that is past its time: strict, warn or off"),
    ("max-stale", "for how long past its time an index is used, with a warning"),
    ("min-age", "how long a version must have been listed before it is taken, unless pkg.lock keeps it"),
    ("deny-yanked", "refuse withdrawn versions even if pkg.lock keeps them"),
];

/// All rules as they hold now.
///
/// # Errors
/// If the settings are malformed.
pub fn list(session: &Session) -> Result<Vec<Setting>, Error> {
    let config = session.config();
    let from = |is_set: bool| if is_set { "config.toml" } else { "default" };
    let holds = session.policy().freshness;
    let (freshness, max_stale) = match holds {
        Freshness::Strict => ("strict", "none".to_owned()),
        Freshness::Warn => ("warn", "any".to_owned()),
        Freshness::Off => ("off", "any".to_owned()),
        Freshness::MaxStale { seconds } => ("max-stale", duration(seconds)),
    };
    let freshness_from = match config.policy()?.freshness == holds {
        true => from(config.freshness.is_some() || config.max_stale.is_some()),
        false => "command line",
    };
    let min_age = session.policy().min_age_seconds;
    let values = [
        (freshness.to_owned(), freshness_from),
        (max_stale, freshness_from),
        (duration(min_age), from(config.min_age.is_some())),
        (config.deny_yanked.to_string(), from(config.deny_yanked)),
    ];
    let set = KEYS.iter().zip(values);
    let mut all: Vec<Setting> =
        set.map(|((key, says), (value, from))| Setting { key, value, from, says }).collect();
    for (key, says) in [
        ("forbidden", "versions the distributor forbids"),
        ("malicious", "versions the distributor warns of"),
    ] {
        all.push(Setting { key, value: "refuse".into(), from: "fixed", says });
    }
    Ok(all)
}

fn duration(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let fits = units.iter().find(|(_, unit)| seconds > 0 && seconds.is_multiple_of(*unit));
    fits.map_or(format!("{seconds}s"), |(letter, unit)| format!("{}{letter}", seconds / unit))
}

/// Sets a rule, or with None takes it back to its default.
///
/// # Errors
/// `Usage` if there is no such rule, or it cannot have that value; `Malformed` if the settings are.
pub fn set(session: &Session, key: &str, to: Option<&str>) -> Result<(), Error> {
    let path = session.home().join("config.toml");
    let malformed = |why: String| Error::Malformed { path: path.clone(), why };
    if !KEYS.iter().any(|(known, _)| *known == key) {
        let known: Vec<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        return Err(Error::usage(
            format!("there is no rule {key}"),
            format!("there is {}", known.join(", ")),
        ));
    }
    let bytes = disk::try_read(&path, CONFIG_BYTES_MAX)?.unwrap_or_default();
    let text = String::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8".into()))?;
    let mut document: DocumentMut = text.parse().map_err(|error| malformed(format!("{error}")))?;
    match to {
        None => drop(document.remove(key)),
        Some(to) if key == "deny-yanked" => {
            let wrong = |_| Error::usage(format!("deny-yanked {to:?} is neither"), "use true or false");
            document[key] = value(to.parse::<bool>().map_err(wrong)?);
        }
        Some(to) => {
            if key != "freshness" {
                parse_duration(to)?;
            }
            document[key] = value(to);
        }
    }
    let text = document.to_string();
    let config: Config = toml::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    config.policy()?;
    disk::make_folder(session.home())?;
    Ok(disk::write_whole(&path, text.as_bytes())?)
}
