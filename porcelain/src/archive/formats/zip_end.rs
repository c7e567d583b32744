//! The end of a zip archive, where its directory is found.
//!
//! Promises: the archive ends where the file does, and its directory where its end begins. A reader
//! that looks for the end then finds the same one from either side, and there is no room for a
//! second archive.
//! Leaves to others: to read the directory.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::error::Reason;

const END_BYTES: usize = 22;
const LOCATOR_BYTES: u64 = 20;
const END64_BYTES: usize = 56;
const COMMENT_BYTES_MAX: usize = 0xffff;

/// Refuses an archive with something between its parts, or behind them.
pub(super) fn check(file: &File) -> Result<(), Reason> {
    let (at, end) = find(file)?;
    let stated = u64::from(word(&end, 12)) + u64::from(word(&end, 16));
    let is_small = word(&end, 12) != u32::MAX && word(&end, 16) != u32::MAX && half(&end, 10) != u16::MAX;
    if stated == at && is_small || abuts64(file, at)? {
        return Ok(());
    }
    Err(Reason::format("there is something between its directory and its end"))
}

/// The end of the archive, and where it stands: the last place that fits to the end of the file.
fn find(file: &File) -> Result<(u64, Vec<u8>), Reason> {
    let length = file.metadata().map_err(Reason::io("look at it"))?.len();
    let start = length.saturating_sub((END_BYTES + COMMENT_BYTES_MAX) as u64);
    let tail = read(file, start, (length - start) as usize)?;
    let fits = |at: &usize| {
        let end = &tail[*at..];
        end.starts_with(b"PK\x05\x06") && usize::from(half(end, 20)) == end.len() - END_BYTES
    };
    let at = (0..(tail.len() + 1).saturating_sub(END_BYTES)).rev().find(fits);
    let at = at.ok_or(Reason::format("it does not end as a zip archive does"))?;
    Ok((start + at as u64, tail[at..].to_vec()))
}

/// Whether there is an end in the large form right before `at`, and the directory right before
/// that.
fn abuts64(file: &File, at: u64) -> Result<bool, Reason> {
    let Some(locator_at) = at.checked_sub(LOCATOR_BYTES) else {
        return Ok(false);
    };
    let locator = read(file, locator_at, LOCATOR_BYTES as usize)?;
    let end_at = long(&locator, 8);
    if !locator.starts_with(b"PK\x06\x07")
        || end_at.checked_add(END64_BYTES as u64).is_none_or(|end| end > locator_at)
    {
        return Ok(false);
    }
    let end = read(file, end_at, END64_BYTES)?;
    let abuts = |start: u64, length: u64, next: u64| start.checked_add(length) == Some(next);
    Ok(end.starts_with(b"PK\x06\x06")
        && abuts(long(&end, 48), long(&end, 40), end_at)
        && abuts(end_at + 12, long(&end, 4), locator_at))
}

fn read(file: &File, at: u64, length: usize) -> Result<Vec<u8>, Reason> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at).map_err(Reason::reading)?;
    Ok(bytes)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}
