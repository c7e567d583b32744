//! Generations: what stood in an environment after each change.
//!
//! Promises: a generation is written once and whole; `HEAD` names the current one. Numbers grow.
//! A file beyond `HEAD` was left by a change that never came about.

use super::Environment;
use super::error::Error;
use super::layout::{Layout, try_read_text};
use objects::disk;
use objects::id::{IdentityId, StatementId, TreeId};
use objects::name::PackageName;
use objects::release::Sha256;
use objects::time::Timestamp;
use objects::version::{Channel, Version};
use serde::{Deserialize, Serialize};

/// Largest file of a generation, in bytes: some 50,000 packages.
const GENERATION_BYTES_MAX: usize = 64 << 20;
const HEAD_BYTES_MAX: usize = 32;

/// A package as it stands in an environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Installed {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The channel it was released on.
    #[serde(default, skip_serializing_if = "Channel::is_default")]
    pub channel: Channel,
    /// Whose package it is.
    pub owner: IdentityId,
    /// The log entry that released it.
    pub entry: StatementId,
    /// Who signed that entry.
    pub signer: IdentityId,
    /// The number of the signer's document at that time.
    pub signer_n: u64,
    /// Its content.
    pub tree: TreeId,
    /// SHA-256 of its canonical archive.
    pub sha256: Sha256,
    /// Bytes of its files and links.
    pub size: u64,
    /// How many files, links and directories.
    pub files: u64,
    /// The media type its author gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// True if it was asked for by name, false if another package needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub requested: bool,
    /// The packages it needs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<PackageName>,
    /// True if it stands beside the default version (O9).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub beside: bool,
}

/// The state of an environment after one change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Generation {
    /// Counted from 0, which is the empty environment.
    pub number: u64,
    /// When it came about.
    pub when: Timestamp,
    /// The words of the command that brought it about.
    pub why: String,
    /// What stands in it, by name and version.
    pub packages: Vec<Installed>,
}

impl Generation {
    /// The versions of a package that stand in it.
    pub fn of<'g>(&'g self, name: &'g PackageName) -> impl Iterator<Item = &'g Installed> {
        self.packages.iter().filter(move |package| package.name == *name)
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<(), disk::Error> {
        let mut text = serde_json::to_vec_pretty(self).expect("names, numbers and texts fit into JSON");
        text.push(b'\n');
        layout.write(&layout.generation(self.number), &text)
    }
}

impl Environment {
    /// The number of the current generation.
    ///
    /// # Errors
    /// `Malformed` if `HEAD` is damaged or gone.
    pub fn head(&self) -> Result<u64, Error> {
        let path = self.layout.head();
        let text = try_read_text(&path, HEAD_BYTES_MAX)?;
        let number = text.and_then(|text| text.trim_ascii_end().parse().ok());
        number.ok_or_else(|| Error::malformed(&path, "it is not the number of a generation"))
    }

    /// The current generation.
    ///
    /// # Errors
    /// As [`Environment::head`] and [`Environment::generation`].
    pub fn current(&self) -> Result<Generation, Error> {
        self.generation(self.head()?)
    }

    /// A generation by its number.
    ///
    /// # Errors
    /// `NoGeneration` if it is not there or not yet, `Malformed` if it is damaged.
    pub fn generation(&self, number: u64) -> Result<Generation, Error> {
        let path = self.layout.generation(number);
        let gone = Error::NoGeneration { number };
        let text = try_read_text(&path, GENERATION_BYTES_MAX)?.ok_or(gone)?;
        let generation: Generation = serde_json::from_str(&text).map_err(|e| Error::json(&path, &e))?;
        match generation.number == number {
            true => Ok(generation),
            false => Err(Error::malformed(&path, "it states another number")),
        }
    }

    /// The numbers of all generations that are kept, from the oldest to the current one.
    ///
    /// # Errors
    /// If `HEAD` or the disk refuses.
    pub fn history_numbers(&self) -> Result<Vec<u64>, Error> {
        let head = self.head()?;
        let names = disk::list(&self.layout.generations())?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.retain(|number| *number <= head);
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// All generations that are kept, from the oldest to the current one.
    ///
    /// # Errors
    /// `Malformed` if one is damaged.
    pub fn history(&self) -> Result<Vec<Generation>, Error> {
        self.history_numbers()?.into_iter().map(|number| self.generation(number)).collect()
    }
}

pub(super) fn write_head(layout: &Layout, number: u64) -> Result<(), disk::Error> {
    layout.write(&layout.head(), format!("{number}\n").as_bytes())
}
