//! Bytes that were good once: how an input is bent so that it comes far into a decoder.
//!
//! Promises: the same seed and inputs give the same bytes. Leaves to others: what has a checksum,
//! which a target of [`super::fuzz`] makes right again before it decodes.

use super::{Damage, Random};

/// Longest input made here, in bytes.
pub const INPUT_BYTES_MAX: usize = 64 << 10;
/// Most changes of one input.
const CHANGES_MAX: u64 = 4;
/// First bytes of CBOR items, ends of ranges, signs that texts are cut at.
const TELLING: [u8; 32] = [
    0x00, 0x01, 0x17, 0x18, 0x1b, 0x20, 0x40, 0x58, 0x5b, 0x60, 0x7f, 0x80, 0x81, 0x82, 0x84, 0x9b, 0x9f,
    0xa0, 0xbb, 0xbf, 0xd8, 0xf6, 0xfb, 0xff, b'\n', b'\t', b' ', b'/', b'.', b'~', b'"', b'[',
];
/// Numbers at which sums, products and casts go wrong.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX - 1,
    u64::MAX,
];

/// One of `inputs`, changed in one to four places.
pub fn mutated(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.pick(inputs).clone();
    for _ in 0..=random.below(CHANGES_MAX) {
        bytes = changed(random, bytes, inputs);
    }
    bytes.truncate(INPUT_BYTES_MAX);
    bytes
}

fn changed(random: &mut Random, bytes: Vec<u8>, inputs: &[Vec<u8>]) -> Vec<u8> {
    if bytes.is_empty() {
        return inserted(random, bytes, |random| random.bytes(8));
    }
    match random.below(12) {
        0 | 1 => Damage::flip(random, bytes.len()).of(&bytes).unwrap_or_default(),
        2 => Damage::Cut { len: random.below(bytes.len() as u64) as usize }.of(&bytes).unwrap_or_default(),
        3 => overwritten(random, bytes, |random| vec![*random.pick(&TELLING)]),
        4 => overwritten(random, bytes, little_endian),
        5 => overwritten(random, bytes, cbor_head),
        6 => inserted(random, bytes, cbor_head),
        7 => inserted(random, bytes, |random| vec![*random.pick(&TELLING)]),
        8 => {
            let again = stretch(random, &bytes);
            inserted(random, bytes, |_| again)
        }
        9 => without_a_stretch(random, bytes),
        10 => spliced(random, &bytes, inputs),
        _ => with_another_number(random, bytes),
    }
}

/// The first bytes of a CBOR item that says to be long.
fn cbor_head(random: &mut Random) -> Vec<u8> {
    let major = (random.below(6) as u8) << 5;
    let number = *random.pick(&NUMBERS);
    match random.below(3) {
        0 => vec![major | 24, number as u8],
        1 => [&[major | 26][..], &(number as u32).to_be_bytes()].concat(),
        _ => [&[major | 27][..], &number.to_be_bytes()].concat(),
    }
}

fn little_endian(random: &mut Random) -> Vec<u8> {
    let number = *random.pick(&NUMBERS);
    match random.below(2) {
        0 => (number as u32).to_le_bytes().to_vec(),
        _ => number.to_le_bytes().to_vec(),
    }
}

fn overwritten(random: &mut Random, mut bytes: Vec<u8>, with: fn(&mut Random) -> Vec<u8>) -> Vec<u8> {
    let at = random.below(bytes.len() as u64) as usize;
    let new = with(random);
    let end = bytes.len().min(at + new.len());
    bytes.splice(at..end, new);
    bytes
}

fn inserted(random: &mut Random, mut bytes: Vec<u8>, new: impl FnOnce(&mut Random) -> Vec<u8>) -> Vec<u8> {
    let at = random.below(bytes.len() as u64 + 1) as usize;
    let new = new(random);
    bytes.splice(at..at, new);
    bytes
}

fn without_a_stretch(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let (start, end) = ends(random, bytes.len());
    bytes.drain(start..end);
    bytes
}

fn stretch(random: &mut Random, bytes: &[u8]) -> Vec<u8> {
    let (start, end) = ends(random, bytes.len());
    bytes[start..end].to_vec()
}

fn ends(random: &mut Random, len: usize) -> (usize, usize) {
    let start = random.below(len as u64) as usize;
    let most = (len - start).min(1 + random.below(64) as usize);
    (start, start + most)
}

/// The beginning of one input and the end of another.
fn spliced(random: &mut Random, bytes: &[u8], inputs: &[Vec<u8>]) -> Vec<u8> {
    let other = random.pick(inputs);
    let cut = |random: &mut Random, len: usize| random.below(len as u64 + 1) as usize;
    let (to, from) = (cut(random, bytes.len()), cut(random, other.len()));
    [&bytes[..to], &other[from..]].concat()
}

/// Another number in the place of one that stands there in digits; if none does, the end is lost.
fn with_another_number(random: &mut Random, mut bytes: Vec<u8>) -> Vec<u8> {
    let from = random.below(bytes.len() as u64) as usize;
    let Some(start) = (from..bytes.len()).find(|at| bytes[*at].is_ascii_digit()) else {
        bytes.truncate(from);
        return bytes;
    };
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = random.pick(&NUMBERS).to_string();
    bytes.splice(start..start + digits, number.into_bytes());
    bytes
}
