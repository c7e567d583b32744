//! A web server for tests, on `std` alone: files with and without ranges, and any misbehaviour.
//!
//! One thread a connection, one request a connection. Stopped when dropped.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// What was asked.
#[derive(Debug)]
pub struct Request {
    pub method: String,
    /// The path without its first slash, which is the key of a file.
    pub key: String,
    /// First byte and the one behind the last.
    pub range: Option<Range<u64>>,
    pub body: Vec<u8>,
}

/// Writes to a connection as it likes.
type Writing = dyn FnOnce(&mut TcpStream) -> io::Result<()> + Send;

/// What is answered.
pub enum Answer {
    Reply(Reply),
    /// Whatever the closure writes; the connection ends with it.
    Raw(Box<Writing>),
}

/// An ordinary answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Reply {
        Reply { status, headers: Vec::new(), body: body.into() }
    }

    pub fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    fn write(&self, method: &str, out: &mut TcpStream) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", self.status);
        if !self.headers.iter().any(|(name, _)| name == "content-length") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        out.write_all(format!("{head}\r\n").as_bytes())?;
        if method != "HEAD" {
            out.write_all(&self.body)?;
        }
        out.flush()
    }
}

/// A running server.
pub struct Web {
    pub url: String,
    requests: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    port: u16,
}

impl Web {
    /// Answers every request as `handler` says.
    pub fn start(handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, handler) = (stop.clone(), requests.clone(), Arc::new(handler));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Relaxed) {
                    return;
                }
                let (handler, counted) = (handler.clone(), counted.clone());
                let Ok(stream) = stream else { continue };
                std::thread::spawn(move || {
                    counted.fetch_add(1, Relaxed);
                    let _ = answer(stream, handler.as_ref());
                });
            }
        });
        Web { url: format!("http://127.0.0.1:{port}/"), requests, stop, port }
    }

    /// Serves a folder; without `ranges` it always answers with whole files.
    pub fn files(folder: impl Into<PathBuf>, ranges: bool) -> Web {
        let folder = folder.into();
        Web::start(move |request| Answer::Reply(file(&folder, request, ranges)))
    }

    /// How many connections there were.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes the listener
    }
}

fn answer(mut stream: TcpStream, handler: &(dyn Fn(&Request) -> Answer + Send + Sync)) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let request = read_request(&stream)?;
    match handler(&request) {
        Answer::Reply(reply) => reply.write(&request.method, &mut stream)?,
        Answer::Raw(write) => write(&mut stream)?,
    }
    stream.shutdown(std::net::Shutdown::Write)
}

fn read_request(stream: &TcpStream) -> io::Result<Request> {
    let mut input = BufReader::new(stream);
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut range, mut length, mut chunked) = (None, 0, false);
    loop {
        line.clear();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        match (name.to_ascii_lowercase().as_str(), value.trim()) {
            ("range", value) => range = parse_range(value),
            ("content-length", value) => length = value.parse().unwrap_or(0),
            ("transfer-encoding", "chunked") => chunked = true,
            _ => {}
        }
    }
    let mut body = Vec::new();
    if chunked {
        read_chunks(&mut input, &mut body)?;
    } else {
        input.take(length).read_to_end(&mut body)?;
    }
    Ok(Request { method, key: path.trim_start_matches('/').to_owned(), range, body })
}

fn parse_range(value: &str) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    Some(first.parse().ok()?..last.parse::<u64>().ok()? + 1)
}

fn read_chunks(input: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        input.take(size).read_to_end(body)?;
        input.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// The honest answer to a request for a file below `folder`.
pub fn file(folder: &std::path::Path, request: &Request, ranges: bool) -> Reply {
    let path = folder.join(&request.key);
    if request.key.contains("..") || !path.is_file() {
        return Reply::new(404, "nothing here");
    }
    part(fs::read(path).unwrap(), request, ranges)
}

/// The honest answer to a request for `bytes`.
pub fn part(bytes: Vec<u8>, request: &Request, ranges: bool) -> Reply {
    let total = bytes.len() as u64;
    match &request.range {
        Some(range) if ranges && range.start < total => {
            let end = range.end.min(total);
            let body = bytes[range.start as usize..end as usize].to_vec();
            Reply::new(206, body)
                .header("content-range", format!("bytes {}-{}/{total}", range.start, end - 1))
        }
        Some(_) if ranges => Reply::new(416, "").header("content-range", format!("bytes */{total}")),
        _ => Reply::new(200, bytes),
    }
}
