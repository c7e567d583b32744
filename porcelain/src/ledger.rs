//! What this machine has signed, so that it never signs another thing under the same number.
//!
//! A line is a package's log, the indexes of a repository, the documents or the grants of an identity.
//!
//! Promises: heads only grow; they are on disk before the statement can be seen (REL-042, REL-043).

use crate::error::Error;
use crate::rebuild;
use crate::session::Session;
use objects::id::{ObjectId, StatementId};
use objects::repository::Repository;
use objects::signed::Envelope;
use plumbing::trust::{Database, State};

const ROOM: &str = "ledger";
const STEPS: &[&str] = &[
    "CREATE TABLE ledger_heads (log TEXT PRIMARY KEY, seq INTEGER NOT NULL, entry BLOB NOT NULL, place TEXT NOT NULL) STRICT;
     CREATE TABLE ledger_entries (id BLOB PRIMARY KEY, envelope BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "ALTER TABLE ledger_heads ADD COLUMN shown INTEGER NOT NULL DEFAULT 1",
];

/// The newest entry that was signed in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// The entry.
    pub entry: StatementId,
    /// The repository it was published to.
    pub place: String,
    /// False if it is not known to have been seen there: a publication that was cut off may have lost what
    /// it is about.
    pub shown: bool,
}

/// The newest statement of each log that was published to `repository` last. Needs no room on disk.
///
/// # Errors
/// If the database is there and cannot be read.
pub fn newest_for(session: &Session, repository: &Repository) -> Result<Vec<Envelope>, Error> {
    let Some(database) = Database::open_to_read(&rebuild::path(session.home()))? else {
        return Ok(Vec::new());
    };
    newest(&database, Some(&place(repository)))
}

/// The newest statement of each log, of those at `place` if it is given.
fn newest(database: &Database, place: Option<&str>) -> Result<Vec<Envelope>, Error> {
    const JOINED: &str = "SELECT envelope FROM ledger_heads JOIN ledger_entries ON entry = id \
                          WHERE ?1 IS NULL OR place = ?1";
    let found = database.read("read", |view| {
        if !view.table_exists(None, "ledger_heads")? {
            return Ok(Vec::new());
        }
        let mut query = view.prepare(JOINED)?;
        let rows = query.query_map([place], |row| row.get::<_, Vec<u8>>(0))?;
        rows.collect::<Result<Vec<_>, _>>()
    })?;
    let envelopes = found.iter().map(|bytes| Envelope::decode(bytes)).collect::<Result<_, _>>();
    Ok(envelopes.map_err(objects::signed::Error::from)?)
}

/// A statement that this machine signed.
///
/// # Errors
/// `Missing` if it signed none of that id.
pub fn find(session: &Session, id: StatementId) -> Result<Envelope, Error> {
    let found = Ledger::open(session.state()?)?.entry(id)?;
    Ok(found.ok_or(objects::statements::Error::Missing(id))?)
}

/// What the ledger calls a repository: its folder, without links.
pub fn place(repository: &Repository) -> String {
    let root = repository.root();
    root.canonicalize().unwrap_or_else(|_| root.to_owned()).display().to_string()
}

/// The heads of the logs this machine signs, in `state.db`.
pub struct Ledger<'a>(&'a Database);

impl<'a> Ledger<'a> {
    /// The ledger in `state`.
    ///
    /// # Errors
    /// If the database was written by a newer program.
    pub fn open(state: &'a State) -> Result<Ledger<'a>, Error> {
        state.database().migrate(ROOM, STEPS)?;
        Ok(Ledger(state.database()))
    }

    /// The newest entry this machine signed in `log`.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn head(&self, log: &str) -> Result<Option<Head>, Error> {
        let found = self.0.read("read", |view| {
            let mut query =
                view.prepare("SELECT seq, entry, place, shown FROM ledger_heads WHERE log = ?1")?;
            let mut rows = query.query([log])?;
            rows.next()?
                .map(|row| {
                    let (seq, entry) = (row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, [u8; 32]>(1)?);
                    let entry = StatementId::new(ObjectId::from_bytes(entry));
                    Ok(Head { seq, entry, place: row.get(2)?, shown: row.get(3)? })
                })
                .transpose()
        })?;
        Ok(found)
    }

    /// Notes that an entry was signed, and keeps it.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn note(&self, log: &str, head: &Head, envelope: &Envelope) -> Result<(), Error> {
        let move_head = "INSERT INTO ledger_heads VALUES (?1, ?2, ?3, ?4, ?5) \
                         ON CONFLICT (log) DO UPDATE SET seq = ?2, entry = ?3, place = ?4, shown = ?5 \
                         WHERE seq < ?2";
        let object = head.entry.object();
        let seq = i64::try_from(head.seq).unwrap_or(i64::MAX);
        Ok(self.0.write("write", |tx| {
            tx.execute(
                // A copy with more signatures takes the place of one with fewer.
                "INSERT INTO ledger_entries VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET envelope = ?2 \
                 WHERE length(?2) > length(envelope)",
                (object.as_bytes(), envelope.encode()),
            )?;
            tx.execute(move_head, (log, seq, object.as_bytes(), &head.place, head.shown)).map(drop)
        })?)
    }

    /// Notes that the newest entry of `log` was seen, if it is `entry`. Need not outlast a power cut: then it
    /// is found where it was shown.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn note_shown(&self, log: &str, entry: StatementId) -> Result<(), Error> {
        let mark = "UPDATE ledger_heads SET shown = 1 WHERE log = ?1 AND entry = ?2";
        Ok(self
            .0
            .write_unsynced("write", |tx| tx.execute(mark, (log, entry.object().as_bytes())).map(drop))?)
    }

    /// Forgets that `entry` is the newest of `log`: nobody will have it.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn forget(&self, log: &str, entry: StatementId) -> Result<(), Error> {
        let delete = "DELETE FROM ledger_heads WHERE log = ?1 AND entry = ?2";
        Ok(self.0.write("write", |tx| tx.execute(delete, (log, entry.object().as_bytes())).map(drop))?)
    }

    /// The newest statement of each log.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn newest(&self) -> Result<Vec<Envelope>, Error> {
        newest(self.0, None)
    }

    /// An entry this machine signed, or None.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn entry(&self, id: StatementId) -> Result<Option<Envelope>, Error> {
        let found = self.0.read("read", |view| {
            let mut query = view.prepare("SELECT envelope FROM ledger_entries WHERE id = ?1")?;
            let mut rows = query.query([id.object().as_bytes()])?;
            rows.next()?.map(|row| row.get::<_, Vec<u8>>(0)).transpose()
        })?;
        let envelope = found.map(|bytes| Envelope::decode(&bytes)).transpose();
        Ok(envelope.map_err(objects::signed::Error::from)?.filter(|envelope| envelope.id() == id))
    }
}
