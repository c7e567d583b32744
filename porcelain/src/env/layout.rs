//! Where everything in an environment stands.
//!
//! ```text
//! pkg.cfg.toml   pkg.lock                     what is wanted, what was chosen
//! pkgs/          acme/web                     links that people and programs use
//!                acme/web#1.0.3               …beside the default one
//! .pkgs/         config  HEAD  lock  journal  generations/<N> <N>.lock
//!                acme~web/acme~web#<cid>      content; <cid> = first 32 digits of its tree id
//!                acme~web/acme~web#<cid>.json what is known of it
//!                index-db/  backups/  tmp/
//! ```
//!
//! Promises: every path below follows from typed names, so nothing read from a file can lead out of
//! the environment; no package name can meet a control file.

use super::error::Error;
use objects::disk::{self, Context, Scratch};
use objects::id::{ObjectId, TreeId};
use objects::name::PackageName;
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of links.
pub const LINKS_FOLDER: &str = "pkgs";
/// The folder of everything else, like `.git`.
pub const CONTROL_FOLDER: &str = ".pkgs";
/// What is wanted.
pub const WANTED_FILE: &str = "pkg.cfg.toml";
/// What was chosen.
pub const LOCK_FILE: &str = "pkg.lock";

/// What stands in `.pkgs/` beside the packages. `HEAD` is no package name to begin with.
const RESERVED: [&str; 9] =
    ["config", "lock", "journal", "generations", "index-db", "backups", "tmp", "store", "state.db"];

/// Longest folder name made of a package name; leaves room for `#<cid>.json` and a backup's number.
const COMPONENT_BYTES_MAX: usize = 200;

/// The paths of one environment.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub root: PathBuf,
}

impl Layout {
    pub fn control(&self) -> PathBuf {
        self.root.join(CONTROL_FOLDER)
    }

    pub fn links(&self) -> PathBuf {
        self.root.join(LINKS_FOLDER)
    }

    pub fn wanted(&self) -> PathBuf {
        self.root.join(WANTED_FILE)
    }

    pub fn lockfile(&self) -> PathBuf {
        self.root.join(LOCK_FILE)
    }

    pub fn config(&self) -> PathBuf {
        self.control().join("config")
    }

    pub fn head(&self) -> PathBuf {
        self.control().join("HEAD")
    }

    pub fn lock(&self) -> PathBuf {
        self.control().join("lock")
    }

    pub fn journal(&self) -> PathBuf {
        self.control().join("journal")
    }

    pub fn tmp(&self) -> PathBuf {
        self.control().join("tmp")
    }

    pub fn backups(&self) -> PathBuf {
        self.control().join("backups")
    }

    pub fn index_db(&self) -> PathBuf {
        self.control().join("index-db")
    }

    pub fn generations(&self) -> PathBuf {
        self.control().join("generations")
    }

    pub fn generation(&self, number: u64) -> PathBuf {
        self.generations().join(number.to_string())
    }

    /// The lockfile as it stood with a generation.
    pub fn generation_lock(&self, number: u64) -> PathBuf {
        self.generations().join(format!("{number}.lock"))
    }

    /// The folder of all trees of one package.
    pub fn package(&self, name: &PackageName) -> PathBuf {
        self.control().join(component(name))
    }

    pub fn tree(&self, name: &PackageName, cid: &Cid) -> PathBuf {
        self.root.join(tree_path(name, cid))
    }

    pub fn facts(&self, name: &PackageName, cid: &Cid) -> PathBuf {
        self.root.join(tree_path(name, cid) + FACTS_SUFFIX)
    }

    /// Writes a file of the environment, aside and then by a rename, so that it lasts.
    pub fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), disk::Error> {
        self.write_scratch(bytes)?.keep_as(path)?;
        disk::sync_folder(path.parent().unwrap_or(&self.root))
    }

    /// Writes a file of the environment that is synced later, with others.
    pub fn write_unsynced(&self, path: &Path, bytes: &[u8]) -> Result<(), disk::Error> {
        let aside = self.tmp().join(unique("file"));
        std::fs::write(&aside, bytes).doing("write", &aside)?;
        std::fs::rename(&aside, path).doing("rename to", path)
    }

    fn write_scratch(&self, bytes: &[u8]) -> Result<Scratch, disk::Error> {
        let scratch = Scratch::create(&self.tmp(), ".tmp")?;
        scratch.file().write_all(bytes).doing("write", scratch.path())?;
        Ok(scratch)
    }
}

/// What the name of a tree's facts ends in.
pub(super) const FACTS_SUFFIX: &str = ".json";

/// The path of a tree from the top of the environment.
pub(super) fn tree_path(name: &PackageName, cid: &Cid) -> String {
    let component = component(name);
    format!("{CONTROL_FOLDER}/{component}/{component}#{cid}")
}

/// True for a name in `.pkgs/` that belongs to no package.
pub(super) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name == "HEAD"
}

/// A package's folder in `.pkgs/`. A leading or doubled `~` stands in no plain one, since no label
/// is empty.
pub(super) fn component(name: &PackageName) -> String {
    let plain = name.to_component();
    if plain.len() > COMPONENT_BYTES_MAX {
        let digest = ObjectId::of(name.as_str().as_bytes()).short(16);
        return format!("{}~~{digest}", &plain[..COMPONENT_BYTES_MAX - 18]);
    }
    if is_reserved(&plain) { format!("~{plain}") } else { plain }
}

/// A name in a folder that this process has not used yet.
pub(super) fn unique(what: &str) -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{what}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The content id in a file name: the first 32 hexadecimal digits of a tree id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Cid(String);

impl Cid {
    const DIGITS: usize = 32;

    pub fn of(tree: TreeId) -> Self {
        Cid(tree.short(Self::DIGITS))
    }

    pub fn parse(digits: &str) -> Option<Self> {
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
        (plain && digits.len() == Self::DIGITS).then(|| Cid(digits.to_owned()))
    }

    /// The content id that a path from [`tree_path`] ends in, if it is one of `name`.
    pub fn from_tree_path(name: &PackageName, path: &str) -> Option<Self> {
        let component = component(name);
        let rest = path.strip_prefix(CONTROL_FOLDER)?.strip_prefix('/')?;
        let rest = rest.strip_prefix(&component)?.strip_prefix('/')?;
        Cid::parse(rest.strip_prefix(&component)?.strip_prefix('#')?)
    }

    /// The content id of the longest kind that `digits` begin with, if they are enough for one.
    pub fn from_digits(digits: &str) -> Option<Self> {
        Cid::parse(digits.get(..Self::DIGITS)?)
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a file of at most `bytes_max` bytes; None if it is absent.
pub(super) fn try_read_text(path: &Path, bytes_max: usize) -> Result<Option<String>, Error> {
    let Some(bytes) = disk::try_read(path, bytes_max)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| Error::malformed(path, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> PackageName {
        text.parse().unwrap()
    }

    /// No package can take the place of a control file (SEC-085).
    #[test]
    fn folders_of_packages_are_their_own() {
        let long = |last: &str| vec!["a".repeat(64); 3].join("/") + "/" + last;
        let names: Vec<String> = ["dict", "acme/web", "config", "tmp", "index-db", "a/b/c"]
            .into_iter()
            .map(str::to_owned)
            .chain([long("x"), long(&"x".repeat(40)), long(&"y".repeat(40))])
            .collect();
        let folders: std::collections::BTreeSet<String> =
            names.iter().map(|text| component(&name(text))).collect();
        assert_eq!(folders.len(), names.len());
        for folder in folders {
            assert!(!is_reserved(&folder), "{folder}");
            assert!(folder.len() <= COMPONENT_BYTES_MAX && !folder.contains('/'), "{folder}");
        }
    }

    #[test]
    fn content_ids_are_read_back_from_paths() {
        let cid = Cid::of(TreeId::new(ObjectId::of(b"tree")));
        for text in ["dict", "acme/web", "tmp"] {
            let path = tree_path(&name(text), &cid);
            assert_eq!(Cid::from_tree_path(&name(text), &path), Some(cid.clone()), "{path}");
            assert_eq!(Cid::from_tree_path(&name("other"), &path), None);
            assert_eq!(Cid::from_tree_path(&name(text), &format!("{path}/x")), None);
        }
        assert_eq!(Cid::parse(&"A".repeat(32)), None);
    }
}
