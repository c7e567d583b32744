//! Peers over iroh, on loopback, with no relay and no lookup.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Barrier, Mutex, mpsc},
    thread,
    time::Duration,
};

use plumbing::transport::{
    Error, Service, Wire,
    host::{Host, IrohListen, Options},
    iroh::{self, Client, IrohWire},
    limits::Limits,
    memory::Memory,
};

use super::{
    noise,
    suite::{self, Actor, ask, request},
};

fn listen(port: u16, secret: Option<[u8; 32]>) -> Options {
    let iroh = IrohListen { bind: SocketAddr::from(([127, 0, 0, 1], port)), secret, relays: Vec::new() };
    Options { iroh: Some(iroh), ..Options::default() }
}

fn start(service: impl Service) -> Host {
    Host::start(listen(0, None), Arc::new(service), Arc::new(Memory::new())).unwrap()
}

fn wire(host: &Host) -> IrohWire {
    IrohWire::open(&host.ticket().unwrap(), iroh::Options::default()).unwrap()
}

#[test]
fn a_peer_keeps_the_contract() {
    let host = start(Actor);
    suite::wire(&wire(&host));
}

/// 32 MiB there and the same 32 MiB back, at the same time.
#[test]
fn large_halves_arrive_whole() {
    let host = start(Actor);
    let data = noise(1, 32 << 20);
    assert!(ask(&wire(&host), request(b'e', &data)).unwrap() == data);
}

/// Two exchanges run beside each other on one connection: neither can end before the other has begun.
#[test]
fn exchanges_share_a_connection() {
    struct Meet(Barrier);
    impl Service for Meet {
        fn serve(&self, request: &mut dyn Read, answer: &mut dyn Write) -> io::Result<()> {
            self.0.wait();
            io::copy(request, answer).map(drop)
        }
    }
    let host = start(Meet(Barrier::new(2)));
    let wire = wire(&host);
    thread::scope(|scope| {
        for seed in 0..2 {
            let wire = &wire;
            scope.spawn(move || {
                assert!(ask(wire, io::Cursor::new(noise(seed, 1 << 20))).unwrap() == noise(seed, 1 << 20))
            });
        }
    });
}

/// One socket serves wires to several peers.
#[test]
fn a_client_reaches_several_peers() {
    let (first, second) = (start(Actor), start(Actor));
    let client = Client::bind(iroh::Options::default()).unwrap();
    let wires = [&first, &second].map(|host| client.wire(&host.ticket().unwrap()).unwrap());
    drop(client);
    for wire in &wires {
        assert_eq!(ask(wire, request(b'e', b"hello")).unwrap(), b"hello");
    }
    assert_ne!(wires[0].source(), wires[1].source());
}

/// REL-032: a peer that dies in the middle of an answer leaves an error that may pass.
#[test]
fn a_peer_that_dies_halfway_is_transient() {
    struct Halting(Mutex<mpsc::Sender<()>>, Mutex<mpsc::Receiver<()>>);
    impl Service for Halting {
        fn serve(&self, _: &mut dyn Read, answer: &mut dyn Write) -> io::Result<()> {
            answer.write_all(&noise(1, 100_000))?;
            answer.flush()?;
            self.0.lock().unwrap().send(()).unwrap();
            let _ = self.1.lock().unwrap().recv();
            Ok(())
        }
    }
    let (reached, at_half) = mpsc::channel();
    let (_go, wait) = mpsc::channel();
    let host = start(Halting(Mutex::new(reached), Mutex::new(wait)));
    let wire = wire(&host);
    let mut answer = wire.exchange(Box::new(request(b'e', b"x"))).unwrap();
    at_half.recv().unwrap();
    host.stop();
    let error = answer.read_to_end(&mut Vec::new()).unwrap_err();
    let error = Error::in_io(&error).unwrap();
    assert!(matches!(error, Error::Broken { .. }) && error.is_transient(), "{error:?}");
}

/// A peer that comes back under its key is found again by the same wire.
#[test]
fn a_dead_connection_is_made_again() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start =
        || Host::start(listen(port, Some([7; 32])), Arc::new(Actor), Arc::new(Memory::new())).unwrap();
    let host = start();
    let (ticket, wire) = (host.ticket(), wire(&host));
    assert_eq!(ask(&wire, request(b'e', b"one")).unwrap(), b"one");
    host.stop();
    let host = start();
    assert_eq!(host.ticket(), ticket);
    assert_eq!(ask(&wire, request(b'e', b"two")).unwrap(), b"two");
}

/// Nobody at the address is an error within the connect timeout, and one that may pass.
#[test]
fn nobody_there_is_transient() {
    let host = start(Actor);
    let ticket = host.ticket().unwrap();
    host.stop();
    let limits = Limits { connect_timeout: Duration::from_millis(300), ..Limits::default() };
    let wire = IrohWire::open(&ticket, iroh::Options { limits, ..Default::default() }).unwrap();
    let error = ask(&wire, request(b'e', b"x")).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_transient(), "{error:?}");
}

/// SEC-106: a request longer than the host takes is told so.
#[test]
fn a_request_that_is_too_long_is_refused() {
    let options = Options { request_bytes_max: 100_000, ..listen(0, None) };
    let host = Host::start(options, Arc::new(Actor), Arc::new(Memory::new())).unwrap();
    let wire = wire(&host);
    assert_eq!(ask(&wire, request(b'c', &noise(1, 99_999))).unwrap(), b"99999");
    for length in [100_000, 4_000_000] {
        let error = ask(&wire, request(b'c', &noise(1, length))).unwrap_err();
        assert!(matches!(error, Error::Status { status: 413, .. }), "{length}: {error:?}");
    }
}

/// THREATS 1.8: a peer that is there but says nothing is a stall, and its keeping alive does not count.
#[test]
fn a_silent_peer_is_a_stall() {
    struct Silent(Mutex<mpsc::Receiver<()>>);
    impl Service for Silent {
        fn serve(&self, _: &mut dyn Read, _: &mut dyn Write) -> io::Result<()> {
            let _ = self.0.lock().unwrap().recv();
            Ok(())
        }
    }
    let (_go, wait) = mpsc::channel();
    let host = start(Silent(Mutex::new(wait)));
    let limits = Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() };
    let wire =
        IrohWire::open(&host.ticket().unwrap(), iroh::Options { limits, ..Default::default() }).unwrap();
    let error = ask(&wire, request(b'e', b"x")).unwrap_err();
    assert!(matches!(error, Error::Stalled { .. }), "{error:?}");
}

/// HTTP and iroh serve the same, side by side.
#[test]
fn one_host_speaks_both() {
    let http = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let host =
        Host::start(Options { http, ..listen(0, None) }, Arc::new(Actor), Arc::new(Memory::new())).unwrap();
    assert!(host.url().unwrap().starts_with("http://127.0.0.1:"));
    assert!(host.ticket().unwrap().starts_with("endpoint"));
    assert_eq!(ask(&wire(&host), request(b'e', b"x")).unwrap(), b"x");
}
