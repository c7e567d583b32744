//! The summary of a repository: its signed head, written last.
//!
//! ```text
//! ["summary/1", repository, index envelope, beacon envelope, [identity envelope, …]]
//! ```
//!
//! The identity documents are the chain of the repository's owner from the first, so that a
//! newcomer can check the head without another round trip.
//!
//! Promises: bounds, and that each part is an envelope of its kind. Nothing in it is believed yet.

use crate::claim::{Beacon, Index, Repository};
use crate::codec;
use crate::identity::Identity;
use crate::limits::{IDENTITY_WALK_MAX, SUMMARY_BYTES_MAX};
use crate::signed::{Document, Error, Signed};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

const SUMMARY: &str = "summary/1";

/// What a repository says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which repository it claims to be.
    pub repository: Repository,
    /// The head of its index.
    pub index: Signed<Index>,
    /// The word that this head is the newest.
    pub beacon: Signed<Beacon>,
    /// The documents of its owner, from the first.
    pub owner: Vec<Signed<Identity>>,
}

#[derive(Serialize, Deserialize)]
struct Row(String, Repository, ByteBuf, ByteBuf, Vec<ByteBuf>);

impl Summary {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let owner = self.owner.iter().map(bytes).collect();
        codec::encode(&Row(
            SUMMARY.into(),
            self.repository.clone(),
            bytes(&self.index),
            bytes(&self.beacon),
            owner,
        ))
    }

    /// Reads a summary.
    ///
    /// # Errors
    /// `E-FORMAT`, `E-LIMIT`; `E-SIG` if a part is a statement of another kind.
    pub fn decode(data: &[u8]) -> Result<Summary, Error> {
        let Row(tag, repository, index, beacon, owner) = codec::decode("summary", data, SUMMARY_BYTES_MAX)?;
        if tag != SUMMARY || owner.len() > IDENTITY_WALK_MAX {
            return Err(codec::Error::malformed(
                "summary",
                "its first field is not \"summary/1\", or it is too long",
            )
            .into());
        }
        let owner = owner.iter().map(|envelope| Signed::decode(envelope)).collect::<Result<_, _>>()?;
        Ok(Summary { repository, index: Signed::decode(&index)?, beacon: Signed::decode(&beacon)?, owner })
    }
}

fn bytes<T: Document>(signed: &Signed<T>) -> ByteBuf {
    ByteBuf::from(signed.envelope().encode())
}
