//! Objects and statements as somebody says they are, however wrong: what tests of the refusals are made of.
//!
//! Promises: no ref, index or summary moves, and the ledger of numbers is neither asked nor told; unless
//! asked to be literal, nothing is kept that could not be read again.
//! Leaves to others: everything that is meant to be believed (`publish`, `identity`).

use crate::error::Error;
use crate::session::Session;
use base64ct::{Base64Unpadded, Encoding as _};
use objects::codec;
use objects::disk;
use objects::id::{ObjectId, StatementId, TreeId};
use objects::key::{SecretKey, Signer};
use objects::repository::Repository;
use objects::signed::{self, Envelope};
use objects::store::pack::writer::Options;
use objects::tree::Tree;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::path::Path;

/// Largest file that is taken.
const FILE_BYTES_MAX: usize = 16 << 20;

/// Whether what is made has to be well-formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// It has to be such that it can be read again.
    Checked,
    /// Anything goes.
    Literal,
}

/// A row of a tree: name, mode, size, id.
type Row = (String, u64, u64, ObjectId);

/// Keeps the bytes of a file as one object.
///
/// # Errors
/// If it cannot be read or stored.
pub fn object(repository: &Repository, file: &Path) -> Result<ObjectId, Error> {
    keep(repository, &read(file)?)
}

/// Keeps a tree of the rows in a JSON file: an array of `[name, mode, size, id]`.
///
/// # Errors
/// If they are no rows, or with care no tree.
pub fn tree(repository: &Repository, file: &Path, care: Care) -> Result<ObjectId, Error> {
    let rows: Result<Vec<Row>, _> = serde_json::from_slice(&read(file)?);
    let rows = rows.map_err(|error| malformed(file, error))?;
    let bytes = codec::encode(&("tree/1", rows));
    if care == Care::Checked {
        let id = TreeId::new(ObjectId::of(&bytes));
        Tree::decode(&bytes).map_err(|error| objects::object::Error::tree(id, error))?;
    }
    keep(repository, &bytes)
}

/// The content of a file as a payload: JSON becomes DAG-CBOR, anything else is taken as it is. Bytes are
/// written as in DAG-JSON: `{"/": {"bytes": base64}}`.
///
/// # Errors
/// If it cannot be read, or says of something that is not base64 that it is.
pub fn payload(file: &Path) -> Result<Vec<u8>, Error> {
    let bytes = read(file)?;
    let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { return Ok(bytes) };
    check_bytes(&value).map_err(|why| malformed(file, why))?;
    Ok(codec::encode(&Cbor(&value)))
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its id.
    pub id: StatementId,
    /// Its envelope.
    pub envelope: Vec<u8>,
}

/// Puts a payload into an envelope of whatever type, signed by the keys with these names in the user's
/// keyring.
///
/// # Errors
/// If a key does not open; with care, if no reader would take the envelope.
pub fn statement(
    session: &Session,
    media_type: &str,
    keys: &[String],
    payload: Vec<u8>,
    care: Care,
) -> Result<Statement, Error> {
    let open = |key: &String| session.keyring()?.load(key, &mut || session.ask(key)).map_err(Error::from);
    let keys = keys.iter().map(open).collect::<Result<Vec<SecretKey>, Error>>()?;
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    let (id, envelope) = signed::sign_literally(media_type, payload, &signers);
    if care == Care::Checked {
        decode(&envelope)?;
    }
    Ok(Statement { id, envelope })
}

/// Keeps a statement among those of a repository; nothing leads to it yet.
///
/// # Errors
/// If its envelope cannot be read, or the disk refuses.
pub fn insert(repository: &Repository, statement: &Statement) -> Result<(), Error> {
    Ok(repository.statements().insert(&decode(&statement.envelope)?)?)
}

fn decode(envelope: &[u8]) -> Result<Envelope, Error> {
    Ok(Envelope::decode(envelope).map_err(signed::Error::from)?)
}

fn keep(repository: &Repository, bytes: &[u8]) -> Result<ObjectId, Error> {
    let _lock = repository.lock_shared()?;
    let mut transaction = repository.store().transaction(Options::default())?;
    let id = ObjectId::of(bytes);
    transaction.write_as(id, bytes, 1)?;
    transaction.commit()?;
    Ok(id)
}

fn read(file: &Path) -> Result<Vec<u8>, Error> {
    let content = disk::try_read(file, FILE_BYTES_MAX)?;
    content.ok_or_else(|| Error::not_found(file.display(), "name a file"))
}

fn malformed(file: &Path, why: impl ToString) -> Error {
    Error::Malformed { path: file.to_owned(), why: why.to_string() }
}

/// A value of JSON on its way to DAG-CBOR.
struct Cbor<'a>(&'a Value);

impl Serialize for Cbor<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => serializer.collect_seq(items.iter().map(Cbor)),
            Value::Object(fields) => match base64(self.0) {
                Some(text) => {
                    let bytes = Base64Unpadded::decode_vec(text).map_err(S::Error::custom)?;
                    serializer.serialize_bytes(&bytes)
                }
                None => serializer.collect_map(fields.iter().map(|(key, value)| (key, Cbor(value)))),
            },
            plain => plain.serialize(serializer),
        }
    }
}

/// The base64 of `{"/": {"bytes": base64}}`.
fn base64(value: &Value) -> Option<&str> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let inner = fields.get("/")?.as_object().filter(|fields| fields.len() == 1)?;
    inner.get("bytes")?.as_str()
}

/// Refuses what says that it is base64 and is not.
fn check_bytes(value: &Value) -> Result<(), String> {
    match (base64(value), value) {
        (Some(text), _) => Base64Unpadded::decode_vec(text).map(drop).map_err(|error| error.to_string()),
        (None, Value::Array(items)) => items.iter().try_for_each(check_bytes),
        (None, Value::Object(fields)) => fields.values().try_for_each(check_bytes),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a JSON file says becomes the canonical form, bytes included.
    #[test]
    fn json_becomes_dag_cbor() {
        let value = serde_json::json!({ "b": [1, null, true], "a": { "/": { "bytes": "AQI" } } });
        check_bytes(&value).unwrap();
        assert_eq!(hex::encode(codec::encode(&Cbor(&value))), "a26161420102616283 01f6f5".replace(' ', ""));
        let wrong = serde_json::json!([{ "x": { "/": { "bytes": "?" } } }]);
        assert!(check_bytes(&wrong).is_err());
    }
}
