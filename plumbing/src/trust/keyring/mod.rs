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
//! wiped. Before the first secret is read, the process is shielded from its neighbours (SEC-141).
//! Leaves to others: which identity a key belongs to, and asking a person for a passphrase.

mod armour;
mod error;
mod files;
mod openssh;
mod shield;

pub use error::{Error, Fault, Tool};
pub use shield::shield;

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

/// What a person types to open a key; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(Zeroizing<String>);

impl From<String> for Passphrase {
    fn from(text: String) -> Self {
        Passphrase(Zeroizing::new(text))
    }
}

impl Passphrase {
    /// Reads the first line of a file, which waits if it is a pipe.
    ///
    /// # Errors
    /// `Unsafe` if others may read the file.
    pub fn read(path: &Path) -> Result<Passphrase, Error> {
        shield();
        Ok(Passphrase(files::read_passphrase(path)?))
    }

    /// True if nothing was typed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
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
        shield();
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
        let text = match passphrase {
            Some(passphrase) => armour::seal(key.seed(), passphrase.0.as_bytes())?,
            None => plain(key.seed()),
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
        opened(&path, &text, name, ask)
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

/// The key in a file of any form known here: PKCS#8 PEM, the armour of this keyring, or what `ssh-keygen`
/// writes. The file and its folder have to be as safe as those of a keyring. `ask` is called once if the key
/// is encrypted.
///
/// # Errors
/// As [`Keyring::load`]; `Encrypted` if another tool has to open it first.
pub fn read_key(path: &Path, ask: &mut dyn FnMut() -> Option<Passphrase>) -> Result<SecretKey, Error> {
    shield();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    files::check_folder(folder.unwrap_or(Path::new(".")))?;
    let shown = path.display().to_string();
    let text = files::read(path)?.ok_or_else(|| Error::Absent(shown.clone()))?;
    let encrypted = |tool| Error::Encrypted { path: path.to_owned(), tool };
    if text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return Err(encrypted(Tool::Openssl));
    }
    if !openssh::is_openssh(&text) {
        return opened(path, &text, &shown, ask);
    }
    openssh::parse(&text).map_err(|refused| match refused {
        openssh::Refused::Encrypted => encrypted(Tool::Ssh),
        openssh::Refused::Because(why) => Error::Malformed { path: path.to_owned(), why },
    })
}

/// The key in `text`, which is PKCS#8 PEM or the armour.
fn opened(
    path: &Path,
    text: &str,
    name: &str,
    ask: &mut dyn FnMut() -> Option<Passphrase>,
) -> Result<SecretKey, Error> {
    let malformed = |why| Error::Malformed { path: path.to_owned(), why };
    if !armour::is_sealed(text) {
        let seed = unplain(text).ok_or_else(|| malformed("it is not PKCS#8 PEM of an ed25519 key"))?;
        return Ok(SecretKey::from_seed(&seed));
    }
    let sealed = armour::Sealed::parse(text).map_err(malformed)?;
    let passphrase = ask().ok_or_else(|| Error::Locked(name.to_owned()))?;
    let seed = sealed.open(passphrase.0.as_bytes());
    let seed = seed.ok_or_else(|| Error::Passphrase(name.to_owned()))?;
    Ok(SecretKey::from_seed(&seed))
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
