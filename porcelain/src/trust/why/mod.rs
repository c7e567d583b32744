//! Why a release is accepted, or would be refused: every step of THREATS 1.4, taken again.
//!
//! ```text
//! repository ── distributor's identity ── index ── beacon
//! package    ── owner's identity ── path to the signer ── entry ── version and tree ── rules ── content
//! ```
//!
//! Promises: nothing is taken from notes: the judge itself goes through all steps again, over the
//! statements and over a copy of what this machine believes; so it changes nothing.
//! Leaves to others: the words on the screen (the binary).

mod case;
mod place;
mod standing;

pub use standing::{Standing, standings};

use crate::env::Environment;
use crate::error::Error;
use crate::session::Session;
use case::Case;
use objects::name::PackageName;
use objects::spec::PackageSpec;
use objects::version::Version;
use place::{Anywhere, Place};
use serde::Serialize;

/// One step that held, or the one that did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The numbers of THREATS 1.4.
    pub steps: &'static str,
    /// What was looked at.
    pub what: String,
    /// What was found, in sentences.
    pub said: Vec<String>,
    /// True if it holds.
    pub holds: bool,
    /// What rests on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub below: Vec<Step>,
}

impl Step {
    fn new(steps: &'static str, what: impl Into<String>, said: Vec<String>) -> Step {
        Step { steps, what: what.into(), said, holds: true, below: Vec::new() }
    }

    fn fails(steps: &'static str, what: impl Into<String>, error: &Error) -> Step {
        let said = vec![format!("{}: {}", error.code(), error.message())];
        Step { holds: false, ..Step::new(steps, what, said) }
    }
}

/// Why something is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// Which version.
    pub version: Version,
    /// A code of the list.
    pub code: String,
    /// Why.
    pub message: String,
}

/// The chain that makes a release acceptable.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// True if it is installed where one stands.
    pub installed: bool,
    /// True if it would be accepted now.
    pub accepted: bool,
    /// The steps, as a tree.
    pub chain: Vec<Step>,
    /// Why not, if it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Other versions that would be refused, as far as their rows tell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Refusal>,
}

/// What is asked.
pub struct Request<'a> {
    /// Which release; without a version the installed one, else the newest.
    pub spec: &'a PackageSpec,
    /// Where one stands.
    pub environment: Option<&'a Environment>,
    /// True to ask nobody for statements that are not here.
    pub offline: bool,
}

/// Goes through all steps for one release.
///
/// # Errors
/// If the package is not known here, or what is here cannot be read. That a release is refused is an
/// answer, not an error.
pub fn why(session: &Session, request: &Request<'_>) -> Result<Why, Error> {
    let place = Place::find(session, request)?;
    let (record, row) = place.release(session, request.spec)?;
    let version = row.release.version.clone();
    let state = session.state()?.copy()?;
    let policy = place.policy(session, &row);
    let statements = Anywhere::new(session, place.addresses.clone())?;
    let case = Case {
        session,
        state: &state,
        policy,
        now: session.now(),
        place: &place,
        record: &record,
        row: &row,
        statements: &statements,
    };
    let (chain, refused) = case.chain()?;
    let refused = refused.map(|error| Refusal {
        version: version.clone(),
        code: error.code().to_owned(),
        message: error.message(),
    });
    Ok(Why {
        name: record.name.clone(),
        installed: place.installed.as_ref() == Some(&row.entry),
        accepted: refused.is_none(),
        chain,
        refused,
        others: case.others(),
        version,
    })
}
