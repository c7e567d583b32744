//! The transports: one suite a trait over every implementation, then what each alone must withstand.

mod bare;
mod folder;
mod pipe;
mod suite;
mod wire;

#[cfg(feature = "net")]
mod host;
#[cfg(feature = "net")]
mod peer;
#[cfg(feature = "net")]
mod rogue;
#[cfg(feature = "net")]
mod web;

use plumbing::transport::Key;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// Bytes that repeat nowhere soon.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
