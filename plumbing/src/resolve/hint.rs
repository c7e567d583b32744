//! What to try when nothing fits.
//!
//! Promises: a hint that names a version of a wanted package was tried out, and the rest can be had
//! with it. Leaves to others: why nothing fits (`report`).

use super::catalogue::{Catalogue, Unusable};
use super::provider::Provider;
use super::report::{LISTED_MAX, listed};
use super::set::Set;
use super::shelf::{Ask, Shelf};
use super::statement::{Said, Statement};
use super::{Prefer, Request};
use objects::claim::Mark;
use objects::id::IdentityId;
use objects::name::PackageName;
use objects::version::{Channel, Prereleases, Requirement, Version};
use pubgrub::VersionSet;
use std::collections::BTreeSet;

/// Most wanted packages whose requirement is dropped, one at a time, to see what helps.
const TRIALS_MAX: usize = 4;
/// Decisions for one such trial.
const TRIAL_DECISIONS_MAX: u32 = 2_000;

/// What to try against `statements`, most promising first.
pub(super) fn hints(catalogue: &Catalogue, statements: &[Statement]) -> Vec<String> {
    let roots = statements.iter().filter_map(Statement::root);
    let roots: BTreeSet<PackageName> = roots.map(|root| catalogue.name(root)).collect();
    let mut hints = relaxations(catalogue, &roots);
    hints.extend(statements.iter().filter_map(|one| hint(catalogue, one)));
    if roots.len() > 1 {
        let names: Vec<String> = roots.iter().take(LISTED_MAX).map(ToString::to_string).collect();
        hints.push(format!("give {} environments of their own", listed(&names)));
    }
    let mut told = BTreeSet::new();
    hints.retain(|hint| told.insert(hint.clone()));
    hints
}

/// What keeps a version from fitting that otherwise would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// It is a pre-release that nobody named.
    Prerelease(Version),
    /// It is on another channel.
    Channel(Version, Channel),
    /// It is another owner's.
    Owner(IdentityId),
}

impl Obstacle {
    /// What to do about it, where the package is called `name`.
    pub(super) fn hint(&self, name: &PackageName) -> String {
        match self {
            Obstacle::Prerelease(version) => {
                format!(
                    "{name} {version} would fit, but is a pre-release: ask for {name}@{version}, or allow them all"
                )
            }
            Obstacle::Channel(version, channel) => {
                format!(
                    "{name} {version} would fit, but is on channel {channel}: ask for {name}@{channel}:{version}"
                )
            }
            Obstacle::Owner(owner) => {
                format!("{name} belongs to {} here, not to the owner asked for", owner.nick())
            }
        }
    }
}

/// What stands between `ask`, which nothing meets, and the candidates there are.
pub(super) fn obstacle(shelf: &Shelf, ask: &Ask) -> Option<Obstacle> {
    let found = |ask: Ask| {
        let usable = shelf.admitted(&ask).intersection(&shelf.usable());
        shelf.preferred(&usable, Prefer::Newest).map(|number| shelf.candidate(number).clone())
    };
    let prerelease = || found(Ask { prereleases: Prereleases::Allowed, ..ask.clone() });
    let channel = || found(Ask { channels: None, ..ask.clone() });
    let owner = || found(Ask { owner: None, ..ask.clone() });
    let prerelease = || prerelease().map(|one| Obstacle::Prerelease(one.version));
    let channel = || channel().map(|one| Obstacle::Channel(one.version, one.channel));
    let owner = || owner().map(|one| Obstacle::Owner(one.owner));
    prerelease().or_else(channel).or_else(owner)
}

fn hint(catalogue: &Catalogue, statement: &Statement) -> Option<String> {
    match (&statement.said, statement.subject) {
        (Said::Unusable(Unusable::Marked(Mark::Retired { successor })), Some(subject)) => {
            Some(format!("use {} instead of {}", successor.as_ref()?, catalogue.name(subject)))
        }
        (Said::Unusable(Unusable::Young), Some(_)) => Some(
            "wait until it is old enough, or take younger ones: `pkg trust policy set min-age`".to_owned(),
        ),
        (Said::Needs { target, what, admitted }, Some(_)) if *admitted == Set::empty() => {
            let request = catalogue.request;
            let ask = Ask {
                requirement: &what.requirement,
                owner: what.owner,
                channels: Some(vec![what.channel.as_ref().unwrap_or(&request.default_channel)]),
                prereleases: request.prereleases,
            };
            Some(obstacle(&catalogue.shelf(*target), &ask)?.hint(&catalogue.name(*target)))
        }
        _ => None,
    }
}

/// What the request would get if it asked for one of `roots` in whatever version.
fn relaxations(catalogue: &Catalogue, roots: &BTreeSet<PackageName>) -> Vec<String> {
    let strict = roots.iter().filter_map(|name| {
        let words = catalogue.wanted(name).iter().map(|wanted| &wanted.requirement);
        let words: Vec<String> = words.filter(|one| !one.is_any()).map(ToString::to_string).collect();
        (!words.is_empty()).then(|| (name, words.join(" and ")))
    });
    let tried = strict.take(TRIALS_MAX).filter_map(|(name, words)| {
        let version = fitting(catalogue, name)?;
        Some(format!("ask for another {name} than {words}: {version} goes with the rest"))
    });
    tried.collect()
}

/// The version of `name` that goes with all else the request wants.
fn fitting(catalogue: &Catalogue, name: &PackageName) -> Option<Version> {
    let original = catalogue.request;
    let mut roots = original.roots.clone();
    for wanted in roots.iter_mut().filter(|wanted| wanted.name == *name) {
        wanted.requirement = Requirement::any();
    }
    let request = Request {
        roots,
        locked: original.locked.clone(),
        default_channel: original.default_channel.clone(),
        decisions_max: original.decisions_max.min(TRIAL_DECISIONS_MAX),
        ..*original
    };
    let trial = Provider::new(&request, catalogue.index);
    trial.catalogue.check_roots().ok()?;
    let choice = trial.solve().ok()?;
    let (package, shelf) = trial.catalogue.find(name).ok()??;
    Some(shelf.candidate(*choice.get(&package)?).version.clone())
}
