//! What the judge says today of what is installed (SEC-142).
//!
//! A release that was good when it was installed may not be any more: its key turned out to be stolen, its
//! signer's grant was ended, two contents of one version came up. What is installed stays; this names it.
//!
//! Promises: as [`super::why()`], all steps are taken again and nothing is changed. Age and freshness do not
//! count: what is installed was fresh, and may grow old.

use super::case::Case;
use super::place::{Anywhere, Place};
use super::{Refusal, Request};
use crate::env::{Environment, Installed};
use crate::error::{Class, Error};
use crate::inspect::View;
use crate::session::Session;
use objects::claim::{PackageRecord, VersionRow};
use objects::spec::{PackageSpec, Select};
use plumbing::trust::{Freshness, Policy, State};
use serde::Serialize;

/// How an installed release stands today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "standing", content = "because")]
pub enum Standing {
    /// It would be accepted again.
    Accepted,
    /// It would not be believed.
    Refused(Refusal),
    /// Its author signed it, but somebody advises against it, or withdrew it.
    Advised(Refusal),
    /// There is not enough here to say.
    Unknown(Refusal),
}

impl Standing {
    /// Why it does not simply stand.
    #[must_use]
    pub fn why(&self) -> Option<&Refusal> {
        match self {
            Standing::Accepted => None,
            Standing::Refused(why) | Standing::Advised(why) | Standing::Unknown(why) => Some(why),
        }
    }
}

/// How each of `packages` of an environment stands today. Statements that are not here are asked of the
/// environment's sources, or of nobody if `offline`.
///
/// # Errors
/// None for a release that cannot be judged, which is an answer; if the environment cannot be read.
pub fn standings(
    session: &Session,
    environment: &Environment,
    packages: &[Installed],
    offline: bool,
) -> Result<Vec<Standing>, Error> {
    let Some(first) = packages.first() else { return Ok(Vec::new()) };
    let judged = Court::new(session, environment, first, offline);
    let court = match judged {
        Ok(court) => court,
        Err(error) => return Ok(packages.iter().map(|package| unknown(package, &error)).collect()),
    };
    Ok(packages.iter().map(|package| court.standing(package)).collect())
}

/// What all releases of one environment are judged by.
struct Court<'a> {
    session: &'a Session,
    state: State,
    policy: Policy,
    place: Place,
    statements: Anywhere<'a>,
    view: View,
}

impl<'a> Court<'a> {
    fn new(
        session: &'a Session,
        environment: &'a Environment,
        any: &Installed,
        offline: bool,
    ) -> Result<Court<'a>, Error> {
        let spec = PackageSpec { owner: None, name: any.name.clone(), channel: None, select: Select::Any };
        let place = Place::find(session, &Request { spec: &spec, environment: Some(environment), offline })?;
        let policy = Policy {
            freshness: Freshness::Off,
            min_age_seconds: 0,
            allow_yanked: false,
            ..session.policy().clone()
        };
        let statements = Anywhere::new(session, place.addresses.clone())?;
        let view = View::store(session, Some(&place.repository))?;
        Ok(Court { session, state: session.state()?.copy()?, policy, place, statements, view })
    }

    fn standing(&self, package: &Installed) -> Standing {
        let judged = self.listed(package).and_then(|(record, row)| self.judge(&record, &row));
        match judged {
            Ok(Judged::Accepted) => Standing::Accepted,
            // What is here of the repository may be older than what was believed of it since.
            Ok(Judged::NoIndex(error)) => unknown(package, &error),
            Ok(Judged::Refused(error)) | Err(error) => match (error.code(), error.class()) {
                ("E-POLICY", _) => Standing::Advised(refusal(package, &error)),
                (_, Class::Untrusted) => Standing::Refused(refusal(package, &error)),
                _ => unknown(package, &error),
            },
        }
    }

    /// The row of the very entry that was installed.
    fn listed(&self, package: &Installed) -> Result<(PackageRecord, VersionRow), Error> {
        let record = self.view.record(&package.name)?;
        let row = record.versions.iter().find(|row| row.entry == package.entry).cloned();
        let row = row.ok_or_else(|| {
            let what = format!("the release {} {} that was installed", package.name, package.version);
            Error::not_found(what, "its repository no longer lists it")
        })?;
        Ok((record, row))
    }

    fn judge(&self, record: &PackageRecord, row: &VersionRow) -> Result<Judged, Error> {
        // A clock that was set back since makes nothing that was believed a thing of the future.
        let now = self.session.now().max(self.state.last_known().map_err(plumbing::trust::Error::from)?);
        let case = Case {
            session: self.session,
            state: &self.state,
            policy: self.policy.clone(),
            now,
            place: &self.place,
            record,
            row,
            statements: &self.statements,
        };
        let (steps, error) = case.chain()?;
        Ok(match error {
            None => Judged::Accepted,
            Some(error) if steps.len() == 1 => Judged::NoIndex(error),
            Some(error) => Judged::Refused(error),
        })
    }
}

/// How the judge's steps ended.
enum Judged {
    Accepted,
    /// The repository's own word does not stand, so nothing is said of the release.
    NoIndex(Error),
    Refused(Error),
}

fn refusal(package: &Installed, error: &Error) -> Refusal {
    Refusal { version: package.version.clone(), code: error.code().to_owned(), message: error.message() }
}

fn unknown(package: &Installed, error: &Error) -> Standing {
    Standing::Unknown(refusal(package, error))
}
