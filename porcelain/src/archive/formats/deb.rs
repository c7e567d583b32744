//! Packages of Debian, as deb(5) has them: an `ar` archive of `debian-binary`, `control.tar`,
//! `data.tar`.
//!
//! Promises: the data is unpacked, and of the control files the one that describes the package is
//! returned; scripts are never looked at. The `ar` header is read here and not by the crate of that
//! name, which can be made to panic by an index into a table of names that is not there.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

use super::super::error::{At, Fault, Reason};
use super::super::metadata::METADATA_BYTES_MAX;
use super::super::root::{Kind, Root, bounded_text};
use super::decode::{BUFFER_BYTES, Compression};
use super::tar;

pub(super) const MAGIC: &[u8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;
/// Three are needed; signatures may follow.
const MEMBERS_MAX: usize = 32;

/// Unpacks the data and returns the text of `control`.
pub(super) fn unpack(file: &File, root: &mut Root) -> Result<String, Fault> {
    let mut expected = ["debian-binary", "control.tar", "data.tar"].into_iter();
    let mut control = None;
    for part in parts(file)? {
        // Names that begin with `_` are for others.
        if part.name.starts_with('_') {
            continue;
        }
        let stem = expected.next().ok_or(Reason::format("it does not belong into a deb")).at(&part.name)?;
        if !part.name.starts_with(stem) {
            let wanted = format!("it stands where {stem} belongs");
            return Err(Reason::format(wanted)).at(&part.name);
        }
        match stem {
            "debian-binary" => check_version(part.open(file)?).at(&part.name)?,
            "control.tar" => control = Some(read_control(part.open(file)?, root)?),
            _ => unpack_data(part.open(file)?, root)?,
        }
    }
    match (control, expected.next()) {
        (Some(control), None) => Ok(control),
        _ => Err(Reason::format("it is an ar archive, but no package of Debian").into()),
    }
}

/// One member of the `ar` archive.
struct Part {
    name: String,
    start: u64,
    size: u64,
}

impl Part {
    fn open<'a>(&self, mut file: &'a File) -> Result<impl BufRead + 'a, Reason> {
        file.seek(SeekFrom::Start(self.start)).map_err(Reason::reading)?;
        Ok(BufReader::with_capacity(BUFFER_BYTES, file.take(self.size)))
    }
}

fn parts(mut file: &File) -> Result<Vec<Part>, Reason> {
    let end = file.metadata().map_err(Reason::io("look at it"))?.len();
    let mut parts = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < end {
        if parts.len() == MEMBERS_MAX {
            return Err(Reason::Limit { what: "parts of a deb", limit: MEMBERS_MAX as u64 });
        }
        let mut header = [0; HEADER_BYTES];
        file.seek(SeekFrom::Start(at)).map_err(Reason::reading)?;
        file.read_exact(&mut header).map_err(Reason::reading)?;
        let start = at + HEADER_BYTES as u64;
        let (name, size) = parse(&header).ok_or(Reason::format("its ar header is damaged"))?;
        // Members begin at even places; the last one may do without the byte that fills up.
        let next = start + size + size % 2;
        if start + size > end {
            return Err(Reason::format("it is cut short: its last part is not whole"));
        }
        parts.push(Part { name, start, size });
        at = next;
    }
    Ok(parts)
}

/// Name and size. A size of ten digits cannot overflow.
fn parse(header: &[u8; HEADER_BYTES]) -> Option<(String, u64)> {
    let text = std::str::from_utf8(header).ok()?;
    let name = text.get(..16)?.trim_end_matches(' ');
    let digits = text.get(48..58)?.trim_end_matches(' ');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || text.get(58..) != Some("`\n") {
        return None;
    }
    Some((name.strip_suffix('/').unwrap_or(name).to_owned(), digits.parse().ok()?))
}

fn check_version(content: impl Read) -> Result<(), Reason> {
    match bounded_text(content, 64, "bytes of debian-binary")?.starts_with("2.") {
        true => Ok(()),
        false => Err(Reason::format("it is a deb of another version than 2")),
    }
}

fn read_control(packed: impl BufRead, root: &Root) -> Result<String, Fault> {
    let mut control = None;
    let (mut stream, compression) = decode(packed)?;
    tar::walk(&mut stream, compression.ending(), root.limits(), &mut |member| {
        let is_control = member.name.strip_prefix("./").unwrap_or(member.name) == "control";
        match member.kind {
            Kind::File { .. } if is_control => {
                let text =
                    bounded_text(member.content, METADATA_BYTES_MAX, "bytes of metadata").at(member.name)?;
                control.get_or_insert(text);
            }
            Kind::File { size, .. } if size > METADATA_BYTES_MAX * 64 => {
                return Err(Reason::Limit {
                    what: "bytes of a control file",
                    limit: METADATA_BYTES_MAX * 64,
                })
                .at(member.name);
            }
            _ => drop(
                std::io::copy(member.content, &mut std::io::sink())
                    .map_err(Reason::reading)
                    .at(member.name)?,
            ),
        }
        Ok(())
    })?;
    control.ok_or(Reason::format("its control.tar holds no control").into())
}

fn unpack_data(packed: impl BufRead, root: &mut Root) -> Result<(), Fault> {
    let limits = *root.limits();
    let (mut stream, compression) = decode(packed)?;
    tar::walk(&mut stream, compression.ending(), &limits, &mut |member| root.take(member))
}

/// By its content, not by its name: `data.tar` may be compressed in any of the ways we know.
fn decode<'a>(mut packed: impl BufRead + 'a) -> Result<(Box<dyn Read + 'a>, Compression), Reason> {
    let head = packed.fill_buf().map_err(Reason::reading)?;
    let compression = Compression::of(head);
    if head.starts_with(b"BZh") || head.starts_with(&[0x5d, 0, 0]) {
        return Err(Reason::format("it is compressed with bzip2 or lzma, which is not supported"));
    }
    Ok((compression.reader(packed)?, compression))
}
