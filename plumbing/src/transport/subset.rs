//! A part of a bare repository.
//!
//! Promises: keys outside the part are absent, whatever lies there. A store holds more than what it serves (a database, a
//! configuration, logs); a host is given the part that is public.
//! Leaves to others: which part that is.

use std::ops::Range;

use super::{Bare, Error, Key};

/// Only those keys of `inner` that are named, or lie beneath a named folder.
///
/// ```
/// use plumbing::transport::{Bare, BareWrite, Key, memory::Memory, subset::Subset};
/// let whole = Memory::new();
/// for key in ["summary", "config", "objects/pack/00.pack"] {
///     whole.write(&Key::new(key)?, &mut &b"x"[..])?;
/// }
/// let public = Subset::new(whole, ["summary", "objects/"]);
/// assert!(public.try_read(&Key::new("objects/pack/00.pack")?, 8)?.is_some());
/// assert!(public.try_read(&Key::new("config")?, 8)?.is_none());
/// # Ok::<(), plumbing::transport::Error>(())
/// ```
#[derive(Debug)]
pub struct Subset<B> {
    inner: B,
    parts: Vec<String>,
}

impl<B: Bare> Subset<B> {
    /// A part that ends in `/` is a folder, any other is a file.
    pub fn new(inner: B, parts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { inner, parts: parts.into_iter().map(Into::into).collect() }
    }

    fn holds(&self, key: &Key) -> bool {
        let holds = |part: &String| match part.ends_with('/') {
            true => key.as_str().starts_with(part.as_str()),
            false => key.as_str() == part,
        };
        self.parts.iter().any(holds)
    }
}

impl<B: Bare> Bare for Subset<B> {
    fn source(&self) -> String {
        self.inner.source()
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        if self.holds(key) { self.inner.try_read(key, bytes_max) } else { Ok(None) }
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        if self.holds(key) { self.inner.try_size(key) } else { Ok(None) }
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if self.holds(key) || range.is_empty() {
            return self.inner.read_range(key, range);
        }
        Err(Error::NotFound { at: key.at(&self.source()) })
    }
}
