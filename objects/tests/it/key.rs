//! Keys and signatures against what others found out about ed25519.

use objects::key::PublicKey;
use serde_json::Value;
use std::path::Path;

fn vectors(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vectors").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn bytes<const N: usize>(case: &Value, field: &str) -> [u8; N] {
    let mut bytes = [0; N];
    hex::decode_to_slice(case[field].as_str().unwrap(), &mut bytes).unwrap();
    bytes
}

/// True if the key may enter a role and the signature under it holds.
fn accepted(key: [u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    PublicKey::from_bytes(key).is_ok_and(|key| key.verifies(message, signature))
}

/// SEC-043: of 914 keys and signatures with every mixture of small-order and non-canonical parts,
/// the one sound signature is accepted.
#[test]
fn exactly_one_of_the_cctv_vectors_is_accepted() {
    let cases = vectors("cctv-ed25519vectors.json");
    assert_eq!(cases.len(), 914);
    let good: Vec<&Value> = cases
        .iter()
        .filter(|case| {
            let message = case["msg"].as_str().unwrap().as_bytes();
            accepted(bytes(case, "key"), message, &bytes(case, "sig"))
        })
        .collect();
    assert_eq!(good.len(), 1, "{good:#?}");
    assert!(good[0]["flags"].is_null(), "the one without a flaw: {:#?}", good[0]);
}

/// SEC-043: none of the twelve cases on which implementations differ is accepted.
#[test]
fn none_of_the_speccheck_cases_is_accepted() {
    let cases = vectors("speccheck-cases.json");
    assert_eq!(cases.len(), 12);
    for case in &cases {
        let message = hex::decode(case["message"].as_str().unwrap()).unwrap();
        assert!(!accepted(bytes(case, "pub_key"), &message, &bytes(case, "signature")), "{case:#?}");
    }
}
