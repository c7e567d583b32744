//! The local database: one SQLite file that several commands may open at once.
//!
//! Promises: what [`Database::write`] returned from survives a power cut; a write is whole or
//! absent; a file written by a newer version is refused, not misread (REL-039).
//! Leaves to others: what the tables mean. Each room brings its own with [`Database::migrate`].

use objects::disk::{Context, Scratch};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, TransactionBehavior, params};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a command waits for another one's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts at the first opening, when others turn the same new file to WAL.
const OPEN_ATTEMPTS: u32 = 100;

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refuses.
    #[error("cannot {doing} {}", path.display())]
    Sqlite {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The folder cannot be made.
    #[error(transparent)]
    Disk(#[from] objects::disk::Error),
    /// A newer version of the program wrote it.
    #[error("{} was written by a newer version ({room} {found}, known here: {known})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Whose tables.
        room: &'static str,
        /// The version of the tables.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Sqlite { source, .. } => match source.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => "E-NOSPACE",
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => "E-FORMAT",
                _ => "E-IO",
            },
            Error::Disk(error) => error.code(),
            Error::Newer { .. } => "E-FORMAT",
        }
    }
}

/// An open database. It may be shared between threads.
pub struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Database {
    /// Opens the file, making it and its folder if they are not there.
    ///
    /// # Errors
    /// If the file cannot be opened, or is no database.
    pub fn open(path: &Path) -> Result<Database, Error> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            objects::disk::make_folder(folder)?;
        }
        let opened = Connection::open(path).and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            write_ahead(&connection)?;
            Ok(connection)
        });
        Database::prepare(path, opened)
    }

    /// Opens the file to read it, also where no byte can be written: on a full disk, or one that is
    /// read-only. None if there is no file.
    ///
    /// # Errors
    /// If the file cannot be read, or is no database.
    pub fn open_to_read(path: &Path) -> Result<Option<Database>, Error> {
        if !path.exists() {
            return Ok(None);
        }
        let opened = Database::open(path).or_else(|error| {
            // Beside a database in WAL mode SQLite makes files even to read it. If nothing is in the WAL,
            // there is nothing to agree upon with others, and it can do without them.
            let wal = PathBuf::from(format!("{}-wal", path.display()));
            match std::fs::metadata(wal).map_or(0, |meta| meta.len()) {
                0 => Database::prepare(path, open_immutable(path)),
                _ => Err(error),
            }
        });
        opened.map(Some)
    }

    /// A database in memory, gone when dropped.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn in_memory() -> Result<Database, Error> {
        Database::prepare(Path::new(":memory:"), Connection::open_in_memory())
    }

    fn prepare(path: &Path, opened: rusqlite::Result<Connection>) -> Result<Database, Error> {
        let prepared = opened.and_then(|connection| {
            connection.execute_batch(
                "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;",
            )?;
            Ok(connection)
        });
        let connection = prepared.map_err(|source| failed("open", path, source))?;
        Ok(Database { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// What SQLite finds wrong with the file, or None.
    ///
    /// # Errors
    /// If it is so damaged that it cannot be looked at.
    pub fn check(&self) -> Result<Option<String>, Error> {
        let answer =
            self.read("check", |view| view.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)))?;
        Ok(Some(answer).filter(|answer: &String| answer != "ok"))
    }

    /// Brings the tables of `room` up to date: `steps` are the statements that lead from each
    /// version to the next; those already taken are left out.
    ///
    /// # Errors
    /// `Newer` if the tables are of a version that `steps` does not reach.
    pub fn migrate(&self, room: &'static str, steps: &[&str]) -> Result<(), Error> {
        let known = i64::try_from(steps.len()).expect("a handful of steps");
        let mut found = self.read("read", |view| version(view, room))?;
        if found < known {
            found = self.write("migrate", |tx| migrate(tx, room, steps, known))?;
        }
        if found > known {
            return Err(Error::Newer { path: self.path.clone(), room, found, known });
        }
        Ok(())
    }

    /// Reads within one consistent view.
    ///
    /// # Errors
    /// What `read` met.
    pub fn read<T>(
        &self,
        doing: &'static str,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let connection = self.lock();
        let view = connection.unchecked_transaction().and_then(|view| read(&view));
        view.map_err(|source| failed(doing, &self.path, source))
    }

    /// Writes within one transaction, which no other writer can come between. If `write` fails,
    /// nothing was written.
    ///
    /// # Errors
    /// What `write` met, or if the disk refuses.
    pub fn write<T>(
        &self,
        doing: &'static str,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut connection = self.lock();
        let written = connection.transaction_with_behavior(TransactionBehavior::Immediate).and_then(|tx| {
            let value = write(&tx)?;
            tx.commit()?;
            Ok(value)
        });
        written.map_err(|source| failed(doing, &self.path, source))
    }

    /// As [`Database::write`], but what it returned from may be lost by a power cut, as a whole.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub fn write_unsynced<T>(
        &self,
        doing: &'static str,
        write: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let sync = |how: &str| {
            let set = self.lock().execute_batch(&format!("PRAGMA synchronous = {how}"));
            set.map_err(|source| failed(doing, &self.path, source))
        };
        sync("NORMAL")?;
        let written = self.write(doing, write);
        sync("FULL")?;
        written
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere dropped its transaction, which rolled it back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a file that nobody changes, and makes none beside it.
fn open_immutable(path: &Path) -> rusqlite::Result<Connection> {
    let escaped = path.display().to_string().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(format!("file:{escaped}?immutable=1"), flags)
}

/// The version of the tables of `room`; 0 if there are none.
fn version(view: &Connection, room: &str) -> rusqlite::Result<i64> {
    if !view.table_exists(None, "rooms")? {
        return Ok(0);
    }
    let version = view.query_row("SELECT version FROM rooms WHERE name = ?1", [room], |row| row.get(0));
    Ok(version.optional()?.unwrap_or(0))
}

/// Takes the steps that are missing, and returns the version there is then. Another command may
/// have been quicker.
fn migrate(tx: &Connection, room: &str, steps: &[&str], known: i64) -> rusqlite::Result<i64> {
    tx.execute_batch(
        "CREATE TABLE IF NOT EXISTS rooms (name TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT",
    )?;
    let found = version(tx, room)?;
    for step in steps.iter().skip(usize::try_from(found).unwrap_or(usize::MAX)) {
        tx.execute_batch(step)?;
    }
    let reached = found.max(known);
    tx.execute("INSERT OR REPLACE INTO rooms VALUES (?1, ?2)", params![room, reached])?;
    Ok(reached)
}

/// SQLite does not always say what the system said: where it just could not open or extend a file, the
/// system is asked again, by a file of our own beside it.
fn failed(doing: &'static str, path: &Path, source: rusqlite::Error) -> Error {
    let is_vague =
        matches!(source.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure));
    match path.parent().filter(|_| is_vague).map(is_there_room) {
        Some(Err(error)) => Error::Disk(error),
        _ => Error::Sqlite { doing, path: path.to_owned(), source },
    }
}

/// Fails as the disk does if a file of the size of what SQLite keeps beside the database finds no room.
fn is_there_room(folder: &Path) -> Result<(), objects::disk::Error> {
    const PAGES_BYTES: usize = 64 << 10;
    let probe = Scratch::create(folder, ".tmp")?;
    probe.file().write_all(&[0; PAGES_BYTES]).doing("write", probe.path())
}

/// Turns the file to WAL, where the file system can; network file systems stay with the rollback
/// journal. SQLite does not wait for others here, so we do.
fn write_ahead(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 0..OPEN_ATTEMPTS {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            answer => return answer.map(drop),
        }
    }
    Ok(()) // whichever mode it is in, it is a sound one
}
