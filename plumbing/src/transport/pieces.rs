//! Streams cut into pieces, the form in which they cross threads.
//!
//! Promises: a reader made of pieces ends cleanly only if its source said so, and stays failed once it failed; a service's
//! answer is handed on in pieces of [`PIECE_BYTES`], not in the crumbs in which it was written.
//! Leaves to others: how pieces cross (a channel, a frame, a stream of QUIC).

use std::{
    io::{self, BufWriter, Read, Write},
    sync::mpsc,
};

use bytes::Bytes;

use super::{
    Service,
    error::Error,
    limits::{PIECE_BYTES, PIECES_WAITING_MAX},
};

/// Where the next piece comes from. `None` is the clean end.
pub(crate) trait Source {
    fn next(&mut self) -> Result<Option<Bytes>, Error>;
}

/// A [`Read`] over a [`Source`].
pub(crate) struct PieceReader<S> {
    source: S,
    current: Bytes,
    state: State,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Ended,
    Failed,
}

impl<S: Source> PieceReader<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source, current: Bytes::new(), state: State::Open }
    }

    /// Gives the source back, with whatever of its current piece was not read left out.
    pub(crate) fn into_source(self) -> S {
        self.source
    }

    fn refill(&mut self) -> io::Result<()> {
        match self.source.next() {
            Ok(Some(piece)) => self.current = piece,
            Ok(None) => self.state = State::Ended,
            Err(error) => {
                self.state = State::Failed;
                return Err(error.into());
            }
        }
        Ok(())
    }
}

impl<S: Source> Read for PieceReader<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !buffer.is_empty() {
            match self.state {
                State::Open => self.refill()?,
                State::Ended => return Ok(0),
                State::Failed => {
                    return Err(io::Error::new(
                        io::ErrorKind::ConnectionReset,
                        "the stream has failed before",
                    ));
                }
            }
        }
        let n = self.current.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

/// One piece of a stream, and whether it is the last.
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    pub(crate) last: bool,
}

/// Reads the next piece of up to `bytes_max`; only the last one is shorter.
pub(crate) fn read_piece(source: &mut dyn Read, bytes_max: usize) -> io::Result<Piece> {
    let mut bytes = Vec::new();
    source.take(bytes_max as u64).read_to_end(&mut bytes)?;
    Ok(Piece { last: bytes.len() < bytes_max, bytes: bytes.into() })
}

/// Lets `service` answer `request` into `answer`; an error means that what was written is not a whole answer.
pub(crate) fn run(service: &dyn Service, request: &mut dyn Read, answer: &mut dyn Write) -> io::Result<()> {
    let mut buffered = BufWriter::with_capacity(PIECE_BYTES, answer);
    let outcome = service.serve(request, &mut buffered).and_then(|()| buffered.flush());
    drop(buffered.into_parts()); // what a failed answer still holds is of no use to anybody
    outcome
}

/// A bounded channel of bytes between two threads.
pub(crate) fn channel(at: String) -> (PieceSender, PieceReceiver) {
    let (sender, receiver) = mpsc::sync_channel(PIECES_WAITING_MAX);
    (PieceSender(sender), PieceReceiver { at, receiver })
}

/// The end that writes. Dropped without [`finish`](Self::finish), it leaves the reader with [`Error::GaveUp`].
pub(crate) struct PieceSender(mpsc::SyncSender<Option<Bytes>>);

impl PieceSender {
    pub(crate) fn finish(self) {
        let _ = self.0.send(None); // a reader that has gone does not want to know
    }
}

impl Write for PieceSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Some(Bytes::copy_from_slice(bytes));
        self.0.send(piece).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end that reads, to be wrapped into a [`PieceReader`].
pub(crate) struct PieceReceiver {
    at: String,
    receiver: mpsc::Receiver<Option<Bytes>>,
}

impl Source for PieceReceiver {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.receiver.recv().map_err(|_| Error::GaveUp { at: self.at.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_that_vanishes_is_an_error_and_stays_one() {
        let (mut sender, receiver) = channel("memory".into());
        sender.write_all(b"half").unwrap();
        drop(sender);
        let mut reader = PieceReader::new(receiver);
        let mut bytes = Vec::new();
        assert!(reader.read_to_end(&mut bytes).is_err());
        assert_eq!(bytes, b"half");
        assert!(reader.read(&mut [0; 8]).is_err());
    }

    #[test]
    fn only_the_last_piece_is_short() {
        let mut source: &[u8] = &[7; 10];
        let lengths = std::iter::from_fn(|| {
            let piece = read_piece(&mut source, 4).unwrap();
            Some((piece.bytes.len(), piece.last))
        });
        assert_eq!(lengths.take(3).collect::<Vec<_>>(), [(4, false), (4, false), (2, true)]);
    }
}
