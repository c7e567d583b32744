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

use crate::clock;
use crate::env::{Environment, Lockfile};
use crate::error::Error;
use crate::fetch;
use crate::inspect::View;
use crate::locked;
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{Mark, PackageRecord, Repository as RepositoryName, VersionRow};
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Role};
use objects::name::PackageName;
use objects::release::Entry;
use objects::signed::Envelope;
use objects::spec::{PackageSpec, Select};
use objects::version::Version;
use plumbing::index::Index;
use plumbing::sync::{self, Wanted};
use plumbing::trust::{self, Accepted, Freshness, Judge, Log, Policy, State, Trusted};
use serde::Serialize;
use std::cell::OnceCell;

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
    let case = Case { session, state: &state, policy, place: &place, record: &record, row: &row, statements };
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

/// Where the package is looked for.
struct Place {
    repository: RepositoryName,
    addresses: Vec<String>,
    lock: Option<Lockfile>,
    installed: Option<StatementId>,
    version: Option<Version>,
}

impl Place {
    fn find(session: &Session, request: &Request<'_>) -> Result<Place, Error> {
        let name = &request.spec.name;
        let environment = request.environment;
        let bound = environment.map(Environment::binding).transpose()?;
        let repository = bound.as_ref().and_then(|binding| binding.repository.clone());
        let repository = repository.map_or_else(|| pinned(session, name), Ok)?;
        let addresses = match (environment, bound) {
            _ if request.offline => Vec::new(),
            (Some(environment), Some(binding)) => {
                let others = environment.wanted()?.environment.sources;
                let all = std::iter::once(binding.source).chain(others);
                all.filter(|address| !address.is_empty()).collect()
            }
            _ => sources(session, &repository)?,
        };
        let current = environment.map(Environment::current).transpose()?;
        let here =
            current.as_ref().and_then(|generation| generation.of(name).find(|package| !package.beside));
        Ok(Place {
            repository,
            addresses,
            lock: environment.map(Environment::lockfile).transpose()?.flatten(),
            installed: here.map(|package| package.entry),
            version: here.map(|package| package.version.clone()),
        })
    }

    fn release(&self, session: &Session, spec: &PackageSpec) -> Result<(PackageRecord, VersionRow), Error> {
        let view = View::store(session, Some(&self.repository))?;
        match (&spec.select, &self.version) {
            (Select::Any, Some(version)) => {
                let select = Select::Exact(version.clone());
                view.release(&PackageSpec { select, ..spec.clone() })
            }
            _ => view.release(spec),
        }
    }

    /// What the lockfile keeps is judged as it is when it is installed.
    fn policy(&self, session: &Session, row: &VersionRow) -> Policy {
        let locked = self.lock.iter().flat_map(|lock| &lock.packages).any(|locked| locked.entry == row.entry);
        match locked {
            true => locked::lenient(session.policy(), session.config().deny_yanked),
            false => session.policy().clone(),
        }
    }
}

/// The repository in which `name` is pinned.
fn pinned(session: &Session, name: &PackageName) -> Result<RepositoryName, Error> {
    let mut pins = session.state()?.package(name)?.into_iter();
    match (pins.next(), pins.next()) {
        (Some(pin), None) => Ok(pin.repository),
        (None, _) => Err(Error::not_found(format!("a pin of {name}"), "ask in an environment that has it")),
        (Some(_), Some(_)) => Err(Error::usage(
            format!("{name} is pinned in several repositories"),
            "ask in an environment that is bound to one of them",
        )),
    }
}

/// The sources that are pinned to a repository.
fn sources(session: &Session, repository: &RepositoryName) -> Result<Vec<String>, Error> {
    let all = session.state()?.repositories()?.into_iter();
    Ok(all.filter(|pin| pin.repository == *repository).map(|pin| pin.source).collect())
}

/// Statements from the user's store, and else from the sources, which are opened when they are needed.
struct Anywhere<'a> {
    session: &'a Session,
    local: &'a objects::statements::Statements,
    addresses: Vec<String>,
    remotes: OnceCell<Vec<Remote>>,
}

impl<'a> Anywhere<'a> {
    fn new(session: &'a Session, addresses: Vec<String>) -> Result<Anywhere<'a>, Error> {
        let local = session.store()?.statements();
        Ok(Anywhere { session, local, addresses, remotes: OnceCell::new() })
    }
}

impl trust::Statements for Anywhere<'_> {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, trust::Error> {
        if let Ok(Some(envelope)) = self.local.try_find(id) {
            return Ok(Some(envelope));
        }
        let open = || self.addresses.iter().filter_map(|address| Remote::open(self.session, address).ok());
        let found = self
            .remotes
            .get_or_init(|| open().collect())
            .iter()
            .find_map(|remote| Lookup::new(self.local, remote).find(id).ok().flatten());
        Ok(found)
    }
}

/// One release before the judge.
struct Case<'a> {
    session: &'a Session,
    state: &'a State,
    policy: Policy,
    place: &'a Place,
    record: &'a PackageRecord,
    row: &'a VersionRow,
    statements: Anywhere<'a>,
}

const ORIGIN: &str = "what is here";

impl Case<'_> {
    /// The steps that hold, and why the rest do not.
    fn chain(&self) -> Result<(Vec<Step>, Option<Error>), Error> {
        let mut repository = Step::new("1-5", format!("repository {}", self.place.repository), Vec::new());
        let (accepted, late) = match self.repository(&mut repository) {
            Ok(found) => found,
            Err(error) => {
                repository.below.push(Step::fails("2-5", "its word", &error));
                repository.holds = false;
                return Ok((vec![repository], Some(error)));
            }
        };
        let name = &self.record.name;
        let mut package =
            Step::new("6-16", format!("package {name} {}", self.row.release.version), Vec::new());
        let refused = self.package(&accepted, &mut package).err();
        package.holds = refused.is_none();
        if let Some(error) = &refused {
            package.below.push(Step::fails("6-16", "here it ends", error));
        }
        Ok((vec![repository, package], late.or(refused)))
    }

    /// The distributor, its index and its beacon. An index that is past its time is shown with what rests
    /// on it, and refused all the same.
    fn repository(&self, step: &mut Step) -> Result<(Accepted, Option<Error>), Error> {
        let name = &self.place.repository;
        let summary = fetch::last_summary(self.session, name)?;
        let judged = |policy: &Policy| {
            let judge = Judge::new(self.state, policy, self.session.now())?;
            judge.accept_summary(&summary, Some(name), &self.statements, ORIGIN)
        };
        let (accepted, late) = match judged(&self.policy) {
            Err(error) if error.code() == "E-FREEZE" => {
                let lenient = Policy { freshness: Freshness::Off, ..self.policy.clone() };
                (judged(&lenient)?, Some(Error::from(error)))
            }
            judged => (judged?, None),
        };
        let (index, beacon) = (&accepted.index, &accepted.beacon);
        let now = self.session.now();
        let mut below = Step::new(
            "4-5",
            format!("index {}", index.n),
            vec![
                format!(
                    "{} is signed by the distributor's index role: {}",
                    index.id(),
                    signers(index.envelope(), &accepted.owner.head().roles.index)
                ),
                format!(
                    "it continues what this machine knew, and is fresh until {}",
                    clock::shown(index.expires)
                ),
            ],
        );
        below.below.push(Step::new(
            "4-5",
            "beacon",
            vec![format!(
                "says until {} that index {} is the newest",
                clock::shown(beacon.expires),
                beacon.n
            )],
        ));
        if let Some(error) = &late {
            below.holds = false;
            below.said.push(format!("{}: {} (now {})", error.code(), error.message(), clock::shown(now)));
        }
        step.holds = late.is_none();
        step.below.push(identity("distributor", &accepted.owner));
        step.below.push(below);
        Ok((accepted, late))
    }

    fn package(&self, accepted: &Accepted, step: &mut Step) -> Result<(), Error> {
        let store = self.session.store()?;
        let judge = Judge::new(self.state, &self.policy, self.session.now())?;
        let index = Index::open(store.store(), accepted.index.root)?;
        let (record, row) = (self.record, self.row);
        let chain_of = |id: IdentityId| -> Result<Chain, Error> {
            Ok(judge.identity(id, index.identity(id)?.as_ref(), &self.statements, ORIGIN)?)
        };
        let owner = chain_of(record.owner)?;
        let mut owned = identity("owner", &owner);
        judge.accept_name(accepted, record, ORIGIN)?;
        owned.said.push(self.pinned()?);
        step.below.push(owned);

        let entry = judge.accept_release(accepted, record, row, &owner, &self.statements, ORIGIN)?;
        step.below.push(path(&entry));
        let signer = match entry.signer == record.owner {
            true => owner,
            false => chain_of(entry.signer)?,
        };
        step.below.push(self.entry(&entry, &signer));
        step.below.push(self.tree());
        step.below.push(self.rules(&entry)?);
        step.below.push(self.content()?);
        Ok(())
    }

    fn pinned(&self) -> Result<String, Error> {
        let pins = self.state.package(&self.record.name)?;
        let pin = pins.iter().find(|pin| pin.owner == self.record.owner);
        Ok(match pin {
            Some(pin) => format!("the name is pinned to it since {}", clock::shown(pin.since)),
            None => "the name was not used here before; its first use pins it".to_owned(),
        })
    }

    fn entry(&self, entry: &Trusted<Entry>, signer: &Chain) -> Step {
        let log = self.record.log(&entry.signer).map_or(entry.seq, |log| log.seq);
        let role = signer.at(entry.signer_n).map(|document| &document.roles.release);
        let keys = role.map_or_else(String::new, |role| signers(entry.envelope(), role));
        let said = vec![
            format!("{} releases {} {}", entry.id(), entry.name, self.row.release.version),
            format!(
                "it was signed on {} by the release role of document {}: {keys}",
                clock::shown(entry.created),
                entry.signer_n
            ),
            format!(
                "it is number {} of a log that the index lists up to {log}, each naming the one before",
                entry.seq
            ),
        ];
        let mut step =
            Step::new("13-14", format!("entry {} of id:{}", entry.seq, entry.signer.to_hex()), said);
        step.said.push("what the index says of it is what its author signed".to_owned());
        step
    }

    fn tree(&self) -> Step {
        let release = &self.row.release;
        let said = vec![format!("no other signer gave {} another content", release.version)];
        Step::new("15", format!("tree {}", release.tree), said)
    }

    fn rules(&self, entry: &Trusted<Entry>) -> Result<Step, Error> {
        let log = Log { owner: entry.owner, name: entry.name.clone(), signer: entry.signer };
        let withdrawn = self.state.withdrawn(&log, &self.row.release.version, entry.seq)?;
        let mut said = vec![match withdrawn {
            Some(reason) => format!("its author withdrew it ({reason}); pkg.lock keeps it"),
            None => "its author did not withdraw it".to_owned(),
        }];
        said.push(match &self.row.mark {
            Some(mark) => format!("the distributor marks it: {}", marked(mark)),
            None => "the distributor does not advise against it".to_owned(),
        });
        let asked = self.policy.min_age_seconds;
        let listed = clock::shown(self.row.listed);
        said.push(match asked {
            0 => format!("it is listed since {listed}; no age is asked for"),
            _ => format!("it is listed since {listed}; {asked} seconds are asked for"),
        });
        Ok(Step::new("16", "your rules", said))
    }

    fn content(&self) -> Result<Step, Error> {
        let release = &self.row.release;
        let wanted = Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size };
        let here = match sync::is_complete(self.session.store()?.store(), wanted)? {
            true => "it is whole in your store",
            false => "it is not in your store; it is checked as it arrives",
        };
        let said =
            vec![format!("{} files, {} bytes are signed", release.files, release.size), here.to_owned()];
        Ok(Step::new("17-18", "content", said))
    }

    /// Other versions that would be refused, by what is known of them without fetching anything.
    fn others(&self) -> Vec<Refusal> {
        let others = self.record.versions.iter().filter(|row| row.entry != self.row.entry);
        others.filter_map(|row| self.refusal(row)).collect()
    }

    fn refusal(&self, row: &VersionRow) -> Option<Refusal> {
        let policy = self.place.policy(self.session, row);
        let version = &row.release.version;
        let log = Log { owner: self.record.owner, name: self.record.name.clone(), signer: row.signer };
        let withdrawn = self.state.withdrawn(&log, version, row.seq).ok().flatten();
        let trees = self.state.trees(self.record.owner, &self.record.name, version).unwrap_or_default();
        let age = self.session.now().since(row.listed);
        let refused = |code: &str, message: String| {
            Some(Refusal { version: version.clone(), code: code.to_owned(), message })
        };
        match &row.mark {
            Some(Mark::Yanked { .. }) if policy.allow_yanked => {}
            Some(Mark::Retired { .. }) | None => {}
            Some(mark) => return refused("E-POLICY", marked(mark)),
        }
        if let Some(reason) = withdrawn.filter(|_| !policy.allow_yanked) {
            return refused("E-POLICY", format!("its author withdrew it: {reason}"));
        }
        if trees.iter().any(|tree| *tree != row.release.tree) {
            return refused("E-FORK", "it was released with two contents".into());
        }
        if age < policy.min_age_seconds {
            let asked = policy.min_age_seconds;
            return refused("E-POLICY", format!("it is listed since {age} seconds, {asked} are asked for"));
        }
        None
    }
}

fn identity(who: &str, chain: &Chain) -> Step {
    let head = chain.head();
    let name = head.name.as_deref().map_or(String::new(), |name| format!(" ({name})"));
    let mut said = vec![match head.n {
        0 => "its first document, whose hash is the id, is the newest known".to_owned(),
        n => format!(
            "{n} documents follow the first, whose hash is the id, each signed by root before and after"
        ),
    }];
    let withdrawn = head.revoked.len() + head.retired.len();
    if withdrawn > 0 {
        said.push(format!("{withdrawn} of its keys no longer count beyond a checkpoint"));
    }
    if let Some(expires) = head.expires {
        said.push(format!("its newest document counts until {}", clock::shown(expires)));
    }
    let what = format!("{who} id:{}{name}, document {}", chain.id().to_hex(), head.n);
    Step::new("6-9", what, said)
}

/// The path from the owner to the signer.
fn path(entry: &Trusted<Entry>) -> Step {
    let said = match entry.grants.as_slice() {
        [] => vec!["the owner signed it, no grant is needed".to_owned()],
        grants => grants.iter().map(|grant| format!("by grant {grant}")).collect(),
    };
    Step::new("10-12", "path from the owner to the signer", said)
}

fn marked(mark: &Mark) -> String {
    match mark {
        Mark::Yanked { reason } => format!("withdrawn: {reason}"),
        Mark::Retired { successor: Some(name) } => format!("no longer kept up, use {name}"),
        Mark::Retired { successor: None } => "no longer kept up".to_owned(),
        Mark::Forbidden { reason } => format!("forbidden: {reason}"),
        Mark::Malicious { reason } => format!("malicious: {reason}"),
    }
}

/// Which keys of a role signed, and how many had to.
fn signers(envelope: &Envelope, role: &Role) -> String {
    let of_role = |key: &[u8; 32]| role.keys().iter().find(|known| known.as_bytes() == key);
    let keys: Vec<String> =
        envelope.signatures().filter_map(|(key, _)| of_role(key)).map(ToString::to_string).collect();
    format!("{} (threshold {})", keys.join(", "), role.threshold())
}
