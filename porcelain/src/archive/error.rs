//! Why an archive could not be unpacked.
//!
//! An [`Error`] names the archive, the entry where one is to blame, and the [`Reason`]. Inside the
//! room a [`Fault`] travels, which does not know the archive yet. Names out of archives are shown
//! escaped.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// An archive that could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack {archive:?}{}", in_entry(.entry.as_deref()))]
pub struct Error {
    archive: PathBuf,
    entry: Option<String>,
    #[source]
    reason: Reason,
}

impl Error {
    /// The archive.
    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// The path of the entry that is to blame, as the archive spells it, unless it is the archive
    /// as a whole.
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }

    /// What was wrong.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The code users see and scripts match on.
    pub fn code(&self) -> &'static str {
        self.reason.code()
    }
}

fn in_entry(entry: Option<&str>) -> String {
    entry.map(|name| format!(", entry {name:?}")).unwrap_or_default()
}

/// What was wrong with an archive or one of its entries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// No format we know.
    #[error("neither its bytes nor its name are those of a known archive format")]
    Unrecognised,
    /// A path that is not a plain way downwards.
    #[error("its path {0}")]
    Path(&'static str),
    /// A path that needs a folder where something else is.
    #[error("its path leads through {0:?}, which is not a folder")]
    Through(String),
    /// A link that does not stay inside.
    #[error("it is a link to {target:?}, which {why}")]
    Link {
        /// Where it leads, as the archive spells it.
        target: String,
        /// What is wrong with that.
        why: &'static str,
    },
    /// One path, two entries. They are counted from 1, in the order of the archive.
    #[error("entry {again} has the path that entry {first} has taken")]
    Duplicate {
        /// The entry that came first, or was the first to need a folder of this path.
        first: u64,
        /// The one that came again.
        again: u64,
    },
    /// Neither file, folder nor link.
    #[error("it is a {0}, which a package cannot hold")]
    Kind(&'static str),
    /// Bytes that the format does not allow, or that readers disagree about.
    #[error("{0}")]
    Format(Cow<'static, str>),
    /// A checksum that fails, a stream that ends early, and the like.
    #[error("the archive is damaged")]
    Damaged(#[source] Source),
    /// A length that was not kept.
    #[error("it holds {than} bytes than the {declared} declared")]
    Size {
        /// What its header says.
        declared: u64,
        /// `more` or `fewer`.
        than: &'static str,
    },
    /// More than is allowed to come out.
    #[error("more than {limit} {what}")]
    Limit {
        /// What is counted.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// The target holds something already.
    #[error("{0:?} is not an empty folder")]
    NotFresh(PathBuf),
    /// What the disk says.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What came of it.
        source: io::Error,
    },
}

impl Reason {
    /// The code users see and scripts match on.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::Path(_) | Reason::Through(_) | Reason::Link { .. } => "E-PATH",
            Reason::Unrecognised | Reason::Duplicate { .. } | Reason::Kind(_) => "E-FORMAT",
            Reason::Format(_) | Reason::Damaged(_) | Reason::Size { .. } => "E-FORMAT",
            Reason::Limit { .. } => "E-LIMIT",
            Reason::NotFresh(_) => "E-CONFLICT",
            Reason::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "E-NOSPACE",
                _ => "E-IO",
            },
        }
    }

    /// Wraps what the disk says about an attempt to do `what`.
    pub(super) fn io<E: Into<io::Error>>(what: &'static str) -> impl Fn(E) -> Reason {
        move |source| Reason::Io { what, source: source.into() }
    }

    /// Tells a disk that cannot be read from a stream that cannot be decoded: only the first has a
    /// system error.
    pub(super) fn reading(source: io::Error) -> Reason {
        match source.raw_os_error() {
            Some(_) => Reason::Io { what: "read it", source },
            None => Reason::Damaged(source.into()),
        }
    }

    pub(super) fn format(what: impl Into<Cow<'static, str>>) -> Reason {
        Reason::Format(what.into())
    }
}

/// A reason and the entry it concerns: an [`Error`] that does not know its archive yet.
#[derive(Debug)]
pub(super) struct Fault {
    entry: Option<String>,
    reason: Reason,
}

impl Fault {
    pub(super) fn of(self, archive: &Path) -> Error {
        Error { archive: archive.to_owned(), entry: self.entry, reason: self.reason }
    }
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self { entry: None, reason }
    }
}

/// Blames an entry.
pub(super) trait At<T> {
    fn at(self, entry: &str) -> Result<T, Fault>;
}

impl<T> At<T> for Result<T, Reason> {
    fn at(self, entry: &str) -> Result<T, Fault> {
        self.map_err(|reason| Fault { entry: Some(entry.to_owned()), reason })
    }
}
