//! One function for every decoder here: it reads any bytes and checks what has to hold of them.
//!
//! Run as those of `objects::testing::fuzz` are: by `fuzz/fuzz_targets`, and by the tests over the kept
//! corpus.
//!
//! Promises, of every target: no panic; what is written again reads as the same; nothing outside the
//! folder at hand is touched.

mod archives;
mod environments;
mod settings;

pub use archives::*;
pub use environments::*;
pub use settings::*;

use objects::testing::smoke::Target;

/// All targets of this crate.
pub const TARGETS: &[Target] = objects::fuzz_targets![
    archive,
    binding,
    carried,
    duration,
    facts,
    generation,
    head,
    identities,
    journal,
    link_name,
    lockfile,
    manifest,
    mirror_origin,
    user_settings,
    wanted,
];
