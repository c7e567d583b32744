//! The one encoding of structured objects and statements: DAG-CBOR.
//!
//! Promises: one meaning has one encoding. What `decode` accepts, `encode` gives back byte for byte
//! (SEC-032); nothing longer than the caller's bound is looked at.
//! Leaves to others: what the values mean.
//!
//! Follows the DAG-CBOR specification (<https://ipld.io/specs/codecs/dag-cbor/spec/>).

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes are no well-formed structure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Longer than this kind may be.
    #[error("{what} has {bytes} bytes, more than the limit of {bytes_max}")]
    TooLong {
        /// What was to be decoded.
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// Not DAG-CBOR, or not of this shape.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// What was to be decoded.
        what: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// Well-formed, but another encoding of the same meaning exists.
    #[error("{what} is not in canonical form")]
    NotCanonical {
        /// What was to be decoded.
        what: &'static str,
    },
}

impl Error {
    /// A malformed `what`, because of `reason`.
    pub fn malformed(what: &'static str, reason: impl ToString) -> Self {
        Error::Malformed { what, reason: reason.to_string() }
    }

    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::TooLong { .. } => "E-LIMIT",
            _ => "E-FORMAT",
        }
    }
}

/// The canonical bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_ipld_dagcbor::to_vec(value)
        .expect("our types hold nothing DAG-CBOR lacks: no floats, text keys only")
}

/// Reads `what` from `bytes`, which must be its canonical form and at most `bytes_max` long.
///
/// # Errors
/// `TooLong` before anything is parsed; `Malformed` if it is not DAG-CBOR of this shape;
/// `NotCanonical` if encoding the value again gives other bytes.
pub fn decode<T: Serialize + DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
    bytes_max: usize,
) -> Result<T, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::TooLong { what, bytes: bytes.len(), bytes_max });
    }
    let value: T = serde_ipld_dagcbor::from_slice(bytes).map_err(|e| Error::malformed(what, e))?;
    if encode(&value) != bytes {
        return Err(Error::NotCanonical { what });
    }
    Ok(value)
}

/// Reads some fields of a structure that nobody has vouched for, to decide what to look at next.
/// Nothing may be believed because of it.
///
/// # Errors
/// `Malformed` if it is not DAG-CBOR of this shape.
pub fn peek<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_ipld_dagcbor::from_slice(bytes).map_err(|e| Error::malformed("statement", e))
}
