//! What readers begin with: the summary and the list of packs.

use super::Report;
use super::statements::{Known, all_signatures_hold};
use crate::claim::Index;
use crate::id::TreeId;
use crate::identity::Chain;
use crate::limits::PACK_LIST_BYTES_MAX;
use crate::packlist;
use crate::repository::Repository;
use crate::signed::{Envelope, Signed};
use crate::store::chain;

/// The tree of the index that the summary names.
pub(super) fn check_summary(
    repository: &Repository,
    statements: &Known,
    report: &mut Report,
) -> Option<TreeId> {
    let summary = match repository.summary() {
        Ok(Some(summary)) => summary,
        Ok(None) => {
            if was_published(repository, statements) {
                report.find("summary", "it is lost");
            }
            return None;
        }
        Err(error) => {
            report.find("summary", chain(&error));
            return None;
        }
    };
    let chain_of_owner = match Chain::walk(summary.repository.owner, &summary.owner) {
        Ok(chain) => chain,
        Err(error) => {
            report.find("summary", chain(&error));
            return None;
        }
    };
    let roles = &chain_of_owner.head().roles;
    let index = summary.index.verify(&roles.index, "index");
    let beacon = summary.beacon.verify(&roles.beacon, "beacon");
    let owner = summary.owner.iter().map(Signed::envelope);
    for envelope in owner.chain([summary.index.envelope(), summary.beacon.envelope()]) {
        if !all_signatures_hold(envelope) {
            report.find("summary", "a signature in it does not hold");
        }
    }
    match (index, beacon) {
        (Ok(index), Ok(beacon)) => {
            if beacon.index != index.id() {
                report.find("summary", "its beacon speaks of another index");
            }
            if [&index.repository, &beacon.repository] != [&summary.repository; 2] {
                report.find("summary", "it is of another repository than its index and beacon");
            }
            Some(index.root)
        }
        (Err(error), _) | (_, Err(error)) => {
            report.find("summary", chain(&error));
            None
        }
    }
}

/// True if a summary has to be here: logs are kept, and a second index was made, which happens only
/// after the first was named by a summary. A first publication that was cut off is no damage.
fn was_published(repository: &Repository, statements: &Known) -> bool {
    let has_logs = repository.refs().list("refs/packages/").is_ok_and(|refs| !refs.is_empty());
    let index =
        |envelope: &Envelope| envelope.clone().typed::<Index>().ok().and_then(|signed| signed.parse().ok());
    has_logs && statements.values().filter_map(index).any(|index| index.n > 0)
}

/// Readers from outside begin at the summary and need the list. One that lacks a pack is no damage:
/// somebody was killed between the two, and the next to publish lists it.
pub(super) fn check_pack_list(
    repository: &Repository,
    report: &mut Report,
) -> Result<(), crate::disk::Error> {
    if repository.summary().ok().flatten().is_none() {
        return Ok(());
    }
    let path = repository.root().join(crate::repository::PACK_LIST_KEY);
    match crate::disk::try_read(&path, PACK_LIST_BYTES_MAX)?.map(|bytes| packlist::decode(&bytes)) {
        None => report.find(crate::repository::PACK_LIST_KEY, "it is lost"),
        Some(Err(error)) => report.find(crate::repository::PACK_LIST_KEY, chain(&error)),
        Some(Ok(_)) => {}
    }
    Ok(())
}
