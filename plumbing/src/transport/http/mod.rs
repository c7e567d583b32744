//! Web servers: any that serves files, and those that are `pkg serve`.
//!
//! Promises: at most three redirects, never to a weaker scheme and never from a public host into a private network (SEC-104);
//! credentials go to the host they were given for alone; a server that ignores ranges, cuts answers short or crawls is
//! noticed; HTTP/1.1, for one connection of it moves packs fastest.
//! Leaves to others: whether the bytes are right; proxies and certificate stores are the system's.

mod answer;
mod client;
mod upload;
mod wire;

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use reqwest::{Client, Method, RequestBuilder, header};
use tokio::{runtime::Runtime, time::timeout};
use url::Url;

use self::answer::{Answer, Verdict};
pub use self::wire::HttpWire;
use super::{Bare, Error, Key, address::WebUrl, limits::Limits, runtime::runtime};

/// The header by which `pkg serve` tells that it speaks the sync protocol.
pub const WIRE_HEADER: &str = "pkg-wire";
/// The version of [`WIRE_HEADER`] that this build speaks.
pub const WIRE_VERSION: &str = "1";
/// Where exchanges are posted to, below the base.
pub const WIRE_PATH: &str = "wire/1";

/// How to talk to a web server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Certificates (PEM) to be trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// A token to be sent as `Authorization: Bearer`, to this host alone.
    pub bearer: Option<String>,
    /// How patient to be.
    pub limits: Limits,
}

/// Shows that there is a token, not which.
impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bearer = self.bearer.as_ref().map(|_| "…");
        f.debug_struct("Options")
            .field("bearer", &bearer)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// A folder on a web server.
pub struct Http {
    site: Site,
}

impl Http {
    /// A folder at `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setup`] if the certificates cannot be used.
    pub fn open(url: &WebUrl, options: Options) -> Result<Self, Error> {
        Ok(Self { site: Site::new(url, options)? })
    }

    /// Whether an answer so far has shown the other side to be `pkg serve`.
    pub fn speaks_wire(&self) -> bool {
        self.site.speaks_wire.load(Relaxed)
    }

    /// The same place as a wire, over the same connections.
    pub fn wire(&self) -> HttpWire {
        HttpWire::new(self.site.clone())
    }

    fn at(&self, key: &Key) -> String {
        key.at(&self.site.shown)
    }

    /// Asks for `key`, with `range` as the value of the range header.
    async fn ask(&self, method: Method, key: &Key, range: Option<String>) -> Result<Answer, Error> {
        let mut request = self.site.request(method, &encode(key));
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let at = self.at(key);
        let idle = self.site.limits.idle_timeout;
        match timeout(idle, request.send()).await {
            Ok(Ok(response)) => Answer::new(&self.site, at, response),
            Ok(Err(error)) => Err(client::judge(at, error)),
            Err(_) => Err(Error::Stalled { at, bytes: 0, seconds: idle.as_secs() }),
        }
    }

    /// The size by way of a range of one byte, for servers that do not tell it to HEAD.
    async fn size_by_range(&self, key: &Key) -> Result<Option<u64>, Error> {
        let answer = self.ask(Method::GET, key, Some("bytes=0-0".into())).await?;
        match answer.verdict()? {
            Verdict::Absent => Ok(None),
            Verdict::Whole => answer.length().map(Some),
            Verdict::Part | Verdict::Beyond => answer.total().map(Some),
        }
    }
}

impl Bare for Http {
    fn source(&self) -> String {
        self.site.shown.clone()
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        self.site.runtime.block_on(async {
            let answer = self.ask(Method::GET, key, None).await?;
            match answer.verdict()? {
                Verdict::Absent => Ok(None),
                Verdict::Whole => answer.whole(bytes_max).await.map(Some),
                Verdict::Part | Verdict::Beyond => {
                    Err(answer.nonsense("a part, where the whole was asked for"))
                }
            }
        })
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        self.site.runtime.block_on(async {
            let answer = self.ask(Method::HEAD, key, None).await?;
            match answer.verdict() {
                Ok(Verdict::Absent) => Ok(None),
                Ok(Verdict::Whole) if answer.length().is_ok() => answer.length().map(Some),
                Ok(_) | Err(Error::Status { status: 405 | 501, .. }) => self.size_by_range(key).await,
                Err(error) => Err(error),
            }
        })
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        self.site.runtime.block_on(async {
            let asked = format!("bytes={}-{}", range.start, range.end - 1);
            let answer = self.ask(Method::GET, key, Some(asked)).await?;
            match answer.verdict()? {
                Verdict::Absent => Err(Error::NotFound { at: self.at(key) }),
                Verdict::Beyond => Err(Error::Short { at: self.at(key), end: range.end }),
                Verdict::Part => answer.part(range).await,
                Verdict::Whole => answer.slice(range).await,
            }
        })
    }
}

/// A plus sign is a space to some buckets, unless it is written as an escape.
fn encode(key: &Key) -> String {
    key.as_str().replace('+', "%2B")
}

/// What [`Http`] and [`HttpWire`] share.
#[derive(Clone)]
struct Site {
    base: Url,
    shown: String,
    client: Client,
    bearer: Option<String>,
    limits: Limits,
    runtime: &'static Runtime,
    speaks_wire: Arc<AtomicBool>,
}

impl Site {
    fn new(url: &WebUrl, options: Options) -> Result<Self, Error> {
        let runtime = runtime()?;
        Ok(Self {
            base: url.reveal().clone(),
            shown: url.to_string(),
            client: client::client(url, &options)?,
            bearer: options.bearer,
            limits: options.limits,
            runtime,
            speaks_wire: Arc::default(),
        })
    }

    /// A request for a path below the base; credentials in the base become a header.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path()));
        let request = self.client.request(method, url).header(header::ACCEPT_ENCODING, "identity");
        match &self.bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}
