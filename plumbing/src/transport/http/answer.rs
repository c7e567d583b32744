//! An HTTP answer: what its head says, and its body, watched while it comes in.

use std::{ops::Range, sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use reqwest::{Response, StatusCode, header};
use tokio::{
    runtime::Runtime,
    time::{Instant, timeout},
};

use super::{Site, WIRE_HEADER, WIRE_VERSION, client};
use crate::transport::{error::Error, pace::Pace, pieces::Source};

/// What the status of an answer means for a file.
pub(super) enum Verdict {
    Absent,
    Whole,
    Part,
    Beyond,
}

/// An answer whose body has not been read.
pub(super) struct Answer {
    at: String,
    response: Response,
    pace: Pace,
    idle: Duration,
    runtime: &'static Runtime,
}

impl Answer {
    pub(super) fn new(site: &Site, at: String, response: Response) -> Result<Self, Error> {
        if response.headers().get(WIRE_HEADER).is_some_and(|value| value == WIRE_VERSION) {
            site.speaks_wire.store(true, Relaxed);
        }
        let answer = Self {
            at,
            response,
            pace: Pace::new(&site.limits),
            idle: site.limits.idle_timeout,
            runtime: site.runtime,
        };
        match answer.header(header::CONTENT_ENCODING) {
            None | Some("identity" | "") => Ok(answer),
            Some(_) => Err(answer.nonsense("an encoding that was not asked for")),
        }
    }

    /// What the status means; an error if it is about the server and not about the file.
    pub(super) fn verdict(&self) -> Result<Verdict, Error> {
        let status = self.response.status();
        let at = self.at.clone();
        match status {
            StatusCode::OK => Ok(Verdict::Whole),
            StatusCode::PARTIAL_CONTENT => Ok(Verdict::Part),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Verdict::Absent),
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(Verdict::Beyond),
            StatusCode::TOO_MANY_REQUESTS => Err(self.unavailable()),
            StatusCode::NOT_IMPLEMENTED => Err(Error::Status { at, status: status.as_u16() }),
            _ if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                Err(Error::Redirect { at, source: "there is no web address to follow".into() })
            }
            _ if status.is_server_error() => Err(self.unavailable()),
            _ if status.is_success() => Err(self.nonsense("a success that is none of a file")),
            _ => Err(Error::Status { at, status: status.as_u16() }),
        }
    }

    fn unavailable(&self) -> Error {
        let seconds = self.header(header::RETRY_AFTER).and_then(|text| text.parse().ok());
        Error::Unavailable {
            at: self.at.clone(),
            status: Some(self.response.status().as_u16()),
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    pub(super) fn nonsense(&self, reason: &'static str) -> Error {
        Error::Answer { at: self.at.clone(), reason }
    }

    /// Whether the other side is `pkg serve`.
    pub(super) fn speaks_wire(&self) -> bool {
        self.response.headers().contains_key(WIRE_HEADER)
    }

    fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok().map(str::trim)
    }

    /// The length of the body, as the head tells it.
    pub(super) fn length(&self) -> Result<u64, Error> {
        let length = self.header(header::CONTENT_LENGTH).and_then(|text| text.parse().ok());
        length.ok_or_else(|| self.nonsense("no length"))
    }

    /// The length of the whole file, as the range in the head tells it.
    pub(super) fn total(&self) -> Result<u64, Error> {
        let range = self.header(header::CONTENT_RANGE);
        let total = range.and_then(|text| text.rsplit_once('/')?.1.parse().ok());
        total.ok_or_else(|| self.nonsense("a range without the whole length"))
    }

    /// The range of the file that the head announces.
    fn announced(&self) -> Option<Range<u64>> {
        let text = self.header(header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
        let (first, last) = text.split_once('/')?.0.split_once('-')?;
        let range = first.trim().parse().ok()?..last.trim().parse::<u64>().ok()?.checked_add(1)?;
        (!range.is_empty()).then_some(range)
    }

    /// The whole body.
    pub(super) async fn whole(mut self, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let too_long = || Error::TooLong { at: self.at.clone(), bytes_max };
        if self.length().is_ok_and(|length| length > bytes_max) {
            return Err(too_long());
        }
        let bytes = self.collect(0, bytes_max.saturating_add(1)).await?;
        if bytes.len() as u64 > bytes_max {
            return Err(Error::TooLong { at: self.at, bytes_max });
        }
        Ok(bytes)
    }

    /// The body of a partial answer to `range`.
    pub(super) async fn part(mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        match self.announced() {
            Some(announced) if announced == range => {}
            Some(announced) if announced.start == range.start && announced.end < range.end => {
                return Err(Error::Short { at: self.at, end: range.end });
            }
            _ => return Err(self.nonsense("another range than was asked for")),
        }
        let wanted = range.end - range.start;
        let bytes = self.collect(0, wanted).await?;
        if (bytes.len() as u64) < wanted {
            return Err(Error::Broken {
                at: self.at,
                source: "the body is shorter than its head says".into(),
            });
        }
        Ok(bytes)
    }

    /// `range` out of a whole file, from a server that does not know ranges; what comes behind it is not read.
    pub(super) async fn slice(mut self, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let short = Error::Short { at: self.at.clone(), end: range.end };
        if self.length().is_ok_and(|length| length < range.end) {
            return Err(short);
        }
        let wanted = range.end - range.start;
        let bytes = self.collect(range.start, wanted).await?;
        if (bytes.len() as u64) < wanted { Err(short) } else { Ok(bytes) }
    }

    /// Up to `take` bytes behind the first `skip`. What the other side announces is never believed for an allocation.
    async fn collect(&mut self, mut skip: u64, take: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < take {
            let Some(chunk) = self.chunk().await? else {
                break;
            };
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            let fresh = &chunk[skipped as usize..];
            let room = take - bytes.len() as u64;
            bytes.extend_from_slice(&fresh[..fresh.len().min(usize::try_from(room).unwrap_or(usize::MAX))]);
        }
        Ok(bytes)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let asked = Instant::now();
        let chunk = match timeout(self.idle, self.response.chunk()).await {
            Ok(Ok(chunk)) => chunk,
            Ok(Err(error)) => return Err(client::judge(self.at.clone(), error)),
            Err(_) => return Err(self.pace.timed_out(&self.at, self.idle)),
        };
        if let Some(chunk) = &chunk {
            self.pace.note(&self.at, chunk.len(), asked.elapsed())?;
        }
        Ok(chunk)
    }
}

impl Source for Answer {
    fn next(&mut self) -> Result<Option<Bytes>, Error> {
        self.runtime.block_on(self.chunk())
    }
}
