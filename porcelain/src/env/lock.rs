//! The lockfile `pkg.lock`: what was chosen, as pins (THREATS 1.7).
//!
//! ```toml
//! version = 1
//!
//! [[repository]]
//! owner = "id:…"
//! name = "main"
//! index-n = 12
//! index = "blake3:…"
//!
//! [[identity]]
//! id = "id:…"
//! n = 3
//! head = "blake3:…"
//!
//! [[package]]
//! name = "acme/web"
//! version = "1.2.0"
//! owner = "id:…"
//! entry = "blake3:…"
//! tree = "blake3:…"
//! signer = "id:…"
//! signer-n = 3
//! grants = ["blake3:…"]    # the path from the owner to the signer, if they are two
//! ```
//!
//! Promises: the same choice is the same text, whatever the order it came in; a text that is read
//! and written again says the same. It holds no addresses. Reading is bounded in bytes and nesting
//! (SEC-077).
//! Leaves to others: whether the pins hold (`--locked` repeats every check against them, SEC-073).

use super::error::Error;
use super::layout::try_read_text;
use super::text::{self, identity_text, quoted};
use objects::id::{GrantId, IdentityId, StatementId, TreeId};
use objects::name::PackageName;
use objects::version::{Channel, Version};
use serde::Deserialize;
use std::fmt::{self, Write as _};
use std::path::Path;

/// Largest lockfile, in bytes (THREATS 1.8).
pub const LOCKFILE_BYTES_MAX: usize = 16 << 20;
/// The form this program reads and writes.
const FORM: u64 = 1;

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockfile {
    #[serde(rename = "version")]
    _form: FormOne,
    /// The indexes it was chosen from.
    #[serde(default, rename = "repository")]
    pub repositories: Vec<LockedRepository>,
    /// The newest documents seen of the identities that matter.
    #[serde(default, rename = "identity")]
    pub identities: Vec<LockedIdentity>,
    /// The packages.
    #[serde(default, rename = "package")]
    pub packages: Vec<LockedPackage>,
}

/// An index that was chosen from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedRepository {
    /// Who signs it.
    #[serde(with = "text::identity")]
    pub owner: IdentityId,
    /// Which of theirs.
    pub name: String,
    /// The number of the index.
    pub index_n: u64,
    /// The index.
    pub index: StatementId,
}

/// The newest document seen of an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedIdentity {
    /// The identity.
    #[serde(with = "text::identity")]
    pub id: IdentityId,
    /// The document's number.
    pub n: u64,
    /// The document.
    pub head: StatementId,
}

/// One package, pinned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedPackage {
    /// Its name.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// The channel it was released on.
    #[serde(default)]
    pub channel: Channel,
    /// Whose it is.
    #[serde(with = "text::identity")]
    pub owner: IdentityId,
    /// The log entry that released it.
    pub entry: StatementId,
    /// Its content.
    pub tree: TreeId,
    /// Who signed the entry.
    #[serde(with = "text::identity")]
    pub signer: IdentityId,
    /// The number of the signer's document.
    pub signer_n: u64,
    /// The grants from the owner to the signer; none if the owner signed.
    #[serde(default)]
    pub grants: Vec<GrantId>,
    /// True if it stands beside the default version (O9).
    #[serde(default)]
    pub beside: bool,
}

/// The number 1, and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
struct FormOne;

impl TryFrom<u64> for FormOne {
    type Error = String;
    fn try_from(form: u64) -> Result<Self, String> {
        match form {
            FORM => Ok(FormOne),
            _ => {
                Err(format!("lockfiles of version {form} are not known to this pkg; it knows version {FORM}"))
            }
        }
    }
}

impl Lockfile {
    /// Reads a lockfile; `path` is where it stands, for messages.
    ///
    /// # Errors
    /// `TooLong` beyond 16 MiB; `Malformed`, with the line, if it is none or pins one link twice.
    pub fn parse(path: &Path, text: &str) -> Result<Lockfile, Error> {
        if text.len() > LOCKFILE_BYTES_MAX {
            let what = path.display().to_string();
            return Err(Error::TooLong { what, bytes: text.len(), bytes_max: LOCKFILE_BYTES_MAX });
        }
        let mut lockfile: Lockfile = text::parse(path, text)?;
        lockfile.sort();
        match lockfile.doubled() {
            Some(why) => Err(Error::malformed(path, why)),
            None => Ok(lockfile),
        }
    }

    /// A lockfile of these rows, put in order.
    pub fn new(
        repositories: Vec<LockedRepository>,
        identities: Vec<LockedIdentity>,
        packages: Vec<LockedPackage>,
    ) -> Lockfile {
        let mut lockfile = Lockfile { _form: FormOne, repositories, identities, packages };
        lockfile.sort();
        lockfile.repositories.dedup();
        lockfile.identities.dedup();
        lockfile
    }

    /// The pins of a package: the default version and those beside it.
    pub fn of<'l>(&'l self, name: &'l PackageName) -> impl Iterator<Item = &'l LockedPackage> {
        self.packages.iter().filter(move |package| package.name == *name)
    }

    fn sort(&mut self) {
        self.repositories.sort();
        self.identities.sort();
        // Versions that differ in their build alone are equal, so more than the key has to decide.
        let rest = |p: &LockedPackage| (p.version.to_string(), p.beside, p.entry);
        self.packages.sort_by(|a, b| a.key().cmp(&b.key()).then_with(|| rest(a).cmp(&rest(b))));
    }

    /// Rows that say two things of one; the list is sorted.
    fn doubled(&self) -> Option<String> {
        let packages = self.packages.windows(2).find(|pair| pair[0].key() == pair[1].key());
        let identities = self.identities.windows(2).find(|pair| pair[0].id == pair[1].id);
        let repositories = self.repositories.windows(2).find(|pair| pair[0].key() == pair[1].key());
        packages
            .map(|pair| format!("{} {} is pinned twice", pair[0].name, pair[0].version))
            .or(identities.map(|pair| format!("identity {} is pinned twice", pair[0].id.nick())))
            .or(repositories.map(|pair| format!("repository {} is pinned twice", pair[0].name)))
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "# What was chosen for pkg.cfg.toml; written by pkg. Keep it under version control.")?;
        writeln!(out, "version = {FORM}")?;
        for LockedRepository { owner, name, index_n, index } in &self.repositories {
            let (owner, name) = (identity_text(owner), quoted(name));
            writeln!(out, "\n[[repository]]\nowner = \"{owner}\"\nname = {name}")?;
            writeln!(out, "index-n = {index_n}\nindex = \"{index}\"")?;
        }
        for LockedIdentity { id, n, head } in &self.identities {
            writeln!(out, "\n[[identity]]\nid = \"{}\"\nn = {n}\nhead = \"{head}\"", identity_text(id))?;
        }
        self.packages.iter().try_for_each(|package| package.write(out))
    }
}

impl LockedRepository {
    fn key(&self) -> (&IdentityId, &str) {
        (&self.owner, &self.name)
    }
}

impl LockedPackage {
    /// What may be pinned once.
    fn key(&self) -> (&PackageName, &Version, &Channel) {
        (&self.name, &self.version, &self.channel)
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let LockedPackage { name, version, channel, owner, entry, tree, signer, signer_n, grants, beside } =
            self;
        writeln!(out, "\n[[package]]\nname = \"{name}\"\nversion = \"{version}\"")?;
        if !channel.is_default() {
            writeln!(out, "channel = \"{channel}\"")?;
        }
        if *beside {
            writeln!(out, "beside = true")?;
        }
        writeln!(out, "owner = \"{}\"\nentry = \"{entry}\"\ntree = \"{tree}\"", identity_text(owner))?;
        writeln!(out, "signer = \"{}\"\nsigner-n = {signer_n}", identity_text(signer))?;
        if !grants.is_empty() {
            let grants: Vec<String> = grants.iter().map(|grant| format!("    \"{grant}\",\n")).collect();
            writeln!(out, "grants = [\n{}]", grants.concat())?;
        }
        Ok(())
    }
}

impl fmt::Display for Lockfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text)?;
        f.write_str(&text)
    }
}

/// Reads a lockfile; None if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Lockfile>, Error> {
    let text = try_read_text(path, LOCKFILE_BYTES_MAX)?;
    text.map(|text| Lockfile::parse(path, &text)).transpose()
}
