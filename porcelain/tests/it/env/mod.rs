//! Environments, on real folders and with real processes.

#![allow(clippy::unwrap_used)] // helpers are tests, too

mod crash;
mod files;
mod load;
mod support;
mod switch;
mod upkeep;
