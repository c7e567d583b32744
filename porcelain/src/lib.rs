//! What a user does with `pkg`: verbs, environments, serving.
//!
//! Promises: each verb is a function with a `Request` in and an `Outcome` out; stopped anywhere, the
//! old state stands. Only [`session`] reads the environment, the clock and settings; nothing prints.
//! Leaves to others: arguments, rendering and exit codes (the binary).
//!
//! Arrows: `config`, `error`, `event` → `rebuild` → `session` → `env`, `remote` → verbs → `serve`.

pub mod archive;
pub mod bundle;
mod cache;
pub mod clock;
pub mod config;
mod describe;
pub mod distribute;
pub mod dsse;
pub mod env;
pub mod error;
pub mod event;
pub mod fetch;
mod heads;
pub mod identity;
pub mod inspect;
pub mod install;
mod ledger;
pub mod literally;
mod locked;
mod log;
mod lookalikes;
pub mod maintain;
pub mod manifest;
pub mod mirror;
mod owners;
mod pen;
pub mod plumb;
pub mod process;
pub mod publish;
pub mod push;
pub mod rebuild;
pub mod remote;
pub mod repair;
#[cfg(feature = "net")]
pub mod serve;
pub mod session;
pub mod similar;
#[cfg(feature = "testing")]
pub mod testing;
pub mod trust;
pub mod withdraw;

pub use error::Error;
pub use plumbing::trust::Freshness;
pub use plumbing::trust::keyring::{Passphrase, shield};
