//! Archives of other package managers, unpacked so that they can be published as trees.
//!
//! An update of a compressed archive costs nearly the whole archive, an update of what it holds
//! costs what changed; so `publish` never stores the archive, but what comes out of it here.
//!
//! Promises: nothing is written outside the target folder, by name, through a link, or by a race;
//! an entry that means one thing to this reader and another to the next is refused; what is written
//! stays within [`Limits`], and memory does not grow with the bytes of the archive. Files keep
//! their bytes and their exec bit, links their target, folders their names, and nothing else
//! survives.
//! Leaves to others: which names are portable (`objects::ingest`), what a name or version of a
//! foreign format means here (`publish`), and the clearing away of a target that was left half
//! filled by an error.
//!
//! Room by room: `formats` reads, `path` judges a name, `root` writes beneath the target, `links`
//! judges where links lead, `metadata` reads what the package says about itself.

mod error;
mod formats;
mod links;
mod metadata;
mod path;
mod root;

use std::fmt;
use std::fs::File;
use std::path::Path;

pub use error::{Error, Reason};
pub use metadata::About;

use rustix::fs::{Mode, OFlags};

use error::Fault;
use formats::Container;
use root::Root;

/// Unpacks `archive` into the fresh folder `into`, which is made if it is not there and must else
/// be empty.
///
/// Tarballs of npm and crates of Cargo lose the one folder they wrap everything in. Nothing is
/// synced: what comes out is meant to be read into the store at once, and can be unpacked again.
///
/// # Errors `E-PATH` for an entry or a link that would leave the folder, `E-FORMAT` for what is
/// damaged, ambiguous or not a file, folder or link, `E-LIMIT` past `limits`, `E-CONFLICT` if
/// `into` holds something already, `E-IO` and `E-NOSPACE` for what the disk says. `into` is then
/// left as far as it came.
pub fn unpack(archive: &Path, into: &Path, limits: &Limits) -> Result<Unpacked, Error> {
    unpack_file(archive, into, limits).map_err(|fault| fault.of(archive))
}

fn unpack_file(archive: &Path, into: &Path, limits: &Limits) -> Result<Unpacked, Fault> {
    // A fifo must be refused, not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(archive, flags, Mode::empty()).map_err(Reason::io("open it"))?;
    let file = File::from(file);
    let container = Container::recognise(&file, archive)?;
    let mut root = Root::create(into, limits)?;
    let control = container.unpack(&file, &mut root)?;
    let known = metadata::describe(container, archive, &root, control.as_deref())?;
    root.finish(known.folder.as_deref())?;
    Ok(Unpacked { format: known.format, about: known.about })
}

/// What came out of an archive, besides the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// What kind of archive it was.
    pub format: Format,
    /// What the package says about itself, for the formats that have a place for it.
    pub about: Option<About>,
}

/// A kind of archive that can be published from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A wheel of Python: a zip archive with a `*.dist-info` folder.
    Wheel,
    /// A tarball of npm: gzip, everything in one folder, with a `package.json`.
    Npm,
    /// A crate of Cargo: gzip, everything in one folder `name-version`, with a `Cargo.toml`.
    Crate,
    /// A package of Debian; its data is unpacked, its scripts are not.
    Deb,
    /// Any other zip archive.
    Zip,
    /// A tar archive as it is.
    Tar,
    /// Any other tar archive in gzip.
    TarGz,
    /// A tar archive in xz.
    TarXz,
    /// A tar archive in zstd.
    TarZst,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Wheel => "wheel",
            Format::Npm => "npm tarball",
            Format::Crate => "crate",
            Format::Deb => "deb",
            Format::Zip => "zip",
            Format::Tar => "tar",
            Format::TarGz => "tar.gz",
            Format::TarXz => "tar.xz",
            Format::TarZst => "tar.zst",
        })
    }
}

/// How much may come out of an archive. The archive itself has no say in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files, folders and links, the folders that are only implied among them.
    pub files: u64,
    /// Bytes of one path, and of one link's target.
    pub path_bytes: usize,
    /// Names in one path.
    pub levels: usize,
}

impl Default for Limits {
    /// The limits of a release, and 64 GiB, which no published archive we know of comes near.
    fn default() -> Self {
        Self { bytes: 64 << 30, files: 2_000_000, path_bytes: 4096, levels: 128 }
    }
}
