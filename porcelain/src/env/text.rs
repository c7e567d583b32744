//! TOML files of an environment, and how identities are written in them.
//!
//! Promises: how deep a text nests is measured before it is read (SEC-077); an error names the file
//! and the line.

use super::error::Error;
use crate::manifest::too_deep;
use objects::id::IdentityId;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serializer};
use std::path::Path;

/// Levels of tables and lists; honest files have three.
const LEVELS_MAX: usize = 64;

/// Reads `text`, which stands in `path`.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Error> {
    if let Some(at) = too_deep(text, LEVELS_MAX) {
        let why = format!("it nests deeper than {LEVELS_MAX} levels");
        return Err(Error::toml(path, text, Some(at), &why));
    }
    toml::from_str(text)
        .map_err(|error| Error::toml(path, text, error.span().map(|span| span.start), error.message()))
}

/// `value` as TOML writes it.
pub(super) fn quoted(value: &str) -> String {
    toml_edit::Value::from(value).to_string()
}

/// `id:` and 64 hexadecimal digits.
pub(super) fn identity_text(id: &IdentityId) -> String {
    format!("id:{}", id.to_hex())
}

/// An identity as [`identity_text`] writes it, or with `blake3:`, or bare.
fn parse_identity(text: &str) -> Result<IdentityId, String> {
    let id = text.strip_prefix("id:").unwrap_or(text).parse();
    id.map_err(|_| format!("{text:?} is not an identity; one is id: and 64 hexadecimal digits"))
}

/// For serde: an identity as text.
pub(super) mod identity {
    use super::*;

    pub fn serialize<S: Serializer>(id: &IdentityId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&identity_text(id))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IdentityId, D::Error> {
        parse_identity(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// For serde: an identity as text, if there is one.
pub(super) fn identity_option<'de, D: Deserializer<'de>>(d: D) -> Result<Option<IdentityId>, D::Error> {
    let text: Option<String> = Option::deserialize(d)?;
    text.as_deref().map(parse_identity).transpose().map_err(D::Error::custom)
}
