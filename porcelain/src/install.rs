//! Installing: from what is wanted to an environment that has it.
//!
//! ```text
//! config → resolve → plan → fetch what is absent → checkout → new generation, one switch
//! ```
//!
//! Promises: a [`Plan`] changes nothing and can be shown; [`apply`] carries out exactly what it says
//! (G-13); stopped anywhere, the environment is the old one or the new one (REL-004).

use crate::cache;
use crate::env::{
    Binding, Change, Difference, Environment, Installed, Lockfile, Staged, WantedPackage, WantedText, Writer,
};
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::fetch::{self, Known, Pick};
use crate::heads::Asked;
use crate::locked::{self, Case};
use crate::lookalikes::{self, Lookalike};
use crate::maintain;
use crate::owners::{self, Changed};
use crate::remote::{BytesFrom, Remote};
use crate::session::Session;
use crate::trust::why::{Standing, standings};
use objects::checkout;
use objects::claim::{PackageRecord, Repository as RepositoryName, VersionRow};
use objects::id::{IdentityId, Prefix};
use objects::name::PackageName;
use objects::spec::{PackageSpec, Select};
use objects::time::Timestamp;
use objects::version::{Requirement, Version};
use plumbing::index::Index;
use plumbing::resolve::{self, Candidate, Candidates, Chosen, IndexError, Resolution, Wanted};
use plumbing::trust::{Judge, Policy};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a resolution may take (SEC-075).
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(10);

/// What a clone came to.
#[derive(Clone, Debug, Serialize)]
pub struct Cloned {
    /// The environment.
    pub path: PathBuf,
    /// What it is bound to.
    #[serde(flatten)]
    pub index: fetch::Outcome,
    /// How many packages there are to choose from.
    pub packages: usize,
}

/// Makes an environment in `folder`, bound to the source at `address`.
///
/// # Errors
/// If there is one, or the source cannot be fetched from or believed.
pub fn clone(
    session: &Session,
    address: &str,
    folder: &Path,
    reporter: &dyn Reporter,
) -> Result<Cloned, Error> {
    if folder.join(crate::env::CONTROL_FOLDER).exists() {
        return Err(Error::conflict(
            format!("{} is an environment already", folder.display()),
            "choose another folder",
        ));
    }
    let remotes = vec![Remote::open(session, address)?];
    let known = fetch::index(session, &remotes, None, reporter)?;
    let binding = Binding { source: remotes[0].kept(), repository: Some(known.repository().clone()) };
    let environment = Environment::init(folder, &binding, session.now())?;
    show_index(session, &environment, &known)?;
    let index = Index::open(session.store()?.store(), known.root())?;
    let packages = index.names().len();
    Ok(Cloned { path: environment.root().to_owned(), index: fetch::outcome(&known, &remotes), packages })
}

/// Fetches the index of the environment's source.
///
/// # Errors
/// Those of fetching and believing.
pub fn fetch_index(
    session: &Session,
    environment: &Environment,
    reporter: &dyn Reporter,
) -> Result<fetch::Outcome, Error> {
    let asked = ask(session, environment)?;
    let (remotes, known) = asked.newest(session, environment.binding()?.repository.as_ref(), reporter)?;
    show_index(session, environment, &known)?;
    tell_refused(session, environment, &known, reporter)?;
    Ok(fetch::outcome(&known, &remotes))
}

/// Names what is installed and would not be believed any more, by what a new index
/// brought and nothing else: `pkg verify` asks for the rest (SEC-142).
fn tell_refused(
    session: &Session,
    environment: &Environment,
    known: &Known,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    if !known.changed {
        return Ok(());
    }
    let installed = environment.current()?.packages;
    for (package, standing) in installed.iter().zip(standings(session, environment, &installed, true)?) {
        if let Standing::Refused(why) = standing {
            let Installed { name, version, .. } = package;
            reporter
                .warn(&format!("{name} {version}, which is installed, is refused today: {}", why.message));
        }
    }
    Ok(())
}

/// Checks the index out into the environment, whole, if it is another one (O11).
fn show_index(session: &Session, environment: &Environment, known: &Known) -> Result<(), Error> {
    if !known.changed && environment.index_db().is_some() {
        return Ok(());
    }
    let writer = environment.lock_exclusive()?;
    let staged = writer.stage()?;
    let options = checkout::Options {
        jobs: session.jobs(),
        files_max: known.accepted.index.files,
        ..Default::default()
    };
    checkout::checkout(
        session.store()?.store(),
        known.root(),
        staged.path(),
        options,
        &objects::progress::Silent,
    )?;
    Ok(writer.replace_index_db(staged)?)
}

/// The repository that the environment around `start` is bound to; None outside of any.
///
/// # Errors
/// If its configuration is malformed.
pub fn bound_repository(start: &Path) -> Result<Option<RepositoryName>, Error> {
    match Environment::find(start) {
        Ok(environment) => Ok(environment.binding()?.repository),
        Err(crate::env::Error::NoEnvironment { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins to ask all sources of the environment.
fn ask(session: &Session, environment: &Environment) -> Result<Asked, Error> {
    let mut addresses = vec![environment.binding()?.source];
    addresses.extend(environment.wanted()?.environment.sources);
    addresses.retain(|address| !address.is_empty());
    Ok(Asked::begin(session, addresses))
}

/// What is to be changed.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Want these too.
    Add(Vec<PackageSpec>),
    /// Take the newest that fit: of these, or of everything.
    Update(Vec<PackageName>),
    /// No longer want these.
    Remove(Vec<PackageName>),
    /// Make the environment what `pkg.cfg.toml` says.
    Sync,
}

/// How it is to be done.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// True to ask nobody: what was fetched last has to do.
    pub offline: bool,
    /// True to refuse any change of the lockfile.
    pub locked: bool,
    /// True to take the oldest versions that fit.
    pub minimal: bool,
    /// True to take pre-releases that nobody named.
    pub prereleases: bool,
    /// True to follow names whose owner is another one now: a person's word.
    pub accept_identity: bool,
    /// True to use names for the first time that look like known ones: a person's word.
    pub accept_similar: bool,
    /// True to refuse withdrawn versions even if the lockfile keeps them.
    pub deny_yanked: bool,
    /// The words of the command, for the history.
    pub why: String,
}

/// A package that was chosen, and what the index says of it.
pub(crate) type Found = (Chosen, PackageRecord, VersionRow);

/// One package in a plan.
#[derive(Clone, Debug, Serialize)]
pub struct Action {
    /// install, update, downgrade, keep or remove.
    pub action: &'static str,
    /// The package.
    pub name: PackageName,
    /// The version there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// The version there will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// Bytes on disk.
    pub size: u64,
    /// True if it was asked for by name.
    pub requested: bool,
    /// Which packages need it.
    pub needed_by: Vec<PackageName>,
    /// Its licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// True if its content is in the user's store already.
    pub stored: bool,
}

/// What will be done, in order: dependencies before what needs them.
#[derive(Serialize)]
pub struct Plan {
    /// The packages, those that stay as they are included.
    pub actions: Vec<Action>,
    /// Where bytes would come from.
    pub sources: Vec<String>,
    /// Owners and signers that are others now, and are accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accepts: Vec<Changed>,
    /// New names that look like known ones, and are not accepted yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub similar: Vec<Lookalike>,
    #[serde(skip)]
    remotes: Vec<Remote>,
    #[serde(skip)]
    known: Option<Known>,
    #[serde(skip)]
    chosen: Vec<Found>,
    #[serde(skip)]
    kept: Policy,
    #[serde(skip)]
    lock: Option<Lockfile>,
    #[serde(skip)]
    locked: bool,
    #[serde(skip)]
    wanted: Option<WantedText>,
    #[serde(skip)]
    edits: bool,
    #[serde(skip)]
    base: u64,
    #[serde(skip)]
    why: String,
}

impl Plan {
    /// The actions that change something.
    pub fn changes(&self) -> impl Iterator<Item = &Action> {
        self.actions.iter().filter(|action| action.action != "keep")
    }

    /// True if carrying it out would change nothing at all.
    pub fn is_noop(&self) -> bool {
        self.changes().next().is_none() && !self.edits
    }

    /// Takes a person's word that the new names are the ones meant, whatever they look like.
    pub fn accept_similar(&mut self) {
        self.similar.clear();
    }

    /// Bytes on disk of what is to be installed.
    pub fn size(&self) -> u64 {
        self.changes().filter(|action| action.to.is_some()).map(|action| action.size).sum()
    }
}

/// Decides what `verb` does to `environment`. Fetches the index, and changes nothing else.
///
/// # Errors
/// Those of fetching and believing the index; `Resolve` with an explanation if nothing fits;
/// `E-LOCK` if the lockfile would have to change and may not.
pub fn plan(
    session: &Session,
    environment: &Environment,
    verb: &Verb,
    options: &Options,
    reporter: &dyn Reporter,
) -> Result<Plan, Error> {
    let base = environment.head()?;
    let (remotes, known) = index(session, environment, options, reporter)?;
    let index = Index::open(session.store()?.store(), known.root())?;
    let mut edit = environment.edit_wanted()?;
    let named = edit_wanted(environment, verb, &index, &mut edit)?;
    let (mut text, wanted) = edit.finish()?;
    let lock = environment.lockfile()?;
    let kept = locked::lenient(session.policy(), options.deny_yanked || session.config().deny_yanked);
    let case = Case { session, remotes: &remotes, known: &known, policy: &kept, reporter };
    let locked = options.locked.then(|| case.begin(lock.as_ref())).transpose()?;
    let from = FromIndex {
        index: &index,
        lock: lock.as_ref(),
        now: Judge::new(session.state()?, session.policy(), session.now())?.effective_time(),
        min_age_seconds: session.policy().min_age_seconds,
    };
    let resolution = resolve(&from, &wanted, verb, options)?;
    if named {
        text = write_requirements(environment, verb, &index, &resolution)?;
    }
    let chosen = look_up(&index, resolution)?;
    locked::marks(&chosen, &kept, reporter)?;
    if let Some(lock) = locked {
        case.check(lock, &chosen)?;
    }
    let origin = remotes.get(known.from).map_or_else(|| known.repository().to_string(), Remote::shown);
    let accepts = owners::changed(session, &known, lock.as_ref(), &chosen, &origin)?;
    if let Some(changed) = accepts.first().filter(|_| !options.accept_identity) {
        return Err(changed.refusal(&origin));
    }
    let similar = match options.accept_similar {
        true => Vec::new(),
        false => lookalikes::among(session, lock.as_ref(), &chosen)?,
    };
    let current = environment.current()?;
    let actions = actions(session, &current.packages, &chosen)?;
    let sources = remotes.iter().map(Remote::shown).collect();
    let wanted = (!matches!(verb, Verb::Update(_) | Verb::Sync)).then_some(text);
    let before = environment.edit_wanted()?.finish()?.0;
    let rewrites = match &lock {
        Some(lock) if !options.locked && actions.iter().all(|action| action.action == "keep") => {
            locked::is_off(lock, &locked::lockfile(session, &known, &current.packages, Some(lock))?)
        }
        lock => lock.is_none(),
    };
    let edits = rewrites || wanted.as_ref().is_some_and(|text| text.as_str() != before.as_str());
    Ok(Plan {
        actions,
        sources,
        accepts,
        similar,
        remotes,
        known: Some(known),
        chosen,
        kept,
        lock,
        locked: options.locked,
        wanted,
        edits,
        base,
        why: options.why.clone(),
    })
}

/// The index to choose from: fetched, or with `offline`, or if nobody answers, the one fetched last.
fn index(
    session: &Session,
    environment: &Environment,
    options: &Options,
    reporter: &dyn Reporter,
) -> Result<(Vec<Remote>, Known), Error> {
    let repository = environment.binding()?.repository;
    let fetched = match options.offline {
        true => Err(Error::usage("asked to stay off line", "")),
        false => {
            ask(session, environment).and_then(|asked| asked.newest(session, repository.as_ref(), reporter))
        }
    };
    match (fetched, repository) {
        (Ok((remotes, known)), _) => {
            show_index(session, environment, &known)?;
            tell_refused(session, environment, &known, reporter)?;
            Ok((remotes, known))
        }
        (Err(error), Some(repository)) if options.offline || error.code() == "E-NET" => {
            if !options.offline {
                reporter.warn(&format!("using the index fetched last: {}", error.message()));
            }
            let known = fetch::last(session, &repository)?;
            Ok((Vec::new(), known))
        }
        (Err(error), _) => Err(error),
    }
}

/// Edits what is wanted as `verb` says; true if requirements are to be written once versions are chosen.
fn edit_wanted(
    environment: &Environment,
    verb: &Verb,
    index: &Index<'_>,
    edit: &mut crate::env::WantedEdit,
) -> Result<bool, Error> {
    let before = environment.wanted()?.packages;
    match verb {
        Verb::Add(specs) => {
            for spec in specs {
                edit.set(&spec.name, &wanted_package(spec, before.get(&spec.name), index)?);
            }
            Ok(specs.iter().any(|spec| spec.select == Select::Any && !before.contains_key(&spec.name)))
        }
        Verb::Remove(names) => {
            for name in names {
                if !edit.remove(name) {
                    let hint = match environment.current()?.of(name).next() {
                        Some(_) => "another package needs it; `pkg list` tells which",
                        None => "`pkg list` shows what is installed",
                    };
                    return Err(Error::not_found(format!("{name} in pkg.cfg.toml"), hint));
                }
            }
            Ok(false)
        }
        Verb::Update(names) => {
            let installed = environment.current()?;
            for name in names {
                if installed.of(name).next().is_none() {
                    return Err(Error::not_found(
                        format!("an installed package {name}"),
                        "`pkg list` shows what is installed",
                    ));
                }
            }
            Ok(false)
        }
        Verb::Sync => Ok(false),
    }
}

fn wanted_package(
    spec: &PackageSpec,
    before: Option<&WantedPackage>,
    index: &Index<'_>,
) -> Result<WantedPackage, Error> {
    let mut wanted = before.cloned().unwrap_or_else(|| WantedPackage::of_version(Requirement::any()));
    match &spec.select {
        Select::Any => {}
        Select::Blake3(_) | Select::Sha256(_) => {
            wanted.version = Requirement::exactly(&version_of(spec, index)?)
        }
        _ => wanted.version = spec.requirement(),
    }
    if let Some(channel) = &spec.channel {
        wanted.channel = Some(channel.clone());
    }
    if let Some(prefix) = &spec.owner {
        wanted.owner = Some(owner_of(&spec.name, prefix, index)?);
    }
    Ok(wanted)
}

fn record(index: &Index<'_>, name: &PackageName) -> Result<PackageRecord, Error> {
    let hint = || match near(name, &index.names()) {
        Some(other) => format!("did you mean {other}?"),
        None => "`pkg search` lists what there is".to_owned(),
    };
    index.record(name)?.ok_or_else(|| Error::not_found(format!("a package {name}"), hint()))
}

/// The name that differs least, if it differs little.
fn near(name: &PackageName, names: &[PackageName]) -> Option<PackageName> {
    let distance = |other: &PackageName| crate::manifest::edit_distance(name.as_str(), other.as_str());
    names
        .iter()
        .map(|other| (distance(other), other))
        .filter(|(d, _)| *d <= 2)
        .min()
        .map(|(_, other)| other.clone())
}

/// The version whose content a spec names (O4).
fn version_of(spec: &PackageSpec, index: &Index<'_>) -> Result<Version, Error> {
    let record = record(index, &spec.name)?;
    let fits = |row: &&VersionRow| match &spec.select {
        Select::Blake3(prefix) => prefix.matches(&row.release.tree.object()),
        Select::Sha256(digest) => row.release.sha256.0 == *digest,
        _ => false,
    };
    let row = record.versions.iter().find(fits);
    let row = row.ok_or_else(|| {
        Error::not_found(format!("a version with the content {spec}"), "`pkg show` tells what there is")
    })?;
    Ok(row.release.version.clone())
}

/// The owner of a package, if it begins as the spec says: a prefix finds, it does not vouch.
fn owner_of(name: &PackageName, prefix: &Prefix, index: &Index<'_>) -> Result<IdentityId, Error> {
    let owner = record(index, name)?.owner;
    if !prefix.matches(&owner.object()) {
        return Err(Error::Refused {
            code: "E-IDENTITY-CHANGED",
            what: format!("{name} belongs to {}, not to id:{}", owner.nick(), prefix.digits()),
            hint: "find out whose package you want".into(),
        });
    }
    Ok(owner)
}

/// As cargo does: who asks for a package without a version gets `^` and the version chosen.
fn write_requirements(
    environment: &Environment,
    verb: &Verb,
    index: &Index<'_>,
    resolution: &Resolution,
) -> Result<WantedText, Error> {
    let before = environment.wanted()?.packages;
    let mut edit = environment.edit_wanted()?;
    let Verb::Add(specs) = verb else { return Ok(edit.finish()?.0) };
    for spec in specs {
        let mut wanted = wanted_package(spec, before.get(&spec.name), index)?;
        let chosen = resolution.packages.iter().find(|chosen| chosen.name == spec.name);
        if let Some(chosen) = chosen.filter(|_| spec.select == Select::Any && wanted.version.is_any()) {
            wanted.version = caret(&chosen.version)?;
        }
        edit.set(&spec.name, &wanted);
    }
    Ok(edit.finish()?.0)
}

fn caret(version: &Version) -> Result<Requirement, Error> {
    if version.epoch > 0 {
        return Ok(Requirement::any());
    }
    let semver = &version.semver;
    let pre = if semver.pre.is_empty() { String::new() } else { format!("-{}", semver.pre) };
    Ok(format!("^{}.{}.{}{pre}", semver.major, semver.minor, semver.patch).parse()?)
}

/// The candidates of an index; what the lockfile has is never too young.
struct FromIndex<'a> {
    index: &'a Index<'a>,
    lock: Option<&'a Lockfile>,
    now: Timestamp,
    min_age_seconds: u64,
}

impl FromIndex<'_> {
    fn is_young(&self, row: &VersionRow) -> bool {
        let keeps = |lock: &Lockfile| lock.packages.iter().any(|locked| locked.entry == row.entry);
        self.now.since(row.listed) < self.min_age_seconds && !self.lock.is_some_and(keeps)
    }
}

impl Candidates for FromIndex<'_> {
    fn candidates(&self, name: &PackageName) -> Result<Option<Vec<Candidate>>, IndexError> {
        let Some(record) = self.index.record(name)? else { return Ok(None) };
        let owner = record.owner;
        let candidate = |row: VersionRow| Candidate {
            young: self.is_young(&row),
            version: row.release.version,
            channel: row.release.channel,
            owner,
            dependencies: row.release.dependencies,
            conflicts: row.release.conflicts,
            mark: row.mark,
        };
        Ok(Some(record.versions.into_iter().map(candidate).collect()))
    }
}

fn resolve(
    index: &FromIndex<'_>,
    wanted: &crate::env::Wanted,
    verb: &Verb,
    options: &Options,
) -> Result<Resolution, Error> {
    let root = |(name, package): (&PackageName, &WantedPackage)| Wanted {
        name: name.clone(),
        requirement: package.version.clone(),
        owner: package.owner,
        channel: package.channel.clone(),
        optional: !package.optional.is_empty(),
    };
    let begun = Instant::now();
    let too_long = || begun.elapsed() > RESOLVE_TIME_MAX;
    let mut request = resolve::Request::new(wanted.packages.iter().map(root).collect());
    request.locked = locked(index.lock, verb);
    request.default_channel = wanted.environment.channel.clone();
    request.should_cancel = &too_long;
    if options.minimal {
        request.prefer = resolve::Prefer::Oldest;
    }
    if options.prereleases {
        request.prereleases = objects::version::Prereleases::Allowed;
    }
    for name in wanted.packages.keys() {
        record(index.index, name)?; // a name that does not exist is told with the name that was meant
    }
    Ok(resolve::resolve(&request, index)?)
}

/// The versions to keep where they still fit.
fn locked(lock: Option<&Lockfile>, verb: &Verb) -> BTreeMap<PackageName, Version> {
    let packages = lock.map_or(&[][..], |lock| &lock.packages);
    let is_free = |name: &PackageName| match verb {
        Verb::Update(names) => names.is_empty() || names.contains(name),
        Verb::Add(specs) => specs.iter().any(|spec| spec.name == *name),
        Verb::Remove(_) | Verb::Sync => false,
    };
    packages
        .iter()
        .filter(|package| !is_free(&package.name))
        .map(|p| (p.name.clone(), p.version.clone()))
        .collect()
}

fn look_up(index: &Index<'_>, resolution: Resolution) -> Result<Vec<Found>, Error> {
    let mut found = Vec::with_capacity(resolution.packages.len());
    for chosen in resolution.packages {
        let record = record(index, &chosen.name)?;
        let row = record.versions.iter().find(|row| row.release.version == chosen.version).cloned();
        let row = row
            .ok_or_else(|| Error::not_found(format!("{} {}", chosen.name, chosen.version), "`pkg fetch`"))?;
        found.push((chosen, record, row));
    }
    Ok(found)
}

fn actions(session: &Session, before: &[Installed], chosen: &[Found]) -> Result<Vec<Action>, Error> {
    let mut actions = Vec::new();
    for (chosen, record, row) in chosen {
        let old = before.iter().find(|installed| installed.name == chosen.name && !installed.beside);
        let action = match old {
            None => "install",
            Some(old) if old.entry == row.entry => "keep",
            Some(old) if old.version < chosen.version => "update",
            Some(_) => "downgrade",
        };
        let tag = crate::publish::tag_ref(record.owner, &record.name, &chosen.version);
        actions.push(Action {
            action,
            name: chosen.name.clone(),
            from: old.map(|old| old.version.clone()),
            to: Some(chosen.version.clone()),
            size: row.release.size,
            requested: chosen.requested,
            needed_by: chosen.asked_by.clone(),
            license: row.release.about.license.clone(),
            stored: session.store()?.refs().try_find(&tag)?.is_some(),
        });
    }
    for old in before.iter().filter(|old| !chosen.iter().any(|(chosen, ..)| chosen.name == old.name)) {
        actions.push(Action {
            action: "remove",
            name: old.name.clone(),
            from: Some(old.version.clone()),
            to: None,
            size: old.size,
            requested: old.requested,
            needed_by: Vec::new(),
            license: None,
            stored: true,
        });
    }
    Ok(actions)
}

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The generation that stands now.
    pub generation: u64,
    /// The packages that changed.
    pub actions: Vec<Action>,
    /// Objects that were fetched.
    pub objects: u64,
    /// Their unpacked bytes.
    pub new_bytes: u64,
    /// Bytes by source.
    pub bytes: Vec<BytesFrom>,
}

/// Carries a plan out.
///
/// # Errors
/// `E-POLICY` if a new name looks like a known one and nobody accepted it. If a release is not to be
/// believed or cannot be had: the environment stays as it was, what was fetched is kept. If somebody
/// else changed the environment meanwhile.
pub fn apply(
    session: &Session,
    environment: &Environment,
    plan: Plan,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    if let Some(similar) = plan.similar.first() {
        return Err(similar.refusal());
    }
    let known = plan.known.as_ref().expect("a plan is made from an index");
    let before = environment.current()?;
    let keeps = |row: &VersionRow| before.packages.iter().any(|old| old.entry == row.entry);
    let fresh: Vec<&Found> = plan.chosen.iter().filter(|(_, _, row)| !keeps(row)).collect();
    let is_locked = |row: &VersionRow| {
        plan.lock.iter().flat_map(|lock| &lock.packages).any(|locked| locked.entry == row.entry)
    };
    let policy = |row| if is_locked(row) { &plan.kept } else { session.policy() };
    let picks: Vec<Pick<'_>> =
        fresh.iter().map(|(_, record, row)| Pick { record, row, policy: policy(row) }).collect();
    owners::accept(session, known, &plan.accepts)?;
    let had = fetch::releases(session, &plan.remotes, known, &picks, reporter)?;
    maintain::tidy(session, session.store()?);
    let trees: Vec<_> = plan.chosen.iter().map(|(_, _, row)| row.release.tree).collect();
    cache::note_use(session, environment, &trees)?;

    let mut signer_n: BTreeMap<_, u64> =
        before.packages.iter().map(|old| (old.entry, old.signer_n)).collect();
    signer_n.extend(had.iter().map(|had| (had.entry.id(), had.entry.signer_n)));
    let writer = environment.lock_exclusive()?;
    let installed = installed(&plan, &signer_n);
    materialise(session, &writer, &installed, reporter)?;
    let mut change = Change::of_packages(plan.base, installed, plan.why.clone(), session.now());
    change.lockfile = match plan.locked {
        true => None,
        false => Some(locked::lockfile(session, known, &change.packages, plan.lock.as_ref())?),
    };
    change.wanted = plan.wanted;
    change.relink = fresh.iter().map(|(chosen, ..)| chosen.name.clone()).collect();
    let generation = writer.switch(change)?;
    Ok(Outcome {
        generation: generation.number,
        actions: plan.actions.into_iter().filter(|action| action.action != "keep").collect(),
        objects: had.iter().map(|had| had.objects).sum(),
        new_bytes: had.iter().map(|had| had.bytes).sum(),
        bytes: plan.remotes.iter().map(Remote::bytes).collect(),
    })
}

fn installed(plan: &Plan, signer_n: &BTreeMap<objects::id::StatementId, u64>) -> Vec<Installed> {
    let row = |(chosen, record, row): &Found| Installed {
        name: chosen.name.clone(),
        version: chosen.version.clone(),
        channel: chosen.channel.clone(),
        owner: record.owner,
        entry: row.entry,
        signer: row.signer,
        signer_n: signer_n.get(&row.entry).copied().unwrap_or(0),
        tree: row.release.tree,
        sha256: row.release.sha256,
        size: row.release.size,
        files: row.release.files,
        media: row.release.media.clone(),
        requested: chosen.requested,
        dependencies: row.release.dependencies.iter().map(|dependency| dependency.name.clone()).collect(),
        beside: false,
    };
    plan.chosen.iter().map(row).collect()
}

fn materialise(
    session: &Session,
    writer: &Writer<'_>,
    installed: &[Installed],
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    let mut staged: Vec<(Staged, &Installed)> = Vec::new();
    for package in installed {
        if writer.environment().has_tree(&package.name, package.tree)? {
            continue;
        }
        let place = writer.stage()?;
        let step = Step::begin(
            reporter,
            &format!("writing {} {}", package.name, package.version),
            Some(package.size),
        );
        let options = checkout::Options { jobs: session.jobs(), files_max: package.files, verify: false };
        let totals =
            checkout::checkout(session.store()?.store(), package.tree, place.path(), options, &step)?;
        drop(step);
        if (totals.files, totals.bytes) != (package.files, package.size) {
            return Err(Error::Refused {
                code: "E-FORMAT",
                what: format!("{} {} has other totals than were signed", package.name, package.version),
                hint: "tell its author: the release is malformed".into(),
            });
        }
        staged.push((place, package));
    }
    Ok(writer.materialise(staged)?)
}

/// What a comparison of an installed package with its release found.
#[derive(Clone, Debug, Serialize)]
pub struct Verified {
    /// The package.
    pub name: PackageName,
    /// Its version.
    pub version: Version,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What the judge says of the release today.
    #[serde(flatten)]
    pub standing: Standing,
}

/// Compares installed packages (all of them if `names` is empty) with what was signed, byte by byte, and
/// judges their releases again by what is known today (SEC-142).
///
/// # Errors
/// If the environment or the store cannot be read.
pub fn verify(
    session: &Session,
    environment: &Environment,
    names: &[PackageName],
    offline: bool,
) -> Result<Vec<Verified>, Error> {
    let store = session.store()?.store();
    let mut verified = Vec::new();
    let mut installed = environment.current()?.packages;
    if let Some(name) = names.iter().find(|name| !installed.iter().any(|package| package.name == **name)) {
        return Err(Error::not_found(
            format!("an installed package {name}"),
            "`pkg list` shows what is installed",
        ));
    }
    installed.retain(|package| names.is_empty() || names.contains(&package.name));
    let standings = standings(session, environment, &installed, offline)?;
    for (package, standing) in installed.into_iter().zip(standings) {
        let differences = environment.verify_installed(&package, store)?;
        verified.push(Verified { name: package.name, version: package.version, differences, standing });
    }
    Ok(verified)
}

/// Puts fresh copies in the place of packages that were changed on disk, and keeps the changed ones
/// as backups (O14). Gives where those are.
///
/// # Errors
/// If the environment or the store cannot be read or written.
pub fn reinstall(
    session: &Session,
    environment: &Environment,
    names: &[PackageName],
) -> Result<Vec<PathBuf>, Error> {
    let store = session.store()?.store();
    let writer = environment.lock_exclusive()?;
    let mut backups = Vec::new();
    for package in environment.current()?.packages {
        let named = names.is_empty() || names.contains(&package.name);
        if !named || environment.verify_installed(&package, store)?.is_empty() {
            continue;
        }
        let fresh = writer.stage()?;
        let options = checkout::Options { jobs: session.jobs(), files_max: package.files, verify: false };
        checkout::checkout(store, package.tree, fresh.path(), options, &objects::progress::Silent)?;
        backups.push(writer.replace_with_backup(fresh, &package, session.now())?);
    }
    Ok(backups)
}
