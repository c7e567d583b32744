//! One function for every decoder here: it reads any bytes and checks what has to hold of them.
//!
//! The same functions are run by `fuzz/fuzz_targets` (guided by coverage, for as long as one likes)
//! and by the tests (a short run over the kept corpus, see [`super::smoke`]).
//!
//! Promises, of every target: no panic; what is taken and has one spelling is written again to the
//! same bytes; a checksum in the input is made right first in a second attempt, so that changed
//! bytes come behind it.
//! Leaves to others: which code a refusal has (`tests/it/malformed.rs`).

mod hints;
mod packs;
mod records;
mod refs;
mod statements;
mod structure;
mod words;

pub use hints::*;
pub use packs::*;
pub use records::*;
pub use refs::*;
pub use statements::*;
pub use structure::*;
pub use words::*;

use super::smoke::Target;
use crate::id::ObjectId;

/// Rows of a table of targets: the function's name is the target's.
#[macro_export]
macro_rules! fuzz_targets {
    ($($name:ident),* $(,)?) => {
        &[$($crate::testing::smoke::Target { name: stringify!($name), run: $name }),*]
    };
}

/// All targets of this crate.
pub const TARGETS: &[Target] = fuzz_targets![
    beacon,
    blob,
    channel,
    closure,
    entry,
    entry_name,
    envelope,
    frame,
    id,
    identity,
    identity_row,
    index,
    index_statement,
    journal,
    key,
    links,
    multi_index,
    pack,
    pack_list,
    package_name,
    package_record,
    packed_refs,
    ref_file,
    ref_name,
    reflog,
    repository_config,
    requirement,
    salvage,
    sketches,
    spec,
    stat_cache,
    summary,
    table,
    tail,
    tree,
    version,
];

/// Checks that `again` are the bytes that were taken.
fn same(what: &str, again: &[u8], data: &[u8]) {
    assert!(again == data, "{what} was taken in another spelling than its own");
}

/// `data` with its last 32 bytes made the id of `body`, which is what many a checksum here is.
fn with_sum(data: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let mut mended = data.to_vec();
    mended.last_chunk_mut::<32>()?.copy_from_slice(ObjectId::of(body).as_bytes());
    Some(mended)
}
