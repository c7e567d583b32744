//! Version requirements, in both dialects.
//!
//! ```text
//! requirement = [EPOCH "!"] ( "*" | part *( "," part ) )
//! part        = [operator] version                        Cargo's: ^1.2  ~1.2.3  =1.2.3  1.*  1.2
//!             | 1*( ( ">" | "<" | ">=" | "<=" ) version ) the proposal's: >0.1.2<0.1.5 (O5)
//! version     = [EPOCH "!"] MAJOR ["." MINOR ["." PATCH ["-" PRE] ["~" REVISION]]]
//! ```
//!
//! A requirement without an epoch speaks of every epoch; one with an epoch, of that epoch alone. A
//! comparison without a revision speaks of all revisions: `=1.2.3` is met by `1.2.3~2`, `>1.2.3` is
//! not. A bare version means `^`.
//!
//! Promises: without epochs and revisions it takes what `semver::VersionReq` takes, and matches what
//! that matches. Leaves to others: the set of versions behind it (`plumbing::resolve`).

use super::{COMPARATORS_MAX, Error, REQUIREMENT_BYTES_MAX, VERSION_BYTES_MAX, Version, number, within};
use semver::Op;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Which pre-releases may meet a requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prereleases {
    /// Those of a `MAJOR.MINOR.PATCH` of which the requirement names a pre-release, as in Cargo.
    #[default]
    Named,
    /// All that lie within it. `<2.0.0` still does not mean `2.0.0-beta`, unless a pre-release of
    /// `2.0.0` is named beside it: who writes it wants what came before 2.0.0.
    Allowed,
}

/// Which versions will do; keeps the words it was written in.
///
/// ```
/// use objects::version::{Prereleases::Named, Requirement};
/// let cargo: Requirement = "^1.2, <1.9".parse()?;
/// let proposal: Requirement = ">0.1.2<0.1.5".parse()?;
/// assert!(cargo.matches(&"1.8.0".parse()?, Named));
/// assert!(proposal.matches(&"0.1.4~7".parse()?, Named));
/// assert_eq!(proposal.to_string(), ">0.1.2<0.1.5");
/// # Ok::<(), objects::version::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Requirement {
    text: String,
    epoch: Option<u64>,
    comparators: Vec<Comparator>,
}

/// One comparison of a requirement.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Comparator {
    /// Operator, and the version as far as it is given.
    pub semver: semver::Comparator,
    /// The revision, if one is named; then minor and patch are given too.
    pub revision: Option<u64>,
}

impl Requirement {
    /// `*`: every version.
    pub fn any() -> Self {
        Requirement { text: "*".to_owned(), epoch: None, comparators: Vec::new() }
    }

    /// `=VERSION`, taken as it is written: an epoch or revision that is 0 is not asked for.
    pub fn exactly(version: &Version) -> Self {
        let stated = |number: u64| Some(number).filter(|number| *number > 0);
        let semver = semver::Comparator {
            op: Op::Exact,
            major: version.semver.major,
            minor: Some(version.semver.minor),
            patch: Some(version.semver.patch),
            pre: version.semver.pre.clone(),
        };
        let revision = stated(version.revision);
        Requirement {
            text: format!("={version}"),
            epoch: stated(version.epoch),
            comparators: vec![Comparator { semver, revision }],
        }
    }

    /// True if it leaves nothing out (but for pre-releases).
    pub fn is_any(&self) -> bool {
        self.epoch.is_none() && self.comparators.is_empty()
    }

    /// The words it was written in.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The epoch it demands, if it names one.
    pub fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// The comparisons a version has to pass, all of them.
    pub fn comparators(&self) -> &[Comparator] {
        &self.comparators
    }

    /// True if `version` will do.
    pub fn matches(&self, version: &Version, prereleases: Prereleases) -> bool {
        self.epoch.is_none_or(|epoch| epoch == version.epoch)
            && self.comparators.iter().all(|one| one.admits(version, prereleases))
            && (!version.is_prerelease() || self.opens(version.triple(), prereleases))
    }

    /// True if pre-releases of `triple` (major, minor, patch) may meet the requirement at all.
    pub fn opens(&self, triple: (u64, u64, u64), prereleases: Prereleases) -> bool {
        let mut full = self.comparators.iter().filter(|one| one.triple() == Some(triple));
        match prereleases {
            Prereleases::Named => full.any(|one| one.names_prerelease()),
            Prereleases::Allowed => {
                let mut below = full.clone().filter(|one| one.stops_before_release());
                below.next().is_none() || full.any(|one| one.names_prerelease())
            }
        }
    }

    /// The major, minor and patch of every pre-release it names.
    pub fn named_prereleases(&self) -> impl Iterator<Item = (u64, u64, u64)> {
        let naming = self.comparators.iter().filter(|one| one.names_prerelease());
        naming.filter_map(Comparator::triple)
    }
}

impl Comparator {
    /// Major, minor and patch, if all three are given.
    pub fn triple(&self) -> Option<(u64, u64, u64)> {
        Some((self.semver.major, self.semver.minor?, self.semver.patch?))
    }

    /// How many leading numbers a version has to share for `^` and `~`.
    pub fn shared_numbers(&self) -> usize {
        match (self.semver.op, self.semver.major, self.semver.minor, self.semver.patch) {
            (Op::Tilde, _, minor, _) => 1 + usize::from(minor.is_some()),
            (_, 1.., _, _) | (_, _, None, _) => 1,
            (_, _, Some(1..), _) | (_, _, _, None) => 2,
            (_, _, Some(0), Some(_)) => 3,
        }
    }

    /// True for `1.2.3-rc.1`.
    pub fn names_prerelease(&self) -> bool {
        !self.semver.pre.is_empty()
    }

    /// True for `<1.2.3`, which in plain words does not mean `1.2.3-rc.1`.
    pub fn stops_before_release(&self) -> bool {
        self.semver.op == Op::Less && !self.names_prerelease() && self.revision.unwrap_or(0) == 0
    }

    fn admits(&self, version: &Version, prereleases: Prereleases) -> bool {
        let place = self.place(version);
        // `1.2` stands for a block of versions; as in Cargo, its pre-releases are not part of it.
        let whole = self.triple().is_some() || !version.is_prerelease();
        let inside = place.is_eq() && (whole || prereleases == Prereleases::Allowed);
        match self.semver.op {
            Op::Greater => place.is_gt(),
            Op::GreaterEq => place.is_gt() || inside,
            Op::Less => place.is_lt(),
            Op::LessEq => place.is_lt() || inside,
            Op::Tilde => self.shares_numbers(version) && (place.is_gt() || inside),
            Op::Caret => self.shares_numbers(version) && place.is_ge(),
            _ => inside,
        }
    }

    /// Where `version` lies beside the versions that agree with every part given.
    fn place(&self, version: &Version) -> Ordering {
        let (stated, theirs) = (&self.semver, &version.semver);
        let major = theirs.major.cmp(&stated.major);
        let Some(minor) = stated.minor else {
            return major;
        };
        let minor = major.then(theirs.minor.cmp(&minor));
        let Some(patch) = stated.patch else {
            return minor;
        };
        let revision = self.revision.unwrap_or(version.revision);
        minor
            .then(theirs.patch.cmp(&patch))
            .then_with(|| theirs.pre.cmp(&stated.pre))
            .then(version.revision.cmp(&revision))
    }

    fn shares_numbers(&self, version: &Version) -> bool {
        let (stated, theirs) = (&self.semver, &version.semver);
        let shared = self.shared_numbers();
        theirs.major == stated.major
            && (shared < 2 || Some(theirs.minor) == stated.minor)
            && (shared < 3 || Some(theirs.patch) == stated.patch)
    }
}

impl FromStr for Requirement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        within("version requirement", text, REQUIREMENT_BYTES_MAX)?;
        parse(text).map_err(|why| Error::Requirement { text: text.to_owned(), why })
    }
}

fn parse(text: &str) -> Result<Requirement, String> {
    let (mut epoch, rest) = split_epoch(text.trim_matches(' '))?;
    let mut comparators = Vec::new();
    if !matches!(rest, "*" | "x" | "X") {
        for piece in pieces(rest)? {
            let (comparator, its_epoch) = parse_comparator(piece)?;
            if epoch.is_some() && its_epoch.is_some() && epoch != its_epoch {
                return Err("it names two epochs".to_owned());
            }
            epoch = epoch.or(its_epoch);
            comparators.push(comparator);
        }
    }
    Ok(Requirement { text: text.to_owned(), epoch, comparators })
}

/// The comparisons, one by one: parts between commas, and within a part the proposal's operators.
fn pieces(text: &str) -> Result<Vec<&str>, String> {
    let mut pieces = Vec::new();
    for part in text.split(',') {
        let part = part.trim_matches(' ');
        let later = part.match_indices(['<', '>']).map(|(at, _)| at).filter(|at| *at > 0);
        let starts: Vec<usize> = std::iter::once(0).chain(later).collect();
        if starts.len() > 1 && !part.starts_with(['<', '>']) {
            return Err("only > < >= <= combine without commas".to_owned());
        }
        let ends = starts.iter().skip(1).copied().chain([part.len()]);
        pieces.extend(starts.iter().zip(ends).map(|(start, end)| part[*start..end].trim_matches(' ')));
    }
    match pieces.len() {
        count if count > COMPARATORS_MAX => {
            Err(format!("it makes {count} comparisons; at most {COMPARATORS_MAX} are taken"))
        }
        _ => Ok(pieces),
    }
}

fn parse_comparator(piece: &str) -> Result<(Comparator, Option<u64>), String> {
    if piece.len() > VERSION_BYTES_MAX + 2 {
        return Err(format!("a comparison is longer than {VERSION_BYTES_MAX} bytes"));
    }
    let operators = [">=", "<=", ">", "<", "=", "^", "~"];
    let operator = operators.into_iter().find(|op| piece.starts_with(op)).unwrap_or("");
    let (epoch, version) = split_epoch(piece[operator.len()..].trim_start_matches(' '))?;
    if !operator.is_empty() && version.starts_with(['=', '<', '>']) {
        return Err("it has an operator where a version belongs".to_owned()); // `> =1` is not `>=1`
    }
    let (version, revision) = match version.rsplit_once('~') {
        Some((version, revision)) => (version, Some(number("revision", revision)?)),
        None => (version, None),
    };
    let semver = semver::Comparator::parse(&format!("{operator}{version}")).map_err(|e| e.to_string())?;
    if revision.is_some() && semver.patch.is_none() {
        return Err("a revision belongs to a whole version, as in =1.2.3~2".to_owned());
    }
    Ok((Comparator { semver, revision }, epoch))
}

/// Splits a leading `EPOCH!` off.
fn split_epoch(text: &str) -> Result<(Option<u64>, &str), String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match text[digits..].strip_prefix('!') {
        Some(rest) => Ok((Some(number("epoch", &text[..digits])?), rest.trim_start_matches(' '))),
        None => Ok((None, text)),
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
