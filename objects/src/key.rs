//! Ed25519 keys and signatures, strict (RFC 8032, and what it leaves open decided the narrow way).
//!
//! Promises: a [`PublicKey`] is canonically encoded and free of small-order components; a
//! signature is checked with `S` below the group order and no small-order point, never in batches.
//! Leaves to others: which key may say what ([`crate::identity`]), how secret keys are kept.

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::RefCell;
use std::collections::HashSet;
use std::{fmt, str::FromStr};

/// Why bytes are no key.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not a point, or not its canonical encoding.
    #[error("not the encoding of an ed25519 public key")]
    Encoding,
    /// A point with a small-order component, under which signatures can be made up (SEC-043).
    #[error("the ed25519 public key is weak: it has a small-order component")]
    Weak,
}

/// A public key that is safe to trust.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// How many good keys a thread remembers.
const TAKEN_MAX: usize = 1_024;

thread_local! {
    /// Keys that were found good. The check multiplies by the group order, which takes longer than a signature,
    /// and each document of an identity names one key in many roles.
    static TAKEN: RefCell<HashSet<[u8; 32]>> = RefCell::default();
}

impl PublicKey {
    /// Checks and takes the 32 bytes.
    ///
    /// # Errors
    /// `Encoding` for bytes that are no canonical point, `Weak` for small-order components.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, Error> {
        if TAKEN.with_borrow(|taken| taken.contains(&bytes)) {
            return Ok(PublicKey(bytes));
        }
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| Error::Encoding)?;
        let point = key.to_edwards();
        if point.compress().to_bytes() != bytes {
            return Err(Error::Encoding);
        }
        if key.is_weak() || !point.is_torsion_free() {
            return Err(Error::Weak);
        }
        TAKEN.with_borrow_mut(|taken| {
            if taken.len() >= TAKEN_MAX {
                taken.clear();
            }
            taken.insert(bytes);
        });
        Ok(PublicKey(bytes))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// True if `signature` over `message` was made with the secret half of this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let key = VerifyingKey::from_bytes(&self.0);
        key.is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ed25519:{}", hex::encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        let digits = text.strip_prefix("ed25519:").unwrap_or(text);
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| Error::Encoding)?;
        PublicKey::from_bytes(bytes)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteArray::<32>::deserialize(deserializer)?.into_array();
            PublicKey::from_bytes(bytes).map_err(serde::de::Error::custom)
        }
    }
}

/// Something that signs: a key in memory now, a token or an SSH agent later.
pub trait Signer {
    /// The public half.
    fn public(&self) -> PublicKey;
    /// The signature over `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

/// A secret key in memory; wiped when dropped.
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// The key of a 32-byte seed, which the caller draws and keeps.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        SecretKey(SigningKey::from_bytes(seed))
    }

    /// The seed, to be written into a key file. Lent, so that no copy is left behind unwiped.
    pub fn seed(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl Signer for SecretKey {
    fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SecretKey {
    /// Shows the public half only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}
