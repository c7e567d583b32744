//! Trying again.
//!
//! Promises: only what may succeed the next time is tried again, a few times, with growing pauses; a server that asks for a
//! longer pause gets it, within reason.
//! Leaves to others: going to another source. A [`Wire`](super::Wire) is not wrapped: its request is a stream that was read.

use std::{io::Read, ops::Range, thread, time::Duration};

use super::{
    Bare, BareWrite, Error, Key,
    limits::{RETRY_AFTER_MAX, RETRY_DELAYS},
};

/// A [`Bare`] whose reads are tried again when the trouble may pass.
pub struct Retry<B> {
    inner: B,
    delays: Vec<Duration>,
    sleep: Box<dyn Fn(Duration) + Send + Sync>,
}

impl<B: Bare> Retry<B> {
    /// Three more tries, after 0.2, 1 and 3 seconds.
    pub fn new(inner: B) -> Self {
        Self::with(inner, RETRY_DELAYS.to_vec(), Box::new(thread::sleep))
    }

    /// As many more tries as there are `delays`, waiting by means of `sleep`.
    pub fn with(inner: B, delays: Vec<Duration>, sleep: Box<dyn Fn(Duration) + Send + Sync>) -> Self {
        Self { inner, delays, sleep }
    }

    /// What is wrapped.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn attempt<T>(&self, call: impl Fn(&B) -> Result<T, Error>) -> Result<T, Error> {
        for delay in &self.delays {
            match call(&self.inner) {
                Err(error) if error.is_transient() => {
                    tracing::debug!(%error, ?delay, "trying again");
                    (self.sleep)(pause(*delay, &error));
                }
                done => return done,
            }
        }
        call(&self.inner)
    }
}

fn pause(delay: Duration, error: &Error) -> Duration {
    match error {
        Error::Unavailable { retry_after: Some(asked), .. } => delay.max(*asked).min(RETRY_AFTER_MAX),
        _ => delay,
    }
}

impl<B: Bare> Bare for Retry<B> {
    fn source(&self) -> String {
        self.inner.source()
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.attempt(|inner| inner.try_read(key, bytes_max))
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        self.attempt(|inner| inner.try_size(key))
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.attempt(|inner| inner.read_range(key, range.clone()))
    }
}

/// Listing and deleting may be repeated. A write's source has been read, and a swap whose answer was lost may have happened: both
/// are left to the caller.
impl<B: BareWrite> BareWrite for Retry<B> {
    fn write(&self, key: &Key, bytes: &mut dyn Read) -> Result<(), Error> {
        self.inner.write(key, bytes)
    }

    fn swap(&self, key: &Key, expected: Option<&[u8]>, new: &[u8]) -> Result<(), Error> {
        self.inner.swap(key, expected, new)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Key, u64)>, Error> {
        self.attempt(|inner| inner.list(prefix))
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        self.attempt(|inner| inner.delete(key))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Answers with the errors it was given, last one first, then with bytes.
    struct Flaky(Mutex<Vec<Error>>);

    impl Bare for Flaky {
        fn source(&self) -> String {
            "flaky".into()
        }
        fn try_read(&self, _: &Key, _: u64) -> Result<Option<Vec<u8>>, Error> {
            self.0.lock().unwrap().pop().map_or(Ok(Some(b"here".to_vec())), Err)
        }
        fn try_size(&self, _: &Key) -> Result<Option<u64>, Error> {
            Ok(None)
        }
        fn read_range(&self, _: &Key, _: Range<u64>) -> Result<Vec<u8>, Error> {
            Ok(Vec::new())
        }
    }

    fn busy(retry_after: Option<u64>) -> Error {
        Error::Unavailable {
            at: "flaky".into(),
            status: Some(503),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    /// The outcome against these errors, and the pauses in seconds.
    fn outcome(errors: Vec<Error>) -> (Result<Option<Vec<u8>>, Error>, Vec<u64>) {
        let pauses = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&pauses);
        let delays = [1, 2, 3].map(Duration::from_secs).to_vec();
        let retry = Retry::with(
            Flaky(Mutex::new(errors)),
            delays,
            Box::new(move |d| noted.lock().unwrap().push(d.as_secs())),
        );
        let outcome = retry.try_read(&Key::new("k").unwrap(), 9);
        drop(retry);
        (outcome, Arc::into_inner(pauses).unwrap().into_inner().unwrap())
    }

    #[test]
    fn trouble_that_passes_is_not_noticed() {
        let (outcome, pauses) = outcome(vec![busy(None), busy(None)]);
        assert_eq!((outcome.unwrap().unwrap(), pauses), (b"here".to_vec(), vec![1, 2]));
    }

    #[test]
    fn trouble_that_stays_is_reported_after_four_tries() {
        let (outcome, pauses) = outcome((0..9).map(|_| busy(None)).collect());
        assert!(matches!(outcome, Err(Error::Unavailable { .. })));
        assert_eq!(pauses, [1, 2, 3]);
    }

    #[test]
    fn what_cannot_pass_is_tried_once() {
        let (outcome, pauses) = outcome(vec![Error::Status { at: "flaky".into(), status: 403 }]);
        assert!(outcome.is_err() && pauses.is_empty());
    }

    /// A server may ask for a longer pause, but not for an endless one.
    #[test]
    fn a_server_may_ask_for_a_longer_pause() {
        let (outcome, pauses) = outcome(vec![busy(Some(86_400)), busy(Some(7))]);
        assert!(outcome.is_ok());
        assert_eq!(pauses, [7, 30]);
    }
}
