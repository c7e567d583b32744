//! Checking a repository.
//!
//! Promises: [`check`] changes nothing and names every damaged file and object it meets; a whole
//! repository has no finding.
//! Leaves to others: repair.
//!
//! Levels: structure (every file has its form, every frame its hash), connectivity (what refs and
//! summary name is here, down to the last chunk), statements (signatures hold under the identities
//! here), and, if asked, data (every object is unpacked and hashed).

mod connectivity;
mod head;
mod packs;
mod refs;
mod statements;

use crate::repository::Repository;
use serde::Serialize;
use std::collections::BTreeSet;

/// Something that is not as it has to be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file, ref or object.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

/// What a check looked at and found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is wrong, each once.
    pub findings: BTreeSet<Finding>,
    /// Packs looked at.
    pub packs: u64,
    /// Objects in them.
    pub objects: u64,
    /// Unpacked bytes read and hashed; zero unless data was asked for.
    pub bytes: u64,
    /// Statements looked at.
    pub statements: u64,
    /// Refs looked at.
    pub refs: u64,
}

impl Report {
    fn find(&mut self, place: impl ToString, problem: impl ToString) {
        self.findings.insert(Finding { place: place.to_string(), problem: problem.to_string() });
    }
}

/// How thorough a check is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// True to unpack and hash every object.
    pub data: bool,
}

/// Checks a repository.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn check(repository: &Repository, options: Options) -> Result<Report, crate::repository::Error> {
    let mut report = Report::default();
    packs::check_packs(repository, options, &mut report)?;
    let statements = statements::check_statements(repository, &mut report)?;
    refs::check_refs(repository, &statements, &mut report);
    let index = head::check_summary(repository, &statements, &mut report);
    head::check_pack_list(repository, &mut report)?;
    connectivity::check_connectivity(repository, &statements, index, &mut report);
    Ok(report)
}

/// Checks a copy that carries no refs, such as a bundle's files: everything else, data included.
///
/// # Errors
/// Only if a folder cannot be listed; damage is a finding.
pub fn check_copy(repository: &Repository) -> Result<Report, crate::repository::Error> {
    let mut report = Report::default();
    packs::check_packs(repository, Options { data: true }, &mut report)?;
    let statements = statements::check_statements(repository, &mut report)?;
    let index = head::check_summary(repository, &statements, &mut report);
    head::check_pack_list(repository, &mut report)?;
    connectivity::check_connectivity(repository, &statements, index, &mut report);
    Ok(report)
}
