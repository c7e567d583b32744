//! The request half of an exchange on its way up.
//!
//! Promises: a request that cannot be read to its end breaks the connection, so that the server never takes it for whole, and
//! its reader's error is noted.

use std::{
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use tokio::{runtime::Runtime, sync::mpsc};

use crate::transport::{
    error::Error,
    input::InputError,
    limits::{PIECE_BYTES, PIECES_WAITING_MAX},
    pieces::{self, Piece},
};

/// What is known of a request while it is sent.
#[derive(Clone, Default)]
pub(super) struct Upload {
    moved: Arc<AtomicU64>,
    pub(super) input: InputError,
}

impl Upload {
    /// Starts to read `request`. A short one is read here and now; a long one by a thread, as fast as the server takes it.
    pub(super) fn start(
        runtime: &Runtime,
        at: &str,
        mut request: Box<dyn Read + Send>,
    ) -> Result<(Self, Body), Error> {
        let first = pieces::read_piece(&mut request, PIECE_BYTES).map_err(|e| Error::from_input(at, e))?;
        let upload = Self::default();
        if first.last {
            return Ok((upload, Body::from(first.bytes)));
        }
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        let pump = upload.clone();
        runtime.spawn_blocking(move || pump.pump(first, request, &sender));
        let pieces = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        });
        Ok((upload, Body::wrap_stream(pieces)))
    }

    fn pump(
        &self,
        first: Piece,
        mut request: Box<dyn Read + Send>,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) {
        let mut piece = Ok(first);
        loop {
            match piece {
                Ok(Piece { bytes, last }) => {
                    let length = bytes.len() as u64;
                    // The receiver goes when the server wants no more of it.
                    if sender.blocking_send(Ok(bytes)).is_err() || last {
                        return;
                    }
                    self.moved.fetch_add(length, Relaxed);
                }
                Err(error) => {
                    self.input.note(error);
                    let _ = sender.blocking_send(Err(io::ErrorKind::BrokenPipe.into()));
                    return;
                }
            }
            piece = pieces::read_piece(&mut request, PIECE_BYTES);
        }
    }

    /// Bytes that went up since the last call.
    pub(super) fn moved(&self) -> u64 {
        self.moved.swap(0, Relaxed)
    }
}
