//! Our end of a pipe: the child, and the exchanges with it.

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

use super::{Frame, VOID, WHOLE, read_frame, write_chunk, write_mark};
use crate::transport::{
    Wire,
    error::{Cause, Error},
    input::InputError,
    limits::{Limits, PIECE_BYTES, PIECES_WAITING_MAX},
    pieces::{self, PieceReader, Source},
};

/// The first part of a request goes out from the caller's thread if it is all there is. It must fit the pipe's buffer (64 KiB
/// on Linux), for the child may be busy answering.
const INLINE_BYTES_MAX: usize = PIECE_BYTES / 2;
/// How long a child may take to end after its input was closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

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
    pub fn spawn(source: impl Into<String>, mut command: Command, limits: Limits) -> Result<Self, Error> {
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
        Ok(Self { seat: Arc::new(seat) })
    }
}

impl Wire for PipeWire {
    fn source(&self) -> String {
        self.seat.source.clone()
    }

    fn exchange(&self, mut request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        let at = &self.seat.source;
        let first =
            pieces::read_piece(&mut request, INLINE_BYTES_MAX).map_err(|e| Error::from_input(at, e))?;
        let mut answer = Answer {
            link: Some(self.seat.take()?),
            pump: None,
            input: InputError::default(),
            seat: Arc::clone(&self.seat),
        };
        if first.last {
            answer.send_whole(&first.bytes);
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
                Place::Taken => place = self.freed.wait(place).unwrap_or_else(PoisonError::into_inner),
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
        let fail = |e: io::Error| Error::Connect { at: self.source.clone(), source: e.into() };
        let mut child = held(&self.command).spawn().map_err(fail)?;
        let to = child.stdin.take().expect("standard input is a pipe: `spawn` asked for one");
        let from = child.stdout.take().expect("standard output is a pipe: `spawn` asked for one");
        let frames = read_aside(from).map_err(fail)?;
        Ok(Link { to: Some(Box::new(to)), frames: Some(frames), child })
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
            let frame =
                read_frame(&mut from).and_then(|frame| frame.ok_or(io::ErrorKind::UnexpectedEof.into()));
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
    input: InputError,
    seat: Arc<Seat>,
}

impl Answer {
    /// A child that ended early may have answered all the same, so that a failure to write is judged by the answer.
    fn send_whole(&mut self, bytes: &[u8]) {
        let Some(link) = &mut self.link else { return };
        let sent = link.to.as_mut().map(|to| write_chunk(to, bytes).and_then(|()| write_mark(to, WHOLE)));
        if !matches!(sent, Some(Ok(()))) {
            link.to = None;
        }
    }

    /// Sends the request from a thread, while the caller reads the answer.
    fn send_aside(&mut self, first: Bytes, request: Box<dyn Read + Send>) -> Result<(), Error> {
        let Some(to) = self.link.as_mut().and_then(|link| link.to.take()) else {
            return Err(self.broken("no child"));
        };
        let input = self.input.clone();
        let thread = thread::Builder::new().name("pkg-pipe-request".into());
        let pump = thread.spawn(move || pump(to, first, request, &input));
        self.pump = Some(pump.map_err(|e| Error::Setup { at: "a thread".into(), source: e.into() })?);
        Ok(())
    }

    fn broken(&self, cause: impl Into<Cause>) -> Error {
        Error::Broken { at: self.seat.source.clone(), source: cause.into() }
    }

    /// The child has marked its answer, so it has read, or will read, the whole request: both sides stand between two exchanges.
    fn give_back(&mut self) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        if let Some(pump) = self.pump.take() {
            link.to = pump.join().ok().flatten();
        }
        let place = if link.to.is_some() { Place::Idle(link) } else { Place::Empty };
        self.seat.put(place);
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
                let at = self.seat.source.clone();
                Err(self.input.explain(&self.seat.source, Error::GaveUp { at }))
            }
            Ok(Err(e)) if e.kind() == io::ErrorKind::InvalidData => {
                Err(Error::Answer { at: self.seat.source.clone(), reason: "a frame is longer than 1 MiB" })
            }
            Ok(Err(e)) => Err(self.broken(e)),
            Err(RecvTimeoutError::Disconnected) => Err(self.broken("its output has ended")),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(link) = &mut self.link {
                    let _ = link.child.kill();
                }
                Err(Error::Stalled { at: self.seat.source.clone(), bytes: 0, seconds: idle.as_secs() })
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
fn pump(mut to: Sink, first: Bytes, mut request: Box<dyn Read + Send>, input: &InputError) -> Option<Sink> {
    let mut piece = Ok(pieces::Piece { bytes: first, last: false });
    loop {
        match piece {
            Ok(pieces::Piece { bytes, last }) => {
                write_chunk(&mut to, &bytes).ok()?;
                if last {
                    return write_mark(&mut to, WHOLE).ok().map(|()| to);
                }
            }
            Err(error) => {
                input.note(error);
                return write_mark(&mut to, VOID).ok().map(|()| to);
            }
        }
        piece = pieces::read_piece(&mut request, PIECE_BYTES);
    }
}
