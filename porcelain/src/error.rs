//! Why a verb did not do as asked: one error, with a code of the list, a tone and hints.

use std::path::PathBuf;

/// Any failure of a verb.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that was named does not exist.
    #[error("{what} is not here")]
    NotFound {
        /// What was looked for.
        what: String,
        /// What to try.
        hint: String,
    },
    /// Two things cannot both be.
    #[error("{what}")]
    Conflict {
        /// Which.
        what: String,
        /// What to try.
        hint: String,
    },
    /// What was typed cannot be meant.
    #[error("{what}")]
    Usage {
        /// What is wrong with it.
        what: String,
        /// What to try.
        hint: String,
    },
    /// More than one thing answers to a name.
    #[error("{what} is ambiguous: {candidates}")]
    Ambiguous {
        /// The name.
        what: String,
        /// What it could be.
        candidates: String,
    },
    /// A check of the rules of acceptance failed where no other room words it.
    #[error("{what}")]
    Refused {
        /// A code of the list.
        code: &'static str,
        /// What failed.
        what: String,
        /// What to try.
        hint: String,
    },
    /// A file is malformed.
    #[error("{} is malformed: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An archive cannot be unpacked.
    #[error(transparent)]
    Archive(#[from] crate::archive::Error),
    /// A manifest is malformed.
    #[error(transparent)]
    Manifest(#[from] crate::manifest::Error),
    /// A folder cannot be taken in.
    #[error(transparent)]
    Ingest(#[from] objects::ingest::Error),
    /// A tree cannot be written out.
    #[error(transparent)]
    Checkout(#[from] objects::checkout::Error),
    /// A repository does not serve.
    #[error(transparent)]
    Repository(#[from] objects::repository::Error),
    /// A repository cannot be mended.
    #[error(transparent)]
    Repair(#[from] objects::repair::Error),
    /// An object cannot be had.
    #[error(transparent)]
    Object(#[from] objects::object::Error),
    /// A statement cannot be had.
    #[error(transparent)]
    Statement(#[from] objects::statements::Error),
    /// A statement does not stand.
    #[error(transparent)]
    Signed(#[from] objects::signed::Error),
    /// An identity's chain does not stand.
    #[error(transparent)]
    Identity(#[from] objects::identity::Error),
    /// A ref cannot be read or moved.
    #[error(transparent)]
    Refs(#[from] objects::refs::Error),
    /// An index cannot be read.
    #[error(transparent)]
    Index(#[from] plumbing::index::Error),
    /// Nothing could be fetched or pushed.
    #[error(transparent)]
    Sync(#[from] plumbing::sync::Error),
    /// Bytes did not get through.
    #[error(transparent)]
    Transport(#[from] plumbing::transport::Error),
    /// What was fetched is not to be believed.
    #[error(transparent)]
    Trust(#[from] plumbing::trust::Error),
    /// Pins and heads cannot be read or written.
    #[error(transparent)]
    State(#[from] plumbing::trust::DatabaseError),
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] plumbing::trust::keyring::Error),
    /// Packages cannot be chosen.
    #[error(transparent)]
    Resolve(#[from] plumbing::resolve::Error),
    /// An environment does not serve.
    #[error(transparent)]
    Environment(#[from] crate::env::Error),
    /// A spec cannot be read.
    #[error(transparent)]
    Spec(#[from] objects::spec::Error),
    /// A version cannot be read.
    #[error(transparent)]
    Version(#[from] objects::version::Error),
    /// A name cannot be read.
    #[error(transparent)]
    Name(#[from] objects::name::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] objects::disk::Error),
}

/// What kind of failure it is: the exit code, and how serious it sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Anything else.
    Failed = 1,
    /// What was typed cannot be meant.
    Usage = 2,
    /// Something that was named does not exist.
    NotFound = 3,
    /// What was fetched is not to be believed.
    Untrusted = 4,
    /// Two things cannot both be.
    Conflict = 5,
    /// Bytes did not get through.
    Network = 6,
    /// What is stored is damaged.
    Damaged = 7,
}

impl Error {
    /// Something that was named does not exist.
    pub fn not_found(what: impl ToString, hint: impl ToString) -> Error {
        Error::NotFound { what: what.to_string(), hint: hint.to_string() }
    }

    /// Two things cannot both be.
    pub fn conflict(what: impl ToString, hint: impl ToString) -> Error {
        Error::Conflict { what: what.to_string(), hint: hint.to_string() }
    }

    /// What was typed cannot be meant.
    pub fn usage(what: impl ToString, hint: impl ToString) -> Error {
        Error::Usage { what: what.to_string(), hint: hint.to_string() }
    }

    /// The code that `--json` shows: one of the list in THREATS 2, or `E-USAGE`.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotFound { .. } => "E-NOTFOUND",
            Error::Conflict { .. } => "E-CONFLICT",
            Error::Usage { .. } => "E-USAGE",
            Error::Ambiguous { .. } => "E-AMBIGUOUS",
            Error::Refused { code, .. } => code,
            Error::Malformed { .. } => "E-FORMAT",
            Error::Archive(error) => error.code(),
            Error::Manifest(error) => error.code(),
            Error::Ingest(error) => error.code(),
            Error::Checkout(error) => error.code(),
            Error::Repository(error) => error.code(),
            Error::Repair(error) => error.code(),
            Error::Object(error) => error.code(),
            Error::Statement(error) => error.code(),
            Error::Signed(error) => error.code(),
            Error::Identity(error) => error.code(),
            Error::Refs(error) => error.code(),
            Error::Index(error) => error.code(),
            Error::Sync(error) => error.code(),
            Error::Transport(error) => error.code(),
            Error::Trust(error) => error.code(),
            Error::State(error) => error.code(),
            Error::Key(error) => error.code(),
            Error::Resolve(error) => error.code(),
            Error::Environment(error) => error.code(),
            Error::Spec(error) => error.code(),
            Error::Version(error) => error.code(),
            Error::Name(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }

    /// The class, which decides the exit code.
    pub fn class(&self) -> Class {
        match self.code() {
            "E-USAGE" | "E-AMBIGUOUS" => Class::Usage,
            "E-NOTFOUND" => Class::NotFound,
            "E-SIG" | "E-SCOPE" | "E-EXPIRED" | "E-ROLLBACK" | "E-FREEZE" | "E-FORK"
            | "E-IDENTITY-CHANGED" | "E-LOCK" | "E-POLICY" | "E-KEYPERM" | "E-PATH" => Class::Untrusted,
            "E-CONFLICT" => Class::Conflict,
            "E-NET" => Class::Network,
            "E-HASH" | "E-FORMAT" => Class::Damaged,
            _ => Class::Failed,
        }
    }

    /// What to try, one line each.
    pub fn hints(&self) -> Vec<String> {
        if let Error::Resolve(error) = self {
            return error.hints();
        }
        let own = match self {
            Error::Environment(error) => {
                error.hint().unwrap_or_else(|| general_hint(error.code())).to_owned()
            }
            Error::Key(error) => error.hint().unwrap_or_else(|| general_hint(error.code())).to_owned(),
            Error::NotFound { hint, .. }
            | Error::Conflict { hint, .. }
            | Error::Usage { hint, .. }
            | Error::Refused { hint, .. } => hint.clone(),
            _ => general_hint(self.code()).to_owned(),
        };
        if own.is_empty() { Vec::new() } else { vec![own] }
    }

    /// The message with its sources, in one line.
    pub fn message(&self) -> String {
        plumbing::chain(self)
    }
}

fn general_hint(code: &str) -> &'static str {
    match code {
        "E-NET" => "check the address and the network; what arrived is kept, so the command can be repeated",
        "E-HASH" => {
            "the bytes are not the ones asked for: try another source, or `pkg fsck` if they are your own"
        }
        "E-FREEZE" => "ask the publisher for a fresh index, or accept an old one with --max-stale",
        "E-ROLLBACK" => "the source shows an older state than you have seen: fetch from another one",
        "E-FORK" => "two statements contradict each other: neither was applied, both are kept as evidence",
        "E-IDENTITY-CHANGED" => "the name belongs to somebody else now: find out why before you go on",
        "E-NOSPACE" => "free some space and repeat the command; nothing was lost",
        "E-PATH" => {
            "names and links must stay inside the package; --allow-unportable admits names some systems cannot hold"
        }
        "E-LIMIT" => "the input goes beyond a limit; see the chapter on limits in the guide",
        _ => "",
    }
}
