//! What is known of the entries of each log: a run without gaps that ends at the log's head.
//!
//! So each entry is fetched and checked once a machine, and what a log says of a version (its tree,
//! that it was withdrawn) is known without walking it again.

use super::{Log, Sql, State, bytes, integer, number};
use crate::trust::database::Error;
use objects::id::{IdentityId, StatementId, TreeId};
use objects::name::PackageName;
use objects::release::{Action, Entry};
use objects::signed::Verified;
use objects::version::Version;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// What an entry does, as far as other entries have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Publishes a version with this tree.
    Release {
        /// The version, without build metadata.
        version: String,
        /// Its tree.
        tree: TreeId,
    },
    /// Withdraws a version.
    Yank {
        /// The version, without build metadata.
        version: String,
        /// Why.
        reason: String,
    },
    /// Takes a withdrawal back.
    Unyank {
        /// The version, without build metadata.
        version: String,
    },
    /// Hands the package on.
    Transfer,
}

/// One entry of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its number.
    pub seq: u64,
    /// The entry.
    pub entry: StatementId,
    /// What it does.
    pub act: Act,
}

impl Position {
    /// What is kept of `entry`.
    pub fn of(entry: &Verified<Entry>) -> Position {
        let act = match &entry.action {
            Action::Release(release) => {
                Act::Release { version: distinct(&release.version), tree: release.tree }
            }
            Action::Yank { version, reason } => {
                Act::Yank { version: distinct(version), reason: reason.clone() }
            }
            Action::Unyank { version } => Act::Unyank { version: distinct(version) },
            Action::Transfer { .. } => Act::Transfer,
        };
        Position { seq: entry.seq, entry: entry.id(), act }
    }
}

/// The text that equal versions share: build metadata does not distinguish them.
fn distinct(version: &Version) -> String {
    let mut version = version.clone();
    version.semver.build = semver::BuildMetadata::EMPTY;
    version.to_string()
}

impl State {
    /// The entry with number `seq`, if it is known.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn entry_at(&self, log: &Log, seq: u64) -> Result<Option<StatementId>, Error> {
        let sql =
            "SELECT seq, statement FROM entries WHERE owner = ?1 AND name = ?2 AND signer = ?3 AND seq = ?4";
        let known = self.database.read("read", |view| {
            let key = params![bytes(log.owner), log.name.as_str(), bytes(log.signer), integer(seq)?];
            view.query_row(sql, key, place).optional()
        })?;
        Ok(known.map(|(_, entry)| entry))
    }

    /// The oldest entry that is known, with its number.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn oldest_entry(&self, log: &Log) -> Result<Option<(u64, StatementId)>, Error> {
        let sql = "SELECT seq, statement FROM entries WHERE owner = ?1 AND name = ?2 AND signer = ?3
            ORDER BY seq LIMIT 1";
        let key = params![bytes(log.owner), log.name.as_str(), bytes(log.signer)];
        self.database.read("read", |view| view.query_row(sql, key, place).optional())
    }

    /// Keeps entries older than those known; the log's head stays.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn insert_entries(&self, log: &Log, positions: &[Position]) -> Result<(), Error> {
        self.database.write("write", |tx| insert(tx, log, positions))
    }

    /// The trees that known entries of any signer give to `version` of a package.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn trees(
        &self,
        owner: IdentityId,
        name: &PackageName,
        version: &Version,
    ) -> Result<Vec<TreeId>, Error> {
        let sql = "SELECT DISTINCT tree FROM entries
            WHERE owner = ?1 AND name = ?2 AND version = ?3 AND act = 'release'";
        let key = params![bytes(owner), name.as_str(), distinct(version)];
        self.database.read("read", |view| {
            view.prepare(sql)?.query_map(key, |row| Ok(row.get::<_, Sql<TreeId>>(0)?.0))?.collect()
        })
    }

    /// The reason, if entries of the log withdraw `version`; of those after `seq`, if it is given.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn withdrawn(&self, log: &Log, version: &Version, seq: Option<u64>) -> Result<Option<String>, Error> {
        let sql = "SELECT act, reason FROM entries
            WHERE owner = ?1 AND name = ?2 AND signer = ?3 AND version = ?4 AND seq > ?5
              AND act IN ('yank', 'unyank')
            ORDER BY seq DESC LIMIT 1";
        let last: Option<(String, Option<String>)> = self.database.read("read", |view| {
            let (owner, signer) = (bytes(log.owner), bytes(log.signer));
            let after = seq.map_or(Ok(-1), integer)?;
            let key = params![owner, log.name.as_str(), signer, distinct(version), after];
            view.query_row(sql, key, |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })?;
        Ok(last.filter(|(act, _)| act == "yank").map(|(_, reason)| reason.unwrap_or_default()))
    }
}

fn place(row: &Row<'_>) -> rusqlite::Result<(u64, StatementId)> {
    Ok((number(row.get(0)?), row.get::<_, Sql<StatementId>>(1)?.0))
}

pub(super) fn insert(tx: &Connection, log: &Log, positions: &[Position]) -> rusqlite::Result<()> {
    let sql =
        "INSERT OR IGNORE INTO entries (owner, name, signer, seq, statement, act, version, tree, reason)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut insert = tx.prepare(sql)?;
    for Position { seq, entry, act } in positions {
        let (act, version, tree, reason) = match act {
            Act::Release { version, tree } => ("release", Some(version), Some(bytes(*tree)), None),
            Act::Yank { version, reason } => ("yank", Some(version), None, Some(reason)),
            Act::Unyank { version } => ("unyank", Some(version), None, None),
            Act::Transfer => ("transfer", None, None, None),
        };
        let (owner, signer, seq, entry) =
            (bytes(log.owner), bytes(log.signer), integer(*seq)?, bytes(*entry));
        insert.execute(params![owner, log.name.as_str(), signer, seq, entry, act, version, tree, reason])?;
    }
    Ok(())
}

/// Forgets what is known of a log's entries: a person gave up the branch they stand on.
pub(super) fn forget(tx: &Connection, log: &Log) -> rusqlite::Result<()> {
    let sql = "DELETE FROM entries WHERE owner = ?1 AND name = ?2 AND signer = ?3";
    tx.execute(sql, params![bytes(log.owner), log.name.as_str(), bytes(log.signer)]).map(drop)
}
