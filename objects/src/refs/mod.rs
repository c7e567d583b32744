//! Refs: names that point at statements, as git's refs point at commits.
//!
//! ```text
//! refs/packages/<owner>/<name>/<signer>   the newest entry of a log
//! refs/tags/<owner>/<name>/<version>      the entry that released a version
//! refs/index/<owner>/<repository>         the newest index accepted
//! refs/identities/<id>                    the newest document of an identity
//! refs/grants/<id>                        the newest grants of an identity
//! ```
//!
//! A `/` in a package's name stands as `~`. A ref is a file with an id, or a line of `packed-refs`.
//!
//! Promises: the edits of one call are made in order under one lock, which a killed process gives
//! back by itself (REL-026), and all or none: what it had begun the next one finishes (REL-001);
//! every move is in the reflog.
//! Leaves to others: that what refs point at is durable before they move.

mod journal;
pub mod reflog;

use crate::disk::{self, Context};
use crate::id::StatementId;
use crate::limits::{PACKED_REFS_BYTES_MAX, REF_BYTES_MAX};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where refs are gathered, as a relative key.
pub const PACKED: &str = "packed-refs";

/// Why refs could not be read or moved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a name a ref can have.
    #[error("{0:?} is not a ref name")]
    Name(String),
    /// The file does not hold an id.
    #[error("{} is malformed", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Somebody else moved it first.
    #[error("{name} is at {}, not where it was expected", shown(found))]
    Conflict {
        /// The ref.
        name: RefName,
        /// Where it is.
        found: Option<StatementId>,
    },
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] disk::Error),
}

fn shown(value: &Option<StatementId>) -> String {
    value.map_or("nothing".into(), |id| id.short(16))
}

impl Error {
    /// The code that `--json` shows.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Name(_) | Error::Malformed { .. } => "E-FORMAT",
            Error::Conflict { .. } => "E-CONFLICT",
            Error::Disk(error) => error.code(),
        }
    }
}

/// A ref's full name: `refs/` and parts of `[A-Za-z0-9._~+!-]` that begin with no dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RefName(String);

impl RefName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for RefName {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let part_fits = |part: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"._~+!-".contains(&b);
            !part.is_empty() && part.len() <= 255 && !part.starts_with('.') && part.bytes().all(plain)
        };
        let parts: Vec<&str> = text.split('/').collect();
        if (2..=8).contains(&parts.len()) && parts[0] == "refs" && parts.iter().all(|part| part_fits(part)) {
            Ok(RefName(text.to_owned()))
        } else {
            Err(Error::Name(text.chars().take(300).collect()))
        }
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a ref has to be for an edit to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousValue {
    /// Anywhere.
    Any,
    /// Nowhere yet.
    Absent,
    /// Here.
    At(StatementId),
}

/// One change of one ref.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefEdit {
    /// Which.
    pub name: RefName,
    /// Where it has to be.
    pub previous: PreviousValue,
    /// Where it goes; None removes it.
    pub new: Option<StatementId>,
    /// Why, for the reflog.
    pub message: String,
}

/// The refs of a repository that may be damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Those that can be read.
    pub refs: BTreeMap<RefName, StatementId>,
    /// Keys of files that hold something else, and what is wrong with them.
    pub malformed: Vec<(String, String)>,
}

impl Survey {
    fn packed(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        // A line that lost its end may still look like one, of another ref.
        let end = text.rfind('\n').map_or(0, |at| at + 1);
        let mut damaged = usize::from(end < text.len());
        for line in text[..end].lines() {
            let row =
                line.split_once(' ').and_then(|(id, name)| Some((name.parse().ok()?, id.parse().ok()?)));
            match row {
                Some((name, id)) => drop(self.refs.insert(name, id)),
                None => damaged += 1,
            }
        }
        if damaged > 0 {
            self.malformed.push((PACKED.to_owned(), format!("{damaged} lines are damaged")));
        }
    }
}

/// An edit, and where its ref was before.
type Move = (RefEdit, Option<StatementId>);

/// The refs of one repository.
pub struct Refs {
    root: PathBuf,
}

impl Refs {
    /// The refs of the repository in the folder `root`.
    pub fn new(root: &Path) -> Refs {
        Refs { root: root.to_owned() }
    }

    /// Where `name` points, or None.
    ///
    /// # Errors
    /// `Malformed` if the file holds something else.
    pub fn try_find(&self, name: &RefName) -> Result<Option<StatementId>, Error> {
        match self.loose(name)? {
            Some(id) => Ok(Some(id)),
            None => Ok(self.packed()?.get(name).copied()),
        }
    }

    /// All refs whose names begin with `prefix`, sorted.
    ///
    /// # Errors
    /// `Malformed` for the first that holds something else.
    pub fn list(&self, prefix: &str) -> Result<Vec<(RefName, StatementId)>, Error> {
        let mut all = self.packed()?;
        self.list_loose("refs", &mut all)?;
        Ok(all.into_iter().filter(|(name, _)| name.as_str().starts_with(prefix)).collect())
    }

    /// All refs that can be read, and the files that hold something else.
    ///
    /// # Errors
    /// If a folder cannot be listed.
    pub fn survey(&self) -> Result<Survey, Error> {
        let mut survey = Survey::default();
        match disk::try_read(&self.packed_path(), PACKED_REFS_BYTES_MAX) {
            Ok(bytes) => survey.packed(&bytes.unwrap_or_default()),
            Err(error) => survey.malformed.push((PACKED.to_owned(), crate::store::chain(&error))),
        }
        self.survey_loose("refs", &mut survey)?;
        Ok(survey)
    }

    fn survey_loose(&self, folder: &str, survey: &mut Survey) -> Result<(), Error> {
        for name in disk::list(&self.root.join(folder))? {
            let full = format!("{folder}/{name}");
            if self.root.join(&full).is_dir() {
                self.survey_loose(&full, survey)?;
                continue;
            }
            let Ok(name) = full.parse::<RefName>() else { continue };
            match self.loose(&name) {
                Ok(Some(id)) => drop(survey.refs.insert(name, id)),
                Ok(None) => {}
                Err(error) => {
                    survey.refs.remove(&name);
                    survey.malformed.push((full, crate::store::chain(&error)));
                }
            }
        }
        Ok(())
    }

    /// Makes `edits` in order under the lock.
    ///
    /// # Errors
    /// `Conflict` before the first edit is made if any ref is not where it has to be; `Disk` if one
    /// cannot be made: those before it are then taken back.
    pub fn edit(&self, edits: &[RefEdit], now: Timestamp) -> Result<(), Error> {
        let lock = self.lock()?;
        let mut moves: Vec<Move> = Vec::with_capacity(edits.len());
        for edit in edits {
            let earlier = moves.iter().rev().find(|(earlier, _)| earlier.name == edit.name);
            let found = earlier.map_or_else(|| self.try_find(&edit.name), |(earlier, _)| Ok(earlier.new))?;
            let fits = match edit.previous {
                PreviousValue::Any => true,
                PreviousValue::Absent => found.is_none(),
                PreviousValue::At(id) => found == Some(id),
            };
            if !fits {
                return Err(Error::Conflict { name: edit.name.clone(), found });
            }
            moves.push((edit.clone(), found));
        }
        journal::begin(&lock, &self.root, &moves, now)?;
        self.carry_out(&lock, &moves, now)
    }

    /// The refs that a killed process was about to move, and that the next edit will.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn unfinished(&self) -> Result<Vec<RefName>, Error> {
        Ok(journal::unfinished(&self.root)?.0.into_iter().map(|(edit, _)| edit.name).collect())
    }

    /// Makes the moves of the journal that are not made yet, or takes all back. The journal stays
    /// only if the disk allows neither.
    fn carry_out(&self, lock: &File, moves: &[Move], now: Timestamp) -> Result<(), Error> {
        let done = moves.iter().try_for_each(|(edit, old)| match self.try_find(&edit.name)? {
            found if found == *old => self.apply(edit, *old, now),
            _ => Ok(()),
        });
        if done.is_ok() || self.take_back(moves, now).is_ok() {
            journal::end(lock, &self.root)?;
        }
        done
    }

    fn take_back(&self, moves: &[Move], now: Timestamp) -> Result<(), Error> {
        for (edit, old) in moves.iter().rev() {
            let found = self.try_find(&edit.name)?;
            let logged = reflog::read(&self.root, &edit.name).map(|(lines, _)| lines);
            let message = format!("taken back: {}", edit.message);
            let back = RefEdit { previous: PreviousValue::Any, new: *old, message, name: edit.name.clone() };
            if found != *old {
                self.apply(&back, found, now)?;
            } else if logged.is_ok_and(|lines| lines.last().and_then(|line| line.new) != *old) {
                reflog::append(&self.root, &back, edit.new, now)?;
            }
        }
        Ok(())
    }

    fn apply(&self, edit: &RefEdit, old: Option<StatementId>, now: Timestamp) -> Result<(), Error> {
        if old == edit.new {
            return Ok(());
        }
        reflog::append(&self.root, edit, old, now)?;
        let path = self.root.join(edit.name.as_str());
        match edit.new {
            Some(id) => Ok(disk::write_whole(&path, format!("{id}\n").as_bytes())?),
            None => {
                let mut packed = self.packed()?;
                if packed.remove(&edit.name).is_some() {
                    self.write_packed(&packed)?;
                }
                Ok(disk::remove(&path)?)
            }
        }
    }

    /// Gathers all loose refs into `packed-refs`.
    ///
    /// # Errors
    /// If the disk refuses; each ref then stands where it was.
    pub fn pack(&self) -> Result<usize, Error> {
        let _lock = self.lock()?;
        let mut all = self.packed()?;
        let mut loose = BTreeMap::new();
        self.list_loose("refs", &mut loose)?;
        all.extend(loose.iter().map(|(name, id)| (name.clone(), *id)));
        self.write_packed(&all)?;
        for name in loose.keys() {
            disk::remove(&self.root.join(name.as_str()))?;
        }
        Ok(loose.len())
    }

    /// Completes the moves that a killed process had begun: whoever decides what nothing refers to has to
    /// see them made.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn settle(&self) -> Result<(), Error> {
        self.lock().map(drop)
    }

    /// Writes `packed-refs` anew, whatever stands there.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn rewrite_packed(&self, refs: &BTreeMap<RefName, StatementId>) -> Result<(), Error> {
        let path = journal::path(&self.root);
        let _lock = disk::lock_file(&path)?; // what is unfinished may need the file that is damaged
        self.write_packed(refs)
    }

    fn lock(&self) -> Result<File, Error> {
        let path = journal::path(&self.root);
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).doing("open", &path)?;
        file.lock().doing("lock", &path)?;
        let (unfinished, at) = journal::unfinished(&self.root)?;
        let finished = self.carry_out(&file, &unfinished, at);
        if finished.is_err() && !self.unfinished()?.is_empty() {
            finished?;
        }
        Ok(file)
    }

    fn loose(&self, name: &RefName) -> Result<Option<StatementId>, Error> {
        let path = self.root.join(name.as_str());
        if path.is_dir() {
            return Ok(None);
        }
        disk::try_read(&path, REF_BYTES_MAX)?.map(|bytes| parse_id(&bytes, &path)).transpose()
    }

    fn list_loose(&self, folder: &str, found: &mut BTreeMap<RefName, StatementId>) -> Result<(), Error> {
        for name in disk::list(&self.root.join(folder))? {
            let full = format!("{folder}/{name}");
            if self.root.join(&full).is_dir() {
                self.list_loose(&full, found)?;
            } else if let Ok(name) = full.parse::<RefName>()
                && let Some(id) = self.loose(&name)?
            {
                found.insert(name, id);
            }
        }
        Ok(())
    }

    fn packed(&self) -> Result<BTreeMap<RefName, StatementId>, Error> {
        let path = self.packed_path();
        let bytes = disk::try_read(&path, PACKED_REFS_BYTES_MAX)?.unwrap_or_default();
        let malformed = || Error::Malformed { path: path.clone() };
        let text = String::from_utf8(bytes).map_err(|_| malformed())?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(malformed());
        }
        let mut refs = BTreeMap::new();
        for line in text.lines() {
            let (id, name) = line.split_once(' ').ok_or_else(malformed)?;
            refs.insert(name.parse().map_err(|_| malformed())?, id.parse().map_err(|_| malformed())?);
        }
        Ok(refs)
    }

    fn write_packed(&self, refs: &BTreeMap<RefName, StatementId>) -> Result<(), Error> {
        let text: String = refs.iter().map(|(name, id)| format!("{id} {name}\n")).collect();
        Ok(disk::write_whole(&self.packed_path(), text.as_bytes())?)
    }

    fn packed_path(&self) -> PathBuf {
        self.root.join(PACKED)
    }
}

fn parse_id(bytes: &[u8], path: &Path) -> Result<StatementId, Error> {
    let malformed = || Error::Malformed { path: path.to_owned() };
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let id: StatementId = text.trim_end().parse().map_err(|_| malformed())?;
    if format!("{id}\n") != text {
        return Err(malformed());
    }
    Ok(id)
}
