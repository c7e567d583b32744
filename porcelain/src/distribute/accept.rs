//! Taking releases of other authors into a repository of one's own.
//!
//! ```text
//! source or held push → index, judged → each release, judged → objects → statements → signing locks → next index
//! ```
//!
//! Promises: what is taken was judged as an installer judges it, from the first document of its owner on;
//! stopped anywhere, the old index stands and at most what nothing refers to is left.

use super::authority;
use super::incoming::{Held, Incoming};
use super::listing::{Carried, Listing};
use super::settings::Settings;
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::fetch::{self, Known};
use crate::identity;
use crate::maintain;
use crate::pen::Pen;
use crate::publish::tag_ref;
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{LogRow, PackageRecord, Repository as RepositoryName, VersionRow};
use objects::grants::Grants;
use objects::id::{IdentityId, PackId, StatementId, TreeId};
use objects::identity::Chain;
use objects::name::PackageName;
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::Envelope;
use objects::spec::{PackageSpec, Select};
use objects::version::{Prereleases, Version};
use plumbing::index::Index;
use plumbing::sync::{self, Source, Wanted};
use plumbing::trust::{Judge, Places, Policy, Statements};
use serde::Serialize;
use std::path::PathBuf;

/// What to take, from where, into which repository.
#[derive(Clone, Debug)]
pub struct Request {
    /// A source, or the id of a push that is held.
    pub from: String,
    /// Which packages and versions; all if there are none.
    pub specs: Vec<PackageSpec>,
    /// The repository.
    pub to: PathBuf,
    /// Which of the user's identities signs its index.
    pub identity: Option<String>,
}

/// A release that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Taken {
    /// The package.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// Whose it is.
    pub owner: IdentityId,
    /// Who signed it.
    pub signer: IdentityId,
}

/// What was taken.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// From which repository.
    pub from: RepositoryName,
    /// The number of the index that lists it; None if nothing was new.
    pub index: Option<u64>,
    /// The releases that are new.
    pub taken: Vec<Taken>,
    /// New objects.
    pub objects: u64,
    /// Bytes by source.
    pub bytes: Vec<crate::remote::BytesFrom>,
}

/// Takes releases.
///
/// # Errors
/// `Conflict` if a name leads to another owner in the repository's index; those of judging: one that was
/// asked for has to stand. Without specs, what does not stand is passed over with a warning.
pub fn accept(session: &Session, request: &Request, reporter: &dyn Reporter) -> Result<Outcome, Error> {
    let repository = Repository::open(&request.to)?;
    let pen = pen(session, &repository, request.identity.as_deref())?;
    let own_name = Listing::open(session, &repository, &pen)?.name().clone(); // may this key list anything here?
    let (remote, held) = open_source(session, &repository, &request.from)?;
    let known = fetch::index(session, std::slice::from_ref(&remote), None, reporter)?;
    if held.is_some() {
        session.state()?.unpin_repository(&remote.kept())?; // a place that will be gone
    }
    if *known.repository() == own_name {
        return Err(Error::usage(
            format!("{} is this repository itself", remote.shown()),
            "name the repository of another author",
        ));
    }
    let taking =
        Taking { session, repository: &repository, pen: &pen, remote: &remote, known: &known, reporter };
    let outcome = taking.take(&request.specs)?;
    if let Some(held) = held {
        drop_older(&repository, &held)?;
    }
    maintain::tidy(session, &repository);
    Ok(outcome)
}

/// Who signs the index of `repository`: the one named, or its owner if that is one of the user's.
pub(crate) fn pen<'a>(
    session: &'a Session,
    repository: &Repository,
    name: Option<&str>,
) -> Result<Pen<'a>, Error> {
    let owner = repository.summary()?.map(|summary| summary.repository.owner);
    let own = identity::list(session)?.into_iter().find(|own| Some(own.id) == owner);
    match own.filter(|_| name.is_none()) {
        Some(own) => Pen::new(session, own),
        None => Pen::new(session, identity::choose(session, name)?),
    }
}

fn open_source(
    session: &Session,
    repository: &Repository,
    from: &str,
) -> Result<(Remote, Option<Held>), Error> {
    let incoming = Incoming::of(repository);
    incoming.sweep(&Settings::read(repository)?.caps)?;
    match incoming.find(from) {
        Some(held) => Ok((Remote::open(session, &held.path().display().to_string())?, Some(held))),
        None if Incoming::is_id(from) && !std::path::Path::new(from).exists() => Err(Error::not_found(
            format!("a push {from}"),
            "`pkg repo list` shows what waits; it is dropped after a day",
        )),
        None => Ok((Remote::open(session, from)?, None)),
    }
}

/// Drops a push that was taken, and those before it of the same repository.
fn drop_older(repository: &Repository, taken: &Held) -> Result<(), Error> {
    let incoming = Incoming::of(repository);
    for held in incoming.list()? {
        if held.from == taken.from && held.index <= taken.index {
            incoming.drop_push(&held.id)?;
        }
    }
    Ok(())
}

/// True if `spec` means a version. A bare name means all of them.
pub(crate) fn means(spec: &PackageSpec, owner: IdentityId, name: &PackageName, row: &VersionRow) -> bool {
    let release = &row.release;
    let is_owner = spec.owner.as_ref().is_none_or(|prefix| prefix.matches(&owner.object()));
    let is_channel = spec.channel.as_ref().is_none_or(|channel| *channel == release.channel);
    let is_version = match &spec.select {
        Select::Any => true,
        Select::Exact(version) => *version == release.version,
        Select::Matching(requirement) => requirement.matches(&release.version, Prereleases::Named),
        Select::Blake3(prefix) => prefix.matches(&release.tree.object()),
        Select::Sha256(digest) => release.sha256.0 == *digest,
    };
    spec.name == *name && is_owner && is_channel && is_version
}

/// A release that was judged, and what it needs beside it.
struct Chosen<'r> {
    record: &'r PackageRecord,
    row: &'r VersionRow,
    /// The heads of its signer's log and of its owner's.
    logs: Vec<LogRow>,
}

struct Taking<'a> {
    session: &'a Session,
    repository: &'a Repository,
    pen: &'a Pen<'a>,
    remote: &'a Remote,
    known: &'a Known,
    reporter: &'a dyn Reporter,
}

impl Taking<'_> {
    fn take(&self, specs: &[PackageSpec]) -> Result<Outcome, Error> {
        let _lock = self.repository.lock_shared()?;
        let records = self.records(specs)?;
        let lookup = Lookup::new(self.session.store()?.statements(), self.remote);
        let chosen = self.judge(&records, specs, &lookup)?;
        self.bring_own_grants(&lookup)?;
        let (mut objects, mut packs) = (0, Vec::new());
        for chosen in &chosen {
            self.bring(chosen, &lookup, &mut objects, &mut packs)?;
        }
        let (index, taken) = self.list(&chosen, &packs)?;
        let (from, bytes) = (self.known.repository().clone(), vec![self.remote.bytes()]);
        Ok(Outcome { from, index, taken, objects, bytes })
    }

    /// The records that `specs` speak of; a name that leads elsewhere here is told before anything is fetched.
    fn records(&self, specs: &[PackageSpec]) -> Result<Vec<PackageRecord>, Error> {
        let store = self.session.store()?.store();
        let index = Index::open(store, self.known.root())?;
        let listing = Listing::open(self.session, self.repository, self.pen)?;
        let mut records = Vec::new();
        for name in index.names() {
            if !specs.is_empty() && specs.iter().all(|spec| spec.name != name) {
                continue;
            }
            let Some(record) = index.record(&name)? else { continue };
            listing.claim(record.owner, &name)?;
            records.push(record);
        }
        for spec in specs {
            let mut rows =
                records.iter().flat_map(|record| record.versions.iter().map(move |row| (record, row)));
            if !rows.any(|(record, row)| means(spec, record.owner, &record.name, row)) {
                return Err(Error::not_found(
                    format!("{spec} in {}", self.remote.shown()),
                    "`pkg ls-remote` and `pkg search` show what a source has",
                ));
            }
        }
        Ok(records)
    }

    fn judge<'r>(
        &self,
        records: &'r [PackageRecord],
        specs: &[PackageSpec],
        lookup: &Lookup<'_>,
    ) -> Result<Vec<Chosen<'r>>, Error> {
        let origin = self.remote.shown();
        let lenient = Policy { allow_yanked: true, ..self.session.policy().clone() };
        let (state, now) = (self.session.state()?, self.session.now());
        let judge = Judge::new(state, self.session.policy(), now)?;
        let of_carried = Judge::new(state, &lenient, now)?;
        let listing = Listing::open(self.session, self.repository, self.pen)?;
        let (mut chosen, mut refusal) = (Vec::new(), None);
        for record in records {
            let carried = listing.record(&record.name)?;
            let is_carried = |row: &VersionRow| {
                carried.iter().flat_map(|carried| &carried.versions).any(|known| known.entry == row.entry)
            };
            for row in &record.versions {
                let asked = specs.iter().any(|spec| means(spec, record.owner, &record.name, row));
                if !asked && !specs.is_empty() {
                    continue;
                }
                // Of what is carried already, a withdrawal is taken over.
                let judge = if is_carried(row) { &of_carried } else { &judge };
                match self.judge_one(judge, record, row, lookup, &origin) {
                    Ok(logs) => chosen.push(Chosen { record, row, logs }),
                    Err(error) if asked => return Err(error),
                    Err(error) => {
                        let version = &row.release.version;
                        self.reporter.warn(&format!(
                            "{} {version} is passed over: {}",
                            record.name,
                            error.message()
                        ));
                        refusal = refusal.or(Some(error));
                    }
                }
            }
        }
        judge
            .take_warnings()
            .iter()
            .chain(&of_carried.take_warnings())
            .for_each(|warning| self.reporter.warn(warning));
        match refusal.filter(|_| chosen.is_empty()) {
            Some(error) => Err(error),
            None => Ok(chosen),
        }
    }

    /// As an installer would: the owner's chain, then the release by it. What made it believable is then kept
    /// here, for those who will judge it again.
    fn judge_one(
        &self,
        judge: &Judge<'_>,
        record: &PackageRecord,
        row: &VersionRow,
        lookup: &Lookup<'_>,
        origin: &str,
    ) -> Result<Vec<LogRow>, Error> {
        let index = Index::open(self.session.store()?.store(), self.known.root())?;
        let owner = judge.identity(record.owner, index.identity(record.owner)?.as_ref(), lookup, origin)?;
        let places = Places { directory: &index, statements: lookup, origin };
        judge.accept_release(&self.known.accepted, record, row, &owner, places)?;
        let concerned = [record.owner, row.signer];
        authority::bring(self.session, self.repository, judge, &index, &concerned, (lookup, origin))?;
        let logs = record.logs.iter().filter(|log| concerned.contains(&log.signer));
        Ok(logs.cloned().collect())
    }

    /// What this user is granted is brought too, even by who has published nothing yet.
    fn bring_own_grants(&self, lookup: &Lookup<'_>) -> Result<(), Error> {
        let index = Index::open(self.session.store()?.store(), self.known.root())?;
        let judge = Judge::new(self.session.state()?, self.session.policy(), self.session.now())?;
        for (issuer, row) in index.issuers()? {
            let Some(envelope) = lookup.find(row.document)? else { continue };
            let grants: Grants = envelope.peek()?;
            if grants.grants.iter().any(|grant| grant.to == self.pen.id()) {
                let origin = self.remote.shown();
                authority::bring(
                    self.session,
                    self.repository,
                    &judge,
                    &index,
                    &[issuer],
                    (lookup, &origin),
                )?;
            }
        }
        Ok(())
    }

    /// Brings the objects of a release, then the log it is in.
    fn bring(
        &self,
        chosen: &Chosen<'_>,
        lookup: &Lookup<'_>,
        objects: &mut u64,
        packs: &mut Vec<(PackId, TreeId)>,
    ) -> Result<(), Error> {
        let (record, release) = (chosen.record, &chosen.row.release);
        let wanted = Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size };
        let haves = fetch::haves(self.repository, record, release.tree)?;
        let step = Step::begin(self.reporter, &format!("fetching {} {}", record.name, release.version), None);
        let fetched =
            sync::fetch_tree(&[self.remote as &dyn Source], self.repository.store(), wanted, &haves, &step)?;
        let tag = tag_ref(record.owner, &record.name, &release.version);
        if self.repository.refs().try_find(&tag)?.is_none() {
            fetch::check_tree(self.repository, release)?;
        }
        *objects += fetched.objects;
        packs.extend(fetched.packs.iter().map(|pack| (*pack, release.tree)));
        chosen.logs.iter().try_for_each(|log| self.bring_log(log, lookup))
    }

    /// Copies a log from the head its record lists down to what is here. Each entry is linked to by one that was
    /// judged; that its signature holds too is checked, so that who reads from here finds it.
    fn bring_log(&self, log: &LogRow, lookup: &Lookup<'_>) -> Result<(), Error> {
        let signer = authority::chain(self.session, self.repository, log.signer)?;
        let signer = signer.expect("the signer's chain was brought when its release was judged");
        let (mut missing, mut next): (Vec<Envelope>, _) = (Vec::new(), Some(log.entry));
        while let Some(id) = next {
            if self.repository.statements().try_find(id)?.is_some() {
                break;
            }
            let envelope = entry_of(lookup, id, &signer)?;
            next = sync::serve::previous(&envelope);
            missing.push(envelope);
        }
        // Oldest first: a log that was cut off by a crash is completed from where it ends.
        Ok(self.repository.statements().insert_all(missing.iter().rev())?)
    }

    /// Lists what is new in the next index.
    fn list(
        &self,
        chosen: &[Chosen<'_>],
        packs: &[(PackId, TreeId)],
    ) -> Result<(Option<u64>, Vec<Taken>), Error> {
        let _signing = (self.session.lock_signing()?, self.repository.lock_signing()?);
        self.repository.store().refresh()?; // others may have published meanwhile
        let mut listing = Listing::open(self.session, self.repository, self.pen)?;
        let mut taken = Vec::new();
        for Chosen { record, row, logs } in chosen {
            let known = listing.claim(record.owner, &record.name)?;
            let version = &row.release.version;
            if known.versions.iter().all(|known| known.release.version != *version) {
                let (name, version) = (record.name.clone(), version.clone());
                taken.push(Taken { name, version, owner: record.owner, signer: row.signer });
            }
            let carried = Carried { row: (*row).clone(), logs: logs.clone() };
            listing.concern([record.owner, row.signer]);
            listing.carry(record.owner, &record.name, vec![carried])?;
        }
        if listing.is_current()? {
            return Ok((None, taken));
        }
        let (n, _) = listing.publish(packs)?;
        Ok((Some(n), taken))
    }
}

/// The entry `id`, signed by the release keys of `signer`.
fn entry_of(lookup: &Lookup<'_>, id: StatementId, signer: &Chain) -> Result<Envelope, Error> {
    let envelope = lookup.find(id)?.filter(|envelope| envelope.id() == id);
    let envelope = envelope.ok_or(objects::statements::Error::Missing(id))?;
    signer.verify_by_any::<Entry>(&envelope.clone().typed()?, "release")?;
    Ok(envelope)
}
