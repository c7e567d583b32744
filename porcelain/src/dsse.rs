//! Statements as standard DSSE envelopes in JSON, for tools that know nothing of `pkg`.
//!
//! ```text
//! {"payload": base64, "payloadType": type, "signatures": [{"keyid": hex, "sig": base64}, …]}
//! ```
//!
//! Promises: payload, type and signatures are those of the statement, byte for byte, so that whoever checks
//! them over the encoding of DSSE finds what was signed; a key id is the public key in hexadecimal.
//! Leaves to others: whether the signers may say it. Nothing here is verified.
//!
//! Follows DSSE, version 1 (<https://github.com/secure-systems-lab/dsse/blob/v1.0.0/envelope.md>).

use crate::error::Error;
use crate::inspect::View;
use base64ct::{Base64, Encoding as _};
use objects::id::{ObjectId, Prefix, StatementId};
use objects::refs::RefName;
use objects::signed::Envelope;
use objects::spec::PackageSpec;
use serde::Serialize;

/// A DSSE envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dsse {
    /// The statement's bytes, in base64.
    pub payload: String,
    /// What kind of statement they are.
    pub payload_type: String,
    /// Who signed it.
    pub signatures: Vec<Signature>,
}

/// A signature of a DSSE envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// The public key, in hexadecimal.
    pub keyid: String,
    /// The 64 bytes, in base64.
    pub sig: String,
}

/// The statement that `text` names, as a DSSE envelope.
///
/// # Errors
/// `NotFound`, or `Ambiguous` for a prefix of several ids.
pub fn dsse(view: &View, text: &str) -> Result<Dsse, Error> {
    let id = statement(view, text)?;
    let envelope = view.repository().statements().try_find(id)?;
    Ok(export(&envelope.ok_or_else(|| not_found(text))?))
}

/// `envelope` in the form of DSSE.
pub fn export(envelope: &Envelope) -> Dsse {
    let signature = |(key, signature): (&[u8; 32], &[u8; 64])| Signature {
        keyid: hex::encode(key),
        sig: Base64::encode_string(signature),
    };
    Dsse {
        payload: Base64::encode_string(envelope.payload()),
        payload_type: envelope.kind().media_type().to_owned(),
        signatures: envelope.signatures().map(signature).collect(),
    }
}

/// What `text` names: an id or a prefix of one, a ref, or a package, whose release entry is meant.
fn statement(view: &View, text: &str) -> Result<StatementId, Error> {
    if let Ok(id) = text.parse::<ObjectId>() {
        return Ok(StatementId::new(id));
    }
    if let Ok(name) = text.parse::<RefName>()
        && let Some(id) = view.repository().refs().try_find(&name)?
    {
        return Ok(id);
    }
    if let Ok(prefix) = text.parse::<Prefix>()
        && let Some(id) = expanded(view, &prefix, text)?
    {
        return Ok(id);
    }
    let spec: PackageSpec = text.parse().map_err(|_| not_found(text))?;
    Ok(view.release(&spec)?.1.entry)
}

/// The one statement whose id begins so; None if there is none, for the text may be a package's name.
fn expanded(view: &View, prefix: &Prefix, text: &str) -> Result<Option<StatementId>, Error> {
    let mut ids = view.repository().statements().list()?;
    ids.retain(|id| prefix.matches(&id.object()));
    match ids.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(*only)),
        several => {
            let shown: Vec<String> = several.iter().take(8).map(ToString::to_string).collect();
            Err(Error::Ambiguous { what: text.to_owned(), candidates: shown.join(", ") })
        }
    }
}

fn not_found(text: &str) -> Error {
    Error::not_found(
        format!("a statement {text}"),
        "name one by its id, a ref (`pkg show-ref`) or a release (NAME@VERSION)",
    )
}
