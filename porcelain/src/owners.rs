//! Names that lead to somebody else than before: never followed without a person's word (THREATS 1.6, 1.7).
//!
//! Known is what this machine pinned, and what `pkg.lock` says: a colleague's lockfile speaks on a machine
//! that never saw the package. A signer counts as changed if the very version that is locked was signed
//! by another one; who signs the next version is for the owner and their grants to say.

use crate::env::Lockfile;
use crate::error::Error;
use crate::fetch::Known;
use crate::install::Found;
use crate::session::Session;
use objects::id::IdentityId;
use objects::name::PackageName;
use plumbing::trust::{Error as TrustError, Judge, PackagePin};
use serde::Serialize;

/// An owner or signer that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The package.
    pub name: PackageName,
    /// `owner` or `signer`.
    pub role: &'static str,
    /// Who it was.
    pub from: IdentityId,
    /// Who it is.
    pub to: IdentityId,
}

impl Changed {
    /// What it would say, in words.
    pub fn said(&self) -> String {
        let Changed { name, role, from, to } = self;
        format!("the {role} of {name} is id:{} now; it was id:{}", to.to_hex(), from.to_hex())
    }

    /// The refusal without a person's word.
    pub(crate) fn refusal(&self, origin: &str) -> Error {
        Error::Refused {
            code: "E-IDENTITY-CHANGED",
            what: format!("{}, says {origin}", self.said()),
            hint: "find out why from the people themselves; if it is right, repeat with --accept-identity"
                .into(),
        }
    }
}

/// The owners and signers among `found` that are not the ones known here.
///
/// # Errors
/// If the state cannot be read.
pub(crate) fn changed(
    session: &Session,
    known: &Known,
    lock: Option<&Lockfile>,
    found: &[Found],
    origin: &str,
) -> Result<Vec<Changed>, Error> {
    let judge = Judge::new(session.state()?, session.policy(), session.now())?;
    let mut changed = Vec::new();
    for (chosen, record, row) in found {
        let name = &chosen.name;
        let mut tell = |role, from, to| {
            changed.push(Changed { name: name.clone(), role, from, to });
        };
        match judge.accept_name(&known.accepted, record, origin) {
            Ok(_) => {}
            Err(TrustError::OwnerChanged { pinned, offered, .. }) => {
                tell("owner", pinned, offered);
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        for locked in lock.into_iter().flat_map(|lock| lock.of(name)) {
            if locked.owner != record.owner {
                tell("owner", locked.owner, record.owner);
            } else if locked.version == chosen.version && locked.signer != row.signer {
                tell("signer", locked.signer, row.signer);
            }
        }
    }
    Ok(changed)
}

/// Pins the new owners, on a person's word.
///
/// # Errors
/// If the state cannot be written.
pub(crate) fn accept(session: &Session, known: &Known, changed: &[Changed]) -> Result<(), Error> {
    for Changed { name, to, .. } in changed.iter().filter(|changed| changed.role == "owner") {
        let (name, repository, owner) = (name.clone(), known.repository().clone(), *to);
        let pin = PackagePin { name, repository, owner, since: session.now() };
        session.state()?.pin_package(&pin)?;
    }
    Ok(())
}
