//! Moving objects and statements between repositories.
//!
//! ```text
//! Source ── advertise, statements, bring ──▶ Intake ──▶ store
//!   ├ peer::Peer       over a Wire: asks, the other side (serve) chooses frames and deltas
//!   └ mirror::Mirror   over a Bare: reads tables of contents, then merged ranges of frames
//!
//! Give ── objects by id ──▶ gather ──▶ store          for what a store has lost
//! ```
//!
//! Promises: every frame is checked on arrival, every object by its id, and only what was asked for
//! is kept; what was checked is stored whatever ends the exchange, so the next one goes on from there
//! (L-R1). A source that sends something else is named and dropped, and the next one is asked.
//! Leaves to others: whether what arrived is to be believed (`trust`). The two never meet.

pub mod gather;
pub mod intake;
pub mod message;
pub mod mirror;
pub mod peer;
pub mod push;
mod reach;
pub mod send;
pub mod serve;

use crate::transport;
use gather::Give;
use intake::Intake;
use objects::disk;
use objects::id::{ObjectId, StatementId, TreeId};
use objects::progress::Progress;
use objects::signed::Envelope;
use objects::store::Store;
use objects::store::pack::writer::Options;
use objects::summary::Summary;

/// Why an exchange did not bring what was asked for. Each names its source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes did not get through.
    #[error(transparent)]
    Transport(#[from] transport::Error),
    /// The other side sent something malformed.
    #[error("{from} sent something malformed: {reason}")]
    Malformed {
        /// The source.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// An object of the other side has not its form, or a name that leads out of its folder (SEC-001).
    #[error("{from} sent something malformed")]
    BadObject {
        /// The source.
        from: String,
        /// What is wrong.
        source: objects::object::Error,
    },
    /// The other side sent other bytes than asked (SEC-020).
    #[error("{from} sent object {id}, which was not asked for: other bytes than the wanted ones")]
    Unasked {
        /// The source.
        from: String,
        /// What the bytes hash to.
        id: ObjectId,
    },
    /// A frame of the other side does not hold what it says.
    #[error("{from} sent a bad frame: {reason}")]
    Frame {
        /// The source.
        from: String,
        /// What is wrong.
        reason: String,
    },
    /// The other side said no.
    #[error("{from} refused: {message}")]
    Refused {
        /// The source.
        from: String,
        /// Its code.
        code: String,
        /// Its reason.
        message: String,
    },
    /// More than the signed size or number of files.
    #[error("{from} offers more than the signed size of {id}: {what}")]
    TooMuch {
        /// The source.
        from: String,
        /// The tree.
        id: ObjectId,
        /// Which bound.
        what: &'static str,
    },
    /// The source does not have all of it.
    #[error("{from} does not have all of tree {tree}: {missing} objects are missing")]
    Incomplete {
        /// The source, or all of them.
        from: String,
        /// What was asked for.
        tree: TreeId,
        /// How many objects.
        missing: usize,
    },
    /// The source has nothing to fetch: no summary.
    #[error("{from} is no repository, or nothing was published to it yet")]
    Empty {
        /// The source.
        from: String,
    },
    /// A statement is malformed or of another kind.
    #[error("{from} sent a bad statement")]
    Statement {
        /// The source.
        from: String,
        /// Why.
        source: objects::signed::Error,
    },
    /// The local store refuses.
    #[error(transparent)]
    Object(#[from] objects::object::Error),
    /// The local repository refuses.
    #[error(transparent)]
    Repository(#[from] objects::repository::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Transport(error) => error.code(),
            Error::Malformed { .. } | Error::Frame { .. } => "E-FORMAT",
            Error::Unasked { .. } => "E-HASH",
            Error::Refused { .. } => "E-POLICY",
            Error::TooMuch { .. } => "E-LIMIT",
            Error::Incomplete { .. } | Error::Empty { .. } => "E-NOTFOUND",
            Error::Statement { source, .. } => source.code(),
            Error::Object(error) | Error::BadObject { source: error, .. } => error.code(),
            Error::Repository(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }

    /// True if the same source may succeed when asked again.
    pub fn is_transient(&self) -> bool {
        matches!(self, Error::Transport(error) if error.is_transient())
    }

    /// True if the fault is ours (disk, store) and asking somebody else is no use.
    pub fn is_local(&self) -> bool {
        matches!(self, Error::Object(_) | Error::Repository(_) | Error::Disk(_))
    }
}

/// Somebody who has objects and statements: a peer, or a mirror that is only files.
pub trait Source: Send + Sync {
    /// What messages call it.
    fn name(&self) -> String;

    /// Its summary.
    ///
    /// # Errors
    /// `Empty` if it has none.
    fn advertise(&self) -> Result<Summary, Error>;

    /// The statements `wanted`, each with up to so many before it in its chain. What the source does
    /// not have is left out; ids are checked here, nothing else.
    ///
    /// # Errors
    /// If the exchange fails.
    fn statements(&self, wanted: &[(StatementId, u32)]) -> Result<Vec<Envelope>, Error>;

    /// Brings what `intake` is missing, as far as the source has it. `haves` are trees we hold
    /// completely: what is in them is not sent again, and serves as base for deltas.
    ///
    /// # Errors
    /// If the exchange fails; what arrived before is in the intake.
    fn bring(&self, intake: &mut Intake<'_>, haves: &[TreeId], progress: &dyn Progress) -> Result<(), Error>;

    /// The same source for single objects, if it can give those.
    fn giver(&self) -> Option<&dyn Give> {
        None
    }
}

/// What is to be fetched, and how much of it there may be at most.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The tree.
    pub tree: TreeId,
    /// Most files, links and directories below it: as signed.
    pub files_max: u64,
    /// Most bytes below it: as signed.
    pub bytes_max: u64,
}

/// What a fetch brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Objects that are new in the store.
    pub objects: u64,
    /// Their unpacked bytes.
    pub bytes: u64,
    /// The packs they are in.
    pub packs: Vec<objects::id::PackId>,
    /// Sources that were dropped, with the reason.
    pub dropped: Vec<String>,
}

/// True if a tree is in the store with all below it.
///
/// # Errors
/// If the store refuses, or what it has of the tree is malformed.
pub fn is_complete(store: &Store, wanted: Wanted) -> Result<bool, Error> {
    Ok(Intake::begin(store, wanted, Options { jobs: 1, ..Options::default() })?.is_complete())
}

/// How often one source is asked again after it broke off without bringing anything.
const FRUITLESS_MAX: usize = 3;

/// Fetches a tree with all below it from `sources`, the first that can first.
///
/// # Errors
/// The last source's error if none could complete it. What arrived is in the store all the same.
pub fn fetch_tree(
    sources: &[&dyn Source],
    store: &Store,
    wanted: Wanted,
    haves: &[TreeId],
    progress: &dyn Progress,
) -> Result<Fetched, Error> {
    let mut fetched = Fetched::default();
    let mut last = None;
    store.salvage()?;
    for source in sources {
        match fetch_from(*source, store, wanted, haves, progress, &mut fetched) {
            Ok(()) => return Ok(fetched),
            Err(error) if error.is_local() => return Err(error),
            Err(error) => {
                tracing::warn!(source = source.name(), %error, "source dropped");
                fetched.dropped.push(format!("{}: {error}", source.name()));
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::Incomplete { from: "no source".into(), tree: wanted.tree, missing: 1 }))
}

/// Asks one source until it has brought everything, or a round brings nothing.
fn fetch_from(
    source: &dyn Source,
    store: &Store,
    wanted: Wanted,
    haves: &[TreeId],
    progress: &dyn Progress,
    fetched: &mut Fetched,
) -> Result<(), Error> {
    let mut fruitless = 0;
    loop {
        let mut intake = Intake::begin(store, wanted, Options::default())?;
        if intake.is_complete() {
            return Ok(());
        }
        let missing = intake.missing();
        let result = source.bring(&mut intake, haves, progress);
        let complete = intake.is_complete();
        let (objects, bytes) = (intake.objects() as u64, intake.bytes());
        fetched.packs.extend(intake.finish()?);
        fetched.objects += objects;
        fetched.bytes += bytes;
        fruitless = if objects > 0 { 0 } else { fruitless + 1 };
        match result {
            _ if complete => return Ok(()),
            Err(error) if !error.is_transient() || fruitless >= FRUITLESS_MAX => return Err(error),
            Ok(()) if objects == 0 => {
                return Err(Error::Incomplete { from: source.name(), tree: wanted.tree, missing });
            }
            _ => {}
        }
    }
}
