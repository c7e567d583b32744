//! An author's log of a package, and the index that lists it.
//!
//! The log of (package, signer) is one wherever it is published: a second repository goes on where
//! the first one stands. What was signed is kept in the ledger before anybody can see it, so that a number is never signed twice (REL-042, REL-043).
//!
//! Promises: stopped anywhere, the next publication completes what was begun.

use crate::error::Error;
use crate::identity::{self, Own, Signers};
use crate::ledger::{self, Head, Ledger};
use crate::publish::{index_ref, parse_ref, tag_ref};
use crate::session::Session;
use objects::claim::{
    Beacon, IdentityRow, Index as IndexHead, LogRow, PackageRecord, Repository as RepositoryName, VersionRow,
    skip_distances,
};
use objects::id::{IdentityId, PackId, StatementId, TreeId};
use objects::identity::Chain;
use objects::name::PackageName;
use objects::object::Exists;
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::release::{Action, Entry, Release};
use objects::repository::Repository;
use objects::signed::{Envelope, Signed};
use objects::store::pack::writer::Options as PackOptions;
use objects::summary::Summary;
use objects::version::Version;
use objects::walk::Totals;
use plumbing::index::{self, Changes, Index};

/// How long an index is believed without a newer one.
const INDEX_SECONDS: u64 = 365 * 86_400;
/// How long a beacon is believed.
const BEACON_SECONDS: u64 = 30 * 86_400;
/// Which of the owner's repositories: they have one unless they say otherwise.
const MAIN: &str = "main";

/// One signer's log of one package, and the index of the repository it is in.
pub struct Log<'a> {
    session: &'a Session,
    repository: &'a Repository,
    own: Own,
    chain: Chain,
    signers: Option<Signers<'a>>,
    name: PackageName,
    /// The whole log, oldest first.
    entries: Vec<(StatementId, Entry)>,
    summary: Option<Summary>,
    index_of: RepositoryName,
    old_index: Option<(StatementId, IndexHead)>,
    record: Option<PackageRecord>,
}

impl<'a> Log<'a> {
    /// Reads the log of `name` that `own` signs, and the index of `repository`.
    ///
    /// # Errors
    /// `E-SCOPE` if the repository or package is somebody else's; `Conflict` if the repository is
    /// behind what was signed.
    pub fn open(
        session: &'a Session,
        repository: &'a Repository,
        own: Own,
        name: &PackageName,
    ) -> Result<Log<'a>, Error> {
        let mut log = Log {
            session,
            repository,
            chain: identity::chain(session, own.id)?,
            signers: None,
            name: name.clone(),
            entries: Vec::new(),
            summary: repository.summary()?,
            index_of: RepositoryName { owner: own.id, name: MAIN.to_owned() },
            old_index: None,
            record: None,
            own,
        };
        let here = repository.refs().try_find(&log.head_ref())?;
        log.entries = log.read_entries(here)?;
        log.more_signed()?; // told before anything is read or written
        log.read_index()?;
        Ok(log)
    }

    fn read_index(&mut self) -> Result<(), Error> {
        self.index_of = self.name_repository()?;
        let scope = |what: String, hint: &str| Error::Refused { code: "E-SCOPE", what, hint: hint.into() };
        if self.index_of.owner != self.own.id {
            let (owner, own) = (self.index_of.owner.nick(), &self.own.name);
            return Err(scope(
                format!("the repository belongs to {owner}, not to your identity {own}"),
                "publish into a repository of your own and let its owner fetch from it",
            ));
        }
        let Some(newest) = self.newest_index()? else { return Ok(()) };
        let index = identity::verify_by_any(&self.chain, &newest, |roles| &roles.index, "index")?;
        self.record = Index::open(self.repository.store(), index.root)?.record(&self.name)?;
        if let Some(record) = self.record.as_ref().filter(|record| record.owner != self.own.id) {
            return Err(scope(
                format!("{} belongs to {}", self.name, record.owner.nick()),
                "choose another name",
            ));
        }
        self.old_index = Some((index.id(), index.document().clone()));
        Ok(())
    }

    /// What the repository is called: as its summary says, or the first of `main`, its folder's name,
    /// that with a number, under which this identity keeps no index elsewhere.
    fn name_repository(&self) -> Result<RepositoryName, Error> {
        if let Some(summary) = &self.summary {
            return Ok(summary.repository.clone());
        }
        let ledger = Ledger::open(self.session.state()?)?;
        let folder = self.place().rsplit('/').next().unwrap_or_default().to_owned();
        let folder: String = folder.chars().filter(char::is_ascii_graphic).take(64).collect();
        let numbered = (2u32..).map(|n| format!("{folder}-{n}"));
        for name in
            [MAIN.to_owned(), folder.clone()].into_iter().chain(numbered).filter(|name| !name.is_empty())
        {
            let candidate = RepositoryName { owner: self.own.id, name };
            match ledger.head(&index_key(&candidate))? {
                None => return Ok(candidate),
                Some(head) if head.place == self.place() && self.holds_index(&head)? => return Ok(candidate),
                Some(_) => {}
            }
        }
        unreachable!("some number is free")
    }

    /// True if the content of an index that was signed is in this repository.
    fn holds_index(&self, head: &Head) -> Result<bool, Error> {
        let index: IndexHead = self.own_statement(head.entry)?.peek()?;
        Ok(self.repository.store().contains(&index.root.object()))
    }

    /// The newest index that was signed: after a crash it may be one that the summary does not name
    /// yet. Its number is used, so it is never signed again (REL-043).
    fn newest_index(&self) -> Result<Option<Signed<IndexHead>>, Error> {
        let here = match self.repository.refs().try_find(&index_ref(&self.index_of))? {
            Some(id) => Some(self.repository.statements().find::<IndexHead>(id)?),
            None => self.summary.as_ref().map(|summary| summary.index.clone()),
        };
        let n = |signed: &Signed<IndexHead>| signed.envelope().peek::<IndexHead>().map(|index| index.n);
        let known = here.as_ref().map(n).transpose()?;
        let Some(signed) = Ledger::open(self.session.state()?)?.head(&index_key(&self.index_of))? else {
            return Ok(here);
        };
        if known.is_some_and(|known| known >= signed.seq) {
            return Ok(here);
        }
        if !self.holds_index(&signed)? {
            return Err(behind(&format!("index {} of {}", signed.seq, self.index_of), signed.entry));
        }
        let envelope = self.own_statement(signed.entry)?;
        self.repository.statements().insert(&envelope)?;
        Ok(Some(envelope.typed()?))
    }

    /// The entries up to `head`, oldest first, from the repository or else from the user's store.
    fn read_entries(&self, head: Option<StatementId>) -> Result<Vec<(StatementId, Entry)>, Error> {
        let mut entries = Vec::new();
        let mut next = head;
        while let Some(id) = next {
            let signed = match self.repository.statements().find::<Entry>(id) {
                Err(objects::statements::Error::Missing(_)) => self.own_statement(id)?.typed()?,
                other => other?,
            };
            let entry = self.verify(&signed)?;
            next = entry.prev;
            entries.push((id, entry));
        }
        entries.reverse();
        Ok(entries)
    }

    fn verify(&self, signed: &Signed<Entry>) -> Result<Entry, Error> {
        let mut last = None;
        for document in self.chain.documents().iter().rev() {
            match signed.verify(&document.roles.release, "release") {
                Ok(verified) => return Ok(verified.document().clone()),
                Err(error) => last = last.or(Some(error)),
            }
        }
        Err(last.expect("a chain has at least one document").into())
    }

    /// The whole log, if more of it was signed than is here: by a publication that was cut off, or one
    /// to another repository.
    fn more_signed(&self) -> Result<Option<Vec<(StatementId, Entry)>>, Error> {
        let here = self.head();
        let Some(signed) = Ledger::open(self.session.state()?)?.head(&self.key())? else { return Ok(None) };
        if here.is_some_and(|(_, seq)| seq >= signed.seq) {
            return Ok(None);
        }
        let all = self.read_entries(Some(signed.entry))?;
        let grows = here.is_none_or(|(id, seq)| all.get(seq as usize).is_some_and(|(at, _)| *at == id));
        let fresh = all.get(self.entries.len()..).unwrap_or_default();
        let cut_off = fresh.len() == 1 && fresh.iter().all(|(_, entry)| self.holds(entry));
        let is_backup = here.is_some() && signed.place == self.place() && !cut_off;
        if is_backup || !grows {
            return Err(behind(&format!("entry {} of {}", signed.seq, self.name), signed.entry));
        }
        Ok(Some(all))
    }

    /// Takes up entries that were signed but are not here. The caller holds the locks on signing.
    ///
    /// # Errors
    /// `Conflict` if the repository is behind what was signed for it (REL-042).
    pub fn catch_up(&mut self) -> Result<(), Error> {
        let Some(all) = self.more_signed()? else { return Ok(()) };
        let here = self.head().map(|(id, _)| id);
        let fresh = all.iter().skip(self.entries.len());
        let fresh = fresh.map(|(id, _)| self.own_statement(*id)).collect::<Result<Vec<_>, _>>()?;
        self.repository.statements().insert_all(&fresh)?;
        self.entries = all;
        self.move_head(here)
    }

    /// A statement that this machine signed.
    fn own_statement(&self, id: StatementId) -> Result<Envelope, Error> {
        let found = Ledger::open(self.session.state()?)?.entry(id)?;
        Ok(found.ok_or(objects::statements::Error::Missing(id))?)
    }

    /// True if what an entry is about is in this repository.
    fn holds(&self, entry: &Entry) -> bool {
        entry.release().is_none_or(|release| self.repository.store().contains(&release.tree.object()))
    }

    fn head(&self) -> Option<(StatementId, u64)> {
        self.entries.last().map(|(id, entry)| (*id, entry.seq))
    }

    /// The entries that the index is to list and does not yet.
    fn pending(&self) -> impl Iterator<Item = &(StatementId, Entry)> {
        let versions = self.record.iter().flat_map(|record| &record.versions);
        let listed: Vec<StatementId> = versions.map(|row| row.entry).collect();
        let head = self.record.as_ref().and_then(|record| record.log(&self.own.id)).map(|row| row.seq);
        self.entries.iter().filter(move |(id, entry)| match entry.release() {
            Some(_) => !listed.contains(id) && self.holds(entry),
            None => head.is_none_or(|head| entry.seq > head),
        })
    }

    fn key(&self) -> String {
        format!("{} {}", self.own.id.to_hex(), self.name)
    }

    fn place(&self) -> String {
        ledger::place(self.repository)
    }

    fn head_ref(&self) -> RefName {
        let (owner, name) = (self.own.id.to_hex(), self.name.to_component());
        parse_ref(format!("refs/packages/{owner}/{name}/{owner}"))
    }

    /// Whose package it is.
    pub fn owner(&self) -> IdentityId {
        self.own.id
    }

    /// The release of `version`, wherever it was published: a version has one content everywhere.
    pub fn released(&self, version: &Version) -> Option<(StatementId, &Release)> {
        let mut found = self.entries.iter().filter_map(|(id, entry)| Some((*id, entry.release()?)));
        found.find(|(_, release)| release.version == *version)
    }

    /// True if the index lists everything and the summary names it.
    pub fn is_listed(&self) -> bool {
        let named = self.summary.as_ref().map(|summary| summary.index.id());
        let newest = self.old_index.as_ref().map(|(id, _)| *id);
        self.pending().next().is_none() && named.is_some() && named == newest
    }

    fn signers(&mut self) -> Result<&mut Signers<'a>, Error> {
        if self.signers.is_none() {
            self.signers = Some(Signers::new(self.session, &self.own)?);
        }
        Ok(self.signers.as_mut().expect("it was just made"))
    }

    /// Signs the next entry; it is kept and noted before anybody can see it.
    ///
    /// # Errors
    /// If the key is locked or the disk refuses.
    pub fn append(&mut self, action: Action) -> Result<StatementId, Error> {
        let head = self.head();
        let entry = Entry {
            owner: self.own.id,
            name: self.name.clone(),
            signer: self.own.id,
            signer_n: self.chain.head().n,
            seq: head.map_or(0, |(_, seq)| seq + 1),
            prev: head.map(|(id, _)| id),
            grants: Vec::new(),
            action,
            created: self.session.now(),
        };
        let (entry, signed) = self.signers()?.entry(entry)?;
        let (id, seq) = (signed.id(), entry.seq);
        let noted = Head { seq, entry: id, place: self.place() };
        Ledger::open(self.session.state()?)?.note(&self.key(), &noted, signed.envelope())?;
        identity::keep_chain(self.repository, &self.chain, self.session)?;
        self.repository.statements().insert(signed.envelope())?;
        self.entries.push((id, entry));
        self.move_head(head.map(|(id, _)| id))?;
        Ok(id)
    }

    /// Moves the log's ref to the newest entry.
    fn move_head(&self, from: Option<StatementId>) -> Result<(), Error> {
        let Some((new, seq)) = self.head() else { return Ok(()) };
        let edit = RefEdit {
            name: self.head_ref(),
            previous: from.map_or(PreviousValue::Absent, PreviousValue::At),
            new: Some(new),
            message: format!("publish: entry {seq}"),
        };
        Ok(self.repository.refs().edit(&[edit], self.session.now())?)
    }

    /// Lists the pending entries in the next index and makes it the head. Gives its number and the
    /// bytes of its pack. `packs` were made for `tree`.
    ///
    /// # Errors
    /// If the key is locked or the disk refuses.
    pub fn publish_index(&mut self, packs: &[PackId], tree: TreeId) -> Result<(u64, u64), Error> {
        identity::keep_chain(self.repository, &self.chain, self.session)?;
        self.make_tags()?;
        let row = IdentityRow { n: self.chain.head().n, document: self.chain.head().id() };
        let changes = Changes {
            records: vec![self.next_record()],
            identities: vec![(self.own.id, row)],
            grants: identity::bring_grants(self.session, self.repository, self.own.id)?,
        };
        let store = self.repository.store();
        let mut transaction = store.transaction(PackOptions { jobs: 1, ..PackOptions::default() })?;
        let old = match &self.old_index {
            Some((_, head)) => Index::open(store, head.root)?,
            None => Index::empty(store),
        };
        let (root, totals) = index::edit(old, &changes, &mut transaction)?;
        let index_pack = transaction.commit()?;
        let (index, beacon) = self.sign_index(root, totals)?;
        let made_for: Vec<(PackId, TreeId)> =
            packs.iter().map(|pack| (*pack, tree)).chain(index_pack.map(|pack| (pack, root))).collect();
        self.repository.write_pack_list(&made_for, None)?;
        let n = self.old_index.as_ref().map_or(0, |(_, head)| head.n + 1);
        let documents = self.chain.documents().iter();
        let owner =
            documents.map(|document| document.envelope().clone().typed()).collect::<Result<_, _>>()?;
        let repository = self.index_of.clone();
        self.repository.write_summary(&Summary { repository, index, beacon, owner })?;
        Ok((n, stored_bytes(self.repository, index_pack.as_slice())))
    }

    fn make_tags(&self) -> Result<(), Error> {
        let mut edits = Vec::new();
        for (id, entry) in self.pending() {
            let Some(release) = entry.release() else { continue };
            let name = tag_ref(self.own.id, &self.name, &release.version);
            let message = format!("publish: {}", release.version);
            edits.push(RefEdit { name, previous: PreviousValue::Any, new: Some(*id), message });
        }
        Ok(self.repository.refs().edit(&edits, self.session.now())?)
    }

    /// The record with the pending entries in it.
    fn next_record(&self) -> PackageRecord {
        let (name, owner, listed) = (self.name.clone(), self.own.id, self.session.now());
        let empty = || PackageRecord { name, owner, transfer: None, logs: Vec::new(), versions: Vec::new() };
        let mut record = self.record.clone().unwrap_or_else(empty);
        for (id, entry) in self.pending() {
            let Some(release) = entry.release() else { continue };
            record.versions.retain(|row| row.release.version != release.version);
            let (signer, seq, release) = (entry.signer, entry.seq, release.clone());
            record.versions.push(VersionRow { entry: *id, signer, seq, listed, mark: None, release });
        }
        if let Some((entry, seq)) = self.head() {
            record.logs.retain(|row| row.signer != owner);
            record.logs.push(LogRow { signer: owner, seq, entry, listed });
        }
        record.versions.sort_by(|a, b| a.release.version.cmp(&b.release.version));
        record
    }

    fn sign_index(
        &mut self,
        root: TreeId,
        totals: Totals,
    ) -> Result<(Signed<IndexHead>, Signed<Beacon>), Error> {
        let now = self.session.now();
        let (n, prev) = match &self.old_index {
            Some((id, head)) => (head.n + 1, Some(*id)),
            None => (0, None),
        };
        let repository = self.index_of.clone();
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
        let index = self.signers()?.sign("index", &head)?;
        let beacon =
            Beacon { repository, n, index: index.id(), created: now, expires: now.after(BEACON_SECONDS) };
        let beacon = self.signers()?.sign("beacon", &beacon)?;
        let noted = Head { seq: n, entry: index.id(), place: self.place() };
        Ledger::open(self.session.state()?)?.note(&index_key(&self.index_of), &noted, index.envelope())?;
        self.repository.statements().insert(index.envelope())?;
        let name = index_ref(&head.repository);
        let (previous, message) = (PreviousValue::Any, format!("index: {n}"));
        let edit = RefEdit { name, previous, new: Some(index.id()), message };
        self.repository.refs().edit(&[edit], now)?;
        Ok((index, beacon))
    }

    /// The statements of index n-2, n-4, n-8, …
    fn skips(&self, n: u64) -> Result<Vec<StatementId>, Error> {
        let Some((newest, _)) = self.old_index.as_ref() else { return Ok(Vec::new()) };
        skip_distances(n).map(|distance| index_at(self.repository, *newest, n - distance)).collect()
    }
}

fn behind(what: &str, id: StatementId) -> Error {
    Error::conflict(
        format!("this repository is behind: {what} ({}) was signed already", id.short(16)),
        "it may have been restored from a backup: bring it to the newer state first, from a mirror or a newer backup",
    )
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
