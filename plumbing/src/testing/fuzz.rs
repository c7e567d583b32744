//! One function for every decoder here: it reads any bytes and checks what has to hold of them.
//!
//! Run as those of `objects::testing::fuzz` are: by `fuzz/fuzz_targets`, and by the tests over the kept
//! corpus.
//!
//! Promises, of every target: no panic; what is taken and has one spelling is written again to the
//! same bytes; a hash in the input is made right first in a second attempt.
//! Leaves to others: sockets and what reads their heads (HTTP, QUIC).

mod carried;
mod kept;
mod wire;
mod words;

pub use carried::*;
pub use kept::*;
pub use wire::*;
pub use words::*;

use objects::testing::smoke::Target;

/// All targets of this crate.
pub const TARGETS: &[Target] = objects::fuzz_targets![
    address,
    answers,
    bundle,
    file_key,
    index_tree,
    judge,
    key_file,
    openssh_key,
    pipe,
    request,
    server,
    state_file,
    state_rows,
];
