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
//! Promises: the contract of [`Wire`]; a child that is silent for [`Limits::idle_timeout`] is ended and the next exchange starts a
//! new one.
//! Leaves to others: which program that is; encryption (ssh); versions (the protocol inside).

use std::{
    io::{self, Read, Write},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Error, Service, Wire,
    limits::{FRAME_BYTES_MAX, Limits, PIECE_BYTES, PIECES_WAITING_MAX},
    pieces::{self, PieceReader, Source},
};

const WHOLE: u32 = 0;
const VOID: u32 = u32::MAX;
/// The first part of a request goes out from the caller's thread if it is all there is. It must fit the pipe's buffer (64 KiB
/// on Linux), for the child may be busy answering.
const INLINE_BYTES_MAX: usize = PIECE_BYTES / 2;
/// How long a child may take to end after its input was closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

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
        length if length > FRAME_BYTES_MAX => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a frame is longer than 1 MiB",
        )),
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
pub fn serve(
    mut input: impl Read + Send,
    mut output: impl Write,
    service: &dyn Service,
) -> io::Result<()> {
    while let Some(first) = read_frame(&mut input)? {
        let mut half = PieceReader::new(Half {
            from: &mut input,
            first: Some(first),
            marked: false,
        });
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

impl<R: Read + Send> Source for Half<R> {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        match self.frame() {
            Ok(Frame::Chunk(bytes)) => Ok(Some(bytes)),
            Ok(Frame::Whole) => Ok(None),
            Ok(Frame::Void) => Err(Error::GaveUp { at: REQUEST.into() }),
            Err(e) => Err(Error::from_read(REQUEST, e)),
        }
    }
}

/// A wire to a child process. Exchanges wait for each other.
pub struct PipeWire {
    seat: Arc<Seat>,
}

impl PipeWire {
    /// A wire to what `command` starts, now or when it is first needed again. Its standard error is left as the command has it.
    /// `source` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Connect`] if it cannot be started.
    pub fn spawn(
        source: impl Into<String>,
        mut command: Command,
        limits: Limits,
    ) -> Result<Self, Error> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let seat = Seat {
            source: source.into(),
            limits,
            command: Mutex::new(command),
            place: Mutex::new(Place::Empty),
            freed: Condvar::new(),
        };
        let link = seat.start()?;
        seat.put(Place::Idle(link));
        Ok(Self {
            seat: Arc::new(seat),
        })
    }
}

impl Wire for PipeWire {
    fn source(&self) -> String {
        self.seat.source.clone()
    }

    fn exchange(&self, mut request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        let at = &self.seat.source;
        let first = pieces::read_piece(&mut request, INLINE_BYTES_MAX)
            .map_err(|e| Error::from_input(at, e))?;
        let mut answer = Answer {
            link: Some(self.seat.take()?),
            pump: None,
            input_error: Arc::default(),
            seat: Arc::clone(&self.seat),
        };
        if first.last {
            answer.send_whole(&first.bytes)?;
        } else {
            answer.send_aside(first.bytes, request)?;
        }
        Ok(Box::new(PieceReader::new(answer)))
    }
}

/// Where the one child is kept between exchanges.
struct Seat {
    source: String,
    limits: Limits,
    command: Mutex<Command>,
    place: Mutex<Place>,
    freed: Condvar,
}

enum Place {
    Idle(Link),
    Taken,
    Empty,
}

impl Seat {
    /// Waits for the child to be free, and starts one if there is none.
    fn take(&self) -> Result<Link, Error> {
        let mut place = held(&self.place);
        loop {
            match std::mem::replace(&mut *place, Place::Taken) {
                Place::Idle(link) => return Ok(link),
                Place::Empty => break,
                Place::Taken => {
                    place = self
                        .freed
                        .wait(place)
                        .unwrap_or_else(PoisonError::into_inner)
                }
            }
        }
        drop(place);
        self.start().inspect_err(|_| self.put(Place::Empty))
    }

    fn put(&self, new: Place) {
        let old = std::mem::replace(&mut *held(&self.place), new);
        self.freed.notify_one();
        drop(old);
    }

    fn start(&self) -> Result<Link, Error> {
        let fail = |e: io::Error| Error::Connect {
            at: self.source.clone(),
            source: e.into(),
        };
        let mut child = held(&self.command).spawn().map_err(fail)?;
        let to = child
            .stdin
            .take()
            .expect("standard input is a pipe: `spawn` asked for one");
        let from = child
            .stdout
            .take()
            .expect("standard output is a pipe: `spawn` asked for one");
        let frames = read_aside(from).map_err(fail)?;
        Ok(Link {
            to: Some(Box::new(to)),
            frames: Some(frames),
            child,
        })
    }
}

/// A panic while one of these is held leaves nothing half done: every change is one replacement.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Sink = Box<dyn Write + Send>;
type Frames = Receiver<io::Result<Frame>>;

/// Reads frames on a thread, because a pipe has no timeout of its own.
fn read_aside(mut from: impl Read + Send + 'static) -> io::Result<Frames> {
    let (sender, receiver) = mpsc::sync_channel(PIECES_WAITING_MAX);
    let read = move || {
        loop {
            let frame = read_frame(&mut from)
                .and_then(|frame| frame.ok_or(io::ErrorKind::UnexpectedEof.into()));
            let failed = frame.is_err();
            if sender.send(frame).is_err() || failed {
                return;
            }
        }
    };
    thread::Builder::new().name("pkg-pipe".into()).spawn(read)?;
    Ok(receiver)
}

/// A running child. Dropping it closes its input, and ends it if it does not end by itself.
struct Link {
    to: Option<Sink>,
    frames: Option<Frames>,
    child: Child,
}

impl Drop for Link {
    fn drop(&mut self) {
        (self.to, self.frames) = (None, None);
        let step = Duration::from_millis(10);
        for _ in 0..EXIT_TIMEOUT.as_millis() / step.as_millis() {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(step);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer being read. It holds the link, and gives it back only if the exchange came to a clean end.
struct Answer {
    link: Option<Link>,
    pump: Option<JoinHandle<Option<Sink>>>,
    input_error: Arc<Mutex<Option<io::Error>>>,
    seat: Arc<Seat>,
}

impl Answer {
    fn send_whole(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(to) = self.link.as_mut().and_then(|link| link.to.as_mut()) else {
            return Err(self.broken("no child"));
        };
        let sent = write_chunk(to, bytes).and_then(|()| write_mark(to, WHOLE));
        sent.map_err(|e| self.broken(e))
    }

    /// Sends the request from a thread, while the caller reads the answer.
    fn send_aside(&mut self, first: Bytes, request: Box<dyn Read + Send>) -> Result<(), Error> {
        let Some(to) = self.link.as_mut().and_then(|link| link.to.take()) else {
            return Err(self.broken("no child"));
        };
        let input_error = Arc::clone(&self.input_error);
        let thread = thread::Builder::new().name("pkg-pipe-request".into());
        let pump = thread.spawn(move || pump(to, first, request, &input_error));
        self.pump = Some(pump.map_err(|e| Error::Setup {
            at: "a thread".into(),
            source: e.into(),
        })?);
        Ok(())
    }

    fn broken(&self, cause: impl Into<super::Cause>) -> Error {
        Error::Broken {
            at: self.seat.source.clone(),
            source: cause.into(),
        }
    }

    /// The child has marked its answer, so it has read, or will read, the whole request: both sides stand between two exchanges.
    fn give_back(&mut self) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        if let Some(pump) = self.pump.take() {
            link.to = pump.join().ok().flatten();
        }
        let place = if link.to.is_some() {
            Place::Idle(link)
        } else {
            Place::Empty
        };
        self.seat.put(place);
    }

    fn gave_up(&mut self) -> Error {
        let at = self.seat.source.clone();
        match held(&self.input_error).take() {
            Some(error) => Error::from_input(&at, error),
            None => Error::GaveUp { at },
        }
    }
}

impl Source for Answer {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let idle = self.seat.limits.idle_timeout;
        let Some(frames) = self.link.as_ref().and_then(|link| link.frames.as_ref()) else {
            return Err(self.broken("no child"));
        };
        match frames.recv_timeout(idle) {
            Ok(Ok(Frame::Chunk(bytes))) => Ok(Some(bytes)),
            Ok(Ok(Frame::Whole)) => {
                self.give_back();
                Ok(None)
            }
            Ok(Ok(Frame::Void)) => {
                self.give_back();
                Err(self.gave_up())
            }
            Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => Err(Error::Answer {
                at: self.seat.source.clone(),
                reason: "a frame is longer than 1 MiB",
            }),
            Ok(Err(e)) => Err(self.broken(e)),
            Err(RecvTimeoutError::Disconnected) => Err(self.broken("its output has ended")),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(link) = &mut self.link {
                    let _ = link.child.kill();
                }
                Err(Error::Stalled {
                    at: self.seat.source.clone(),
                    bytes: 0,
                    seconds: idle.as_secs(),
                })
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(mut link) = self.link.take() {
            let _ = link.child.kill(); // it is in the middle of an answer that nobody wants
            self.seat.put(Place::Empty);
        }
    }
}

/// Sends `first` and the rest of `request`. Returns the sink if it stands behind a mark and can be used again.
fn pump(
    mut to: Sink,
    first: Bytes,
    mut request: Box<dyn Read + Send>,
    input_error: &Mutex<Option<io::Error>>,
) -> Option<Sink> {
    let mut piece = Ok(pieces::Piece {
        bytes: first,
        last: false,
    });
    loop {
        match piece {
            Ok(pieces::Piece { bytes, last }) => {
                write_chunk(&mut to, &bytes).ok()?;
                if last {
                    return write_mark(&mut to, WHOLE).ok().map(|()| to);
                }
            }
            Err(error) => {
                *held(input_error) = Some(error);
                return write_mark(&mut to, VOID).ok().map(|()| to);
            }
        }
        piece = pieces::read_piece(&mut request, PIECE_BYTES);
    }
}
