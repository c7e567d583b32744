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
use crate::publish::tag_ref;
use crate::session::{Options, Session};
use objects::claim::Index as IndexHead;
use objects::fsck::Signers;
use objects::grants::Grants;
use objects::id::{IdentityId, StatementId, TreeId};
use objects::identity::Chain;
use objects::limits::GRANT_DEPTH_MAX;
use objects::object::Exists;
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::{Envelope, Kind, Verified};
use plumbing::index::Index;
use plumbing::sync::push::Pushed;
use plumbing::sync::serve::{Admitted, PushPolicy, Refusal, Taken};
use plumbing::sync::{Wanted, is_complete};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
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
        let (index, offer) = self.look(pushed)?;
        let wanted = &offer.wanted;
        let statements: u64 =
            pushed.statements.iter().map(|envelope| on_disk(envelope.encode().len() as u64)).sum();
        let bytes = wanted.iter().map(|wanted| wanted.bytes_max).fold(statements, u64::saturating_add);
        let place = self.reserve(pushed, bytes, &settings.caps)?;
        let receiving = incoming.receive(index.id())?;
        receiving.repository().statements().insert_all(&pushed.statements)?;
        Ok(Box::new(Stranger { policy: self, settings, offer, receiving, _place: place }))
    }

    /// Checks every statement of a push: the index by the keys of its distributor, all others by those of who they
    /// say signed them. Gives the index, and what is to come with it.
    fn look(&self, pushed: &Pushed) -> Result<(Verified<IndexHead>, Offer), Error> {
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
        let wanted = vec![Wanted { tree: index.root, files_max: index.files, bytes_max: index.size }];
        let mut offer = Offer { wanted, entries: HashMap::new(), grants: Vec::new() };
        let mut trees = HashSet::from([index.root]);
        for envelope in &pushed.statements {
            if envelope.kind() == Kind::Identity && documents.contains(&envelope.id()) {
                continue;
            }
            match check(envelope, &signers)? {
                Checked::Entry(entry) => {
                    offer.entries.insert(entry.id(), (entry.owner, entry.signer));
                    let release = entry.release().filter(|release| trees.insert(release.tree));
                    let is_here = |tree: TreeId| self.repository.store().contains(&tree.object());
                    offer.wanted.extend(release.filter(|release| !is_here(release.tree)).map(wanted_of));
                }
                Checked::Grants(grants) => {
                    let to = grants.grants.iter().map(|grant| grant.to).collect();
                    offer.grants.push((grants.issuer, to));
                }
                Checked::Index => {}
            }
        }
        Ok((index, offer))
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

    /// Lists what was held at once. What cannot be waits.
    fn list_at_once(&self, id: &str, home: &Path) -> bool {
        let request = accept::Request {
            from: id.to_owned(),
            specs: Vec::new(),
            to: self.repository.root().to_owned(),
            identity: None,
        };
        let session = Session::open(Options { home: Some(home.to_owned()), ..Options::default() });
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

/// A statement whose signer was found among the identities it was pushed with.
enum Checked {
    Entry(Verified<Entry>),
    Grants(Verified<Grants>),
    Index,
}

/// Checks a statement that is no identity's against the identities that were pushed with it.
fn check(envelope: &Envelope, signers: &Signers) -> Result<Checked, Error> {
    let checked = match envelope.kind() {
        Kind::Entry => signers.verify::<Entry>(envelope, "release", |entry| entry.signer).map(Checked::Entry),
        Kind::Index => {
            let index = signers.verify::<IndexHead>(envelope, "index", |index| index.repository.owner);
            index.map(|_| Checked::Index)
        }
        Kind::Grants => {
            signers.verify::<Grants>(envelope, "admin", |grants| grants.issuer).map(Checked::Grants)
        }
        Kind::Identity => None, // no chain leads to it
        Kind::Beacon | Kind::Note => return Err(scope("it holds statements that no index leads to")),
    };
    checked.ok_or_else(|| Error::Refused {
        code: "E-SIG",
        what: format!("{} {} is not signed by who it says", envelope.kind().word(), envelope.id().short(16)),
        hint: String::new(),
    })
}

/// What a push brings, as far as its statements tell.
struct Offer {
    /// The tree of its index, then those of releases that are not here.
    wanted: Vec<Wanted>,
    /// Whose package each entry is of, and who signed it.
    entries: HashMap<StatementId, (IdentityId, IdentityId)>,
    /// Who grants something to whom.
    grants: Vec<(IdentityId, Vec<IdentityId>)>,
}

impl Offer {
    /// True if the index that was pushed has news, and all of it is by owners who are accepted, or by whom they grant
    /// something. It is judged in full later: what this keeps away is work that strangers could make.
    fn is_welcome(
        &self,
        index: &Index<'_>,
        host: &Repository,
        accepted: &[IdentityId],
    ) -> Result<bool, Error> {
        let mut news = 0;
        for name in index.names() {
            let Some(record) = index.record(&name)? else { continue };
            if !accepted.contains(&record.owner) {
                return Ok(false);
            }
            let signers = self.signers_for(record.owner);
            for row in &record.versions {
                if host.refs().try_find(&tag_ref(record.owner, &name, &row.release.version))?
                    == Some(row.entry)
                {
                    continue;
                }
                let stated = self.entries.get(&row.entry);
                if stated != Some(&(record.owner, row.signer)) || !signers.contains(&row.signer) {
                    return Ok(false);
                }
                news += 1;
            }
        }
        Ok(news > 0)
    }

    /// The owner, and everybody whom grants lead to from there.
    fn signers_for(&self, owner: IdentityId) -> HashSet<IdentityId> {
        let mut signers = HashSet::from([owner]);
        for _ in 0..GRANT_DEPTH_MAX {
            let from = |issuer: &IdentityId| signers.contains(issuer);
            let to = self.grants.iter().filter(|(issuer, _)| from(issuer)).flat_map(|(_, to)| to);
            let to: Vec<IdentityId> = to.copied().collect();
            signers.extend(to);
        }
        signers
    }
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
    offer: Offer,
    receiving: Receiving,
    _place: Place<'a>,
}

impl Admitted for Stranger<'_> {
    fn repository(&self) -> &Repository {
        self.receiving.repository()
    }

    fn wanted(&self) -> &[Wanted] {
        &self.offer.wanted
    }

    fn accept(self: Box<Self>, pushed: &Pushed) -> Result<Taken, Refusal> {
        let Stranger { policy, settings, offer, receiving, _place } = *self;
        let is_welcome = look_inside(&receiving, &offer, policy, &settings).map_err(refusal)?;
        receiving.hold(&pushed.summary).map_err(refusal)?;
        let id = Incoming::id(pushed.summary.index.id());
        match policy.signs.as_ref().filter(|_| is_welcome) {
            Some(home) if policy.list_at_once(&id, home) => Ok(Taken::Shown),
            _ => Ok(Taken::Held(id)),
        }
    }
}

/// Whether what was received may be listed at once. Its index has to be here to its last record in any case.
fn look_inside(
    receiving: &Receiving,
    offer: &Offer,
    policy: &Strangers,
    settings: &Settings,
) -> Result<bool, Error> {
    let store = receiving.repository().store();
    if !is_complete(store, offer.wanted[0])? {
        return Err(Error::not_found("all of its index", "push again"));
    }
    let index = Index::open(store, offer.wanted[0].tree)?;
    index.names().iter().try_for_each(|name| index.record(name).map(drop))?;
    offer.is_welcome(&index, &policy.repository, &settings.accept)
}
