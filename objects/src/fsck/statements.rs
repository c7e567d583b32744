//! Statements: their forms, and who signed them.

use super::Report;
use crate::claim::{Beacon, Index};
use crate::id::{IdentityId, StatementId, TreeId};
use crate::identity::{Chain, Identity};
use crate::release::Entry;
use crate::repository::Repository;
use crate::signed::{Document, Envelope, Kind as StatementKind, Signed};
use crate::store::chain;
use std::collections::BTreeMap;

/// The statements that are whole, by id.
pub(super) type Known = BTreeMap<StatementId, Envelope>;

pub(super) fn check_statements(
    repository: &Repository,
    report: &mut Report,
) -> Result<Known, crate::disk::Error> {
    let folder = repository.root().join("statements");
    let mut known = Known::new();
    for part in crate::disk::list(&folder)? {
        for name in crate::disk::list(&folder.join(&part))? {
            if name.ends_with(".tmp") {
                continue;
            }
            report.statements += 1;
            let place = format!("statements/{part}/{name}");
            match name.parse::<StatementId>().map(|id| (id, repository.statements().try_find(id))) {
                Ok((id, Ok(Some(envelope)))) => {
                    known.insert(id, envelope);
                }
                Ok((_, Err(error))) => report.find(place, chain(&error)),
                _ => report.find(place, "it is no statement"),
            }
        }
    }
    check_signatures(&known, report);
    Ok(known)
}

fn check_signatures(known: &Known, report: &mut Report) {
    let chains = chains(known);
    for (id, envelope) in known {
        let place = crate::statements::key(*id);
        let problem = match envelope.kind() {
            StatementKind::Identity => {
                let chained = chains.values().any(|chain| chain.documents().iter().any(|d| d.id() == *id));
                (!chained).then(|| "no chain of identity documents leads to it".to_owned())
            }
            StatementKind::Entry => unsigned::<Entry>(envelope, &chains, "release", |entry| entry.signer),
            StatementKind::Index => {
                unsigned::<Index>(envelope, &chains, "index", |index| index.repository.owner)
            }
            StatementKind::Beacon => {
                unsigned::<Beacon>(envelope, &chains, "beacon", |beacon| beacon.repository.owner)
            }
            StatementKind::Grants | StatementKind::Note => None,
        };
        if let Some(problem) = problem {
            report.find(place, problem);
        }
        if !all_signatures_hold(envelope) {
            report.find(crate::statements::key(*id), "a signature on it does not hold");
        }
    }
}

/// True if every signature is by the key it names. A stranger's key is not damage; a broken
/// signature is.
pub(super) fn all_signatures_hold(envelope: &Envelope) -> bool {
    let message = crate::signed::pae(envelope.kind().media_type(), envelope.payload());
    envelope.signatures().count() > 0
        && envelope.signatures().all(|(key, signature)| {
            crate::key::PublicKey::from_bytes(*key).is_ok_and(|key| key.verifies(&message, signature))
        })
}

fn unsigned<T: Document>(
    envelope: &Envelope,
    chains: &BTreeMap<IdentityId, Chain>,
    role: &str,
    signer: impl Fn(&T) -> IdentityId,
) -> Option<String> {
    let signed = match envelope.clone().typed::<T>() {
        Ok(signed) => signed,
        Err(error) => return Some(chain(&error)),
    };
    let document = match signed.parse() {
        Ok(document) => document,
        Err(error) => return Some(chain(&error)),
    };
    let Some(identity) = chains.get(&signer(&document)) else {
        return Some(format!("the identity {} that signed it is not here", signer(&document).nick()));
    };
    let holds =
        identity.documents().iter().any(|doc| doc.role(role).is_some_and(|r| signed.verify(r, role).is_ok()));
    (!holds).then(|| format!("no document of {} has keys that signed it", identity.id().nick()))
}

/// Every identity whose chain can be followed from its first document.
fn chains(known: &Known) -> BTreeMap<IdentityId, Chain> {
    let documents: Vec<(Signed<Identity>, Identity)> = known
        .values()
        .filter_map(|envelope| envelope.clone().typed::<Identity>().ok())
        .filter_map(|signed| signed.parse().ok().map(|document| (signed, document)))
        .collect();
    let mut chains = BTreeMap::new();
    for (first, _) in documents.iter().filter(|(_, document)| document.n == 0) {
        let id = IdentityId::new(first.id().object());
        let Ok(mut chain) = Chain::begin(id, first) else { continue };
        while let Some((next, _)) =
            documents.iter().find(|(_, d)| d.prev == Some(chain.head().id()) && d.id == Some(id))
        {
            if chain.extend(next).is_err() {
                break;
            }
        }
        chains.insert(id, chain);
    }
    chains
}

/// What a release entry is called, and its tree.
pub(super) fn release(id: StatementId, envelope: &Envelope) -> Option<(String, TreeId)> {
    let entry = envelope.clone().typed::<Entry>().ok()?.parse().ok()?;
    let release = entry.release()?;
    Some((format!("{} {} ({})", entry.name, release.version, id.short(12)), release.tree))
}

pub(super) fn previous(envelope: &Envelope) -> Option<StatementId> {
    envelope.clone().typed::<Entry>().ok()?.parse().ok()?.prev
}
