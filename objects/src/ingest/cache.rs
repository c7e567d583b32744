//! The stat cache: a folder in which nothing has changed is not read again.
//!
//! ```text
//! "pkgstat2"  flags  tree (32)  SHA-256 (32)  size, files, archive size (u64)  rows  BLAKE3 of all before
//! row         the first 16 bytes of the BLAKE3 of a node
//! node        'd' path      'l' path, BLAKE3 of the target      'f' path, stamp (57)
//! path        length (u16), bytes                                            all little-endian
//! ```
//!
//! Rows are only ever compared, so a million files take 16 MB, whatever their paths.
//!
//! As git's index does, it believes that a file is what it was if size, times and inode are; a file that
//! was written so shortly before it was read that a second write could have gone unseen ("racily
//! clean") has a row that matches nothing.
//!
//! Promises: a cache that is lost, malformed or of another folder costs a full reading and nothing else.
//! Leaves to others: where caches are kept; whether the tree is still in the store ([`super`]).

use super::Ingested;
use crate::id::{ObjectId, TreeId};
use crate::release::Sha256;
use rustix::fs::Stat;

const MAGIC: &[u8; 8] = b"pkgstat2";
const HEAD_BYTES: usize = 8 + 1 + 32 + 32 + 3 * 8;
const STAMP_BYTES: usize = 57;
const ROW_BYTES: usize = 16;
/// Largest cache that is read, in bytes: two million files in as many folders.
pub const CACHE_BYTES_MAX: usize = 64 << 20;
/// File systems keep times in ticks of 4 to 10 ms; a file this much older than the reading was not
/// written in the same tick, in nanoseconds.
const TICK_NS: i128 = 20_000_000;

/// What tells whether a file is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub size: u64,
    pub executable: bool,
    device: u64,
    inode: u64,
    modified_ns: i128,
    changed_ns: i128,
}

impl Stamp {
    pub fn of(stat: &Stat) -> Stamp {
        let time = |seconds, nanos: u64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Stamp {
            size: stat.st_size as u64,
            executable: stat.st_mode & 0o100 != 0,
            device: stat.st_dev,
            inode: stat.st_ino,
            modified_ns: time(stat.st_mtime, stat.st_mtime_nsec),
            changed_ns: time(stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// True if a write after the reading, which was at `begun_ns` or later, would show in the times.
    pub fn is_settled(&self, begun_ns: i128) -> bool {
        self.modified_ns.max(self.changed_ns) < begun_ns - TICK_NS
    }

    fn put(&self, out: &mut Vec<u8>) {
        for number in [self.size, self.device, self.inode] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for time in [self.modified_ns, self.changed_ns] {
            out.extend_from_slice(&time.to_le_bytes());
        }
        out.push(u8::from(self.executable));
    }
}

fn row(kind: u8, path: &str, rest: &[u8], out: &mut Vec<u8>) {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    hasher.update(&(path.len().min(usize::from(u16::MAX)) as u16).to_le_bytes());
    hasher.update(path.as_bytes());
    hasher.update(rest);
    out.extend_from_slice(&hasher.finalize().as_bytes()[..ROW_BYTES]);
}

pub fn row_of_folder(path: &str, out: &mut Vec<u8>) {
    row(b'd', path, &[], out);
}

pub fn row_of_link(path: &str, target: &[u8], out: &mut Vec<u8>) {
    row(b'l', path, ObjectId::of(target).as_bytes(), out);
}

/// The row of a file; without a stamp one that matches no file.
pub fn row_of_file(path: &str, stamp: Option<&Stamp>, out: &mut Vec<u8>) {
    let mut bytes = Vec::with_capacity(STAMP_BYTES);
    match stamp {
        Some(stamp) => stamp.put(&mut bytes),
        None => bytes.extend_from_slice(&[0xFF; STAMP_BYTES]),
    }
    row(b'f', path, &bytes, out);
}

/// What a folder came to when it was read last.
pub struct Cache {
    bytes: Vec<u8>,
    pub allow_unportable: bool,
    pub outcome: Ingested,
}

impl Cache {
    /// The bytes of a cache.
    pub fn encode(outcome: &Ingested, allow_unportable: bool, rows: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + rows.len() + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.push(u8::from(allow_unportable) | u8::from(outcome.unportable) << 1);
        bytes.extend_from_slice(outcome.tree.object().as_bytes());
        bytes.extend_from_slice(&outcome.sha256.0);
        for number in [outcome.size, outcome.files, outcome.archive_size] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(rows);
        let sum = ObjectId::of(&bytes);
        bytes.extend_from_slice(sum.as_bytes());
        bytes
    }

    /// Reads a cache; None if it is malformed.
    pub fn decode(bytes: Vec<u8>) -> Option<Cache> {
        let (body, sum) = bytes.split_last_chunk::<32>()?;
        let (head, _) = body.split_first_chunk::<HEAD_BYTES>()?;
        if &head[..8] != MAGIC || ObjectId::of(body).as_bytes() != sum {
            return None;
        }
        let id = |at: usize| -> Option<[u8; 32]> { head.get(at..at + 32)?.try_into().ok() };
        let number = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?));
        let outcome = Ingested {
            tree: TreeId::new(ObjectId::from_bytes(id(9)?)),
            sha256: Sha256(id(41)?),
            size: number(73)?,
            files: number(81)?,
            archive_size: number(89)?,
            unportable: head[8] & 2 != 0,
        };
        Some(Cache { allow_unportable: head[8] & 1 != 0, outcome, bytes })
    }

    /// The rows, in the order of the walk.
    pub fn rows(&self) -> &[u8] {
        &self.bytes[HEAD_BYTES..self.bytes.len() - 32]
    }
}
