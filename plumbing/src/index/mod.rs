//! The index of a repository: a tree that maps names to what a resolver and a reader need.
//!
//! ```text
//! packages/<name>       a PackageRecord each; `/` in a name stands as `~`
//! identities/<id>       an IdentityRow each
//! grants/<id>           a GrantsRow each, of those who grant
//! ```
//!
//! It is a tree of objects like any other, so an update fetches only the runs and records that
//! changed, and `index-db` in an environment is this tree checked out (O11).
//!
//! Promises: reading is bounded; an edit changes nothing but what it names.
//! Leaves to others: the signed head over it (`objects::claim`), and whether that is believed (`trust`).

use crate::trust::{self, Directory};
use objects::blob;
use objects::chunker;
use objects::claim::{GrantsRow, IdentityRow, PackageRecord};
use objects::codec;
use objects::id::{ChunkId, IdentityId, ObjectId, StatementId, TreeId};
use objects::limits::{OBJECT_BYTES_MAX, RELEASE_FILES_MAX};
use objects::name::{EntryName, PackageName};
use objects::object::{Error as ObjectError, Find};
use objects::store::transaction::{STRUCTURE, Transaction};
use objects::tree::{self, Entry, Mode};
use objects::walk::{self, Totals};
use std::collections::BTreeMap;

const PACKAGES: &str = "packages";
const IDENTITIES: &str = "identities";
const GRANTS: &str = "grants";
/// Largest row that names a document, in bytes.
const ROW_BYTES_MAX: u64 = 256;

/// Why an index could not be read or edited.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A record in it is malformed.
    #[error("the record of {name} in the index is malformed")]
    Record {
        /// Whose.
        name: String,
        /// Why.
        source: codec::Error,
    },
    /// A record speaks of another package than its name says.
    #[error("the index has a record of {found} under the name {name}")]
    Misnamed {
        /// Where it stands.
        name: String,
        /// What it says.
        found: PackageName,
    },
    /// Its objects cannot be had.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] objects::disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Record { source, .. } => source.code(),
            Error::Misnamed { .. } => "E-FORMAT",
            Error::Object(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }
}

/// An index, read from a store.
pub struct Index<'a> {
    find: &'a dyn Find,
    packages: BTreeMap<String, Entry>,
    identities: BTreeMap<String, Entry>,
    grants: BTreeMap<String, Entry>,
}

impl<'a> Index<'a> {
    /// The index with the root `root`.
    ///
    /// # Errors
    /// If its trees cannot be read.
    pub fn open(find: &'a dyn Find, root: TreeId) -> Result<Index<'a>, Error> {
        let mut folders: BTreeMap<String, BTreeMap<String, Entry>> = BTreeMap::new();
        for entry in walk::entries(find, root)? {
            if entry.mode == Mode::Dir {
                let below = walk::entries(find, TreeId::new(entry.id))?;
                let named = below.into_iter().map(|entry| (entry.name.as_str().to_owned(), entry)).collect();
                folders.insert(entry.name.as_str().to_owned(), named);
            }
        }
        let mut take = |name: &str| folders.remove(name).unwrap_or_default();
        let (packages, identities, grants) = (take(PACKAGES), take(IDENTITIES), take(GRANTS));
        Ok(Index { find, packages, identities, grants })
    }

    /// An index of nothing.
    pub fn empty(find: &'a dyn Find) -> Index<'a> {
        let empty = BTreeMap::new;
        Index { find, packages: empty(), identities: empty(), grants: empty() }
    }

    /// What it knows of `name`.
    ///
    /// # Errors
    /// If the record is malformed or cannot be read.
    pub fn record(&self, name: &PackageName) -> Result<Option<PackageRecord>, Error> {
        let Some(entry) = self.packages.get(&name.to_component()) else { return Ok(None) };
        let bytes = walk::read_file(self.find, entry, OBJECT_BYTES_MAX as u64)?;
        let record = PackageRecord::decode(&bytes)
            .map_err(|source| Error::Record { name: name.to_string(), source })?;
        if record.name != *name {
            return Err(Error::Misnamed { name: name.to_string(), found: record.name });
        }
        Ok(Some(record))
    }

    /// The names of all packages, sorted; names that no package can have are passed over.
    pub fn names(&self) -> Vec<PackageName> {
        self.packages.keys().filter_map(|name| PackageName::from_component(name).ok()).collect()
    }

    /// The newest document of an identity, as the index names it.
    ///
    /// # Errors
    /// If the row is malformed or cannot be read.
    pub fn identity(&self, id: IdentityId) -> Result<Option<IdentityRow>, Error> {
        self.row(&self.identities, id, IdentityRow::decode)
    }

    /// All identities that the index names, with their newest documents.
    ///
    /// # Errors
    /// As [`Index::identity`].
    pub fn identities(&self) -> Result<Vec<(IdentityId, IdentityRow)>, Error> {
        let ids = self.identities.keys().filter_map(|id| id.parse::<IdentityId>().ok());
        ids.filter_map(|id| self.identity(id).map(|row| row.map(|row| (id, row))).transpose()).collect()
    }

    /// The newest grants of an identity, as the index names them; None if it grants nothing.
    ///
    /// # Errors
    /// If the row is malformed or cannot be read.
    pub fn grants(&self, id: IdentityId) -> Result<Option<GrantsRow>, Error> {
        self.row(&self.grants, id, GrantsRow::decode)
    }

    fn row<T>(
        &self,
        rows: &BTreeMap<String, Entry>,
        id: IdentityId,
        decode: fn(&[u8]) -> Result<T, codec::Error>,
    ) -> Result<Option<T>, Error> {
        let Some(entry) = rows.get(&id.to_hex()) else { return Ok(None) };
        let bytes = walk::read_file(self.find, entry, ROW_BYTES_MAX)?;
        decode(&bytes).map(Some).map_err(|source| Error::Record { name: id.nick(), source })
    }

    /// All who grant, with their newest grants.
    ///
    /// # Errors
    /// As [`Index::grants`].
    pub fn issuers(&self) -> Result<Vec<(IdentityId, GrantsRow)>, Error> {
        let ids = self.grants.keys().filter_map(|id| id.parse::<IdentityId>().ok());
        ids.filter_map(|id| self.grants(id).map(|row| row.map(|row| (id, row))).transpose()).collect()
    }
}

impl Directory for Index<'_> {
    fn identity(&self, id: IdentityId) -> Result<Option<IdentityRow>, trust::Error> {
        Index::identity(self, id).map_err(|error| unread(id, error))
    }

    fn grants(&self, id: IdentityId) -> Result<Option<GrantsRow>, trust::Error> {
        Index::grants(self, id).map_err(|error| unread(id, error))
    }
}

fn unread(id: IdentityId, error: Error) -> trust::Error {
    trust::Error::fetch(StatementId::new(id.object()), error.code(), error)
}

/// What an edit adds or replaces.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Records, by the name in them.
    pub records: Vec<PackageRecord>,
    /// Heads of identities.
    pub identities: Vec<(IdentityId, IdentityRow)>,
    /// Heads of grants.
    pub grants: Vec<(IdentityId, GrantsRow)>,
}

/// Writes the index that `old` and `changes` make; gives its root and what it holds.
///
/// # Errors
/// If the old index cannot be read, or the disk refuses.
pub fn edit(
    old: Index<'_>,
    changes: &Changes,
    transaction: &mut Transaction<'_>,
) -> Result<(TreeId, Totals), Error> {
    let Index { mut packages, mut identities, mut grants, .. } = old;
    for record in &changes.records {
        let entry = write_file(transaction, &record.name.to_component(), &record.encode())?;
        packages.insert(entry.name.as_str().to_owned(), entry);
    }
    for (id, row) in &changes.identities {
        let entry = write_file(transaction, &id.to_hex(), &row.encode())?;
        identities.insert(entry.name.as_str().to_owned(), entry);
    }
    for (id, row) in &changes.grants {
        let entry = write_file(transaction, &id.to_hex(), &row.encode())?;
        grants.insert(entry.name.as_str().to_owned(), entry);
    }
    let mut totals = Totals::default();
    let mut folders = Vec::new();
    for (name, entries) in [(GRANTS, grants), (IDENTITIES, identities), (PACKAGES, packages)] {
        if name == GRANTS && entries.is_empty() {
            continue; // few grant anything
        }
        let entries: Vec<Entry> = entries.into_values().collect();
        let size = tree::sum(&entries);
        totals.files += 1 + entries.len() as u64;
        totals.bytes += size;
        let id = write_tree(transaction, entries)?.object();
        folders.push(Entry { name: entry_name(name), mode: Mode::Dir, size, id });
    }
    assert!(totals.files <= RELEASE_FILES_MAX, "an index of two million packages needs another format");
    Ok((write_tree(transaction, folders)?, totals))
}

fn entry_name(name: &str) -> EntryName {
    EntryName::new(name).expect("package names and hexadecimal ids are entry names")
}

fn write_tree(transaction: &mut Transaction<'_>, entries: Vec<Entry>) -> Result<TreeId, Error> {
    let built =
        tree::build(entries).map_err(|source| ObjectError::tree(TreeId::new(ObjectId::of(&[])), source))?;
    let mut last = None;
    for (id, bytes) in built {
        transaction.write_as(id.object(), &bytes, STRUCTURE)?;
        last = Some(id);
    }
    Ok(last.expect("a tree has at least its own object"))
}

/// Records share frames with trees: both are small, and both are read to know what there is.
fn write_file(transaction: &mut Transaction<'_>, name: &str, content: &[u8]) -> Result<Entry, Error> {
    let mut pieces = Vec::new();
    for range in chunker::chunks(content) {
        let bytes = &content[range];
        let id = ObjectId::of(bytes);
        transaction.write_as(id, bytes, STRUCTURE)?;
        pieces.push((ChunkId::new(id), bytes.len() as u64));
    }
    let (name, size) = (entry_name(name), content.len() as u64);
    if let [(chunk, _)] = pieces.as_slice() {
        return Ok(Entry { name, mode: Mode::File, size, id: chunk.object() });
    }
    let mut last = None;
    for (id, bytes) in blob::build(&pieces) {
        transaction.write_as(id.object(), &bytes, STRUCTURE)?;
        last = Some(id.object());
    }
    Ok(Entry { name, mode: Mode::FileBlob, size, id: last.expect("a blob has at least its own object") })
}
