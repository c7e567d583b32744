//! Why nothing fits, in words.
//!
//! A proof of the solver is a tree of derivations; read aloud it repeats itself. What persuades a
//! person is what it rests on: who asks for what. So the statements at its leaves are told once
//! each, from the request outwards, and the package they quarrel about is named at the end.
//!
//! Promises: the same request over the same index reads the same; text of strangers is printable
//! (SEC-018). Leaves to others: finding the proof (`provider`), showing it.

use super::catalogue::{Catalogue, PackageNumber, Unusable};
use super::hint;
use super::provider::Fact;
use super::set::Set;
use super::shelf::Shelf;
use super::statement::{Said, Statement, statements};
use objects::claim::Mark;
use objects::name::printable;
use objects::version::{Channel, Version};
use pubgrub::VersionSet;
use std::collections::BTreeMap;
use std::fmt;

/// Most statements an explanation shows; more persuade nobody.
const LINES_MAX: usize = 24;
/// Most names, versions, or stretches of versions that are listed in one sentence.
pub(super) const LISTED_MAX: usize = 4;

/// Most requirements that are compared to find two that quarrel; those nearest to the request.
const ASKS_MAX: usize = 200;

/// Why nothing fits: statements that cannot all be met, and what to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The statements, the request's own first; the last may draw the conclusion.
    pub lines: Vec<String>,
    /// What to try, most promising first.
    pub hints: Vec<String>,
    /// True if what the request asks for is there, and a mark alone forbids it.
    pub is_marked: bool,
    /// True if it rests on versions that are too young for the user: their own rule stands in the way.
    pub is_young: bool,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, line) in self.lines.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            write!(f, "{end}  {line}")?;
        }
        Ok(())
    }
}

/// Puts a proof into words.
pub(super) fn explain(catalogue: &Catalogue, facts: Vec<Fact>) -> Explanation {
    let statements = statements(catalogue, facts, |one| line(catalogue, one));
    let mut lines: Vec<String> = statements.iter().take(LINES_MAX).map(|one| line(catalogue, one)).collect();
    if statements.len() > LINES_MAX {
        lines.push(format!("and {} more such statements", statements.len() - LINES_MAX));
    }
    lines.extend(conclusion(catalogue, &statements));
    let is_young = statements.iter().any(|one| matches!(one.said, Said::Unusable(Unusable::Young)));
    let (hints, is_marked) = (hint::hints(catalogue, &statements), is_marked(&statements));
    Explanation { lines, hints, is_marked, is_young }
}

fn is_marked(statements: &[Statement]) -> bool {
    let (asked, marked): (Vec<_>, Vec<_>) = statements.iter().partition(|one| one.subject.is_none());
    let is_mark = |one: &&Statement| matches!(one.said, Said::Unusable(Unusable::Marked(_)));
    asked.len() == 1 && !marked.is_empty() && marked.iter().all(is_mark)
}

/// The versions there are, in words.
pub(super) fn offer(versions: &[(Version, Channel)]) -> String {
    let label = |(version, channel): &(Version, Channel)| label(version, channel);
    let shown = versions.iter().take(LISTED_MAX).map(label).collect();
    match versions.len() {
        0 => "the index lists no version of it".to_owned(),
        count => format!("the index offers {}", listed(&and_more(shown, count, "older"))),
    }
}

fn label(version: &Version, channel: &Channel) -> String {
    match channel.is_default() {
        true => version.to_string(),
        false => format!("{version} ({channel})"),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `shown`, and how many of `count` are not.
fn and_more(mut shown: Vec<String>, count: usize, what: &str) -> Vec<String> {
    let more = count.saturating_sub(shown.len());
    if more > 0 {
        shown.push(format!("{more} {what}"));
    }
    shown
}

/// One statement as a sentence.
fn line(catalogue: &Catalogue, statement: &Statement) -> String {
    let Some(subject) = statement.subject else {
        return match &statement.said {
            Said::Needs { target, what, .. } => {
                format!("you want {}{}", catalogue.name(*target), what.terms())
            }
            // The request neither conflicts with anything nor is it a version of something.
            Said::Conflicts { .. } | Said::Unusable(_) => String::new(),
        };
    };
    let (who, number) = subject_words(catalogue, subject, &statement.versions);
    let need = number.verb("needs", "need");
    match &statement.said {
        Said::Needs { target, what, admitted } => {
            let but = if *admitted == Set::empty() {
                format!(", but {}", offer(&catalogue.shelf(*target).newest_first()))
            } else {
                String::new()
            };
            format!("{who} {need} {}{}{but}", catalogue.name(*target), what.terms())
        }
        Said::Conflicts { target, requirement } => {
            let which = if requirement.is_any() { String::new() } else { format!(" {requirement}") };
            format!("{who} {} with {}{which}", number.verb("conflicts", "conflict"), catalogue.name(*target))
        }
        Said::Unusable(Unusable::Marked(mark)) => {
            format!("{who} {} {}", number.verb("is", "are"), marked(mark))
        }
        Said::Unusable(Unusable::Young) => {
            format!("{who} {} younger than `min-age` asks for", number.verb("is", "are"))
        }
        Said::Unusable(Unusable::Missing(name)) => {
            format!("{who} {need} {name}, which the index does not have")
        }
        Said::Unusable(Unusable::NeedsItself(requirement)) => {
            format!("{who} {need} another version of the same package: {requirement}")
        }
    }
}

fn marked(mark: &Mark) -> String {
    let because = |reason: &str| match reason {
        "" => String::new(),
        reason => format!(": {}", printable(reason)),
    };
    match mark {
        Mark::Yanked { reason } => format!("yanked{}", because(reason)),
        Mark::Retired { successor: Some(successor) } => format!("retired in favour of {successor}"),
        Mark::Retired { successor: None } => "retired".to_owned(),
        Mark::Forbidden { reason } => format!("forbidden{}", because(reason)),
        Mark::Malicious { reason } => format!("marked as malicious{}", because(reason)),
    }
}

/// Whether a subject takes `needs` or `need`.
enum Number {
    Singular,
    Plural,
}

impl Number {
    fn verb(&self, singular: &'static str, plural: &'static str) -> &'static str {
        match self {
            Number::Singular => singular,
            Number::Plural => plural,
        }
    }
}

/// `web 1.2.0`, `web 1.2.0 to 1.9.0`, `every version of web`.
fn subject_words(catalogue: &Catalogue, package: PackageNumber, versions: &Set) -> (String, Number) {
    let (name, shelf) = (catalogue.name(package), catalogue.shelf(package));
    let (count, all) = (versions.len() as usize, shelf.numbers().len());
    if count == all && all > 1 {
        return (format!("every version of {name}"), Number::Singular);
    }
    let mut stretches = stretches(&shelf, versions);
    let total = stretches.len();
    stretches.truncate(LISTED_MAX);
    let number = if count == 1 { Number::Singular } else { Number::Plural };
    (format!("{name} {}", listed(&and_more(stretches, total, "more"))), number)
}

/// The versions in ascending order; three and more in a row are `1.2.0 to 1.9.0`.
fn stretches(shelf: &Shelf, versions: &Set) -> Vec<String> {
    let label = |number| {
        let one = shelf.candidate(number);
        label(&one.version, &one.channel)
    };
    let mut stretches = shelf.stretches(versions);
    stretches.sort_by(|one, other| {
        let version = |number| &shelf.candidate(number).version;
        version(one.start).cmp(version(other.start))
    });
    let words = stretches.into_iter().flat_map(|span| match span.len() {
        0..=2 => span.map(label).collect(),
        _ => vec![format!("{} to {}", label(span.start), label(span.end - 1))],
    });
    words.collect()
}

/// The packages of which two different parties ask what no version can be.
fn conclusion(catalogue: &Catalogue, statements: &[Statement]) -> Option<String> {
    let asks = statements.iter().filter_map(|one| match &one.said {
        Said::Needs { target, what, admitted } if *admitted != Set::empty() => {
            Some((one.subject, *target, what, admitted))
        }
        _ => None,
    });
    let asks: Vec<_> = asks.take(ASKS_MAX).collect();
    let mut quarrels = BTreeMap::new();
    for (at, (subject, target, what, admitted)) in asks.iter().enumerate() {
        let against = asks[at + 1..].iter().find(|(other, same, _, others)| {
            let two_parties = subject != other || subject.is_none();
            two_parties && same == target && admitted.is_disjoint(others)
        });
        if let Some((.., other, _)) = against {
            quarrels.entry(catalogue.name(*target)).or_insert((what.terms(), other.terms()));
        }
    }
    let quarrel = |(name, (one, other))| format!("{name} would have to be both{one} and{other}");
    let quarrels: Vec<String> = quarrels.into_iter().map(quarrel).take(LISTED_MAX).collect();
    (!quarrels.is_empty()).then(|| format!("so {}", quarrels.join(", or ")))
}
