//! The form in which `ssh-keygen -t ed25519` writes a key that has no passphrase.
//!
//! ```text
//! -----BEGIN OPENSSH PRIVATE KEY-----
//! base64 in lines of 70 digits, the last one shorter, of:
//!   "openssh-key-v1\0"  string cipher  string kdf  string kdf options  u32 number of keys
//!   string public   = string "ssh-ed25519"  string public key (32)
//!   string private  = u32 check  u32 check  string "ssh-ed25519"  string public key (32)
//!                     string seed and public key (64)  string comment  1 2 3 … to a multiple of 8
//! -----END OPENSSH PRIVATE KEY-----
//! string = u32 length, big-endian, and so many bytes
//! ```
//!
//! Promises: one key, all three copies of its public half the one that the seed gives, nothing behind it;
//! copies of the secret are wiped.
//! Leaves to others: keys under a passphrase, which have a cipher and are named as such.
//!
//! Follows OpenSSH's `PROTOCOL.key`.

use base64ct::{Base64, Encoding as _};
use objects::key::{Error as KeyError, PublicKey, SecretKey, Signer as _};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\n";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
/// Digits of a line.
const LINE: usize = 70;
const MAGIC: &[u8] = b"openssh-key-v1\0";
const ED25519: &[u8] = b"ssh-ed25519";
/// What the private half is padded to where no cipher asks for more.
const BLOCK: usize = 8;

/// Why a file gives no key.
pub(super) enum Refused {
    /// It has a passphrase.
    Encrypted,
    /// It is malformed, or holds a key of another kind.
    Because(&'static str),
}

const CUT: Refused = Refused::Because("it is cut short");

/// True if `text` claims to be of this form.
pub(super) fn is_openssh(text: &str) -> bool {
    text.starts_with(BEGIN.trim_end())
}

/// The key in `text`.
pub(super) fn parse(text: &str) -> Result<SecretKey, Refused> {
    parse_body(&unwrapped(text).ok_or(Refused::Because("its lines are not those of an OpenSSH key"))?)
}

/// The bytes between the two lines of dashes.
fn unwrapped(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let body = text.strip_prefix(BEGIN)?.strip_suffix(END)?.strip_suffix('\n')?;
    // Reserved at once: a buffer that grew would leave copies of the secret behind.
    let mut digits = Zeroizing::new(String::with_capacity(body.len()));
    let mut lines = body.split('\n').peekable();
    while let Some(line) = lines.next() {
        let fits = if lines.peek().is_some() { line.len() == LINE } else { (1..=LINE).contains(&line.len()) };
        if !fits {
            return None;
        }
        digits.push_str(line);
    }
    let mut bytes = Zeroizing::new(vec![0; digits.len()]);
    let length = Base64::decode(digits.as_bytes(), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// The key in the bytes that the base64 stands for.
fn parse_body(body: &[u8]) -> Result<SecretKey, Refused> {
    let mut outer = Reader(body);
    if outer.take(MAGIC.len())? != MAGIC {
        return Err(Refused::Because("it is of another version than openssh-key-v1"));
    }
    let (cipher, kdf, options) = (outer.string()?, outer.string()?, outer.string()?);
    if cipher != b"none" || kdf != b"none" {
        return Err(Refused::Encrypted);
    }
    if !options.is_empty() || outer.number()? != 1 {
        return Err(Refused::Because("it does not hold one key"));
    }
    let mut public = Reader(outer.string()?);
    let mut private = Reader(outer.string()?);
    outer.end()?;
    if !private.0.len().is_multiple_of(BLOCK) {
        return Err(Refused::Because("its private half is not padded"));
    }
    let stated = public.key()?;
    public.end()?;
    let checked = PublicKey::from_bytes(stated).map_err(|error| match error {
        KeyError::Weak => Refused::Because("its public key is weak: it has a small-order component"),
        KeyError::Encoding => Refused::Because("its public key is no point of the curve"),
    })?;
    let key = private.pair()?;
    if key.public() != checked {
        return Err(Refused::Because("its public key is not that of its secret key"));
    }
    Ok(key)
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u32, Refused> {
        let bytes = self.take(4)?.try_into().expect("four bytes were taken");
        Ok(u32::from_be_bytes(bytes))
    }

    fn string(&mut self) -> Result<&'a [u8], Refused> {
        let length = self.number()?;
        self.take(usize::try_from(length).map_err(|_| CUT)?)
    }

    fn end(&self) -> Result<(), Refused> {
        if self.0.is_empty() { Ok(()) } else { Err(Refused::Because("there is something behind the key")) }
    }

    /// The kind and the public half.
    fn key(&mut self) -> Result<[u8; 32], Refused> {
        if self.string()? != ED25519 {
            return Err(Refused::Because("it is not an ed25519 key"));
        }
        self.string()?.try_into().map_err(|_| Refused::Because("its public key is not 32 bytes long"))
    }

    /// The private half, whose own copies of the public one have to be that of the seed.
    fn pair(&mut self) -> Result<SecretKey, Refused> {
        if self.number()? != self.number()? {
            return Err(Refused::Because("its two check numbers differ"));
        }
        let stated = self.key()?;
        let pair = self.string()?;
        let _comment = self.string()?;
        let padding = self.0;
        if padding.len() >= BLOCK || !padding.iter().copied().eq(1..=padding.len() as u8) {
            return Err(Refused::Because("its padding is not 1 2 3 …"));
        }
        let (seed, public) = pair.split_at_checked(32).ok_or(CUT)?;
        let seed = seed.try_into().expect("32 bytes were taken");
        let key = SecretKey::from_seed(seed);
        if public != stated || key.public().as_bytes() != &stated {
            return Err(Refused::Because("its public key is not that of its secret key"));
        }
        Ok(key)
    }
}
