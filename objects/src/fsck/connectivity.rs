//! What refs and summary name is here, down to the last chunk.

use super::Report;
use super::statements::{Known, release};
use crate::id::{ObjectId, TreeId};
use crate::object::{Exists, Find, Kind};
use crate::repository::Repository;
use crate::store::chain;
use crate::walk;
use std::collections::HashSet;

pub(super) fn check_connectivity(
    repository: &Repository,
    statements: &Known,
    index: Option<TreeId>,
    report: &mut Report,
) {
    let mut roots: Vec<(String, TreeId)> =
        index.map(|tree| ("summary".to_owned(), tree)).into_iter().collect();
    for (_, id) in repository.refs().list("refs/tags/").unwrap_or_default() {
        roots.extend(statements.get(&id).and_then(|envelope| release(id, envelope)));
    }
    let mut seen = HashSet::new();
    for (place, tree) in roots {
        check_tree(repository.store(), &place, tree, &mut seen, report);
    }
}

fn check_tree(
    store: &crate::store::Store,
    place: &str,
    tree: TreeId,
    seen: &mut HashSet<(Kind, ObjectId)>,
    report: &mut Report,
) {
    match walk::closure(&store as &dyn Find, tree, seen) {
        Ok(closure) => {
            for (chunk, _) in closure.chunks.iter().filter(|(chunk, _)| !store.contains(&chunk.object())) {
                report.find(place, format!("chunk {chunk} is not in the store"));
            }
        }
        Err(error) => report.find(place, chain(&error)),
    }
}
