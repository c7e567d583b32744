//! Tar archives: ustar, GNU and pax, and the old form before them.
//!
//! Promises: extension headers cost bounded memory, whatever they declare; a pax header that
//! readers could take in different ways is refused; behind the end there are only zeros.

use std::cell::Cell;
use std::io::{self, Read};

use ::tar::{Archive, Entry, EntryType, Header};

use super::super::Limits;
use super::super::error::{At, Fault, Reason};
use super::super::root::{Exec, Kind, Member};

/// Bytes of headers, long names and padding before one entry, and of zeros behind the last.
const BETWEEN_BYTES_MAX: u64 = 1 << 20;
/// The same for the whole archive, for each entry that is allowed.
const BETWEEN_BYTES_EACH: u64 = 4096;

/// What eleven octal digits can say: 8 GiB less one byte.
const PLAIN_SIZE_MAX: u64 = 0o777_7777_7777;

/// How one knows that a stream is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// By the block of zeros at the end of the archive.
    Marked,
    /// By something around the archive. Many writers leave the zeros out then.
    Known,
}

/// Whether this is the first block of an archive: headers carry a checksum of themselves.
pub(super) fn is_header(block: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(block) else {
        return false;
    };
    let header = Header::from_byte_slice(block);
    let summed = block[..148].iter().chain(&block[156..]).map(|&byte| u32::from(byte)).sum::<u32>() + 8 * 32;
    header.cksum().is_ok_and(|stated| stated == summed)
}

/// Yields every entry to `take`.
pub(super) fn walk(
    stream: &mut dyn Read,
    ending: Ending,
    limits: &Limits,
    take: &mut dyn FnMut(Member<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let gauge = Gauge::new(limits);
    let mut archive = Archive::new(Gauged { stream, gauge: &gauge });
    let mut number = 0;
    let mut entries = archive.entries().map_err(Reason::reading)?;
    loop {
        gauge.between_entries();
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|error| gauge.explain(error))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if let Some(kind) = kind(&mut entry).map_err(|reason| gauge.correct(reason)).at(&name)? {
            std::str::from_utf8(&entry.path_bytes()).map_err(|_| Reason::Path("is not UTF-8")).at(&name)?;
            number += 1;
            gauge.in_entry();
            take(Member { number, name: &name, kind, content: &mut entry })?;
        }
    }
    let is_cut = gauge.ended.get() && ending == Ending::Marked;
    if is_cut {
        return Err(Reason::format("it is cut short: the end of the archive is missing").into());
    }
    gauge.between_entries();
    only_zeros(&mut archive.into_inner()).map_err(|reason| gauge.correct(reason).into())
}

/// What an entry is to become; nothing for a header that concerns all entries.
fn kind(entry: &mut Entry<'_, impl Read>) -> Result<Option<Kind>, Reason> {
    check_pax(entry)?;
    let (stated, size) = (entry.header().entry_type(), entry.size());
    let kind = match stated {
        EntryType::XGlobalHeader => return Ok(None),
        // Before there was a type for them, folders were files with a slash behind.
        EntryType::Regular if entry.path_bytes().ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            let mode = entry.header().mode().map_err(Reason::reading)?;
            return Ok(Some(Kind::File { exec: Exec::of(mode), size }));
        }
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Link { target: target(entry)? },
        EntryType::Link => Kind::Copy { of: target(entry)? },
        EntryType::Char | EntryType::Block => return Err(Reason::Kind("device")),
        EntryType::Fifo => return Err(Reason::Kind("fifo")),
        other => {
            let letter = char::from(other.as_byte()).escape_default();
            return Err(Reason::format(format!("it is of the unknown kind `{letter}`")));
        }
    };
    if size != 0 {
        return Err(Reason::format("it is no file and yet has content"));
    }
    Ok(Some(kind))
}

fn target(entry: &Entry<'_, impl Read>) -> Result<String, Reason> {
    let target = entry.link_name_bytes().ok_or(Reason::format("it is a link to nothing"))?;
    String::from_utf8(target.into_owned())
        .map_err(|_| Reason::format("it is a link to a name that is not UTF-8"))
}

/// Refuses what makes one reader see another archive than the next: records that are malformed,
/// that come twice, that state a size not used, that rename all files at once, or that spread a
/// file over the archive.
fn check_pax(entry: &mut Entry<'_, impl Read>) -> Result<(), Reason> {
    let is_global = entry.header().entry_type() == EntryType::XGlobalHeader;
    let (size, stated) = (entry.size(), entry.header().entry_size());
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let Some(records) = entry.pax_extensions().map_err(Reason::reading)? else {
        return Ok(());
    };
    for record in records {
        let record = record.map_err(|error| Reason::Damaged(error.into()))?;
        let key = record.key_bytes();
        if key.starts_with(b"GNU.sparse.") {
            return Err(Reason::format("it is a sparse file in the form of pax, which is not supported"));
        }
        if !matches!(key, b"path" | b"linkpath" | b"size") {
            continue;
        }
        if is_global || seen.iter().any(|earlier| earlier == key) {
            return Err(Reason::format("its pax header states a path or size for several entries, or twice"));
        }
        if key == b"size" && !is_agreed(record.value().ok(), size, stated.as_ref().ok()) {
            return Err(Reason::format("its headers state different sizes"));
        }
        seen.push(key.to_vec());
    }
    Ok(())
}

/// Whether a size in a pax header is the one used and, where the plain header has room for it,
/// stated there too.
fn is_agreed(in_pax: Option<&str>, used: u64, in_header: Option<&u64>) -> bool {
    let in_pax = in_pax.and_then(|value| value.parse::<u64>().ok());
    in_pax == Some(used) && (used > PLAIN_SIZE_MAX || in_header == Some(&used))
}

fn only_zeros(rest: &mut impl Read) -> Result<(), Reason> {
    let mut buffer = [0; 8192];
    loop {
        let found = match rest.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            found => found.map_err(Reason::reading)?,
        };
        if found == 0 {
            return Ok(());
        }
        if buffer[..found].iter().any(|&byte| byte != 0) {
            return Err(Reason::format("there is something behind the end of the archive"));
        }
    }
}

/// Bounds what the tar reader takes in on its own account, which it would else hold in memory
/// whole.
struct Gauge {
    left_here: Cell<u64>,
    left_in_all: Cell<u64>,
    is_free: Cell<bool>,
    /// A read went past the bound.
    tripped: Cell<bool>,
    /// A read found the end of the stream.
    ended: Cell<bool>,
}

impl Gauge {
    fn new(limits: &Limits) -> Self {
        let in_all = limits.files.saturating_mul(BETWEEN_BYTES_EACH).saturating_add(BETWEEN_BYTES_MAX);
        Self {
            left_here: Cell::new(0),
            left_in_all: Cell::new(in_all),
            is_free: Cell::new(false),
            tripped: Cell::new(false),
            ended: Cell::new(false),
        }
    }

    fn between_entries(&self) {
        self.left_here.set(BETWEEN_BYTES_MAX);
        self.is_free.set(false);
    }

    /// The content of an entry is bounded by who takes it.
    fn in_entry(&self) {
        self.is_free.set(true);
    }

    fn allow(&self, bytes: usize) -> io::Result<()> {
        let take = |left: &Cell<u64>| left.get().checked_sub(bytes as u64).map(|rest| left.set(rest));
        if self.is_free.get() || (take(&self.left_here).is_some() && take(&self.left_in_all).is_some()) {
            return Ok(());
        }
        self.tripped.set(true);
        Err(io::Error::other("headers are too long"))
    }

    fn explain(&self, error: io::Error) -> Reason {
        self.correct(Reason::reading(error))
    }

    fn correct(&self, reason: Reason) -> Reason {
        match self.tripped.get() {
            true => Reason::Limit { what: "bytes between two entries", limit: BETWEEN_BYTES_MAX },
            false => reason,
        }
    }
}

struct Gauged<'a> {
    stream: &'a mut dyn Read,
    gauge: &'a Gauge,
}

impl Read for Gauged<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let found = self.stream.read(into)?;
        self.gauge.allow(found)?;
        if found == 0 && !into.is_empty() {
            self.gauge.ended.set(true);
        }
        Ok(found)
    }
}
