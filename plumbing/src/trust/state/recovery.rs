//! What a new document of an identity takes back: another branch, or the numbering of a role.
//!
//! Promises: the head moves, and what it takes back is forgotten, in one write.

use super::{Advance, Sighting, State, bytes, head, integer, note_time, set_head};
use crate::trust::database::Error;
use objects::id::IdentityId;
use objects::identity::Reset;
use objects::time::Timestamp;
use rusqlite::{Connection, params};

/// The step of an identity to a newer document, with what its documents on the way take back.
pub(in crate::trust) struct Renewal<'a> {
    /// The step.
    pub(in crate::trust) advance: Advance<'a>,
    /// Whose.
    pub(in crate::trust) identity: IdentityId,
    /// The roles whose numbering starts anew.
    pub(in crate::trust) resets: Vec<&'a Reset>,
    /// The two documents, where the step leaves the branch this machine followed for one that the
    /// recovery role signed: the only case in which a head gives way by itself (THREATS 1.4, step 8).
    pub(in crate::trust) overruled: Option<Sighting<'a>>,
}

impl State {
    /// Takes the step. False if the head is no longer the one it was judged against; then nothing was
    /// written.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(in crate::trust) fn renew(&self, renewal: &Renewal<'_>, created: Timestamp) -> Result<bool, Error> {
        let advance = &renewal.advance;
        self.database.write("write", |tx| {
            if head(tx, advance.line)? != advance.from {
                return Ok(false);
            }
            if let Some(pair) = &renewal.overruled {
                overrule(tx, pair)?;
            }
            for reset in &renewal.resets {
                forget(tx, renewal.identity, reset)?;
            }
            set_head(tx, advance.line, advance.to, &advance.envelope.encode())?;
            note_time(tx, created)?;
            Ok(true)
        })
    }

    /// Keeps the two documents as evidence that is settled: `pair.ours` was signed by the recovery role,
    /// and stays.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub(in crate::trust) fn record_overruled(&self, pair: &Sighting<'_>) -> Result<(), Error> {
        self.record_fork(pair)?;
        let sql = "UPDATE forks SET kept = ours WHERE kind = ?1 AND line = ?2 AND n = ?3 AND ours = ?4 AND theirs = ?5";
        self.database.write("write", |tx| {
            let row = params![
                pair.line.kind(),
                pair.line.key(),
                integer(pair.n)?,
                bytes(pair.ours.id()),
                bytes(pair.theirs.id())
            ];
            tx.execute(sql, row).map(drop)
        })
    }
}

/// Gives up the branch of `pair.ours`: every fork from there on is settled for `pair.theirs`.
fn overrule(tx: &Connection, pair: &Sighting<'_>) -> rusqlite::Result<()> {
    let (kind, line) = (pair.line.kind(), pair.line.key());
    let (n, seen) = (integer(pair.n)?, integer(pair.seen.seconds())?);
    let (ours, theirs) = (bytes(pair.ours.id()), bytes(pair.theirs.id()));
    let sql = "INSERT OR IGNORE INTO forks
        (kind, line, n, ours, ours_envelope, theirs, theirs_envelope, origin, seen)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let row =
        params![kind, line, n, ours, pair.ours.encode(), theirs, pair.theirs.encode(), pair.origin, seen];
    tx.execute(sql, row)?;
    let settle = "UPDATE forks SET kept = ?4 WHERE kind = ?1 AND line = ?2 AND n >= ?3 AND kept IS NULL";
    tx.execute(settle, params![kind, line, n, theirs])?;
    tx.execute("DELETE FROM heads WHERE kind = ?1 AND line = ?2", params![kind, line]).map(drop)
}

/// Forgets the numbers above `reset.n` of what the role signs. Beacons and notes have none that is kept.
fn forget(tx: &Connection, identity: IdentityId, reset: &Reset) -> rusqlite::Result<()> {
    let n = i64::try_from(reset.n).unwrap_or(i64::MAX);
    let hex = identity.to_hex();
    let (kind, lines) = match reset.role.as_str() {
        "index" => ("index", format!("{hex}/*")),
        "admin" => ("grants", hex),
        "release" => ("log", format!("*/{hex}/*")),
        _ => return Ok(()),
    };
    let ran_ahead = params![kind, lines, n];
    tx.execute("DELETE FROM heads WHERE kind = ?1 AND line GLOB ?2 AND n > ?3", ran_ahead)?;
    let settle = "UPDATE forks SET kept = ours WHERE kind = ?1 AND line GLOB ?2 AND n > ?3 AND kept IS NULL";
    tx.execute(settle, ran_ahead)?;
    if kind == "log" {
        // Known entries are a run that ends at the head: it is learned anew.
        let sql = "DELETE FROM entries WHERE signer = ?1 AND (owner, name) IN
            (SELECT owner, name FROM entries WHERE signer = ?1 AND seq > ?2)";
        tx.execute(sql, params![bytes(identity), n])?;
    }
    Ok(())
}
