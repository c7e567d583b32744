//! An author's log of a package: (owner, name, signer).
//!
//! The log is one wherever it is published: a second repository goes on where the first one stands. What
//! was signed is kept in the ledger before anybody can see it, so that a number is never signed twice
//! (REL-042, REL-043).
//!
//! Promises: stopped anywhere, the next publication completes what was begun.
//! Leaves to others: the index that lists it ([`crate::distribute::listing`]), and whether the signer may
//! act for the owner ([`crate::distribute::authority`]).

use crate::error::Error;
use crate::identity;
use crate::ledger::{self, Head, Ledger};
use crate::pen::Pen;
use crate::publish::parse_ref;
use crate::session::Session;
use objects::id::{GrantId, IdentityId, StatementId};
use objects::name::PackageName;
use objects::object::Exists;
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::release::{Action, Entry, Release};
use objects::repository::Repository;
use objects::signed::Envelope;
use objects::version::Version;

/// One signer's log of one package.
pub struct Log<'a> {
    session: &'a Session,
    repository: &'a Repository,
    pen: &'a Pen<'a>,
    owner: IdentityId,
    name: PackageName,
    /// The whole log, oldest first.
    entries: Vec<(StatementId, Entry)>,
}

impl<'a> Log<'a> {
    /// Reads the log of `owner`'s package `name` that `pen` signs.
    ///
    /// # Errors
    /// `Conflict` if the repository is behind what was signed.
    pub fn open(
        session: &'a Session,
        repository: &'a Repository,
        pen: &'a Pen<'a>,
        owner: IdentityId,
        name: &PackageName,
    ) -> Result<Log<'a>, Error> {
        let mut log = Log { session, repository, pen, owner, name: name.clone(), entries: Vec::new() };
        let here = repository.refs().try_find(&log.head_ref())?;
        log.entries = log.read_entries(here)?;
        log.more_signed()?; // told before anything is read or written
        Ok(log)
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
            let entry = self.pen.chain().verify_by_any(&signed, "release")?;
            next = entry.prev;
            entries.push((id, entry.document().clone()));
        }
        entries.reverse();
        Ok(entries)
    }

    /// The whole log, if more of it was signed than is here: by a publication that was cut off, or one
    /// to another repository.
    fn more_signed(&self) -> Result<Option<Vec<(StatementId, Entry)>>, Error> {
        let here = self.head();
        let Some(signed) = Ledger::open(self.session.state()?)?.head(&self.key())? else { return Ok(None) };
        if here.is_some_and(|(_, seq)| seq >= signed.seq) {
            return Ok(None);
        }
        self.repository.store().refresh()?; // who signed it may be adding it right now
        let all = self.read_entries(Some(signed.entry))?;
        let grows = here.is_none_or(|(id, seq)| all.get(seq as usize).is_some_and(|(at, _)| *at == id));
        let fresh = all.get(self.entries.len()..).unwrap_or_default();
        let cut_off = fresh.len() == 1 && fresh.iter().all(|(_, entry)| !signed.shown || self.holds(entry));
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
        ledger::find(self.session, id)
    }

    /// True if what an entry is about is in this repository.
    pub fn holds(&self, entry: &Entry) -> bool {
        entry.release().is_none_or(|release| self.repository.store().contains(&release.tree.object()))
    }

    /// The newest entry and its number.
    pub fn head(&self) -> Option<(StatementId, u64)> {
        self.entries.last().map(|(id, entry)| (*id, entry.seq))
    }

    fn key(&self) -> String {
        match self.pen.id() == self.owner {
            true => format!("{} {}", self.owner.to_hex(), self.name),
            false => format!("{} {} {}", self.owner.to_hex(), self.name, self.pen.id().to_hex()),
        }
    }

    fn place(&self) -> String {
        ledger::place(self.repository)
    }

    fn head_ref(&self) -> RefName {
        log_ref(self.owner, &self.name, self.pen.id())
    }

    /// Whose package it is.
    pub fn owner(&self) -> IdentityId {
        self.owner
    }

    /// The package's name.
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// Who signs.
    pub fn signer(&self) -> IdentityId {
        self.pen.id()
    }

    /// The whole log, oldest first.
    pub fn entries(&self) -> &[(StatementId, Entry)] {
        &self.entries
    }

    /// The release of `version`, wherever it was published: a version has one content everywhere.
    pub fn released(&self, version: &Version) -> Option<(StatementId, &Release)> {
        let mut found = self.entries.iter().filter_map(|(id, entry)| Some((*id, entry.release()?)));
        found.find(|(_, release)| release.version == *version)
    }

    /// Signs the next entry, by way of `grants` if the package is somebody else's; it is kept and noted before
    /// anybody can see it.
    ///
    /// # Errors
    /// If the key is locked or the disk refuses.
    pub fn append(&mut self, action: Action, grants: Vec<GrantId>) -> Result<StatementId, Error> {
        let head = self.head();
        let entry = Entry {
            owner: self.owner,
            name: self.name.clone(),
            signer: self.pen.id(),
            signer_n: self.pen.chain().head().n,
            seq: head.map_or(0, |(_, seq)| seq + 1),
            prev: head.map(|(id, _)| id),
            grants,
            action,
            created: self.session.now(),
        };
        let (entry, signed) = self.pen.entry(entry)?;
        let (id, seq) = (signed.id(), entry.seq);
        let noted = Head { seq, entry: id, place: self.place(), shown: false };
        Ledger::open(self.session.state()?)?.note(&self.key(), &noted, signed.envelope())?;
        identity::keep_chain(self.repository, self.pen.chain(), self.session)?;
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
            message: format!(
                "{}: entry {seq}",
                self.entries.last().map_or("publish", |(_, entry)| verb(entry))
            ),
        };
        self.repository.refs().edit(&[edit], self.session.now())?;
        Ledger::open(self.session.state()?)?.note_shown(&self.key(), new)
    }
}

/// What the reflog calls an entry.
fn verb(entry: &Entry) -> &'static str {
    match entry.action {
        Action::Release(_) => "publish",
        Action::Yank { .. } => "yank",
        Action::Unyank { .. } => "unyank",
        Action::Transfer { .. } => "transfer",
    }
}

/// The ref of a log's newest entry.
pub fn log_ref(owner: IdentityId, name: &PackageName, signer: IdentityId) -> RefName {
    parse_ref(format!("refs/packages/{}/{}/{}", owner.to_hex(), name.to_component(), signer.to_hex()))
}

pub(crate) fn behind(what: &str, id: StatementId) -> Error {
    Error::conflict(
        format!("this repository is behind: {what} ({}) was signed already", id.short(16)),
        "it may have been restored from a backup: bring it to the newer state first, from a mirror or a newer backup",
    )
}
