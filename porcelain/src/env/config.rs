//! What an environment is bound to (`.pkgs/config`), and what is wanted in it (`pkg.cfg.toml`).
//!
//! ```toml
//! [environment]
//! channel = "release"                # taken where a package names none (O7)
//! sources = ["https://packages.example", "iroh:…"]
//! parent = "../base"                 # asked when something is not installed here
//!
//! [packages]
//! english-dict = "^1.2"
//! "acme/web" = { version = ">=1", owner = "id:…", channel = "nightly", optional = ["themes"], beside = ["=1.0.3"] }
//! ```
//!
//! Promises: an unknown key is an error with its line. No key names a command to run (SEC-086).
//! Leaves to others: editing in place ([`super::edit`]), finding what fulfils it.

use super::error::Error;
use super::layout::{Layout, try_read_text};
use super::text;
use objects::claim::Repository;
use objects::id::IdentityId;
use objects::limits::CONFIG_BYTES_MAX;
use objects::name::PackageName;
use objects::version::{Channel, Requirement};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The format of environments that this program reads and writes.
const FORMAT: u64 = 1;

/// Where an environment gets its packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// The address of the source, as a remote is addressed.
    pub source: String,
    /// The repository it is pinned to, once that is known: another one at the same address is refused.
    pub repository: Option<Repository>,
}

/// `.pkgs/config` as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    format: u64,
    #[serde(default)]
    binding: BindingTable,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BindingTable {
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<RepositoryTable>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepositoryTable {
    #[serde(with = "text::identity")]
    owner: IdentityId,
    name: String,
}

/// Reads `.pkgs/config`; None if there is none.
pub(super) fn read_binding(layout: &Layout) -> Result<Option<Binding>, Error> {
    #[derive(Deserialize)]
    struct Stated {
        format: u64,
    }
    let path = layout.config();
    let Some(text) = try_read_text(&path, CONFIG_BYTES_MAX)? else { return Ok(None) };
    // A newer format may have other keys, so its number is looked at first.
    let Stated { format } = text::parse(&path, &text)?;
    if format > FORMAT {
        return Err(Error::Newer { path, found: format });
    }
    let file: ConfigFile = text::parse(&path, &text)?;
    let repository = file.binding.repository.map(|table| Repository { owner: table.owner, name: table.name });
    Ok(Some(Binding { source: file.binding.source, repository }))
}

/// Writes `.pkgs/config`.
pub(super) fn write_binding(layout: &Layout, binding: &Binding) -> Result<(), Error> {
    let repository =
        binding.repository.clone().map(|Repository { owner, name }| RepositoryTable { owner, name });
    let table = BindingTable { source: binding.source.clone(), repository };
    let file = ConfigFile { format: FORMAT, binding: table };
    let text = toml::to_string(&file).expect("plain texts and numbers fit into TOML");
    Ok(layout.write(&layout.config(), text.as_bytes())?)
}

/// What is wanted in an environment: `pkg.cfg.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Wanted {
    /// About the environment as a whole.
    #[serde(default)]
    pub environment: Settings,
    /// The packages asked for by name.
    #[serde(default)]
    pub packages: BTreeMap<PackageName, WantedPackage>,
}

/// What is said of an environment as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The channel taken where a package names none (O7).
    #[serde(default)]
    pub channel: Channel,
    /// Addresses of further sources, tried in this order after the one it is bound to.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The environment asked for what is not installed here; relative to this one.
    #[serde(default)]
    pub parent: Option<String>,
}

/// What is wanted of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPackage {
    /// The versions that will do.
    pub version: Requirement,
    /// Whose package it has to be.
    pub owner: Option<IdentityId>,
    /// The channel, if not the environment's.
    pub channel: Option<Channel>,
    /// Those of its optional dependencies that are wanted.
    pub optional: Vec<PackageName>,
    /// Further versions to stand beside the default one (O9).
    pub beside: Vec<Requirement>,
}

impl WantedPackage {
    /// A package of which a version is demanded and nothing else.
    pub fn of_version(version: Requirement) -> Self {
        WantedPackage { version, owner: None, channel: None, optional: Vec::new(), beside: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WantedTable {
    #[serde(default = "Requirement::any")]
    version: Requirement,
    #[serde(default, deserialize_with = "text::identity_option")]
    owner: Option<IdentityId>,
    #[serde(default)]
    channel: Option<Channel>,
    #[serde(default)]
    optional: Vec<PackageName>,
    #[serde(default)]
    beside: Vec<Requirement>,
}

impl<'de> Deserialize<'de> for WantedPackage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand, since an untagged enum would forget what is wrong, and where.
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = WantedPackage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a version requirement, or a table with one")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WantedPackage, E> {
                text.parse().map(WantedPackage::of_version).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<WantedPackage, A::Error> {
                let table = WantedTable::deserialize(MapAccessDeserializer::new(map))?;
                let WantedTable { version, owner, channel, optional, beside } = table;
                Ok(WantedPackage { version, owner, channel, optional, beside })
            }
        }
        deserializer.deserialize_any(Form)
    }
}

impl Wanted {
    /// Reads a text that stands in `path`.
    pub(super) fn parse(path: &std::path::Path, text: &str) -> Result<Wanted, Error> {
        text::parse(path, text)
    }
}

/// The text of `pkg.cfg.toml`; None if there is none, which wants nothing.
pub(super) fn read_wanted_text(layout: &Layout) -> Result<Option<String>, Error> {
    try_read_text(&layout.wanted(), CONFIG_BYTES_MAX)
}
