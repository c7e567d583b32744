//! Bundles: a bare repository in one file, to be carried by hand (C9).
//!
//! ```text
//! "pkgbndl1" ‖ files behind each other ‖ table ‖ BLAKE3 of the table (32) ‖ length of the table (u32) ‖ "pkgbndl1"
//! table      ["bundle/1", [[key, offset, length], …]]                     all little-endian
//! ```
//!
//! Promises: reading is bounded and never leaves the file; a file with anything before, behind or
//! between is refused (SEC-033).
//! Leaves to others: what is in it. A bundle is believed as little as any mirror.

use super::{Bare, Error, Key};
use objects::codec;
use objects::disk::{self, Context};
use objects::id::ObjectId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"pkgbndl1";
const TABLE: &str = "bundle/1";
/// Largest table, in bytes.
const TABLE_BYTES_MAX: usize = 64 << 20;
const END_BYTES: u64 = 32 + 4 + 8;

#[derive(Serialize, Deserialize)]
struct Row(String, u64, u64);

#[derive(Serialize, Deserialize)]
struct Table(String, Vec<Row>);

/// A bundle open for reading.
pub struct Bundle {
    path: PathBuf,
    file: File,
    files: BTreeMap<String, Range<u64>>,
}

impl Bundle {
    /// Opens a bundle and reads its table.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, or is no bundle.
    pub fn open(path: &Path) -> Result<Bundle, Error> {
        let refuse = |action, source| Error::Io { at: path.display().to_string(), action, source };
        let file = File::open(path).map_err(|source| refuse("open", source))?;
        let files = read_table(&file).map_err(|source| refuse("read the bundle", source))?;
        Ok(Bundle { path: path.to_owned(), file, files })
    }

    /// The keys in it, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    fn fault(&self, key: &Key, source: io::Error) -> Error {
        Error::Io { at: format!("{key} in {}", self.path.display()), action: "read", source }
    }
}

fn read_table(file: &File) -> io::Result<BTreeMap<String, Range<u64>>> {
    let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let length = file.metadata()?.len();
    let end_at = length.checked_sub(END_BYTES).filter(|at| *at >= 8).ok_or_else(|| bad("it is too short"))?;
    let (mut magic, mut end) = ([0; 8], [0; END_BYTES as usize]);
    file.read_exact_at(&mut magic, 0)?;
    file.read_exact_at(&mut end, end_at)?;
    if magic != *MAGIC || end[36..] != *MAGIC {
        return Err(bad("it does not begin and end as a bundle does"));
    }
    let table_len = u32::from_le_bytes([end[32], end[33], end[34], end[35]]) as usize;
    let table_at =
        end_at.checked_sub(table_len as u64).filter(|at| *at >= 8).ok_or_else(|| bad("its table is cut"))?;
    if table_len > TABLE_BYTES_MAX {
        return Err(bad("its table is too long"));
    }
    let mut bytes = vec![0; table_len];
    file.read_exact_at(&mut bytes, table_at)?;
    if ObjectId::of(&bytes).as_bytes() != &end[..32] {
        return Err(bad("its table is damaged"));
    }
    let Table(tag, rows) =
        codec::decode("table of the bundle", &bytes, TABLE_BYTES_MAX).map_err(io::Error::other)?;
    if tag != TABLE {
        return Err(bad("its table is of another kind"));
    }
    let (mut files, mut at) = (BTreeMap::new(), 8);
    for Row(key, offset, len) in rows {
        let next = offset.checked_add(len).filter(|next| offset == at && *next <= table_at);
        at = next.ok_or_else(|| bad("its files do not stand one behind the other"))?;
        if Key::new(&key).is_err() || files.insert(key, offset..at).is_some() {
            return Err(bad("it has a doubled or malformed key"));
        }
    }
    if at != table_at {
        return Err(bad("something stands between its files and its table"));
    }
    Ok(files)
}

impl Bare for Bundle {
    fn source(&self) -> String {
        self.path.display().to_string()
    }

    fn try_read(&self, key: &Key, bytes_max: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(range) = self.files.get(key.as_str()).cloned() else { return Ok(None) };
        if range.end - range.start > bytes_max {
            return Err(Error::TooLong { at: format!("{key} in {}", self.source()), bytes_max });
        }
        self.read_range(key, 0..range.end - range.start).map(Some)
    }

    fn try_size(&self, key: &Key) -> Result<Option<u64>, Error> {
        Ok(self.files.get(key.as_str()).map(|range| range.end - range.start))
    }

    fn read_range(&self, key: &Key, range: Range<u64>) -> Result<Vec<u8>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let at = || format!("{key} in {}", self.source());
        let whole = self.files.get(key.as_str()).ok_or_else(|| Error::NotFound { at: at() })?;
        if range.end > whole.end - whole.start {
            return Err(Error::Short { at: at(), end: range.end });
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = self.file.read_exact_at(&mut bytes, whole.start + range.start);
        read.map_err(|source| self.fault(key, source))?;
        Ok(bytes)
    }
}

/// Writes `files`, each a key and a path, as the bundle `path`: whole or not at all.
///
/// # Errors
/// If a file cannot be read or the bundle not be written.
pub fn write(path: &Path, files: &[(Key, PathBuf)]) -> Result<u64, disk::Error> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let scratch = disk::Scratch::create(folder, ".tmp")?;
    let mut out = io::BufWriter::new(scratch.file());
    let (mut rows, mut at) = (Vec::new(), 8);
    out.write_all(MAGIC).doing("write", path)?;
    for (key, from) in files {
        let file = File::open(from).doing("open", from)?;
        let copied = io::copy(&mut file.take(u64::MAX), &mut out).doing("write", path)?;
        rows.push(Row(key.as_str().to_owned(), at, copied));
        at += copied;
    }
    let table = codec::encode(&Table(TABLE.into(), rows));
    let length = u32::try_from(table.len()).map_err(io::Error::other).doing("write", path)?;
    for part in [&table[..], ObjectId::of(&table).as_bytes(), &length.to_le_bytes(), MAGIC] {
        out.write_all(part).doing("write", path)?;
    }
    out.flush().doing("write", path)?;
    drop(out);
    scratch.keep_as(path)?;
    disk::sync_folder(folder)?;
    Ok(at + table.len() as u64 + END_BYTES)
}
