//! Pushing: statements and objects into somebody else's repository, under its policy.
//!
//! Promises: the receiver takes objects into the place its policy says before anything names them, checks
//! the statements by that policy before it reads an object, and changes its summary last.
//! Leaves to others: the policy itself.

use super::intake::{Intake, STORED_BYTES_MAX, Strangers};
use super::message::{self, Answer, Push, Request, malformed};
use super::peer::Peer;
use super::send::{Offer, broken};
use super::serve::{PushPolicy, Taken};
use super::{Error, Source, Wanted};
use objects::id::{PackId, TreeId};
use objects::repository::Repository;
use objects::signed::Envelope;
use objects::store::pack::writer::Options;
use objects::summary::Summary;
use serde_bytes::ByteBuf;
use std::io::{Read, Write};

/// Most statements of one push.
const PUSH_STATEMENTS_MAX: usize = 65_536;
/// Most bytes of them.
const PUSH_STATEMENTS_BYTES_MAX: usize = 64 << 20;
/// Longest id of a held push that is shown.
const HELD_ID_MAX: usize = 64;

/// What somebody wants a repository to have.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The new head.
    pub summary: Summary,
    /// The statements it needs.
    pub statements: Vec<Envelope>,
}

/// The receiving half, called by the server once it has read the head of the request.
///
/// # Errors
/// If the stream breaks or is malformed; a refusal is an answer, not an error.
pub fn receive(
    repository: &Repository,
    policy: &dyn PushPolicy,
    head: &Push,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let from = "the client";
    let summary =
        Summary::decode(&head.summary).map_err(|source| Error::Statement { from: from.into(), source })?;
    let mut pushed = Pushed { summary, statements: Vec::new() };
    let (mut first, mut statement_bytes) = (None, 0);
    while let Some(answer) = message::read::<Answer>(from, input)? {
        match answer {
            Answer::Statement(bytes) if pushed.statements.len() < PUSH_STATEMENTS_MAX => {
                statement_bytes += bytes.len();
                if statement_bytes > PUSH_STATEMENTS_BYTES_MAX {
                    return Err(malformed(from, "its statements are too large"));
                }
                pushed.statements.push(Envelope::decode(&bytes).map_err(|error| malformed(from, error))?);
            }
            Answer::Tree(tree) => {
                first = Some(tree);
                break;
            }
            Answer::Done {} => break,
            _ => return Err(malformed(from, "a push is statements, then trees")),
        }
    }
    let _lock = repository.lock_shared()?;
    let admitted = match policy.admit(&pushed) {
        Ok(admitted) => admitted,
        Err((code, message)) => {
            return message::write(out, &Answer::Refused { code, message }).map_err(broken);
        }
    };
    receive_trees(admitted.repository(), admitted.wanted(), first, input)?;
    match admitted.accept(&pushed) {
        Ok(Taken::Shown) => Ok(()),
        Ok(Taken::Held(id)) => message::write(out, &Answer::Held { id }).map_err(broken),
        Err((code, message)) => message::write(out, &Answer::Refused { code, message }).map_err(broken),
    }
}

/// Reads trees, each announced by its id, until the push is done.
fn receive_trees(
    repository: &Repository,
    wanted: &[Wanted],
    mut next: Option<TreeId>,
    input: &mut dyn Read,
) -> Result<(), Error> {
    let from = "the client";
    while let Some(tree) = next.take() {
        let Some(wanted) = wanted.iter().find(|wanted| wanted.tree == tree) else {
            return Err(malformed(from, format_args!("tree {tree} is not part of what it pushes")));
        };
        let mut intake = Intake::begin(repository.store(), *wanted, Options::default())?;
        while let Some(answer) = message::read::<Answer>(from, input)? {
            match answer {
                Answer::Frame(frame) => {
                    let stored = message::read_bytes(from, input, frame.stored as usize, STORED_BYTES_MAX)?;
                    intake.take(from, &frame, stored, Strangers::Refuse)?;
                }
                Answer::Tree(tree) => {
                    next = Some(tree);
                    break;
                }
                Answer::Done {} => break,
                _ => return Err(malformed(from, "a tree is frames")),
            }
        }
        let made_for: Vec<(PackId, TreeId)> = intake.finish()?.into_iter().map(|pack| (pack, tree)).collect();
        if !made_for.is_empty() {
            repository.write_pack_list(&made_for, None)?;
        }
    }
    Ok(())
}

/// What became of a push, for who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Bytes sent.
    pub bytes: u64,
    /// Whether the other side shows it, or holds it.
    pub taken: Taken,
}

/// The sending half: brings the repository behind `peer` to the head of `repository`.
///
/// `trees` are what the new head names; `haves` what the other side has of it already.
///
/// # Errors
/// `Refused` with the other side's reason; `Transport` if the exchange fails.
pub fn send(
    peer: &Peer,
    repository: &Repository,
    pushed: &Pushed,
    trees: &[TreeId],
    haves: &[TreeId],
) -> Result<Sent, Error> {
    let spool = objects::disk::Scratch::create(&repository.store().staging_folder(), ".tmp")?;
    let bytes = write_request(repository, pushed, trees, haves, &mut spool.file())?;
    let mut request = spool.file().try_clone().map_err(broken)?;
    std::io::Seek::rewind(&mut request).map_err(broken)?;
    let mut taken = Taken::Shown;
    peer.exchange(Box::new(request), &mut |answer, _| match answer {
        Answer::Held { id } if taken == Taken::Shown => {
            taken = Taken::Held(objects::name::printable(&id).chars().take(HELD_ID_MAX).collect());
            Ok(())
        }
        _ => Err(malformed(&peer.name(), "it answers a push with data")),
    })?;
    Ok(Sent { bytes, taken })
}

fn write_request(
    repository: &Repository,
    pushed: &Pushed,
    trees: &[TreeId],
    haves: &[TreeId],
    out: &mut dyn Write,
) -> Result<u64, Error> {
    let mut counted = Counted { out, bytes: 0 };
    let summary = ByteBuf::from(pushed.summary.encode());
    message::write(&mut counted, &Request::Push(Push { summary })).map_err(broken)?;
    for envelope in &pushed.statements {
        message::write(&mut counted, &Answer::Statement(ByteBuf::from(envelope.encode()))).map_err(broken)?;
    }
    for (at, tree) in trees.iter().enumerate() {
        let known: Vec<TreeId> = haves.iter().chain(&trees[..at]).copied().collect();
        Offer { store: repository.store(), tree: *tree, haves: &known, deltas: true }.send(&mut counted)?;
    }
    message::write(&mut counted, &Answer::Done {}).map_err(broken)?;
    Ok(counted.bytes)
}

struct Counted<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
