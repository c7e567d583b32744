//! What a person types for a place to fetch from, read as git reads it.
//!
//! | typed | means |
//! |---|---|
//! | `mirror`, `./a:b`, `/srv/pkg`, `file:///srv/pkg` | a folder |
//! | anything of these that ends in `.bundle` | a bundle |
//! | `https://host/path`, `http://…` | a web folder, or a peer that speaks over HTTP |
//! | `iroh:<ticket or id>`, a bare ticket | a peer over iroh |
//!
//! Promises: what is shown reads back as the same address, except that credentials in a URL are never shown (SEC-092).
//! Leaves to others: names of configured remotes, which go before; whether anybody is there.

use std::{fmt, path::PathBuf, str::FromStr};

use url::Url;

use super::error::Error;

/// How tickets of iroh endpoints begin.
const TICKET: &str = "endpoint";
/// Characters of the shortest ticket: a key of 32 bytes and a little more, in base 32.
const TICKET_CHARS_MIN: usize = 52;

/// Where to fetch from or push to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A folder.
    Path(PathBuf),
    /// A bundle file.
    Bundle(PathBuf),
    /// A web server.
    Http(WebUrl),
    /// A ticket or id of an iroh endpoint.
    Iroh(String),
}

impl Address {
    /// Reads what was typed.
    ///
    /// # Errors
    /// [`Error::Address`] with what is wrong, [`Error::Unsupported`] for kinds that are not built in.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Err(fault(text, "it is empty"));
        }
        if text.contains('\0') {
            return Err(fault(text, "it holds a zero byte"));
        }
        match text.split_once("://") {
            Some((scheme, _)) if is_scheme(scheme) => parse_url(&scheme.to_ascii_lowercase(), text),
            _ => parse_plain(text),
        }
    }

    /// The whole address with its credentials, for a configuration file; never for a screen or a log.
    pub fn reveal(&self) -> String {
        match self {
            Self::Http(url) => url.reveal().to_string(),
            shown => shown.to_string(),
        }
    }
}

fn parse_plain(text: &str) -> Result<Address, Error> {
    if let Some(ticket) = text.strip_prefix("iroh:") {
        return parse_iroh(text, ticket);
    }
    if is_ticket(text) {
        return Ok(Address::Iroh(text.to_owned()));
    }
    // As in git, a colon before the first slash is not part of a path: `host:path` asks for ssh.
    match text.split_once(':') {
        Some((host, _)) if !host.contains('/') => {
            Err(fault(text, "for a file with a colon in its name write ./ in front of it"))
        }
        _ => Ok(path(PathBuf::from(text))),
    }
}

fn parse_iroh(text: &str, ticket: &str) -> Result<Address, Error> {
    if ticket.is_empty() || !ticket.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(fault(text, "a ticket has letters and digits only"));
    }
    Ok(Address::Iroh(ticket.to_owned()))
}

fn parse_url(scheme: &str, text: &str) -> Result<Address, Error> {
    match scheme {
        "http" | "https" => Ok(Address::Http(WebUrl::parse(text)?)),
        "file" => {
            let url = Url::parse(text).map_err(|_| fault(text, "it cannot be read as a URL"))?;
            let local = url.to_file_path().map_err(|()| fault(text, "a file URL must name a local file"))?;
            Ok(path(local))
        }
        "s3" | "gs" | "az" | "ssh" => {
            Err(Error::Unsupported { what: format!("an address that starts with {scheme}://") })
        }
        _ => Err(fault(text, "its scheme is unknown; known are file, http, https and iroh")),
    }
}

fn path(path: PathBuf) -> Address {
    match path.extension() {
        Some(extension) if extension == "bundle" => Address::Bundle(path),
        _ => Address::Path(path),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

fn is_ticket(text: &str) -> bool {
    let base32 = |b: u8| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b);
    text.strip_prefix(TICKET).is_some_and(|rest| rest.len() >= TICKET_CHARS_MIN && rest.bytes().all(base32))
}

/// An address error that does not repeat a password: what stands before an `@` and holds a colon is left out.
fn fault(text: &str, reason: &'static str) -> Error {
    let start = text.find("://").map_or(0, |scheme| scheme + 3);
    let public = match text[start..].rsplit_once('@') {
        Some((credentials, rest)) if start > 0 || credentials.contains(':') => {
            format!("{}{rest}", &text[..start])
        }
        _ => text.to_owned(),
    };
    Error::Address { text: public.chars().take(200).collect(), reason }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) | Self::Bundle(path) => path.display().fmt(f),
            Self::Http(url) => url.fmt(f),
            Self::Iroh(ticket) => write!(f, "iroh:{ticket}"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The URL of a folder on a web server. Neither `Display` nor `Debug` shows credentials in it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebUrl(Url);

impl WebUrl {
    /// Reads `http://…` or `https://…`; a missing slash at the end is added.
    ///
    /// # Errors
    /// [`Error::Address`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut url = Url::parse(text).map_err(|_| fault(text, "it cannot be read as a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(fault(text, "it is no web address"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fault(text, "the address of a folder has no ? and no #"));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self(url))
    }

    /// The URL with its credentials.
    pub fn reveal(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut public = self.0.clone();
        // Both fail only for URLs without a host, which http and https do not have.
        let _ = public.set_username("");
        let _ = public.set_password(None);
        f.write_str(public.as_str())
    }
}

impl fmt::Debug for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> String {
        format!("{TICKET}{}", "abc234".repeat(12))
    }

    #[test]
    fn addresses_are_read_as_git_reads_them() {
        let path = |p: &str| Address::Path(p.into());
        let ticket = ticket();
        let table = [
            ("mirror", path("mirror")),
            ("../mirror", path("../mirror")),
            ("/srv/pkg/", path("/srv/pkg/")),
            ("./host:path", path("./host:path")),
            ("a/b:c", path("a/b:c")),
            ("endpoint", path("endpoint")),
            ("C", path("C")),
            ("file:///srv/my%20pkg", path("/srv/my pkg")),
            ("FILE:///srv", path("/srv")),
            ("stick/today.bundle", Address::Bundle("stick/today.bundle".into())),
            ("file:///stick/today.bundle", Address::Bundle("/stick/today.bundle".into())),
            (&ticket, Address::Iroh(ticket.clone())),
            ("iroh:00ff", Address::Iroh("00ff".into())),
            ("https://pkg.example", Address::Http(WebUrl::parse("https://pkg.example/").unwrap())),
            ("HTTP://pkg.example/a", Address::Http(WebUrl::parse("http://pkg.example/a/").unwrap())),
        ];
        for (text, expected) in table {
            assert_eq!(Address::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        for text in [
            "",
            "a\0b",
            "host:path",
            "user@host:path",
            "C:\\x",
            "ftp://x/",
            "file://host/x",
            "iroh:",
            "iroh:a/b",
            "http://",
            "https://x/?q",
            "https://x/#f",
            "http://[",
            "://",
        ] {
            let error = Address::parse(text).err();
            assert_eq!(error.map(|e| e.code()), Some("E-FORMAT"), "{text:?}");
        }
        let error = Address::parse("s3://bucket/prefix").unwrap_err();
        assert_eq!(error.to_string(), "an address that starts with s3:// is not supported by this build");
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["mirror", "./a:b", "file:///x/y.bundle", "https://h:8/a/b", "iroh:00ff", "file:///a:b"] {
            let address = Address::parse(text).unwrap();
            assert_eq!(Address::parse(&address.to_string()).unwrap(), address, "{text}");
        }
    }

    /// SEC-092: a password in a URL is used but never shown, not even by an error.
    #[test]
    fn credentials_are_never_shown() {
        let address = Address::parse("https://ada:MARKER@pkg.example/r").unwrap();
        assert_eq!(address.to_string(), "https://pkg.example/r/");
        assert!(!format!("{address:?}").contains("MARKER"));
        assert_eq!(address.reveal(), "https://ada:MARKER@pkg.example/r/");
        for wrong in [
            "https://ada:MARKER@pkg.example/?q",
            "ftp://ada:MARKER@x/",
            "https://ada:MAR@MARKER@[/",
            "file://MARKER@h/x",
            "ada:MARKER@host:path",
        ] {
            let error = Address::parse(wrong).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("MARKER"), "{error}");
        }
    }
}
