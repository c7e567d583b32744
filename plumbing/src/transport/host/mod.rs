//! Serving a bare repository and a service, over HTTP and iroh at once.
//!
//! ```text
//! GET, HEAD /<key>   a file, with ranges        POST /wire/1   an exchange        iroh: a stream is an exchange
//! ```
//!
//! Promises: a request path names a key or nothing (SEC-105); headers, bodies, connections, exchanges and waiting are bounded
//! (SEC-106, SEC-107, SEC-108); a large file passes through memory in pieces; a service that fails or panics leaves an answer that
//! is plainly not whole.
//! Leaves to others: what may be seen (hand it a [`Subset`](super::subset::Subset)); what is accepted (the service); TLS (a proxy
//! in front; iroh brings its own).

mod exchange;
mod file;
mod peer;
mod watch;
mod web;

use std::{fmt, net::SocketAddr, sync::Arc};

use iroh::{Endpoint, SecretKey};
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, watch as signal},
    task::JoinHandle,
};
use url::Url;

use super::{
    Bare, Error, Service,
    limits::{EXCHANGES_MAX, Limits},
    runtime::runtime,
};

/// Where and how much to serve.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen for HTTP; port 0 picks a free one.
    pub http: Option<SocketAddr>,
    /// Where to listen for iroh.
    pub iroh: Option<IrohListen>,
    /// Connections at once, of HTTP and of iroh each. Further ones are told to come back.
    pub connections_max: usize,
    /// Bytes in the request half of an exchange.
    pub request_bytes_max: u64,
    /// How patient to be with those who ask.
    pub limits: Limits,
}

/// Nowhere; 2,048 connections, room for a thousand slow ones beside the others; pushes of up to 4 GiB in one exchange.
impl Default for Options {
    fn default() -> Self {
        Self {
            http: None,
            iroh: None,
            connections_max: 2048,
            request_bytes_max: 4 << 30,
            limits: Limits::default(),
        }
    }
}

/// An iroh endpoint to listen on.
#[derive(Clone)]
pub struct IrohListen {
    /// The UDP socket; port 0 picks a free one.
    pub bind: SocketAddr,
    /// The endpoint's key, which is not a signing key. Without one the ticket is another after each start.
    pub secret: Option<[u8; 32]>,
    /// Relays through which it can be reached.
    pub relays: Vec<Url>,
}

/// Never shows the key.
impl fmt::Debug for IrohListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IrohListen")
            .field("bind", &self.bind)
            .field("relays", &self.relays)
            .finish_non_exhaustive()
    }
}

/// A running host. Dropping it stops it.
pub struct Host {
    runtime: &'static Runtime,
    stop: signal::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    url: Option<String>,
    peer: Option<(Endpoint, String)>,
}

impl Host {
    /// Starts to serve `files` and `service` as `options` say; on return the sockets are open.
    ///
    /// # Errors
    /// [`Error::Setup`] if a socket cannot be opened.
    pub fn start(options: Options, service: Arc<dyn Service>, files: Arc<dyn Bare>) -> Result<Self, Error> {
        let runtime = runtime()?;
        let (stop, stopped) = signal::channel(false);
        let site = Arc::new(Site {
            runtime,
            files,
            service,
            turns: Arc::new(Semaphore::new(EXCHANGES_MAX)),
            request_bytes_max: options.request_bytes_max,
            limits: options.limits,
        });
        let mut host = Self { runtime, stop, listeners: Vec::new(), url: None, peer: None };
        let room = || Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS)));
        if let Some(address) = options.http {
            let (listener, url) = runtime.block_on(web::bind(address))?;
            host.url = Some(url);
            host.listeners.push(runtime.spawn(web::listen(
                Arc::clone(&site),
                listener,
                room(),
                stopped.clone(),
            )));
        }
        if let Some(listen) = options.iroh {
            let (endpoint, ticket) = runtime.block_on(peer::bind(
                listen.bind,
                listen.secret.as_ref().map(SecretKey::from_bytes),
                &listen.relays,
            ))?;
            host.peer = Some((endpoint.clone(), ticket));
            host.listeners.push(runtime.spawn(peer::listen(site, endpoint, room())));
        }
        Ok(host)
    }

    /// The URL at which it serves HTTP, if it does.
    pub fn url(&self) -> Option<String> {
        self.url.clone()
    }

    /// The ticket by which it is reached over iroh, if it is.
    pub fn ticket(&self) -> Option<String> {
        self.peer.as_ref().map(|(_, ticket)| ticket.clone())
    }

    /// Stops: no new connections, a moment for answers that are being sent over HTTP, and a word of farewell to peers.
    pub fn stop(self) {}
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some((endpoint, _)) = self.peer.take() {
            super::iroh::close(self.runtime, &endpoint);
        }
        let listeners = std::mem::take(&mut self.listeners);
        if tokio::runtime::Handle::try_current().is_err() {
            self.runtime.block_on(futures_util::future::join_all(listeners));
        }
    }
}

/// What is served, and within which bounds.
struct Site {
    runtime: &'static Runtime,
    files: Arc<dyn Bare>,
    service: Arc<dyn Service>,
    turns: Arc<Semaphore>,
    request_bytes_max: u64,
    limits: Limits,
}
