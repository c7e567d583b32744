//! Identities: steps 6 to 9.
//!
//! A chain is walked back from its head through `prev`, then checked forward from the first
//! document, whose hash is the identity's id. The newest head seen is kept; a source that shows less
//! is stale, and one that shows another document in its place shows a fork.
//!
//! To come (THREATS 1.4 step 8, 1.5): a successor signed by the `recovery` role, which beats its
//! sibling, belongs into `objects::identity::Chain`; a `reset` in a newly taken document, which makes
//! this machine forget the heads of that role's lines, belongs into [`Judge::keep_chain`].

use super::error::{At, Error};
use super::judge::Judge;
use super::policy::Age;
use super::state::{Advance, Head, Line};
use super::statements::{Statements, find};
use objects::claim::IdentityRow;
use objects::codec::{self, Error as FormatError};
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity};
use objects::limits::{IDENTITY_WALK_MAX, STATEMENT_BYTES_MAX};
use objects::signed::{Document, Kind, Signed};

impl Judge<'_> {
    /// The chain of an identity up to the document that `row`, from an accepted index, names; or,
    /// without a row, up to the newest known here, or else the first document alone. A newer head
    /// is kept before the chain is returned.
    ///
    /// # Errors
    /// `Rollback` if this machine knows a newer head; `Fork` if it knows another document in that
    /// place; `Chain` if the documents do not follow each other; `Expired` if the last one is past
    /// its time and the policy does not allow it; `Missing` if a document cannot be had.
    pub fn identity(
        &self,
        id: IdentityId,
        row: Option<&IdentityRow>,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Chain, Error> {
        let stored = self.state.head(&Line::Identity(id))?;
        let first = Head { n: 0, id: StatementId::new(id.object()) };
        let named = row.map(|row| Head { n: row.n, id: row.document });
        let head = named.or(stored).unwrap_or(first);
        let at = || At::new(6, Kind::Identity, head.id, origin);
        if let Some(seen) = stored.map(|stored| stored.n).filter(|seen| *seen > head.n) {
            return Err(Error::Rollback { at: at(), seen, offered: head.n });
        }
        if head.n >= IDENTITY_WALK_MAX as u64 {
            return Err(too_long(at()));
        }
        let documents = walk_back(head.id, statements, origin)?;
        let chain = follow(id, documents).map_err(|source| Error::chain(at(), *source))?;
        if chain.head().n != head.n {
            return Err(Error::Mismatch { at: at(), why: "it has another number than the index says" });
        }
        self.keep_chain(&chain, origin)?;
        self.check_expiry(&chain, origin)?;
        Ok(chain)
    }

    /// Steps 1, 4 and 8 for a chain that is sound in itself; its head is kept if it is newer.
    pub(super) fn keep_chain(&self, chain: &Chain, origin: &str) -> Result<(), Error> {
        let (line, head) = (Line::Identity(chain.id()), chain.head());
        let at = |id| At::new(8, Kind::Identity, id, origin);
        for document in chain.documents() {
            self.check_dated(document.created, || At::new(1, Kind::Identity, document.id(), origin))?;
        }
        loop {
            let stored = self.state.head(&line)?;
            if let Some(stored) = stored {
                self.continues(chain, &line, stored, origin)?;
            }
            if let Some(n) = self.state.forked_from(&line)?.filter(|n| *n <= head.n) {
                return Err(Error::Fork { at: at(head.id()), n });
            }
            let to = Head { n: head.n, id: head.id() };
            if stored == Some(to) {
                return Ok(self.state.note_time(head.created)?);
            }
            let envelope = head.envelope();
            let advance = Advance { line: &line, from: stored, to, envelope, positions: &[] };
            if self.state.advance(&advance, head.created)? {
                return Ok(());
            }
        }
    }

    /// Checks that the chain holds the stored head in its place.
    fn continues(&self, chain: &Chain, line: &Line, stored: Head, origin: &str) -> Result<(), Error> {
        let head = chain.head();
        let at = |id| At::new(8, Kind::Identity, id, origin);
        let Some(same) = chain.at(stored.n) else {
            return Err(Error::Rollback { at: at(head.id()), seen: stored.n, offered: head.n });
        };
        if same.id() == stored.id {
            return Ok(());
        }
        match self.state.head_envelope(line)? {
            Some(ours) => Err(self.fork((line, stored.n), &ours, same.envelope(), at(same.id()))?),
            None => Err(Error::Fork { at: at(same.id()), n: stored.n }),
        }
    }

    /// Step 9: expiry counts for the last document only.
    pub(super) fn check_expiry(&self, chain: &Chain, origin: &str) -> Result<(), Error> {
        let head = chain.head();
        let Some(expires) = head.expires else { return Ok(()) };
        match self.age(expires) {
            Age::Fresh => {}
            Age::Stale(seconds) if self.policy.freshness.speaks() => {
                self.warn(format!("identity {} expired {seconds} seconds ago", chain.id().nick()));
            }
            Age::Stale(_) => {}
            Age::Refused => {
                let at = At::new(9, Kind::Identity, head.id(), origin);
                return Err(Error::Expired { at, expires, now: self.effective });
            }
        }
        Ok(())
    }
}

fn too_long(at: Box<At>) -> Error {
    Error::Limit { at, what: "identity documents", max: IDENTITY_WALK_MAX as u64 }
}

/// The documents from `head` back to the first, newest first.
fn walk_back(
    head: StatementId,
    statements: &dyn Statements,
    origin: &str,
) -> Result<Vec<Signed<Identity>>, Error> {
    let mut documents = Vec::new();
    let mut next = Some(head);
    while let Some(id) = next {
        let at = || At::new(6, Kind::Identity, id, origin);
        if documents.len() >= IDENTITY_WALK_MAX {
            return Err(too_long(at()));
        }
        let signed: Signed<Identity> = find(statements, id, 6, origin)?;
        next = previous(&signed).map_err(|source| Error::signed(at(), source))?;
        documents.push(signed);
    }
    Ok(documents)
}

/// The document before, as this one claims. Its signature cannot be checked yet, since the keys stand
/// in the document before; but its hash was asked for, by an accepted index or by its successor. So
/// only the link is read, and [`follow`] checks the rest.
fn previous(signed: &Signed<Identity>) -> Result<Option<StatementId>, FormatError> {
    let payload = signed.envelope().payload();
    let document: Identity = codec::decode(Identity::KIND.word(), payload, STATEMENT_BYTES_MAX)?;
    Ok(document.prev)
}

/// Checks the documents, which come newest first, from the first on. Each is dropped once taken:
/// hostile chains are long.
fn follow(
    id: IdentityId,
    mut documents: Vec<Signed<Identity>>,
) -> Result<Chain, Box<objects::identity::Error>> {
    let first = documents.pop().expect("the walk begins with a document");
    let mut chain = Chain::begin(id, &first)?;
    while let Some(next) = documents.pop() {
        chain.extend(&next)?;
    }
    Ok(chain)
}
