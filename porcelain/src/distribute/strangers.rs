//! Pushes to a repository that others serve: the owner's own go in, those of others are held (SEC-128).
//!
//! Promises: of a push by somebody else nothing reaches the repository itself before it is accepted. Each of
//! its statements is signed by who it says, its objects are those its entries name, and it stays within the caps.
//! Leaves to others: taking it ([`super::accept`]), which judges all of it anew.

use super::accept;
use super::incoming::{Incoming, Receiving, on_disk};
use super::owners::{OwnersOnly, refusal, signers, wanted_of};
use super::settings::{Caps, Settings};
use crate::error::Error;
use crate::event::Silent;
use crate::session::{Options, Session};
use objects::claim::Index as IndexHead;
use objects::fsck::Signers;
use objects::grants::Grants;
use objects::id::{IdentityId, StatementId};
use objects::identity::Chain;
use objects::object::Exists;
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::{Envelope, Kind, Verified};
use plumbing::index::Index;
use plumbing::sync::push::Pushed;
use plumbing::sync::serve::{Admitted, PushPolicy, Refusal, Taken};
use plumbing::sync::{Wanted, is_complete};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// Takes what the owner of a repository pushes, and holds what others do.
pub struct Strangers {
    repository: Arc<Repository>,
    owners: OwnersOnly,
    /// The home of who may sign at once; None if everything waits.
    signs: Option<PathBuf>,
    /// What is being received: whose, and how many bytes it may be.
    under_way: Mutex<Vec<(IdentityId, u64)>>,
}

impl Strangers {
    /// The policy for `repository`. If `signs`, what the settings accept without asking is listed at once, as far as
    /// the user's key needs no passphrase.
    ///
    /// # Errors
    /// If the repository is nobody's yet: then nobody could be told from a stranger.
    pub fn new(session: &Session, repository: Arc<Repository>, signs: bool) -> Result<Strangers, Error> {
        let settings = Settings::read(&repository)?; // told now rather than at the first push
        Incoming::of(&repository).sweep(&settings.caps)?;
        Ok(Strangers {
            owners: OwnersOnly::new(session, repository.clone())?,
            signs: signs.then(|| session.home().to_owned()),
            under_way: Mutex::default(),
            repository,
        })
    }

    /// Drops pushes that are past their time.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn sweep(&self) -> Result<(), Error> {
        let settings = Settings::read(&self.repository)?;
        Incoming::of(&self.repository).sweep(&settings.caps).map(drop)
    }

    fn admit_stranger(&self, pushed: &Pushed) -> Result<Box<dyn Admitted + '_>, Error> {
        let settings = Settings::read(&self.repository)?;
        let incoming = Incoming::of(&self.repository);
        incoming.sweep(&settings.caps)?;
        let (index, wanted) = self.look(pushed)?;
        let statements: u64 =
            pushed.statements.iter().map(|envelope| on_disk(envelope.encode().len() as u64)).sum();
        let bytes = wanted.iter().map(|wanted| wanted.bytes_max).fold(statements, u64::saturating_add);
        let place = self.reserve(pushed, bytes, &settings.caps)?;
        let receiving = incoming.receive(index.id())?;
        receiving.repository().statements().insert_all(&pushed.statements)?;
        Ok(Box::new(Stranger { policy: self, settings, wanted, receiving, _place: place }))
    }

    /// Checks every statement of a push: the index by the keys of its distributor, all others by those of who they
    /// say signed them. Gives the index, and the trees that are to come.
    fn look(&self, pushed: &Pushed) -> Result<(Verified<IndexHead>, Vec<Wanted>), Error> {
        let summary = &pushed.summary;
        let chain = Chain::walk(summary.repository.owner, &summary.owner)?;
        let roles = &chain.head().roles;
        let index = summary.index.verify(&roles.index, "index")?;
        let beacon = summary.beacon.verify(&roles.beacon, "beacon")?;
        let one = index.repository == summary.repository && beacon.repository == summary.repository;
        if !one || beacon.index != index.id() {
            return Err(scope("its index and beacon do not speak of one state of one repository"));
        }
        let signers = signers(pushed);
        let documents: HashSet<StatementId> =
            signers.chains().flat_map(Chain::documents).map(|document| document.id()).collect();
        let mut wanted = vec![Wanted { tree: index.root, files_max: index.files, bytes_max: index.size }];
        let mut trees = HashSet::from([index.root]);
        for envelope in &pushed.statements {
            if envelope.kind() == Kind::Identity && documents.contains(&envelope.id()) {
                continue;
            }
            if let Some(entry) = check(envelope, &signers)?
                && let Some(release) = entry.release()
                && !self.repository.store().contains(&release.tree.object())
                && trees.insert(release.tree)
            {
                wanted.push(wanted_of(release));
            }
        }
        Ok((index, wanted))
    }

    /// Room for a push, until the guard is dropped.
    fn reserve(&self, pushed: &Pushed, bytes: u64, caps: &Caps) -> Result<Place<'_>, Error> {
        let limit = |what: String| Error::Refused { code: "E-LIMIT", what, hint: String::new() };
        if bytes > caps.push_bytes {
            let max = caps.push_bytes;
            return Err(limit(format!("it is of {bytes} bytes; at most {max} of others are taken at once")));
        }
        let (from, id) = (pushed.summary.repository.owner, Incoming::id(pushed.summary.index.id()));
        let mut held = Incoming::of(&self.repository).list()?;
        held.retain(|held| held.id != id); // it takes its own place
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.iter().filter(|held| held.from.owner == from).count()
            + under_way.iter().filter(|(whose, _)| *whose == from).count();
        if count >= caps.pushes {
            return Err(limit(format!("{count} pushes of {} wait already", from.nick())));
        }
        let total = held.iter().map(|held| held.bytes).chain(under_way.iter().map(|(_, bytes)| *bytes));
        let total = total.fold(bytes, u64::saturating_add);
        if total > caps.total_bytes {
            let max = caps.total_bytes;
            return Err(limit(format!("with it {total} bytes would wait, more than {max}: come back later")));
        }
        under_way.push((from, bytes));
        Ok(Place { policy: self, mine: (from, bytes) })
    }

    /// Lists what was held at once, if its owners are accepted without asking. What cannot be waits.
    fn list_at_once(&self, id: &str, owners: &[IdentityId], settings: &Settings) -> bool {
        let Some(home) = &self.signs else { return false };
        if owners.is_empty() || owners.iter().any(|owner| !settings.accept.contains(owner)) {
            return false;
        }
        let request = accept::Request {
            from: id.to_owned(),
            specs: Vec::new(),
            to: self.repository.root().to_owned(),
            identity: None,
        };
        let session = Session::open(Options { home: Some(home.clone()), ..Options::default() });
        match session.and_then(|session| accept::accept(&session, &request, &Silent)) {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(id, error = error.message(), "a push of an accepted owner waits");
                false
            }
        }
    }
}

fn scope(what: &str) -> Error {
    Error::Refused { code: "E-SCOPE", what: what.into(), hint: String::new() }
}

/// Checks a statement against the identities that were pushed with it. Gives the entry, if it is one.
fn check(envelope: &Envelope, signers: &Signers) -> Result<Option<Verified<Entry>>, Error> {
    let unsigned = || Error::Refused {
        code: "E-SIG",
        what: format!("{} {} is not signed by who it says", envelope.kind().word(), envelope.id().short(16)),
        hint: String::new(),
    };
    match envelope.kind() {
        Kind::Entry => {
            let entry = signers.verify::<Entry>(envelope, "release", |entry| entry.signer);
            return entry.map(Some).ok_or_else(unsigned);
        }
        Kind::Index => {
            let index = signers.verify::<IndexHead>(envelope, "index", |index| index.repository.owner);
            index.ok_or_else(unsigned)?;
        }
        Kind::Grants => {
            signers.verify::<Grants>(envelope, "admin", |grants| grants.issuer).ok_or_else(unsigned)?;
        }
        Kind::Identity => return Err(unsigned()), // no chain leads to it
        Kind::Beacon | Kind::Note => return Err(scope("it holds statements that no index leads to")),
    }
    Ok(None)
}

impl PushPolicy for Strangers {
    fn admit(&self, pushed: &Pushed) -> Result<Box<dyn Admitted + '_>, Refusal> {
        let own = self.repository.summary().map_err(|error| refusal(error.into()))?;
        if own.is_some_and(|own| own.repository == pushed.summary.repository) {
            return self.owners.admit(pushed);
        }
        self.admit_stranger(pushed).map_err(refusal)
    }
}

/// Room that is kept for a push while it is received.
struct Place<'a> {
    policy: &'a Strangers,
    mine: (IdentityId, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.policy.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = under_way.iter().position(|push| *push == self.mine) {
            under_way.swap_remove(at);
        }
    }
}

/// A push of somebody else, on its way into the place apart.
struct Stranger<'a> {
    policy: &'a Strangers,
    settings: Settings,
    wanted: Vec<Wanted>,
    receiving: Receiving,
    _place: Place<'a>,
}

impl Admitted for Stranger<'_> {
    fn repository(&self) -> &Repository {
        self.receiving.repository()
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn accept(self: Box<Self>, pushed: &Pushed) -> Result<Taken, Refusal> {
        let Stranger { policy, settings, wanted, receiving, _place } = *self;
        let owners = owners(receiving.repository(), wanted[0]).map_err(refusal)?;
        receiving.hold(&pushed.summary).map_err(refusal)?;
        let id = Incoming::id(pushed.summary.index.id());
        match policy.list_at_once(&id, &owners, &settings) {
            true => Ok(Taken::Shown),
            false => Ok(Taken::Held(id)),
        }
    }
}

/// Whose packages an index that was pushed lists, once it is here to its last record.
fn owners(repository: &Repository, index: Wanted) -> Result<Vec<IdentityId>, Error> {
    if !is_complete(repository.store(), index)? {
        return Err(Error::not_found("all of its index", "push again"));
    }
    let index = Index::open(repository.store(), index.tree)?;
    let mut owners = Vec::new();
    for name in index.names() {
        owners.extend(index.record(&name)?.map(|record| record.owner));
    }
    owners.sort();
    owners.dedup();
    Ok(owners)
}
