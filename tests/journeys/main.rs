//! Journeys through the program: whole stories, told with the real binary, real files and real
//! sockets on loopback. What a lower layer can show is tested there; here it is the wiring, and
//! what a person sees.
//!
//! `PKG_LONG_TESTS=1` tells the long forms: every system call, more sizes, more rounds.

#![allow(clippy::unwrap_used, reason = "a journey that cannot go on has failed")]

mod carriers;
mod clock;
mod concurrency;
mod crash;
mod delegate;
mod disk;
mod distribute;
mod dsse;
mod faults;
mod fixture;
mod forge;
mod guide;
mod hostile;
mod identity;
mod identity_forge;
mod identity_team;
mod install;
mod io;
mod keys;
mod load;
mod lock;
mod memory;
mod mixed;
mod names;
mod network;
mod power;
mod publish;
mod recording;
mod reorder;
mod repair;
mod sameness;
mod sandbox;
mod space;
mod stage;
mod tidy;
mod trust;
mod trust_sources;
mod trust_words;
mod web;
mod withdraw;
