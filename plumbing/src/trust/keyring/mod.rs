//! Secret keys as files: one each, in a folder of their own.
//!
//! ```text
//! <folder>            0700
//!   <name>.key        0600   PKCS#8 PEM, as other tools write it, or the armour of `armour`
//! ```
//!
//! Promises: a key file is readable by its owner alone from its first moment, whatever the umask
//! (SEC-140); it is whole or absent, and never replaced; one that others could have read or put
//! there is refused. No secret appears in an error or a debug print, and memory that held one is
//! wiped.
//! Leaves to others: which identity a key belongs to, and asking a person for a passphrase.

mod armour;
mod files;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes};
use objects::disk;
use objects::key::SecretKey;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Longest name of a key, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How a key file's name ends.
const SUFFIX: &str = ".key";

/// Why a key cannot be had or made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name for a key.
    #[error("{0:?} is not a name for a key: up to 64 of a-z 0-9 . _ -, beginning with a letter or digit")]
    Name(String),
    /// There is no such key.
    #[error("there is no key {0}")]
    Absent(String),
    /// There is one already; keys are never replaced.
    #[error("there is a key {0} already")]
    Exists(String),
    /// Others could read it, or put another in its place.
    #[error("{} is not safe: {why}", path.display())]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("key {0} is protected by a passphrase")]
    Locked(String),
    /// The passphrase is wrong, or the file was changed.
    #[error("key {0} does not open with this passphrase")]
    Passphrase(String),
    /// It is no key file.
    #[error("{} is no key file: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it. Never a part of its content.
        why: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Name(_) | Error::Malformed { .. } => "E-FORMAT",
            Error::Absent(_) => "E-NOTFOUND",
            Error::Exists(_) => "E-CONFLICT",
            Error::Unsafe { .. } | Error::Locked(_) | Error::Passphrase(_) => "E-KEYPERM",
            Error::Random(_) => "E-IO",
            Error::Disk(error) => error.code(),
        }
    }
}

/// What a person types to open a key; wiped when dropped.
pub struct Passphrase(Zeroizing<String>);

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Passphrase(Zeroizing::new(text))
    }
}

impl fmt::Debug for Passphrase {
    /// Shows nothing of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// A folder of secret keys.
#[derive(Debug)]
pub struct Keyring {
    folder: PathBuf,
}

impl Keyring {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// `Unsafe` if it is another user's, or others may write in it.
    pub fn open(folder: &Path) -> Result<Keyring, Error> {
        files::make_folder(folder)?;
        files::check_folder(folder)?;
        Ok(Keyring { folder: folder.to_owned() })
    }

    /// Draws a new key and writes it, encrypted if there is a passphrase.
    ///
    /// # Errors
    /// `Name`; `Exists` if the name is taken, which leaves the old key as it was; `Unsafe`.
    pub fn create(&self, name: &str, passphrase: Option<&Passphrase>) -> Result<SecretKey, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(Error::Random)?;
        let key = SecretKey::from_seed(&seed);
        self.insert(name, &key, passphrase)?;
        Ok(key)
    }

    /// Writes a key that comes from elsewhere, encrypted if there is a passphrase.
    ///
    /// # Errors
    /// As [`Keyring::create`].
    pub fn insert(&self, name: &str, key: &SecretKey, passphrase: Option<&Passphrase>) -> Result<(), Error> {
        let path = self.path(name)?;
        files::check_folder(&self.folder)?;
        let seed = Zeroizing::new(key.seed());
        let text = match passphrase {
            Some(passphrase) => armour::seal(&seed, passphrase.0.as_bytes())?,
            None => plain(&seed),
        };
        match files::write_new(&path, text.as_bytes()) {
            Err(error) if error.source.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Error::Exists(name.to_owned()))
            }
            written => Ok(written?),
        }
    }

    /// The key `name`. `ask` is called once if it is encrypted.
    ///
    /// # Errors
    /// `Absent`; `Unsafe` if others may read the file or write in the folder, or another user owns
    /// it; `Locked` if `ask` gave nothing; `Passphrase` if it gave the wrong one; `Malformed`.
    pub fn load(&self, name: &str, ask: &mut dyn FnMut() -> Option<Passphrase>) -> Result<SecretKey, Error> {
        let path = self.path(name)?;
        files::check_folder(&self.folder)?;
        let text = files::read(&path)?.ok_or_else(|| Error::Absent(name.to_owned()))?;
        let malformed = |why| Error::Malformed { path: path.clone(), why };
        if !armour::is_sealed(&text) {
            let seed = unplain(&text).ok_or_else(|| malformed("it is not PKCS#8 PEM of an ed25519 key"))?;
            return Ok(SecretKey::from_seed(&seed));
        }
        let sealed = armour::Sealed::parse(&text).map_err(malformed)?;
        let passphrase = ask().ok_or_else(|| Error::Locked(name.to_owned()))?;
        let seed = sealed.open(passphrase.0.as_bytes());
        let seed = seed.ok_or_else(|| Error::Passphrase(name.to_owned()))?;
        Ok(SecretKey::from_seed(&seed))
    }

    /// The names of all keys, sorted.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn list(&self) -> Result<Vec<String>, Error> {
        let files = disk::list(&self.folder)?;
        let names = files.iter().filter_map(|file| file.strip_suffix(SUFFIX));
        Ok(names.filter(|name| is_name(name)).map(str::to_owned).collect())
    }

    fn path(&self, name: &str) -> Result<PathBuf, Error> {
        if !is_name(name) {
            return Err(Error::Name(name.chars().take(NAME_BYTES_MAX).collect()));
        }
        Ok(self.folder.join(format!("{name}{SUFFIX}")))
    }
}

fn is_name(name: &str) -> bool {
    let first = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = name.as_bytes();
    let inner = |b: &u8| first(*b) || matches!(b, b'.' | b'_' | b'-');
    bytes.len() <= NAME_BYTES_MAX && bytes.first().is_some_and(|b| first(*b)) && bytes.iter().all(inner)
}

/// PKCS#8 in its first version, without the public key: the form all tools read (RFC 8410).
fn plain(seed: &[u8; 32]) -> Zeroizing<String> {
    let pair = KeypairBytes { secret_key: *seed, public_key: None };
    pair.to_pkcs8_pem(LineEnding::LF).expect("32 bytes fit into PKCS#8")
}

fn unplain(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let pair = KeypairBytes::from_pkcs8_pem(text).ok()?;
    let seed = Zeroizing::new(pair.secret_key);
    let stated = pair.public_key.as_ref().map(|key| key.to_bytes());
    let derived = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes();
    stated.is_none_or(|stated| stated == derived).then_some(seed)
}
