//! The reflog: where each ref was, when and why it moved.
//!
//! ```text
//! logs/<ref>    one line a move: <old> SP <new> SP <seconds> SP <check> TAB <message>
//! ```
//!
//! `check` is eight digits of the BLAKE3 of the line before it and the rest of this one, so that
//! damage shows. Zeros stand for "nowhere".
//!
//! Promises: a line is appended before its ref moves; a line cut by a crash is passed over, and taken
//! away by the next.

use super::{Error, RefEdit, RefName};
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

pub(super) fn append(
    root: &Path,
    edit: &RefEdit,
    old: Option<StatementId>,
    now: Timestamp,
) -> Result<(), Error> {
    let path = root.join("logs").join(edit.name.as_str());
    let bytes = read_bytes(&path)?;
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (text, cut) = (String::from_utf8_lossy(&bytes[..end]), String::from_utf8_lossy(&bytes[end..]));
    let mut lines: Vec<&str> = text.lines().collect();
    let is_line = parse(lines.last().copied().unwrap_or_default(), &cut).is_some();
    if is_line {
        lines.push(&cut); // only its end was lost
    }
    let from_end = |n: usize| lines.iter().rev().nth(n).copied().unwrap_or_default();
    let new_after = |before: &str| new_line(before, edit, old, now);
    if from_end(0) == new_after(from_end(1)) {
        return Ok(()); // a killed process had come this far
    }
    let folder = path.parent().unwrap_or(root);
    disk::make_folder(folder)?;
    let is_new = !path.exists();
    let mut file = File::options().create(true).append(true).open(&path).doing("open", &path)?;
    if !is_line {
        file.set_len(end as u64).doing("cut", &path)?;
    }
    let lead = if is_line { "\n" } else { "" };
    file.write_all(format!("{lead}{}\n", new_after(from_end(0))).as_bytes()).doing("write", &path)?;
    file.sync_all().doing("sync", &path)?;
    if is_new {
        disk::sync_folder(folder)?;
    }
    Ok(())
}

/// Writes a log anew from lines that were read from it, or that stand for what is lost.
///
/// # Errors
/// If the disk refuses; the old log then stands.
pub fn rewrite(root: &Path, name: &RefName, lines: &[Line]) -> Result<(), Error> {
    let (mut text, mut before) = (String::new(), String::new());
    for line in lines {
        let edit = RefEdit {
            name: name.clone(),
            previous: super::PreviousValue::Any,
            new: line.new,
            message: line.message.clone(),
        };
        before = new_line(&before, &edit, line.old, line.at);
        text.push_str(&before);
        text.push('\n');
    }
    Ok(disk::write_whole(&root.join("logs").join(name.as_str()), text.as_bytes())?)
}

fn new_line(before: &str, edit: &RefEdit, old: Option<StatementId>, now: Timestamp) -> String {
    let (old, new) = (old.unwrap_or(NOWHERE), edit.new.unwrap_or(NOWHERE));
    let message = edit.message.replace(char::is_control, " ");
    let check = check(before, &old, &new, now, &message);
    format!("{} {} {} {check}\t{message}", old.to_hex(), new.to_hex(), now.seconds())
}

fn check(before: &str, old: &StatementId, new: &StatementId, at: Timestamp, message: &str) -> String {
    let text = format!("{before}\n{} {} {} {message}", old.to_hex(), new.to_hex(), at.seconds());
    ObjectId::of(text.as_bytes()).short(8)
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(disk::try_read(path, PACKED_REFS_BYTES_MAX)?.unwrap_or_default())
}

/// The moves of a ref, oldest first, and how many lines are damaged; one that lost its end counts.
///
/// # Errors
/// If the file cannot be read.
pub fn read(root: &Path, name: &RefName) -> Result<(Vec<Line>, usize), Error> {
    let bytes = read_bytes(&root.join("logs").join(name.as_str()))?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut lines, mut damaged, mut before) = (Vec::new(), 0, "");
    for text in text.lines() {
        match parse(before, text) {
            Some(line) => lines.push(line),
            None => damaged += 1,
        }
        before = text;
    }
    damaged += usize::from(!text.is_empty() && !text.ends_with('\n'));
    Ok((lines, damaged))
}

/// The refs that have a log, or None if the repository keeps none, as a mirror.
///
/// # Errors
/// If a folder cannot be read.
pub fn names(root: &Path) -> Result<Option<Vec<RefName>>, Error> {
    let logs = root.join("logs");
    if !logs.exists() {
        return Ok(None);
    }
    let (mut found, mut folders) = (Vec::new(), vec![String::new()]);
    while let Some(folder) = folders.pop() {
        for name in disk::list(&logs.join(&folder))? {
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if logs.join(&path).is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.parse() {
                found.push(name);
            }
        }
    }
    Ok(Some(found))
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
