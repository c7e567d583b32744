//! The user's store as a cache: what was used when, and dropping what was not used for longest (L-S5, L-P6).
//!
//! Promises: what an environment of this user has in any of its generations is never dropped; what is
//! dropped can be fetched again.
//! Leaves to others: collecting what nothing refers to any more ([`crate::maintain`]).

use crate::env::Environment;
use crate::error::Error;
use crate::publish::tag_ref;
use crate::session::Session;
use objects::id::{ObjectId, StatementId, TreeId};
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::release::Entry;
use objects::repository::Repository;
use objects::walk::{self, Seen};
use plumbing::trust::{Database, State};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

const ROOM: &str = "cache";
const STEPS: &[&str] =
    &["CREATE TABLE cache_uses (tree BLOB PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
     CREATE TABLE cache_environments (path TEXT PRIMARY KEY) STRICT, WITHOUT ROWID"];

/// What was used, when and where, in `state.db`. Lost with it, everything counts as never used.
struct Uses<'a>(&'a Database);

impl<'a> Uses<'a> {
    fn open(state: &'a State) -> Result<Uses<'a>, Error> {
        state.database().migrate(ROOM, STEPS)?;
        Ok(Uses(state.database()))
    }

    fn note(&self, environment: &Path, trees: &[TreeId], now: i64) -> Result<(), Error> {
        let path = environment.display().to_string();
        Ok(self.0.write("write", |tx| {
            tx.execute("INSERT OR IGNORE INTO cache_environments VALUES (?1)", [&path])?;
            let mut used = tx.prepare("INSERT OR REPLACE INTO cache_uses VALUES (?1, ?2)")?;
            trees.iter().try_for_each(|tree| used.execute((tree.object().as_bytes(), now)).map(drop))
        })?)
    }

    fn last(&self) -> Result<HashMap<TreeId, i64>, Error> {
        let rows = self.0.read("read", |view| {
            let mut query = view.prepare("SELECT tree, at FROM cache_uses")?;
            let rows = query.query_map([], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get::<_, i64>(1)?)))?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        Ok(rows.into_iter().map(|(tree, at)| (TreeId::new(ObjectId::from_bytes(tree)), at)).collect())
    }

    fn environments(&self) -> Result<Vec<PathBuf>, Error> {
        Ok(self.0.read("read", |view| {
            let mut query = view.prepare("SELECT path FROM cache_environments")?;
            let rows = query.query_map([], |row| Ok(PathBuf::from(row.get::<_, String>(0)?)))?;
            rows.collect()
        })?)
    }
}

/// Notes that an environment was given these trees.
///
/// # Errors
/// If the database cannot be written.
pub(crate) fn note_use(session: &Session, environment: &Environment, trees: &[TreeId]) -> Result<(), Error> {
    let root = environment.root();
    let root = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let now = i64::try_from(session.now().seconds()).unwrap_or(i64::MAX);
    Uses::open(session.state()?)?.note(&root, trees, now)
}

/// A release in the user's store.
struct Kept {
    tag: RefName,
    entry: StatementId,
    shown: String,
    tree: TreeId,
    used: i64,
    in_use: bool,
}

/// Lets go of the releases that were not used for longest, until the rest takes at most `bytes_max` as
/// it is stored; gives their names. What collecting does not free then is in use.
///
/// # Errors
/// If the store or the database cannot be read.
pub(crate) fn trim(session: &Session, bytes_max: u64, dry_run: bool) -> Result<Vec<String>, Error> {
    let repository = session.store()?;
    let mut releases = releases(session, repository)?;
    releases.sort_by_key(|release| std::cmp::Reverse((release.in_use, release.used, release.shown.clone())));
    let stored = stored_bytes(repository);
    let (mut bytes, mut seen, mut dropped) = (0.0, Seen::default(), Vec::new());
    for release in releases {
        let new = match walk::closure(repository.store(), release.tree, &mut seen) {
            Ok(closure) => {
                let structure = closure.structure.iter().map(|(_, id)| *id);
                let chunks = closure.chunks.iter().map(|(chunk, _)| chunk.object());
                structure.chain(chunks).filter_map(|id| stored.get(&id)).sum::<f64>()
            }
            Err(_) => 0.0, // it is not whole, so it weighs nothing that could be freed by keeping another
        };
        if release.in_use || bytes + new <= bytes_max as f64 {
            bytes += new;
        } else {
            dropped.push(release);
        }
    }
    if !dry_run {
        let edit = |release: &Kept| RefEdit {
            name: release.tag.clone(),
            previous: PreviousValue::At(release.entry),
            new: None,
            message: "gc: not used for longest".into(),
        };
        let edits: Vec<RefEdit> = dropped.iter().map(edit).collect();
        repository.refs().edit(&edits, session.now())?;
    }
    Ok(dropped.into_iter().map(|release| release.shown).collect())
}

fn releases(session: &Session, repository: &Repository) -> Result<Vec<Kept>, Error> {
    let uses = Uses::open(session.state()?)?;
    let (last, in_use) = (uses.last()?, trees_in_use(&uses)?);
    let mut releases = Vec::new();
    for (tag, id) in repository.refs().list("refs/tags/")? {
        let Some(envelope) = repository.statements().try_find(id)? else { continue };
        let entry: Entry = envelope.peek()?;
        let Some(release) = entry.release() else { continue };
        debug_assert_eq!(tag, tag_ref(entry.owner, &entry.name, &release.version));
        releases.push(Kept {
            tag,
            entry: id,
            shown: format!("{} {}", entry.name, release.version),
            tree: release.tree,
            used: last.get(&release.tree).copied().unwrap_or_default(),
            in_use: in_use.contains(&release.tree),
        });
    }
    Ok(releases)
}

/// Every tree that a generation of a known environment holds. One that was moved away is passed over:
/// it has its own copies, and fetches what it lacks.
fn trees_in_use(uses: &Uses<'_>) -> Result<HashSet<TreeId>, Error> {
    let mut trees = HashSet::new();
    for path in uses.environments()? {
        let Ok(environment) = Environment::open(&path) else { continue };
        for generation in environment.history()? {
            trees.extend(generation.packages.iter().map(|package| package.tree));
        }
    }
    Ok(trees)
}

/// What each object takes as it is stored: its share of its frame.
fn stored_bytes(repository: &Repository) -> HashMap<ObjectId, f64> {
    let mut stored = HashMap::new();
    for pack in repository.store().packs() {
        let ids = pack.index().ids_in_pack_order();
        for (number, row) in pack.table().frames().iter().enumerate() {
            let share = f64::from(row.stored) / f64::from(row.raw.max(1));
            let objects = &ids[pack.table().objects_of(number).start as usize..];
            for (id, len) in objects.iter().zip(&row.lengths) {
                stored.insert(*id, share * f64::from(*len));
            }
        }
    }
    stored
}
