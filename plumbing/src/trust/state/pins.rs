//! What was shown to a person once and holds since: repositories of sources, owners of names.

use super::{Sql, SqlName, State, bytes, integer, seconds};
use crate::trust::database::Error;
use objects::claim::Repository;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::time::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

/// A source and the repository it has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryPin {
    /// The source: the name or address of a remote.
    pub source: String,
    /// Its repository.
    pub repository: Repository,
    /// When it was pinned.
    pub since: Timestamp,
}

/// A short name in a repository, and whose package it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePin {
    /// The name.
    pub name: PackageName,
    /// Where it was read.
    pub repository: Repository,
    /// Its owner.
    pub owner: IdentityId,
    /// When it was pinned.
    pub since: Timestamp,
}

const REPOSITORIES: &str = "SELECT source, owner, name, since FROM repositories";
const PACKAGES: &str = "SELECT name, repository_owner, repository_name, owner, since FROM packages";

impl State {
    /// The repository `source` is pinned to.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn repository(&self, source: &str) -> Result<Option<Repository>, Error> {
        let sql = format!("{REPOSITORIES} WHERE source = ?1");
        let pin =
            self.database.read("read", |view| view.query_row(&sql, [source], repository_pin).optional())?;
        Ok(pin.map(|pin| pin.repository))
    }

    /// All pinned sources, by name.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn repositories(&self) -> Result<Vec<RepositoryPin>, Error> {
        let sql = format!("{REPOSITORIES} ORDER BY source");
        self.database.read("read", |view| view.prepare(&sql)?.query_map([], repository_pin)?.collect())
    }

    /// Pins `source` to `repository`, and returns what it is pinned to: a pin that stands already
    /// stays as it is.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn pin_repository(
        &self,
        source: &str,
        repository: &Repository,
        since: Timestamp,
    ) -> Result<Repository, Error> {
        self.database.write("write", |tx| {
            tx.execute(
                "INSERT INTO repositories VALUES (?1, ?2, ?3, ?4) ON CONFLICT (source) DO NOTHING",
                params![source, bytes(repository.owner), repository.name, integer(since.seconds())?],
            )?;
            let sql = format!("{REPOSITORIES} WHERE source = ?1");
            tx.query_row(&sql, [source], |row| Ok(repository_pin(row)?.repository))
        })
    }

    /// Forgets what `source` was pinned to, on a person's word. True if it was pinned.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn unpin_repository(&self, source: &str) -> Result<bool, Error> {
        let sql = "DELETE FROM repositories WHERE source = ?1";
        self.database.write("write", |tx| Ok(tx.execute(sql, [source])? > 0))
    }

    /// The pins of `name`, in any repository.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn package(&self, name: &PackageName) -> Result<Vec<PackagePin>, Error> {
        let sql = format!("{PACKAGES} WHERE name = ?1");
        self.database
            .read("read", |view| view.prepare(&sql)?.query_map([name.as_str()], package_pin)?.collect())
    }

    /// All pinned names.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn packages(&self) -> Result<Vec<PackagePin>, Error> {
        let sql = format!("{PACKAGES} ORDER BY name, repository_owner, repository_name");
        self.database.read("read", |view| view.prepare(&sql)?.query_map([], package_pin)?.collect())
    }

    /// Pins a name. A pin of the same name in the same repository is replaced: whether that may be
    /// is for the judge, or a person, to say first.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn pin_package(&self, pin: &PackagePin) -> Result<(), Error> {
        let (repository, since) = (&pin.repository, pin.since.seconds());
        self.database.write("write", |tx| {
            let row = params![
                pin.name.as_str(),
                bytes(repository.owner),
                repository.name,
                bytes(pin.owner),
                integer(since)?
            ];
            tx.execute("INSERT OR REPLACE INTO packages VALUES (?1, ?2, ?3, ?4, ?5)", row).map(drop)
        })
    }

    /// Forgets all pins of `name`, on a person's word. True if there were any.
    ///
    /// # Errors
    /// If the database cannot be written.
    pub fn unpin_package(&self, name: &PackageName) -> Result<bool, Error> {
        let sql = "DELETE FROM packages WHERE name = ?1";
        self.database.write("write", |tx| Ok(tx.execute(sql, [name.as_str()])? > 0))
    }
}

fn repository_pin(row: &Row<'_>) -> rusqlite::Result<RepositoryPin> {
    let repository = Repository { owner: row.get::<_, Sql<IdentityId>>(1)?.0, name: row.get(2)? };
    Ok(RepositoryPin { source: row.get(0)?, repository, since: seconds(row.get(3)?)? })
}

fn package_pin(row: &Row<'_>) -> rusqlite::Result<PackagePin> {
    let repository = Repository { owner: row.get::<_, Sql<IdentityId>>(1)?.0, name: row.get(2)? };
    let owner = row.get::<_, Sql<IdentityId>>(3)?.0;
    Ok(PackagePin { name: row.get::<_, SqlName>(0)?.0, repository, owner, since: seconds(row.get(4)?)? })
}
