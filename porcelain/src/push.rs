//! Pushing a repository of one's own to where others read it, and taking such pushes.

use crate::error::Error;
use crate::event::Reporter;
use crate::identity;
use crate::publish::{index_ref, tag_ref};
use crate::session::Session;
use objects::claim::Index as IndexHead;
use objects::id::TreeId;
use objects::identity::Chain;
use objects::object::Exists;
use objects::refs::{PreviousValue, RefEdit};
use objects::release::Entry;
use objects::repository::Repository;
use objects::signed::{Document, Envelope, Signed};
use objects::time::Timestamp;
use plumbing::sync::Wanted;
use plumbing::sync::push::Pushed;
use plumbing::sync::serve::PushPolicy;
use plumbing::transport::address::Address;
use plumbing::transport::file::Folder;
use plumbing::transport::{BareWrite, Key};
use serde::Serialize;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// What a push came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Where to.
    pub to: String,
    /// The number of the index that is there now.
    pub index: u64,
    /// Bytes sent.
    pub sent: u64,
    /// True if it was there already.
    pub unchanged: bool,
}

/// Brings the repository at `address` to the head of the one at `from`.
///
/// # Errors
/// `Refused` by the other side's policy; `Conflict` if it moved on meanwhile.
pub fn push(
    session: &Session,
    from: &Path,
    address: &str,
    reporter: &dyn Reporter,
) -> Result<Outcome, Error> {
    let repository = Repository::open(from)?;
    let summary =
        repository.summary()?.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    let head: IndexHead = summary.index.envelope().peek()?;
    let parsed = Address::parse(address)?;
    reporter.begin("pushing", None);
    let result = match &parsed {
        Address::Path(path) => push_files(&repository, path),
        Address::Bundle(_) => {
            Err(Error::usage("a bundle cannot be pushed to", "make one: `pkg bundle create`"))
        }
        #[cfg(feature = "net")]
        _ => push_wire(session, &repository, &parsed),
        #[cfg(not(feature = "net"))]
        _ => Err(Error::usage("this program was built without the network", "push to a folder")),
    };
    reporter.end();
    let sent = result?;
    Ok(Outcome { to: parsed.to_string(), index: head.n, sent: sent.unwrap_or(0), unchanged: sent.is_none() })
}

/// Copies what a plain folder lacks: packs, then statements, the list of packs, the summary last.
fn push_files(repository: &Repository, path: &Path) -> Result<Option<u64>, Error> {
    let folder = Folder::create(path)?;
    let bytes = repository.summary()?.map(|summary| summary.encode()).unwrap_or_default();
    let key = |text: &str| Key::new(text);
    let old = plumbing::transport::Bare::try_read(
        &folder,
        &key("summary")?,
        objects::limits::SUMMARY_BYTES_MAX as u64,
    )?;
    if old.as_deref() == Some(&bytes) {
        return Ok(None);
    }
    if let Some(old) = &old {
        check_grown(repository, &objects::summary::Summary::decode(old)?, path)?;
    }
    let mut sent = 0;
    let mut copy = |name: &str| -> Result<(), Error> {
        let key = Key::new(name)?;
        if plumbing::transport::Bare::try_size(&folder, &key)?.is_some() {
            return Ok(());
        }
        let from = repository.root().join(name);
        let mut file = File::open(&from).map_err(|e| objects::disk::Error::new("open", &from, e))?;
        sent += file.metadata().map_or(0, |meta| meta.len());
        Ok(folder.write(&key, &mut file)?)
    };
    for pack in repository.store().packs() {
        copy(&objects::repository::pack_key(pack.id()))?;
        copy(&objects::repository::pack_index_key(pack.id()))?;
    }
    for id in repository.statements().list()? {
        copy(&objects::statements::key(id))?;
    }
    copy("config")?;
    let list = objects::packlist::encode(&repository.pack_list()?);
    folder.write(&key(objects::repository::PACK_LIST_KEY)?, &mut list.as_slice())?;
    folder.swap(&key(objects::repository::SUMMARY_KEY)?, old.as_deref(), &bytes)?;
    Ok(Some(sent + (list.len() + bytes.len()) as u64))
}

/// A folder has nobody who judges, so the pusher makes sure not to take a state back.
fn check_grown(
    repository: &Repository,
    theirs: &objects::summary::Summary,
    path: &Path,
) -> Result<(), Error> {
    let ours =
        repository.summary()?.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    if theirs.repository != ours.repository {
        return Err(Error::Refused {
            code: "E-SCOPE",
            what: format!("{} holds another repository: {}", path.display(), theirs.repository),
            hint: "push into a folder of your own".into(),
        });
    }
    let new: IndexHead = ours.index.envelope().peek()?;
    let old: IndexHead = theirs.index.envelope().peek()?;
    let mut next = Some(ours.index.id());
    while let Some(id) = next.filter(|id| *id != theirs.index.id()) {
        let envelope = repository.statements().try_find(id)?;
        next = envelope.as_ref().and_then(plumbing::sync::serve::previous);
    }
    match next {
        Some(_) => Ok(()),
        None => Err(Error::conflict(
            format!("{} has index {}, which index {} here did not grow from", path.display(), old.n, new.n),
            "this repository is behind, or was restored from a backup: fetch the newer state first",
        )),
    }
}

#[cfg(feature = "net")]
fn push_wire(session: &Session, repository: &Repository, address: &Address) -> Result<Option<u64>, Error> {
    use plumbing::sync::peer::Peer;
    use plumbing::sync::{Error as SyncError, Source, push};
    use plumbing::transport::Wire;
    let summary =
        repository.summary()?.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    let wire: Box<dyn Wire> = match address {
        Address::Http(url) => Box::new(plumbing::transport::http::HttpWire::open(url, Default::default())?),
        Address::Iroh(ticket) => {
            Box::new(plumbing::transport::iroh::IrohWire::open(ticket, Default::default())?)
        }
        other => {
            return Err(Error::usage(
                format!("cannot push to {other}"),
                "push to a folder, a web address or a ticket",
            ));
        }
    };
    let _ = session;
    let peer = Peer::new(wire);
    let haves = match peer.advertise() {
        Ok(theirs) if theirs.index.id() == summary.index.id() => return Ok(None),
        Ok(theirs) => trees(repository, theirs.index.envelope().peek::<IndexHead>()?.root),
        Err(SyncError::Empty { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let root = summary.index.envelope().peek::<IndexHead>()?.root;
    let mut trees = trees(repository, root);
    trees.retain(|tree| !haves.contains(tree));
    let mut statements = Vec::new();
    for id in repository.statements().list()? {
        statements.extend(repository.statements().try_find(id)?);
    }
    let pushed = Pushed { summary, statements };
    Ok(Some(push::send(&peer, repository, &pushed, &trees, &haves)?))
}

/// The root of an index and the trees of the releases it lists, as far as it is here.
fn trees(repository: &Repository, root: TreeId) -> Vec<TreeId> {
    let mut trees = vec![root];
    let Ok(index) = plumbing::index::Index::open(repository.store(), root) else { return Vec::new() };
    for name in index.names() {
        if let Ok(Some(record)) = index.record(&name) {
            trees.extend(record.versions.iter().map(|row| row.release.tree));
        }
    }
    trees.retain(|tree| repository.store().contains(&tree.object()));
    trees
}

/// Takes pushes that the repository's owner has signed, and nothing else.
pub struct OwnersOnly {
    repository: Arc<Repository>,
    now: Timestamp,
}

type Refusal = (String, String);

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
    fn descends(&self, pushed: &Pushed, new: &IndexHead, old: objects::id::StatementId) -> bool {
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

fn refusal(error: Error) -> Refusal {
    (error.code().to_owned(), error.message())
}

fn typed<T: Document>(envelopes: &[Envelope]) -> impl Iterator<Item = Signed<T>> + '_ {
    envelopes.iter().filter_map(|envelope| envelope.clone().typed::<T>().ok())
}

impl PushPolicy for OwnersOnly {
    fn admit(&self, pushed: &Pushed) -> Result<Vec<Wanted>, Refusal> {
        let (index, chain) = self.judge(pushed).map_err(refusal)?;
        let mut wanted = vec![Wanted { tree: index.root, files_max: index.files, bytes_max: index.size }];
        for signed in typed::<Entry>(&pushed.statements) {
            let verified = chain
                .documents()
                .iter()
                .rev()
                .find_map(|doc| signed.verify(&doc.roles.release, "release").ok());
            let Some(entry) = verified else {
                return Err((
                    "E-SIG".into(),
                    format!("entry {} is not signed by the owner", signed.id().short(16)),
                ));
            };
            if let Some(release) = entry.release() {
                wanted.push(Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size });
            }
        }
        Ok(wanted)
    }

    fn accept(&self, pushed: &Pushed) -> Result<(), Refusal> {
        let _alone = self.repository.lock_signing().map_err(|error| refusal(error.into()))?;
        let (index, chain) = self.judge(pushed).map_err(refusal)?;
        self.apply(pushed, &index, &chain).map_err(refusal)
    }
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
                let head = format!(
                    "refs/packages/{}/{}/{}",
                    record.owner.to_hex(),
                    name.to_component(),
                    log.signer.to_hex()
                );
                edit(head.parse()?, log.entry);
            }
            for row in &record.versions {
                let release = &row.release;
                let wanted = Wanted { tree: release.tree, files_max: release.files, bytes_max: release.size };
                if !plumbing::sync::is_complete(repository.store(), wanted)? {
                    return Err(Error::not_found(format!("all of {name} {}", release.version), "push again"));
                }
                edit(tag_ref(record.owner, &name, &row.release.version), row.entry);
            }
        }
        edit(index_ref(&index.repository), pushed.summary.index.id());
        edit(identity::ref_name(chain.id()), chain.head().id());
        repository.refs().edit(&edits, self.now)?;
        repository.write_pack_list(&[], None)?;
        Ok(repository.write_summary(&pushed.summary)?)
    }
}
