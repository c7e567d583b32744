//! Identities: hash-chained documents that say which keys act in which role.
//!
//! Promises: a role's keys are distinct and its threshold can be met; `revoked` and `retired` only
//! grow along a chain; [`Chain`] holds documents that follow each other by the rules of THREATS 1.4,
//! steps 6 and 7.
//! Leaves to others: which identity is pinned to a name, and what a fork means (`plumbing::trust`).

use crate::codec::Error as FormatError;
use crate::id::{IdentityId, StatementId};
use crate::key::PublicKey;
use crate::limits::{IDENTITY_WALK_MAX, NAME_BYTES_MAX, ROLE_KEYS_MAX, STATEMENT_ROWS_MAX};
use crate::release::LogHead;
use crate::signed::{Document, Error as SignedError, Kind, Signed, Verified};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A set of keys, of which `threshold` have to sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    keys: Vec<PublicKey>,
    threshold: u32,
}

impl Role {
    /// A role of `keys`, of which `threshold` have to sign.
    ///
    /// # Errors
    /// `Malformed` for a doubled key, a threshold of zero or above the number of keys.
    pub fn new(mut keys: Vec<PublicKey>, threshold: u32) -> Result<Self, FormatError> {
        keys.sort();
        let role = Role { keys, threshold };
        role.check()?;
        Ok(role)
    }

    /// The keys, sorted.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// How many have to sign.
    pub fn threshold(&self) -> usize {
        self.threshold as usize
    }

    fn check(&self) -> Result<(), FormatError> {
        let distinct = self.keys.windows(2).all(|pair| pair[0] < pair[1]);
        let met = (1..=self.keys.len()).contains(&self.threshold());
        if !distinct {
            Err(FormatError::malformed("role", "its keys are doubled or out of order"))
        } else if !met || self.keys.len() > ROLE_KEYS_MAX {
            Err(FormatError::malformed("role", "its threshold cannot be met, or it has more than 64 keys"))
        } else {
            Ok(())
        }
    }
}

/// The roles of an identity (THREATS 1.1). One key may stand in all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// Changes the identity; kept offline by the careful.
    pub root: Role,
    /// Signs grants.
    pub admin: Role,
    /// Signs entries of package logs.
    pub release: Role,
    /// Signs comments, votes and advisories.
    pub note: Role,
    /// Signs the index of a repository.
    pub index: Role,
    /// Signs the beacon of a repository.
    pub beacon: Role,
}

impl Roles {
    /// One role in the place of all six: what `pkg id new` makes.
    pub fn all(role: &Role) -> Roles {
        let role = || role.clone();
        Roles { root: role(), admin: role(), release: role(), note: role(), index: role(), beacon: role() }
    }

    fn check(&self) -> Result<(), FormatError> {
        let all = [&self.root, &self.admin, &self.release, &self.note, &self.index, &self.beacon];
        all.into_iter().try_for_each(Role::check)
    }
}

/// A key that no longer counts, but for what the checkpoint covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// The key.
    pub key: PublicKey,
    /// The log heads up to which its signatures stand.
    pub checkpoint: Vec<LogHead>,
}

/// A role whose numbering starts anew after a thief ran it forward (THREATS 1.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The role, by its name.
    pub role: String,
    /// The number it goes back to.
    pub n: u64,
}

/// One document of an identity's chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The identity: the statement id of the first document, absent in that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<IdentityId>,
    /// The number in the chain, from 0.
    pub n: u64,
    /// The document before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<StatementId>,
    /// What the identity calls itself. A hint for people; decides nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who may do what.
    pub roles: Roles,
    /// Keys that were stolen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<Withdrawal>,
    /// Keys that were laid down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<Withdrawal>,
    /// Roles whose numbering starts anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reset: Vec<Reset>,
    /// Who may sign the next document if root is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Role>,
    /// When it was signed.
    pub created: Timestamp,
    /// Until when it counts as the newest without another look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

impl Identity {
    /// The first document of an identity with one role in all places.
    pub fn found(name: Option<String>, role: &Role, created: Timestamp) -> Identity {
        Identity {
            id: None,
            n: 0,
            prev: None,
            name,
            roles: Roles::all(role),
            revoked: Vec::new(),
            retired: Vec::new(),
            reset: Vec::new(),
            recovery: None,
            created,
            expires: None,
        }
    }

    /// The role called `name`, as messages and `reset` name it.
    pub fn role(&self, name: &str) -> Option<&Role> {
        match name {
            "root" => Some(&self.roles.root),
            "admin" => Some(&self.roles.admin),
            "release" => Some(&self.roles.release),
            "note" => Some(&self.roles.note),
            "index" => Some(&self.roles.index),
            "beacon" => Some(&self.roles.beacon),
            "recovery" => self.recovery.as_ref(),
            _ => None,
        }
    }
}

impl Document for Identity {
    const KIND: Kind = Kind::Identity;

    fn check(&self) -> Result<(), FormatError> {
        let fault = |why: &str| Err(FormatError::malformed("identity", why));
        self.roles.check()?;
        self.recovery.as_ref().map_or(Ok(()), Role::check)?;
        let first = self.n == 0;
        if first != self.id.is_none() || first != self.prev.is_none() {
            return fault("the first document, and only it, has no id and no previous one");
        }
        let heads = |list: &[Withdrawal]| list.iter().map(|w| 1 + w.checkpoint.len()).sum::<usize>();
        if heads(&self.revoked) + heads(&self.retired) + self.reset.len() > STATEMENT_ROWS_MAX {
            return fault("its lists are too long");
        }
        if self.name.as_ref().is_some_and(|n| n.len() > NAME_BYTES_MAX || n.chars().any(char::is_control)) {
            return fault("its name is too long or holds control characters");
        }
        if self.reset.iter().any(|reset| self.role(&reset.role).is_none()) {
            return fault("it resets a role that does not exist");
        }
        Ok(())
    }
}

/// Why a document does not follow another.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first document does not hash to the identity's id.
    #[error("the first document of {} has the id {found}", id.nick())]
    NotFirst {
        /// The identity asked for.
        id: IdentityId,
        /// The statement that came.
        found: StatementId,
    },
    /// It belongs to another identity (SEC-055).
    #[error("document {} of {} is of another identity", n, id.nick())]
    Graft {
        /// The identity asked for.
        id: IdentityId,
        /// The number the document claims.
        n: u64,
    },
    /// It is not the next one (SEC-053, SEC-054).
    #[error("document {found} of {} does not follow document {expected_after}", id.nick())]
    Order {
        /// The identity.
        id: IdentityId,
        /// The number of the last good document.
        expected_after: u64,
        /// The number of the one that came.
        found: u64,
    },
    /// It drops a withdrawn key.
    #[error("document {n} of {} takes back a revocation", id.nick())]
    Unrevoked {
        /// The identity.
        id: IdentityId,
        /// The number of the document.
        n: u64,
    },
    /// Longer than anyone follows.
    #[error("{} has more than {IDENTITY_WALK_MAX} documents", id.nick())]
    TooLong {
        /// The identity.
        id: IdentityId,
    },
    /// A signature or the format does not hold.
    #[error("a document of {} does not stand", id.nick())]
    Signed {
        /// The identity.
        id: IdentityId,
        /// Why.
        source: Box<SignedError>,
    },
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::NotFirst { .. } => "E-HASH",
            Error::Graft { .. } | Error::Unrevoked { .. } => "E-SIG",
            Error::Order { .. } => "E-ROLLBACK",
            Error::TooLong { .. } => "E-LIMIT",
            Error::Signed { source, .. } => source.code(),
        }
    }
}

/// An identity's documents from the first, each checked against the one before.
#[derive(Clone, Debug)]
pub struct Chain {
    id: IdentityId,
    documents: Vec<Verified<Identity>>,
    /// The numbers of those that the recovery role of the one before signed.
    recovered: Vec<u64>,
}

impl Chain {
    /// Begins with the first document, whose hash has to give `id` and whose own root signed it.
    ///
    /// # Errors
    /// `NotFirst` if it is another document, `Signed` if its own root did not sign it.
    pub fn begin(id: IdentityId, first: &Signed<Identity>) -> Result<Chain, Error> {
        if first.id().object() != id.object() {
            return Err(Error::NotFirst { id, found: first.id() });
        }
        let signed = |source| Error::Signed { id, source: Box::new(source) };
        let document = first.parse().map_err(|e| signed(e.into()))?;
        let verified = first.verify(&document.roles.root, "root").map_err(signed)?;
        if verified.n != 0 {
            return Err(Error::Order { id, expected_after: 0, found: verified.n });
        }
        Ok(Chain { id, documents: vec![verified], recovered: Vec::new() })
    }

    /// Takes the next document.
    ///
    /// # Errors
    /// `Signed` unless root of the new document signed, and root or recovery of the last one; `Graft`,
    /// `Order`, `Unrevoked` and `TooLong` as they say.
    pub fn extend(&mut self, next: &Signed<Identity>) -> Result<(), Error> {
        let id = self.id;
        let signed = |source| Error::Signed { id, source: Box::new(source) };
        let last = self.head();
        let recovered = last.recovery.as_ref().and_then(|role| next.verify(role, "recovery").ok());
        let is_recovered = recovered.is_some();
        let verified = recovered.map_or_else(|| next.verify(&last.roles.root, "root"), Ok).map_err(signed)?;
        next.verify(&verified.roles.root, "root").map_err(signed)?;
        if verified.id.is_some_and(|named| named != id) {
            return Err(Error::Graft { id, n: verified.n });
        }
        if verified.n != last.n + 1 || verified.prev != Some(last.id()) {
            return Err(Error::Order { id, expected_after: last.n, found: verified.n });
        }
        let kept = |old: &[Withdrawal], new: &[Withdrawal]| old.iter().all(|w| new.contains(w));
        if !kept(&last.revoked, &verified.revoked) || !kept(&last.retired, &verified.retired) {
            return Err(Error::Unrevoked { id, n: verified.n });
        }
        if self.documents.len() >= IDENTITY_WALK_MAX {
            return Err(Error::TooLong { id });
        }
        if is_recovered {
            self.recovered.push(verified.n);
        }
        self.documents.push(verified);
        Ok(())
    }

    /// The chain up to the document with number `n`, as it was before the rest was taken.
    pub fn up_to(&self, n: u64) -> Chain {
        let count = usize::try_from(n).map_or(usize::MAX, |n| n.saturating_add(1));
        let documents = self.documents.iter().take(count.max(1)).cloned().collect();
        let recovered = self.recovered.iter().copied().filter(|recovered| *recovered <= n).collect();
        Chain { id: self.id, documents, recovered }
    }

    /// True if the recovery role of the document before signed document `n`: it then beats a sibling that
    /// only root signed (THREATS 1.4, step 8).
    pub fn is_recovered(&self, n: u64) -> bool {
        self.recovered.contains(&n)
    }

    /// Walks `documents` from the first.
    ///
    /// # Errors
    /// As [`Chain::begin`] and [`Chain::extend`].
    pub fn walk(id: IdentityId, documents: &[Signed<Identity>]) -> Result<Chain, Error> {
        let (first, rest) =
            documents.split_first().ok_or(Error::Order { id, expected_after: 0, found: 0 })?;
        let mut chain = Chain::begin(id, first)?;
        rest.iter().try_for_each(|next| chain.extend(next))?;
        Ok(chain)
    }

    /// The identity.
    pub fn id(&self) -> IdentityId {
        self.id
    }

    /// Checks `signed` against the role called `role` of any document, newest first: for what was signed long
    /// ago. Every identity has the role.
    ///
    /// # Errors
    /// That of the newest document, if none of them has keys that signed it.
    pub fn verify_by_any<T: Document>(
        &self,
        signed: &Signed<T>,
        role: &str,
    ) -> Result<Verified<T>, SignedError> {
        let mut tried: Vec<&Role> = Vec::new();
        let mut first = None;
        for document in self.documents.iter().rev() {
            let keys = document.role(role).expect("the name of a role that every identity has was given");
            if tried.contains(&keys) {
                continue;
            }
            tried.push(keys);
            match signed.verify(keys, role) {
                Ok(verified) => return Ok(verified),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.expect("a chain has a document, whose role was tried"))
    }

    /// The newest document.
    pub fn head(&self) -> &Verified<Identity> {
        self.documents.last().expect("a chain begins with a document")
    }

    /// The document with number `n`.
    pub fn at(&self, n: u64) -> Option<&Verified<Identity>> {
        self.documents.get(usize::try_from(n).ok()?)
    }

    /// All documents, oldest first.
    pub fn documents(&self) -> &[Verified<Identity>] {
        &self.documents
    }
}
