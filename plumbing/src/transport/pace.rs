//! The lowest useful rate: a source that crawls is as bad as one that is silent.
//!
//! Promises: judges by the time spent waiting for bytes alone, so that a slow reader on our side never blames the sender.
//! Leaves to others: the clock, and the timeout for complete silence.

use std::time::Duration;

use super::{error::Error, limits::Limits};

/// Bytes and waiting since the last judgement.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Duration,
    window_bytes_min: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            window: limits.rate_window,
            window_bytes_min: limits.rate_window_bytes_min,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// Notes that `bytes` arrived after waiting `waited` for them; an error once a whole window brought too little.
    pub(crate) fn note(&mut self, at: &str, bytes: usize, waited: Duration) -> Result<(), Error> {
        self.bytes += bytes as u64;
        self.waited += waited;
        if self.waited < self.window {
            return Ok(());
        }
        if self.bytes < self.window_bytes_min {
            return Err(self.stalled(at));
        }
        (self.waited, self.bytes) = (Duration::ZERO, 0);
        Ok(())
    }

    /// The error for a wait that ran into its timeout.
    #[cfg(feature = "net")]
    pub(crate) fn timed_out(&mut self, at: &str, waited: Duration) -> Error {
        self.waited += waited;
        self.stalled(at)
    }

    fn stalled(&self, at: &str) -> Error {
        Error::Stalled { at: at.to_owned(), bytes: self.bytes, seconds: self.waited.as_secs() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// THREATS 1.8: 1 KiB/s over 30 s is the least.
    #[test]
    fn a_crawling_source_is_stalled_after_its_window() {
        let mut pace = Pace::new(&Limits::default());
        for _ in 0..29 {
            pace.note("x", 1000, SECOND).unwrap();
        }
        let error = pace.note("x", 1000, SECOND).unwrap_err();
        assert!(matches!(error, Error::Stalled { bytes: 30_000, seconds: 30, .. }), "{error:?}");
    }

    #[test]
    fn a_source_just_fast_enough_is_never_stalled() {
        let mut pace = Pace::new(&Limits::default());
        assert!((0..600).all(|_| pace.note("x", 1024, SECOND).is_ok()));
    }

    #[test]
    fn time_that_we_did_not_wait_does_not_count() {
        let mut pace = Pace::new(&Limits::default());
        assert!((0..600).all(|_| pace.note("x", 1, Duration::ZERO).is_ok()));
    }
}
