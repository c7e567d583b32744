//! Why something is not believed: the check that failed, the document, and the source.

use super::database;
use objects::claim::Repository;
use objects::id::{IdentityId, StatementId};
use objects::identity::Error as ChainError;
use objects::name::{PackageName, printable};
use objects::signed::{Error as SignedError, Kind};
use objects::time::Timestamp;
use std::fmt;

/// Which statement, from where, met which step of THREATS 1.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The step, by its number.
    pub step: u8,
    /// The statement's kind.
    pub kind: Kind,
    /// The statement.
    pub id: StatementId,
    /// The source, as the user knows it.
    pub origin: String,
}

impl At {
    pub(super) fn new(step: u8, kind: Kind, id: StatementId, origin: &str) -> Box<At> {
        Box::new(At { step, kind, id, origin: origin.to_owned() })
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id, origin) = (self.kind.word(), self.id.short(16), printable(&self.origin));
        write!(f, "{kind} {id} from {origin} (check {})", self.step)
    }
}

/// Why something is not believed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody asked has the statement.
    #[error("missing: {at}")]
    Missing {
        /// What was looked for.
        at: Box<At>,
    },
    /// A source could not answer.
    #[error("cannot fetch statement {}", id.short(16))]
    Fetch {
        /// What was looked for.
        id: StatementId,
        /// The code of the failure.
        code: &'static str,
        /// What went wrong there.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A source answered with another statement than asked.
    #[error("another statement than asked came as {at}")]
    Exchanged {
        /// What was asked for.
        at: Box<At>,
    },
    /// A signature or the format does not hold.
    #[error("refused: {at}")]
    Signed {
        /// What was judged.
        at: Box<At>,
        /// Why.
        source: Box<SignedError>,
    },
    /// An identity's documents do not follow each other.
    #[error("refused: {at}")]
    Chain {
        /// What was judged.
        at: Box<At>,
        /// Why.
        source: Box<ChainError>,
    },
    /// It speaks of something else than asked, or its signer may not say it.
    #[error("out of scope: {at}: {why}")]
    Scope {
        /// What was judged.
        at: Box<At>,
        /// Why.
        why: &'static str,
    },
    /// Two statements that have to agree do not.
    #[error("does not fit: {at}: {why}")]
    Mismatch {
        /// What was judged.
        at: Box<At>,
        /// What does not fit.
        why: &'static str,
    },
    /// What the distributor says of a release is not what its author signed.
    #[error("the index does not say of {version} what its author signed: {at}")]
    Altered {
        /// The author's statement.
        at: Box<At>,
        /// The version.
        version: String,
    },
    /// The key was stolen or laid down, and no checkpoint covers what it signed here (SEC-056).
    #[error("signed by a key that no longer counts: {at}")]
    Withdrawn {
        /// What was judged.
        at: Box<At>,
    },
    /// It is older than what this machine knows.
    #[error("number {offered} is older than {seen}, which is known here: {at}")]
    Rollback {
        /// What was judged.
        at: Box<At>,
        /// The number known here.
        seen: u64,
        /// The number that came.
        offered: u64,
    },
    /// Its signer said two things in one place. Neither is applied; both are kept.
    #[error("its signer made two statements with number {n}: {at}")]
    Fork {
        /// What was judged.
        at: Box<At>,
        /// The number they share.
        n: u64,
    },
    /// The identity's recovery role signed another document in its place (step 8).
    #[error("document {n} was replaced by the identity's recovery: {at}")]
    Overruled {
        /// What was judged.
        at: Box<At>,
        /// Its number.
        n: u64,
    },
    /// The grants its signer needs are ended, past their time, or not yet in it (step 12).
    #[error("{} may not act for {} at this time: {why}: {at}", signer.nick(), printable(name.as_str()))]
    OutOfTime {
        /// What was judged.
        at: Box<At>,
        /// Who signed.
        signer: IdentityId,
        /// For which package.
        name: PackageName,
        /// What became of the grant.
        why: &'static str,
    },
    /// No grant lets its signer act for the package (steps 11 and 12).
    #[error("no grant lets {} act for {}: {why}: {at}", signer.nick(), printable(name.as_str()))]
    NoGrant {
        /// What was judged.
        at: Box<At>,
        /// Who signed.
        signer: IdentityId,
        /// For which package.
        name: PackageName,
        /// What is missing.
        why: &'static str,
    },
    /// One version has two trees (step 15).
    #[error("version {version} was released with two contents: {at}")]
    TwoTrees {
        /// What was judged.
        at: Box<At>,
        /// The version.
        version: String,
    },
    /// Past its time: the source may hide what is newer.
    #[error("out of date since {} seconds: {at}", now.since(*expires))]
    Freeze {
        /// What was judged.
        at: Box<At>,
        /// Until when it counted.
        expires: Timestamp,
        /// The effective time.
        now: Timestamp,
    },
    /// An identity's last document is past its time.
    #[error("expired {} seconds ago: {at}", now.since(*expires))]
    Expired {
        /// What was judged.
        at: Box<At>,
        /// Until when it counted.
        expires: Timestamp,
        /// The effective time.
        now: Timestamp,
    },
    /// Dated more than ten minutes after the local clock.
    #[error("dated {} seconds after this machine's clock: {at}", created.since(*now))]
    Future {
        /// What was judged.
        at: Box<At>,
        /// When it claims to have been made.
        created: Timestamp,
        /// The local clock.
        now: Timestamp,
    },
    /// The remote shows another repository than the one it is pinned to.
    #[error("{} shows repository {offered}, but is pinned to {pinned}", printable(origin))]
    RepositoryChanged {
        /// The source.
        origin: String,
        /// The repository it was pinned to.
        pinned: Box<Repository>,
        /// The repository it shows.
        offered: Box<Repository>,
    },
    /// A name leads to another identity than the one it is pinned to.
    #[error("package {name} belongs to {} here, but {} says {}", pinned.nick(), printable(origin), offered.nick())]
    OwnerChanged {
        /// The source.
        origin: String,
        /// The name.
        name: PackageName,
        /// The owner it was pinned to.
        pinned: IdentityId,
        /// The owner the source names.
        offered: IdentityId,
    },
    /// The local policy refuses it (step 16).
    #[error("refused by policy: {why}: {at}")]
    Policy {
        /// What was judged.
        at: Box<At>,
        /// Which rule, and the reason given.
        why: String,
    },
    /// More than anyone follows.
    #[error("more than {max} {what}: {at}")]
    Limit {
        /// What was judged.
        at: Box<At>,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The state cannot be read or written.
    #[error(transparent)]
    Database(#[from] database::Error),
}

impl Error {
    /// A source's failure to answer, for implementations of [`super::Statements`].
    pub fn fetch(
        id: StatementId,
        code: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        Error::Fetch { id, code, source: source.into() }
    }

    pub(super) fn signed(at: Box<At>, source: impl Into<SignedError>) -> Error {
        Error::Signed { at, source: Box::new(source.into()) }
    }

    pub(super) fn chain(at: Box<At>, source: ChainError) -> Error {
        Error::Chain { at, source: Box::new(source) }
    }

    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Missing { .. } => "E-NOTFOUND",
            Error::Fetch { code, .. } => code,
            Error::Exchanged { .. } | Error::Mismatch { .. } => "E-HASH",
            Error::Signed { source, .. } => source.code(),
            Error::Chain { source, .. } => source.code(),
            Error::Scope { .. } | Error::NoGrant { .. } => "E-SCOPE",
            Error::Altered { .. } | Error::Withdrawn { .. } => "E-SIG",
            Error::Rollback { .. } | Error::Overruled { .. } => "E-ROLLBACK",
            Error::Fork { .. } | Error::TwoTrees { .. } => "E-FORK",
            Error::Freeze { .. } => "E-FREEZE",
            Error::Expired { .. } | Error::Future { .. } | Error::OutOfTime { .. } => "E-EXPIRED",
            Error::RepositoryChanged { .. } | Error::OwnerChanged { .. } => "E-IDENTITY-CHANGED",
            Error::Policy { .. } => "E-POLICY",
            Error::Limit { .. } => "E-LIMIT",
            Error::Database(error) => error.code(),
        }
    }
}
