//! Why an environment could not do as asked.

use objects::disk;
use objects::name::{PackageName, printable};
use objects::version::Version;
use std::path::{Path, PathBuf};

/// What goes wrong in an environment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No folder from here upwards is an environment that may be used.
    #[error("there is no environment in {} or above it{}", start.display(), strangers(ignored))]
    NoEnvironment {
        /// Where the search began.
        start: PathBuf,
        /// Environments passed by because they belong to another user (SEC-086).
        ignored: Vec<PathBuf>,
    },
    /// The folder is an environment already.
    #[error("{} is an environment already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The environment was written by a program that knows more.
    #[error("{} has format {found}, which this pkg does not know: use a newer one", path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// The format it states.
        found: u64,
    },
    /// A file of the environment does not have its form.
    #[error("{}: {why}", place(path, *line))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1, where one can be named.
        line: Option<usize>,
        /// What is wrong.
        why: String,
    },
    /// Something is too long for a file name, or too much for its file.
    #[error("{what} is too long: {bytes} bytes, at most {bytes_max} are taken")]
    TooLong {
        /// What is.
        what: String,
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// What a person put into `pkgs/` stands where a link has to go (O8).
    #[error("{} was not put there by pkg and is in the way of {package}", path.display())]
    InTheWay {
        /// What stands there.
        path: PathBuf,
        /// The package whose link it is in the way of.
        package: PackageName,
    },
    /// Two packages want one path (SEC-085).
    #[error("{first} and {second} cannot stand side by side: both need pkgs/{path}")]
    SharedPath {
        /// The path in `pkgs/`.
        path: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// The environment is no longer what the change was made for.
    #[error("the environment was changed meanwhile: generation {found} stands, not {expected}")]
    Moved {
        /// The generation the change was made for.
        expected: u64,
        /// The one that stands.
        found: u64,
    },
    /// A person changed the file after it was read.
    #[error("{} was edited meanwhile", path.display())]
    Edited {
        /// The file.
        path: PathBuf,
    },
    /// Another process is changing the environment.
    #[error("another process is changing {}", path.display())]
    Busy {
        /// The environment.
        path: PathBuf,
    },
    /// Nothing installed fits the spec.
    #[error("{spec} is not installed in {}", path.display())]
    NotInstalled {
        /// What was asked for.
        spec: String,
        /// The environment.
        path: PathBuf,
    },
    /// The content is there, but its link is gone, which blocks it (O6).
    #[error("{name} {version} is blocked: its content is here, but its link pkgs/{link} is gone")]
    LinkGone {
        /// The package.
        name: PackageName,
        /// The version that would fit.
        version: Version,
        /// The link that a repair makes again.
        link: String,
    },
    /// A link stands, but what it points at does not.
    #[error("the content of {name} is missing: {} is not there", path.display())]
    ContentGone {
        /// The package.
        name: PackageName,
        /// Where it should be.
        path: PathBuf,
    },
    /// The beginning of a content id fits several trees.
    #[error("{spec} is ambiguous: {} fit", found.join(" and "))]
    Ambiguous {
        /// What was asked for.
        spec: String,
        /// The content ids it fits.
        found: Vec<String>,
    },
    /// There is no such generation, or no longer.
    #[error("there is no generation {number}")]
    NoGeneration {
        /// Its number.
        number: u64,
    },
    /// The store could not say what belongs into a tree.
    #[error(transparent)]
    Object(#[from] objects::object::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NoEnvironment { .. }
            | Error::NotInstalled { .. }
            | Error::LinkGone { .. }
            | Error::ContentGone { .. }
            | Error::NoGeneration { .. } => "E-NOTFOUND",
            Error::Exists { .. }
            | Error::InTheWay { .. }
            | Error::SharedPath { .. }
            | Error::Moved { .. }
            | Error::Edited { .. }
            | Error::Busy { .. } => "E-CONFLICT",
            Error::Newer { .. } | Error::Malformed { .. } => "E-FORMAT",
            Error::TooLong { .. } => "E-LIMIT",
            Error::Ambiguous { .. } => "E-AMBIGUOUS",
            Error::Object(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }

    /// What a person may try next, if there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::NoEnvironment { ignored, .. } if !ignored.is_empty() => {
                Some("name the folder with -C to use an environment of another user")
            }
            Error::InTheWay { .. } => Some("move it elsewhere, or leave the package out"),
            Error::SharedPath { .. } => Some("keep them in two environments"),
            Error::Moved { .. } | Error::Edited { .. } | Error::Busy { .. } => Some("try again"),
            Error::LinkGone { .. } => Some("load it with repair, or install it again"),
            Error::ContentGone { .. } => Some("install it again"),
            Error::Ambiguous { .. } => Some("give more digits"),
            _ => None,
        }
    }

    /// A file that does not have its form, where no line can be named.
    pub(super) fn malformed(path: &Path, why: impl Into<String>) -> Self {
        Error::Malformed { path: path.to_owned(), line: None, why: shown(&why.into()) }
    }

    /// A TOML text that does not have its form.
    pub(super) fn toml(path: &Path, text: &str, at: Option<usize>, why: &str) -> Self {
        let before = at.and_then(|at| text.get(..at));
        let line = before.map(|before| before.matches('\n').count() + 1);
        Error::Malformed { path: path.to_owned(), line, why: shown(why) }
    }

    /// A JSON file that does not have its form.
    pub(super) fn json(path: &Path, error: &serde_json::Error) -> Self {
        Error::Malformed { path: path.to_owned(), line: None, why: shown(&error.to_string()) }
    }
}

/// Messages quote the file, which may be long and hold anything.
fn shown(why: &str) -> String {
    const WHY_CHARS_MAX: usize = 300;
    let line: Vec<&str> = why.lines().map(str::trim).collect();
    printable(&line.join("; ").chars().take(WHY_CHARS_MAX).collect::<String>())
}

fn place(path: &Path, line: Option<usize>) -> String {
    match line {
        Some(line) => format!("{}:{line}", path.display()),
        None => path.display().to_string(),
    }
}

fn strangers(ignored: &[PathBuf]) -> String {
    match ignored {
        [] => String::new(),
        paths => {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            format!("; ignored because another user owns it: {}", paths.join(", "))
        }
    }
}
