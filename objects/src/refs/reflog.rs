//! The reflog: where each ref was, when and why it moved.
//!
//! ```text
//! logs/<ref>    one line a move: <old> SP <new> SP <seconds> SP <check> TAB <message>
//! ```
//!
//! `check` is eight digits of the BLAKE3 of the line before it and the rest of this one, so that
//! damage shows. Zeros stand for "nowhere".
//!
//! Promises: a line is appended before its ref moves; a line cut by a crash is passed over.

use super::{Error, RefEdit};
use crate::disk::{self, Context};
use crate::id::{ObjectId, StatementId};
use crate::limits::PACKED_REFS_BYTES_MAX;
use crate::time::Timestamp;
use std::fs::File;
use std::io::Write;
use std::path::Path;

const NOWHERE: StatementId = StatementId::new(ObjectId::from_bytes([0; 32]));

/// One move of a ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Where it was.
    pub old: Option<StatementId>,
    /// Where it went.
    pub new: Option<StatementId>,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub message: String,
}

/// Appends a line for each edit, and syncs them together.
pub(super) fn append(
    root: &Path,
    moved: &[(&RefEdit, Option<StatementId>)],
    now: Timestamp,
) -> Result<(), Error> {
    moved.chunks(disk::TOGETHER_MAX).try_for_each(|group| append_group(root, group, now))
}

fn append_group(root: &Path, moved: &[(&RefEdit, Option<StatementId>)], now: Timestamp) -> Result<(), Error> {
    let mut open = Vec::with_capacity(moved.len());
    for (edit, old) in moved {
        let path = root.join("logs").join(edit.name.as_str());
        let file = append_line(&path, edit, *old, now)?;
        open.push((file, path));
    }
    let syncs: Vec<(&File, &Path)> = open.iter().map(|(file, path)| (file, path.as_path())).collect();
    Ok(disk::sync_together(&syncs)?)
}

fn append_line(path: &Path, edit: &RefEdit, old: Option<StatementId>, now: Timestamp) -> Result<File, Error> {
    let mut text = read_text(path)?;
    text.truncate(text.rfind('\n').map_or(0, |end| end + 1)); // a line cut by a full disk or a crash
    let before = text.lines().next_back().unwrap_or_default();
    let (old, new) = (old.unwrap_or(NOWHERE), edit.new.unwrap_or(NOWHERE));
    let message = edit.message.replace(['\n', '\t'], " ");
    let check = check(before, &old, &new, now, &message);
    let line = format!("{} {} {} {check}\t{message}\n", old.to_hex(), new.to_hex(), now.seconds());
    if let Some(folder) = path.parent() {
        disk::make_folder(folder)?;
    }
    let mut file = File::options().create(true).append(true).open(path).doing("open", path)?;
    file.set_len(text.len() as u64).doing("write", path)?;
    file.write_all(line.as_bytes()).doing("write", path)?;
    Ok(file)
}

fn check(before: &str, old: &StatementId, new: &StatementId, at: Timestamp, message: &str) -> String {
    let text = format!("{before}\n{} {} {} {message}", old.to_hex(), new.to_hex(), at.seconds());
    ObjectId::of(text.as_bytes()).short(8)
}

fn read_text(path: &Path) -> Result<String, Error> {
    let bytes = disk::try_read(path, PACKED_REFS_BYTES_MAX)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The moves of a ref, oldest first, and how many lines are damaged.
///
/// # Errors
/// If the file cannot be read.
pub fn read(root: &Path, name: &super::RefName) -> Result<(Vec<Line>, usize), Error> {
    let text = read_text(&root.join("logs").join(name.as_str()))?;
    let (mut lines, mut damaged, mut before) = (Vec::new(), 0, "");
    for text in text.lines() {
        match parse(before, text) {
            Some(line) => lines.push(line),
            None => damaged += 1,
        }
        before = text;
    }
    Ok((lines, damaged))
}

fn parse(before: &str, text: &str) -> Option<Line> {
    let (fields, message) = text.split_once('\t')?;
    let mut fields = fields.split(' ');
    let old: StatementId = fields.next()?.parse().ok()?;
    let new: StatementId = fields.next()?.parse().ok()?;
    let at = Timestamp::new(fields.next()?.parse().ok()?).ok()?;
    if fields.next()? != check(before, &old, &new, at, message) {
        return None;
    }
    let known = |id: StatementId| (id != NOWHERE).then_some(id);
    Some(Line { old: known(old), new: known(new), at, message: message.to_owned() })
}
