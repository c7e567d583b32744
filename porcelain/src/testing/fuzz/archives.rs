//! Archives of other package managers.

use crate::archive::{Limits, unpack};
use objects::testing::folder_in_memory;
use std::fs;
use std::path::Path;

/// What the archive may be called, by the first byte of the input.
const NAMES: [&str; 8] =
    ["a.tar", "a.tgz", "a-1.0-py3-none-any.whl", "a.zip", "a.deb", "a-1.0.0.crate", "a.tar.xz", "a.tar.zst"];
const LIMITS: Limits = Limits { bytes: 1 << 20, files: 200, path_bytes: 512, levels: 16 };
const BLOCK_BYTES: usize = 512;

/// An archive behind a byte that says how it is called; a tar also with the checksums of its headers
/// made right. What comes out stays below the target and within the limits.
pub fn archive(data: &[u8]) -> bool {
    let Some((name, data)) = data.split_first() else { return false };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let mended = mended(data);
    let changed = mended.as_ref().is_some_and(|mended| mended != data);
    unpacks(name, data) | (changed && mended.is_some_and(|mended| unpacks(name, &mended)))
}

fn unpacks(name: &str, data: &[u8]) -> bool {
    let folder = folder_in_memory();
    let archive = folder.path().join(name);
    fs::write(&archive, data).expect("the folder is ours");
    let into = folder.path().join("out");
    let unpacked = unpack(&archive, &into, &LIMITS);
    assert!(fs::read(&archive).is_ok_and(|still| still == data), "the archive was written over");
    let beside = fs::read_dir(folder.path()).expect("the folder is ours").count();
    assert!(beside <= 2, "something came out beside the target");
    if unpacked.is_err() {
        return false;
    }
    let (mut files, mut bytes) = (0, 0);
    count(&into, &into.canonicalize().expect("it was made"), &mut files, &mut bytes);
    assert!(files <= LIMITS.files && bytes <= LIMITS.bytes, "{files} files of {bytes} bytes came out");
    true
}

/// Counts what came out; a link that leads somewhere leads to what came out.
fn count(folder: &Path, root: &Path, files: &mut u64, bytes: &mut u64) {
    for entry in fs::read_dir(folder).expect("the folder is ours") {
        let path = entry.expect("it can be listed").path();
        let found = path.symlink_metadata().expect("it was just listed");
        *files += 1;
        if found.is_dir() {
            count(&path, root, files, bytes);
        } else if found.is_file() {
            *bytes += found.len();
        } else {
            let leads = path.canonicalize();
            assert!(leads.is_err() || leads.is_ok_and(|to| to.starts_with(root)), "a link leads out");
        }
    }
}

/// A tar with right checksums, as far as its sizes lead from header to header.
fn mended(data: &[u8]) -> Option<Vec<u8>> {
    let mut tar = data.to_vec();
    let mut at = 0;
    while let Some(header) = tar.get_mut(at..at + BLOCK_BYTES) {
        if header.iter().all(|byte| *byte == 0) {
            break;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let size = std::str::from_utf8(&header[124..135]).ok()?;
        let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
        at = at.checked_add(BLOCK_BYTES + size.checked_next_multiple_of(BLOCK_BYTES)?)?;
    }
    (at > 0).then_some(tar)
}
