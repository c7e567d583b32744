//! Bytes between machines, and judgement.
//!
//! Promises: the public interface blocks and shows no async; sockets only behind the feature `net`.
//! Leaves to others: what a user does with it (`porcelain`).
//!
//! Arrows: `transport` ← `sync`; `index` ← `resolve`; `trust` beside them. `sync` moves what it does
//! not believe, `trust` judges what it did not move; the two never meet here.

pub mod index;
pub mod resolve;
pub mod sync;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transport;
pub mod trust;

/// An error and its sources in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
        source = error.source();
    }
    text
}
