//! Signatures of a statement against the keys of a role: which count, and how often.

use objects::codec;
use objects::identity::{Identity, Role};
use objects::key::{SecretKey, Signer as _};
use objects::signed::{Error, Kind, Signed, pae};
use objects::time::Timestamp;
use serde_bytes::ByteBuf;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

fn role(seeds: &[u8], threshold: u32) -> Role {
    Role::new(seeds.iter().map(|seed| key(*seed).public()).collect(), threshold).unwrap()
}

fn document(name: &str) -> Identity {
    Identity::found(Some(name.to_owned()), &role(&[1], 1), Timestamp::new(1_800_000_000).unwrap())
}

/// A row of an envelope: a public key, and bytes that claim to be a signature by it.
type Row = ([u8; 32], [u8; 64]);

fn row(seed: u8, media_type: &str, payload: &[u8]) -> Row {
    (*key(seed).public().as_bytes(), key(seed).sign(&pae(media_type, payload)))
}

fn envelope(media_type: &str, payload: &[u8], rows: &[Row]) -> Vec<u8> {
    let rows: Vec<_> =
        rows.iter().map(|(key, signature)| (ByteBuf::from(*key), ByteBuf::from(*signature))).collect();
    codec::encode(&("envelope/1", media_type, ByteBuf::from(payload), rows))
}

/// How many distinct keys of the role count, if the statement is refused; None if it holds.
fn counted(rows: &[Row], role: &Role) -> Option<usize> {
    let payload = codec::encode(&document("ada"));
    let bytes = envelope(Kind::Identity.media_type(), &payload, rows);
    match Signed::<Identity>::decode(&bytes).unwrap().verify(role, "release") {
        Ok(_) => None,
        Err(error @ Error::Threshold { valid, .. }) => {
            assert_eq!(error.code(), "E-SIG");
            assert!(error.to_string().contains("role release"), "{error}");
            Some(valid)
        }
        Err(error) => panic!("{error}"),
    }
}

/// SEC-040, SEC-041, SEC-042: none, random ones, of another document or kind, by strangers, or one key's in any
/// number and spelling: none of it comes to a threshold of two.
#[test]
fn signatures_count_once_for_each_key_of_the_role() {
    let identity = Kind::Identity.media_type();
    let payload = codec::encode(&document("ada"));
    let by = |seed| row(seed, identity, &payload);
    let other = codec::encode(&document("eve"));
    let [first, second] = [2, 3].map(by);
    let mut high = first; // the sign of x turned over: another point, so another key
    high.0[31] ^= 0x80;
    let mut long = first; // S and the group order: the same number to a careless reader
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0u16;
    for (byte, add) in long.1[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry as u8;
        carry >>= 8;
    }
    let two = role(&[2, 3], 2);
    let cases: [(&str, Vec<Row>, Option<usize>); 14] = [
        ("none", vec![], Some(0)),
        ("random", vec![(first.0, [7; 64]), (second.0, [9; 64])], Some(0)),
        ("of another document", vec![row(2, identity, &other), row(3, identity, &other)], Some(0)),
        ("of another kind", [2, 3].map(|s| row(s, Kind::Note.media_type(), &payload)).to_vec(), Some(0)),
        ("of strangers", vec![by(8), by(9)], Some(0)),
        ("one, and a stranger", vec![first, by(9)], Some(1)),
        ("one listed twice", vec![first, first], Some(1)),
        ("one listed sixteen times", vec![first; 16], Some(1)),
        ("one under another's name", vec![first, (second.0, first.1)], Some(1)),
        ("exchanged", vec![(first.0, second.1), (second.0, first.1)], Some(0)),
        ("one key in another spelling", vec![first, high], Some(1)),
        ("one signature in another spelling", vec![first, long], Some(1)),
        ("another spelling alone", vec![long, second], Some(1)),
        ("two", vec![first, second], None),
    ];
    for (name, rows, expected) in cases {
        assert_eq!(counted(&rows, &two), expected, "{name}");
    }
    assert_eq!(counted(&[by(9), first, first, second], &two), None, "what does not count does no harm");
}

/// SEC-042: a role whose list of keys counts one key twice cannot be written down.
#[test]
fn a_role_has_each_key_once() {
    let public = |seed| key(seed).public();
    assert!(Role::new(vec![public(1), public(1)], 2).is_err());
    assert!(Role::new(vec![public(1), public(2)], 3).is_err());
    assert!(Role::new(vec![public(1)], 0).is_err());
    // as it arrives: doubled, out of order, or in another spelling, which is no key
    let mut keys = [2, 3].map(|seed| *public(seed).as_bytes());
    keys.sort();
    let mut bent = [0xff; 32];
    (bent[0], bent[31]) = (0xee, 0x7f);
    let mut good = document("ada");
    good.roles.release = role(&[2, 3], 2);
    let payload = codec::encode(&good);
    let at = keys.map(|key| payload.windows(32).position(|bytes| bytes == key).unwrap());
    let arrives = |keys: [[u8; 32]; 2]| {
        let mut payload = payload.clone();
        at.iter().zip(keys).for_each(|(at, key)| payload[*at..*at + 32].copy_from_slice(&key));
        let media_type = Kind::Identity.media_type();
        let bytes = envelope(media_type, &payload, &[row(1, media_type, &payload)]);
        Signed::<Identity>::decode(&bytes).unwrap().verify(&role(&[1], 1), "root").map(drop)
    };
    arrives(keys).unwrap();
    for bad in [[keys[0], keys[0]], [keys[1], keys[0]], [keys[0], bent]] {
        assert_eq!(arrives(bad).unwrap_err().code(), "E-FORMAT");
    }
}
