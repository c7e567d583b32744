//! Refs and their logs.

use super::Inspection;
use super::statements::{Known, entry_of, grants_of, identity_of, index_of, previous};
use crate::id::StatementId;
use crate::object::Exists;
use crate::refs::{RefName, reflog};
use crate::repository::Repository;
use crate::signed::{Envelope, Kind as StatementKind};
use crate::store::chain;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Looks at every ref and log; gives the refs that can be read.
pub(super) fn look(
    repository: &Repository,
    known: &Known,
    found: &mut Inspection,
) -> BTreeMap<RefName, StatementId> {
    let surveyed =
        repository.refs().survey().and_then(|survey| Ok((survey, repository.refs().unfinished()?)));
    let (survey, unfinished) = match surveyed {
        Ok(surveyed) => surveyed,
        Err(error) => {
            found.report.find("refs", chain(&error));
            return BTreeMap::new();
        }
    };
    for (place, problem) in survey.malformed {
        found.report.find(place, problem);
    }
    let refs = survey.refs;
    for (name, id) in &refs {
        found.report.refs += 1;
        match known.get(id) {
            None => {
                let problem = format!("it points at statement {}, which is not here", id.short(16));
                found.report.find(name, problem);
                found.damage.missing.insert(*id);
            }
            Some(envelope) if !fits(name, *id, envelope) => {
                found.report.find(name, "it points at a statement about something else");
            }
            Some(_) => {}
        }
    }
    match reflog::names(repository.root()) {
        Ok(Some(logged)) => {
            for name in refs.keys().chain(&logged).collect::<BTreeSet<_>>() {
                if !unfinished.contains(name) {
                    // else a process was killed there; the next edit takes it up
                    look_at_log(repository, name, refs.get(name).copied(), known, found);
                }
            }
        }
        Ok(None) if has_refs(repository) => look_for_names(repository, &refs, known, found),
        Ok(None) => {} // a copy of the public files alone
        Err(error) => found.report.find("logs", chain(&error)),
    }
    refs
}

/// True if a statement is about what the name of a ref says: one bit turned in a list of refs gives
/// another name for the same statement.
pub(crate) fn fits(name: &RefName, id: StatementId, envelope: &Envelope) -> bool {
    let parts: Vec<&str> = name.as_str().split('/').skip(1).collect();
    match parts.as_slice() {
        ["tags", owner, package, version] => entry_of(envelope).is_some_and(|entry| {
            let of = (entry.owner.to_hex(), entry.name.to_component());
            let released = entry.release().map(|release| release.version.to_string());
            (of.0.as_str(), of.1.as_str(), released.as_deref()) == (*owner, *package, Some(*version))
        }),
        ["packages", owner, package, signer] => entry_of(envelope).is_some_and(|entry| {
            let of = [entry.owner.to_hex(), entry.name.to_component(), entry.signer.to_hex()];
            of.iter().map(String::as_str).eq([*owner, *package, *signer])
        }),
        ["identities", identity] if identity.len() == 64 => identity_of(envelope)
            .is_some_and(|first| first.id.map_or(id.to_hex(), |id| id.to_hex()) == *identity),
        ["grants", issuer] => grants_of(envelope).is_some_and(|grants| grants.issuer.to_hex() == *issuer),
        ["index", owner, _] => {
            index_of(envelope).is_some_and(|index| index.repository.owner.to_hex() == *owner)
        }
        _ => true,
    }
}

/// True if refs are kept here, though none may be left.
pub(crate) fn has_refs(repository: &Repository) -> bool {
    ["refs", crate::refs::PACKED].iter().any(|name| repository.root().join(name).exists())
}

/// A log ends where its ref is, which is how a ref that was deleted shows; and what it names is
/// here, which is how a statement shows that no ref names any more.
fn look_at_log(
    repository: &Repository,
    name: &RefName,
    at: Option<StatementId>,
    known: &Known,
    found: &mut Inspection,
) {
    let log = reflog::read(repository.root(), name);
    let named = log.iter().flat_map(|(lines, _)| lines).filter_map(|line| line.new);
    for lost in named.filter(|id| !known.contains_key(id)) {
        let problem = format!("it names statement {}, which is not here", lost.short(16));
        found.report.find(format!("logs/{name}"), problem);
        found.damage.missing.insert(lost);
    }
    match log {
        Ok((_, damaged)) if damaged > 0 => {
            found.report.find(format!("logs/{name}"), format!("{damaged} lines are damaged"));
        }
        Ok((lines, _)) if lines.last().and_then(|line| line.new) != at => match at {
            Some(_) => found.report.find(format!("logs/{name}"), "its last line is not where the ref is"),
            None => found.report.find(name, "it is lost; its log says where it was"),
        },
        Ok(_) => {}
        Err(error) => found.report.find(format!("logs/{name}"), chain(&error)),
    }
}

/// Every entry that is here and whose tag is lost: in a mirror, which has no logs, a deleted ref
/// shows nowhere else.
fn look_for_names(
    repository: &Repository,
    refs: &BTreeMap<RefName, StatementId>,
    known: &Known,
    found: &mut Inspection,
) {
    let heads: HashSet<StatementId> = refs.values().copied().collect();
    let prevs: HashSet<StatementId> = known.values().filter_map(previous).collect();
    for (id, envelope) in known {
        let tracked = matches!(envelope.kind(), StatementKind::Entry);
        if tracked && !heads.contains(id) && !prevs.contains(id) {
            found.report.find(crate::statements::key(*id), "no ref leads to this entry");
        }
        let entry = entry_of(envelope);
        let Some(release) = entry.as_ref().and_then(|entry| entry.release()) else { continue };
        // Entries of releases that were published elsewhere are kept for their place in the log.
        if !heads.contains(id) && repository.store().contains(&release.tree.object()) {
            found.report.find(crate::statements::key(*id), "this release has no tag");
        }
    }
}
