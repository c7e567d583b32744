//! What verbs tell while they work. The binary draws it; a library user may ignore it.

use objects::progress::Progress;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Told what a verb is doing. Called from several threads.
pub trait Reporter: Sync {
    /// A step begins: `what` in a few words, over `bytes_total` bytes if that is known.
    fn begin(&self, what: &str, bytes_total: Option<u64>);
    /// `bytes` more of the step are done.
    fn advance(&self, bytes: u64);
    /// The step has ended.
    fn end(&self);
    /// Something the user should know.
    fn note(&self, message: &str);
    /// Something the user should look at, which is no error.
    fn warn(&self, message: &str);
}

/// Tells nobody.
pub struct Silent;

impl Reporter for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn end(&self) {}
    fn note(&self, _: &str) {}
    fn warn(&self, _: &str) {}
}

/// One step of a reporter, as the rooms below want to be given it.
pub struct Step<'r> {
    reporter: &'r dyn Reporter,
    bytes: AtomicU64,
}

impl<'r> Step<'r> {
    /// Begins a step; it ends when this is dropped.
    pub fn begin(reporter: &'r dyn Reporter, what: &str, bytes_total: Option<u64>) -> Self {
        reporter.begin(what, bytes_total);
        Step { reporter, bytes: AtomicU64::new(0) }
    }

    /// Bytes done so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

impl Progress for Step<'_> {
    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Relaxed);
        self.reporter.advance(bytes);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.reporter.end();
    }
}
