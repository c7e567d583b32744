//! Evidence: signers who said two things under one number. Shown, carried elsewhere, and settled by a
//! person.

use crate::error::Error;
use crate::identity;
use crate::session::Session;
use objects::disk;
use objects::id::{IdentityId, Prefix, StatementId};
use objects::time::Timestamp;
use plumbing::trust::Fork;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Two statements with one number.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// What it is called here.
    pub fork: String,
    /// `identity`, `index` or `log`.
    pub kind: String,
    /// Which of its kind: ids and names, parted by `/`.
    pub line: String,
    /// Who signed both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<IdentityId>,
    /// The number both have.
    pub n: u64,
    /// The one this machine knew first.
    pub ours: StatementId,
    /// The other one.
    pub theirs: StatementId,
    /// Where the other one came from.
    pub origin: String,
    /// When.
    pub seen: Timestamp,
    /// Which of them a person chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<StatementId>,
}

fn evidence(fork: Fork) -> Evidence {
    Evidence {
        fork: fork.id.to_string(),
        signer: fork.signer(),
        kind: fork.kind,
        line: fork.line,
        n: fork.n,
        ours: fork.ours,
        theirs: fork.theirs,
        origin: fork.origin,
        seen: fork.seen,
        kept: fork.kept,
    }
}

/// All evidence, oldest first.
///
/// # Errors
/// If the state cannot be read.
pub fn list(session: &Session) -> Result<Vec<Evidence>, Error> {
    Ok(session.state()?.forks()?.into_iter().map(evidence).collect())
}

/// Writes all evidence into `folder`: of each pair both envelopes, and the documents of who signed them,
/// as far as they are here; one envelope a file. Gives the files.
///
/// # Errors
/// If the disk refuses.
pub fn export(session: &Session, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    disk::make_folder(folder)?;
    let mut files = Vec::new();
    let mut write = |name: String, bytes: &[u8]| -> Result<(), Error> {
        let path = folder.join(name);
        disk::write_whole(&path, bytes)?;
        files.push(path);
        Ok(())
    };
    let forks = session.state()?.forks()?;
    for fork in &forks {
        let name = |which: &str| format!("fork-{}-{which}.statement", fork.id);
        write(name("ours"), &fork.ours_envelope)?;
        write(name("theirs"), &fork.theirs_envelope)?;
        let chain = fork.signer().map(|id| identity::read_chain(session.store()?, id)).transpose()?.flatten();
        for document in chain.iter().flat_map(|chain| chain.documents()) {
            write(name(&format!("identity-{}", document.n)), &document.envelope().encode())?;
        }
    }
    let all: Vec<Evidence> = forks.into_iter().map(evidence).collect();
    let text = serde_json::to_vec_pretty(&all).expect("names, numbers and texts fit into JSON");
    write("evidence.json".into(), &text)?;
    Ok(files)
}

/// What is chosen between.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// The evidence.
    #[serde(flatten)]
    pub evidence: Evidence,
    /// The one to keep.
    pub keep: StatementId,
    /// The one to give up.
    pub give_up: StatementId,
}

/// The choice that `fork` and `keep` (`ours`, `theirs`, or the beginning of an id) mean. Changes nothing.
///
/// # Errors
/// `NotFound` if there is no such evidence; `Usage` if `keep` is neither of the two.
pub fn choice(session: &Session, fork: &str, keep: &str) -> Result<Choice, Error> {
    let found = session.state()?.forks()?.into_iter().find(|known| known.id.to_string() == fork);
    let found = found
        .ok_or_else(|| Error::not_found(format!("a fork {fork}"), "`pkg trust log` shows what there is"))?;
    let (ours, theirs) = (found.ours, found.theirs);
    let prefix: Option<Prefix> = keep.parse().ok();
    let is = |id: StatementId| prefix.as_ref().is_some_and(|prefix| prefix.matches(&id.object()));
    let (keep, give_up) = match keep {
        "ours" => (ours, theirs),
        "theirs" => (theirs, ours),
        _ if is(ours) && !is(theirs) => (ours, theirs),
        _ if is(theirs) && !is(ours) => (theirs, ours),
        _ => {
            let hint = format!("say ours, theirs, or the beginning of {ours} or {theirs}");
            return Err(Error::usage(format!("{keep} is neither of the two"), hint));
        }
    };
    Ok(Choice { evidence: evidence(found), keep, give_up })
}

/// Takes a person's word for which of two statements holds.
///
/// # Errors
/// `NotFound` if the evidence is gone, or of a kind that only a newer version can settle.
pub fn resolve(session: &Session, choice: &Choice) -> Result<(), Error> {
    let state = session.state()?;
    let fork = state.forks()?.into_iter().find(|known| known.id.to_string() == choice.evidence.fork);
    let settled = match fork.as_ref().and_then(|fork| Some((fork.id, fork.of_line()?))) {
        Some((id, line)) => state.settle(&line, id, choice.keep)?,
        None => false,
    };
    match settled {
        true => Ok(()),
        false => Err(Error::not_found(
            format!("a fork {} that can be settled here", choice.evidence.fork),
            "`pkg trust log` shows what there is",
        )),
    }
}
