//! Zip archives, by their central directory, which is walked and not held.
//!
//! Promises: an entry is what the central directory and its own header agree on; its checksum and
//! length hold.
//! Leaves to others: entries of one name, which are yielded one by one.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

use ::zip::read::{ArchiveOffset, Config, ZipFileEntry, ZipReadOptions};
use ::zip::result::ZipError;
use ::zip::unstable::read::ZipIterable;

use super::super::Limits;
use super::super::error::{At, Fault, Reason};
use super::super::root::{Exec, Kind, Member, bounded_text};
use super::decode::BUFFER_BYTES;
use super::zip_end;

/// Yields every entry to `take`.
pub(super) fn walk(
    archive: &File,
    limits: &Limits,
    take: &mut dyn FnMut(Member<'_>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    zip_end::check(archive)?;
    let config = Config { archive_offset: ArchiveOffset::Known(0) };
    let mut directory = ZipIterable::try_new(BufReader::new(Cursor::new(archive)), config)
        .map_err(reason)?
        .enforce_header_consistency(true);
    if directory.len() as u64 > limits.files {
        return Err(Reason::Limit { what: "files, folders and links", limit: limits.files }.into());
    }
    let mut body = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(archive));
    for (number, entry) in (1..).zip(directory.files().map_err(reason)?) {
        let entry = entry.map_err(reason)?;
        let shown = String::from_utf8_lossy(entry.name_raw()).into_owned();
        let name = name(&entry).at(&shown)?;
        let kind = kind(&entry).at(&shown)?;
        let mut content = entry.with_reader(&mut body, ZipReadOptions::new()).map_err(reason).at(&shown)?;
        let kind = match kind {
            Stated::Kind(kind) => kind,
            Stated::Link => Kind::Link {
                target: bounded_text(&mut content, limits.path_bytes as u64, "bytes of a link").at(&shown)?,
            },
        };
        take(Member { number, name: &name, kind, content: &mut content })?;
    }
    Ok(())
}

/// What an entry says it is. The target of a link is its content.
enum Stated {
    Kind(Kind),
    Link,
}

/// The mode is believed whatever system the entry claims to be from: writers are careless about
/// that, and the half of the attributes that holds it is zero for all others.
fn kind(entry: &ZipFileEntry<'_>) -> Result<Stated, Reason> {
    let mode = entry.external_attributes() >> 16;
    let (size, ends_as_folder) = (entry.size(), entry.name_raw().ends_with(b"/"));
    match mode & 0o170_000 {
        0o120_000 => Ok(Stated::Link),
        0o040_000 | 0o100_000 | 0 if ends_as_folder && size == 0 => Ok(Stated::Kind(Kind::Folder)),
        0o040_000 if size == 0 => Ok(Stated::Kind(Kind::Folder)),
        0o100_000 | 0 if !ends_as_folder => Ok(Stated::Kind(Kind::File { exec: Exec::of(mode), size })),
        0o040_000 | 0o100_000 | 0 => Err(Reason::format("it is a folder and yet has content")),
        _ => Err(Reason::Kind("device, fifo or socket")),
    }
}

/// The format has `/` between names. A writer that put `\` there meant a folder, where we would
/// make a long name.
fn name(entry: &ZipFileEntry<'_>) -> Result<String, Reason> {
    let name = std::str::from_utf8(entry.name_raw()).map_err(|_| Reason::Path("is not UTF-8"))?;
    match name.contains('\\') {
        true => Err(Reason::Path("holds a backslash")),
        false => Ok(name.to_owned()),
    }
}

fn reason(error: ZipError) -> Reason {
    match error {
        ZipError::Io(error) => Reason::reading(error),
        ZipError::UnsupportedArchive(what) => Reason::format(what),
        ZipError::CompressionMethodNotSupported(method) => {
            Reason::format(format!("it is compressed by method {method}, which is not supported"))
        }
        error => Reason::Damaged(error.into()),
    }
}

/// A place of its own in a shared file, so that directory and content can be read side by side.
struct Cursor<'a> {
    file: &'a File,
    at: u64,
}

impl<'a> Cursor<'a> {
    fn new(file: &'a File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Cursor<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let found = self.file.read_at(into, self.at)?;
        self.at += found as u64;
        Ok(found)
    }
}

impl Seek for Cursor<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
