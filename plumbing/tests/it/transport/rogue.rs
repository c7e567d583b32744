//! A web server on loopback that does what a test tells it, well or badly.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use plumbing::transport::address::WebUrl;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// How many requests came before.
    pub n: usize,
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// The server. Each connection carries one request and is closed after the answer.
pub struct Rogue {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Rogue {
    pub fn start(answer: impl Fn(&Asked, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answer, count) = (Arc::clone(&asked), Arc::new(answer), Arc::new(AtomicUsize::new(0)));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (log, answer, count) = (Arc::clone(&log), Arc::clone(&answer), Arc::clone(&count));
                thread::spawn(move || {
                    let mut stream = stream;
                    let Some(mut asked) = read_head(&mut stream) else {
                        return;
                    };
                    asked.n = count.fetch_add(1, SeqCst);
                    log.lock().unwrap().push(asked.clone());
                    answer(&asked, &mut stream);
                });
            }
        });
        Self { address, asked }
    }

    /// A server that says the same to everybody.
    pub fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| drop(stream.write_all(&answer)))
    }

    pub fn url(&self) -> WebUrl {
        WebUrl::parse(&format!("http://{}/repo/", self.address)).unwrap()
    }

    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> Option<Asked> {
    let mut reader = BufReader::with_capacity(1, stream); // so that no byte of a body is lost with it
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim().split_once(':') {
            Some((name, value)) => headers.push((name.to_owned(), value.trim().to_owned())),
            None => {
                return Some(Asked { n: 0, method, path, headers });
            }
        }
    }
}

/// Reads until the other side closes.
pub fn drain(stream: &mut TcpStream) {
    let mut sink = [0; 4096];
    while matches!(stream.read(&mut sink), Ok(n) if n > 0) {}
}
