//! A socket that remembers how its writing goes, so that clients who do not read can be told from slow ones.
//!
//! Promises: [`Progress::stalled`] returns once the socket could not be written to, and took less than the lowest useful rate, over
//! two windows in a row.
//! Leaves to others: closing the connection; slow senders, which the readers of requests judge.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::sleep,
};

use crate::transport::limits::Limits;

/// What is known of the writing.
#[derive(Default)]
pub(super) struct Progress {
    written: AtomicU64,
    blocked: AtomicBool,
}

impl Progress {
    /// Waits until the other side has stopped reading.
    pub(super) async fn stalled(&self, limits: &Limits) {
        let (mut before, mut strikes) = (self.written.load(Relaxed), 0);
        while strikes < 2 {
            sleep(limits.rate_window).await;
            let now = self.written.load(Relaxed);
            let crawls = self.blocked.load(Relaxed) && now - before < limits.rate_window_bytes_min;
            strikes = if crawls { strikes + 1 } else { 0 };
            before = now;
        }
    }
}

/// The socket.
pub(super) struct Watched {
    stream: TcpStream,
    progress: Arc<Progress>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream) -> (Self, Arc<Progress>) {
        let progress = Arc::new(Progress::default());
        (Self { stream, progress: Arc::clone(&progress) }, progress)
    }

    fn note(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.progress.blocked.store(poll.is_pending(), Relaxed);
        if let Poll::Ready(Ok(n)) = &poll {
            self.progress.written.fetch_add(*n as u64, Relaxed);
        }
        poll
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.note(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.note(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
