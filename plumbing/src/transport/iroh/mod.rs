//! Peers over iroh: QUIC that finds its way between machines, addressed by key.
//!
//! Each exchange is one bidirectional stream of a kept connection. Streams end cleanly or are reset with a code; the codes
//! are those of HTTP.
//!
//! Promises: no server of anybody else is asked, no relay is used but those named in [`Options`]; the other side is who the
//! ticket says, by the handshake of the connection.
//! Leaves to others: where tickets come from (`discovery`); whether a peer is worth listening to.

mod stream;

use std::{
    io::{Read, Write},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayMode, RelayUrl,
    endpoint::{Builder, Connection, QuicTransportConfig, RecvStream, SendStream, presets},
};
use iroh_tickets::endpoint::EndpointTicket;
use tokio::{runtime::Runtime, time::timeout};
use url::Url;

pub(super) use self::stream::{Incoming, Outgoing, Reset};
use super::{
    Error, Wire,
    input::{Explained, InputError},
    limits::{Limits, PEER_IDLE, PEER_KEEP_ALIVE, PIECE_BYTES},
    pieces::{self, Piece, PieceReader, Source},
    runtime::runtime,
};

/// The protocol's name in the handshake.
pub const ALPN: &[u8] = b"pkg/sync/1";

/// How to reach peers.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Relays for peers that cannot be reached directly. None unless configured.
    pub relays: Vec<Url>,
    /// How patient to be.
    pub limits: Limits,
}

/// Our own end: one socket for any number of peers. Closed when the last [`IrohWire`] made from it is dropped.
pub struct Client {
    endpoint: Endpoint,
    runtime: &'static Runtime,
    options: Options,
}

impl Client {
    /// Binds a socket on a free port.
    ///
    /// # Errors
    /// [`Error::Setup`].
    pub fn bind(options: Options) -> Result<Arc<Self>, Error> {
        let runtime = runtime()?;
        let bound = runtime.block_on(builder(&options.relays).bind());
        let endpoint = bound.map_err(|e| Error::Setup { at: "an iroh endpoint".into(), source: e.into() })?;
        Ok(Arc::new(Self { endpoint, runtime, options }))
    }

    /// A wire to the peer of a ticket, or of an endpoint id if there are relays. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn wire(self: &Arc<Self>, address: &str) -> Result<IrohWire, Error> {
        let address = parse(address, &self.options.relays)?;
        let shown = format!("iroh:{}", address.id.fmt_short());
        Ok(IrohWire {
            link: Arc::new(Link { client: Arc::clone(self), address, shown, kept: Mutex::default() }),
        })
    }
}

impl Drop for Client {
    /// Without this the other side would wait for us until its timeout.
    fn drop(&mut self) {
        close(self.runtime, &self.endpoint);
    }
}

/// Closes an endpoint and waits until the other sides know, unless waiting is impossible here.
pub(super) fn close(runtime: &Runtime, endpoint: &Endpoint) {
    let endpoint = endpoint.clone();
    let closing = async move { endpoint.close().await };
    match tokio::runtime::Handle::try_current() {
        Ok(_) => drop(runtime.spawn(closing)),
        Err(_) => runtime.block_on(closing),
    }
}

/// What both ends have in common: no lookups, no relays but these, and a dead peer noticed within [`PEER_IDLE`].
///
/// The receive windows stay as they are: larger ones make the QUIC layer drop whole connections under loss.
pub(super) fn builder(relays: &[Url]) -> Builder {
    let idle = PEER_IDLE.try_into().expect("ten seconds are a valid idle timeout");
    let transport = QuicTransportConfig::builder()
        .max_idle_timeout(Some(idle))
        .default_path_max_idle_timeout(PEER_IDLE)
        .keep_alive_interval(PEER_KEEP_ALIVE)
        .default_path_keep_alive_interval(PEER_KEEP_ALIVE)
        .build();
    let relays = match relays {
        [] => RelayMode::Disabled,
        urls => RelayMode::custom(urls.iter().cloned().map(RelayUrl::from)),
    };
    Endpoint::builder(presets::Minimal).relay_mode(relays).transport_config(transport)
}

fn parse(text: &str, relays: &[Url]) -> Result<EndpointAddr, Error> {
    let fault = |reason| Error::Address { text: text.chars().take(200).collect(), reason };
    let text = text.strip_prefix("iroh:").unwrap_or(text);
    if let Ok(ticket) = EndpointTicket::from_str(text) {
        return Ok(ticket.into());
    }
    let id = EndpointId::from_str(text).map_err(|_| fault("it is neither a ticket nor an endpoint id"))?;
    if relays.is_empty() {
        return Err(fault(
            "an endpoint id alone can be reached by way of a relay only, and none is configured",
        ));
    }
    let urls = relays.iter().cloned().map(RelayUrl::from);
    Ok(urls.fold(EndpointAddr::new(id), EndpointAddr::with_relay_url))
}

/// A peer over iroh.
pub struct IrohWire {
    link: Arc<Link>,
}

impl IrohWire {
    /// A wire with a socket of its own; to share one, use [`Client`].
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Setup`].
    pub fn open(address: &str, options: Options) -> Result<Self, Error> {
        Client::bind(options)?.wire(address)
    }
}

/// A peer and the connection to it, kept between exchanges.
struct Link {
    client: Arc<Client>,
    address: EndpointAddr,
    shown: String,
    kept: Mutex<Option<Connection>>,
}

impl Link {
    /// A new stream of the kept connection, which is made again if it is dead.
    async fn open(&self) -> Result<(SendStream, RecvStream), Error> {
        if let Some(connection) = self.kept().filter(|c| c.close_reason().is_none())
            && let Ok(Ok(stream)) = timeout(self.connect_timeout(), connection.open_bi()).await
        {
            return Ok(stream);
        }
        let connection = self.connect().await?;
        let stream = timeout(self.connect_timeout(), connection.open_bi()).await;
        let stream =
            stream.map_err(|_| self.unreachable("no stream in time"))?.map_err(|e| self.unreachable(e))?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
        Ok(stream)
    }

    async fn connect(&self) -> Result<Connection, Error> {
        let connecting = self.client.endpoint.connect(self.address.clone(), ALPN);
        match timeout(self.connect_timeout(), connecting).await {
            Ok(connected) => connected.map_err(|e| self.unreachable(e)),
            Err(_) => Err(self.unreachable("nobody answered in time")),
        }
    }

    fn kept(&self) -> Option<Connection> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connect_timeout(&self) -> Duration {
        self.client.options.limits.connect_timeout
    }

    fn unreachable(&self, cause: impl Into<super::Cause>) -> Error {
        Error::Connect { at: self.shown.clone(), source: cause.into() }
    }
}

impl Wire for IrohWire {
    fn source(&self) -> String {
        self.link.shown.clone()
    }

    fn exchange(&self, mut request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        let link = &self.link;
        let first =
            pieces::read_piece(&mut request, PIECE_BYTES).map_err(|e| Error::from_input(&link.shown, e))?;
        let runtime = link.client.runtime;
        let (send, receive) = runtime.block_on(link.open())?;
        let limits = link.client.options.limits;
        let answer = Answer {
            incoming: Incoming::new(runtime, link.shown.clone(), receive, limits),
            _link: Arc::clone(link),
        };
        let input = InputError::default();
        let mut outgoing = Outgoing::new(runtime, send, limits.idle_timeout);
        if first.last {
            // A peer may answer without wanting to read; its answer tells more than our failure to write.
            let _ = outgoing.write_all(&first.bytes);
            outgoing.finish();
        } else {
            let input = input.clone();
            runtime.spawn_blocking(move || pump(outgoing, first, request, &input));
        }
        Ok(Box::new(PieceReader::new(Explained { answer, input, at: link.shown.clone() })))
    }
}

/// Sends the request; one that cannot be read to its end leaves the stream reset.
fn pump(mut outgoing: Outgoing, first: Piece, mut request: Box<dyn Read + Send>, input: &InputError) {
    let mut piece = first;
    loop {
        if outgoing.write_all(&piece.bytes).is_err() {
            return; // the peer wants no more of it; its answer tells why
        }
        if piece.last {
            return outgoing.finish();
        }
        piece = match pieces::read_piece(&mut request, PIECE_BYTES) {
            Ok(next) => next,
            Err(cause) => {
                input.note(cause);
                return outgoing.reset(Reset::GaveUp);
            }
        };
    }
}

/// The answer half. It keeps the connection and our endpoint open while it is read.
struct Answer {
    incoming: Incoming,
    _link: Arc<Link>,
}

impl Source for Answer {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.incoming.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ticket_says_why() {
        let id = iroh::SecretKey::from_bytes(&[7; 32]).public().to_string();
        for text in ["", "endpointxyz", "iroh:!", &id] {
            let error = parse(text, &[]).unwrap_err();
            assert_eq!(error.code(), "E-FORMAT", "{error}");
        }
        let relay = Url::parse("https://relay.example/").unwrap();
        assert!(!parse(&id, &[relay]).unwrap().is_empty());
    }
}
