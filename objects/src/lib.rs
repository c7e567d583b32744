//! The model and the store of `pkg`: content-addressed objects, signed statements, packs, refs.
//!
//! Promises: no network, no async, no environment variable, no wall clock. Time and randomness come
//! in as arguments. An id held in memory was computed or checked here.
//! Leaves to others: moving bytes and judging who may say what (`plumbing`), what a user does
//! (`porcelain`).
//!
//! Arrows go one way: `limits`, `progress`, `parallel`, `disk` → `id`, `ids`, `codec`, `name`, `version`, `spec` →
//! the model (`key`, `signed`, `blob`, `tree`, `identity`, `pattern`, `grants`, `release`, `claim`, `summary`) →
//! `object`, `chunker` → `store`, `refs`, `statements` → `walk`, `links`, `archive`, `delta`, `similar` →
//! `ingest`, `checkout`, `repository`, `fsck`, `repair`.

pub mod archive;
pub mod blob;
pub mod checkout;
pub mod chunker;
pub mod claim;
pub mod codec;
pub mod delta;
pub mod disk;
mod fan;
pub mod fsck;
pub mod grants;
pub mod id;
pub mod identity;
pub mod ids;
pub mod ingest;
pub mod key;
pub mod limits;
pub mod links;
pub mod name;
pub mod object;
pub mod packlist;
pub mod parallel;
pub mod pattern;
pub mod progress;
pub mod refs;
pub mod release;
pub mod repair;
pub mod repository;
pub mod signed;
pub mod similar;
pub mod spec;
pub mod statements;
pub mod store;
pub mod summary;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod tree;
pub mod version;
pub mod walk;
