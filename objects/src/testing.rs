//! Helpers for tests of stores, here and in the crates above (feature `testing`).
//!
//! Promises: everything drawn comes from a seed, so that a failure can be run again; every file lies
//! in a temporary folder that goes with its owner; what cannot work panics and says why.
//! Leaves to others: journeys of the whole program, and everything that needs a network.

mod damage;
mod folder;
pub mod fuzz;
pub mod literally;
mod loose;
pub mod memory;
pub mod mutation;
mod published;
mod random;
pub mod smoke;

pub use damage::Damage;
pub use folder::{Files, Stamp, snapshot, snapshot_of_store};
pub use loose::Loose;
pub use published::Author;
pub use random::Random;

use crate::id::{ObjectId, PackId};
use crate::ingest::{self, Ingested};
use crate::progress::Silent;
use crate::repository::Repository;
use crate::store::Store;
use crate::store::pack::{self, writer};
use std::ops::Deref;
use std::path::Path;
use tempfile::TempDir;

/// A temporary folder, in memory where the system has a place for that: what is written by the
/// thousand need not wait for a disk.
pub fn folder_in_memory() -> TempDir {
    let in_memory = TempDir::with_prefix_in("pkg-", "/dev/shm");
    in_memory.or_else(|_| TempDir::with_prefix("pkg-")).expect("a temporary folder can be made")
}

/// A repository in a folder of its own, removed when dropped.
pub struct TempRepository {
    repository: Repository,
    _folder: TempDir,
}

impl TempRepository {
    /// An empty repository.
    pub fn new() -> TempRepository {
        TempRepository::within(&std::env::temp_dir())
    }

    /// An empty repository in a fresh folder inside `parent`: for a disk of another type.
    pub fn within(parent: &Path) -> TempRepository {
        let folder = TempDir::with_prefix_in("pkg-", parent).expect("a temporary folder can be made");
        let repository = Repository::init(&folder.path().join("repository"));
        TempRepository { repository: repository.expect("the folder is fresh"), _folder: folder }
    }

    /// The same repository as another process would open it.
    pub fn reopened(&self) -> Repository {
        Repository::open(self.root()).expect("it was just made")
    }

    /// The same objects as another process would open them.
    pub fn reopened_store(&self) -> Store {
        Store::open(&self.root().join("objects")).expect("the folder can be read")
    }

    /// Adds `objects` as one pack.
    pub fn add<B: AsRef<[u8]>>(&self, objects: &[B]) -> Vec<ObjectId> {
        let mut transaction =
            self.store().transaction(writer::Options::default()).expect("the staging folder is ours");
        let written: Result<_, _> = objects.iter().map(|object| transaction.write(object.as_ref())).collect();
        transaction.commit().expect("the disk takes a small pack");
        written.expect("the disk takes a small object")
    }

    /// Takes the folder `from` in, names that some systems cannot hold included.
    pub fn ingest(&self, from: &Path) -> Ingested {
        let options = ingest::Options { allow_unportable: true, ..Default::default() };
        let mut transaction =
            self.store().transaction(writer::Options::default()).expect("the staging folder is ours");
        let ingested = ingest::ingest(&mut transaction, from, options, &Silent);
        let ingested =
            ingested.unwrap_or_else(|error| panic!("{} cannot be taken in: {error}", from.display()));
        transaction.commit().expect("the disk takes a pack");
        ingested
    }

    /// Puts a pack and its index where the store looks for them, however wrong they are.
    pub fn plant(&self, id: PackId, pack: &[u8], index: Option<&[u8]>) {
        let folder = self.store().packs_folder();
        if let Some(index) = index {
            std::fs::write(folder.join(pack::index_name(id)), index).expect("the folder is ours");
        }
        std::fs::write(folder.join(pack::file_name(id)), pack).expect("the folder is ours");
    }
}

impl Default for TempRepository {
    fn default() -> Self {
        TempRepository::new()
    }
}

impl Deref for TempRepository {
    type Target = Repository;
    fn deref(&self) -> &Repository {
        &self.repository
    }
}
