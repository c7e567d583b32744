//! Names that look like one that is known here: not used for the first time without a person's word (SEC-071).
//!
//! Known is what this machine pinned, and what `pkg.lock` holds. Siblings of one owner may be called alike:
//! who could harm by the one could by the other.
//! Leaves to others: which names look alike (`plumbing::trust::are_similar`), asking the person.

use crate::env::Lockfile;
use crate::error::Error;
use crate::install::Found;
use crate::session::Session;
use objects::id::IdentityId;
use objects::name::PackageName;
use plumbing::trust::are_similar;
use serde::Serialize;
use std::collections::BTreeSet;

/// A name that is new here, and looks like one of somebody else that is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lookalike {
    /// The new name.
    pub name: PackageName,
    /// Whose it is.
    pub owner: IdentityId,
    /// The known one.
    pub known: PackageName,
    /// Whose that is.
    pub known_owner: IdentityId,
}

impl Lookalike {
    /// What there is to be careful about, in words.
    pub fn said(&self) -> String {
        let Lookalike { name, owner, known, known_owner } = self;
        let (owner, known_owner) = (owner.nick(), known_owner.nick());
        format!("{name} of {owner} is new here, and looks like {known} of {known_owner}, which is known")
    }

    /// The refusal without a person's word.
    pub(crate) fn refusal(&self) -> Error {
        let Lookalike { name, known, .. } = self;
        Error::Refused {
            code: "E-POLICY",
            what: self.said(),
            hint: format!(
                "if you mean {known}, ask for that; if {name} is right, repeat with --accept-similar"
            ),
        }
    }
}

/// Those among `found` that are used for the first time, under a name that looks like a known one of
/// another owner.
///
/// # Errors
/// If the state cannot be read.
pub(crate) fn among(
    session: &Session,
    lock: Option<&Lockfile>,
    found: &[Found],
) -> Result<Vec<Lookalike>, Error> {
    let pins = session.state()?.packages()?.into_iter().map(|pin| (pin.name, pin.owner));
    let locked = lock.into_iter().flat_map(|lock| &lock.packages);
    let locked = locked.map(|package| (package.name.clone(), package.owner));
    let known: BTreeSet<(PackageName, IdentityId)> = pins.chain(locked).collect();
    let names: BTreeSet<&PackageName> = known.iter().map(|(name, _)| name).collect();
    let new = found.iter().map(|(_, record, _)| record).filter(|record| !names.contains(&record.name));
    let lookalike = |name: &PackageName, owner| {
        let other = known.iter().find(|(known, theirs)| *theirs != owner && are_similar(known, name));
        other.map(|(known, theirs)| Lookalike {
            name: name.clone(),
            owner,
            known: known.clone(),
            known_owner: *theirs,
        })
    };
    Ok(new.filter_map(|record| lookalike(&record.name, record.owner)).collect())
}
