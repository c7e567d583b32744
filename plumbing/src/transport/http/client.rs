//! The HTTP client below, set up once, and the judgement of where it may be sent.

use std::{error::Error as StdError, fmt, io, net::IpAddr, sync::OnceLock};

use reqwest::{
    Certificate, Client, ClientBuilder,
    redirect::{Action, Attempt, Policy},
};
use url::{Host, Url};

use super::Options;
use crate::transport::{
    address::WebUrl,
    error::Error,
    limits::{Limits, POOL_IDLE},
};

/// A client for `url`. Clients with default options are shared, and with them their connections and certificate stores.
pub(super) fn client(url: &WebUrl, options: &Options) -> Result<Client, Error> {
    static DIRECT: OnceLock<Client> = OnceLock::new();
    static USUAL: OnceLock<Client> = OnceLock::new();

    install_provider();
    let direct = zone(url.reveal()) == Zone::Loopback;
    let shareable = Options { bearer: None, ..options.clone() } == Options::default();
    if !shareable {
        return build(url, options, direct);
    }
    let shared = if direct { &DIRECT } else { &USUAL };
    match shared.get() {
        Some(client) => Ok(client.clone()),
        None => {
            let client = build(url, options, direct)?;
            Ok(shared.get_or_init(|| client).clone())
        }
    }
}

/// Chooses ring for TLS, unless the program has chosen already.
fn install_provider() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

fn build(url: &WebUrl, options: &Options, direct: bool) -> Result<Client, Error> {
    let setup =
        |e: reqwest::Error| Error::Setup { at: format!("the HTTP client for {url}"), source: e.into() };
    let mut certificates = Vec::new();
    if let Some(pem) = &options.ca_pem {
        certificates = Certificate::from_pem_bundle(pem).map_err(setup)?;
    }
    let builder = || match direct {
        true => common(&options.limits).no_proxy(), // a proxy could not reach our own machine
        false => common(&options.limits),
    };
    match builder().tls_certs_merge(certificates.clone()).build() {
        // A bare container has no certificates. That is no reason to refuse it plain HTTP.
        Err(_) if url.reveal().scheme() == "http" => {
            builder().tls_certs_only(certificates).build().map_err(setup)
        }
        built => built.map_err(setup),
    }
}

fn common(limits: &Limits) -> ClientBuilder {
    let redirects_max = limits.redirects_max;
    Client::builder()
        .user_agent(concat!("pkg/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .referer(false)
        .connect_timeout(limits.connect_timeout)
        .pool_idle_timeout(POOL_IDLE)
        .redirect(Policy::custom(move |attempt| follow(attempt, redirects_max)))
}

fn follow(attempt: Attempt<'_>, redirects_max: usize) -> Action {
    let refused = match attempt.previous().last() {
        _ if attempt.previous().len() > redirects_max => Some("that is one redirect too many"),
        Some(from) => refusal(from, attempt.url()),
        None => None,
    };
    match refused {
        Some(reason) => {
            let to = attempt.url().origin().ascii_serialization();
            attempt.error(Refused { to, reason })
        }
        None => attempt.follow(),
    }
}

/// Why a server at `from` may not send us to `to` (SEC-104).
fn refusal(from: &Url, to: &Url) -> Option<&'static str> {
    match (from.scheme(), to.scheme()) {
        ("https", "http") => return Some("the scheme is weaker"),
        (_, "http" | "https") => {}
        _ => return Some("the scheme is no web scheme"),
    }
    let inner = zone(to);
    let same_host = from.host() == to.host();
    let allowed = same_host || inner == Zone::Public || (inner == zone(from) && inner != Zone::LinkLocal);
    (!allowed).then_some("it leads into a private network")
}

/// How near to us a host is. Names are judged by what is certain about them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Zone {
    Public,
    Private,
    LinkLocal,
    Loopback,
}

fn zone(url: &Url) -> Zone {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip_zone(ip.into()),
        Some(Host::Ipv6(ip)) => ip_zone(ip.to_canonical()),
        Some(Host::Domain(name)) => name_zone(name.trim_end_matches('.')),
        None => Zone::Public,
    }
}

fn ip_zone(ip: IpAddr) -> Zone {
    let (private, link_local) = match ip {
        IpAddr::V4(ip) => {
            (ip.is_private() || ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64, ip.is_link_local())
        }
        IpAddr::V6(ip) => (ip.is_unique_local(), ip.is_unicast_link_local()),
    };
    match ip {
        _ if ip.is_loopback() || ip.is_unspecified() => Zone::Loopback,
        _ if link_local => Zone::LinkLocal,
        _ if private => Zone::Private,
        _ => Zone::Public,
    }
}

fn name_zone(name: &str) -> Zone {
    let ends = |suffix: &str| name == &suffix[1..] || name.ends_with(suffix);
    match name {
        _ if ends(".localhost") => Zone::Loopback,
        _ if ends(".local") || ends(".internal") || ends(".home.arpa") => Zone::Private,
        _ => Zone::Public,
    }
}

/// A redirect that is not followed.
#[derive(Debug)]
struct Refused {
    to: String,
    reason: &'static str,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not to {}: {}", self.to, self.reason)
    }
}

impl StdError for Refused {}

/// Turns a failure to get an answer into ours.
pub(super) fn judge(at: String, error: reqwest::Error) -> Error {
    if let Some(refused) = cause::<Refused>(&error) {
        let source = Box::new(Refused { to: refused.to.clone(), reason: refused.reason });
        return Error::Redirect { at, source };
    }
    let is_certificate = matches!(cause::<rustls::Error>(&error), Some(rustls::Error::InvalidCertificate(_)));
    let (connect, builder) = (error.is_connect(), error.is_builder());
    let source = error.without_url().into();
    match () {
        () if is_certificate => Error::Certificate { at, source },
        () if connect => Error::Connect { at, source },
        () if builder => Error::Setup { at, source },
        () => Error::Broken { at, source },
    }
}

/// The cause of type `T` below `error`, looked for inside `io::Error`s as well.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inside {
            Some(inside) => Some(inside),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-104: never to a weaker scheme, never inwards.
    #[test]
    fn redirects_go_neither_down_nor_inwards() {
        let table = [
            ("https://a.example/", "https://b.example/x", true),
            ("http://a.example/", "https://a.example/", true),
            ("https://a.example/", "http://a.example/", false),
            ("https://a.example/", "ftp://a.example/", false),
            ("https://a.example/", "https://127.0.0.1/", false),
            ("https://a.example/", "https://[::1]/", false),
            ("https://a.example/", "https://[::ffff:127.0.0.1]/", false),
            ("https://a.example/", "https://0.0.0.0/", false),
            ("https://a.example/", "https://localhost/", false),
            ("https://a.example/", "https://x.localhost./", false),
            ("https://a.example/", "https://169.254.169.254/latest/meta-data", false),
            ("https://a.example/", "https://metadata.google.internal/", false),
            ("https://a.example/", "https://10.0.0.1/", false),
            ("https://a.example/", "https://100.64.0.1/", false),
            ("https://a.example/", "https://[fd00::1]/", false),
            ("https://a.example/", "https://[fe80::1]/", false),
            ("https://a.example/", "https://2130706433/", false),
            ("https://10.0.0.1/", "https://10.0.0.2/", true),
            ("https://10.0.0.1/", "https://127.0.0.1/", false),
            ("http://127.0.0.1:1/", "http://127.0.0.1:2/", true),
            ("http://127.0.0.1:1/", "http://169.254.169.254/", false),
            ("http://169.254.1.1/", "http://169.254.169.254/", false),
            ("http://127.0.0.1:1/", "https://a.example/", true),
        ];
        for (from, to, allowed) in table {
            let refusal = refusal(&Url::parse(from).unwrap(), &Url::parse(to).unwrap());
            assert_eq!(refusal.is_none(), allowed, "{from} -> {to}: {refusal:?}");
        }
    }
}
