//! What a statement is about, and whose signatures it needs.
//!
//! Promises: what is shown is parsed from the very bytes that are signed; a statement that does not
//! follow what this machine knows of its line is refused before a key is opened.
//! Leaves to others: the words ([`super::words`]), signing and keeping ([`super::pending`]).

use super::keys::signed_by;
use super::pending::Need;
use super::{granting, try_chain, words};
use crate::error::Error;
use crate::session::Session;
use objects::codec;
use objects::grants::Grants;
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity, Role};
use objects::key::PublicKey;
use objects::limits::STATEMENT_BYTES_MAX;
use objects::release::Entry;
use objects::signed::{Document, Envelope, Error as SignedError, Kind};
use std::collections::BTreeSet;

/// What the payload holds.
pub(super) enum Content {
    Identity(Box<Identity>),
    Grants,
    Entry(Box<Entry>),
}

/// One requirement: any of the roles has to sign.
pub(super) struct Office {
    pub(super) roles: Vec<(&'static str, Role)>,
}

/// A statement that was read and understood.
pub(super) struct Subject {
    pub(super) envelope: Envelope,
    pub(super) content: Content,
    /// Whose line it continues.
    pub(super) identity: IdentityId,
    /// The ledger's name for that line.
    pub(super) line: String,
    /// Its number there.
    pub(super) n: u64,
    pub(super) offices: Vec<Office>,
    /// What it is about, for people.
    pub(super) says: Vec<String>,
}

/// The ledger's name for the documents of an identity.
pub(super) fn identity_line(id: IdentityId) -> String {
    format!("identity {}", id.to_hex())
}

/// The ledger's name for the grants of an identity.
pub(super) fn grants_line(id: IdentityId) -> String {
    format!("grants {}", id.to_hex())
}

/// Statements of this kind are never gathered from several machines.
pub(super) fn not_gathered(kind: Kind) -> Error {
    Error::Refused {
        code: "E-SCOPE",
        what: format!("a statement of kind {} is not signed in this way", kind.word()),
        hint: "documents of identities, grants and entries of packages are".into(),
    }
}

/// The payload, by the strict rules under which everybody will read it.
pub(super) fn parse<T: Document>(envelope: &Envelope) -> Result<T, Error> {
    let parsed = codec::decode::<T>(T::KIND.word(), envelope.payload(), STATEMENT_BYTES_MAX);
    let document = parsed.map_err(SignedError::from)?;
    document.check().map_err(SignedError::from)?;
    Ok(document)
}

impl Subject {
    /// Understands a statement by what this machine knows.
    ///
    /// # Errors
    /// `E-FORMAT` if it is malformed; `E-SCOPE` for other kinds; `E-ROLLBACK`, `E-FORK` or `E-SIG` if it
    /// does not follow what is known; `NotFound` if what comes before it is not known.
    pub(super) fn read(session: &Session, envelope: Envelope) -> Result<Subject, Error> {
        match envelope.kind() {
            Kind::Identity => identity(session, envelope),
            Kind::Grants => grants(session, envelope),
            Kind::Entry => entry(session, envelope),
            kind => Err(not_gathered(kind)),
        }
    }

    /// What signatures are still needed.
    pub(super) fn needs(&self) -> Vec<Need> {
        let signed = signed_by(&self.envelope);
        self.offices.iter().filter_map(|office| office.need(&signed)).collect()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.needs().is_empty()
    }

    /// The name the identity gives itself in it, if it does.
    pub(super) fn own_name(&self) -> Option<String> {
        match &self.content {
            Content::Identity(document) => document.name.clone(),
            _ => None,
        }
    }

    pub(super) fn id(&self) -> StatementId {
        self.envelope.id()
    }
}

impl Office {
    fn of(name: &'static str, role: &Role) -> Office {
        Office { roles: vec![(name, role.clone())] }
    }

    /// What is still needed once these have signed; None if nothing.
    pub(super) fn need(&self, signed: &BTreeSet<PublicKey>) -> Option<Need> {
        let count = |role: &Role| role.keys().iter().filter(|key| signed.contains(key)).count();
        if self.roles.iter().any(|(_, role)| count(role) >= role.threshold()) {
            return None;
        }
        let (_, first) = self.roles.first()?;
        let names: Vec<&str> = self.roles.iter().map(|(name, _)| *name).collect();
        Some(Need {
            role: names.join(" or "),
            threshold: first.threshold(),
            missing: first.threshold() - count(first),
            of: first.keys().iter().filter(|key| !signed.contains(key)).copied().collect(),
        })
    }
}

fn identity(session: &Session, envelope: Envelope) -> Result<Subject, Error> {
    let document: Identity = parse(&envelope)?;
    let id = document.id.unwrap_or_else(|| IdentityId::new(envelope.id().object()));
    let chain = match document.n {
        0 => None,
        n => Some(before(session, id, n, envelope.id())?),
    };
    let own = Office::of("root", &document.roles.root);
    let offices = match &chain {
        None => vec![own],
        Some(chain) => {
            follows(chain, &document)?;
            let last = chain.head();
            let recovery = last.recovery.iter().map(|role| ("recovery", role.clone()));
            let roles = std::iter::once(("root", last.roles.root.clone())).chain(recovery).collect();
            vec![Office { roles }, own]
        }
    };
    let says = words::identity(id, chain.as_ref().map(|chain| chain.head().document()), &document);
    let (line, n) = (identity_line(id), document.n);
    Ok(Subject {
        envelope,
        content: Content::Identity(Box::new(document)),
        identity: id,
        line,
        n,
        offices,
        says,
    })
}

/// The chain up to the document before number `n`.
fn before(session: &Session, id: IdentityId, n: u64, statement: StatementId) -> Result<Chain, Error> {
    let chain = known(session, id)?;
    let seen = chain.head().n;
    match chain.at(n) {
        Some(present) if present.id() == statement => {}
        Some(_) => {
            return Err(Error::Refused {
                code: "E-FORK",
                what: format!("there is another document {n} of {}", id.nick()),
                hint: "nothing was signed: ask whoever made this one, and compare".into(),
            });
        }
        None if n > seen + 1 => return Err(unknown(format!("document {} of {}", n - 1, id.nick()))),
        None => {}
    }
    Ok(chain.up_to(n - 1))
}

fn known(session: &Session, id: IdentityId) -> Result<Chain, Error> {
    try_chain(session, id)?.ok_or_else(|| unknown(format!("the documents of {}", id.nick())))
}

fn unknown(what: String) -> Error {
    Error::not_found(what, "bring what comes before it: `pkg id export FILE` there, `pkg id apply FILE` here")
}

/// The rules a successor is held to, but for the signatures, so that no key signs what nobody accepts.
fn follows(chain: &Chain, next: &Identity) -> Result<(), Error> {
    let last = chain.head();
    let refused = |code, what: String| Err(Error::Refused { code, what, hint: "nothing was signed".into() });
    if next.prev != Some(last.id()) {
        let what =
            format!("document {} does not follow document {} of {}", next.n, last.n, chain.id().nick());
        return refused("E-ROLLBACK", what);
    }
    let kept = |old: &[_], new: &[_]| old.iter().all(|withdrawal| new.contains(withdrawal));
    if !kept(&last.revoked, &next.revoked) || !kept(&last.retired, &next.retired) {
        return refused("E-SIG", format!("document {} takes back a revocation", next.n));
    }
    Ok(())
}

fn grants(session: &Session, envelope: Envelope) -> Result<Subject, Error> {
    let document: Grants = parse(&envelope)?;
    let id = document.issuer;
    let chain = known(session, id)?;
    let last = granting::newest(session, &chain)?;
    let refused = |code, what: String| Err(Error::Refused { code, what, hint: "nothing was signed".into() });
    if chain.at(document.issuer_n).is_none() {
        return Err(unknown(format!("document {} of {}", document.issuer_n, id.nick())));
    }
    if chain.head().n != document.issuer_n {
        let what = format!(
            "it is made for document {} of {}, which is {} by now",
            document.issuer_n,
            id.nick(),
            chain.head().n
        );
        return refused("E-ROLLBACK", what);
    }
    let is_last = last.as_ref().is_some_and(|last| last.id() == envelope.id());
    let prev = last.as_ref().map(|last| last.id());
    let wanted = last.as_ref().map_or(0, |last| last.n + 1);
    if !is_last && (document.prev != prev || document.n != wanted) {
        return refused(
            "E-ROLLBACK",
            format!("these grants {} of {} do not follow the newest", document.n, id.nick()),
        );
    }
    let old = last.as_ref().filter(|_| !is_last).map(|last| last.document());
    if old.is_some_and(|old| !document.keeps_ended(old)) {
        return refused("E-SIG", format!("the grants {} of {} take back an end", document.n, id.nick()));
    }
    let says = words::grants(&chain, old, &document);
    let offices = vec![Office::of("admin", &chain.head().roles.admin)];
    let (line, n) = (grants_line(id), document.n);
    Ok(Subject { envelope, content: Content::Grants, identity: id, line, n, offices, says })
}

fn entry(session: &Session, envelope: Envelope) -> Result<Subject, Error> {
    let document: Entry = parse(&envelope)?;
    let id = document.signer;
    let chain = known(session, id)?;
    let signer = chain.at(document.signer_n);
    let signer = signer.ok_or_else(|| unknown(format!("document {} of {}", document.signer_n, id.nick())))?;
    let offices = vec![Office::of("release", &signer.roles.release)];
    let line = format!("waiting {} {} {}", document.owner.to_hex(), document.name, id.to_hex());
    let (says, n) = (words::entry(&chain, &document), document.seq);
    Ok(Subject {
        envelope,
        content: Content::Entry(Box::new(document)),
        identity: id,
        line,
        n,
        offices,
        says,
    })
}
