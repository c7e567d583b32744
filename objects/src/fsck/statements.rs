//! Statements: their forms, and who signed them.

use super::{Inspection, Level};
use crate::claim::{Beacon, Index};
use crate::grants::Grants;
use crate::id::{IdentityId, StatementId};
use crate::identity::{Chain, Identity};
use crate::release::Entry;
use crate::repository::{Repository, SUMMARY_KEY};
use crate::signed::{Document, Envelope, Kind as StatementKind, Signed, Verified};
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
    let signers = Signers::of(known);
    found.damage.missing.extend(&signers.missing);
    let faults: Vec<(StatementId, Fault)> = known
        .par_iter()
        .flat_map_iter(|(id, envelope)| {
            signers.faults(*id, envelope, level).into_iter().map(|fault| (*id, fault))
        })
        .collect();
    for (id, fault) in faults {
        let key = crate::statements::key(id);
        found.report.find(&key, &fault.problem);
        match fault.cure {
            Cure::Copy => drop(found.damage.statements.insert(key)),
            Cure::Statement(missing) => drop(found.damage.missing.insert(missing)),
        }
    }
}

/// What is wrong with a statement, and what would help.
struct Fault {
    problem: String,
    cure: Cure,
}

enum Cure {
    /// Another copy of it.
    Copy,
    /// Another statement that is not here.
    Statement(StatementId),
}

/// The identities whose chains are here: who may have signed what.
pub struct Signers {
    chains: BTreeMap<IdentityId, Chain>,
    chained: HashSet<StatementId>,
    documents: HashMap<StatementId, Option<StatementId>>,
    /// Documents that others name as the one before them.
    missing: Vec<StatementId>,
}

impl Signers {
    /// The identities in `known`.
    pub fn of(known: &BTreeMap<StatementId, Envelope>) -> Signers {
        let documents = known.values().filter(|envelope| envelope.kind() == StatementKind::Identity);
        let documents: Vec<(Signed<Identity>, Identity)> = documents
            .filter_map(|envelope| envelope.clone().typed::<Identity>().ok())
            .filter_map(|signed| signed.parse().ok().map(|document| (signed, document)))
            .collect();
        let chains = chains(&documents);
        let chained =
            chains.values().flat_map(|chain| chain.documents().iter().map(|document| document.id()));
        let prevs = documents.iter().filter_map(|(_, document)| document.prev);
        Signers {
            chained: chained.collect(),
            missing: prevs.filter(|prev| !known.contains_key(prev)).collect(),
            documents: documents.iter().map(|(signed, document)| (signed.id(), document.prev)).collect(),
            chains,
        }
    }

    /// The chains, by identity.
    pub fn chains(&self) -> impl Iterator<Item = &Chain> {
        self.chains.values()
    }

    /// A statement checked against the roles of the identity that `signer` finds in it, in any of its
    /// documents; None if that is not here, or did not sign it.
    pub fn verify<T: Document>(
        &self,
        envelope: &Envelope,
        role: &str,
        signer: impl Fn(&T) -> IdentityId,
    ) -> Option<Verified<T>> {
        let signed = envelope.clone().typed::<T>().ok()?;
        let chain = self.chains.get(&signer(&signed.parse().ok()?))?;
        let mut documents = chain.documents().iter().rev();
        documents.find_map(|document| signed.verify(document.role(role)?, role).ok())
    }

    /// True if nothing is wrong with a statement, as far as the identities here can tell: that of an
    /// identity which is not here itself has to hold in its signatures only.
    pub fn accept(&self, envelope: &Envelope) -> bool {
        let is_new = envelope.kind() == StatementKind::Identity;
        let faults = self.faults(envelope.id(), envelope, Level::Frames);
        let mut own = faults.iter().filter(|fault| matches!(fault.cure, Cure::Copy));
        if is_new { all_signatures_hold(envelope) } else { own.next().is_none() }
    }

    fn faults(&self, id: StatementId, envelope: &Envelope, level: Level) -> Vec<Fault> {
        let signer = match envelope.kind() {
            StatementKind::Identity => self.chain_fault(id),
            _ if level == Level::Connectivity => None,
            StatementKind::Entry => self.role_fault::<Entry>(envelope, "release", |entry| entry.signer),
            StatementKind::Index => {
                self.role_fault::<Index>(envelope, "index", |index| index.repository.owner)
            }
            StatementKind::Beacon => {
                self.role_fault::<Beacon>(envelope, "beacon", |beacon| beacon.repository.owner)
            }
            StatementKind::Grants => self.role_fault::<Grants>(envelope, "admin", |grants| grants.issuer),
            StatementKind::Note => None,
        };
        let is_broken = level != Level::Connectivity && !all_signatures_hold(envelope);
        let broken = is_broken
            .then(|| Fault { problem: "a signature on it does not hold".to_owned(), cure: Cure::Copy });
        signer.into_iter().chain(broken).collect()
    }

    fn chain_fault(&self, id: StatementId) -> Option<Fault> {
        if self.chained.contains(&id) {
            return None;
        }
        let prev = self.documents.get(&id).copied().flatten();
        let cure = match prev.filter(|prev| !self.chained.contains(prev)) {
            Some(prev) => Cure::Statement(prev),
            None => Cure::Copy,
        };
        Some(Fault { problem: "no chain of identity documents leads to it".to_owned(), cure })
    }

    fn role_fault<T: Document>(
        &self,
        envelope: &Envelope,
        role: &str,
        signer: impl Fn(&T) -> IdentityId,
    ) -> Option<Fault> {
        let parsed = envelope.clone().typed::<T>().and_then(|signed| Ok((signed.parse()?, signed)));
        let (document, signed) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => return Some(Fault { problem: chain(&error), cure: Cure::Copy }),
        };
        let signer = signer(&document);
        let Some(identity) = self.chains.get(&signer) else {
            let problem = format!("the identity {} that signed it is not here", signer.nick());
            return Some(Fault { problem, cure: Cure::Statement(StatementId::new(signer.object())) });
        };
        let mut documents = identity.documents().iter();
        let holds = documents.any(|doc| doc.role(role).is_some_and(|r| signed.verify(r, role).is_ok()));
        let problem = || format!("no document of {} has keys that signed it", signer.nick());
        (!holds).then(|| Fault { problem: problem(), cure: Cure::Copy })
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

/// Every identity whose chain can be followed from its first document.
fn chains(documents: &[(Signed<Identity>, Identity)]) -> BTreeMap<IdentityId, Chain> {
    let mut after: HashMap<StatementId, Vec<&(Signed<Identity>, Identity)>> = HashMap::new();
    for document in documents {
        if let Some(prev) = document.1.prev {
            after.entry(prev).or_default().push(document);
        }
    }
    let mut chains = BTreeMap::new();
    for (first, _) in documents.iter().filter(|(_, document)| document.n == 0) {
        let id = IdentityId::new(first.id().object());
        let Ok(mut chain) = Chain::begin(id, first) else { continue };
        loop {
            let head = chain.head().id();
            let next = after.get(&head).into_iter().flatten().filter(|(_, document)| document.id == Some(id));
            if !next.into_iter().any(|(next, _)| chain.extend(next).is_ok()) {
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
pub(crate) fn index_of(envelope: &Envelope) -> Option<Index> {
    envelope.clone().typed::<Index>().ok()?.parse().ok()
}

/// The document in an envelope, unchecked.
pub(crate) fn identity_of(envelope: &Envelope) -> Option<Identity> {
    envelope.clone().typed::<Identity>().ok()?.parse().ok()
}

/// The grants in an envelope, unchecked.
pub(crate) fn grants_of(envelope: &Envelope) -> Option<Grants> {
    envelope.clone().typed::<Grants>().ok()?.parse().ok()
}

/// The document before an identity's, or before grants.
pub(super) fn previous_document(envelope: &Envelope) -> Option<StatementId> {
    match envelope.kind() {
        StatementKind::Identity => identity_of(envelope)?.prev,
        StatementKind::Grants => grants_of(envelope)?.prev,
        _ => None,
    }
}

/// The entry before an entry.
pub(super) fn previous(envelope: &Envelope) -> Option<StatementId> {
    entry_of(envelope)?.prev
}
