//! GET and HEAD of a file.
//!
//! Promises: a small file is sent as it stood at one moment; a large one, which never changes, in pieces, the next read when the
//! last has gone out.

use std::{ops::Range, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use bytes::Bytes;
use futures_util::stream;

use super::{Site, web::status};
use crate::transport::{
    error::Error,
    key::Key,
    limits::{FILE_PIECE_BYTES, FILE_WHOLE_BYTES_MAX},
};

/// Answers for `key`. To HEAD the server below sends the same without its body.
pub(super) async fn serve(site: Arc<Site>, key: Key, headers: &HeaderMap) -> Response<Body> {
    let asked = headers.get(header::RANGE).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let shown = key.clone();
    let answered = match asked {
        Some(range) => partial(site, key, &range).await,
        None => whole(site, key).await,
    };
    answered.unwrap_or_else(|error| refused(&shown, &error))
}

fn refused(key: &Key, error: &Error) -> Response<Body> {
    match error {
        Error::NotFound { .. } | Error::NotAFile { .. } => status(StatusCode::NOT_FOUND),
        error => {
            tracing::warn!(%key, %error, "cannot serve a file");
            status(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

async fn whole(site: Arc<Site>, key: Key) -> Result<Response<Body>, Error> {
    let wanted = key.clone();
    match blocking(&site, move |site| site.files.try_read(&wanted, FILE_WHOLE_BYTES_MAX)).await {
        Ok(Some(bytes)) => Ok(found(StatusCode::OK, bytes.len() as u64, Body::from(bytes))),
        Ok(None) => Ok(status(StatusCode::NOT_FOUND)),
        Err(Error::TooLong { .. }) => {
            let size = size(&site, &key).await?;
            Ok(found(StatusCode::OK, size, pieces(site, key, 0..size)))
        }
        Err(error) => Err(error),
    }
}

async fn partial(site: Arc<Site>, key: Key, asked: &str) -> Result<Response<Body>, Error> {
    let size = size(&site, &key).await?;
    match parse_range(asked, size) {
        Asked::Whole => whole(site, key).await,
        Asked::Beyond => {
            let mut response = status(StatusCode::RANGE_NOT_SATISFIABLE);
            response.headers_mut().insert(header::CONTENT_RANGE, text(format!("bytes */{size}")));
            Ok(response)
        }
        Asked::Part(range) => {
            let shown = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            let length = range.end - range.start;
            let mut response = found(StatusCode::PARTIAL_CONTENT, length, pieces(site, key, range));
            response.headers_mut().insert(header::CONTENT_RANGE, text(shown));
            Ok(response)
        }
    }
}

fn found(status: StatusCode, length: u64, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

fn text(text: String) -> HeaderValue {
    HeaderValue::from_str(&text).expect("digits and signs are a header value")
}

async fn size(site: &Arc<Site>, key: &Key) -> Result<u64, Error> {
    let wanted = key.clone();
    let size = blocking(site, move |site| site.files.try_size(&wanted)).await?;
    size.ok_or_else(|| Error::NotFound { at: key.to_string() })
}

/// The bytes of `range`, read piece by piece as the client takes them.
fn pieces(site: Arc<Site>, key: Key, range: Range<u64>) -> Body {
    Body::from_stream(stream::try_unfold(range, move |rest| {
        let (site, key) = (Arc::clone(&site), key.clone());
        async move {
            if rest.is_empty() {
                return Ok(None);
            }
            let end = rest.end.min(rest.start + FILE_PIECE_BYTES);
            let piece = blocking(&site, move |site| site.files.read_range(&key, rest.start..end)).await?;
            Ok::<_, Error>(Some((Bytes::from(piece), end..rest.end)))
        }
    }))
}

async fn blocking<T: Send + 'static>(
    site: &Arc<Site>,
    work: impl FnOnce(&Site) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let on_thread = Arc::clone(site);
    let done = site.runtime.spawn_blocking(move || work(&on_thread)).await;
    done.unwrap_or_else(|panic| Err(Error::Setup { at: "a reading thread".into(), source: panic.into() }))
}

enum Asked {
    Whole,
    Part(Range<u64>),
    Beyond,
}

/// Reads a range header (RFC 9110, 14.2). Several ranges, other units and nonsense count as no range.
fn parse_range(text: &str, size: u64) -> Asked {
    let Some((first, last)) = text.strip_prefix("bytes=").and_then(|spec| spec.split_once('-')) else {
        return Asked::Whole;
    };
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(first), _) if first >= size && (last.is_empty() || number(last.trim()) >= Some(first)) => {
            Asked::Beyond
        }
        (Some(first), Some(last)) if first <= last => Asked::Part(first..size.min(last.saturating_add(1))),
        (Some(first), None) if last.is_empty() => Asked::Part(first..size),
        (None, Some(0)) if first.is_empty() => Asked::Beyond,
        (None, Some(suffix)) if first.is_empty() && size > 0 => {
            Asked::Part(size.saturating_sub(suffix)..size)
        }
        (None, Some(_)) if first.is_empty() => Asked::Beyond,
        _ => Asked::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers_are_read_as_the_standard_says() {
        let shown = |text, size| match parse_range(text, size) {
            Asked::Whole => "whole".to_owned(),
            Asked::Beyond => "beyond".to_owned(),
            Asked::Part(range) => format!("{}..{}", range.start, range.end),
        };
        let table = [
            ("bytes=0-0", "0..1"),
            ("bytes=2-4", "2..5"),
            ("bytes=2-", "2..10"),
            ("bytes=-3", "7..10"),
            ("bytes=-99", "0..10"),
            ("bytes=5-99", "5..10"),
            ("bytes=0-18446744073709551615", "0..10"),
            ("bytes=10-", "beyond"),
            ("bytes=10-12", "beyond"),
            ("bytes=-0", "beyond"),
            ("bytes=4-2", "whole"),
            ("bytes=12-11", "whole"),
            ("bytes=-", "whole"),
            ("bytes=0-1,3-4", "whole"),
            ("bytes=a-b", "whole"),
            ("bytes=+1-2", "whole"),
            ("lines=0-1", "whole"),
            ("", "whole"),
        ];
        for (text, expected) in table {
            assert_eq!(shown(text, 10), expected, "{text}");
        }
        assert_eq!((shown("bytes=0-0", 0).as_str(), shown("bytes=-1", 0).as_str()), ("beyond", "beyond"));
    }
}
