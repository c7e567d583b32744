//! The encrypted form of a key file.
//!
//! ```text
//! -----BEGIN PKG ENCRYPTED KEY-----
//! format: 1
//! kdf: argon2id
//! memory-kib: 65536
//! passes: 3
//! lanes: 4
//! salt: 32 hexadecimal digits
//! cipher: xchacha20-poly1305
//! nonce: 48 hexadecimal digits
//! data: 96 hexadecimal digits: the seed and the tag
//! -----END PKG ENCRYPTED KEY-----
//! ```
//!
//! The lines before `data` are authenticated with it, so nobody can weaken them unnoticed.
//!
//! Promises: one spelling, lines in this order; memory and passes are bounded before they are
//! spent. Follows RFC 9106 (its second recommended choice of parameters) and the XChaCha draft
//! (<https://datatracker.ietf.org/doc/html/draft-irtf-cfrg-xchacha>).

use super::Error;
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PKG ENCRYPTED KEY-----";
const END: &str = "-----END PKG ENCRYPTED KEY-----";
/// What new files are made with.
const COST: Cost = Cost { memory_kib: 64 << 10, passes: 3, lanes: 4 };
/// The most a file may ask for: a quarter of what a command may use, and a few seconds.
const COST_MAX: Cost = Cost { memory_kib: 128 << 10, passes: 16, lanes: 16 };

/// What the passphrase costs whoever guesses.
#[derive(Clone, Copy)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// A parsed file, still closed.
pub(super) struct Sealed {
    cost: Cost,
    salt: [u8; 16],
    nonce: [u8; 24],
    data: [u8; 48],
}

/// True if `text` claims to be the encrypted form.
pub(super) fn is_sealed(text: &str) -> bool {
    text.starts_with(BEGIN)
}

/// The encrypted form of `seed`.
pub(super) fn seal(seed: &[u8; 32], passphrase: &[u8]) -> Result<Zeroizing<String>, Error> {
    let mut sealed = Sealed { cost: COST, salt: [0; 16], nonce: [0; 24], data: [0; 48] };
    getrandom::fill(&mut sealed.salt).map_err(Error::Random)?;
    getrandom::fill(&mut sealed.nonce).map_err(Error::Random)?;
    let head = sealed.head();
    let payload = Payload { msg: seed, aad: head.as_bytes() };
    let cipher = sealed.cipher(passphrase).expect("our own parameters are in bounds");
    let data = cipher.encrypt(&XNonce::from(sealed.nonce), payload).expect("32 bytes can be encrypted");
    Ok(Zeroizing::new(format!("{head}data: {}\n{END}\n", hex::encode(data))))
}

impl Sealed {
    /// Reads a file; the reason if it is none.
    pub(super) fn parse(text: &str) -> Result<Sealed, &'static str> {
        const SHAPE: &str = "its lines are not those of an encrypted key";
        let body = text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(&format!("\n{END}\n")));
        let mut lines = body.and_then(|body| body.strip_prefix('\n')).ok_or(SHAPE)?.split('\n');
        let mut field = |name: &str| {
            let line = lines.next().and_then(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.strip_prefix(": ")).ok_or(SHAPE)
        };
        if field("format")? != "1" || field("kdf")? != "argon2id" {
            return Err("it needs a newer version");
        }
        let cost = Cost {
            memory_kib: number(field("memory-kib")?)?,
            passes: number(field("passes")?)?,
            lanes: number(field("lanes")?)?,
        };
        let salt = digits(field("salt")?)?;
        if field("cipher")? != "xchacha20-poly1305" {
            return Err("it needs a newer version");
        }
        let (nonce, data) = (digits(field("nonce")?)?, digits(field("data")?)?);
        if lines.next().is_some() {
            return Err(SHAPE);
        }
        if !cost.is_bounded() {
            return Err("it asks for more memory or time than a key may");
        }
        Ok(Sealed { cost, salt, nonce, data })
    }

    /// The seed, if the passphrase is right and no line was changed.
    pub(super) fn open(&self, passphrase: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
        let head = self.head();
        let payload = Payload { msg: &self.data, aad: head.as_bytes() };
        let opened = self.cipher(passphrase)?.decrypt(&XNonce::from(self.nonce), payload).ok()?;
        let opened = Zeroizing::new(opened);
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(opened.get(..32)?);
        Some(seed)
    }

    /// The lines before `data`.
    fn head(&self) -> String {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let (salt, nonce) = (hex::encode(self.salt), hex::encode(self.nonce));
        format!(
            "{BEGIN}\nformat: 1\nkdf: argon2id\nmemory-kib: {memory_kib}\npasses: {passes}\nlanes: {lanes}\n\
             salt: {salt}\ncipher: xchacha20-poly1305\nnonce: {nonce}\n"
        )
    }

    /// The cipher under the key that the passphrase gives; None for parameters nobody can meet.
    fn cipher(&self, passphrase: &[u8]) -> Option<XChaCha20Poly1305> {
        let Cost { memory_kib, passes, lanes } = self.cost;
        let params = Params::new(memory_kib, passes, lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0u8; 32]);
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2.hash_password_into(passphrase, &self.salt, key.as_mut()).ok()?;
        Some(XChaCha20Poly1305::new((&*key).into()))
    }
}

impl Cost {
    fn is_bounded(self) -> bool {
        self.memory_kib <= COST_MAX.memory_kib
            && self.passes <= COST_MAX.passes
            && self.lanes <= COST_MAX.lanes
    }
}

/// A number in its one spelling.
fn number(text: &str) -> Result<u32, &'static str> {
    let value: u32 = text.parse().map_err(|_| "a number in it is none")?;
    if value.to_string() == text { Ok(value) } else { Err("a number in it is oddly written") }
}

/// Bytes from lower-case hexadecimal digits.
fn digits<const N: usize>(text: &str) -> Result<[u8; N], &'static str> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| "it is cut or not in hexadecimal digits")?;
    if hex::encode(bytes) == text { Ok(bytes) } else { Err("its digits are not lower case") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that asks for a gibibyte, or an hour, is refused before either is spent.
    #[test]
    fn greedy_parameters_are_refused() {
        let sealed = seal(&[7; 32], b"open").expect("it seals");
        for (line, greedy) in [
            ("memory-kib: 65536", "memory-kib: 1048576"),
            ("passes: 3", "passes: 4000000000"),
            ("lanes: 4", "lanes: 17"),
        ] {
            let forged = sealed.replace(line, greedy);
            assert!(Sealed::parse(&forged).is_err(), "{greedy}");
        }
    }

    /// What is sealed opens, with this passphrase and no other; every changed line is noticed.
    #[test]
    fn a_changed_line_does_not_open() {
        let sealed = seal(&[7; 32], b"open").expect("it seals");
        let open = |text: &str, word: &[u8]| Sealed::parse(text).ok().and_then(|sealed| sealed.open(word));
        assert_eq!(open(&sealed, b"open").as_deref(), Some(&[7; 32]));
        assert!(open(&sealed, b"Open").is_none());
        assert!(open(&sealed.replace("passes: 3", "passes: 2"), b"open").is_none());
        assert!(open(&sealed.replace("lanes: 4", "lanes: 04"), b"open").is_none());
        assert!(open(&format!("{}\n", sealed.as_str()), b"open").is_none());
        assert!(open(&sealed.replace("data: ", "data: 00"), b"open").is_none());
    }
}
