//! Names of things by their content.
//!
//! Promises: an id held in memory was computed here or parsed from its text or byte form; every
//! kind of id is its own type. Leaves to others: what the bytes behind an id mean.
//!
//! An object's id is the BLAKE3-256 of its bytes and nothing else, so `b3sum` checks any object
//! (BLAKE3 specification, <https://github.com/BLAKE3-team/BLAKE3-specs>).

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Why a text is not an id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not `blake3:` and 64 lower-case hexadecimal digits.
    #[error("{0:?} is not an id; an id is blake3: and 64 hexadecimal digits")]
    Malformed(String),
    /// A prefix shorter than eight digits, or no hexadecimal digits.
    #[error("{0:?} is not the beginning of an id; give at least 8 hexadecimal digits")]
    Prefix(String),
}

/// The BLAKE3-256 of an object's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId([u8; 32]);

impl ObjectId {
    /// The id of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        ObjectId(*blake3::hash(bytes).as_bytes())
    }

    /// An id from its 32 bytes, as found in a decoded structure.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        ObjectId(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits, without `blake3:`.
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The first `digits` hexadecimal digits, for people.
    pub fn short(&self, digits: usize) -> String {
        let mut text = self.to_hex();
        text.truncate(digits);
        text
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.to_hex())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ObjectId {
    type Err = Error;

    /// Takes the text form with or without `blake3:`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix("blake3:").unwrap_or(text);
        let malformed = || Error::Malformed(text.chars().take(80).collect());
        let mut bytes = [0; 32];
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(malformed());
        }
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| malformed())?;
        Ok(ObjectId(bytes))
    }
}

impl Serialize for ObjectId {
    /// Bytes in binary forms, text where people read (JSON, TOML).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            let bytes = serde_bytes::ByteArray::<32>::deserialize(deserializer)?;
            Ok(ObjectId(bytes.into_array()))
        }
    }
}

/// Declares an id of one kind of thing: the same bytes, another type.
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(ObjectId);

        impl $name {
            /// Says that the object behind `id` is to be read as this kind.
            pub const fn new(id: ObjectId) -> Self {
                $name(id)
            }

            /// The id without its kind.
            pub const fn object(&self) -> ObjectId {
                self.0
            }

            /// The 64 hexadecimal digits.
            pub fn to_hex(&self) -> String {
                self.0.to_hex()
            }

            /// The first `digits` hexadecimal digits, for people.
            pub fn short(&self, digits: usize) -> String {
                self.0.short(digits)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.short(12))
            }
        }

        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                text.parse().map($name)
            }
        }
    };
}

typed_id!(
    /// A piece of a file: raw bytes.
    ChunkId
);
typed_id!(
    /// A file's content: a list of chunks, maybe split into runs.
    BlobId
);
typed_id!(
    /// A directory, maybe split into runs.
    TreeId
);
typed_id!(
    /// A signed statement: the BLAKE3 of its signed bytes, without the signatures.
    StatementId
);
typed_id!(
    /// An identity: the statement id of its first document. Its text form begins with `id:`
    /// where people read it.
    IdentityId
);
typed_id!(
    /// A grant: the BLAKE3 of who gives it and its terms.
    GrantId
);
typed_id!(
    /// A pack: the BLAKE3 of its table of contents.
    PackId
);

impl IdentityId {
    /// `id:` and the first 16 hexadecimal digits, as messages show an identity.
    pub fn nick(&self) -> String {
        format!("id:{}", self.short(16))
    }
}

/// The beginning of an id as a person types it: at least eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// True if `id` begins so.
    pub fn matches(&self, id: &ObjectId) -> bool {
        id.to_hex().starts_with(&self.0)
    }

    /// The digits given, lower case.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl FromStr for Prefix {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let digits = text.strip_prefix("blake3:").unwrap_or(text).to_ascii_lowercase();
        let fits = (8..=64).contains(&digits.len());
        if fits && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Prefix(digits))
        } else {
            Err(Error::Prefix(text.chars().take(80).collect()))
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", self.0)
    }
}
