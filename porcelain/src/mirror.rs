//! Mirrors: bare repositories kept by others (C10).
//!
//! Promises: a mirror holds exactly what the signed index names, statement by statement and object
//! by object, and its summary is written last. It is judged like any source by those who read it.

use crate::config::read_toml;
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::identity;
use crate::identity::grants_ref;
use crate::log::log_ref;
use crate::maintain;
use crate::publish::{index_ref, tag_ref};
use crate::remote::{BytesFrom, Lookup, Remote};
use crate::session::Session;
use objects::claim::PackageRecord;
use objects::disk;
use objects::id::{PackId, StatementId, TreeId};
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::repository::Repository;
use objects::signed::Envelope;
use plumbing::index::Index;
use plumbing::sync::{self, Source, Wanted};
use plumbing::trust::{Accepted, Judge, Statements};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a mirror's refresh came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The mirror.
    pub path: PathBuf,
    /// The number of its index.
    pub index: u64,
    /// Versions that are new in it.
    pub new_versions: Vec<String>,
    /// New objects.
    pub objects: u64,
    /// Bytes by source.
    pub bytes: Vec<BytesFrom>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remotes {
    origin: String,
}

/// Makes a mirror of the repository at `address` in the fresh folder `path`. One that was cut off there
/// before goes on.
///
/// # Errors
/// If something else stands there, or the source cannot be fetched from.
pub fn clone(
    session: &Session,
    address: &str,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    let remote = Remote::open(session, address)?;
    let remotes = Remotes { origin: remote.kept() };
    let repository = match Repository::init(path) {
        Err(objects::repository::Error::Exists { .. }) if was_cut_off(path, &remotes)? => {
            Repository::open(path)?
        }
        made => made?,
    };
    let text = toml::to_string(&remotes).expect("one address is plain TOML");
    disk::write_whole(&path.join("remotes.toml"), text.as_bytes())?;
    let outcome = refresh(session, &remote, &repository, reporter)?;
    maintain::tidy(session, &repository);
    Ok(outcome)
}

/// True if a mirror was begun here, from the same place, and has nothing to show yet.
fn was_cut_off(path: &Path, remotes: &Remotes) -> Result<bool, Error> {
    let repository = Repository::open(path)?;
    let is_ours = match origin(path) {
        Ok(origin) => origin == remotes.origin,
        Err(_) => repository.statements().list()?.is_empty(),
    };
    Ok(is_ours && repository.summary()?.is_none())
}

/// Brings a mirror up to date with where it was cloned from.
///
/// # Errors
/// `Usage` if it is no mirror; those of fetching.
pub fn fetch(session: &Session, path: &Path, reporter: &dyn Reporter) -> Result<Outcome, Error> {
    let repository = Repository::open(path)?;
    let remote = Remote::open(session, &origin(path)?)?;
    let outcome = refresh(session, &remote, &repository, reporter)?;
    maintain::tidy(session, &repository);
    Ok(outcome)
}

/// Where a mirror was cloned from.
///
/// # Errors
/// `Usage` if the repository is no mirror.
pub fn origin(path: &Path) -> Result<String, Error> {
    let remotes: Option<Remotes> = read_toml(&path.join("remotes.toml"))?;
    let remotes = remotes.ok_or_else(|| {
        Error::usage(
            format!("{} was not cloned from anywhere", path.display()),
            "a mirror is made by `pkg clone --mirror SOURCE`",
        )
    })?;
    Ok(remotes.origin)
}

fn refresh(
    session: &Session,
    remote: &Remote,
    repository: &Repository,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    let _lock = repository.lock_shared()?;
    let state = session.state()?;
    let pinned = match repository.summary()? {
        Some(summary) => Some(summary.repository),
        None => state.repository(&remote.kept())?,
    };
    let summary = remote.advertise()?;
    let lookup = Lookup::new(repository.statements(), remote);
    let judge = Judge::new(state, session.policy(), session.now())?;
    let accepted = judge.accept_summary(&summary, pinned.as_ref(), &lookup, &remote.shown())?;
    accepted.warnings.iter().for_each(|warning| reporter.warn(warning));
    state.pin_repository(&remote.kept(), &accepted.index.repository, session.now())?;

    let mut copy = Copy {
        session,
        remote,
        repository,
        lookup,
        reporter,
        objects: 0,
        made_for: Vec::new(),
        new: Vec::new(),
    };
    copy.index(&accepted)?;
    copy.packages(&accepted)?;
    copy.heads(&accepted)?;
    repository.write_pack_list(&copy.made_for, None)?;
    repository.write_summary(&summary)?;
    Ok(Outcome {
        path: repository.root().to_owned(),
        index: accepted.index.n,
        new_versions: copy.new,
        objects: copy.objects,
        bytes: vec![remote.bytes()],
    })
}

struct Copy<'a> {
    session: &'a Session,
    remote: &'a Remote,
    repository: &'a Repository,
    lookup: Lookup<'a>,
    reporter: &'a dyn Reporter,
    objects: u64,
    made_for: Vec<(PackId, TreeId)>,
    new: Vec<String>,
}

impl Copy<'_> {
    fn tree(&mut self, what: &str, wanted: Wanted, haves: &[TreeId]) -> Result<(), Error> {
        let step = Step::begin(self.reporter, what, None);
        let fetched =
            sync::fetch_tree(&[self.remote as &dyn Source], self.repository.store(), wanted, haves, &step)?;
        self.objects += fetched.objects;
        self.made_for.extend(fetched.packs.iter().map(|pack| (*pack, wanted.tree)));
        Ok(())
    }

    fn index(&mut self, accepted: &Accepted) -> Result<(), Error> {
        let index = &accepted.index;
        let old = self.repository.summary()?.map(|summary| summary.index);
        let old: Option<objects::claim::Index> = old.and_then(|signed| signed.envelope().peek().ok());
        let haves: Vec<TreeId> = old.map(|head| head.root).into_iter().collect();
        let wanted = Wanted { tree: index.root, files_max: index.files, bytes_max: index.size };
        self.tree("fetching the index", wanted, &haves)
    }

    fn packages(&mut self, accepted: &Accepted) -> Result<(), Error> {
        let repository = self.repository;
        let index = Index::open(repository.store(), accepted.index.root)?;
        self.authority(&index)?;
        for name in index.names() {
            if let Some(record) = index.record(&name)? {
                self.package(&record)?;
            }
        }
        Ok(())
    }

    /// Copies the documents of everybody the index names, and what they grant.
    fn authority(&mut self, index: &Index<'_>) -> Result<(), Error> {
        for (id, row) in index.identities()? {
            self.chain(row.document)?;
            self.edit(identity::ref_name(id), row.document)?;
        }
        for (id, row) in index.issuers()? {
            self.chain(row.document)?;
            self.edit(grants_ref(id), row.document)?;
        }
        Ok(())
    }

    fn package(&mut self, record: &PackageRecord) -> Result<(), Error> {
        let name = &record.name;
        for version in &record.versions {
            let tag = tag_ref(record.owner, name, &version.release.version);
            if self.repository.refs().try_find(&tag)? == Some(version.entry) {
                continue;
            }
            let release = &version.release;
            let wanted = Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size };
            let haves = crate::fetch::haves(self.repository, record, release.tree)?;
            self.tree(&format!("fetching {name} {}", release.version), wanted, &haves)?;
            self.chain(version.entry)?;
            self.edit(tag, version.entry)?;
            self.new.push(format!("{name} {}", release.version));
        }
        self.logs(record)
    }

    fn logs(&mut self, record: &PackageRecord) -> Result<(), Error> {
        for log in &record.logs {
            self.chain(log.entry)?;
            self.edit(log_ref(record.owner, &record.name, log.signer), log.entry)?;
        }
        Ok(())
    }

    /// Copies a statement and all before it that are not here yet.
    fn chain(&mut self, id: StatementId) -> Result<(), Error> {
        let (missing, lost) = self.missing(id)?;
        if let Some(id) = lost {
            let hint = "the source is incomplete: try another";
            return Err(Error::not_found(format!("statement {id}"), hint));
        }
        // Oldest first: a chain that was cut off by a crash is completed from where it ends.
        Ok(self.repository.statements().insert_all(missing.iter().rev())?)
    }

    /// Copies the indexes that this one grew from, as far as the source has them: whoever knows an older
    /// one has to find the way there.
    fn index_history(&mut self, index: &objects::claim::Index) -> Result<(), Error> {
        let Some(id) = index.prev else { return Ok(()) };
        let (missing, _) = self.missing(id)?;
        Ok(self.repository.statements().insert_all(missing.iter().rev())?)
    }

    /// What is not here of the chain that ends with `id`, newest first, and the statement that the source
    /// does not have either, if there is one.
    fn missing(&self, id: StatementId) -> Result<(Vec<Envelope>, Option<StatementId>), Error> {
        let (mut next, mut missing) = (Some(id), Vec::new());
        while let Some(id) = next {
            if self.repository.statements().try_find(id)?.is_some() {
                break;
            }
            let Some(envelope) = self.lookup.find(id)? else { return Ok((missing, Some(id))) };
            next = plumbing::sync::serve::previous(&envelope);
            missing.push(envelope);
        }
        Ok((missing, None))
    }

    fn heads(&mut self, accepted: &Accepted) -> Result<(), Error> {
        identity::keep_chain(self.repository, &accepted.owner, self.session)?;
        self.repository.statements().insert(accepted.index.envelope())?;
        self.index_history(&accepted.index)?;
        self.edit(index_ref(&accepted.index.repository), accepted.index.id())
    }

    fn edit(&self, name: RefName, new: StatementId) -> Result<(), Error> {
        let message = format!("mirror: from {}", self.remote.shown());
        let edit = RefEdit { name, previous: PreviousValue::Any, new: Some(new), message };
        Ok(self.repository.refs().edit(&[edit], self.session.now())?)
    }
}
