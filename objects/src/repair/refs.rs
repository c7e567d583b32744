//! Refs, their logs, and statements' files: back to where what is left says they were.
//!
//! ```text
//! a ref is lost or malformed    its log, if that is whole; else the index and the newest entries
//! its log has gone beyond it    the loose ref was lost, and packed-refs shows where it was before
//! it points nowhere             its log, if that says otherwise; at last, when no source has the
//!                               statement, the index and the newest entries
//! a log is damaged              its good lines, and one that says where the ref is
//! ```
//!
//! Promises: a ref that points at a whole statement stays where it is, unless its log has gone beyond that.

use super::{Action, Error, Options, Stage, Step, quarantine};
use crate::fsck::{Known, Listed, entry_of, grants_of, identity_of, ref_fits};
use crate::id::{ObjectId, StatementId};
use crate::object::Exists;
use crate::refs::reflog::{self, Line};
use crate::refs::{PACKED, PreviousValue, RefEdit, RefName, Survey};
use crate::repository::Repository;
use std::collections::{BTreeMap, BTreeSet};

const MESSAGE: &str = "repaired";

/// What is to be done about refs and logs.
#[derive(Default)]
pub(super) struct Refs {
    survey: Survey,
    /// None takes a ref away that never was.
    moves: BTreeMap<RefName, Option<StatementId>>,
    logs: BTreeMap<RefName, Vec<Line>>,
}

impl Refs {
    pub fn plan(
        repository: &Repository,
        known: &Known,
        listed: &Listed,
        stage: Stage,
    ) -> Result<Refs, Error> {
        let root = repository.root();
        if !root.join("refs").exists() && !root.join(PACKED).exists() && !root.join("logs").exists() {
            return Ok(Refs::default()); // a copy of the public files alone
        }
        let mut refs = Refs { survey: repository.refs().survey()?, ..Refs::default() };
        let unfinished: BTreeSet<RefName> = repository.refs().unfinished()?.into_iter().collect();
        let logged = reflog::names(root)?;
        let keeps_logs = logged.is_some();
        let mut derived = derive(repository, known, listed);
        // Without logs, or with a damaged list, what is not there cannot tell that it was.
        let is_open = !keeps_logs || refs.survey.malformed.iter().any(|(key, _)| key == PACKED);
        let listed_tags = std::mem::take(&mut derived.listed);
        let named = refs.survey.refs.keys().chain(logged.iter().flatten());
        let mut names: BTreeSet<RefName> = named.cloned().collect();
        derived.name_index(&names);
        names.extend(derived.refs.keys().cloned());
        for name in names.iter().filter(|name| !unfinished.contains(name)) {
            let (at, log) = (refs.survey.refs.get(name).copied(), reflog::read(root, name)?);
            let may_derive = is_open || log.1 > 0 || (log.0.is_empty() && listed_tags.contains(name));
            let at_last = stage == Stage::Last && at.is_some();
            let by_index = derived.refs.get(name).copied().filter(|_| may_derive || at_last);
            let fits = |id: &StatementId| known.get(id).is_none_or(|envelope| ref_fits(name, *id, envelope));
            let now = at.filter(fits);
            let to = target(now, &log, by_index, known, stage).filter(fits);
            if to.is_none() && now != at {
                refs.moves.insert(name.clone(), None);
                continue;
            }
            if let Some(to) = to.filter(|to| Some(*to) != at) {
                refs.moves.insert(name.clone(), Some(to));
            }
            let to = to.or(at);
            let is_settled = stage == Stage::Last || to.is_none_or(|to| known.contains_key(&to));
            if keeps_logs && is_settled {
                refs.plan_log(name, log, to);
            }
        }
        Ok(refs)
    }

    /// A log that is damaged, or ends elsewhere, or was lost.
    fn plan_log(
        &mut self,
        name: &RefName,
        (mut lines, damaged): (Vec<Line>, usize),
        at: Option<StatementId>,
    ) {
        let last = lines.last().and_then(|line| line.new);
        if damaged == 0 && last == at {
            return;
        }
        if last != at {
            let now = lines.last().map_or_else(Default::default, |line| line.at);
            lines.push(Line { old: last, new: at, at: now, message: MESSAGE.to_owned() });
        }
        self.logs.insert(name.clone(), lines);
    }

    pub fn steps(&self) -> Vec<Step> {
        let broken = self.survey.malformed.iter().filter(|(key, _)| self.is_to_be_set_aside(key));
        let broken = broken.map(|(key, _)| match key == PACKED {
            true => Step { place: key.clone(), action: Action::Restore },
            false => Step { place: key.clone(), action: Action::SetAside },
        });
        let action = |to: &Option<StatementId>| to.map_or(Action::SetAside, |to| Action::MoveRef { to });
        let moves = self.moves.iter().map(|(name, to)| Step { place: name.to_string(), action: action(to) });
        let logs = self.logs.keys();
        let logs = logs.map(|name| Step { place: format!("logs/{name}"), action: Action::Restore });
        broken.chain(moves).chain(logs).collect()
    }

    /// A malformed ref that will be written again needs no step of its own.
    fn is_to_be_set_aside(&self, key: &str) -> bool {
        key.parse::<RefName>().map_or(true, |name| !self.moves.contains_key(&name))
    }

    pub fn carry_out(&self, repository: &Repository, options: &Options<'_>) -> Result<(), Error> {
        let root = repository.root();
        for (key, _) in &self.survey.malformed {
            if key == PACKED {
                quarantine::keep_aside(root, key)?;
                repository.refs().rewrite_packed(&self.survey.refs)?;
            } else {
                quarantine::set_aside(root, key)?;
            }
        }
        let edit = |(name, to): (&RefName, &Option<StatementId>)| RefEdit {
            name: name.clone(),
            previous: PreviousValue::Any,
            new: *to,
            message: MESSAGE.to_owned(),
        };
        let edits: Vec<RefEdit> = self.moves.iter().map(edit).collect();
        repository.refs().edit(&edits, options.now)?;
        for (name, lines) in &self.logs {
            quarantine::keep_aside(root, &format!("logs/{name}"))?;
            let mut lines = lines.clone();
            if let Some(last) = lines.last_mut().filter(|line| line.message == MESSAGE) {
                last.at = options.now;
            }
            reflog::rewrite(root, name, &lines)?;
        }
        Ok(())
    }
}

/// Where a ref belongs; None to leave it as it is.
fn target(
    at: Option<StatementId>,
    (lines, damaged): &(Vec<Line>, usize),
    derived: Option<StatementId>,
    known: &Known,
    stage: Stage,
) -> Option<StatementId> {
    let logged = lines.last().filter(|_| *damaged == 0);
    if at.is_some_and(|at| known.contains_key(&at)) {
        // A value from `packed-refs`, behind a loose ref that was lost, is one the log has gone beyond. A log
        // that does not know the value has lost its own end.
        let went_on = lines.iter().any(|line| line.new == at);
        return logged.filter(|_| went_on).and_then(|line| line.new).filter(|to| known.contains_key(to));
    }
    match (at, logged) {
        (None, Some(line)) => line.new,
        (Some(at), Some(line)) if line.new != Some(at) => line.new.or(derived),
        (None, None) => derived,
        (Some(_), _) if stage == Stage::Last => derived.filter(|to| known.contains_key(to)),
        (Some(_), _) => None,
    }
}

/// What refs there should be, by the index and the statements that are here.
struct Derived {
    refs: BTreeMap<RefName, StatementId>,
    /// The tags of what the index lists and is here.
    listed: BTreeSet<RefName>,
    /// The index that the summary names, and how refs to it begin.
    index: Option<(String, StatementId)>,
}

impl Derived {
    /// Says where the ref of the index is: under the name that is there, or else the usual one.
    fn name_index(&mut self, names: &BTreeSet<RefName>) {
        let Some((prefix, id)) = self.index.take() else { return };
        let present: Vec<&RefName> = names.iter().filter(|name| name.as_str().starts_with(&prefix)).collect();
        if !present.is_empty() {
            self.refs.retain(|name, _| !name.as_str().starts_with(&prefix));
        }
        self.refs.extend(present.into_iter().map(|name| (name.clone(), id)));
    }
}

fn derive(repository: &Repository, known: &Known, listed: &Listed) -> Derived {
    let mut derived = Derived { refs: BTreeMap::new(), listed: BTreeSet::new(), index: None };
    let here = |tree: &crate::id::TreeId| repository.store().contains(&tree.object());
    let mut heads: BTreeMap<RefName, (u64, StatementId)> = BTreeMap::new();
    let mut head = |name: String, seq: u64, id: StatementId| {
        let Ok(name) = name.parse::<RefName>() else { return };
        let newest = heads.entry(name).or_insert((seq, id));
        if newest.0 < seq {
            *newest = (seq, id);
        }
    };
    for record in &listed.packages {
        let (owner, package) = (record.owner.to_hex(), record.name.to_component());
        for log in &record.logs {
            head(format!("refs/packages/{owner}/{package}/{}", log.signer.to_hex()), log.seq, log.entry);
        }
        for row in record.versions.iter().filter(|row| here(&row.release.tree)) {
            if let Ok(name) =
                format!("refs/tags/{owner}/{package}/{}", row.release.version).parse::<RefName>()
            {
                derived.listed.insert(name.clone());
                derived.refs.insert(name, row.entry);
            }
        }
    }
    for (id, envelope) in known {
        if let Some(entry) = entry_of(envelope) {
            let (owner, package) = (entry.owner.to_hex(), entry.name.to_component());
            head(format!("refs/packages/{owner}/{package}/{}", entry.signer.to_hex()), entry.seq, *id);
            let release = entry.release().filter(|release| here(&release.tree));
            let tag = release.map(|release| format!("refs/tags/{owner}/{package}/{}", release.version));
            if let Some(Ok(name)) = tag.map(|tag| tag.parse::<RefName>()) {
                derived.refs.entry(name).or_insert(*id);
            }
        }
        if let Some(document) = identity_of(envelope) {
            let first = document.id.map_or(id.object(), |identity| identity.object());
            head(format!("refs/identities/{}", first.to_hex()), document.n, *id);
        }
        if let Some(grants) = grants_of(envelope) {
            head(format!("refs/grants/{}", grants.issuer.to_hex()), grants.n, *id);
        }
    }
    if let Ok(Some(summary)) = repository.summary() {
        let (owner, name) = (summary.repository.owner.to_hex(), &summary.repository.name);
        let part = ObjectId::of(name.as_bytes()).short(16);
        head(format!("refs/index/{owner}/{part}"), 0, summary.index.id());
        derived.index = Some((format!("refs/index/{owner}/"), summary.index.id()));
    }
    derived.refs.extend(heads.into_iter().map(|(name, (_, id))| (name, id)));
    derived
}
