//! A bare repository: objects, refs, statements, configuration and the signed head in one folder.
//!
//! ```text
//! config            TOML, with a checksum line        statements/   identities, grants, entries, …
//! objects/pack/     *.pack *.idx                      refs/ packed-refs   where names point
//! objects/tmp/      staging                           logs/         where they pointed
//! objects/info/     list of packs                     summary       signed head, written last
//! ```
//!
//! Promises: packs before statements, statements before refs, refs before `summary`: whoever reads
//! the summary finds what it names. Any copy of the folder is a mirror.
//! Leaves to others: what to publish, what to believe.

use crate::chunker;
use crate::disk::{self, Context};
use crate::id::{ObjectId, PackId, TreeId};
use crate::limits::{CONFIG_BYTES_MAX, PACK_LIST_BYTES_MAX, SUMMARY_BYTES_MAX};
use crate::packlist::{self, ListedPack};
use crate::refs::Refs;
use crate::statements::Statements;
use crate::store::Store;
use crate::store::pack::{Pack, file_name, index_name};
use crate::summary::Summary;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format this program writes and reads.
pub const FORMAT: u32 = 1;

/// Why a folder does not serve as a repository.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error("{} is no repository", path.display())]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// There is one already.
    #[error("{} is a repository already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Its configuration is malformed.
    #[error("{} is malformed: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// It was written by a newer program, or with other chunking (REL-039).
    #[error("{} has format {found}; this program reads format {FORMAT}: use a newer pkg", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it states.
        found: String,
    },
    /// Its summary is malformed.
    #[error("the summary of {} is malformed", path.display())]
    Summary {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: crate::signed::Error,
    },
    /// Objects cannot be had.
    #[error(transparent)]
    Object(#[from] crate::object::Error),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::None { .. } => "E-NOTFOUND",
            Error::Exists { .. } => "E-CONFLICT",
            Error::Config { .. } | Error::Newer { .. } => "E-FORMAT",
            Error::Summary { source, .. } => source.code(),
            Error::Object(error) => error.code(),
            Error::Disk(error) => error.code(),
        }
    }
}

/// An open repository.
pub struct Repository {
    root: PathBuf,
    store: Store,
    refs: Refs,
    statements: Statements,
}

impl Repository {
    /// Makes an empty repository in `root`, which may exist if it holds none.
    ///
    /// # Errors
    /// `Exists` if there is one.
    pub fn init(root: &Path) -> Result<Repository, Error> {
        if root.join("config").exists() {
            return Err(Error::Exists { path: root.to_owned() });
        }
        for folder in ["objects/pack", "objects/info", "objects/tmp", "refs", "statements"] {
            disk::make_folder(&root.join(folder))?;
        }
        disk::write_whole(&root.join("config"), config_text().as_bytes())?;
        Repository::open(root)
    }

    /// Opens the repository in `root`.
    ///
    /// # Errors
    /// `None` if there is none, `Newer` if this program cannot read it.
    pub fn open(root: &Path) -> Result<Repository, Error> {
        let path = root.join("config");
        let config = disk::try_read(&path, CONFIG_BYTES_MAX)?;
        check_config(&config.ok_or_else(|| Error::None { path: root.to_owned() })?, &path)?;
        Ok(Repository {
            store: Store::open(&root.join("objects"))?,
            refs: Refs::new(root),
            statements: Statements::new(root),
            root: root.to_owned(),
        })
    }

    /// Opens the repository in `root`, or makes one.
    ///
    /// # Errors
    /// As [`Repository::open`] and [`Repository::init`].
    pub fn open_or_init(root: &Path) -> Result<Repository, Error> {
        match Repository::init(root) {
            Err(Error::Exists { .. }) => Repository::open(root),
            other => other,
        }
    }

    /// Its folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its objects.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its refs.
    pub fn refs(&self) -> &Refs {
        &self.refs
    }

    /// Its statements.
    pub fn statements(&self) -> &Statements {
        &self.statements
    }

    /// Its signed head, or None if nothing was published yet.
    ///
    /// # Errors
    /// `Summary` if it is malformed.
    pub fn summary(&self) -> Result<Option<Summary>, Error> {
        let Some(bytes) = disk::try_read(&self.root.join("summary"), SUMMARY_BYTES_MAX)? else {
            return Ok(None);
        };
        let summary = Summary::decode(&bytes);
        summary.map(Some).map_err(|source| Error::Summary { path: self.root.clone(), source })
    }

    /// Replaces the signed head. Everything it names has to be durable.
    ///
    /// # Errors
    /// If the disk refuses; the old head then stands.
    pub fn write_summary(&self, summary: &Summary) -> Result<(), Error> {
        Ok(disk::write_whole(&self.root.join("summary"), &summary.encode())?)
    }

    /// Holds off `gc` while objects are added that no ref names yet. Released when dropped, or when
    /// the process ends.
    ///
    /// # Errors
    /// If the lock file refuses.
    pub fn lock_shared(&self) -> Result<Lock, Error> {
        let (file, path) = self.lock_file()?;
        file.lock_shared().doing("lock", &path)?;
        self.store.refresh()?; // while we waited, packs may have gone
        Ok(Lock(file))
    }

    /// Waits until nobody adds objects, then holds everybody off.
    ///
    /// # Errors
    /// If the lock file refuses.
    pub fn lock_exclusive(&self) -> Result<Lock, Error> {
        let (file, path) = self.lock_file()?;
        file.lock().doing("lock", &path)?;
        self.store.refresh()?;
        Ok(Lock(file))
    }

    /// Holds everybody off, unless somebody holds the lock: then None.
    ///
    /// # Errors
    /// If the lock file refuses.
    pub fn try_lock_exclusive(&self) -> Result<Option<Lock>, Error> {
        let (file, path) = self.lock_file()?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        }
        .doing("lock", &path)?;
        self.store.refresh()?;
        Ok(Some(Lock(file)))
    }

    /// Waits until nobody else signs for this repository, then holds them off: the next index grows
    /// from the last one, so publications list their releases one after the other (REL-024).
    ///
    /// # Errors
    /// If the lock file refuses.
    pub fn lock_signing(&self) -> Result<Lock, Error> {
        Ok(disk::lock_file(&self.root.join("signing.lock")).map(Lock)?)
    }

    fn lock_file(&self) -> Result<(File, PathBuf), disk::Error> {
        let path = self.root.join("lock");
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
        Ok((file, path))
    }

    /// The list of packs as it stands on disk; empty if there is none or it is malformed, since it
    /// is a hint that [`Repository::write_pack_list`] makes again.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn pack_list(&self) -> Result<Vec<ListedPack>, Error> {
        let bytes = disk::try_read(&self.pack_list_path(), PACK_LIST_BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| packlist::decode(&bytes).ok()).unwrap_or_default())
    }

    /// Writes the list of packs anew. `made_for` adds the trees a new pack was made for; packs that
    /// are gone hand theirs on to `heir`.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn write_pack_list(&self, made_for: &[(PackId, TreeId)], heir: Option<PackId>) -> Result<(), Error> {
        self.store.refresh()?;
        let list = self.listed(&self.store.packs(), made_for, heir)?;
        Ok(disk::write_whole(&self.pack_list_path(), &packlist::encode(&list))?)
    }

    /// Writes the list of packs without `leaving`, which are about to be removed: a reader never finds
    /// a pack listed that is gone, even if nobody comes to list them again. On a full disk, where they go
    /// to make room (REL-014), the list is cut down where it stands: whoever reads it meanwhile sees that
    /// it is malformed and asks again.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn unlist_packs(&self, leaving: &[PackId], heir: Option<PackId>) -> Result<(), Error> {
        self.store.refresh()?;
        let mut packs = self.store.packs();
        packs.retain(|pack| !leaving.contains(&pack.id()));
        let list = packlist::encode(&self.listed(&packs, &[], heir)?);
        match disk::write_whole(&self.pack_list_path(), &list) {
            Err(error) if error.code() == "E-NOSPACE" => {
                Ok(disk::cut_down(&self.pack_list_path(), &list).map_err(|_| error)?)
            }
            written => Ok(written?),
        }
    }

    fn listed(
        &self,
        packs: &[Arc<Pack>],
        made_for: &[(PackId, TreeId)],
        heir: Option<PackId>,
    ) -> Result<Vec<ListedPack>, Error> {
        let mut old = self.pack_list()?;
        let gone = old.extract_if(.., |listed| !packs.iter().any(|pack| pack.id() == listed.id));
        let orphans: Vec<TreeId> = gone.flat_map(|listed| listed.tips).collect();
        let mut list = Vec::with_capacity(packs.len());
        for pack in packs {
            let id = pack.id();
            let known = old.iter().find(|listed| listed.id == id);
            let mut tips = known.map(|listed| listed.tips.clone()).unwrap_or_default();
            tips.extend(made_for.iter().filter(|(made, _)| *made == id).map(|(_, tree)| *tree));
            if heir == Some(id) {
                tips.extend(&orphans);
            }
            tips.sort();
            tips.dedup();
            let bytes = pack.table().frames_bytes() + pack.table().tail().len() as u64;
            let index_path = self.store.packs_folder().join(index_name(id));
            let index_bytes = std::fs::metadata(&index_path).doing("read", &index_path)?.len();
            list.push(ListedPack { id, bytes, index_bytes, objects: pack.index().len() as u64, tips });
        }
        list.sort_by_key(|pack| pack.id);
        Ok(list)
    }

    fn pack_list_path(&self) -> PathBuf {
        self.store.info_folder().join("packs")
    }
}

/// Keeps its file locked until it is dropped.
pub struct Lock(#[allow(dead_code)] File);

/// Where the signed head stands, as a relative key.
pub const SUMMARY_KEY: &str = "summary";
/// Where the index over several packs stands, as a relative key.
pub const MULTI_INDEX_KEY: &str = "objects/info/multi-index";
/// Where the list of packs stands, as a relative key.
pub const PACK_LIST_KEY: &str = "objects/info/packs";

/// Where a pack stands, as a relative key.
pub fn pack_key(id: PackId) -> String {
    format!("objects/pack/{}", file_name(id))
}

/// Where the index of a pack stands, as a relative key.
pub fn pack_index_key(id: PackId) -> String {
    format!("objects/pack/{}", index_name(id))
}

pub(crate) fn config_text() -> String {
    let body = format!(
        "[repository]\nformat = {FORMAT}\n\n[chunking]\nalgorithm = \"fastcdc-2020\"\nmin-bytes = {}\naverage-bytes = {}\nmax-bytes = {}\nnormalization = 2\n",
        chunker::BYTES_MIN,
        chunker::BYTES_AVERAGE,
        chunker::BYTES_MAX,
    );
    format!("{body}\n# check {}\n", ObjectId::of(body.as_bytes()).short(16))
}

/// Format 1 has one configuration, so anything else is another format or damage.
pub(crate) fn check_config(bytes: &[u8], path: &Path) -> Result<(), Error> {
    if bytes == config_text().as_bytes() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(bytes);
    let stated = text.lines().find_map(|line| line.strip_prefix("format = "));
    match stated {
        Some(found) if found.parse::<u32>().is_ok_and(|found| found > FORMAT) => {
            Err(Error::Newer { path: path.to_owned(), found: found.to_owned() })
        }
        _ => Err(Error::Config { path: path.to_owned(), reason: "it differs from what format 1 has".into() }),
    }
}
