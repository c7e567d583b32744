//! The two halves of a QUIC stream as blocking reader and writer, for both ends of a wire.
//!
//! Promises: a half that is dropped before its end is reset, never ended; each wait has its timeout.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::Bytes;
use iroh::endpoint::{ReadError, RecvStream, SendStream, VarInt};
use tokio::{
    runtime::Runtime,
    time::{Instant, timeout},
};

use crate::transport::{
    error::Error,
    limits::{Limits, PIECE_BYTES},
    pace::Pace,
    pieces::Source,
};

/// Why a half was reset; the codes are those of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// The request is longer than the host takes.
    TooLong,
    /// Whoever made this half gave up.
    GaveUp,
    /// Too many exchanges at once.
    Busy,
}

impl Reset {
    const fn code(self) -> u16 {
        match self {
            Self::TooLong => 413,
            Self::GaveUp => 500,
            Self::Busy => 503,
        }
    }

    fn error(code: VarInt, at: String) -> Error {
        match u16::try_from(code.into_inner()) {
            Ok(413) => Error::Status { at, status: 413 },
            Ok(503) => Error::Unavailable { at, status: Some(503), retry_after: None },
            _ => Error::GaveUp { at },
        }
    }
}

/// The half that is read.
pub(crate) struct Incoming {
    runtime: &'static Runtime,
    at: String,
    stream: RecvStream,
    pace: Pace,
    idle: Duration,
}

impl Incoming {
    pub(crate) fn new(runtime: &'static Runtime, at: String, stream: RecvStream, limits: Limits) -> Self {
        Self { runtime, at, stream, pace: Pace::new(&limits), idle: limits.idle_timeout }
    }
}

impl Source for Incoming {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let asked = Instant::now();
        let idle = self.idle;
        let stream = &mut self.stream;
        let read = self.runtime.block_on(async { timeout(idle, stream.read_chunk(PIECE_BYTES)).await });
        match read {
            Ok(Ok(Some(bytes))) => {
                self.pace.note(&self.at, bytes.len(), asked.elapsed())?;
                Ok(Some(bytes))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(ReadError::Reset(code))) => Err(Reset::error(code, self.at.clone())),
            Ok(Err(error)) => Err(Error::Broken { at: self.at.clone(), source: error.into() }),
            Err(_) => Err(self.pace.timed_out(&self.at, idle)),
        }
    }
}

/// The half that is written.
pub(crate) struct Outgoing {
    runtime: &'static Runtime,
    stream: SendStream,
    idle: Duration,
    closed: bool,
}

impl Outgoing {
    pub(crate) fn new(runtime: &'static Runtime, stream: SendStream, idle: Duration) -> Self {
        Self { runtime, stream, idle, closed: false }
    }

    /// Ends the half cleanly.
    pub(crate) fn finish(mut self) {
        self.closed = true;
        let _ = self.stream.finish(); // fails only if the other side does not want it
    }

    /// Ends the half as void.
    pub(crate) fn reset(mut self, reason: Reset) {
        self.close(reason);
    }

    fn close(&mut self, reason: Reset) {
        if !std::mem::replace(&mut self.closed, true) {
            let _ = self.stream.reset(VarInt::from(u32::from(reason.code())));
        }
    }
}

impl Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE_BYTES)];
        let (idle, stream) = (self.idle, &mut self.stream);
        match self.runtime.block_on(async { timeout(idle, stream.write_all(piece)).await }) {
            Ok(written) => written.map(|()| piece.len()).map_err(io::Error::from),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Left to itself the stream would end as if it were whole.
impl Drop for Outgoing {
    fn drop(&mut self) {
        self.close(Reset::GaveUp);
    }
}
