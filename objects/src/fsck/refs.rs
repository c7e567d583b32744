//! Refs and their logs.

use super::Report;
use super::statements::{Known, previous, release};
use crate::id::StatementId;
use crate::object::Exists;
use crate::refs::{RefName, reflog};
use crate::repository::Repository;
use crate::signed::Kind as StatementKind;
use crate::store::chain;
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(super) fn check_refs(repository: &Repository, statements: &Known, report: &mut Report) {
    let listed = repository.refs().list("refs/").and_then(|refs| Ok((refs, repository.refs().unfinished()?)));
    let (refs, unfinished) = match listed {
        Ok((refs, unfinished)) => (BTreeMap::from_iter(refs), unfinished),
        Err(error) => return report.find("refs", chain(&error)),
    };
    for (name, id) in &refs {
        report.refs += 1;
        if !statements.contains_key(id) {
            report.find(name, format!("it points at statement {}, which is not here", id.short(16)));
        }
    }
    let logged = match reflog::names(repository.root()) {
        Ok(Some(logged)) => logged,
        Ok(None) => return check_entries_named(repository, statements, report),
        Err(error) => return report.find("logs", chain(&error)),
    };
    for name in refs.keys().chain(&logged).collect::<BTreeSet<_>>() {
        if !unfinished.contains(name) {
            // else a process was killed there; the next edit takes it up
            check_log(repository, name, refs.get(name).copied(), statements, report);
        }
    }
}

/// A log ends where its ref is, which is how a ref that was deleted shows; and what it names is
/// here, which is how a statement shows that no ref names any more.
fn check_log(
    repository: &Repository,
    name: &RefName,
    at: Option<StatementId>,
    statements: &Known,
    report: &mut Report,
) {
    let log = reflog::read(repository.root(), name);
    let named = log.iter().flat_map(|(lines, _)| lines).filter_map(|line| line.new);
    for lost in named.filter(|id| !statements.contains_key(id)) {
        report.find(
            format!("logs/{name}"),
            format!("it names statement {}, which is not here", lost.short(16)),
        );
    }
    match log {
        Ok((_, damaged)) if damaged > 0 => {
            report.find(format!("logs/{name}"), format!("{damaged} lines are damaged"))
        }
        Ok((lines, _)) if lines.last().and_then(|line| line.new) != at => match at {
            Some(_) => report.find(format!("logs/{name}"), "its last line is not where the ref is"),
            None => report.find(name, "it is lost; its log says where it was"),
        },
        Ok(_) => {}
        Err(error) => report.find(format!("logs/{name}"), chain(&error)),
    }
}

/// Every entry that is here and whose tag is lost: in a mirror, which has no logs, a deleted ref
/// shows nowhere else.
fn check_entries_named(repository: &Repository, statements: &Known, report: &mut Report) {
    let heads: HashSet<StatementId> =
        repository.refs().list("refs/").unwrap_or_default().into_iter().map(|(_, id)| id).collect();
    let prevs: HashSet<StatementId> = statements.values().filter_map(previous).collect();
    for (id, envelope) in statements {
        let tracked = matches!(envelope.kind(), StatementKind::Entry);
        if tracked && !heads.contains(id) && !prevs.contains(id) {
            report.find(crate::statements::key(*id), "no ref leads to this entry");
        }
        let Some((_, tree)) = release(*id, envelope) else { continue };
        // Entries of releases that were published elsewhere are kept for their place in the log.
        if !heads.contains(id) && repository.store().contains(&tree.object()) {
            report.find(crate::statements::key(*id), "this release has no tag");
        }
    }
}
