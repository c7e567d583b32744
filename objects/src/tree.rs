//! Trees: a directory as a sorted list of entries.
//!
//! ```text
//! tree      ["tree/1", [[name, mode, size, id], …]]
//! tree fan  ["tree-fan/1", [[first name, tree id, entries, bytes], …]]     more than 4,096 entries
//! ```
//!
//! Promises: names in a decoded tree are checked, unique and sorted by their bytes; the empty
//! directory has one encoding. No owner, time or attribute is stored (REL-040).
//! Leaves to others: walking ([`crate::walk`]), where links lead ([`crate::links`]).

use crate::blob::is_tagged;
use crate::codec::{self, Error};
use crate::fan;
use crate::id::{ObjectId, TreeId};
use crate::limits::{OBJECT_BYTES_MAX, ROWS_MAX};
use crate::name::EntryName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const TREE: &str = "tree/1";
const FAN: &str = "tree-fan/1";

/// What an entry is, and by which kind of object its content is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A file of one chunk.
    File,
    /// A file of several chunks, named by a blob.
    FileBlob,
    /// An executable of one chunk.
    Exec,
    /// An executable of several chunks, named by a blob.
    ExecBlob,
    /// A symbolic link; the chunk holds its target.
    Link,
    /// A directory.
    Dir,
}

impl Mode {
    /// A file's mode.
    pub fn file(executable: bool, is_blob: bool) -> Mode {
        match (executable, is_blob) {
            (false, false) => Mode::File,
            (false, true) => Mode::FileBlob,
            (true, false) => Mode::Exec,
            (true, true) => Mode::ExecBlob,
        }
    }

    /// True for an executable file.
    pub fn is_exec(self) -> bool {
        matches!(self, Mode::Exec | Mode::ExecBlob)
    }

    /// True for a file, executable or not.
    pub fn is_file(self) -> bool {
        !matches!(self, Mode::Link | Mode::Dir)
    }

    /// True if the content is named by a blob.
    pub fn is_blob(self) -> bool {
        matches!(self, Mode::FileBlob | Mode::ExecBlob)
    }

    fn number(self) -> u8 {
        match self {
            Mode::File => 0,
            Mode::FileBlob => 1,
            Mode::Exec => 2,
            Mode::ExecBlob => 3,
            Mode::Link => 4,
            Mode::Dir => 5,
        }
    }

    /// The six octal digits git shows for the same thing.
    pub fn octal(self) -> &'static str {
        match self {
            Mode::File | Mode::FileBlob => "100644",
            Mode::Exec | Mode::ExecBlob => "100755",
            Mode::Link => "120000",
            Mode::Dir => "040000",
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.number())
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = [Mode::File, Mode::FileBlob, Mode::Exec, Mode::ExecBlob, Mode::Link, Mode::Dir];
        let number = u8::deserialize(deserializer)?;
        all.into_iter()
            .find(|mode| mode.number() == number)
            .ok_or_else(|| serde::de::Error::custom(format_args!("{number} is not a mode")))
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "EntryRow")]
pub struct Entry {
    /// Its name.
    pub name: EntryName,
    /// What it is.
    pub mode: Mode,
    /// Bytes: of the file, of the link's target, of all below a directory.
    pub size: u64,
    /// The chunk, blob or tree, as the mode says.
    pub id: ObjectId,
}

#[derive(Deserialize)]
struct EntryRow(EntryName, Mode, u64, ObjectId);

impl From<EntryRow> for Entry {
    fn from(EntryRow(name, mode, size, id): EntryRow) -> Self {
        Entry { name, mode, size, id }
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.name, self.mode, self.size, self.id).serialize(serializer)
    }
}

/// One run of a long directory: its first name, its tree object, how many entries, how many bytes.
pub type Run = (EntryName, TreeId, u64, u64);

/// A tree object: all entries of a directory, or the runs they are split into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// The entries, sorted by name.
    Entries(Vec<Entry>),
    /// The runs, sorted by first name.
    Fan(Vec<Run>),
}

#[derive(Serialize, Deserialize)]
struct Rows<T>(String, Vec<T>);

impl Tree {
    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Tree::Entries(entries) => codec::encode(&(TREE, entries)),
            Tree::Fan(runs) => codec::encode(&(FAN, runs)),
        }
    }

    /// Reads a tree; names must be good, unique and sorted.
    ///
    /// # Errors
    /// `E-PATH` for a name that leads elsewhere, else `E-FORMAT`; `E-LIMIT` for too many rows.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        Tree::decode_shape(bytes).or_else(|error| {
            check_names(bytes)?;
            Err(error.into())
        })
    }

    fn decode_shape(bytes: &[u8]) -> Result<Self, Error> {
        if is_tagged(bytes, FAN) {
            let runs = decode_rows::<Run>("tree fan", FAN, bytes)?;
            check_sorted(runs.iter().map(|run| &run.0))?;
            if runs.is_empty() {
                return Err(Error::malformed(
                    "tree fan",
                    "it has no run: the empty directory is a plain tree",
                ));
            }
            Ok(Tree::Fan(runs))
        } else {
            let entries = decode_rows::<Entry>("tree", TREE, bytes)?;
            check_sorted(entries.iter().map(|entry| &entry.name))?;
            Ok(Tree::Entries(entries))
        }
    }
}

/// Why bytes are no tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A name in it is refused.
    #[error("tree holds a refused name")]
    Name(#[from] crate::name::Error),
    /// It is malformed.
    #[error(transparent)]
    Format(#[from] Error),
}

impl TreeError {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            TreeError::Name(error) => error.code(),
            TreeError::Format(error) => error.code(),
        }
    }
}

/// Looks at the names of bytes that did not decode, so that a refused name is told as what it is
/// (`E-PATH`) and not as a decoding error.
fn check_names(bytes: &[u8]) -> Result<(), TreeError> {
    #[derive(Deserialize)]
    struct Loose(#[allow(dead_code)] String, Vec<LooseRow>);
    #[derive(Deserialize)]
    struct LooseRow(
        String,
        #[allow(dead_code)] serde::de::IgnoredAny,
        #[allow(dead_code)] serde::de::IgnoredAny,
        #[allow(dead_code)] serde::de::IgnoredAny,
    );
    if bytes.len() > OBJECT_BYTES_MAX {
        return Ok(());
    }
    let Ok(Loose(_, rows)) = serde_ipld_dagcbor::from_slice::<Loose>(bytes) else { return Ok(()) };
    for LooseRow(name, ..) in rows {
        EntryName::new(name)?;
    }
    Ok(())
}

fn decode_rows<T>(what: &'static str, tag: &str, bytes: &[u8]) -> Result<Vec<T>, Error>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    let Rows(first, rows) = codec::decode::<Rows<T>>(what, bytes, OBJECT_BYTES_MAX)?;
    if first != tag {
        return Err(Error::malformed(what, format_args!("its first field is not {tag:?}")));
    }
    if rows.len() > ROWS_MAX {
        return Err(Error::TooLong { what: "list of entries", bytes: rows.len(), bytes_max: ROWS_MAX });
    }
    Ok(rows)
}

fn check_sorted<'a>(names: impl Iterator<Item = &'a EntryName>) -> Result<(), Error> {
    let mut before: Option<&EntryName> = None;
    for name in names {
        if before.is_some_and(|b| b.as_str().as_bytes() >= name.as_str().as_bytes()) {
            return Err(Error::malformed("tree", format_args!("name {name} is doubled or out of order")));
        }
        before = Some(name);
    }
    Ok(())
}

/// The objects of a directory of `entries`, which this sorts: the runs first, the tree itself last.
///
/// # Errors
/// `Malformed` if two entries have one name.
pub fn build(mut entries: Vec<Entry>) -> Result<Vec<(TreeId, Vec<u8>)>, Error> {
    entries.sort_by(|a, b| a.name.as_str().as_bytes().cmp(b.name.as_str().as_bytes()));
    check_sorted(entries.iter().map(|entry| &entry.name))?;
    let encoded = |entries: &[Entry]| {
        let bytes = codec::encode(&(TREE, entries));
        (TreeId::new(ObjectId::of(&bytes)), bytes)
    };
    let runs = fan::runs(&entries, |entry| ObjectId::of(entry.name.as_str().as_bytes()));
    let mut objects: Vec<_> = runs.iter().map(|run| encoded(run)).collect();
    if runs.len() > 1 {
        let row = |(id, run): (TreeId, &[Entry])| (run[0].name.clone(), id, run.len() as u64, sum(run));
        let ids = objects.iter().map(|(id, _)| *id);
        let bytes = Tree::Fan(ids.zip(runs).map(row).collect()).encode();
        objects.push((TreeId::new(ObjectId::of(&bytes)), bytes));
    }
    Ok(objects)
}

/// Bytes of all entries together; the most there can be if forged sizes go beyond that.
pub fn sum(entries: &[Entry]) -> u64 {
    entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
}
