//! What readers begin with: the summary and the list of packs.

use super::Inspection;
use super::statements::{Known, all_signatures_hold, index_of};
use crate::id::TreeId;
use crate::identity::Chain;
use crate::limits::PACK_LIST_BYTES_MAX;
use crate::packlist;
use crate::repository::{PACK_LIST_KEY, Repository, SUMMARY_KEY};
use crate::signed::Signed;
use crate::store::chain;
use crate::store::pack::file_name;
use crate::summary::Summary;

/// The tree of the index that the summary names.
pub(super) fn summary(repository: &Repository, known: &Known, found: &mut Inspection) -> Option<TreeId> {
    match repository.summary() {
        Ok(Some(summary)) => {
            let faults = faults(&summary);
            found.damage.summary = !faults.is_empty();
            let whole = faults.is_empty();
            faults.into_iter().for_each(|fault| found.report.find(SUMMARY_KEY, fault));
            let index = index_of(summary.index.envelope()).map(|index| index.root);
            index.filter(|_| whole)
        }
        Ok(None) if was_published(repository, known) => {
            found.report.find(SUMMARY_KEY, "it is lost");
            found.damage.summary = true;
            None
        }
        Ok(None) => None,
        Err(error) => {
            found.report.find(SUMMARY_KEY, chain(&error));
            found.damage.summary = true;
            None
        }
    }
}

/// What is wrong with a summary in itself: chain, signatures, and whether its parts belong together.
pub(crate) fn faults(summary: &Summary) -> Vec<String> {
    let owner = match Chain::walk(summary.repository.owner, &summary.owner) {
        Ok(owner) => owner,
        Err(error) => return vec![chain(&error)],
    };
    let roles = &owner.head().roles;
    let mut faults = Vec::new();
    let documents = summary.owner.iter().map(Signed::envelope);
    for envelope in documents.chain([summary.index.envelope(), summary.beacon.envelope()]) {
        if !all_signatures_hold(envelope) {
            faults.push("a signature in it does not hold".to_owned());
        }
    }
    match (summary.index.verify(&roles.index, "index"), summary.beacon.verify(&roles.beacon, "beacon")) {
        (Ok(index), Ok(beacon)) => {
            if beacon.index != index.id() {
                faults.push("its beacon speaks of another index".to_owned());
            }
            if [&index.repository, &beacon.repository] != [&summary.repository; 2] {
                faults.push("it is of another repository than its index and beacon".to_owned());
            }
        }
        (Err(error), _) | (_, Err(error)) => faults.push(chain(&error)),
    }
    faults
}

/// True if a summary has to be here: logs are kept, and a second index was made, which happens only
/// after the first was named by a summary. A first publication that was cut off is no damage.
fn was_published(repository: &Repository, known: &Known) -> bool {
    let refs = repository.refs().survey().map(|survey| survey.refs).unwrap_or_default();
    let has_logs = refs.keys().any(|name| name.as_str().starts_with("refs/packages/"));
    has_logs && known.values().filter_map(index_of).any(|index| index.n > 0)
}

/// Readers from outside begin at the summary and need the list. One that lacks a pack is no damage:
/// somebody was killed between the two, and the next to publish lists it. One that names a pack which
/// is gone is: packs leave the list before they go.
pub(super) fn pack_list(repository: &Repository, found: &mut Inspection) -> Result<(), crate::disk::Error> {
    let path = repository.root().join(PACK_LIST_KEY);
    let list = crate::disk::try_read(&path, PACK_LIST_BYTES_MAX)?.map(|bytes| packlist::decode(&bytes));
    let problems: Vec<String> = match list {
        None if repository.root().join(SUMMARY_KEY).exists() => vec!["it is lost".to_owned()],
        None => Vec::new(),
        Some(Err(error)) => vec![chain(&error)],
        Some(Ok(list)) => {
            let folder = repository.store().packs_folder();
            let gone = list.iter().filter(|pack| !folder.join(file_name(pack.id)).exists());
            gone.map(|pack| format!("it lists pack {}, which is lost", pack.id.to_hex())).collect()
        }
    };
    found.damage.pack_list = !problems.is_empty();
    problems.into_iter().for_each(|problem| found.report.find(PACK_LIST_KEY, problem));
    Ok(())
}
