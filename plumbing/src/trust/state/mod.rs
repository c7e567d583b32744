//! What this machine has believed so far: pins, heads, the last known time, evidence of forks.
//!
//! Promises: it is on disk before a call returns; heads and time never go back, whichever command
//! writes, which SQL itself enforces; a head moves only from the place it was judged against.
//! Leaves to others: the judgement. The only way to a sibling is a person's word ([`State::settle`]).
//!
//! ```text
//! repositories  source → repository it is pinned to        heads    line → newest statement
//! packages      (repository, name) → owner                 entries  (log, seq) → entry, what it does
//! clock         last known time                            forks    two statements with one number
//! ```

mod forks;
mod pins;
mod positions;
mod recovery;

pub use forks::{Fork, ForkId, Sighting};
pub use pins::{PackagePin, RepositoryPin};
pub use positions::{Act, Position};
pub(super) use recovery::Renewal;

use super::database::{Database, Error};
use objects::claim::Repository;
use objects::id::{IdentityId, ObjectId, StatementId, TreeId};
use objects::name::PackageName;
use objects::signed::Envelope;
use objects::time::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::Path;

/// The tables, step by step; steps once published are never changed.
const STEPS: &[&str] = &["
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        last_known INTEGER NOT NULL
    ) STRICT;
    CREATE TRIGGER clock_never_goes_back BEFORE UPDATE ON clock WHEN NEW.last_known < OLD.last_known
        BEGIN SELECT RAISE(ABORT, 'the clock never goes back'); END;

    CREATE TABLE repositories (
        source TEXT PRIMARY KEY,
        owner BLOB NOT NULL,
        name TEXT NOT NULL,
        since INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE packages (
        name TEXT NOT NULL,
        repository_owner BLOB NOT NULL,
        repository_name TEXT NOT NULL,
        owner BLOB NOT NULL,
        since INTEGER NOT NULL,
        PRIMARY KEY (name, repository_owner, repository_name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE heads (
        kind TEXT NOT NULL,
        line TEXT NOT NULL,
        n INTEGER NOT NULL,
        statement BLOB NOT NULL,
        envelope BLOB NOT NULL,
        PRIMARY KEY (kind, line)
    ) STRICT;
    CREATE TRIGGER heads_never_go_back BEFORE UPDATE ON heads
        WHEN NEW.n < OLD.n OR (NEW.n = OLD.n AND NEW.statement <> OLD.statement)
        BEGIN SELECT RAISE(ABORT, 'a head never goes back'); END;

    CREATE TABLE entries (
        owner BLOB NOT NULL,
        name TEXT NOT NULL,
        signer BLOB NOT NULL,
        seq INTEGER NOT NULL,
        statement BLOB NOT NULL,
        act TEXT NOT NULL,
        version TEXT,
        tree BLOB,
        reason TEXT,
        PRIMARY KEY (owner, name, signer, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX entries_by_version ON entries (owner, name, version);

    CREATE TABLE forks (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        line TEXT NOT NULL,
        n INTEGER NOT NULL,
        ours BLOB NOT NULL,
        ours_envelope BLOB NOT NULL,
        theirs BLOB NOT NULL,
        theirs_envelope BLOB NOT NULL,
        origin TEXT NOT NULL,
        seen INTEGER NOT NULL,
        kept BLOB,
        UNIQUE (kind, line, n, ours, theirs)
    ) STRICT;
"];

/// The log of one signer for one package.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Log {
    /// Whose package.
    pub owner: IdentityId,
    /// Its name.
    pub name: PackageName,
    /// Who signs.
    pub signer: IdentityId,
}

/// A line of numbered statements, each naming the one before.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    /// The documents of an identity.
    Identity(IdentityId),
    /// What an identity grants.
    Grants(IdentityId),
    /// The indexes of a repository.
    Index(Repository),
    /// The entries of a log.
    Log(Log),
}

impl Line {
    /// The kind of its statements, as a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Line::Identity(_) => "identity",
            Line::Grants(_) => "grants",
            Line::Index(_) => "index",
            Line::Log(_) => "log",
        }
    }

    /// Which of its kind, as the state and `trust` listings name it.
    pub fn key(&self) -> String {
        match self {
            Line::Identity(id) | Line::Grants(id) => id.to_hex(),
            Line::Index(repository) => format!("{}/{}", repository.owner.to_hex(), repository.name),
            Line::Log(log) => format!("{}/{}/{}", log.owner.to_hex(), log.signer.to_hex(), log.name),
        }
    }
}

/// The newest statement of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub n: u64,
    /// The statement.
    pub id: StatementId,
}

/// A head's step forward.
pub struct Advance<'a> {
    /// Which line.
    pub line: &'a Line,
    /// The head it was judged against.
    pub from: Option<Head>,
    /// The new head.
    pub to: Head,
    /// The new head's envelope, kept as evidence should it turn out to have a sibling.
    pub envelope: &'a Envelope,
    /// For logs: what was learned of their entries.
    pub positions: &'a [Position],
}

/// What this machine has believed so far. It may be shared between threads.
pub struct State {
    database: Database,
}

impl State {
    /// Opens the state in the file `path`, making it if it is not there.
    ///
    /// # Errors
    /// If the file cannot be opened, is no database, or is a newer version's.
    pub fn open(path: &Path) -> Result<State, Error> {
        State::over(Database::open(path)?)
    }

    /// A state in memory, gone when dropped.
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn in_memory() -> Result<State, Error> {
        State::over(Database::in_memory()?)
    }

    fn over(database: Database) -> Result<State, Error> {
        database.migrate("trust", STEPS)?;
        Ok(State { database })
    }

    /// The database, for the tables of other rooms.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The newest `created` of all that was believed; 1970 if nothing was.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn last_known(&self) -> Result<Timestamp, Error> {
        let row = |view: &Connection| {
            view.query_row("SELECT last_known FROM clock", [], |row| seconds(row.get(0)?)).optional()
        };
        let start = || Timestamp::new(0).expect("1970 is before the year 9999");
        Ok(self.database.read("read", row)?.unwrap_or_else(start))
    }

    /// Moves the last known time forward to `created`, if that is later.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn note_time(&self, created: Timestamp) -> Result<(), Error> {
        if created <= self.last_known()? {
            return Ok(()); // spares a sync of the disk
        }
        self.database.write("write", |tx| note_time(tx, created))
    }

    /// The head of a line.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn head(&self, line: &Line) -> Result<Option<Head>, Error> {
        self.database.read("read", |view| head(view, line))
    }

    /// All heads: kind and name of the line, and its newest statement.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn heads(&self) -> Result<Vec<(String, String, Head)>, Error> {
        self.database.read("read", |view| {
            let mut query = view.prepare("SELECT kind, line, n, statement FROM heads ORDER BY kind, line")?;
            let rows = query.query_map([], |row| {
                let head = Head { n: number(row.get(2)?), id: row.get::<_, Sql<StatementId>>(3)?.0 };
                Ok((row.get(0)?, row.get(1)?, head))
            })?;
            rows.collect()
        })
    }

    /// Moves a head forward, with the clock to `created`. False if the head is no longer the one
    /// it was judged against, because another command was quicker; then nothing was written.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn advance(&self, advance: &Advance<'_>, created: Timestamp) -> Result<bool, Error> {
        self.database.write("write", |tx| {
            if head(tx, advance.line)? != advance.from {
                return Ok(false);
            }
            set_head(tx, advance.line, advance.to, &advance.envelope.encode())?;
            if let Line::Log(log) = advance.line {
                positions::insert(tx, log, advance.positions)?;
            }
            note_time(tx, created)?;
            Ok(true)
        })
    }
}

fn head(view: &Connection, line: &Line) -> rusqlite::Result<Option<Head>> {
    let sql = "SELECT n, statement FROM heads WHERE kind = ?1 AND line = ?2";
    let head = |row: &rusqlite::Row<'_>| {
        Ok(Head { n: number(row.get(0)?), id: row.get::<_, Sql<StatementId>>(1)?.0 })
    };
    view.query_row(sql, params![line.kind(), line.key()], head).optional()
}

fn set_head(tx: &Connection, line: &Line, to: Head, envelope: &[u8]) -> rusqlite::Result<()> {
    let sql = "INSERT INTO heads (kind, line, n, statement, envelope) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (kind, line) DO UPDATE
        SET n = excluded.n, statement = excluded.statement, envelope = excluded.envelope";
    tx.execute(sql, params![line.kind(), line.key(), integer(to.n)?, bytes(to.id), envelope]).map(drop)
}

fn note_time(tx: &Connection, created: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO clock VALUES (1, ?1)
        ON CONFLICT (id) DO UPDATE SET last_known = max(last_known, excluded.last_known)";
    tx.execute(sql, [integer(created.seconds())?]).map(drop)
}

/// A number as SQLite holds it. Statements may number up to 2^64, SQLite up to 2^63.
fn integer(n: u64) -> rusqlite::Result<i64> {
    i64::try_from(n).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A number that [`integer`] wrote.
fn number(n: i64) -> u64 {
    n.unsigned_abs()
}

fn seconds(n: i64) -> rusqlite::Result<Timestamp> {
    Timestamp::new(number(n)).map_err(|error| FromSqlError::other(error).into())
}

fn bytes(id: impl Into32) -> [u8; 32] {
    id.into_32()
}

/// Ids, as the 32 bytes that stand in a column.
trait Into32 {
    fn into_32(self) -> [u8; 32];
    fn from_object(id: ObjectId) -> Self;
}

macro_rules! into_32 {
    ($($id:ident)*) => {$(
        impl Into32 for $id {
            fn into_32(self) -> [u8; 32] {
                *self.object().as_bytes()
            }
            fn from_object(id: ObjectId) -> Self {
                $id::new(id)
            }
        }
    )*};
}

into_32!(StatementId IdentityId TreeId);

/// An id or name as read from a column.
struct Sql<T>(T);

impl<T: Into32> FromSql for Sql<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let bytes = <[u8; 32]>::column_result(value)?;
        Ok(Sql(T::from_object(ObjectId::from_bytes(bytes))))
    }
}

/// A package's name as read from a column.
struct SqlName(PackageName);

impl FromSql for SqlName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(SqlName).map_err(FromSqlError::other)
    }
}
