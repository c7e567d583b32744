//! Answering requests from a repository.
//!
//! Promises: a request is bounded before it is read; a reader changes nothing; what is not here is
//! simply not sent.
//! Leaves to others: who may ask, and what a push may change ([`PushPolicy`]).

use super::message::{self, Answer, CHAIN_MAX, Chunks, HAVES_MAX, RANGES_MAX, Request, STATEMENTS_MAX, Want};
use super::send::{Offer, broken};
use super::{Error, push};
use crate::transport::Service;
use objects::id::{StatementId, TreeId};
use objects::object::Exists;
use objects::repository::Repository;
use objects::signed::{Envelope, Kind};
use serde_bytes::ByteBuf;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Why a push is not taken: a code of the list, and a reason for people.
pub type Refusal = (String, String);

/// Decides over pushes. Implemented where trust is known.
pub trait PushPolicy: Send + Sync {
    /// Looks at what somebody wants to push before its objects are read.
    ///
    /// # Errors
    /// The refusal.
    fn admit(&self, pushed: &push::Pushed) -> Result<Box<dyn Admitted + '_>, Refusal>;
}

/// A push whose objects may come. Dropped, it leaves nothing that anybody sees.
pub trait Admitted {
    /// Where its objects go: the repository itself, or a place apart.
    fn repository(&self) -> &Repository;

    /// The trees it may bring.
    fn wanted(&self) -> &[super::Wanted];

    /// Ends the push, once its objects are durable.
    ///
    /// # Errors
    /// The refusal.
    fn accept(self: Box<Self>, pushed: &push::Pushed) -> Result<Taken, Refusal>;
}

/// What became of a push that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The repository shows it.
    Shown,
    /// It is held under this id, until somebody decides.
    Held(String),
}

/// A repository that answers.
pub struct Server {
    repository: Arc<Repository>,
    pushes: Option<Arc<dyn PushPolicy>>,
}

impl Server {
    /// A server of `repository`; without a policy it takes no pushes.
    pub fn new(repository: Arc<Repository>, pushes: Option<Arc<dyn PushPolicy>>) -> Server {
        Server { repository, pushes }
    }

    fn answer(&self, input: &mut dyn Read, out: &mut dyn Write) -> Result<(), Error> {
        let Some(request) = message::read::<Request>("the client", input)? else { return Ok(()) };
        tracing::debug!(request = request.word(), "asked");
        match request {
            Request::Advertise {} => self.advertise(out)?,
            Request::Want(want) => self.want(&want, out)?,
            Request::Chunks(chunks) => self.chunks(&chunks, out)?,
            Request::Push(head) => match &self.pushes {
                Some(policy) => push::receive(&self.repository, policy.as_ref(), &head, input, out)?,
                None => return refuse(out, "E-POLICY", "this server takes no pushes"),
            },
        }
        message::write(out, &Answer::Done {}).map_err(broken)
    }

    fn advertise(&self, out: &mut dyn Write) -> Result<(), Error> {
        if let Some(summary) = self.repository.summary()? {
            message::write(out, &Answer::Summary(ByteBuf::from(summary.encode()))).map_err(broken)?;
        }
        Ok(())
    }

    fn want(&self, want: &Want, out: &mut dyn Write) -> Result<(), Error> {
        if want.statements.len() > STATEMENTS_MAX || want.haves.len() > HAVES_MAX {
            return refuse(out, "E-LIMIT", "too many statements or haves in one request");
        }
        for (id, depth) in &want.statements {
            self.chain(*id, (*depth).min(CHAIN_MAX), out)?;
        }
        let Some(tree) = want.tree.filter(|tree| self.has(*tree)) else { return Ok(()) };
        let deltas = want.deltas.iter().any(|method| method == message::DELTA_PREFIX);
        Offer { store: self.repository.store(), tree, haves: &want.haves, deltas }.send(out)
    }

    fn chunks(&self, chunks: &Chunks, out: &mut dyn Write) -> Result<(), Error> {
        if chunks.ranges.len() > RANGES_MAX || chunks.haves.len() > HAVES_MAX {
            return refuse(out, "E-LIMIT", "too many ranges or haves in one request");
        }
        if !self.has(chunks.tree) {
            return Ok(());
        }
        let deltas = chunks.deltas.iter().any(|method| method == message::DELTA_PREFIX);
        let offer = Offer { store: self.repository.store(), tree: chunks.tree, haves: &chunks.haves, deltas };
        offer.send_ranges(&chunks.ranges, chunks.frame_bytes, out)
    }

    /// True if a tree is here; another process may have published it since this one last looked.
    fn has(&self, tree: TreeId) -> bool {
        let store = self.repository.store();
        store.contains(&tree.object()) || (store.refresh().is_ok() && store.contains(&tree.object()))
    }

    /// Sends a statement and up to `depth` before it in its chain.
    fn chain(&self, id: StatementId, depth: u32, out: &mut dyn Write) -> Result<(), Error> {
        let mut next = Some(id);
        for _ in 0..=depth {
            let Some(id) = next else { return Ok(()) };
            let Ok(Some(envelope)) = self.repository.statements().try_find(id) else { return Ok(()) };
            message::write(out, &Answer::Statement(ByteBuf::from(envelope.encode()))).map_err(broken)?;
            next = previous(&envelope);
        }
        Ok(())
    }
}

/// The statement that `envelope` names as the one before it. Unchecked: it decides only what is
/// offered next.
pub fn previous(envelope: &Envelope) -> Option<StatementId> {
    #[derive(serde::Deserialize)]
    struct Prev {
        #[serde(default)]
        prev: Option<StatementId>,
    }
    match envelope.kind() {
        Kind::Entry | Kind::Identity | Kind::Index | Kind::Grants => {
            let parsed: Result<Prev, _> = objects::codec::peek(envelope.payload());
            parsed.ok()?.prev
        }
        Kind::Beacon | Kind::Note => None,
    }
}

fn refuse(out: &mut dyn Write, code: &str, message: &str) -> Result<(), Error> {
    let answer = Answer::Refused { code: code.into(), message: message.into() };
    message::write(out, &answer).map_err(broken)
}

impl Service for Server {
    fn serve(&self, request: &mut dyn Read, answer: &mut dyn Write) -> io::Result<()> {
        self.answer(request, answer).map_err(|error| {
            tracing::warn!(error = crate::chain(&error), "request failed");
            io::Error::other(crate::chain(&error))
        })
    }
}
