//! Whose fault it was: a request that could not be read breaks an exchange, and what is seen of that at first is a broken answer.
//!
//! Promises: the caller is told of its own reader's error, not of what came of it.
//! Leaves to others: breaking the exchange, so that the other side takes no part of a request for the whole.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use super::{error::Error, pieces::Source};

/// The error of a request that is read by another thread, if it had one.
#[derive(Clone, Default)]
pub(crate) struct InputError(Arc<Mutex<Option<io::Error>>>);

impl InputError {
    pub(crate) fn note(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// `error`, or the trouble with the request that caused it.
    pub(crate) fn explain(&self, at: &str, error: Error) -> Error {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(cause) => Error::from_input(at, cause),
            None => error,
        }
    }
}

/// An answer whose errors are explained.
pub(crate) struct Explained<S> {
    pub(crate) answer: S,
    pub(crate) input: InputError,
    pub(crate) at: String,
}

impl<S: Source> Source for Explained<S> {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.answer.next().map_err(|error| self.input.explain(&self.at, error))
    }
}

/// A request whose error is noted on its way to a service in this process.
pub(crate) struct Noted<R> {
    pub(crate) request: R,
    pub(crate) input: InputError,
}

impl<R: Read> Read for Noted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.request.read(buffer) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                let shown = io::Error::new(error.kind(), "the request cannot be read");
                self.input.note(error);
                Err(shown)
            }
            read => read,
        }
    }
}
