//! Single calls to the system, with the flags that keep them safe.
//!
//! Promises: nothing here follows a link, waits for a fifo, or opens for writing what is there
//! already.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, RawMode};
use rustix::io::Errno;

use super::super::error::Reason;

pub(super) const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Never blocks, should there be a fifo.
pub(super) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
pub(super) const CREATE: OFlags =
    OFlags::WRONLY.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a folder, or makes it first; says whether it made it.
pub(super) fn open_folder(
    above: BorrowedFd<'_>,
    name: &str,
    may_make: bool,
) -> Result<(OwnedFd, bool), Errno> {
    let open = || rustix::fs::openat(above, name, FOLDER | OFlags::NOFOLLOW, Mode::empty());
    match open() {
        Err(Errno::NOENT) if may_make => {
            rustix::fs::mkdirat(above, name, Mode::from_raw_mode(0o755))?;
            Ok((open()?, true))
        }
        folder => Ok((folder?, false)),
    }
}

/// Copies exactly `size` bytes.
pub(super) fn pour(
    content: &mut dyn Read,
    mut file: File,
    size: u64,
    buffer: &mut [u8],
) -> Result<(), Reason> {
    let not_kept = |than| Err(Reason::Size { declared: size, than });
    let mut left = size;
    loop {
        // One byte more than is left, to see whether there is one.
        let room =
            usize::try_from(left).map_or(buffer.len(), |left| buffer.len().min(left.saturating_add(1)));
        let found = match content.read(&mut buffer[..room]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            found => found.map_err(Reason::reading)?,
        };
        match left.checked_sub(found as u64) {
            None => return not_kept("more"),
            Some(_) if found == 0 => return if left == 0 { Ok(()) } else { not_kept("fewer") },
            Some(rest) => left = rest,
        }
        file.write_all(&buffer[..found]).map_err(Reason::io("write the file"))?;
    }
}

/// The mode and size of a plain file.
pub(super) fn regular(file: &File) -> Result<(u32, u64), Reason> {
    let stat = rustix::fs::fstat(file).map_err(Reason::io("look at an unpacked file"))?;
    match FileType::from_raw_mode(stat.st_mode as RawMode) {
        FileType::RegularFile => Ok((stat.st_mode as u32, u64::try_from(stat.st_size).unwrap_or_default())),
        _ => Err(Reason::format("it stands for something that is not a file, where a file is needed")),
    }
}

/// Where a link leads.
pub(super) fn read_link(above: BorrowedFd<'_>, name: &str) -> Result<String, Reason> {
    let target =
        rustix::fs::readlinkat(above, name, Vec::new()).map_err(Reason::io("read an earlier link"))?;
    target.into_string().map_err(|_| Reason::format("it is another name of a link that is not UTF-8"))
}

/// Text of at most `bytes_max` bytes, which are bytes of `what`.
pub(in super::super) fn bounded_text(
    reader: impl Read,
    bytes_max: u64,
    what: &'static str,
) -> Result<String, Reason> {
    let mut bytes = Vec::new();
    reader.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Reason::reading)?;
    if bytes.len() as u64 > bytes_max {
        return Err(Reason::Limit { what, limit: bytes_max });
    }
    String::from_utf8(bytes).map_err(|_| Reason::format("it is not UTF-8"))
}

pub(super) fn names(folder: &OwnedFd) -> Result<Vec<String>, Reason> {
    let listing = Reason::io("list the target folder");
    let mut names = Vec::new();
    for entry in Dir::read_from(folder).map_err(&listing)? {
        let entry = entry.map_err(&listing)?;
        match entry.file_name().to_bytes() {
            b"." | b".." => {}
            name => names.push(String::from_utf8_lossy(name).into_owned()),
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A name that none of `names` is.
pub(super) fn free_name(names: &[String]) -> String {
    (0..=names.len())
        .map(|n| format!(".unwrapped-{n}"))
        .find(|name| names.binary_search(name).is_err())
        .expect("one more candidate than there are names")
}
