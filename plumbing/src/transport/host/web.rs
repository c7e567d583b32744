//! The HTTP side: connections, routes, and headers that every answer carries.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, Method, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch::Receiver},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Site, exchange, file, watch::Watched};
use crate::transport::{
    error::Error,
    http::{WIRE_HEADER, WIRE_PATH, WIRE_VERSION},
    key::Key,
    limits::{HEADER_BYTES_MAX, REFUSALS_MAX, STOP_GRACE},
};

/// What a connection beyond the cap is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\npkg-wire: 1\r\n\
x-content-type-options: nosniff\r\nconnection: close\r\n\r\n";

/// Opens the socket and tells its URL.
pub(super) async fn bind(address: SocketAddr) -> Result<(TcpListener, String), Error> {
    let setup =
        |e: std::io::Error| Error::Setup { at: format!("a web server at {address}"), source: e.into() };
    let listener = TcpListener::bind(address).await.map_err(setup)?;
    let mut bound = listener.local_addr().map_err(setup)?;
    if bound.ip().is_unspecified() {
        bound.set_ip(if bound.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    Ok((listener, format!("http://{bound}/")))
}

/// Accepts connections until told to stop, and then lets them end.
pub(super) async fn listen(
    site: Arc<Site>,
    listener: TcpListener,
    room: Arc<Semaphore>,
    mut stopped: Receiver<bool>,
) {
    let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = told(&mut stopped) => break,
            Some(_) = connections.join_next() => continue, // so that the set does not grow
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(place) => {
                    drop(connections.spawn(connection(Arc::clone(&site), stream, place, stopped.clone())))
                }
                Err(_) => {
                    if let Ok(place) = Arc::clone(&refusals).try_acquire_owned() {
                        connections.spawn(refuse(stream, place));
                    }
                }
            },
            // Out of file handles, most likely: it passes when a connection ends.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    let _ = timeout(STOP_GRACE, all_ended).await;
    connections.shutdown().await;
}

/// Waits for the word to stop; a host that is gone means the same.
async fn told(stopped: &mut Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await;
}

async fn connection(
    site: Arc<Site>,
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    mut stopped: Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let (stream, progress) = Watched::new(stream);
    let limits = site.limits;
    let service = service_fn(move |request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(answer(site, request).await) }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(HEADER_BYTES_MAX);
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = told(&mut stopped) => {
            served.as_mut().graceful_shutdown();
            served.await
        }
        () = progress.stalled(&limits) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Says that there is no room, and waits a moment for the other side to have read it.
async fn refuse(mut stream: TcpStream, _place: OwnedSemaphorePermit) {
    let farewell = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(16 << 10);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map(drop)
    };
    let _ = timeout(Duration::from_secs(1), farewell).await;
}

async fn answer(site: Arc<Site>, request: Request<Incoming>) -> Response<Body> {
    let mut response = route(site, request).await;
    let headers = response.headers_mut();
    headers.insert(WIRE_HEADER, HeaderValue::from_static(WIRE_VERSION));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/octet-stream"));
    response
}

async fn route(site: Arc<Site>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().strip_prefix('/').unwrap_or_default();
    match *request.method() {
        Method::POST if path == WIRE_PATH => exchange::serve(site, request).await,
        Method::GET | Method::HEAD if path.is_empty() => status(StatusCode::NOT_FOUND),
        Method::GET | Method::HEAD => match decode(path) {
            Some(key) => file::serve(site, key, request.headers()).await,
            None => status(StatusCode::BAD_REQUEST),
        },
        _ => {
            let mut refused = status(StatusCode::METHOD_NOT_ALLOWED);
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            refused
        }
    }
}

/// The key that a path names: escapes are undone once, and what comes out is a key or nothing.
fn decode(path: &str) -> Option<Key> {
    let mut text = String::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => 16 * hex(rest.next()?)? + hex(rest.next()?)?,
            plain => plain,
        };
        text.push(char::from(plain));
    }
    Key::new(&text).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// An answer without a body.
pub(super) fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_once() {
        assert_eq!(decode("objects%2Fpack/a%2Bb").unwrap().as_str(), "objects/pack/a+b");
        for path in ["a%252fb", "..%2fa", "%2e%2e/a", "a%", "a%2", "a%zz", "a%00", "%c3%a9", "a//b", "%2fa"] {
            assert!(decode(path).is_none(), "{path}");
        }
    }
}
