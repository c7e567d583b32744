//! The index of a repository, and what is about to be listed in it.
//!
//! Promises: stopped anywhere, the old index stands, or the next publication completes the new one; a
//! number is never signed twice (REL-043). A row that is listed stays, with the time it was listed first.
//! Leaves to others: whether what is listed may be believed ([`super::accept`]).

use super::authority;
use super::marks::Withdrawals;
use crate::error::Error;
use crate::identity;
use crate::ledger::{self, Head, Ledger};
use crate::log::{Log, behind, log_ref};
use crate::pen::Pen;
use crate::publish::{index_ref, tag_ref};
use crate::session::Session;
use objects::claim::{
    Beacon, Index as IndexHead, LogRow, Mark, PackageRecord, Repository as RepositoryName, VersionRow,
    skip_distances,
};
use objects::id::{IdentityId, PackId, StatementId, TreeId};
use objects::identity::Chain;
use objects::name::PackageName;
use objects::object::Exists;
use objects::refs::{PreviousValue, RefEdit};
use objects::repository::Repository;
use objects::signed::Signed;
use objects::store::pack::writer::Options as PackOptions;
use objects::summary::Summary;
use objects::version::Version;
use objects::walk::Totals;
use plumbing::index::{self, Changes, Index};
use std::collections::BTreeMap;

/// How long an index is believed without a newer one.
const INDEX_SECONDS: u64 = 365 * 86_400;
/// How long a beacon is believed.
const BEACON_SECONDS: u64 = 30 * 86_400;
/// Which of the owner's repositories: they have one unless they say otherwise.
const MAIN: &str = "main";

/// The newest index of a repository, and the changes that the next one makes.
pub struct Listing<'a> {
    session: &'a Session,
    repository: &'a Repository,
    pen: &'a Pen<'a>,
    summary: Option<Summary>,
    name: RepositoryName,
    old: Option<(StatementId, IndexHead)>,
    /// Records that differ from the old index.
    changed: BTreeMap<PackageName, PackageRecord>,
    edits: Vec<RefEdit>,
    /// Whose documents and grants are to be named, besides those whose records changed.
    concerned: Vec<IdentityId>,
    /// True to name those of everybody.
    renews: bool,
}

/// One version of another author, as it is taken into an index.
pub struct Carried {
    /// The version, as its source lists it.
    pub row: VersionRow,
    /// The heads of its signer's log and of its owner's, who may withdraw it.
    pub logs: Vec<LogRow>,
}

impl<'a> Listing<'a> {
    /// Reads the index of `repository`, which `pen` signs.
    ///
    /// # Errors
    /// `E-SCOPE` if the repository is somebody else's; `Conflict` if it is behind what was signed.
    pub fn open(
        session: &'a Session,
        repository: &'a Repository,
        pen: &'a Pen<'a>,
    ) -> Result<Listing<'a>, Error> {
        let mut listing = Listing {
            session,
            repository,
            pen,
            summary: repository.summary()?,
            name: RepositoryName { owner: pen.id(), name: MAIN.to_owned() },
            old: None,
            changed: BTreeMap::new(),
            edits: Vec::new(),
            concerned: Vec::new(),
            renews: false,
        };
        listing.name = listing.name_repository()?;
        if listing.name.owner != pen.id() {
            return Err(Error::Refused {
                code: "E-SCOPE",
                what: format!(
                    "the repository belongs to {}, not to your identity {}",
                    listing.name.owner.nick(),
                    pen.name()
                ),
                hint: "publish into a repository of your own and push it there, or let its owner take it with `pkg repo accept`".into(),
            });
        }
        listing.not_behind()?;
        if let Some((newest, root)) = listing.newest_index()? {
            let index = pen.chain().verify_by_any(&newest, "index")?;
            listing.old = Some((index.id(), IndexHead { root, ..index.document().clone() }));
        }
        Ok(listing)
    }

    /// Refuses to sign as of an older document than the repository shows: readers would take it for stale, and a
    /// key that was revoked meanwhile for nothing.
    fn not_behind(&self) -> Result<(), Error> {
        let Some(summary) = &self.summary else { return Ok(()) };
        let (shown, here) = (Chain::walk(self.pen.id(), &summary.owner)?.head().n, self.pen.chain().head().n);
        if shown <= here {
            return Ok(());
        }
        let name = self.pen.name();
        Err(Error::conflict(
            format!("the repository has document {shown} of {name}, this machine knows {here}"),
            format!("let somebody who has it run `pkg id export FILE {name}`, and `pkg id apply FILE` here"),
        ))
    }

    /// What the repository is called: as its summary says, or the first of `main`, its folder's name,
    /// that with a number, under which this identity keeps no index elsewhere.
    fn name_repository(&self) -> Result<RepositoryName, Error> {
        if let Some(summary) = &self.summary {
            return Ok(summary.repository.clone());
        }
        let ledger = Ledger::open(self.session.state()?)?;
        let folder = ledger::place(self.repository).rsplit('/').next().unwrap_or_default().to_owned();
        let folder: String = folder.chars().filter(char::is_ascii_graphic).take(64).collect();
        let numbered = (2u32..).map(|n| format!("{folder}-{n}"));
        for name in
            [MAIN.to_owned(), folder.clone()].into_iter().chain(numbered).filter(|name| !name.is_empty())
        {
            let candidate = RepositoryName { owner: self.pen.id(), name };
            match ledger.head(&index_key(&candidate))? {
                None => return Ok(candidate),
                Some(head) if head.place == ledger::place(self.repository) && self.holds_index(&head)? => {
                    return Ok(candidate);
                }
                Some(_) => {}
            }
        }
        unreachable!("some number is free")
    }

    /// True if the content of an index that was signed is in this repository.
    fn holds_index(&self, head: &Head) -> Result<bool, Error> {
        let index: IndexHead = ledger::find(self.session, head.entry)?.peek()?;
        Ok(self.repository.store().contains(&index.root.object()))
    }

    /// The newest index that was signed: after a crash it may be one that the summary does not name
    /// yet. Its number is used, so it is never signed again (REL-043). With it comes the root of its content;
    /// or of the one before, if nobody saw it and its content was lost with the power.
    fn newest_index(&self) -> Result<Option<(Signed<IndexHead>, TreeId)>, Error> {
        let here = match self.repository.refs().try_find(&index_ref(&self.name))? {
            Some(id) => Some(self.repository.statements().find::<IndexHead>(id)?),
            None => self.summary.as_ref().map(|summary| summary.index.clone()),
        };
        let peek = |signed: &Signed<IndexHead>| signed.envelope().peek::<IndexHead>();
        let known = here.as_ref().map(peek).transpose()?;
        let here = here.zip(known.as_ref().map(|known| known.root));
        let Some(signed) = Ledger::open(self.session.state()?)?.head(&index_key(&self.name))? else {
            return Ok(here);
        };
        if known.as_ref().is_some_and(|known| known.n >= signed.seq) {
            return Ok(here);
        }
        self.repository.store().refresh()?; // who signed it may be adding it right now
        let envelope = ledger::find(self.session, signed.entry)?;
        let root = match (self.holds_index(&signed)?, here) {
            (true, _) => envelope.peek::<IndexHead>()?.root,
            (false, Some((_, root))) if !signed.shown => root,
            _ => return Err(behind(&format!("index {} of {}", signed.seq, self.name), signed.entry)),
        };
        self.repository.statements().insert(&envelope)?;
        Ok(Some((envelope.typed()?, root)))
    }

    /// Which repository it is.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// What the next index says of `name`.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn record(&self, name: &PackageName) -> Result<Option<PackageRecord>, Error> {
        if let Some(record) = self.changed.get(name) {
            return Ok(Some(record.clone()));
        }
        match &self.old {
            Some((_, head)) => Ok(Index::open(self.repository.store(), head.root)?.record(name)?),
            None => Ok(None),
        }
    }

    /// The record of `owner`'s package `name`, empty if there is none yet.
    ///
    /// # Errors
    /// `Conflict` if the name leads to another owner: it is never given to somebody else (SEC-072).
    pub fn claim(&self, owner: IdentityId, name: &PackageName) -> Result<PackageRecord, Error> {
        match self.record(name)? {
            Some(record) if record.owner != owner => Err(Error::conflict(
                format!("{name} is the name of a package of {} in this index", record.owner.nick()),
                "one name has one owner: publish under another name, or for that owner with --owner",
            )),
            Some(record) => Ok(record),
            None => Ok(PackageRecord {
                name: name.clone(),
                owner,
                transfer: None,
                logs: Vec::new(),
                versions: Vec::new(),
            }),
        }
    }

    /// Lists what is new of a log that this user signs.
    ///
    /// # Errors
    /// As [`Listing::claim`] and [`Listing::carry`].
    pub fn list_log(&mut self, log: &Log<'_>) -> Result<(), Error> {
        let Some((entry, seq)) = log.head() else { return Ok(()) };
        let head = LogRow { signer: log.signer(), seq, entry, listed: self.session.now() };
        let record = self.claim(log.owner(), log.name())?;
        let is_listed = |id: &StatementId| record.versions.iter().any(|row| row.entry == *id);
        let new = log.entries().iter().filter(|(id, entry)| !is_listed(id) && log.holds(entry));
        let rows = new.filter_map(|(id, entry)| {
            let (signer, seq, release) = (entry.signer, entry.seq, entry.release()?.clone());
            let listed = self.session.now();
            Some(VersionRow { entry: *id, signer, seq, listed, mark: None, release })
        });
        let carried: Vec<Carried> = rows.map(|row| Carried { row, logs: Vec::new() }).collect();
        self.list_head(log.owner(), log.name(), head)?;
        self.carry(log.owner(), log.name(), carried)
    }

    /// Lists versions, from now on. One that is listed already stays as it is.
    ///
    /// # Errors
    /// `Conflict` as [`Listing::claim`], or if a version is listed with another content (SEC-052).
    pub fn carry(
        &mut self,
        owner: IdentityId,
        name: &PackageName,
        carried: Vec<Carried>,
    ) -> Result<(), Error> {
        let listed = self.session.now();
        for Carried { row, logs } in carried {
            for log in logs {
                self.list_head(owner, name, LogRow { listed, ..log })?;
            }
            let mut record = self.claim(owner, name)?;
            let version = &row.release.version;
            let present = record.versions.iter().find(|present| present.release.version == *version);
            if let Some(present) = present {
                if present.release.tree != row.release.tree {
                    let what = format!("{name} {version} is listed with another content");
                    return Err(Error::conflict(
                        what,
                        "a version never changes: ask its author which one it is",
                    ));
                }
                continue;
            }
            let message = format!("publish: {version}");
            let (tag, previous) = (tag_ref(owner, name, version), PreviousValue::Any);
            self.edits.push(RefEdit { name: tag, previous, new: Some(row.entry), message });
            record.versions.push(VersionRow { listed, mark: None, ..row });
            record.versions.sort_by(|a, b| a.release.version.cmp(&b.release.version));
            self.changed.insert(name.clone(), record);
        }
        Ok(())
    }

    /// Lists the newest entry of a log, unless one that is as new is listed.
    fn list_head(&mut self, owner: IdentityId, name: &PackageName, head: LogRow) -> Result<(), Error> {
        let mut record = self.claim(owner, name)?;
        if record.log(&head.signer).is_some_and(|known| known.seq >= head.seq) {
            return Ok(());
        }
        self.edits.push(RefEdit {
            name: log_ref(owner, name, head.signer),
            previous: PreviousValue::Any,
            new: Some(head.entry),
            message: format!("publish: entry {}", head.seq),
        });
        record.logs.retain(|row| row.signer != head.signer);
        record.logs.push(head);
        self.changed.insert(name.clone(), record);
        Ok(())
    }

    /// Marks versions of a package, or takes marks away. Gives the versions that changed.
    ///
    /// # Errors
    /// `NotFound` if the package is not listed.
    pub fn mark(
        &mut self,
        name: &PackageName,
        which: impl Fn(&VersionRow) -> bool,
        mark: impl Fn(Option<&Mark>) -> Option<Mark>,
    ) -> Result<Vec<Version>, Error> {
        let record = self.record(name)?;
        let mut record = record
            .ok_or_else(|| Error::not_found(format!("{name} in this index"), "`pkg repo list` shows it"))?;
        let mut marked = Vec::new();
        for row in record.versions.iter_mut().filter(|row| which(row)) {
            let new = mark(row.mark.as_ref());
            if new != row.mark {
                row.mark = new;
                marked.push(row.release.version.clone());
            }
        }
        if !marked.is_empty() {
            self.changed.insert(name.clone(), record);
        }
        Ok(marked)
    }

    /// Has the next index name the newest documents and grants of these that are known here.
    pub fn concern(&mut self, ids: impl IntoIterator<Item = IdentityId>) {
        self.concerned.extend(ids);
    }

    /// The same of everybody in it.
    pub fn renew(&mut self) {
        self.renews = true;
    }

    /// True if there is nothing to list that the newest index does not, and the summary names it.
    pub fn is_listed(&self) -> bool {
        let named = self.summary.as_ref().map(|summary| summary.index.id());
        let newest = self.old.as_ref().map(|(id, _)| *id);
        self.changed.is_empty() && named.is_some() && named == newest
    }

    /// True if, besides, it names the documents and grants of all who are concerned.
    ///
    /// # Errors
    /// If they are lost, or the disk refuses.
    pub fn is_current(&self) -> Result<bool, Error> {
        let Some((_, head)) = self.old.as_ref().filter(|_| self.is_listed()) else { return Ok(false) };
        let old = Index::open(self.repository.store(), head.root)?;
        let Changes { identities, grants, .. } = self.changes()?;
        for (id, row) in identities {
            if old.identity(id)? != Some(row) {
                return Ok(false);
            }
        }
        for (id, row) in grants {
            if old.grants(id)? != Some(row) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Signs the next index and makes it the head. Gives its number and the bytes of its pack. `packs`
    /// are new, each with the tree it was made for.
    ///
    /// # Errors
    /// If the key is locked or the disk refuses.
    pub fn publish(mut self, packs: &[(PackId, TreeId)]) -> Result<(u64, u64), Error> {
        identity::keep_chain(self.repository, self.pen.chain(), self.session)?;
        for record in self.changed.values_mut() {
            Withdrawals::read(self.session, self.repository, record)?.mark(record);
        }
        let changes = self.changes()?;
        self.repository.refs().edit(&std::mem::take(&mut self.edits), self.session.now())?;
        let store = self.repository.store();
        let mut transaction = store.transaction(PackOptions { jobs: 1, ..PackOptions::default() })?;
        let old = match &self.old {
            Some((_, head)) => Index::open(store, head.root)?,
            None => Index::empty(store),
        };
        let (root, totals) = index::edit(old, &changes, &mut transaction)?;
        let index_pack = transaction.commit()?;
        let (index, beacon) = self.sign_index(root, totals)?;
        let made_for: Vec<(PackId, TreeId)> =
            packs.iter().copied().chain(index_pack.map(|pack| (pack, root))).collect();
        self.repository.write_pack_list(&made_for, None)?;
        let n = self.old.as_ref().map_or(0, |(_, head)| head.n + 1);
        let documents = self.pen.chain().documents().iter();
        let owner =
            documents.map(|document| document.envelope().clone().typed()).collect::<Result<_, _>>()?;
        let repository = self.name.clone();
        self.repository.write_summary(&Summary { repository, index, beacon, owner })?;
        Ok((n, stored_bytes(self.repository, index_pack.as_slice())))
    }

    /// The changed records, and the heads of everybody they and the distributor depend on.
    fn changes(&self) -> Result<Changes, Error> {
        let mut concerned = self.concerned.clone();
        concerned.push(self.pen.id());
        for record in self.changed.values() {
            concerned.push(record.owner);
            concerned.extend(record.logs.iter().map(|row| row.signer));
        }
        if let Some((_, head)) = self.old.as_ref().filter(|_| self.renews) {
            let old = Index::open(self.repository.store(), head.root)?;
            concerned.extend(old.identities()?.into_iter().map(|(id, _)| id));
        }
        let (identities, grants) = authority::rows(self.session, self.repository, concerned)?;
        Ok(Changes { records: self.changed.values().cloned().collect(), identities, grants })
    }

    fn sign_index(&self, root: TreeId, totals: Totals) -> Result<(Signed<IndexHead>, Signed<Beacon>), Error> {
        let now = self.session.now();
        let (n, prev) = match &self.old {
            Some((id, head)) => (head.n + 1, Some(*id)),
            None => (0, None),
        };
        let repository = self.name.clone();
        let head = IndexHead {
            repository: repository.clone(),
            n,
            prev,
            skips: self.skips(n)?,
            root,
            size: totals.bytes,
            files: totals.files,
            created: now,
            expires: now.after(INDEX_SECONDS),
        };
        let index = self.pen.sign("index", &head)?;
        let beacon =
            Beacon { repository, n, index: index.id(), created: now, expires: now.after(BEACON_SECONDS) };
        let beacon = self.pen.sign("beacon", &beacon)?;
        let place = ledger::place(self.repository);
        let noted = Head { seq: n, entry: index.id(), place, shown: false };
        let ledger = Ledger::open(self.session.state()?)?;
        ledger.note(&index_key(&self.name), &noted, index.envelope())?;
        self.repository.statements().insert(index.envelope())?;
        let name = index_ref(&head.repository);
        let (previous, message) = (PreviousValue::Any, format!("index: {n}"));
        let edit = RefEdit { name, previous, new: Some(index.id()), message };
        self.repository.refs().edit(&[edit], now)?;
        ledger.note_shown(&index_key(&self.name), index.id())?;
        Ok((index, beacon))
    }

    /// The statements of index n-2, n-4, n-8, …
    fn skips(&self, n: u64) -> Result<Vec<StatementId>, Error> {
        let Some((newest, _)) = self.old.as_ref() else { return Ok(Vec::new()) };
        skip_distances(n).map(|distance| index_at(self.repository, *newest, n - distance)).collect()
    }
}

/// The ledger's name for the line of indexes of a repository.
fn index_key(repository: &RepositoryName) -> String {
    format!("index {} {}", repository.owner.to_hex(), repository.name)
}

/// Bytes of the frames of some packs.
pub fn stored_bytes(repository: &Repository, packs: &[PackId]) -> u64 {
    let all = repository.store().packs();
    all.iter().filter(|pack| packs.contains(&pack.id())).map(|pack| pack.table().frames_bytes()).sum()
}

/// The index with number `wanted` in the chain that ends with `from`, by skip links.
fn index_at(repository: &Repository, from: StatementId, wanted: u64) -> Result<StatementId, Error> {
    let mut id = from;
    loop {
        let signed = repository.statements().find::<IndexHead>(id)?;
        let head: IndexHead = signed.envelope().peek()?;
        if head.n <= wanted {
            return Ok(id);
        }
        let farthest = skip_distances(head.n).zip(&head.skips).filter(|(d, _)| head.n - d >= wanted).last();
        id = match farthest {
            Some((_, skip)) => *skip,
            None => head.prev.ok_or_else(|| {
                Error::not_found(format!("index {wanted}"), "`pkg fsck` tells what else is lost")
            })?,
        };
    }
}
