//! Signed statements: DSSE over DAG-CBOR.
//!
//! ```text
//! signed bytes   "DSSEv1" SP len(type) SP type SP len(payload) SP payload
//! envelope       ["envelope/1", type, payload, [[public key, signature], …]]
//! statement id   BLAKE3 of the signed bytes; signatures are not part of it, so more can be added
//! ```
//!
//! Promises: [`Signed`] is what arrived, [`Verified`] says who said it. The bytes checked are the
//! bytes parsed, and a payload is not parsed before a signature over it holds; the type in the
//! signed bytes keeps one kind from passing for another (SEC-044).
//! Leaves to others: whether the signers may say it (`plumbing::trust`).
//!
//! Follows the DSSE protocol, version 1 (<https://github.com/secure-systems-lab/dsse>).

use crate::codec::{self, Error as FormatError};
use crate::id::{ObjectId, StatementId};
use crate::identity::Role;
use crate::key::Signer;
use crate::limits::{ENVELOPE_BYTES_MAX, SIGNATURES_MAX, STATEMENT_BYTES_MAX};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, marker::PhantomData, ops::Deref};

/// The kinds of statement; the discriminant of nothing, the name of everything signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A document of an identity's chain.
    Identity,
    /// What an identity lets others do.
    Grants,
    /// One row of a package's log.
    Entry,
    /// The head of a repository's index.
    Index,
    /// A short-lived word that an index is the newest.
    Beacon,
    /// A comment, vote or advisory.
    Note,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 6] =
        [Kind::Identity, Kind::Grants, Kind::Entry, Kind::Index, Kind::Beacon, Kind::Note];

    /// The media type inside the signed bytes.
    pub fn media_type(self) -> &'static str {
        match self {
            Kind::Identity => "application/vnd.pkg.identity.v1+cbor",
            Kind::Grants => "application/vnd.pkg.grants.v1+cbor",
            Kind::Entry => "application/vnd.pkg.entry.v1+cbor",
            Kind::Index => "application/vnd.pkg.index.v1+cbor",
            Kind::Beacon => "application/vnd.pkg.beacon.v1+cbor",
            Kind::Note => "application/vnd.pkg.note.v1+cbor",
        }
    }

    /// The word messages use.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Identity => "identity",
            Kind::Grants => "grants",
            Kind::Entry => "entry",
            Kind::Index => "index",
            Kind::Beacon => "beacon",
            Kind::Note => "note",
        }
    }

    fn of_media_type(text: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.media_type() == text)
    }
}

/// The content of a statement of one kind.
pub trait Document: Serialize + DeserializeOwned {
    /// Which kind.
    const KIND: Kind;

    /// Checks what the shape alone does not: bounds and inner consistency.
    ///
    /// # Errors
    /// `Malformed` with the reason.
    fn check(&self) -> Result<(), FormatError>;
}

/// Why a statement does not stand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The envelope or payload is malformed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is a statement of another kind.
    #[error("expected a statement of kind {expected}, this is of type {found}")]
    Kind {
        /// What was asked for.
        expected: &'static str,
        /// What stands in the envelope.
        found: String,
    },
    /// Too few distinct keys of the role signed it.
    #[error("{kind} {} is signed by {valid} of the keys of role {role}, which asks for {threshold}; {strangers} other keys signed", id.short(16))]
    Threshold {
        /// The statement's kind.
        kind: &'static str,
        /// The statement.
        id: StatementId,
        /// The role that has to sign.
        role: String,
        /// Distinct keys of the role whose signatures hold.
        valid: usize,
        /// How many the role asks for.
        threshold: usize,
        /// Signatures by keys outside the role, or that do not hold.
        strangers: usize,
    },
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Format(error) => error.code(),
            Error::Kind { .. } | Error::Threshold { .. } => "E-SIG",
        }
    }
}

/// A signature and the key it claims to be by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SignatureRow(#[serde(with = "serde_bytes")] [u8; 32], #[serde(with = "serde_bytes")] [u8; 64]);

#[derive(Serialize, Deserialize)]
struct EnvelopeRow(String, String, #[serde(with = "serde_bytes")] Vec<u8>, Vec<SignatureRow>);

const ENVELOPE: &str = "envelope/1";

/// A statement of any kind as it arrived: nothing is known of it but its kind and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    kind: Kind,
    payload: Vec<u8>,
    signatures: Vec<SignatureRow>,
}

impl Envelope {
    /// Reads some fields of the payload, to decide what to look at next. Nobody has vouched for them:
    /// nothing may be believed because of it.
    ///
    /// # Errors
    /// `E-FORMAT` if it is of another shape.
    pub fn peek<T: DeserializeOwned>(&self) -> Result<T, Error> {
        Ok(codec::peek(&self.payload)?)
    }

    /// Reads an envelope.
    ///
    /// # Errors
    /// `E-LIMIT` beyond the bounds on payload and signatures, `E-FORMAT` for any other shape.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let EnvelopeRow(tag, media_type, payload, signatures) =
            codec::decode("envelope", bytes, ENVELOPE_BYTES_MAX)?;
        if tag != ENVELOPE {
            return Err(FormatError::malformed("envelope", "its first field is not \"envelope/1\""));
        }
        if payload.len() > STATEMENT_BYTES_MAX {
            let (bytes, bytes_max) = (payload.len(), STATEMENT_BYTES_MAX);
            return Err(FormatError::TooLong { what: "statement", bytes, bytes_max });
        }
        if signatures.len() > SIGNATURES_MAX {
            let (bytes, bytes_max) = (signatures.len(), SIGNATURES_MAX);
            return Err(FormatError::TooLong { what: "list of signatures", bytes, bytes_max });
        }
        let kind = Kind::of_media_type(&media_type).ok_or_else(|| {
            FormatError::malformed("envelope", format_args!("type {media_type:?} is unknown"))
        })?;
        Ok(Envelope { kind, payload, signatures })
    }

    /// The envelope's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let media_type = self.kind.media_type().to_owned();
        codec::encode(&EnvelopeRow(
            ENVELOPE.to_owned(),
            media_type,
            self.payload.clone(),
            self.signatures.clone(),
        ))
    }

    /// What kind of statement it claims, and is signed, to be.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its id.
    pub fn id(&self) -> StatementId {
        StatementId::new(ObjectId::of(&pae(self.kind.media_type(), &self.payload)))
    }

    /// The payload's bytes: canonical DAG-CBOR if the statement is sound.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Each signature with the key it claims to be by, unchecked: for display and export.
    pub fn signatures(&self) -> impl Iterator<Item = (&[u8; 32], &[u8; 64])> {
        self.signatures.iter().map(|row| (&row.0, &row.1))
    }

    /// The same statement as one of kind `T`.
    ///
    /// # Errors
    /// `Kind` if it is of another kind.
    pub fn typed<T: Document>(self) -> Result<Signed<T>, Error> {
        if self.kind != T::KIND {
            let found = self.kind.media_type().to_owned();
            return Err(Error::Kind { expected: T::KIND.word(), found });
        }
        Ok(Signed { envelope: self, kind: PhantomData })
    }

    fn count(&self, role: &Role) -> (usize, usize) {
        let message = pae(self.kind.media_type(), &self.payload);
        let mut valid = BTreeSet::new();
        let mut strangers = 0;
        for SignatureRow(key, signature) in &self.signatures {
            match role.keys().iter().find(|k| k.as_bytes() == key) {
                Some(key) if key.verifies(&message, signature) => {
                    valid.insert(*key);
                }
                _ => strangers += 1,
            }
        }
        (valid.len(), strangers)
    }
}

/// The pre-authentication encoding of DSSE: what is signed.
pub fn pae(media_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {} {} ", media_type.len(), media_type, payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The id and the envelope of a payload of whatever type, signed by each of `signers`. Nothing is checked:
/// this makes what others have to refuse.
pub fn sign_literally(media_type: &str, payload: Vec<u8>, signers: &[&dyn Signer]) -> (StatementId, Vec<u8>) {
    let message = pae(media_type, &payload);
    let sign = |signer: &&dyn Signer| SignatureRow(*signer.public().as_bytes(), signer.sign(&message));
    let rows = signers.iter().map(sign).collect();
    let row = EnvelopeRow(ENVELOPE.to_owned(), media_type.to_owned(), payload, rows);
    (StatementId::new(ObjectId::of(&message)), codec::encode(&row))
}

/// A statement that claims to be a `T`, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    envelope: Envelope,
    kind: PhantomData<T>,
}

impl<T: Document> Signed<T> {
    /// Signs `document` with each of `signers`.
    ///
    /// # Errors
    /// `Format` if the document breaks a bound: such a statement nobody would accept.
    pub fn sign(document: &T, signers: &[&dyn Signer]) -> Result<Self, Error> {
        document.check()?;
        let payload = codec::encode(document);
        if payload.len() > STATEMENT_BYTES_MAX {
            let (bytes, bytes_max) = (payload.len(), STATEMENT_BYTES_MAX);
            return Err(FormatError::TooLong { what: T::KIND.word(), bytes, bytes_max }.into());
        }
        let envelope = Envelope { kind: T::KIND, payload, signatures: Vec::new() };
        let mut signed = Signed { envelope, kind: PhantomData };
        signers.iter().for_each(|signer| signed.add_signature(*signer));
        Ok(signed)
    }

    /// Adds the signature of one more signer; the statement keeps its id.
    pub fn add_signature(&mut self, signer: &dyn Signer) {
        let message = pae(T::KIND.media_type(), &self.envelope.payload);
        let row = SignatureRow(*signer.public().as_bytes(), signer.sign(&message));
        self.envelope.signatures.retain(|present| present.0 != row.0);
        self.envelope.signatures.push(row);
    }

    /// Reads an envelope that has to be a `T`.
    ///
    /// # Errors
    /// As [`Envelope::decode`] and [`Envelope::typed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Envelope::decode(bytes)?.typed()
    }

    /// Its id.
    pub fn id(&self) -> StatementId {
        self.envelope.id()
    }

    /// The envelope around it.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Checks that enough keys of `role` signed, then parses.
    ///
    /// # Errors
    /// `Threshold` if too few distinct keys did; `Format` if what they signed is malformed.
    pub fn verify(&self, role: &Role, role_name: &str) -> Result<Verified<T>, Error> {
        let (valid, strangers) = self.envelope.count(role);
        if valid < role.threshold() {
            return Err(Error::Threshold {
                kind: T::KIND.word(),
                id: self.id(),
                role: role_name.to_owned(),
                valid,
                threshold: role.threshold(),
                strangers,
            });
        }
        Ok(Verified { id: self.id(), document: self.parse()?, envelope: self.envelope.clone() })
    }

    /// Parses without a signature. Only for a document whose id was checked against one that is
    /// trusted, and whose keys stand in itself: the first of an identity.
    pub(crate) fn parse(&self) -> Result<T, FormatError> {
        let document: T = codec::decode(T::KIND.word(), &self.envelope.payload, STATEMENT_BYTES_MAX)?;
        document.check()?;
        Ok(document)
    }
}

/// A statement whose signatures were checked against a role: who said it is known.
#[derive(Clone, Debug)]
pub struct Verified<T> {
    id: StatementId,
    document: T,
    envelope: Envelope,
}

impl<T> Verified<T> {
    /// Its id.
    pub fn id(&self) -> StatementId {
        self.id
    }

    /// The envelope, to be stored or passed on.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// What was said.
    pub fn document(&self) -> &T {
        &self.document
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.document
    }
}
