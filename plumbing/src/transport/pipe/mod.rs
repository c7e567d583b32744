//! A wire over the standard streams of a child process: `pkg serve --stdio`, here or at the far end of ssh.
//!
//! Participants: the child reads requests from its standard input and writes answers to its standard output; its standard error
//! stays free for people. Exchanges follow one another; each half is a run of frames:
//!
//! ```text
//! half  := chunk* mark
//! chunk := length (u32, big endian, 1 ..= 1 MiB), then as many bytes
//! mark  := 0 (u32): the half is whole | 0xffffffff: its writer gave up, the half is void
//! ```
//!
//! The server reads a request to its mark even if the service did not care for all of it, so that both sides agree where the next
//! one begins. End of input in front of a request ends the server.
//!
//! Promises: the contract of [`Wire`](super::Wire); a child that is silent for [`Limits::idle_timeout`](super::limits::Limits::idle_timeout) is ended and the next exchange starts a
//! new one.
//! Leaves to others: which program that is; encryption (ssh); versions (the protocol inside).

mod client;

use std::io::{self, Read, Write};

use bytes::Bytes;

pub use self::client::PipeWire;
use super::{
    Error, Service,
    limits::FRAME_BYTES_MAX,
    pieces::{self, PieceReader, Source},
};

const WHOLE: u32 = 0;
const VOID: u32 = u32::MAX;
/// One frame of a half.
enum Frame {
    Chunk(Bytes),
    Whole,
    Void,
}

fn write_chunk(to: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(FRAME_BYTES_MAX as usize) {
        to.write_all(&(chunk.len() as u32).to_be_bytes())?;
        to.write_all(chunk)?;
    }
    Ok(())
}

fn write_mark(to: &mut dyn Write, mark: u32) -> io::Result<()> {
    to.write_all(&mark.to_be_bytes())?;
    to.flush()
}

/// The next frame, or `None` if the stream ended in front of it.
fn read_frame(from: &mut dyn Read) -> io::Result<Option<Frame>> {
    let mut head = [0; 4];
    if !read_head(from, &mut head)? {
        return Ok(None);
    }
    match u32::from_be_bytes(head) {
        WHOLE => Ok(Some(Frame::Whole)),
        VOID => Ok(Some(Frame::Void)),
        length if length > FRAME_BYTES_MAX => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is longer than 1 MiB"))
        }
        length => {
            let mut bytes = vec![0; length as usize];
            from.read_exact(&mut bytes)?;
            Ok(Some(Frame::Chunk(bytes.into())))
        }
    }
}

/// Fills `head`; false if the stream ended before its first byte.
fn read_head(from: &mut dyn Read, head: &mut [u8; 4]) -> io::Result<bool> {
    loop {
        match from.read(&mut head[..1]) {
            Ok(0) => return Ok(false),
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    from.read_exact(&mut head[1..])?;
    Ok(true)
}

/// Serves one exchange after the other until `input` ends.
///
/// # Errors
/// Trouble with the streams themselves. A service's error ends its exchange, not the server.
pub fn serve(mut input: impl Read, mut output: impl Write, service: &dyn Service) -> io::Result<()> {
    while let Some(first) = read_frame(&mut input)? {
        let mut half = PieceReader::new(Half { from: &mut input, first: Some(first), marked: false });
        let outcome = pieces::run(service, &mut half, &mut Chunks(&mut output));
        if let Err(error) = &outcome {
            tracing::debug!(%error, "a service behind a pipe gave up");
        }
        write_mark(&mut output, if outcome.is_ok() { WHOLE } else { VOID })?;
        half.into_source().skip_to_mark()?;
    }
    Ok(())
}

/// Writes chunks, without a mark.
struct Chunks<W>(W);

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_chunk(&mut self.0, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A request as the server reads it.
struct Half<R> {
    from: R,
    first: Option<Frame>,
    marked: bool,
}

const REQUEST: &str = "the request on standard input";

impl<R: Read> Half<R> {
    fn frame(&mut self) -> io::Result<Frame> {
        let frame = match self.first.take() {
            Some(first) => first,
            None => read_frame(&mut self.from)?.ok_or(io::ErrorKind::UnexpectedEof)?,
        };
        self.marked = matches!(frame, Frame::Whole | Frame::Void);
        Ok(frame)
    }

    fn skip_to_mark(&mut self) -> io::Result<()> {
        while !self.marked {
            self.frame()?;
        }
        Ok(())
    }
}

impl<R: Read> Source for Half<R> {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.frame() {
            Ok(Frame::Chunk(bytes)) => Ok(Some(bytes)),
            Ok(Frame::Whole) => Ok(None),
            Ok(Frame::Void) => Err(Error::GaveUp { at: REQUEST.into() }),
            Err(e) => Err(Error::from_read(REQUEST, e)),
        }
    }
}
