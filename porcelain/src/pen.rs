//! Who signs in one run of a verb, with their keys opened when they are first needed.
//!
//! Promises: a passphrase is asked for once a run, however many statements are signed.

use crate::error::Error;
use crate::identity::{self, Own, Signers};
use crate::session::Session;
use objects::id::IdentityId;
use objects::identity::Chain;
use objects::release::Entry;
use objects::signed::{Document, Signed};
use std::cell::RefCell;

/// One of the user's identities, about to sign.
pub struct Pen<'a> {
    session: &'a Session,
    own: Own,
    chain: Chain,
    signers: RefCell<Option<Signers<'a>>>,
}

impl<'a> Pen<'a> {
    /// The pen of `own`. Nothing is unlocked yet.
    ///
    /// # Errors
    /// If the documents of the identity are not in the user's store.
    pub fn new(session: &'a Session, own: Own) -> Result<Pen<'a>, Error> {
        let chain = identity::chain(session, own.id)?;
        Ok(Pen { session, own, chain, signers: RefCell::default() })
    }

    /// Who signs.
    pub fn id(&self) -> IdentityId {
        self.own.id
    }

    /// What the user calls them.
    pub fn name(&self) -> &str {
        &self.own.name
    }

    /// Their documents.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// Signs a document that the role called `role` has to sign.
    ///
    /// # Errors
    /// If too few keys of the role are here or one is locked, or nobody would accept the document.
    pub fn sign<T: Document>(&self, role: &str, document: &T) -> Result<Signed<T>, Error> {
        self.with(|signers| signers.sign(role, document))
    }

    /// Signs an entry. Gives what was signed, for it may have waited for other keys since it was first made.
    ///
    /// # Errors
    /// As [`Signers::entry`].
    pub fn entry(&self, entry: Entry) -> Result<(Entry, Signed<Entry>), Error> {
        self.with(|signers| signers.entry(entry))
    }

    fn with<T>(&self, sign: impl FnOnce(&mut Signers<'a>) -> Result<T, Error>) -> Result<T, Error> {
        let mut signers = self.signers.borrow_mut();
        if signers.is_none() {
            *signers = Some(Signers::new(self.session, &self.own)?);
        }
        sign(signers.as_mut().expect("it was just made"))
    }
}
