//! Exchanges over HTTP: the service runs on a thread, bounded channels carry both halves.
//!
//! The status is held back until the first byte of the answer, so that a request that was too long, or a service that failed
//! at once, is told by its status. A service that fails later breaks the connection off.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hyper::body::{Body as _, Incoming};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    time::{Instant, timeout},
};

use super::{Site, web::status};
use crate::transport::{
    error::Error,
    limits::{LINGER_BYTES_MAX, PIECES_WAITING_MAX, TURN_TIMEOUT},
    pace::Pace,
    pieces::{self, PieceReader, Source},
};

const REQUEST: &str = "the request";

/// Answers an exchange.
pub(super) async fn serve(site: Arc<Site>, request: Request<Incoming>) -> Response<Body> {
    let announced = request.body().size_hint().lower();
    let body = Body::new(request.into_body()).into_data_stream();
    if announced > site.request_bytes_max {
        site.runtime.spawn(linger(body));
        return status(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let Ok(Ok(turn)) = timeout(TURN_TIMEOUT, Arc::clone(&site.turns).acquire_owned()).await else {
        site.runtime.spawn(linger(body));
        let mut busy = status(StatusCode::SERVICE_UNAVAILABLE);
        busy.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        return busy;
    };
    let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
    let too_long = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&too_long);
    let thread = Arc::clone(&site);
    site.runtime.spawn_blocking(move || {
        work(&thread, body, sender, noted);
        drop(turn);
    });
    reply(receiver, &too_long).await
}

/// Lets the service answer, and then reads what it left of the request: a connection closed over unread bytes is reset, and
/// the answer lost with it.
fn work(site: &Site, body: BodyDataStream, sender: mpsc::Sender<Option<Bytes>>, too_long: Arc<AtomicBool>) {
    let request = RequestBody {
        runtime: site.runtime,
        body,
        left: site.request_bytes_max,
        too_long,
        pace: Pace::new(&site.limits),
        idle: site.limits.idle_timeout,
    };
    let mut request = PieceReader::new(request);
    let mut answer = AnswerBody { runtime: site.runtime, sender, idle: site.limits.idle_timeout };
    match pieces::run(&*site.service, &mut request, &mut answer) {
        Ok(()) => answer.finish(),
        Err(error) => {
            tracing::debug!(%error, "an exchange failed");
            drop(answer);
        }
    }
    request.into_source().drain();
}

/// The head of the answer as soon as it is certain, with the body behind it.
async fn reply(mut answer: mpsc::Receiver<Option<Bytes>>, too_long: &AtomicBool) -> Response<Body> {
    match answer.recv().await {
        Some(Some(first)) => {
            let rest = stream::try_unfold(answer, |mut answer| async {
                match answer.recv().await {
                    Some(Some(bytes)) => Ok(Some((bytes, answer))),
                    Some(None) => Ok(None),
                    None => Err(io::Error::from(io::ErrorKind::BrokenPipe)), // the service has failed or panicked
                }
            });
            Response::new(Body::from_stream(stream::once(async { Ok(first) }).chain(rest)))
        }
        Some(None) => status(StatusCode::OK),
        None if too_long.load(Relaxed) => status(StatusCode::PAYLOAD_TOO_LARGE),
        None => status(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Reads a little of a request that was refused, so that the refusal arrives.
async fn linger(mut body: BodyDataStream) {
    let mut read = 0;
    let all = async {
        while let Some(Ok(bytes)) = body.next().await {
            read += bytes.len() as u64;
            if read > LINGER_BYTES_MAX {
                return;
            }
        }
    };
    let _ = timeout(Duration::from_secs(1), all).await;
}

struct RequestBody {
    runtime: &'static Runtime,
    body: BodyDataStream,
    left: u64,
    too_long: Arc<AtomicBool>,
    pace: Pace,
    idle: Duration,
}

impl RequestBody {
    fn drain(mut self) {
        if self.too_long.load(Relaxed) {
            return self.runtime.block_on(linger(self.body));
        }
        while let Ok(Some(_)) = self.next() {}
    }
}

impl Source for RequestBody {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let asked = Instant::now();
        let (idle, body) = (self.idle, &mut self.body);
        let bytes = match self.runtime.block_on(async { timeout(idle, body.next()).await }) {
            Ok(Some(Ok(bytes))) => bytes,
            Ok(Some(Err(error))) => {
                return Err(Error::Broken { at: REQUEST.into(), source: error.into() });
            }
            Ok(None) => return Ok(None),
            Err(_) => return Err(self.pace.timed_out(REQUEST, idle)),
        };
        self.pace.note(REQUEST, bytes.len(), asked.elapsed())?;
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.too_long.store(true, Relaxed);
                return Err(Error::TooLong { at: REQUEST.into(), bytes_max: self.left });
            }
        }
        Ok(Some(bytes))
    }
}

/// Pieces of the answer; `None` marks its clean end, without which the other end of the channel breaks off.
struct AnswerBody {
    runtime: &'static Runtime,
    sender: mpsc::Sender<Option<Bytes>>,
    idle: Duration,
}

impl AnswerBody {
    fn send(&self, piece: Option<Bytes>) -> io::Result<()> {
        let (idle, sender) = (self.idle, &self.sender);
        match self.runtime.block_on(async { timeout(idle, sender.send(piece)).await }) {
            Ok(sent) => sent.map_err(|_| io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn finish(self) {
        let _ = self.send(None); // fails only if the client has gone
    }
}

impl Write for AnswerBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Some(Bytes::copy_from_slice(bytes)))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
