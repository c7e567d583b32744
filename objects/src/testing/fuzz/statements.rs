//! Statements: the envelope, and the payload of each kind behind a signature that holds.

use super::same;
use crate::claim::{Beacon, Index};
use crate::codec;
use crate::id::IdentityId;
use crate::identity::{Chain, Identity, Role};
use crate::key::{SecretKey, Signer};
use crate::limits::{SIGNATURES_MAX, STATEMENT_BYTES_MAX};
use crate::release::Entry;
use crate::signed::{Document, Envelope, Signed};

/// An envelope: one spelling; nobody signed what somebody made up.
pub fn envelope(data: &[u8]) -> bool {
    let Ok(envelope) = Envelope::decode(data) else { return false };
    same("envelope", &envelope.encode(), data);
    assert!(envelope.payload().len() <= STATEMENT_BYTES_MAX);
    assert!(envelope.signatures().count() <= SIGNATURES_MAX);
    let kinds = [
        judged::<Identity>(&envelope),
        judged::<Entry>(&envelope),
        judged::<Index>(&envelope),
        judged::<Beacon>(&envelope),
    ];
    assert!(kinds.into_iter().filter(|is_kind| *is_kind).count() <= 1, "a statement is of two kinds");
    true
}

/// Judges an envelope as a `T`, by a role that its signers are not in; true if it is of that kind.
fn judged<T: Document>(envelope: &Envelope) -> bool {
    let Ok(signed) = envelope.clone().typed::<T>() else { return false };
    assert!(signed.verify(&role(), "release").is_err(), "a key that never signed has signed");
    let _ = signed.parse();
    true
}

/// The payload of an identity's document; as the first of a chain, too.
pub fn identity(data: &[u8]) -> bool {
    let Some(signed) = payload::<Identity>(data) else { return false };
    let id = IdentityId::new(signed.id().object());
    if let Ok(mut chain) = Chain::begin(id, &signed) {
        assert!(chain.extend(&signed).is_err(), "a document follows itself");
    }
    true
}

/// The payload of an entry.
pub fn entry(data: &[u8]) -> bool {
    payload::<Entry>(data).is_some()
}

/// The payload of an index statement.
pub fn index_statement(data: &[u8]) -> bool {
    payload::<Index>(data).is_some()
}

/// The payload of a beacon.
pub fn beacon(data: &[u8]) -> bool {
    payload::<Beacon>(data).is_some()
}

/// Reads a payload; what is taken can be signed, and is then believed by those who know the key.
fn payload<T: Document>(data: &[u8]) -> Option<Signed<T>> {
    let _ = codec::peek::<T>(data);
    let document: T = codec::decode(T::KIND.word(), data, STATEMENT_BYTES_MAX).ok()?;
    document.check().ok()?;
    same("payload", &codec::encode(&document), data);
    let signed = Signed::sign(&document, &[&key()]).expect("it is within its bounds");
    let again = Signed::<T>::decode(&signed.envelope().encode()).expect("it was just written");
    assert_eq!(again.id(), signed.id());
    assert!(again.verify(&role(), "all").is_ok(), "the one key of the role has signed it");
    Some(signed)
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[0xf5; 32])
}

fn role() -> Role {
    Role::new(vec![key().public()], 1).expect("one key can meet a threshold of one")
}
