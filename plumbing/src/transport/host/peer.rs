//! The iroh side: each stream of each connection is an exchange.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use iroh::{
    Endpoint, EndpointAddr, SecretKey, TransportAddr, Watcher,
    endpoint::{Connection, RecvStream, SendStream},
};
use iroh_tickets::endpoint::EndpointTicket;
use tokio::{sync::Semaphore, time::timeout};
use url::Url;

use super::Site;
use crate::transport::{
    error::{Cause, Error},
    iroh::{ALPN, Incoming, Outgoing, Reset, builder},
    limits::{ADDRESS_TIMEOUT, TURN_TIMEOUT},
    pieces::{self, PieceReader, Source},
};

/// Opens the endpoint and makes its ticket.
pub(super) async fn bind(
    address: SocketAddr,
    secret: Option<SecretKey>,
    relays: &[Url],
) -> Result<(Endpoint, String), Error> {
    let setup = |source: Cause| Error::Setup { at: format!("an iroh endpoint at {address}"), source };
    let mut builder = builder(relays).alpns(vec![ALPN.to_vec()]).clear_ip_transports();
    builder = builder.bind_addr(address).map_err(|e| setup(e.into()))?;
    if let Some(secret) = secret {
        builder = builder.secret_key(secret);
    }
    let endpoint = builder.bind().await.map_err(|e| setup(e.into()))?;
    if !relays.is_empty() {
        let _ = timeout(ADDRESS_TIMEOUT, endpoint.online()).await; // without a relay it may still be reached directly
    }
    let ticket = EndpointTicket::new(address_of(&endpoint).await).to_string();
    Ok((endpoint, ticket))
}

/// The addresses of `endpoint`, as soon as it knows any.
async fn address_of(endpoint: &Endpoint) -> EndpointAddr {
    let bound = endpoint
        .bound_sockets()
        .into_iter()
        .filter(|socket| !socket.ip().is_unspecified())
        .map(TransportAddr::Ip);
    let bound = EndpointAddr::from_parts(endpoint.id(), bound);
    if !bound.is_empty() {
        return endpoint.addr().with_addrs(bound.addrs);
    }
    let mut watcher = endpoint.watch_addr();
    let known = async {
        let mut address = watcher.get();
        while address.is_empty() {
            match watcher.updated().await {
                Ok(updated) => address = updated,
                Err(_) => break,
            }
        }
        address
    };
    timeout(ADDRESS_TIMEOUT, known).await.unwrap_or(bound)
}

/// Accepts connections until the endpoint is closed.
pub(super) async fn listen(site: Arc<Site>, endpoint: Endpoint, room: Arc<Semaphore>) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            incoming.refuse();
            continue;
        };
        let site = Arc::clone(&site);
        tokio::spawn(async move {
            let _place = place;
            let Ok(accepting) = incoming.accept() else {
                return;
            };
            match timeout(site.limits.connect_timeout, accepting).await {
                Ok(Ok(connection)) => streams(&site, connection).await,
                Ok(Err(error)) => tracing::debug!(%error, "a peer could not connect"),
                Err(_) => tracing::debug!("a peer took too long to connect"),
            }
        });
    }
}

/// Serves the streams of a connection until it is closed.
async fn streams(site: &Arc<Site>, connection: Connection) {
    let peer = format!("iroh:{}", connection.remote_id().fmt_short());
    while let Ok((send, receive)) = connection.accept_bi().await {
        tokio::spawn(exchange(Arc::clone(site), peer.clone(), send, receive));
    }
}

async fn exchange(site: Arc<Site>, peer: String, send: SendStream, receive: RecvStream) {
    let outgoing = Outgoing::new(site.runtime, send, site.limits.idle_timeout);
    let incoming = Incoming::new(site.runtime, peer, receive, site.limits);
    let Ok(Ok(turn)) = timeout(TURN_TIMEOUT, Arc::clone(&site.turns).acquire_owned()).await else {
        return outgoing.reset(Reset::Busy);
    };
    let runtime = site.runtime;
    runtime.spawn_blocking(move || {
        work(&site, incoming, outgoing);
        drop(turn);
    });
}

fn work(site: &Site, incoming: Incoming, mut outgoing: Outgoing) {
    let bounded = Bounded { incoming, left: site.request_bytes_max, too_long: false };
    let mut request = PieceReader::new(bounded);
    match pieces::run(&*site.service, &mut request, &mut outgoing) {
        Ok(()) => outgoing.finish(),
        Err(error) => {
            tracing::debug!(%error, "an exchange failed");
            let too_long = request.into_source().too_long;
            outgoing.reset(if too_long { Reset::TooLong } else { Reset::GaveUp });
        }
    }
}

/// A request that may not be longer than the host takes.
struct Bounded {
    incoming: Incoming,
    left: u64,
    too_long: bool,
}

impl Source for Bounded {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(bytes) = self.incoming.next()? else {
            return Ok(None);
        };
        match self.left.checked_sub(bytes.len() as u64) {
            Some(left) => self.left = left,
            None => {
                self.too_long = true;
                return Err(Error::TooLong { at: "the request".into(), bytes_max: self.left });
            }
        }
        Ok(Some(bytes))
    }
}
