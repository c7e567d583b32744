//! The formats, told apart by their first bytes, and by their name where the bytes say nothing.
//!
//! Promises: each reader yields entries one after the other as [`Member`](super::root::Member)s,
//! checks the checksums its format has, and refuses what follows the end. It judges no path and
//! writes nothing.

mod deb;
mod decode;
mod tar;
mod zip;
mod zip_end;

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::error::{Fault, Reason};
use super::root::Root;
use decode::Compression;

/// How an archive is packed, whatever it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Zip,
    Deb,
    Tar(Compression),
}

pub(super) use decode::Compression as TarCompression;

const TAR_BLOCK_BYTES: usize = 512;

impl Container {
    pub(super) fn recognise(file: &File, name: &Path) -> Result<Self, Fault> {
        let metadata = file.metadata().map_err(Reason::io("look at it"))?;
        if !metadata.is_file() {
            return Err(Reason::Unrecognised.into());
        }
        let mut head = Vec::with_capacity(TAR_BLOCK_BYTES);
        file.take(TAR_BLOCK_BYTES as u64).read_to_end(&mut head).map_err(Reason::reading)?;
        Self::of_bytes(&head).or_else(|| Self::of_name(&head, name)).ok_or(Reason::Unrecognised.into())
    }

    fn of_bytes(head: &[u8]) -> Option<Self> {
        if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") {
            return Some(Container::Zip);
        }
        if head.starts_with(deb::MAGIC) {
            return Some(Container::Deb);
        }
        match Compression::of(head) {
            Compression::None => tar::is_header(head).then_some(Container::Tar(Compression::None)),
            packed => Some(Container::Tar(packed)),
        }
    }

    /// An empty tar archive is nothing but zeros.
    fn of_name(head: &[u8], name: &Path) -> Option<Self> {
        let is_empty_tar = head.len() == TAR_BLOCK_BYTES && head.iter().all(|&byte| byte == 0);
        let is_named_tar = name.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"));
        (is_empty_tar && is_named_tar).then_some(Container::Tar(Compression::None))
    }

    /// Writes every entry to `root`. What a deb says of itself stands beside its data, and is
    /// returned.
    pub(super) fn unpack(self, mut file: &File, root: &mut Root) -> Result<Option<String>, Fault> {
        file.rewind().map_err(Reason::reading)?;
        let limits = *root.limits();
        match self {
            Container::Zip => zip::walk(file, &limits, &mut |member| root.take(member))?,
            Container::Deb => return deb::unpack(file, root).map(Some),
            Container::Tar(packed) => {
                let mut stream = packed.reader(BufReader::with_capacity(decode::BUFFER_BYTES, file))?;
                tar::walk(&mut stream, packed.ending(), &limits, &mut |member| root.take(member))?;
            }
        }
        Ok(None)
    }
}
