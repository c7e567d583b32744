//! Distributing: an index of what one carries, of one's own packages and of other authors' (O10).
//!
//! ```text
//! author ── entries, tree ──▶ incoming (held apart) ──▶ accept: judged ──▶ listing: the next index ──▶ users
//!                                                   ▲
//!                                     any source ───┘
//! ```
//!
//! Promises: a distributor chooses among what authors signed and can hide or delay it; what it lists is
//! taken only as an installer would take it, and what others push is seen by nobody before that. One name
//! has one owner in an index (SEC-070, SEC-072).
//! Leaves to others: what makes a release believable (`plumbing::trust`).

pub mod accept;
pub mod authority;
pub mod carried;
pub mod incoming;
pub mod listing;
pub mod marks;
pub mod owners;
pub mod settings;
pub mod strangers;
