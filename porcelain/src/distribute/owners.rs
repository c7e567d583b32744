//! Pushes of a repository's own owner: into the repository itself.
//!
//! Promises: what is taken is newer than what is here, grew from it, and is signed by who it says.

use crate::error::Error;
use crate::identity;
use crate::identity::grants_ref;
use crate::log::log_ref;
use crate::publish::{index_ref, tag_ref};
use crate::session::Session;
use objects::claim::Index as IndexHead;
use objects::fsck::Signers;
use objects::id::StatementId;
use objects::identity::Chain;
use objects::refs::{PreviousValue, RefEdit};
use objects::release::{Entry, Release};
use objects::repository::Repository;
use objects::signed::{Document, Envelope, Signed};
use objects::time::Timestamp;
use plumbing::sync::Wanted;
use plumbing::sync::push::Pushed;
use plumbing::sync::serve::{Admitted, PushPolicy, Refusal, Taken};
use std::sync::Arc;

/// Takes pushes that the repository's owner has signed, and nothing else.
pub struct OwnersOnly {
    repository: Arc<Repository>,
    now: Timestamp,
}

impl OwnersOnly {
    /// The policy for `repository`.
    ///
    /// # Errors
    /// If the repository is nobody's yet: then nobody could be told from a stranger.
    pub fn new(session: &Session, repository: Arc<Repository>) -> Result<OwnersOnly, Error> {
        if repository.summary()?.is_none() {
            return Err(Error::usage(
                "an empty repository cannot take pushes: nobody owns it yet",
                "push a first state into its folder, or publish to it here",
            ));
        }
        Ok(OwnersOnly { repository, now: session.now() })
    }

    fn judge(&self, pushed: &Pushed) -> Result<(IndexHead, Chain), Error> {
        let scope = |what: &str| Error::Refused { code: "E-SCOPE", what: what.into(), hint: String::new() };
        let own = self.repository.summary()?.ok_or_else(|| scope("this repository has no owner yet"))?;
        let offered = &pushed.summary;
        if offered.repository != own.repository {
            return Err(scope("it is the state of another repository"));
        }
        let chain = Chain::walk(offered.repository.owner, &offered.owner)?;
        let known = Chain::walk(own.repository.owner, &own.owner)?;
        let continues = chain.documents().iter().any(|document| document.id() == known.head().id());
        if !continues {
            return Err(scope("it does not continue the owner's chain"));
        }
        let new = offered.index.verify(&chain.head().roles.index, "index")?;
        let old = own.index.verify(&known.head().roles.index, "index")?;
        let beacon = offered.beacon.verify(&chain.head().roles.beacon, "beacon")?;
        let named = new.repository == own.repository && beacon.repository == own.repository;
        if !named || beacon.index != new.id() || beacon.n != new.n {
            return Err(scope("its index and beacon do not speak of one state of this repository"));
        }
        if new.n <= old.n {
            let what = format!("index {} is not newer than {}", new.n, old.n);
            return Err(Error::Refused { code: "E-ROLLBACK", what, hint: String::new() });
        }
        if !self.descends(pushed, &new, old.id()) {
            return Err(Error::Refused {
                code: "E-FORK",
                what: "it does not grow from the index that is here".into(),
                hint: String::new(),
            });
        }
        Ok((new.document().clone(), chain))
    }

    /// True if `old` is before `new` in the chain of indexes that was pushed.
    fn descends(&self, pushed: &Pushed, new: &IndexHead, old: StatementId) -> bool {
        let mut next = new.prev;
        while let Some(id) = next {
            if id == old {
                return true;
            }
            let envelope = pushed.statements.iter().find(|envelope| envelope.id() == id);
            next = envelope.and_then(plumbing::sync::serve::previous);
        }
        false
    }
}

pub(super) fn refusal(error: Error) -> Refusal {
    (error.code().to_owned(), error.message())
}

fn typed<T: Document>(envelopes: &[Envelope]) -> impl Iterator<Item = Signed<T>> + '_ {
    envelopes.iter().filter_map(|envelope| envelope.clone().typed::<T>().ok())
}

impl PushPolicy for OwnersOnly {
    fn admit(&self, pushed: &Pushed) -> Result<Box<dyn Admitted + '_>, Refusal> {
        let (index, chain) = self.judge(pushed).map_err(refusal)?;
        let mut wanted = vec![Wanted { tree: index.root, files_max: index.files, bytes_max: index.size }];
        let signers = signers(pushed);
        for signed in typed::<Entry>(&pushed.statements) {
            let own = chain.documents().iter().rev();
            let own =
                own.filter_map(|document| signed.verify(&document.roles.release, "release").ok()).next();
            // What the owner carries of others is signed by those.
            let entry =
                own.or_else(|| signers.verify(signed.envelope(), "release", |entry: &Entry| entry.signer));
            let Some(entry) = entry else {
                let what = format!("entry {} is not signed by who it says", signed.id().short(16));
                return Err(("E-SIG".into(), what));
            };
            wanted.extend(entry.release().map(wanted_of));
        }
        Ok(Box::new(Own { policy: self, wanted }))
    }
}

/// A push of the repository's owner.
struct Own<'a> {
    policy: &'a OwnersOnly,
    wanted: Vec<Wanted>,
}

impl Admitted for Own<'_> {
    fn repository(&self) -> &Repository {
        &self.policy.repository
    }

    fn wanted(&self) -> &[Wanted] {
        &self.wanted
    }

    fn accept(self: Box<Self>, pushed: &Pushed) -> Result<Taken, Refusal> {
        let policy = self.policy;
        let _alone = policy.repository.lock_signing().map_err(|error| refusal(error.into()))?;
        let (index, chain) = policy.judge(pushed).map_err(refusal)?;
        policy.apply(pushed, &index, &chain).map_err(refusal)?;
        Ok(Taken::Shown)
    }
}

/// The identities whose documents were pushed.
pub(super) fn signers(pushed: &Pushed) -> Signers {
    Signers::of(&pushed.statements.iter().map(|envelope| (envelope.id(), envelope.clone())).collect())
}

/// The tree of a release, as large as its entry says.
pub(super) fn wanted_of(release: &Release) -> Wanted {
    Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size }
}

impl OwnersOnly {
    fn apply(&self, pushed: &Pushed, index: &IndexHead, chain: &Chain) -> Result<(), Error> {
        let repository = &self.repository;
        for envelope in &pushed.statements {
            repository.statements().insert(envelope)?;
        }
        let mut edits = Vec::new();
        let mut edit = |name, new| {
            edits.push(RefEdit { name, previous: PreviousValue::Any, new: Some(new), message: "push".into() })
        };
        let opened = plumbing::index::Index::open(repository.store(), index.root)?;
        for name in opened.names() {
            let Some(record) = opened.record(&name)? else { continue };
            for log in &record.logs {
                edit(log_ref(record.owner, &name, log.signer), log.entry);
            }
            for row in &record.versions {
                if !plumbing::sync::is_complete(repository.store(), wanted_of(&row.release))? {
                    let what = format!("all of {name} {}", row.release.version);
                    return Err(Error::not_found(what, "push again"));
                }
                edit(tag_ref(record.owner, &name, &row.release.version), row.entry);
            }
        }
        for (id, row) in opened.identities()? {
            edit(identity::ref_name(id), row.document);
        }
        for (id, row) in opened.issuers()? {
            edit(grants_ref(id), row.document);
        }
        edit(index_ref(&index.repository), pushed.summary.index.id());
        edit(identity::ref_name(chain.id()), chain.head().id());
        repository.refs().edit(&edits, self.now)?;
        repository.write_pack_list(&[], None)?;
        Ok(repository.write_summary(&pushed.summary)?)
    }
}
