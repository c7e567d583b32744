//! The list of packs of a repository, for readers that cannot list a folder (a web server).
//!
//! ```text
//! objects/info/packs   ["packs/1", [[pack id, pack bytes, index bytes, objects, [tree id, …]], …],
//!                       BLAKE3 of the encoded rows]
//! ```
//!
//! The trees are the releases and index heads whose new objects the pack was made for: a client
//! that wants one of them looks into that pack's index first.
//!
//! Promises: bounds only. The list is a hint; every object is checked by its id.

use crate::codec::{self, Error};
use crate::id::{ObjectId, PackId, TreeId};
use crate::limits::PACK_LIST_BYTES_MAX;
use serde::{Deserialize, Serialize};

const PACKS: &str = "packs/1";

/// One pack of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct ListedPack {
    /// Its name.
    pub id: PackId,
    /// Bytes of the pack.
    pub bytes: u64,
    /// Bytes of its index.
    pub index_bytes: u64,
    /// How many objects it has.
    pub objects: u64,
    /// What it was made for.
    pub tips: Vec<TreeId>,
}

#[derive(Serialize, Deserialize)]
struct Row(PackId, u64, u64, u64, Vec<TreeId>);

impl From<Row> for ListedPack {
    fn from(Row(id, bytes, index_bytes, objects, tips): Row) -> Self {
        ListedPack { id, bytes, index_bytes, objects, tips }
    }
}

impl From<ListedPack> for Row {
    fn from(pack: ListedPack) -> Self {
        Row(pack.id, pack.bytes, pack.index_bytes, pack.objects, pack.tips)
    }
}

#[derive(Serialize, Deserialize)]
struct List(String, Vec<ListedPack>, ObjectId);

/// The canonical bytes of a list.
pub fn encode(packs: &[ListedPack]) -> Vec<u8> {
    codec::encode(&(PACKS, packs, ObjectId::of(&codec::encode(&packs))))
}

/// Reads a list.
///
/// # Errors
/// `E-FORMAT`, `E-LIMIT`.
pub fn decode(bytes: &[u8]) -> Result<Vec<ListedPack>, Error> {
    let List(tag, packs, sum) = codec::decode("list of packs", bytes, PACK_LIST_BYTES_MAX)?;
    if tag != PACKS {
        return Err(Error::malformed("list of packs", "its first field is not \"packs/1\""));
    }
    if sum != ObjectId::of(&codec::encode(&packs)) {
        return Err(Error::malformed("list of packs", "its checksum is wrong"));
    }
    Ok(packs)
}
