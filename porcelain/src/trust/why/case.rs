//! One release before the judge, and what is said of each step.

use super::place::{Anywhere, Place};
use super::{Refusal, Step};
use crate::clock;
use crate::error::Error;
use crate::fetch;
use crate::session::Session;
use objects::claim::{Mark, PackageRecord, VersionRow};
use objects::id::IdentityId;
use objects::identity::{Chain, Role};
use objects::pattern::NamePattern;
use objects::release::Entry;
use objects::signed::Envelope;
use objects::time::Timestamp;
use plumbing::index::Index;
use plumbing::sync::{self, Wanted};
use plumbing::trust::{self, Accepted, Authorised, Freshness, Judge, Log, Places, Policy, State, Trusted};

/// One release before the judge.
pub(super) struct Case<'a> {
    pub session: &'a Session,
    pub state: &'a State,
    pub policy: Policy,
    pub now: Timestamp,
    pub place: &'a Place,
    pub record: &'a PackageRecord,
    pub row: &'a VersionRow,
    pub statements: &'a Anywhere<'a>,
}

const ORIGIN: &str = "what is here";

impl Case<'_> {
    /// The steps that hold, and why the rest do not.
    pub fn chain(&self) -> Result<(Vec<Step>, Option<Error>), Error> {
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
            let judge = Judge::new(self.state, policy, self.now)?;
            judge.accept_summary(&summary, Some(name), self.statements, ORIGIN)
        };
        let (accepted, late) = match judged(&self.policy) {
            Err(error) if error.code() == "E-FREEZE" => {
                let lenient = Policy { freshness: Freshness::Off, ..self.policy.clone() };
                (judged(&lenient)?, Some(Error::from(error)))
            }
            judged => (judged?, None),
        };
        let (index, beacon) = (&accepted.index, &accepted.beacon);
        let now = self.now;
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
        let judge = Judge::new(self.state, &self.policy, self.now)?;
        let index = Index::open(store.store(), accepted.index.root)?;
        let (record, row) = (self.record, self.row);
        let chain_of = |id: IdentityId| -> Result<Chain, Error> {
            Ok(judge.identity(id, index.identity(id)?.as_ref(), self.statements, ORIGIN)?)
        };
        let owner = chain_of(record.owner)?;
        let mut owned = identity("owner", &owner);
        judge.accept_name(accepted, record, ORIGIN)?;
        owned.said.push(self.pinned()?);
        step.below.push(owned);

        let places = Places { directory: &index, statements: self.statements, origin: ORIGIN };
        let release = judge.accept_release(accepted, record, row, &owner, places)?;
        step.below.push(path(&release));
        step.below.push(self.entry(&release.entry, &release.signer));
        step.below.push(self.tree());
        step.below.push(self.rules(release.withdrawn.as_deref()));
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

    fn rules(&self, withdrawn: Option<&str>) -> Step {
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
        Step::new("16", "your rules", said)
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
    pub fn others(&self) -> Vec<Refusal> {
        let others = self.record.versions.iter().filter(|row| row.entry != self.row.entry);
        others.filter_map(|row| self.refusal(row)).collect()
    }

    fn refusal(&self, row: &VersionRow) -> Option<Refusal> {
        let policy = self.place.policy(self.session, row);
        let version = &row.release.version;
        let log = Log { owner: self.record.owner, name: self.record.name.clone(), signer: row.signer };
        let withdrawn = self.state.withdrawn(&log, version, Some(row.seq)).ok().flatten();
        let trees = self.state.trees(self.record.owner, &self.record.name, version).unwrap_or_default();
        let age = self.now.since(row.listed);
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
fn path(release: &Authorised) -> Step {
    let mut said: Vec<String> = release.path.iter().map(granted).collect();
    if said.is_empty() {
        said.push("the owner signed it, no grant is needed".to_owned());
    }
    Step::new("10-12", "path from the owner to the signer", said)
}

fn granted(step: &trust::Step) -> String {
    let grant = &step.grant;
    let names: Vec<&str> = grant.names.iter().map(NamePattern::as_str).collect();
    let may: Vec<String> = grant.permissions.iter().map(ToString::to_string).collect();
    let until = grant.until.map_or(String::new(), |until| format!(" until {}", clock::shown(until)));
    let (issuer, to) = (step.issuer.id().nick(), grant.to.nick());
    let (n, id) = (step.document.n, step.id());
    let (may, names) = (may.join(" and "), names.join(" "));
    format!("{issuer} lets {to} {may} {names}{until} (grants document {n}, {id})")
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
