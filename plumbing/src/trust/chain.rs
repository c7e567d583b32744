//! Identities: steps 6 to 9.
//!
//! A chain is walked back from its head through `prev`, then checked forward from the first
//! document, whose hash is the identity's id. The newest head seen is kept; a source that shows less
//! is stale, and one that shows another document in its place shows a fork.
//!
//! Two things take back what was believed, and both are signed by whom the identity's owner named for
//! it beforehand: a successor signed by the `recovery` role beats its sibling, and a `reset` in a newly
//! taken document makes this machine forget the numbers that a thief ran forward (THREATS 1.5).

use super::error::{At, Error};
use super::judge::Judge;
use super::policy::Age;
use super::state::{Advance, Head, Line, Renewal, Sighting};
use super::statements::{Statements, find};
use objects::claim::IdentityRow;
use objects::codec::{self, Error as FormatError};
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity};
use objects::limits::{IDENTITY_WALK_MAX, STATEMENT_BYTES_MAX};
use objects::signed::{Document, Kind, Signed, Verified};

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
        if head.n >= IDENTITY_WALK_MAX as u64 {
            return Err(too_long(at()));
        }
        let documents = walk_back(head.id, statements, origin)?;
        let chain = follow(id, documents).map_err(|source| Error::chain(at(), *source))?;
        if chain.head().n != head.n {
            return Err(Error::Mismatch { at: at(), why: "it has another number than the index says" });
        }
        self.keep_chain(&chain, statements, origin)?;
        self.check_expiry(&chain, origin)?;
        Ok(chain)
    }

    /// Steps 1, 4 and 8 for a chain that is sound in itself; its head is kept if it is newer.
    pub(super) fn keep_chain(
        &self,
        chain: &Chain,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<(), Error> {
        let (line, head) = (Line::Identity(chain.id()), chain.head());
        let at = |id| At::new(8, Kind::Identity, id, origin);
        for document in chain.documents() {
            self.check_dated(document.created, || At::new(1, Kind::Identity, document.id(), origin))?;
        }
        loop {
            let stored = self.state.head(&line)?;
            let parted = match stored {
                Some(stored) => self.continues(chain, (&line, stored), statements, origin)?,
                None => None,
            };
            let is_followed = parted.is_none();
            if let Some(n) = self.state.forked_from(&line)?.filter(|n| *n <= head.n && is_followed) {
                return Err(Error::Fork { at: at(head.id()), n });
            }
            let to = Head { n: head.n, id: head.id() };
            if stored == Some(to) {
                return Ok(self.state.note_time(head.created)?);
            }
            // What this machine has taken before is not taken again.
            let known = parted.as_ref().map(|parted| parted.n - 1).or(stored.map(|stored| stored.n));
            let fresh = chain.documents().iter().filter(|document| known.is_none_or(|n| document.n > n));
            let renewal = Renewal {
                advance: Advance { line: &line, from: stored, to, envelope: head.envelope(), positions: &[] },
                identity: chain.id(),
                resets: fresh.flat_map(|document| &document.reset).collect(),
                overruled: parted.as_ref().map(|parted| self.sighting(&line, parted, origin)),
            };
            if self.state.renew(&renewal, head.created)? {
                return Ok(());
            }
        }
    }

    fn sighting<'a>(&self, line: &'a Line, parted: &'a Parted, origin: &'a str) -> Sighting<'a> {
        let (n, seen) = (parted.n, self.now);
        Sighting { line, n, ours: parted.ours.envelope(), theirs: parted.theirs.envelope(), origin, seen }
    }

    /// Checks that the chain holds the stored head in its place. If it does not, but leaves the branch this
    /// machine followed by a document that the recovery role signed, gives where they part.
    fn continues(
        &self,
        chain: &Chain,
        (line, stored): (&Line, Head),
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Option<Parted>, Error> {
        let head = chain.head();
        let at = |id| At::new(8, Kind::Identity, id, origin);
        let same = chain.at(stored.n);
        if same.is_some_and(|same| same.id() == stored.id) {
            return Ok(None);
        }
        let rollback = || Error::Rollback { at: at(head.id()), seen: stored.n, offered: head.n };
        let Some(parted) = self.part(chain, line, stored, statements, origin)? else {
            let Some(same) = same else { return Err(rollback()) };
            return Err(match self.state.head_envelope(line)? {
                Some(ours) => self.fork((line, stored.n), &ours, same.envelope(), at(same.id()))?,
                None => Error::Fork { at: at(same.id()), n: stored.n },
            });
        };
        let (ours, theirs) = (parted.ours.envelope(), parted.theirs.envelope());
        match (parted.ours_recovered, parted.theirs_recovered) {
            (false, true) => Ok(Some(parted)),
            (true, false) => {
                self.state.record_overruled(&self.sighting(line, &parted, origin))?;
                Err(Error::Overruled { at: at(parted.theirs.id()), n: parted.n })
            }
            _ => Err(self.fork((line, parted.n), ours, theirs, at(parted.theirs.id()))?),
        }
    }

    /// Where `chain` parts from the branch that ends with the stored head. None if it does not part from
    /// it but ends before, or if too little of our branch can be had to tell.
    fn part(
        &self,
        chain: &Chain,
        line: &Line,
        stored: Head,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Option<Parted>, Error> {
        let Some(mut ours) = self.state.head_envelope(line)?.and_then(|envelope| envelope.typed().ok())
        else {
            return Ok(None);
        };
        for n in (1..=stored.n).rev() {
            let Ok(Some(prev)) = previous(&ours) else { return Ok(None) };
            let theirs = chain.at(n);
            if theirs.is_some_and(|theirs| theirs.id() == ours.id()) {
                return Ok(None); // it ends before our branch does
            }
            if let Some(theirs) = theirs.filter(|theirs| theirs.prev == Some(prev)) {
                let mut branch = chain.up_to(n - 1);
                if branch.extend(&ours).is_err() {
                    return Ok(None);
                }
                let (ours_recovered, theirs_recovered) = (branch.is_recovered(n), chain.is_recovered(n));
                let (ours, theirs) = (branch.head().clone(), theirs.clone());
                return Ok(Some(Parted { n, ours, theirs, ours_recovered, theirs_recovered }));
            }
            match find(statements, prev, 8, origin) {
                Ok(signed) => ours = signed,
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
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

/// Two successors of one document.
struct Parted {
    /// Their number.
    n: u64,
    /// The one on the branch this machine followed.
    ours: Verified<Identity>,
    /// The one that came.
    theirs: Verified<Identity>,
    ours_recovered: bool,
    theirs_recovered: bool,
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
