//! Pushing a repository of one's own to where others read it, or to somebody who carries it.
//!
//! What the other side shows of the same repository is brought to the head of this one. To the repository of
//! somebody else it is an offer: held there until they take it ([`crate::distribute`]).

use crate::distribute::settings;
use crate::distribute::strangers::Strangers;
use crate::error::Error;
use crate::event::{Reporter, Step};
use crate::session::Session;
use objects::claim::Index as IndexHead;
use objects::id::TreeId;
use objects::object::Exists;
use objects::repository::Repository;
use objects::summary::Summary;
use plumbing::sync::Wanted;
use plumbing::sync::mirror::Mirror;
use plumbing::sync::push::{Pushed, Sent};
use plumbing::sync::serve::{PushPolicy, Taken};
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
    /// What the other side calls it, if it is held there until somebody decides.
    pub held: Option<String>,
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
        Address::Path(path) => push_files(session, &repository, path, reporter),
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
    let held = match &sent {
        Some(Sent { taken: Taken::Held(id), .. }) => Some(id.clone()),
        _ => None,
    };
    let unchanged = sent.is_none();
    let sent = sent.map_or(0, |sent| sent.bytes);
    Ok(Outcome { to: parsed.to_string(), index: head.n, sent, unchanged, held })
}

/// Copies what a plain folder lacks: packs, then statements, the list of packs, the summary last.
fn push_files(
    session: &Session,
    repository: &Repository,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Option<Sent>, Error> {
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
        let theirs = Summary::decode(old)?;
        if repository.summary()?.is_some_and(|ours| ours.repository != theirs.repository) {
            return offer_files(session, repository, &theirs, path, reporter).map(Some);
        }
        check_grown(repository, &theirs, path)?;
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
    let bytes = sent + (list.len() + bytes.len()) as u64;
    Ok(Some(Sent { bytes, taken: Taken::Shown }))
}

/// Offers this repository to the one in a folder, which is somebody else's, if that takes such pushes.
fn offer_files(
    session: &Session,
    repository: &Repository,
    theirs: &Summary,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Sent, Error> {
    let takes = path.join(settings::FILE).exists();
    let host = Repository::open(path).ok().filter(|_| takes).ok_or_else(|| Error::Refused {
        code: "E-SCOPE",
        what: format!("{} holds another repository: {}", path.display(), theirs.repository),
        hint: "push into a folder of your own; its owner takes releases with `pkg repo accept`".into(),
    })?;
    let host = Arc::new(host);
    let policy = Strangers::new(session, host.clone(), false)?;
    let pushed = pushed(repository)?;
    let _lock = host.lock_shared()?;
    let refused = |(_, message): (String, String)| Error::Refused {
        code: "E-POLICY",
        what: format!("{} refused: {message}", path.display()),
        hint: String::new(),
    };
    let admitted = policy.admit(&pushed).map_err(refused)?;
    let source = Mirror::new(Box::new(Folder::open(repository.root())?));
    let step = Step::begin(reporter, "offering", None);
    let mut bytes = 0;
    for wanted in admitted.wanted() {
        let store = admitted.repository().store();
        bytes += plumbing::sync::fetch_tree(&[&source], store, *wanted, &[], &step)?.bytes;
    }
    Ok(Sent { bytes, taken: admitted.accept(&pushed).map_err(refused)? })
}

/// All that this repository shows.
fn pushed(repository: &Repository) -> Result<Pushed, Error> {
    let summary = repository.summary()?;
    let summary = summary.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
    let mut statements = Vec::new();
    for id in repository.statements().list()? {
        statements.extend(repository.statements().try_find(id)?);
    }
    Ok(Pushed { summary, statements })
}

/// A folder has nobody who judges, so the pusher makes sure not to take a state back.
fn check_grown(repository: &Repository, theirs: &Summary, path: &Path) -> Result<(), Error> {
    let ours =
        repository.summary()?.ok_or_else(|| Error::not_found("a summary", "publish something first"))?;
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
fn push_wire(session: &Session, repository: &Repository, address: &Address) -> Result<Option<Sent>, Error> {
    use plumbing::sync::peer::Peer;
    use plumbing::sync::{Error as SyncError, Source, push};
    use plumbing::transport::Wire;
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
    let peer = Peer::new(wire);
    let pushed = pushed(repository)?;
    let mut trees = trees(repository, pushed.summary.index.envelope().peek::<IndexHead>()?.root);
    let haves = match peer.advertise() {
        Ok(theirs) if theirs.index.id() == pushed.summary.index.id() => return Ok(None),
        Ok(theirs) if theirs.repository == pushed.summary.repository => {
            self::trees(repository, theirs.index.envelope().peek::<IndexHead>()?.root)
        }
        Ok(theirs) => {
            // It is held apart from what the other side has, so nothing of that serves as a base; but what is
            // carried there already need not come again.
            let carried = carried_trees(session, &peer, &theirs);
            trees.retain(|tree| !carried.contains(tree));
            Vec::new()
        }
        Err(SyncError::Empty { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    trees.retain(|tree| !haves.contains(tree));
    Ok(Some(push::send(&peer, repository, &pushed, &trees, &haves)?))
}

/// The trees of the releases that somebody else's repository lists; none if that cannot be told. Nothing is
/// believed for it: at worst too much is sent, or too little is held.
#[cfg(feature = "net")]
fn carried_trees(session: &Session, peer: &dyn plumbing::sync::Source, theirs: &Summary) -> Vec<TreeId> {
    let look = || -> Result<Vec<TreeId>, Error> {
        let head: IndexHead = theirs.index.envelope().peek()?;
        if head.size > CARRIED_BYTES_MAX {
            return Ok(Vec::new());
        }
        let folder = session.home();
        objects::disk::make_folder(folder)?;
        let scratch = tempfile::Builder::new().prefix("carried-").tempdir_in(folder);
        let scratch = scratch.map_err(|e| objects::disk::Error::new("create folder in", folder, e))?;
        let scratch = Repository::init(scratch.path())?;
        let wanted = Wanted { tree: head.root, files_max: head.files, bytes_max: head.size };
        plumbing::sync::fetch_tree(&[peer], scratch.store(), wanted, &[], &objects::progress::Silent)?;
        let index = plumbing::index::Index::open(scratch.store(), head.root)?;
        let mut trees = Vec::new();
        for name in index.names() {
            let record = index.record(&name)?;
            trees.extend(record.iter().flat_map(|record| &record.versions).map(|row| row.release.tree));
        }
        Ok(trees)
    };
    look().unwrap_or_default()
}

/// The largest index that is read to find out what need not be sent, in bytes.
#[cfg(feature = "net")]
const CARRIED_BYTES_MAX: u64 = 64 << 20;

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
