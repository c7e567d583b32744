//! A host on loopback, asked by our own client and by raw sockets.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    time::Duration,
};

use plumbing::transport::{
    Bare, BareWrite, Error, Key, Service,
    address::WebUrl,
    file::Folder,
    host::{Host, Options},
    http::{self, Http},
    limits::{FILE_WHOLE_BYTES_MAX, Limits},
    memory::Memory,
};

use super::{
    key, noise,
    suite::{self, Actor, ask, request},
};

fn options() -> Options {
    Options { http: Some(SocketAddr::from(([127, 0, 0, 1], 0))), ..Options::default() }
}

fn start(options: Options, files: impl Bare + 'static) -> Host {
    Host::start(options, Arc::new(Actor), Arc::new(files)).unwrap()
}

fn client(host: &Host) -> Http {
    Http::open(&WebUrl::parse(&host.url().unwrap()).unwrap(), http::Options::default()).unwrap()
}

fn filled() -> Memory {
    let memory = Memory::new();
    suite::fill(&memory);
    memory
}

fn connect(host: &Host) -> TcpStream {
    let url = host.url().unwrap();
    TcpStream::connect(url.trim_start_matches("http://").trim_end_matches('/')).unwrap()
}

/// Sends raw bytes, and returns all that comes back until the host closes.
fn raw(host: &Host, bytes: &[u8]) -> String {
    let mut stream = connect(host);
    let _ = stream.write_all(bytes); // the host may have refused before the end
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(host: &Host, target: &str) -> String {
    raw(host, format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or_else(|| panic!("no status: {answer:?}"))
}

#[test]
fn a_host_keeps_the_contracts() {
    let host = start(options(), filled());
    suite::bare(&client(&host));
    suite::wire(&client(&host).wire());
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(dir.path()).unwrap();
    suite::fill(&folder);
    suite::bare(&client(&start(options(), folder)));
}

/// Any answer tells that a wire is spoken here.
#[test]
fn a_host_is_known_by_its_answers() {
    let host = start(options(), filled());
    let http = client(&host);
    assert!(!http.speaks_wire());
    assert_eq!(http.try_read(&key("absent"), 9).unwrap(), None);
    assert!(http.speaks_wire());
}

/// SEC-105: whatever the path, nothing outside the folder is sent, and no link is followed.
#[test]
fn no_path_leaves_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("secret"), "SECRET").unwrap();
    let folder = Folder::create(dir.path().join("repository")).unwrap();
    suite::fill(&folder);
    std::os::unix::fs::symlink("../secret", dir.path().join("repository/link")).unwrap();
    std::os::unix::fs::symlink("..", dir.path().join("repository/up")).unwrap();
    std::fs::write(dir.path().join("repository/.hidden"), "SECRET").unwrap();
    std::fs::create_dir(dir.path().join("repository/.git")).unwrap();
    std::fs::write(dir.path().join("repository/.git/config"), "SECRET").unwrap();
    let host = start(options(), folder);

    let refused = [
        "/../secret",
        "/..%2fsecret",
        "/..%2Fsecret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/.%2e/secret",
        "/%2e./secret",
        "/..",
        "/objects/../../secret",
        "/objects/..%2f..%2fsecret",
        "/objects/%2e%2e/%2e%2e/secret",
        "/..\\secret",
        "/..%5csecret",
        "/%5c..%5csecret",
        "/%252e%252e/secret",
        "/..%252fsecret",
        "/%25%32%65%25%32%65/secret",
        "/..%c0%afsecret",
        "/%c0%ae%c0%ae/secret",
        "/..%e2%88%95secret",
        "//secret",
        "///secret",
        "//../secret",
        "/%2f..%2fsecret",
        "/%2e/secret",
        "/./secret",
        "/./../secret",
        "/objects//pack",
        "/objects/",
        "/summary/",
        "/summary%00",
        "/summary%00.pack",
        "/%00",
        "/summary%0a",
        "/summary%20",
        "/summary%",
        "/summary%2",
        "/summary%zz",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/%2egit/config",
        "/~/../secret",
        "/C:/secret",
        "/C:%5csecret",
        "/summary;x",
        "/summary:stream",
        "/summary*",
        "/a/b/c/d/e/f/g/h/i",
        "/%E2%80%A6/secret",
        "/summary%3fx",
        "/summary%23x",
        "/....//secret",
        "/..;/secret",
        "/%uff0e%uff0e/secret",
        "http://x/../secret",
        "http://x//secret",
    ];
    for target in refused {
        let answer = get(&host, target);
        assert!([400, 404].contains(&status(&answer)), "{target}: {answer}");
        assert!(!answer.contains("SECRET") && !answer.contains("signed head"), "{target}: {answer}");
    }
    for target in [
        "/link",
        "/up/secret",
        "/up/repository/summary",
        "/absent",
        "/objects",
        "/",
        "/secret",
        "/repository/summary",
    ] {
        let answer = get(&host, target);
        assert_eq!(status(&answer), 404, "{target}: {answer}");
    }
    let long = format!("/{}", "k".repeat(513));
    assert_eq!(status(&get(&host, &long)), 400);
    for target in ["/summary", "/%73ummary", "/summary?cache=1", "http://elsewhere/summary"] {
        assert!(get(&host, target).ends_with("signed head"), "{target}");
    }
}

/// SEC-110: every answer, good or bad, says what it is and that it is nothing else.
#[test]
fn every_answer_carries_its_headers() {
    let host = start(options(), filled());
    let requests = [
        "GET /summary",
        "HEAD /summary",
        "GET /absent",
        "GET /..",
        "GET /",
        "POST /summary",
        "PUT /summary",
        "DELETE /summary",
        "OPTIONS *",
        "POST /wire/1",
        "GET /wire/1",
        "PATCH /wire/1",
        "BREW /coffee",
    ];
    for line in requests {
        let answer = raw(
            &host,
            format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                .as_bytes(),
        );
        for header in [
            "pkg-wire: 1\r\n",
            "x-content-type-options: nosniff\r\n",
            "content-type: application/octet-stream\r\n",
        ] {
            assert!(answer.contains(header), "{line}: {answer}");
        }
        let expected = match line {
            "GET /summary" | "HEAD /summary" | "POST /wire/1" => 200,
            "GET /.." => 400,
            _ if line.starts_with("GET") => 404,
            _ => 405,
        };
        assert_eq!(status(&answer), expected, "{line}");
    }
}

#[test]
fn ranges_are_answered_as_the_standard_says() {
    let host = start(options(), filled());
    let ask = |method: &str, range: &str| {
        raw(
            &host,
            format!("{method} /summary HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: {range}\r\n\r\n")
                .as_bytes(),
        )
    };
    let part = ask("GET", "bytes=2-4");
    assert_eq!(status(&part), 206);
    assert!(
        part.contains("content-range: bytes 2-4/11\r\n") && part.contains("content-length: 3\r\n"),
        "{part}"
    );
    assert!(part.ends_with("gne"), "{part}");
    let beyond = ask("GET", "bytes=11-");
    assert_eq!(status(&beyond), 416);
    assert!(beyond.contains("content-range: bytes */11\r\n"), "{beyond}");
    assert!(ask("GET", "bytes=0-1,3-4").ends_with("signed head"));
    let head = ask("HEAD", "bytes=2-4");
    assert!(
        status(&head) == 206 && head.contains("content-length: 3\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
}

/// A large file passes through in pieces: no read is longer than one.
#[test]
fn large_files_are_never_held_whole() {
    struct Watched(Memory, Arc<AtomicU64>);
    impl Bare for Watched {
        fn source(&self) -> String {
            self.0.source()
        }
        fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
            self.1.fetch_max(bytes_max, SeqCst);
            self.0.try_read(key, bytes_max)
        }
        fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
            self.0.try_size(key)
        }
        fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
            self.1.fetch_max(range.end - range.start, SeqCst);
            self.0.read_range(key, range)
        }
    }
    let memory = Memory::new();
    let pack = noise(9, 20 << 20);
    memory.write(&key("p"), &mut &pack[..]).unwrap();
    let longest = Arc::new(AtomicU64::new(0));
    let host = start(options(), Watched(memory, Arc::clone(&longest)));
    assert!(client(&host).find(&key("p"), u64::MAX).unwrap() == pack);
    assert!(client(&host).read_range(&key("p"), 5..15 << 20).unwrap() == pack[5..15 << 20]);
    assert_eq!(longest.load(SeqCst), FILE_WHOLE_BYTES_MAX);
}

/// A file that breaks while it is sent leaves an answer that is plainly not whole.
#[test]
fn a_file_that_fails_halfway_breaks_the_answer() {
    struct Failing;
    impl Bare for Failing {
        fn source(&self) -> String {
            "failing".into()
        }
        fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
            match key.as_str() {
                "broken" => Err(Error::GaveUp { at: "failing".into() }),
                "panic" => panic!("this file panics when told to"),
                _ => Err(Error::TooLong { at: "failing".into(), bytes_max }),
            }
        }
        fn try_size(&self, _: &Key) -> Result<Option<u64>, Error> {
            Ok(Some(3 << 20))
        }
        fn read_range(&self, _: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
            match range.start {
                0 => Ok(noise(1, (range.end - range.start) as usize)),
                _ => Err(Error::GaveUp { at: "failing".into() }),
            }
        }
    }
    let host = start(options(), Failing);
    let error = client(&host).find(&key("p"), u64::MAX).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
    for name in ["broken", "panic"] {
        let error = client(&host).find(&key(name), u64::MAX).unwrap_err();
        assert!(matches!(error, Error::Unavailable { status: Some(500), .. }), "{error:?}");
    }
}

/// SEC-106: headers and bodies have bounds, whether announced or not.
#[test]
fn what_is_too_long_is_refused() {
    let host = start(Options { request_bytes_max: 100_000, ..options() }, filled());
    let huge = "x".repeat(10 << 20);
    let answer = raw(&host, format!("GET /summary HTTP/1.1\r\nHost: x\r\nX: {huge}\r\n\r\n").as_bytes());
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    let many: String = (0..5000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = raw(&host, format!("GET /summary HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");

    let announced = raw(&host, b"POST /wire/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n");
    assert_eq!(status(&announced), 413);
    let wire = client(&host).wire();
    assert_eq!(ask(&wire, request(b'c', &noise(1, 99_999))).unwrap(), b"99999");
    for length in [100_000, 400_000] {
        let error = ask(&wire, request(b'c', &noise(1, length))).unwrap_err();
        assert!(matches!(error, Error::Status { status: 413, .. }), "{length}: {error:?}");
    }
    assert_eq!(ask(&wire, request(b'e', b"still here")).unwrap(), b"still here");
}

/// SEC-107: a client that does not finish its headers, or its body, is closed; one that does is served meanwhile.
#[test]
fn slow_clients_are_closed() {
    let short = Duration::from_secs(1);
    let limits = Limits {
        header_timeout: short,
        idle_timeout: short,
        rate_window: short,
        rate_window_bytes_min: 10_000,
        ..Limits::default()
    };
    let host = start(Options { limits, ..options() }, filled());
    let begun = [
        "",
        "GET /summary HTTP/1.1\r\nHost:",
        "POST /wire/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nc",
    ];
    let mut slow: Vec<_> = begun.iter().map(|_| connect(&host)).collect();
    for (stream, bytes) in slow.iter_mut().zip(begun) {
        stream.write_all(bytes.as_bytes()).unwrap();
    }
    assert!(get(&host, "/summary").ends_with("signed head"));
    for stream in &mut slow {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // returns only if the host closes
        assert!(!String::from_utf8_lossy(&answer).contains(" 200 "));
    }
}

/// A client that asks for a pack and does not read it gives its place up.
#[test]
fn clients_that_do_not_read_are_closed() {
    let limits = Limits {
        rate_window: Duration::from_millis(200),
        rate_window_bytes_min: 10_000,
        ..Limits::default()
    };
    let memory = Memory::new();
    memory.write(&key("p"), &mut &noise(1, 64 << 20)[..]).unwrap();
    let host = start(Options { limits, connections_max: 1, ..options() }, memory);
    let mut deaf = connect(&host);
    deaf.write_all(b"GET /p HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    deaf.read_exact(&mut [0; 100]).unwrap();
    while status(&get(&host, "/absent")) == 503 {} // ends only if the place becomes free
}

/// SEC-108: beyond the cap a client is told to come back, and served when there is room.
#[test]
fn connections_beyond_the_cap_are_told_so() {
    let host = start(Options { connections_max: 2, ..options() }, filled());
    let mut held: Vec<_> = (0..2).map(|_| connect(&host)).collect();
    for stream in &mut held {
        stream.write_all(b"GET /summary HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        stream.read_exact(&mut [0; 12]).unwrap(); // it has its place
    }
    let answer = get(&host, "/summary");
    assert_eq!(status(&answer), 503, "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    drop(held);
    while status(&get(&host, "/summary")) == 503 {} // ends only if the places become free
}

/// Answers half, tells so, and then waits to be let go.
struct Halting {
    reached: Mutex<mpsc::Sender<()>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl Service for Halting {
    fn serve(&self, _: &mut dyn Read, answer: &mut dyn Write) -> std::io::Result<()> {
        answer.write_all(&noise(1, 100_000))?;
        answer.flush()?;
        self.reached.lock().unwrap().send(()).unwrap();
        let _ = self.go.lock().unwrap().recv();
        answer.write_all(&noise(1, 100_000))
    }
}

/// REL-032: a host that goes away in the middle of an answer leaves an error that may pass, and a closed port.
#[test]
fn a_host_that_stops_halfway_is_transient() {
    let (reached, at_half) = mpsc::channel();
    let (_go, wait) = mpsc::channel();
    let service = Halting { reached: Mutex::new(reached), go: Mutex::new(wait) };
    let host = Host::start(options(), Arc::new(service), Arc::new(filled())).unwrap();
    let (http, wire) = (client(&host), client(&host).wire());
    let asking = std::thread::spawn(move || ask(&wire, request(b'e', b"x")));
    at_half.recv().unwrap();
    host.stop();
    let error = asking.join().unwrap().unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let error = http.try_read(&key("summary"), 99).unwrap_err();
    assert!(error.is_transient(), "{error:?}");
}

#[test]
fn a_socket_in_use_is_told() {
    let host = start(options(), filled());
    let taken = host.url().unwrap().trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
    let outcome =
        Host::start(Options { http: Some(taken), ..options() }, Arc::new(Actor), Arc::new(filled()));
    assert!(matches!(outcome.err().unwrap(), Error::Setup { .. }));
}
