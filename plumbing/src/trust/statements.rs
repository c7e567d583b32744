//! Where statements come from.
//!
//! Promises: what [`find`] returns is the statement asked for, whatever a source answered.
//! Leaves to others: disks, mirrors, peers.

use super::error::{At, Error};
use objects::id::StatementId;
use objects::signed::{Document, Envelope, Signed};

/// Where statements come from: the caller's store, then the source at hand.
///
/// An implementation answers None for what it does not have. It need not check what it returns.
pub trait Statements {
    /// The statement `id`, or None.
    ///
    /// # Errors
    /// If the source cannot tell; [`Error::fetch`] makes such an error.
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, Error>;
}

impl Statements for objects::statements::Statements {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, Error> {
        self.try_find(id).map_err(|error| Error::fetch(id, error.code(), error))
    }
}

/// Several places, asked one after the other. One that fails or lies does not keep the next from
/// being asked; its failure is told only if none has the statement.
pub struct InOrder<'a>(pub &'a [&'a dyn Statements]);

impl Statements for InOrder<'_> {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, Error> {
        let mut failure = None;
        for place in self.0 {
            match place.find(id) {
                Ok(Some(envelope)) if envelope.id() == id => return Ok(Some(envelope)),
                Ok(Some(_)) => {
                    failure = Some(Error::fetch(id, "E-HASH", "it answered with another statement"))
                }
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
        }
        failure.map_or(Ok(None), Err)
    }
}

/// The statement `id` of kind `T`; `step` and `origin` are for the message.
pub(super) fn find<T: Document>(
    statements: &dyn Statements,
    id: StatementId,
    step: u8,
    origin: &str,
) -> Result<Signed<T>, Error> {
    let at = || At::new(step, T::KIND, id, origin);
    let envelope = statements.find(id)?.ok_or_else(|| Error::Missing { at: at() })?;
    if envelope.id() != id {
        return Err(Error::Exchanged { at: at() });
    }
    envelope.typed().map_err(|source| Error::signed(at(), source))
}
