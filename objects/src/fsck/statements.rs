//! Statements: their forms, and who signed them.

use super::{Inspection, Level};
use crate::claim::{Beacon, Index};
use crate::id::{IdentityId, StatementId};
use crate::identity::{Chain, Identity};
use crate::release::Entry;
use crate::repository::{Repository, SUMMARY_KEY};
use crate::signed::{Document, Envelope, Kind as StatementKind, Signed};
use crate::store::chain;
use rayon::prelude::*;
use std::collections::{BTreeMap, HashMap, HashSet};

/// The statements that are whole, by id.
pub(crate) type Known = BTreeMap<StatementId, Envelope>;

/// Reads every statement, and gives those that are whole.
pub(super) fn look(
    repository: &Repository,
    level: Level,
    found: &mut Inspection,
) -> Result<Known, crate::disk::Error> {
    let folder = repository.root().join("statements");
    let mut files: Vec<(String, String)> = Vec::new();
    for part in crate::disk::list(&folder)? {
        let names = crate::disk::list(&folder.join(&part))?.into_iter();
        files.extend(names.filter(|name| !name.ends_with(".tmp")).map(|name| (part.clone(), name)));
    }
    let read = |(part, name): &(String, String)| {
        let place = format!("statements/{part}/{name}");
        let Ok(id) = name.parse::<StatementId>() else {
            return Err((place, "it is no statement".to_owned()));
        };
        match repository.statements().try_find(id) {
            Ok(Some(envelope)) if crate::statements::key(id) == place => Ok((id, envelope)),
            Err(error) => Err((place, chain(&error))),
            _ => Err((place, "it is no statement".to_owned())),
        }
    };
    found.report.statements = files.len() as u64;
    let results: Vec<_> = files.par_iter().map(read).collect();
    let mut known = Known::new();
    for result in results {
        match result {
            Ok((id, envelope)) => drop(known.insert(id, envelope)),
            Err((place, problem)) => {
                found.report.find(&place, problem);
                found.damage.statements.insert(place);
            }
        }
    }
    look_at_signers(&known, level, found);
    look_at_logs(repository, &known, found);
    Ok(known)
}

fn look_at_signers(known: &Known, level: Level, found: &mut Inspection) {
    let chains = chains(known, found);
    let chained: HashSet<StatementId> =
        chains.values().flat_map(|chain| chain.documents().iter().map(|document| document.id())).collect();
    let look = |(id, envelope): (&StatementId, &Envelope)| {
        let signer = match envelope.kind() {
            StatementKind::Identity if chained.contains(id) => Ok(()),
            StatementKind::Identity => Err((None, "no chain of identity documents leads to it".to_owned())),
            _ if level == Level::Connectivity => Ok(()),
            StatementKind::Entry => signed::<Entry>(envelope, &chains, "release", |entry| entry.signer),
            StatementKind::Index => {
                signed::<Index>(envelope, &chains, "index", |index| index.repository.owner)
            }
            StatementKind::Beacon => {
                signed::<Beacon>(envelope, &chains, "beacon", |beacon| beacon.repository.owner)
            }
            StatementKind::Grants | StatementKind::Note => Ok(()),
        };
        let broken = (level != Level::Connectivity && !all_signatures_hold(envelope))
            .then(|| (None, "a signature on it does not hold".to_owned()));
        signer.err().into_iter().chain(broken).map(|fault| (*id, fault)).collect::<Vec<_>>()
    };
    let faults: Vec<_> = known.par_iter().flat_map_iter(look).collect();
    for (id, (missing, problem)) in faults {
        found.report.find(crate::statements::key(id), problem);
        found.damage.missing.extend(missing);
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

/// What is wrong with a statement, and which statement is missing for it to be right.
type Fault = (Option<StatementId>, String);

fn signed<T: Document>(
    envelope: &Envelope,
    chains: &BTreeMap<IdentityId, Chain>,
    role: &str,
    signer: impl Fn(&T) -> IdentityId,
) -> Result<(), Fault> {
    let signed = envelope.clone().typed::<T>().map_err(|error| (None, chain(&error)))?;
    let document = signed.parse().map_err(|error| (None, chain(&error)))?;
    let signer = signer(&document);
    let Some(identity) = chains.get(&signer) else {
        let first = StatementId::new(signer.object());
        return Err((Some(first), format!("the identity {} that signed it is not here", signer.nick())));
    };
    let holds =
        identity.documents().iter().any(|doc| doc.role(role).is_some_and(|r| signed.verify(r, role).is_ok()));
    let unsigned = || (None, format!("no document of {} has keys that signed it", signer.nick()));
    if holds { Ok(()) } else { Err(unsigned()) }
}

/// Every identity whose chain can be followed from its first document.
fn chains(known: &Known, found: &mut Inspection) -> BTreeMap<IdentityId, Chain> {
    let documents = known.values().filter(|envelope| envelope.kind() == StatementKind::Identity);
    let documents: Vec<(Signed<Identity>, Identity)> = documents
        .filter_map(|envelope| envelope.clone().typed::<Identity>().ok())
        .filter_map(|signed| signed.parse().ok().map(|document| (signed, document)))
        .collect();
    let mut after: HashMap<StatementId, Vec<&(Signed<Identity>, Identity)>> = HashMap::new();
    for document in &documents {
        let Some(prev) = document.1.prev else { continue };
        after.entry(prev).or_default().push(document);
        if !known.contains_key(&prev) {
            found.damage.missing.insert(prev);
        }
    }
    let mut chains = BTreeMap::new();
    for (first, _) in documents.iter().filter(|(_, document)| document.n == 0) {
        let id = IdentityId::new(first.id().object());
        let Ok(mut chain) = Chain::begin(id, first) else { continue };
        while let Some(next) =
            after.get(&chain.head().id()).into_iter().flatten().find(|(_, d)| d.id == Some(id))
        {
            if chain.extend(&next.0).is_err() {
                break;
            }
        }
        chains.insert(id, chain);
    }
    chains
}

/// Who publishes or mirrors keeps whole logs, oldest first; who only fetches keeps what was installed,
/// and has no summary.
fn look_at_logs(repository: &Repository, known: &Known, found: &mut Inspection) {
    if !repository.root().join(SUMMARY_KEY).exists() {
        return;
    }
    for (id, envelope) in known {
        let lost = previous(envelope).filter(|prev| !known.contains_key(prev));
        if let Some(prev) = lost {
            let problem = format!("the entry before it, statement {}, is not here", prev.short(16));
            found.report.find(crate::statements::key(*id), problem);
            found.damage.missing.insert(prev);
        }
    }
}

/// The entry in an envelope, unchecked.
pub(crate) fn entry_of(envelope: &Envelope) -> Option<Entry> {
    envelope.clone().typed::<Entry>().ok()?.parse().ok()
}

/// The index in an envelope, unchecked.
pub(super) fn index_of(envelope: &Envelope) -> Option<Index> {
    envelope.clone().typed::<Index>().ok()?.parse().ok()
}

/// The entry before an entry.
pub(super) fn previous(envelope: &Envelope) -> Option<StatementId> {
    entry_of(envelope)?.prev
}
