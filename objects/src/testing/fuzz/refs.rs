//! Refs, their logs and the journal, and the configuration: each in its file in a fresh folder.

use super::with_sum;
use crate::refs::{RefName, Refs, reflog};
use crate::repository::{Error, Repository};
use crate::testing::folder_in_memory;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

const NAME: &str = "refs/packages/ada/hello";

/// A fresh folder in which `data` stands as the file `key`.
fn folder_with(key: &str, data: &[u8]) -> TempDir {
    let folder = folder_in_memory();
    let path = folder.path().join(key);
    fs::create_dir_all(path.parent().expect("a key has a folder")).expect("the folder is ours");
    fs::write(path, data).expect("the folder is ours");
    folder
}

fn name() -> RefName {
    NAME.parse().expect("it is a ref name")
}

/// The file of one ref: an id and a line's end, nothing else.
pub fn ref_file(data: &[u8]) -> bool {
    let folder = folder_with(NAME, data);
    let Ok(Some(id)) = Refs::new(folder.path()).try_find(&name()) else { return false };
    assert!(format!("{id}\n").as_bytes() == data, "a ref was taken in another spelling");
    true
}

/// Packed refs: each that is listed is found.
pub fn packed_refs(data: &[u8]) -> bool {
    let folder = folder_with("packed-refs", data);
    let refs = Refs::new(folder.path());
    let Ok(all) = refs.list("refs/") else { return false };
    for (name, id) in all.iter().take(3) {
        assert_eq!(refs.try_find(name).expect("it could be listed"), Some(*id));
    }
    !all.is_empty()
}

/// A log: every line is a move or counted as damaged.
pub fn reflog(data: &[u8]) -> bool {
    let folder = folder_with(&format!("logs/{NAME}"), data);
    let (lines, damaged) = reflog::read(folder.path(), &name()).expect("a file of this length is read");
    let text = String::from_utf8_lossy(data);
    let torn = usize::from(!text.is_empty() && !text.ends_with('\n'));
    assert_eq!(lines.len() + damaged, text.lines().count() + torn);
    !lines.is_empty()
}

/// Where the rows begin in a journal, and what stands behind them before the checksum.
const JOURNAL_HEAD_BYTES: usize = 16;
const SUM_HEAD_BYTES: usize = 2;

/// The journal of an edit: believed whole or not at all.
pub fn journal(data: &[u8]) -> bool {
    let rows = data.len().checked_sub(SUM_HEAD_BYTES + 32);
    let rows = rows.and_then(|end| data.get(JOURNAL_HEAD_BYTES..end));
    let mended = rows.and_then(|rows| with_sum(data, &[&[0x82], rows].concat()));
    mended.is_some_and(|mended| is_unfinished(&mended)) | is_unfinished(data)
}

fn is_unfinished(data: &[u8]) -> bool {
    let folder = folder_with("refs.lock", data);
    Refs::new(folder.path()).unfinished().is_ok_and(|names| !names.is_empty())
}

/// The configuration of a repository: the one of format 1, or a refusal.
pub fn repository_config(data: &[u8]) -> bool {
    let folder = folder_with("config", data);
    match Repository::open(folder.path()) {
        Ok(_) => true,
        Err(Error::Config { path, .. } | Error::Newer { path, .. }) => {
            assert_eq!(path.file_name(), Path::new("config").file_name());
            false
        }
        Err(error) => panic!("a configuration is refused as {error}"),
    }
}
