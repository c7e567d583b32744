//! The state of this machine beside its store: told by a check, rebuilt by a repair.

use crate::error::Error;
use crate::ledger::Ledger;
use crate::rebuild::{self, Rebuilt};
use crate::session::Session;
use objects::fsck::{Finding, Report};
use objects::id::StatementId;
use objects::repository::Repository;
use objects::signed::Envelope;
use plumbing::trust::State;
use std::collections::BTreeSet;

/// What is wrong with the state.
enum Trouble {
    /// There was one and it is gone.
    Lost,
    /// It cannot be used.
    Damaged(String),
}

fn trouble(session: &Session, repository: &Repository) -> Option<Trouble> {
    let canonical = |path: &std::path::Path| path.canonicalize().ok();
    let is_store = canonical(&session.home().join("store")) == canonical(repository.root());
    let path = rebuild::path(session.home());
    match is_store {
        false => None,
        true if rebuild::is_lost(session.home()) => Some(Trouble::Lost),
        true if !path.exists() => None, // nothing was fetched or signed yet
        true => match State::open(&path).and_then(|state| state.database().check()) {
            Ok(None) => None,
            Ok(Some(problem)) => Some(Trouble::Damaged(problem)),
            Err(error) if error.code() == "E-NOSPACE" => None, // opening writes a journal; a full disk is no damage
            Err(error) => Some(Trouble::Damaged(plumbing::chain(&error))),
        },
    }
}

/// Adds what is wrong with the state to the report of a check of the user's store.
pub(super) fn look(session: &Session, repository: &Repository, report: &mut Report) {
    let problem = match trouble(session, repository) {
        None => return,
        Some(Trouble::Lost) => "it is lost, and with it pins, heads and what was signed here".to_owned(),
        Some(Trouble::Damaged(problem)) => problem,
    };
    report.findings.insert(Finding { place: "state.db".to_owned(), problem });
}

/// Rebuilds a state that is lost or damaged.
pub(super) fn mend(session: &Session, repository: &Repository) -> Result<Option<Rebuilt>, Error> {
    match trouble(session, repository) {
        None => return Ok(None),
        Some(Trouble::Lost) => {}
        Some(Trouble::Damaged(_)) => rebuild::set_aside(session.home())?,
    }
    rebuild::rebuild(session.home(), repository)
}

/// Those of the statements `missing` that this machine signed, or that stand in the summary.
pub(super) fn statements(
    session: &Session,
    repository: &Repository,
    missing: &BTreeSet<StatementId>,
) -> Result<Vec<Envelope>, Error> {
    let mut found = Vec::new();
    if let Ok(Some(summary)) = repository.summary() {
        found.extend(summary.owner.iter().map(|document| document.envelope().clone()));
        found.push(summary.index.envelope().clone());
    }
    if rebuild::path(session.home()).exists() {
        let ledger = Ledger::open(session.state()?)?;
        for id in missing {
            found.extend(ledger.entry(*id)?);
        }
    }
    Ok(found)
}
