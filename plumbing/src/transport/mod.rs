//! Bytes between machines.
//!
//! Two kinds of other side, each behind one trait:
//!
//! * [`Bare`]: keyed files with ranges. A folder, a web server, memory; any program that can serve files will do. [`BareWrite`]
//!   adds what a mirror that can be pushed to needs.
//! * [`Wire`]: a peer that speaks. One exchange is one request, written to its end, and one answer. The other end of a wire is a
//!   [`Service`].
//!
//! | | [`Bare`] | [`BareWrite`] | [`Wire`] |
//! |---|---|---|---|
//! | [`file::Folder`], [`memory::Memory`] | yes | yes | |
//! | `http::Http` | yes | | |
//! | [`memory::MemoryWire`], [`pipe::PipeWire`], `http::HttpWire`, `iroh::IrohWire` | | | yes |
//!
//! [`retry::Retry`], [`meter::Metered`] and [`subset::Subset`] wrap the traits; `host::Host` serves a `Bare` and a `Service` over
//! HTTP and iroh; [`address::Address`] reads what a person types.
//!
//! Promises: the public interface blocks and shows no async; every wait and every buffer has a bound ([`limits`]); what broke
//! off in the middle is an error and never a short answer; messages name the source and hold no credential.
//! Leaves to others: what the bytes mean and whether to believe them. Nothing here knows an object, a pack or a key of a person.
//!
//! The parts with sockets need the feature `net`. Nothing of this room may be called from inside an async runtime.

pub mod address;
pub mod bundle;
mod error;
pub mod file;
mod input;
mod key;
pub mod limits;
pub mod memory;
pub mod meter;
#[cfg(feature = "net")]
mod pace;
mod pieces;
pub mod pipe;
pub mod retry;
pub mod subset;

#[cfg(feature = "net")]
pub mod host;
#[cfg(feature = "net")]
pub mod http;
#[cfg(feature = "net")]
pub mod iroh;
#[cfg(feature = "net")]
mod runtime;

use std::{
    io::{Read, Write},
    ops::Range,
    sync::Arc,
};

pub use self::{
    address::Address,
    error::{Cause, Error},
    key::Key,
};

/// Keyed files with ranges.
///
/// Contract, checked over every implementation by one suite:
/// * A file is seen whole, as it was before or after a replacement, by one call. Files that are replaced are small and read by
///   [`try_read`](Self::try_read); files that are read by ranges never change.
/// * A folder is not a file: its key is absent.
/// * Calls may be made from several threads at once and do not depend on each other.
pub trait Bare: Send + Sync {
    /// What messages call this place: a path or a URL, without credentials.
    fn source(&self) -> String;

    /// The whole file, or `None` if there is none.
    ///
    /// # Errors
    /// [`Error::TooLong`] if it has more than `bytes_max` bytes, before they are read into memory; else what the transport meets.
    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error>;

    /// The length of the file in bytes, or `None` if there is none.
    ///
    /// # Errors
    /// What the transport meets.
    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error>;

    /// Exactly the bytes of `range`. An empty range is answered with nothing, without looking.
    ///
    /// # Errors
    /// [`Error::NotFound`] without the file, [`Error::Short`] if it ends before the range does.
    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error>;

    /// The whole file.
    ///
    /// # Errors
    /// [`Error::NotFound`] without it; else as [`try_read`](Self::try_read).
    fn find(&self, key: &Key, bytes_max: u64) -> Result<Vec<u8>, Error> {
        self.try_read(key, bytes_max)?.ok_or_else(|| Error::NotFound { at: key.at(&self.source()) })
    }
}

/// What a mirror that can be pushed to adds.
///
/// Contract: what a call returned for survives a crash; a call that failed or was cut off changed nothing that a reader can see.
pub trait BareWrite: Bare {
    /// Puts a file there, whole or not at all, in place of any older one.
    ///
    /// # Errors
    /// [`Error::Input`] if `bytes` cannot be read to their end; [`Error::Io`].
    fn write(&self, key: &Key, bytes: &mut dyn Read) -> Result<(), Error>;

    /// Replaces a small file if it holds exactly `expected`; `None` means that there must be none.
    ///
    /// Of several swaps at once with the same `expected`, one succeeds. A file is changed either by `swap` or by
    /// [`write`](Self::write), not by both.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it holds something else.
    fn swap(&self, key: &Key, expected: Option<&[u8]>, new: &[u8]) -> Result<(), Error>;

    /// All files whose key starts with `prefix`, with their lengths, sorted by key. The empty prefix means all.
    ///
    /// # Errors
    /// What the transport meets.
    fn list(&self, prefix: &str) -> Result<Vec<(Key, u64)>, Error>;

    /// Takes the file away; it is no error if there was none.
    ///
    /// # Errors
    /// What the transport meets.
    fn delete(&self, key: &Key) -> Result<(), Error>;
}

/// A peer that speaks: one exchange carries one request there and one answer back.
///
/// Contract, checked over every implementation by one suite:
/// * The request arrives byte for byte; a request that cannot be read to its end is never taken for a whole one.
/// * The answer ends cleanly only if the service was content; else its reader ends in an error that holds an
///   [`Error`] (see [`Error::in_io`]).
/// * The service may answer before it has read everything, and without reading everything.
/// * An answer may be dropped in the middle; the next exchange works.
/// * Exchanges may be made from several threads; a pipe makes them wait for each other.
pub trait Wire: Send + Sync {
    /// What messages call this peer, without credentials.
    fn source(&self) -> String;

    /// Sends `request` to its end and returns the answer.
    ///
    /// # Errors
    /// What the transport meets before an answer begins; afterwards the answer's reader fails.
    fn exchange(&self, request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error>;
}

/// The other end of a [`Wire`].
pub trait Service: Send + Sync + 'static {
    /// Reads one request and writes one answer.
    ///
    /// # Errors
    /// Any error tells the other side that the answer is not whole.
    fn serve(&self, request: &mut dyn Read, answer: &mut dyn Write) -> std::io::Result<()>;
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: Bare + ?Sized> Bare for $pointer {
            fn source(&self) -> String { (**self).source() }
            fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> { (**self).try_read(key, bytes_max) }
            fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> { (**self).try_size(key) }
            fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> { (**self).read_range(key, range) }
            fn find(&self, key: &Key, bytes_max: u64) -> Result<Vec<u8>, Error> { (**self).find(key, bytes_max) }
        }
        impl<T: BareWrite + ?Sized> BareWrite for $pointer {
            fn write(&self, key: &Key, bytes: &mut dyn Read) -> Result<(), Error> { (**self).write(key, bytes) }
            fn swap(&self, key: &Key, expected: Option<&[u8]>, new: &[u8]) -> Result<(), Error> { (**self).swap(key, expected, new) }
            fn list(&self, prefix: &str) -> Result<Vec<(Key, u64)>, Error> { (**self).list(prefix) }
            fn delete(&self, key: &Key) -> Result<(), Error> { (**self).delete(key) }
        }
        impl<T: Wire + ?Sized> Wire for $pointer {
            fn source(&self) -> String { (**self).source() }
            fn exchange(&self, request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> { (**self).exchange(request) }
        }
    )*};
}

forward!(Box<T>, Arc<T>);
