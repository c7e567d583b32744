//! Withdrawing versions, and taking that back.
//!
//! ```text
//! versions meant → may this key? → sign entries → refs → index with marks → summary
//! ```
//!
//! A version that is withdrawn stays where it is installed or locked; nobody new gets it (SEC-074).
//!
//! Promises: nothing is signed unless all that was asked for is there and allowed; stopped anywhere, the same
//! command completes what was begun, and no number is ever signed twice (REL-001, REL-043).

use crate::distribute::accept::{means, pen};
use crate::distribute::authority;
use crate::distribute::listing::Listing;
use crate::distribute::marks::{Withdrawals, standing};
use crate::error::Error;
use crate::log::Log;
use crate::maintain;
use crate::pen::Pen;
use crate::publish::no_repository;
use crate::session::Session;
use objects::claim::{PackageRecord, VersionRow};
use objects::grants::Permission;
use objects::id::{GrantId, IdentityId, StatementId};
use objects::limits::TEXT_BYTES_MAX;
use objects::name::PackageName;
use objects::release::Action;
use objects::repository::Repository;
use objects::spec::{PackageSpec, Select};
use objects::version::Version;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What to withdraw, where.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which versions.
    pub specs: Vec<PackageSpec>,
    /// The repository that lists them.
    pub to: PathBuf,
    /// Why, for those who have one installed.
    pub reason: String,
    /// True to take it back.
    pub undo: bool,
    /// Which of the user's identities signs.
    pub identity: Option<String>,
}

/// One version that was asked for.
#[derive(Clone, Debug, Serialize)]
pub struct Withdrawn {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// Whose it is.
    pub owner: IdentityId,
    /// The entry that was signed; None if it was so already.
    pub entry: Option<StatementId>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// True if withdrawals were taken back.
    pub undone: bool,
    /// The versions that were meant.
    pub versions: Vec<Withdrawn>,
    /// The number of the index that says so; None if the newest one did already.
    pub index: Option<u64>,
}

/// Withdraws versions, or takes that back.
///
/// # Errors
/// `NotFound` if one is not listed; `E-SCOPE` if the signer may not withdraw it, or if somebody else did whose
/// word has to take it back; those of signing and writing.
pub fn withdraw(session: &Session, request: &Request) -> Result<Outcome, Error> {
    if request.reason.len() > TEXT_BYTES_MAX {
        return Err(Error::usage(format!("the reason is longer than {TEXT_BYTES_MAX} bytes"), "be brief"));
    }
    let repository = Repository::open(&request.to).map_err(|error| no_repository(error, &request.to))?;
    let outcome = list_withdrawn(session, &repository, request)?;
    if outcome.index.is_some() {
        maintain::tidy(session, &repository);
    }
    Ok(outcome)
}

fn list_withdrawn(session: &Session, repository: &Repository, request: &Request) -> Result<Outcome, Error> {
    let _lock = repository.lock_shared()?;
    repository.refs().edit(&[], session.now())?; // completes what a killed process had begun
    let pen = pen(session, repository, request.identity.as_deref())?;
    let _signing = (session.lock_signing()?, repository.lock_signing()?);
    repository.store().refresh()?;
    let mut listing = Listing::open(session, repository, &pen)?;
    let mut drafts = Vec::new();
    for (record, rows) in meant(&listing, &request.specs)? {
        drafts.push(Draft::open((session, repository, &pen), &record, rows, request)?);
    }
    let mut versions = Vec::new();
    for draft in &mut drafts {
        versions.extend(draft.sign(request)?);
        listing.list_log(&draft.log)?;
    }
    let index = if listing.is_listed() { None } else { Some(listing.publish(&[])?.0) };
    Ok(Outcome { undone: request.undo, versions, index })
}

/// The packages that specs speak of, each with its versions that are meant.
fn meant(
    listing: &Listing<'_>,
    specs: &[PackageSpec],
) -> Result<Vec<(PackageRecord, Vec<VersionRow>)>, Error> {
    let mut found: BTreeMap<PackageName, (PackageRecord, Vec<VersionRow>)> = BTreeMap::new();
    for spec in specs {
        if spec.select == Select::Any {
            let hint = format!("name one: `{}#1.0.0`; or a range: `{}@<2`", spec.name, spec.name);
            return Err(Error::usage(format!("{spec} means every version"), hint));
        }
        let missing = || {
            Error::not_found(
                format!("{spec} in this repository"),
                "`pkg log` and `pkg search` show what it lists",
            )
        };
        let record = listing.record(&spec.name)?.ok_or_else(missing)?;
        let is_meant = |row: &&VersionRow| means(spec, record.owner, &record.name, row);
        let rows: Vec<VersionRow> = record.versions.iter().filter(is_meant).cloned().collect();
        if rows.is_empty() {
            return Err(missing());
        }
        let (_, known) = found.entry(spec.name.clone()).or_insert_with(|| (record, Vec::new()));
        for row in rows {
            if known.iter().all(|known| known.entry != row.entry) {
                known.push(row);
            }
        }
    }
    Ok(found.into_values().collect())
}

/// Entries about one package, before they are signed.
struct Draft<'a> {
    log: Log<'a>,
    rows: Vec<VersionRow>,
    grants: Vec<GrantId>,
}

impl<'a> Draft<'a> {
    /// Makes sure that all of it may be signed.
    fn open(
        (session, repository, pen): (&'a Session, &'a Repository, &'a Pen<'a>),
        record: &PackageRecord,
        rows: Vec<VersionRow>,
        request: &Request,
    ) -> Result<Draft<'a>, Error> {
        let (owner, name) = (record.owner, &record.name);
        let grants = authority::path(session, repository, (owner, pen.id()), name, Permission::Yank)
            .map_err(|error| or_forbid(error, name))?;
        let mut log = Log::open(session, repository, pen, owner, name)?;
        log.catch_up()?;
        let draft = Draft { log, rows, grants };
        if request.undo {
            draft.is_own_word(&Withdrawals::read(session, repository, record)?)?;
        }
        Ok(draft)
    }

    /// Whoever withdrew a version takes it back.
    fn is_own_word(&self, withdrawals: &Withdrawals) -> Result<(), Error> {
        for row in self.rows.iter().filter(|row| !self.withdraws(row)) {
            let Some((by, _)) = withdrawals.of(row).filter(|(by, _)| *by != self.log.signer()) else {
                continue;
            };
            let (name, version) = (self.log.name(), &row.release.version);
            return Err(Error::Refused {
                code: "E-SCOPE",
                what: format!("{name} {version} was withdrawn by id:{}", by.to_hex()),
                hint: "each takes back what they withdrew themselves".into(),
            });
        }
        Ok(())
    }

    /// True if this very log withdraws a version.
    fn withdraws(&self, row: &VersionRow) -> bool {
        let (signer, owner) = (self.log.signer(), self.log.owner());
        let after = (signer == row.signer && signer != owner).then_some(row.seq);
        let entries = self.log.entries().iter().map(|(_, entry)| entry);
        standing(entries, &row.release.version, after).is_some()
    }

    fn sign(&mut self, request: &Request) -> Result<Vec<Withdrawn>, Error> {
        let mut withdrawn = Vec::new();
        for row in std::mem::take(&mut self.rows) {
            let version = row.release.version.clone();
            let entry = match (self.withdraws(&row), request.undo) {
                (true, false) | (false, true) => None,
                (false, false) => {
                    let (version, reason) = (version.clone(), request.reason.clone());
                    Some(self.log.append(Action::Yank { version, reason }, self.grants.clone())?)
                }
                (true, true) => {
                    let action = Action::Unyank { version: version.clone() };
                    Some(self.log.append(action, self.grants.clone())?)
                }
            };
            let (name, owner) = (self.log.name().clone(), self.log.owner());
            withdrawn.push(Withdrawn { name, version, owner, entry });
        }
        Ok(withdrawn)
    }
}

/// Who only carries a package can still refuse it.
fn or_forbid(error: Error, name: &PackageName) -> Error {
    match error {
        Error::Refused { code, what, hint } => Error::Refused {
            code,
            what,
            hint: format!("{hint}; who only carries it forbids it: `pkg repo refuse {name}#…`"),
        },
        other => other,
    }
}
