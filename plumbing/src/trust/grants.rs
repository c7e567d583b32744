//! What an identity grants: step 10.
//!
//! The grants of an issuer are one document that replaces the one before. The newest seen is kept; a
//! source that shows an older one is stale, one that shows another in its place shows a fork.

use super::error::{At, Error};
use super::judge::{ADMIN, Judge, NUMBER_MAX, verify_by_any, verify_by_present};
use super::state::{Advance, Head, Line};
use super::statements::{Statements, find};
use objects::claim::GrantsRow;
use objects::codec;
use objects::grants::Grants;
use objects::id::StatementId;
use objects::identity::Chain;
use objects::limits::STATEMENT_BYTES_MAX;
use objects::signed::{Kind, Signed, Verified};

/// Most documents followed from the newest to the one known here: ten a day for a year.
const WALK_MAX: u64 = 4_096;

/// Whose grants, and where they come from.
struct Source<'a> {
    issuer: &'a Chain,
    statements: &'a dyn Statements,
    origin: &'a str,
}

impl Source<'_> {
    fn at(&self, step: u8, id: StatementId) -> Box<At> {
        At::new(step, Kind::Grants, id, self.origin)
    }
}

impl Judge<'_> {
    /// What `issuer` grants, by the document that `row`, from an accepted index, names; without a row, by
    /// the newest known here. None if neither knows of any. A newer document is kept before it is returned.
    ///
    /// # Errors
    /// `Rollback` if this machine knows a newer one, or the document a newer identity than was shown;
    /// `Fork` if it knows another one in that place; `Signed` or `Withdrawn` unless the present admin role
    /// signed; `Scope` if it is another identity's; `Mismatch` if it does not continue what was known.
    pub fn grants(
        &self,
        issuer: &Chain,
        row: Option<&GrantsRow>,
        statements: &dyn Statements,
        origin: &str,
    ) -> Result<Option<Verified<Grants>>, Error> {
        let line = Line::Grants(issuer.id());
        let source = Source { issuer, statements, origin };
        loop {
            let stored = self.state.head(&line)?;
            let named = row.map(|row| Head { n: row.n, id: row.document });
            let Some(to) = named.or(stored) else { return Ok(None) };
            if let Some(seen) = stored.map(|head| head.n).filter(|seen| *seen > to.n) {
                return Err(Error::Rollback { at: source.at(10, to.id), seen, offered: to.n });
            }
            let newest = self.newest_grants(&source, to)?;
            if let Some(stored) = stored {
                self.continues_grants(&source, &line, stored, &newest)?;
            }
            if let Some(n) = self.state.forked_from(&line)?.filter(|n| *n <= to.n) {
                return Err(Error::Fork { at: source.at(10, to.id), n });
            }
            if stored == Some(to) {
                return Ok(Some(newest));
            }
            let envelope = newest.envelope();
            let advance = Advance { line: &line, from: stored, to, envelope, positions: &[] };
            if self.state.advance(&advance, newest.created)? {
                return Ok(Some(newest));
            }
        }
    }

    fn newest_grants(&self, source: &Source<'_>, head: Head) -> Result<Verified<Grants>, Error> {
        let at = |step| source.at(step, head.id);
        let signed: Signed<Grants> = find(source.statements, head.id, 10, source.origin)?;
        let grants = verify_by_present(&signed, source.issuer, &ADMIN, || at(10))?;
        self.check_dated(grants.created, || at(1))?;
        if grants.n > NUMBER_MAX {
            return Err(Error::Limit { at: at(10), what: "numbers", max: NUMBER_MAX });
        }
        check_place(source, &grants, head)?;
        let known = source.issuer.head();
        if grants.issuer_n > known.n {
            let at = At::new(9, Kind::Identity, known.id(), source.origin);
            return Err(Error::Rollback { at, seen: grants.issuer_n, offered: known.n });
        }
        Ok(grants)
    }

    /// Follows `prev` from the newest document down to the stored one; on the way, what ended only grows.
    fn continues_grants(
        &self,
        source: &Source<'_>,
        line: &Line,
        stored: Head,
        newest: &Verified<Grants>,
    ) -> Result<(), Error> {
        if newest.n - stored.n > WALK_MAX {
            let at = source.at(10, newest.id());
            return Err(Error::Limit { at, what: "grants documents", max: WALK_MAX });
        }
        let ours = self.state.head_envelope(line)?;
        let mut newer = newest.clone();
        while newer.n > stored.n {
            let id = newer.prev.expect("a document above the first has a previous one; its check says so");
            let head = Head { n: newer.n - 1, id };
            let older = match &ours {
                Some(ours) if head == stored => {
                    codec::decode::<Grants>("grants", ours.payload(), STATEMENT_BYTES_MAX)
                        .map_err(|error| Error::signed(source.at(10, id), error))?
                }
                _ => {
                    let signed: Signed<Grants> = find(source.statements, id, 10, source.origin)?;
                    let older = verify_by_any(&signed, source.issuer, &ADMIN, || source.at(10, id))?;
                    check_place(source, &older, head)?;
                    let document = older.document().clone();
                    newer = older;
                    document
                }
            };
            if !newest.keeps_ended(&older) {
                return Err(Error::Mismatch {
                    at: source.at(10, newest.id()),
                    why: "it takes back the end of a grant",
                });
            }
            if head == stored {
                return Ok(());
            }
        }
        if newer.id() == stored.id {
            return Ok(());
        }
        let at = source.at(10, newer.id());
        match ours {
            Some(ours) => Err(self.fork((line, stored.n), &ours, newer.envelope(), at)?),
            None => Err(Error::Fork { at, n: stored.n }),
        }
    }
}

fn check_place(source: &Source<'_>, grants: &Verified<Grants>, head: Head) -> Result<(), Error> {
    let at = source.at(10, grants.id());
    if grants.issuer != source.issuer.id() {
        return Err(Error::Scope { at, why: "they are another identity's grants" });
    }
    if grants.n != head.n {
        return Err(Error::Mismatch { at, why: "it has another number than was said" });
    }
    Ok(())
}
