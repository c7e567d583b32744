//! What goes over a wire: four requests, seven kinds of answer.
//!
//! ```text
//! message   length (u32 little-endian) ‖ DAG-CBOR
//! frame     a message that describes a frame, followed by the frame's stored bytes
//! ```
//!
//! Participants: a client that asks, a server that answers one request per exchange. Goals: every
//! request stands by itself, so any of them may be repeated on any connection. Non-goals: sessions,
//! and trust in anything that is said.
//!
//! Promises: bounds before anything is allocated.

use super::Error;
use objects::codec;
use objects::id::{StatementId, TreeId};
use objects::store::pack::table::Frame;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use std::io::{self, Read, Write};

/// Longest message, in bytes. A frame's stored bytes follow it and do not count.
pub const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Most trees a client names as already had.
pub const HAVES_MAX: usize = 64;
/// Most ranges of chunk numbers in one request.
pub const RANGES_MAX: usize = 65_536;
/// Most statements in one request.
pub const STATEMENTS_MAX: usize = 4_096;
/// Longest chain of statements sent for one that was asked for.
pub const CHAIN_MAX: u32 = 1_024;

/// The delta method this version knows: a zstd frame with a prefix of what the receiver has.
pub const DELTA_PREFIX: &str = "zstd-prefix/1";

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// The summary.
    Advertise {},
    /// Statements, and a tree with all below it but what is in `haves`.
    Want(Want),
    /// Chunks of a tree by their numbers, in the order [`objects::walk::closure`] meets them.
    Chunks(Chunks),
    /// Statements and objects follow, to be taken into the repository under its policy.
    Push(Push),
}

impl Request {
    /// The word logs use.
    pub fn word(&self) -> &'static str {
        match self {
            Request::Advertise {} => "advertise",
            Request::Want(_) => "want",
            Request::Chunks(_) => "chunks",
            Request::Push(_) => "push",
        }
    }
}

/// See [`Request::Want`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Want {
    /// Statements, each with up to so many before it in its chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<(StatementId, u32)>,
    /// The tree: of a release, or of an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeId>,
    /// Trees the client has completely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub haves: Vec<TreeId>,
    /// The delta methods the client can undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<String>,
}

/// See [`Request::Chunks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunks {
    /// The tree whose chunks are numbered.
    pub tree: TreeId,
    /// First number and count, each.
    pub ranges: Vec<(u64, u64)>,
    /// Unpacked bytes of a frame, about: what a connection that keeps breaking loses each time.
    pub frame_bytes: u64,
    /// Trees the client has completely.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub haves: Vec<TreeId>,
    /// The delta methods the client can undo.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<String>,
}

/// See [`Request::Push`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The summary the repository is to have.
    pub summary: ByteBuf,
}

/// What a server answers, and what follows a push.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// The summary.
    Summary(ByteBuf),
    /// One statement in its envelope.
    Statement(ByteBuf),
    /// The trees and blobs of the tree with this id follow, parents first.
    Tree(TreeId),
    /// A frame; its stored bytes follow.
    Frame(Frame),
    /// All that was asked for and is here was sent.
    Done {},
    /// What was pushed is held, until somebody decides.
    Held {
        /// What it is called there.
        id: String,
    },
    /// The server will not.
    Refused {
        /// A code of the list.
        code: String,
        /// Why, for people.
        message: String,
    },
}

/// Writes a message.
///
/// # Errors
/// Those of the writer.
pub fn write<T: Serialize>(out: &mut dyn Write, message: &T) -> io::Result<()> {
    let bytes = codec::encode(message);
    out.write_all(&(bytes.len() as u32).to_le_bytes())?;
    out.write_all(&bytes)
}

/// Writes a frame: its description, then its stored bytes.
///
/// # Errors
/// Those of the writer.
pub fn write_frame(out: &mut dyn Write, frame: &Frame, stored: &[u8]) -> io::Result<()> {
    write(out, &Answer::Frame(frame.clone()))?;
    out.write_all(stored)
}

/// Reads a message; None at a clean end.
///
/// # Errors
/// `Malformed` beyond the bounds or in another form; `Transport` if the stream fails.
pub fn read<T: Serialize + DeserializeOwned>(from: &str, input: &mut dyn Read) -> Result<Option<T>, Error> {
    let mut length = [0; 4];
    match input.read(&mut length[..1]) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(error) => return Err(broken(from, error)),
    }
    input.read_exact(&mut length[1..]).map_err(|error| broken(from, error))?;
    let length = u32::from_le_bytes(length) as usize;
    let bytes = read_bytes(from, input, length, MESSAGE_BYTES_MAX)?;
    codec::decode("message", &bytes, MESSAGE_BYTES_MAX).map(Some).map_err(|error| malformed(from, error))
}

/// Reads exactly `length` bytes, which must not be more than `bytes_max`.
///
/// # Errors
/// `Malformed` for more, before they are read; `Transport` if the stream fails or ends early.
pub fn read_bytes(
    from: &str,
    input: &mut dyn Read,
    length: usize,
    bytes_max: usize,
) -> Result<Vec<u8>, Error> {
    if length > bytes_max {
        return Err(malformed(from, format_args!("{length} bytes announced, more than {bytes_max}")));
    }
    let mut bytes = Vec::new();
    input.take(length as u64).read_to_end(&mut bytes).map_err(|error| broken(from, error))?;
    if bytes.len() < length {
        return Err(broken(from, io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(bytes)
}

pub(super) fn malformed(from: &str, reason: impl ToString) -> Error {
    Error::Malformed { from: from.to_owned(), reason: reason.to_string() }
}

pub(super) fn broken(from: &str, error: io::Error) -> Error {
    Error::Transport(crate::transport::Error::from_read(from, error))
}
