//! Our HTTP client against servers that are simple, broken, slow or hostile.

use std::{
    fmt::Write as _,
    io::Write,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

use plumbing::transport::{
    Bare, Error, Key,
    address::WebUrl,
    http::{Http, HttpWire, Options},
    limits::Limits,
    memory::Memory,
    retry::Retry,
};

use super::{
    key, noise,
    rogue::{Rogue, drain},
    suite::{self, ask, request},
};

fn open(rogue: &Rogue) -> Http {
    Http::open(&rogue.url(), Options::default()).unwrap()
}

fn impatient(rogue: &Rogue) -> Http {
    let limits = Limits {
        idle_timeout: Duration::from_millis(300),
        rate_window: Duration::from_millis(300),
        rate_window_bytes_min: 10_000,
        ..Limits::default()
    };
    Http::open(&rogue.url(), Options { limits, ..Options::default() }).unwrap()
}

fn ok(body: &[u8]) -> Vec<u8> {
    [
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
        body,
    ]
    .concat()
}

fn status(line: &str) -> Rogue {
    Rogue::saying(format!("HTTP/1.1 {line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
}

fn read(http: &impl Bare) -> Result<Option<Vec<u8>>, Error> {
    http.try_read(&key("summary"), 1000)
}

/// The file that a request names, from a filled store.
fn file(store: &Memory, path: &str) -> Option<Vec<u8>> {
    let name = path.strip_prefix("/repo/")?.replace("%2B", "+");
    store.try_read(&Key::new(&name).ok()?, u64::MAX).unwrap()
}

/// The plainest static server there is, which has never heard of ranges, is a bare repository all the same.
#[test]
fn a_server_that_ignores_ranges_keeps_the_contract() {
    let store = Memory::new();
    suite::fill(&store);
    let rogue = Rogue::start(move |asked, stream| {
        let answer = match file(&store, &asked.path) {
            Some(bytes) if asked.method == "HEAD" => {
                format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len()).into()
            }
            Some(bytes) => ok(&bytes),
            None => b"HTTP/1.0 404 Not Found\r\nContent-Length: 4\r\n\r\ngone".to_vec(),
        };
        let _ = stream.write_all(&answer);
    });
    suite::bare(&open(&rogue));
}

/// A server that knows neither HEAD nor lengths, in chunked answers, but knows ranges.
#[test]
fn a_server_without_head_keeps_the_contract() {
    let store = Memory::new();
    suite::fill(&store);
    let rogue = Rogue::start(move |asked, stream| {
        let Some(bytes) = file(&store, &asked.path) else {
            return drop(
                stream.write_all(b"HTTP/1.1 410 Gone\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            );
        };
        if asked.method == "HEAD" {
            return drop(stream.write_all(b"HTTP/1.1 405 No\r\nConnection: close\r\n\r\n"));
        }
        let total = bytes.len() as u64;
        let (head, body) = match asked
            .header("range")
            .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'))
        {
            None => ("HTTP/1.1 200 OK\r\n".to_owned(), &bytes[..]),
            Some((first, last)) => {
                let (first, last) = (first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap());
                if first >= total {
                    let head = format!(
                        "HTTP/1.1 416 No\r\nContent-Range: bytes */{total}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    );
                    return drop(stream.write_all(head.as_bytes()));
                }
                let end = total.min(last.saturating_add(1));
                let head =
                    format!("HTTP/1.1 206 Part\r\nContent-Range: bytes {first}-{}/{total}\r\n", end - 1);
                (head, &bytes[first as usize..end as usize])
            }
        };
        let mut answer = head.into_bytes();
        answer.extend(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
        for chunk in body.chunks(50_000) {
            answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            answer.extend(chunk);
            answer.extend(b"\r\n");
        }
        answer.extend(b"0\r\n\r\n");
        let _ = stream.write_all(&answer);
    });
    suite::bare(&open(&rogue));
}

/// Out of a huge file without ranges no more is read than lies in front of what was asked for.
#[test]
fn no_more_is_read_than_needed() {
    let written = Arc::new(AtomicUsize::new(0));
    let (count, (done, finished)) = (Arc::clone(&written), mpsc::channel());
    let rogue = Rogue::start(move |_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        let piece = noise(1, 1 << 20);
        for _ in 0..1024 {
            if stream.write_all(&piece).is_err() {
                break;
            }
            count.fetch_add(piece.len(), SeqCst);
        }
        done.send(()).unwrap();
    });
    let bytes = open(&rogue).read_range(&key("p"), 100..200).unwrap();
    assert_eq!(bytes, noise(1, 200)[100..]);
    finished.recv().unwrap();
    assert!(written.load(SeqCst) < 256 << 20, "{written:?}");
}

/// REL-035: an answer that ends early is never taken for whole.
#[test]
fn an_answer_cut_short_is_transient() {
    let cut = [
        "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "",
    ];
    for answer in cut {
        let http = open(&Rogue::saying(answer));
        let error = read(&http).unwrap_err();
        assert!(matches!(error, Error::Broken { .. }) && error.is_transient(), "{answer:?}: {error:?}");
        assert_eq!(error.code(), "E-NET");
        assert!(error.to_string().contains("/repo/summary"), "{error}");
        assert!(http.read_range(&key("p"), 0..1000).unwrap_err().is_transient(), "{answer:?}");
    }
    let part = "HTTP/1.1 206 Part\r\nContent-Range: bytes 0-99/1000\r\n\r\nhalf";
    let error = open(&Rogue::saying(part)).read_range(&key("p"), 0..100).unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
}

#[test]
fn an_answer_to_another_question_is_nonsense() {
    let ranges = [
        "bytes 0-98/1000",
        "bytes 1-100/1000",
        "bytes 0-100/1000",
        "bytes 5-2/9",
        "bytes */1000",
        "lines 0-99/1000",
        "x",
    ];
    for range in &ranges[1..] {
        let answer = format!(
            "HTTP/1.1 206 Part\r\nContent-Range: {range}\r\nContent-Length: 100\r\n\r\n{}",
            "x".repeat(100)
        );
        let error = open(&Rogue::saying(answer)).read_range(&key("p"), 0..100).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{range}: {error:?}");
        assert_eq!(error.code(), "E-FORMAT");
    }
    let ends_early = format!(
        "HTTP/1.1 206 Part\r\nContent-Range: {}\r\nContent-Length: 99\r\n\r\n{}",
        ranges[0],
        "x".repeat(99)
    );
    let error = open(&Rogue::saying(ends_early)).read_range(&key("p"), 0..100).unwrap_err();
    assert!(matches!(error, Error::Short { .. }), "{error:?}");
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nzzzz",
        "HTTP/1.1 206 Part\r\nContent-Range: bytes 0-3/4\r\nContent-Length: 4\r\n\r\nhalf",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let error = read(&open(&Rogue::saying(answer))).unwrap_err();
        assert!(matches!(error, Error::Answer { .. }), "{answer:?}: {error:?}");
    }
}

/// A file that is longer than we take is refused by its head, and if the head is silent, by its body.
#[test]
fn no_server_fills_our_memory() {
    let announced = Rogue::saying("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\n");
    let endless = Rogue::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[0; 65536]).is_ok() {}
    });
    for rogue in [announced, endless] {
        let error = read(&open(&rogue)).unwrap_err();
        assert!(matches!(error, Error::TooLong { bytes_max: 1000, .. }), "{error:?}");
    }
}

#[test]
fn statuses_mean_what_they_say() {
    for line in ["404 Not Found", "410 Gone"] {
        assert_eq!(read(&open(&status(line))).unwrap(), None);
    }
    for line in ["401 Unauthorized", "403 Forbidden", "400 Bad Request", "418 Teapot", "304 Not Modified"] {
        let error = read(&open(&status(line))).unwrap_err();
        assert!(matches!(error, Error::Status { .. }) && !error.is_transient(), "{line}: {error:?}");
    }
    for line in ["500 Broken", "502 Bad Gateway", "503 Busy", "504 Slow", "429 Too Many"] {
        let error = read(&open(&status(line))).unwrap_err();
        assert!(matches!(error, Error::Unavailable { .. }) && error.is_transient(), "{line}: {error:?}");
    }
    let error = open(&status("416 No")).read_range(&key("p"), 5..6).unwrap_err();
    assert!(matches!(error, Error::Short { .. }), "{error:?}");
    let busy = Rogue::saying("HTTP/1.1 429 Slow down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    let error = read(&open(&busy)).unwrap_err();
    assert!(
        matches!(error, Error::Unavailable { status: Some(429), retry_after: Some(after), .. } if after.as_secs() == 7)
    );
}

/// A server that fails twice is asked a third time.
#[test]
fn passing_trouble_is_retried() {
    let rogue = Rogue::start(|asked, stream| {
        let answer = if asked.n < 2 {
            b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n".to_vec()
        } else {
            ok(b"here")
        };
        let _ = stream.write_all(&answer);
    });
    let retry = Retry::with(open(&rogue), vec![Duration::ZERO; 3], Box::new(|_| {}));
    assert_eq!(read(&retry).unwrap().unwrap(), b"here");
    assert_eq!(rogue.asked().len(), 3);
}

/// REL-033: nobody there is an error that may pass.
#[test]
fn a_closed_port_is_transient() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = WebUrl::parse(&format!("http://{address}/")).unwrap();
    let error = read(&Http::open(&url, Options::default()).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Connect { .. }) && error.is_transient(), "{error:?}");
    let wire = HttpWire::open(&url, Options::default()).unwrap();
    assert!(matches!(ask(&wire, request(b'e', b"x")).unwrap_err(), Error::Connect { .. }));
}

/// THREATS 1.8: silence and crawling end in an error, at the head, in the body, and on a wire.
#[test]
fn silence_and_crawling_are_stalls() {
    let silent = Rogue::start(|_, stream| drain(stream));
    let half = Rogue::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\npkg-wire: 1\r\n\r\nhalf");
        drain(stream);
    });
    let crawling = Rogue::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\npkg-wire: 1\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for rogue in [silent, half, crawling] {
        let http = impatient(&rogue);
        for error in [read(&http).unwrap_err(), ask(&http.wire(), request(b'e', b"x")).unwrap_err()] {
            assert!(matches!(error, Error::Stalled { .. }) && error.is_transient(), "{error:?}");
        }
    }
}

fn redirect(to: String) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into()
}

/// SEC-104: three redirects are followed, a fourth is not.
#[test]
fn redirects_are_counted() {
    let rogue = Rogue::start(|asked, stream| {
        let left: u32 = asked.path.rsplit('/').next().unwrap().trim_start_matches("hop").parse().unwrap();
        let answer = if left == 0 { ok(b"arrived") } else { redirect(format!("hop{}", left - 1)) };
        let _ = stream.write_all(&answer);
    });
    let http = open(&rogue);
    assert_eq!(http.try_read(&key("hop3"), 99).unwrap().unwrap(), b"arrived");
    let error = http.try_read(&key("hop4"), 99).unwrap_err();
    assert!(matches!(error, Error::Redirect { .. }) && !error.is_transient(), "{error:?}");
}

/// SEC-104: no other scheme, no other network.
#[test]
fn redirects_to_where_we_do_not_go_are_refused() {
    for to in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "http://169.254.169.254/latest/",
        "http://10.0.0.1/x",
    ] {
        let error = read(&open(&Rogue::saying(redirect(to.to_owned())))).unwrap_err();
        assert!(matches!(error, Error::Redirect { .. }) && !error.is_transient(), "{to}: {error:?}");
    }
}

/// SEC-092, SEC-104: a password and a token go to the host they were given for, and nowhere else; no error shows them.
#[test]
fn credentials_stay_with_their_host() {
    let other = Rogue::saying(ok(b"other"));
    let there = format!("http://{}/repo/summary", other.authority());
    let first = Rogue::saying(redirect(there));
    let with_password =
        WebUrl::parse(&first.url().reveal().as_str().replace("http://", "http://ada:MARKER@")).unwrap();
    let with_token = Options { bearer: Some("MARKER".into()), ..Options::default() };

    for http in [
        Http::open(&with_password, Options::default()).unwrap(),
        Http::open(&first.url(), with_token.clone()).unwrap(),
    ] {
        assert_eq!(read(&http).unwrap().unwrap(), b"other");
        assert!(!http.source().contains("MARKER"));
    }
    assert!(!format!("{with_token:?}").contains("MARKER"));
    let sent: Vec<_> =
        first.asked().iter().map(|asked| asked.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Basic YWRhOk1BUktFUg==", "Bearer MARKER"]);
    assert!(other.asked().iter().all(|asked| asked.header("authorization").is_none()), "{:?}", other.asked());

    for answer in [
        "HTTP/1.1 401 No\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "nonsense\r\n\r\n",
        "",
    ] {
        let rogue = Rogue::saying(answer);
        let url =
            WebUrl::parse(&rogue.url().reveal().as_str().replace("http://", "http://ada:MARKER@")).unwrap();
        let error = read(&Http::open(&url, Options::default()).unwrap()).unwrap_err();
        assert!(!chain(&error).contains("MARKER"), "{}", chain(&error));
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = format!("{error:?}");
    let mut next = Some(error);
    while let Some(error) = next {
        write!(text, " / {error}").unwrap();
        next = error.source();
    }
    text
}

/// REL-035: an error page with status 200 is not an answer of a peer.
#[test]
fn a_plain_web_server_is_no_peer() {
    let page = Rogue::start(|_, stream| {
        let _ = stream.write_all(&ok(b"<html>It works!</html>"));
    });
    let http = open(&page);
    let error = ask(&http.wire(), request(b'e', b"x")).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }) && !error.is_transient(), "{error:?}");
    assert!(!http.speaks_wire());
    let error = ask(&open(&status("404 Not Found")).wire(), request(b'e', b"x")).unwrap_err();
    assert!(matches!(error, Error::Answer { .. }), "{error:?}");
}

#[test]
fn certificates_that_are_none_are_refused_at_once() {
    let options = Options {
        ca_pem: Some(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        ..Options::default()
    };
    let outcome = Http::open(&WebUrl::parse("https://pkg.example/").unwrap(), options);
    assert_eq!(outcome.err().unwrap().code(), "E-IO");
}
