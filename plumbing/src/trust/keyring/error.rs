//! Why a key cannot be had or made, and what a person may do about it.

use objects::disk;
use std::fmt;
use std::path::PathBuf;

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
        why: Fault,
    },
    /// It is encrypted, and no passphrase was given.
    #[error("key {0} is protected by a passphrase")]
    Locked(String),
    /// The passphrase is wrong, or the file was changed.
    #[error("key {0} does not open with this passphrase")]
    Passphrase(String),
    /// It is encrypted by another tool, in a form that only that tool opens.
    #[error("{} is encrypted by {tool}, which has to open it first", path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// Who can open it.
        tool: Tool,
    },
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

/// What makes a file or folder unsafe to keep a secret in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The name is a link, whose target somebody else may exchange.
    Link,
    /// A folder, a pipe or a device.
    NotFile,
    /// Not a folder.
    NotFolder,
    /// Another user owns it.
    Owner,
    /// Its mode lets others at it.
    Mode,
    /// Others may put files into the folder.
    Writable,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Link => "it is a link",
            Fault::NotFile => "it is not a file",
            Fault::NotFolder => "it is not a folder",
            Fault::Owner => "it belongs to another user",
            Fault::Mode => "others may read it; its mode has to be 0600",
            Fault::Writable => "others may write in it",
        })
    }
}

/// A program that encrypts keys in a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `ssh-keygen`
    Ssh,
    /// `openssl`
    Openssl,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tool::Ssh => "ssh-keygen",
            Tool::Openssl => "openssl",
        })
    }
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Name(_) | Error::Malformed { .. } => "E-FORMAT",
            Error::Absent(_) => "E-NOTFOUND",
            Error::Exists(_) => "E-CONFLICT",
            Error::Unsafe { .. } | Error::Locked(_) | Error::Passphrase(_) | Error::Encrypted { .. } => {
                "E-KEYPERM"
            }
            Error::Random(_) => "E-IO",
            Error::Disk(error) => error.code(),
        }
    }

    /// What to try; None where the message says it all.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Error::Unsafe { why, .. } => match why {
                Fault::Mode | Fault::Writable => {
                    "a key must be readable by you alone: chmod 600 the file, chmod 700 its folder"
                }
                Fault::Link => "name the file that the link leads to",
                Fault::Owner => "work as the user who owns it, or make a copy of your own",
                Fault::NotFile | Fault::NotFolder => "move it out of the way",
            },
            Error::Locked(_) => {
                "run the command at a terminal, or name a file with the passphrase in PKG_PASSPHRASE_FILE"
            }
            Error::Passphrase(_) => {
                "look at PKG_PASSPHRASE and PKG_PASSPHRASE_FILE, or try again; if the passphrase is right, the \
                 file was changed: restore it from your backup"
            }
            Error::Encrypted { tool: Tool::Ssh, .. } => {
                "take the passphrase off a copy (ssh-keygen -p -N '' -f COPY), import that with --encrypt, and \
                 delete it"
            }
            Error::Encrypted { tool: Tool::Openssl, .. } => {
                "decrypt it into a copy (umask 077; openssl pkey -in FILE -out COPY), import that with --encrypt, \
                 and delete it"
            }
            Error::Absent(_) => "restore the file from your backup; a key cannot be made again",
            _ => return None,
        })
    }
}
