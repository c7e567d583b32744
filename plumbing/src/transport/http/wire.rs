//! A wire over HTTP: `POST <base>/wire/1`, both halves streamed.

use std::io::Read;

use reqwest::{Method, Response, header};
use tokio::time::timeout;

use super::{
    Options, Site, WIRE_PATH,
    answer::{Answer, Verdict},
    client,
    upload::Upload,
};
use crate::transport::{Wire, address::WebUrl, error::Error, input::Explained, pieces::PieceReader};

/// A peer that speaks over HTTP.
pub struct HttpWire {
    site: Site,
    at: String,
}

impl HttpWire {
    /// A wire to `url`. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setup`] if the certificates cannot be used.
    pub fn open(url: &WebUrl, options: Options) -> Result<Self, Error> {
        Ok(Self::new(Site::new(url, options)?))
    }

    pub(super) fn new(site: Site) -> Self {
        let at = format!("{}{WIRE_PATH}", site.shown);
        Self { site, at }
    }

    /// Waits for the head of the answer: as long as the request moves, and then as long as anybody waits for a byte.
    async fn send(&self, body: reqwest::Body, upload: &Upload) -> Result<Response, Error> {
        let request = self.site.request(Method::POST, WIRE_PATH);
        let request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        let mut sent = std::pin::pin!(request.body(body).send());
        let idle = self.site.limits.idle_timeout;
        loop {
            match timeout(idle, sent.as_mut()).await {
                Ok(answered) => {
                    return answered.map_err(|error| client::judge(self.at.clone(), error));
                }
                Err(_) => {
                    let moved = upload.moved();
                    if moved < self.site.limits.rate_window_bytes_min {
                        return Err(Error::Stalled {
                            at: self.at.clone(),
                            bytes: moved,
                            seconds: idle.as_secs(),
                        });
                    }
                }
            }
        }
    }

    fn accept(&self, response: Response) -> Result<Answer, Error> {
        let answer = Answer::new(&self.site, self.at.clone(), response)?;
        match answer.verdict()? {
            Verdict::Whole if answer.speaks_wire() => Ok(answer),
            Verdict::Whole | Verdict::Absent => {
                Err(answer.nonsense("this server does not speak the sync protocol"))
            }
            Verdict::Part | Verdict::Beyond => Err(answer.nonsense("a part, where the whole was asked for")),
        }
    }
}

impl Wire for HttpWire {
    fn source(&self) -> String {
        self.site.shown.clone()
    }

    fn exchange(&self, request: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        let (upload, body) = Upload::start(self.site.runtime, &self.at, request)?;
        let sent = self.site.runtime.block_on(self.send(body, &upload));
        let answer = sent.and_then(|response| self.accept(response));
        let answer = answer.map_err(|error| upload.input.explain(&self.at, error))?;
        Ok(Box::new(PieceReader::new(Explained { answer, input: upload.input, at: self.at.clone() })))
    }
}
