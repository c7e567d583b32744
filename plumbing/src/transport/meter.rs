//! Counting what came from where (L-U4).
//!
//! Promises: counts the bytes that callers asked to move: file bytes of a [`Bare`], both halves of an exchange of a [`Wire`].
//! Leaves to others: headers, encryption and repeated sending, which the layers below add; putting counts on a screen.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Bare, BareWrite, Error, Key, Wire};

/// Counters that several sources, threads and readers may share.
#[derive(Debug, Default)]
pub struct Meter {
    received: AtomicU64,
    sent: AtomicU64,
    requests: AtomicU64,
}

/// What a [`Meter`] showed at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that came from the source.
    pub received: u64,
    /// Bytes that went to the source.
    pub sent: u64,
    /// Calls and exchanges.
    pub requests: u64,
}

impl Meter {
    /// A meter at zero, ready to be shared.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What it shows now.
    pub fn traffic(&self) -> Traffic {
        Traffic {
            received: self.received.load(Relaxed),
            sent: self.sent.load(Relaxed),
            requests: self.requests.load(Relaxed),
        }
    }

    fn request(&self) {
        self.requests.fetch_add(1, Relaxed);
    }

    fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Relaxed);
    }

    fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }
}

/// A source with a meter on it.
#[derive(Debug)]
pub struct Metered<T> {
    inner: T,
    meter: Arc<Meter>,
}

impl<T> Metered<T> {
    /// Counts what goes through `inner` on `meter`.
    pub fn new(inner: T, meter: Arc<Meter>) -> Self {
        Self { inner, meter }
    }

    /// The meter.
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// What is wrapped.
    pub fn inner(&self) -> &T {
        &self.inner
    }
}

impl<B: Bare> Bare for Metered<B> {
    fn source(&self) -> String {
        self.inner.source()
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.meter.request();
        let found = self.inner.try_read(key, bytes_max)?;
        self.meter.received(found.as_ref().map_or(0, Vec::len));
        Ok(found)
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        self.meter.request();
        self.inner.try_size(key)
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        self.meter.request();
        let bytes = self.inner.read_range(key, range)?;
        self.meter.received(bytes.len());
        Ok(bytes)
    }
}

impl<B: BareWrite> BareWrite for Metered<B> {
    fn write(&self, key: &Key, bytes: &mut dyn Read) -> Result<(), Error> {
        self.meter.request();
        let count = |n| self.meter.sent(n);
        self.inner.write(key, &mut Counted { inner: bytes, count })
    }

    fn swap(&self, key: &Key, expected: Option<&[u8]>, new: &[u8]) -> Result<(), Error> {
        self.meter.request();
        self.inner.swap(key, expected, new)?;
        self.meter.sent(new.len());
        Ok(())
    }

    fn list(&self, prefix: &str) -> Result<Vec<(Key, u64)>, Error> {
        self.meter.request();
        self.inner.list(prefix)
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        self.meter.request();
        self.inner.delete(key)
    }
}

impl<W: Wire> Wire for Metered<W> {
    fn source(&self) -> String {
        self.inner.source()
    }

    fn exchange(&self, request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        self.meter.request();
        let meter = Arc::clone(&self.meter);
        let request = Counted { inner: request, count: move |n| meter.sent(n) };
        let answer = self.inner.exchange(Box::new(request))?;
        let meter = Arc::clone(&self.meter);
        Ok(Box::new(Counted { inner: answer, count: move |n| meter.received(n) }))
    }
}

/// A reader that tells how much went through it.
struct Counted<R, F> {
    inner: R,
    count: F,
}

impl<R: Read, F: Fn(usize)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        (self.count)(n);
        Ok(n)
    }
}
