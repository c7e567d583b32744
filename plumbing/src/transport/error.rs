//! What can go wrong between two machines.
//!
//! Promises: every variant names the place (source and key) and says, by [`Error::is_transient`] and [`Error::code`], what a
//! caller can do about it. No message holds a credential or a byte that the other side chose, but for keys and redirect targets.
//! Leaves to others: printing the chain of causes once, and hints (`ui`).

use std::{io, time::Duration};

/// A cause from a library below us.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a transport could not do as asked. `at` is the place: the source, and the key where there is one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file does not exist, and the caller needed it.
    #[error("{at} is not there")]
    NotFound {
        /// The place.
        at: String,
    },
    /// More bytes than the caller was ready to take.
    #[error("{at} is longer than {bytes_max} bytes")]
    TooLong {
        /// The place.
        at: String,
        /// What the caller was ready to take.
        bytes_max: u64,
    },
    /// The file ends before the range that was asked for does.
    #[error("{at} ends before byte {end}")]
    Short {
        /// The place.
        at: String,
        /// The end of the range.
        end: u64,
    },
    /// A compare-and-swap found something else than expected.
    #[error("{at} was changed by somebody else")]
    Conflict {
        /// The place.
        at: String,
    },
    /// The text cannot be a key.
    #[error("{text:?} is no key: {reason}")]
    Key {
        /// The text, cut to a readable length.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A link, a device, a pipe or a socket where a file should be.
    #[error("{at} is not a plain file inside the folder")]
    NotAFile {
        /// The place.
        at: String,
    },
    /// The local disk refused.
    #[error("cannot {action} {at}")]
    Io {
        /// The place.
        at: String,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes to be sent or written could not be read where they come from.
    #[error("cannot read what should go to {at}")]
    Input {
        /// Where they should have gone.
        at: String,
        /// What their reader said.
        source: io::Error,
    },
    /// Nobody could be reached.
    #[error("cannot reach {at}")]
    Connect {
        /// The place.
        at: String,
        /// Why not.
        source: Cause,
    },
    /// The other side could not prove who it is.
    #[error("{at} shows no valid certificate")]
    Certificate {
        /// The place.
        at: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// The connection ended in the middle.
    #[error("{at} broke off")]
    Broken {
        /// The place.
        at: String,
        /// How it ended.
        source: Cause,
    },
    /// The other side sends nothing, or too slowly to be of use.
    #[error("{at} stalled: {bytes} bytes in {seconds} s")]
    Stalled {
        /// The place.
        at: String,
        /// What arrived in that time.
        bytes: u64,
        /// How long we waited.
        seconds: u64,
    },
    /// The other side is overloaded or broken for now.
    #[error("{at} is not available for now{}", status.map(|s| format!(" (status {s})")).unwrap_or_default())]
    Unavailable {
        /// The place.
        at: String,
        /// The HTTP status, where there is one.
        status: Option<u16>,
        /// The pause that the server asks for.
        retry_after: Option<Duration>,
    },
    /// The other side's service ended the exchange without a whole answer.
    #[error("{at} gave up before its answer was whole")]
    GaveUp {
        /// The place.
        at: String,
    },
    /// A web server refused.
    #[error("{at} refused with status {status}")]
    Status {
        /// The place.
        at: String,
        /// The HTTP status.
        status: u16,
    },
    /// A web server sent us where we do not go.
    #[error("{at} redirects where we do not follow")]
    Redirect {
        /// The place.
        at: String,
        /// Where, and why not.
        source: Cause,
    },
    /// The answer contradicts the question or itself.
    #[error("{at} answered nonsense: {reason}")]
    Answer {
        /// The place.
        at: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// What a person typed is no address.
    #[error("{text:?} is no address: {reason}")]
    Address {
        /// What was typed, without credentials.
        text: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// An address of a kind that this build cannot use.
    #[error("{what} is not supported by this build")]
    Unsupported {
        /// The kind.
        what: String,
    },
    /// Our own side could not be set up: a socket, a thread, the certificate store.
    #[error("cannot set up {at}")]
    Setup {
        /// What should have been set up.
        at: String,
        /// Why not.
        source: Cause,
    },
}

impl Error {
    /// Whether the same call may succeed if made again a little later.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Broken { .. }
                | Self::Stalled { .. }
                | Self::Unavailable { .. }
                | Self::GaveUp { .. }
        )
    }

    /// The code that users and scripts see (THREATS section 2).
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "E-NOTFOUND",
            Self::TooLong { .. } => "E-LIMIT",
            Self::Conflict { .. } => "E-CONFLICT",
            Self::Key { .. } | Self::NotAFile { .. } => "E-PATH",
            Self::Short { .. } | Self::Answer { .. } | Self::Address { .. } | Self::Unsupported { .. } => {
                "E-FORMAT"
            }
            Self::Io { source, .. } if is_no_space(source) => "E-NOSPACE",
            Self::Io { .. } | Self::Input { .. } | Self::Setup { .. } => "E-IO",
            Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Broken { .. }
            | Self::Stalled { .. }
            | Self::Unavailable { .. }
            | Self::GaveUp { .. }
            | Self::Status { .. }
            | Self::Redirect { .. } => "E-NET",
        }
    }

    /// The transport error that travelled inside an [`io::Error`], if there is one.
    ///
    /// The readers that [`Wire::exchange`](super::Wire::exchange) returns fail with such errors.
    pub fn in_io(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The transport error that travelled inside `error`; any other read error means that `at` broke off.
    pub fn from_read(at: &str, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Broken { at: at.to_owned(), source: source.into() },
        }
    }

    /// The transport error that travelled inside `error`; any other means that the bytes for `at` could not be read.
    pub(crate) fn from_input(at: &str, error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(ours) => ours,
            Err(source) => Self::Input { at: at.to_owned(), source },
        }
    }

    /// For `map_err` around calls to the disk.
    pub(crate) fn io(at: &str, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { at: at.to_owned(), action, source }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NotFound { .. } => io::ErrorKind::NotFound,
            Error::Stalled { .. } => io::ErrorKind::TimedOut,
            Error::Broken { .. } | Error::GaveUp { .. } => io::ErrorKind::ConnectionReset,
            Error::TooLong { .. } => io::ErrorKind::FileTooLarge,
            Error::Answer { .. } | Error::Short { .. } => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader's error keeps its meaning through `std::io`.
    #[test]
    fn errors_survive_the_way_through_io() {
        let io: io::Error = Error::GaveUp { at: "iroh:x".into() }.into();
        assert!(matches!(Error::in_io(&io), Some(Error::GaveUp { .. })));
        let back = Error::from_read("iroh:x", io);
        assert!(matches!(back, Error::GaveUp { .. }) && back.is_transient());
        let foreign = Error::from_read("iroh:x", io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(foreign, Error::Broken { .. }) && foreign.is_transient());
    }

    /// REL-012: a full disk is told apart from a broken one.
    #[test]
    fn a_full_disk_has_its_own_code() {
        let full = Error::io("/m/summary", "write")(io::ErrorKind::StorageFull.into());
        let broken = Error::io("/m/summary", "write")(io::Error::from_raw_os_error(5));
        assert_eq!((full.code(), broken.code()), ("E-NOSPACE", "E-IO"));
    }
}
