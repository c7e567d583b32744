//! The canonical archive of a tree: a POSIX (pax) tar with nothing in it but the content.
//!
//! Entries in tree order, no owner, time 0, modes 0644 and 0755. Its SHA-256 stands in the release
//! (G-20, O4), and `pkg archive NAME@VERSION | sha256sum` gives it again.
//!
//! Promises: the bytes depend on the tree alone.
//!
//! Follows IEEE Std 1003.1, pax, "ustar Interchange Format" and "pax Header Block".

use crate::object::{Error, Find};
use crate::tree::{Entry, Mode};
use crate::walk;
use std::io::{self, Write};
use tar::{EntryType, Header};

const BLOCK_BYTES: u64 = 512;
const USTAR_SIZE_MAX: u64 = 0o77_777_777_777;

/// Writes the entries of a canonical archive, one after the other.
pub struct Archive<W> {
    out: W,
    written: u64,
}

impl<W: Write> Archive<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Archive { out, written: 0 }
    }

    /// Begins the file `path`; exactly `size` bytes of [`Archive::data`] follow.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn file(&mut self, path: &str, executable: bool, size: u64) -> io::Result<()> {
        let mode = if executable { 0o755 } else { 0o644 };
        self.header(EntryType::Regular, path, "", mode, size)
    }

    /// Adds a directory.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.header(EntryType::Directory, &format!("{path}/"), "", 0o755, 0)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.header(EntryType::Symlink, path, target, 0o777, 0)
    }

    /// Adds content of the file begun last.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    /// Fills the last block of a file.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn end_file(&mut self) -> io::Result<()> {
        let rest = (BLOCK_BYTES - self.written % BLOCK_BYTES) % BLOCK_BYTES;
        self.data(&[0; BLOCK_BYTES as usize][..rest as usize])
    }

    /// Ends the archive; gives the writer back and how many bytes it was given.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.data(&[0; 2 * BLOCK_BYTES as usize])?;
        Ok((self.out, self.written))
    }

    fn header(&mut self, kind: EntryType, path: &str, target: &str, mode: u32, size: u64) -> io::Result<()> {
        let records = pax_records(path, target, size);
        if !records.is_empty() {
            let header = ustar(EntryType::XHeader, "pax", "", 0o644, records.len() as u64);
            self.data(header.as_bytes())?;
            self.data(&records)?;
            self.end_file()?;
        }
        let fits = size <= USTAR_SIZE_MAX;
        self.data(ustar(kind, path, target, mode, if fits { size } else { 0 }).as_bytes())
    }
}

/// The pax records for what a ustar header cannot say.
fn pax_records(path: &str, target: &str, size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    if !fits_ustar(path) {
        records.extend(pax_record("path", path));
    }
    if !fits_ustar(target) {
        records.extend(pax_record("linkpath", target));
    }
    if size > USTAR_SIZE_MAX {
        records.extend(pax_record("size", &size.to_string()));
    }
    records
}

fn fits_ustar(text: &str) -> bool {
    text.len() <= 100 && text.is_ascii()
}

/// `LENGTH key=value\n`, where the length counts its own digits.
fn pax_record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    format!("{length} {key}={value}\n").into_bytes()
}

fn ustar(kind: EntryType, path: &str, target: &str, mode: u32, size: u64) -> Header {
    let mut header = Header::new_ustar();
    let fields = header.as_ustar_mut().expect("it was made as one");
    copy_text(&mut fields.name, path);
    copy_text(&mut fields.linkname, target);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// As much of `text` as the field holds, where the pax record says the rest; plain ASCII.
fn copy_text(field: &mut [u8], text: &str) {
    for (slot, byte) in field.iter_mut().zip(text.bytes()) {
        *slot = if byte.is_ascii() { byte } else { b'?' };
    }
}

/// Writes the canonical archive of the tree `root`; returns its length in bytes.
///
/// # Errors
/// Those of the store; [`Error::Disk`] if the writer fails.
pub fn write_tree(find: &dyn Find, root: crate::id::TreeId, out: &mut dyn Write) -> Result<u64, Error> {
    let mut archive = Archive::new(out);
    walk::visit(find, root, crate::limits::RELEASE_FILES_MAX, &mut |path: &str, entry: &Entry| {
        write_entry(find, &mut archive, path, entry)
    })?;
    archive.finish().map(|(_, bytes)| bytes).map_err(write_error)
}

fn write_entry(
    find: &dyn Find,
    archive: &mut Archive<&mut dyn Write>,
    path: &str,
    entry: &Entry,
) -> Result<(), Error> {
    match entry.mode {
        Mode::Dir => archive.directory(path).map_err(write_error),
        Mode::Link => archive.link(path, &walk::link_target(find, entry)?).map_err(write_error),
        mode => {
            archive.file(path, mode.is_exec(), entry.size).map_err(write_error)?;
            for piece in walk::pieces(find, entry)? {
                archive.data(&walk::chunk(find, piece)?).map_err(write_error)?;
            }
            archive.end_file().map_err(write_error)
        }
    }
}

fn write_error(source: io::Error) -> Error {
    Error::Disk(crate::disk::Error::new("write", "the archive".as_ref(), source))
}
