//! The order of a resolution: dependencies before dependents.
//!
//! Promises: the order depends on names alone; only what the request reaches is in it.
//! Leaves to others: the choice itself.

use super::catalogue::{Catalogue, PackageNumber};
use super::provider::Choice;
use super::{Chosen, Resolution};
use objects::name::PackageName;
use std::collections::{BTreeMap, BTreeSet};

/// For each chosen package, the packages it needs.
type Needs = BTreeMap<PackageName, BTreeSet<PackageName>>;

/// The packages of `choice`, dependencies first.
pub(super) fn in_install_order(catalogue: &Catalogue, choice: &Choice) -> Resolution {
    let named = choice.iter().map(|(package, number)| (catalogue.name(*package), (*package, *number)));
    let chosen: BTreeMap<PackageName, (PackageNumber, u32)> = named.collect();
    let needs: Needs =
        chosen.keys().map(|name| (name.clone(), needs(catalogue, name, chosen[name]))).collect();
    let roots: BTreeSet<&PackageName> = catalogue.request.roots.iter().map(|wanted| &wanted.name).collect();
    let order = postorder(&needs, roots);
    let mut askers = inverted(&needs, &order);
    let packages = order.iter().map(|name| {
        let (package, number) = chosen[*name];
        let candidate = catalogue.shelf(package).candidate(number).clone();
        Chosen {
            name: (*name).clone(),
            version: candidate.version,
            channel: candidate.channel,
            owner: candidate.owner,
            requested: !catalogue.wanted(name).is_empty(),
            asked_by: askers.remove(*name).unwrap_or_default(),
            mark: candidate.mark,
        }
    });
    Resolution { packages: packages.collect() }
}

/// The names of the other packages that a chosen one needs.
fn needs(catalogue: &Catalogue, name: &PackageName, chosen: (PackageNumber, u32)) -> BTreeSet<PackageName> {
    let shelf = catalogue.shelf(chosen.0);
    let needed = catalogue.needs(name, shelf.candidate(chosen.1)).map(|one| &one.name);
    needed.filter(|needed| *needed != name).cloned().collect()
}

/// For each of `packages`, which of them need it, by name.
fn inverted<'a>(needs: &'a Needs, packages: &[&PackageName]) -> BTreeMap<&'a PackageName, Vec<PackageName>> {
    let mut askers: BTreeMap<&PackageName, Vec<PackageName>> = BTreeMap::new();
    let by_name: BTreeSet<&PackageName> = packages.iter().copied().collect();
    for asker in by_name {
        for needed in &needs[asker] {
            askers.entry(needed).or_default().push(asker.clone());
        }
    }
    askers
}

/// Walks from `roots` along `needs` and names each package after all it needs. Without recursion,
/// since a chain of dependencies may be as long as an index is large.
fn postorder<'a>(needs: &'a Needs, roots: BTreeSet<&'a PackageName>) -> Vec<&'a PackageName> {
    let (mut order, mut entered) = (Vec::new(), BTreeSet::new());
    for root in roots {
        let mut path = Vec::new();
        enter(needs, root, &mut entered, &mut path);
        while let Some((name, rest)) = path.last_mut() {
            match rest.next() {
                Some(needed) => enter(needs, needed, &mut entered, &mut path),
                None => {
                    order.push(*name);
                    path.pop();
                }
            }
        }
    }
    order
}

type Step<'a> = (&'a PackageName, std::collections::btree_set::Iter<'a, PackageName>);

fn enter<'a>(
    needs: &'a Needs,
    name: &'a PackageName,
    entered: &mut BTreeSet<&'a PackageName>,
    path: &mut Vec<Step<'a>>,
) {
    if let Some(needed) = needs.get(name)
        && entered.insert(name)
    {
        path.push((name, needed.iter()));
    }
}
