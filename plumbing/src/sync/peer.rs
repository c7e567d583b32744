//! A source that speaks the protocol.

use super::intake::{Intake, STORED_BYTES_MAX, Strangers};
use super::message::{self, Answer, Chunks, DELTA_PREFIX, Request, Want, malformed};
use super::{Error, Source};
use crate::transport::Wire;
use objects::id::{StatementId, TreeId};
use objects::progress::Progress;
use objects::signed::Envelope;
use objects::summary::Summary;
use std::io::{Cursor, Read};

/// Who asks for single chunks was cut off before: small frames lose less when it happens again (REL-029).
const RESUMED_FRAME_BYTES: u64 = 64 << 10;

/// The other end of a wire.
pub struct Peer {
    wire: Box<dyn Wire>,
}

impl Peer {
    /// A peer at the other end of `wire`.
    pub fn new(wire: Box<dyn Wire>) -> Peer {
        Peer { wire }
    }

    /// Asks, and hands each answer to `take` with the stream behind it, until the peer is done.
    fn ask(
        &self,
        request: &Request,
        take: &mut dyn FnMut(Answer, &mut dyn Read) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut bytes = Vec::new();
        message::write(&mut bytes, request).expect("a vector takes everything");
        self.exchange(Box::new(Cursor::new(bytes)), take)
    }

    /// As `ask`, for a request that is a stream.
    pub(super) fn exchange(
        &self,
        request: Box<dyn Read + Send>,
        take: &mut dyn FnMut(Answer, &mut dyn Read) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let from = self.name();
        let mut answer = self.wire.exchange(request)?;
        loop {
            match message::read(&from, &mut answer)? {
                None => return Err(malformed(&from, "its answer ends before it is done")),
                Some(Answer::Done {}) => return Ok(()),
                Some(Answer::Refused { code, message }) => {
                    let printable = |text: &str| objects::name::printable(text).chars().take(500).collect();
                    return Err(Error::Refused {
                        from,
                        code: printable(&code),
                        message: printable(&message),
                    });
                }
                Some(other) => take(other, &mut answer)?,
            }
        }
    }
}

impl Source for Peer {
    fn name(&self) -> String {
        self.wire.source()
    }

    fn advertise(&self) -> Result<Summary, Error> {
        let from = self.name();
        let mut summary = None;
        self.ask(&Request::Advertise {}, &mut |answer, _| match answer {
            Answer::Summary(_) if summary.is_some() => Err(malformed(&from, "it sends its summary twice")),
            Answer::Summary(bytes) => {
                let decoded = Summary::decode(&bytes);
                summary = Some(decoded.map_err(|source| Error::Statement { from: from.clone(), source })?);
                Ok(())
            }
            _ => Err(malformed(&from, "it answers with something else than its summary")),
        })?;
        summary.ok_or(Error::Empty { from })
    }

    fn statements(&self, wanted: &[(StatementId, u32)]) -> Result<Vec<Envelope>, Error> {
        let from = self.name();
        let mut found = Vec::new();
        for wanted in wanted.chunks(message::STATEMENTS_MAX) {
            let most = wanted.iter().map(|(_, depth)| u64::from(*depth) + 1).sum::<u64>();
            let want = Want { statements: wanted.to_vec(), ..Want::default() };
            let before = found.len() as u64;
            self.ask(&Request::Want(want), &mut |answer, _| match answer {
                Answer::Statement(_) if found.len() as u64 - before >= most => {
                    Err(malformed(&from, "it sends more statements than were asked for"))
                }
                Answer::Statement(bytes) => {
                    found.push(Envelope::decode(&bytes).map_err(|error| malformed(&from, error))?);
                    Ok(())
                }
                _ => Err(malformed(&from, "it answers with something else than statements")),
            })?;
        }
        Ok(found)
    }

    fn bring(&self, intake: &mut Intake<'_>, haves: &[TreeId], progress: &dyn Progress) -> Result<(), Error> {
        let haves: Vec<TreeId> = haves.iter().take(message::HAVES_MAX).copied().collect();
        let deltas = vec![DELTA_PREFIX.to_owned()];
        let tree = intake.tree();
        let request = if intake.has_structure() {
            let mut ranges = intake.missing_ranges()?;
            ranges.truncate(message::RANGES_MAX);
            Request::Chunks(Chunks { tree, ranges, frame_bytes: RESUMED_FRAME_BYTES, haves, deltas })
        } else {
            Request::Want(Want { tree: Some(tree), haves, deltas, ..Want::default() })
        };
        let from = self.name();
        let (mut announced, mut left) = (false, intake.bytes_max());
        self.ask(&request, &mut |answer, stream| match answer {
            Answer::Tree(sent) if sent == tree && !announced => {
                announced = true;
                Ok(())
            }
            Answer::Frame(frame) => {
                // Each object is sent at most once, so no answer is longer than the whole (SEC-120).
                left = left.checked_sub(u64::from(frame.raw).max(1)).ok_or_else(|| Error::TooMuch {
                    from: from.clone(),
                    id: tree.object(),
                    what: "more bytes",
                })?;
                let stored = message::read_bytes(&from, stream, frame.stored as usize, STORED_BYTES_MAX)?;
                progress.advance(stored.len() as u64);
                intake.take(&from, &frame, stored, Strangers::Refuse)
            }
            _ => Err(malformed(&from, "it answers with something else than frames")),
        })
    }
}
