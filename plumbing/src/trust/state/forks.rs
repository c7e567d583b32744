//! Evidence: two statements by one signer with one number.
//!
//! Promises: evidence stays, settled or not. While it is not settled, its line is blocked from that
//! number on; of indexes only the two themselves are, since a distributor can do no more than
//! hide, and the next honest index has to heal the line by itself.

use super::{Head, Line, Sql, State, bytes, integer, number, positions, seconds, set_head};
use crate::trust::database::Error;
use objects::id::StatementId;
use objects::signed::Envelope;
use objects::time::Timestamp;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Most pairs kept of one line: more prove nothing more, and a thief could fill the disk.
const PAIRS_MAX: i64 = 16;

/// A piece of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkId(i64);

/// Two statements by one signer with one number, of which neither is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// This piece of evidence.
    pub id: ForkId,
    /// The kind of the line: `identity`, `grants`, `index` or `log`.
    pub kind: String,
    /// Which line of its kind.
    pub line: String,
    /// The number both have.
    pub n: u64,
    /// The one this machine knew.
    pub ours: StatementId,
    /// Its envelope's bytes.
    pub ours_envelope: Vec<u8>,
    /// The one that came later.
    pub theirs: StatementId,
    /// Its envelope's bytes.
    pub theirs_envelope: Vec<u8>,
    /// The source it came from.
    pub origin: String,
    /// When it came.
    pub seen: Timestamp,
    /// Which of the two a person chose to keep.
    pub kept: Option<StatementId>,
}

/// Two statements with one number, as they were met.
pub struct Sighting<'a> {
    /// The line both belong to.
    pub line: &'a Line,
    /// The number both have.
    pub n: u64,
    /// The one this machine knew.
    pub ours: &'a Envelope,
    /// The one that came.
    pub theirs: &'a Envelope,
    /// Where it came from.
    pub origin: &'a str,
    /// When.
    pub seen: Timestamp,
}

const FORKS: &str =
    "SELECT id, kind, line, n, ours, ours_envelope, theirs, theirs_envelope, origin, seen, kept
    FROM forks";

impl State {
    /// All evidence, oldest first.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn forks(&self) -> Result<Vec<Fork>, Error> {
        let sql = format!("{FORKS} ORDER BY id");
        self.database.read("read", |view| view.prepare(&sql)?.query_map([], fork)?.collect())
    }

    /// The lowest number at which the line forks and no person has chosen.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn forked_from(&self, line: &Line) -> Result<Option<u64>, Error> {
        let sql = "SELECT min(n) FROM forks WHERE kind = ?1 AND line = ?2 AND kept IS NULL";
        let n = self.database.read("read", |view| {
            view.query_row(sql, params![line.kind(), line.key()], |row| row.get::<_, Option<i64>>(0))
        })?;
        Ok(n.map(number))
    }

    /// True if `id` is one of a pair of which no person has chosen.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn is_forked(&self, id: StatementId) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT 1 FROM forks WHERE kept IS NULL AND (ours = ?1 OR theirs = ?1))";
        self.database.read("read", |view| view.query_row(sql, [bytes(id)], |row| row.get(0)))
    }

    /// Keeps two statements as evidence.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn record_fork(&self, pair: &Sighting<'_>) -> Result<(), Error> {
        let (kind, line) = (pair.line.kind(), pair.line.key());
        self.database.write("write", |tx| {
            let count = "SELECT count(*) FROM forks WHERE kind = ?1 AND line = ?2";
            let pairs: i64 = tx.query_row(count, params![kind, line], |row| row.get(0))?;
            if pairs >= PAIRS_MAX {
                return Ok(());
            }
            let sql = "INSERT OR IGNORE INTO forks
                (kind, line, n, ours, ours_envelope, theirs, theirs_envelope, origin, seen)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
            let (n, seen) = (integer(pair.n)?, integer(pair.seen.seconds())?);
            let (ours, ours_envelope) = (bytes(pair.ours.id()), pair.ours.encode());
            let (theirs, theirs_envelope) = (bytes(pair.theirs.id()), pair.theirs.encode());
            let row = params![kind, line, n, ours, ours_envelope, theirs, theirs_envelope, pair.origin, seen];
            tx.execute(sql, row).map(drop)
        })
    }

    /// The envelope of the line's head: what a sibling is evidence against.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn head_envelope(&self, line: &Line) -> Result<Option<Envelope>, Error> {
        let sql = "SELECT envelope FROM heads WHERE kind = ?1 AND line = ?2";
        self.database.read("read", |view| {
            let envelope = |row: &Row<'_>| {
                let bytes: Vec<u8> = row.get(0)?;
                Envelope::decode(&bytes).map_err(|error| FromSqlError::other(error).into())
            };
            view.query_row(sql, params![line.kind(), line.key()], envelope).optional()
        })
    }

    /// Takes a person's word for which branch of `line` holds. If it is not the one this machine
    /// followed, the head gives way to it: the only case in which one does. False if the evidence
    /// is not of this line, or `keep` is neither of its two.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn settle(&self, line: &Line, id: ForkId, keep: StatementId) -> Result<bool, Error> {
        self.database.write("write", |tx| {
            let sql = format!("{FORKS} WHERE id = ?1 AND kind = ?2 AND line = ?3");
            let found = tx.query_row(&sql, params![id.0, line.kind(), line.key()], fork).optional()?;
            let Some(fork) = found.filter(|fork| keep == fork.ours || keep == fork.theirs) else {
                return Ok(false);
            };
            if keep == fork.theirs {
                give_way(tx, line, &fork)?;
            }
            tx.execute("UPDATE forks SET kept = ?2 WHERE id = ?1", params![id.0, bytes(keep)])?;
            Ok(true)
        })
    }
}

/// Puts the line's head to the branch of `fork.theirs`.
fn give_way(tx: &Connection, line: &Line, fork: &Fork) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM heads WHERE kind = ?1 AND line = ?2", params![line.kind(), line.key()])?;
    set_head(tx, line, Head { n: fork.n, id: fork.theirs }, &fork.theirs_envelope)?;
    match line {
        // They are learned anew when the log is walked; where the branches part is not known here.
        Line::Log(log) => positions::forget(tx, log),
        Line::Identity(_) | Line::Grants(_) | Line::Index(_) => Ok(()),
    }
}

fn fork(row: &Row<'_>) -> rusqlite::Result<Fork> {
    Ok(Fork {
        id: ForkId(row.get(0)?),
        kind: row.get(1)?,
        line: row.get(2)?,
        n: number(row.get(3)?),
        ours: row.get::<_, Sql<StatementId>>(4)?.0,
        ours_envelope: row.get(5)?,
        theirs: row.get::<_, Sql<StatementId>>(6)?.0,
        theirs_envelope: row.get(7)?,
        origin: row.get(8)?,
        seen: seconds(row.get(9)?)?,
        kept: row.get::<_, Option<Sql<StatementId>>>(10)?.map(|id| id.0),
    })
}
