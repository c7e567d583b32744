//! The manifest `pkg.toml`: what an author says about a package.
//!
//! Promises: what a [`Manifest`] holds is text without control characters and within bounds, and
//! paths that stay inside the package; an unknown key is an error, never a shrug; writing and
//! reading again yields the same.
//! Leaves to others: whether a name, version or requirement is one (`objects::name`,
//! `objects::version`), and whether the paths lead to something (`publish`).

mod error;
mod limits;
mod nesting;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use error::distance as edit_distance;
pub use error::{Error, Place};
pub use nesting::too_deep;

/// What the file is called, at the top of a package.
pub const FILE_NAME: &str = "pkg.toml";

/// All of a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The package itself.
    pub package: Package,
    /// What it needs, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dependencies: BTreeMap<String, Dependency>,
    /// Versions of packages it cannot be installed beside, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conflicts: BTreeMap<String, String>,
    /// The folder of each variant, by platform; `any` is the part that all share.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variants: BTreeMap<String, String>,
    /// What runs around installing and removing, where that is allowed.
    #[serde(default, skip_serializing_if = "Scripts::is_empty")]
    pub scripts: Scripts,
}

/// The package itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Compares before the version; for when the versions themselves went wrong (G-12).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub epoch: u32,
    /// Compares after the version; for when only the packaging changed (G-11).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u32,
    /// The channel it is released on, `release` if none is named (O7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// An address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// An address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Who made it (G-17).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
    /// Where it is listed (L-F12, G-4).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<String>,
    /// Words it is found by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The media type of a package that serves as one file (O2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// The versions of `pkg` that can handle it (G-14).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_pkg: Option<String>,
}

/// A person or group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Author {
    /// As they write it.
    pub name: String,
    /// Where they are written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Where they are read about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What a package needs of another: a requirement alone, `"^1.2"`, or a table that says more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// The versions that will do; `*` if the table names none.
    pub version: String,
    /// Whose package is meant, if it is not the one that the name stands for here.
    pub owner: Option<String>,
    /// The channel to take it from.
    pub channel: Option<String>,
    /// Whether it is taken only when asked for.
    pub optional: bool,
}

/// Paths of scripts in the package (G-15).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scripts {
    /// Runs before the package is installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_install: Option<String>,
    /// Runs after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_install: Option<String>,
    /// Runs before the package is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_remove: Option<String>,
    /// Runs after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_remove: Option<String>,
}

impl Manifest {
    /// Reads the manifest at `path`; nothing if there is none.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and `E-IO` for what the disk says.
    pub fn read(path: &Path) -> Result<Option<Self>, Error> {
        match read_text(path)? {
            Some(text) => Self::parse(&text, &path.to_string_lossy()).map(Some),
            None => Ok(None),
        }
    }

    /// Takes `text` for a manifest. `origin` is what errors call it: a path, most often.
    ///
    /// # Errors `E-FORMAT` for what is not TOML, not a manifest, too long or too deeply nested;
    /// `E-LIMIT` for a list or a text past its bound; `E-PATH` for a path that leaves the package.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Error> {
        limits::check_text(text, origin)?;
        let manifest = toml::from_str(text).map_err(|error| Error::of_toml(&error, text, origin))?;
        limits::check(&manifest, origin)?;
        Ok(manifest)
    }

    /// The manifest as text, from which [`parse`](Self::parse) makes the same.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("texts, numbers, lists and tables by name all have a form in TOML")
    }
}

fn read_text(path: &Path) -> Result<Option<String>, Error> {
    let origin = path.to_string_lossy();
    let failed = |source: std::io::Error| Error::Io { origin: origin.clone().into_owned(), source };
    // A fifo must be refused, not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        file => File::from(file.map_err(|errno| failed(errno.into()))?),
    };
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(Error::NotAFile { origin: origin.into_owned() });
    }
    let mut bytes = Vec::new();
    file.take(limits::MANIFEST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        // The limit may have cut a character in two; that it is too long is then the better answer.
        Err(error) if error.as_bytes().len() as u64 > limits::MANIFEST_BYTES_MAX => {
            Err(Error::TooLong { origin: origin.into_owned() })
        }
        Err(_) => Err(Error::NotText { origin: origin.into_owned() }),
    }
}

impl Scripts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for Dependency {
    /// Any version will do.
    fn default() -> Self {
        Self { version: "*".to_owned(), owner: None, channel: None, optional: false }
    }
}

impl Dependency {
    /// A dependency on versions alone.
    pub fn on(version: impl Into<String>) -> Self {
        Self { version: version.into(), ..Self::default() }
    }
}

/// The long form of a [`Dependency`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", remote = "Dependency")]
struct Table {
    #[serde(default = "any_version")]
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

fn any_version() -> String {
    Dependency::default().version
}

impl Serialize for Dependency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Dependency { version, owner: None, channel: None, optional: false } => {
                serializer.serialize_str(version)
            }
            _ => Table::serialize(self, serializer),
        }
    }
}

/// By hand, since serde's untagged enums forget what was wrong inside.
impl<'de> Deserialize<'de> for Dependency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Dependency;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a requirement like \"^1.2\", or a table with one")
            }

            fn visit_str<E>(self, version: &str) -> Result<Dependency, E> {
                Ok(Dependency::on(version))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Dependency, A::Error> {
                Table::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_any(Forms)
    }
}
