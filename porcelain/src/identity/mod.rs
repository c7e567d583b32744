//! Identities of the user: made here, changed here, known to the store.
//!
//! ```text
//! registry    identities.toml: which identities are the user's, which keys are on this machine
//! keys        opening keys, and signing with those that stand in a role
//! subject     what a statement is about, in words, and whose signatures it needs
//! pending     statements that wait for more signatures, and taking those that have enough
//! found       a first document          change     the next one: rotate, revoke, recover, reset
//! granting    documents of grants       checkpoint up to where a key or grant still counts
//! put         a new index that names the newest documents          carry  all of an identity in one file
//! look        for people
//! ```
//!
//! Promises: a document is in the ledger before anybody can see it, and no second one is signed under
//! its number (REL-043); no secret key is ever deleted; a key signs only what was shown in words.
//! Leaves to others: what other machines believe (`plumbing::trust`).

mod carry;
mod change;
mod checkpoint;
mod found;
mod granting;
mod keys;
mod look;
mod pending;
mod put;
mod registry;
mod subject;
mod words;

pub use carry::{check_file, export};
pub use change::{Changed, How, Options, recover, reset, revoke, rotate};
pub use checkpoint::GoodUntil;
pub use found::{Founding, Thresholds, found, import, new};
pub use granting::{GrantLine, Terms, grant, grants_of, renew_grants, ungrant};
pub use keys::{Signers, public_key, sign, signers};
pub use look::{Checked, KeyShown, LogLine, RoleShown, Shown, find, log, show, verify};
pub use pending::{Need, Read, Signing, Waiting, abandon, apply, read_file, sign_file};
pub use put::Put;
pub use registry::{HeldKey, Own, check_free, list};

use crate::error::Error;
use crate::ledger::Ledger;
use crate::session::Session;
use objects::id::{IdentityId, StatementId};
use objects::identity::{Chain, Identity};
use objects::limits::IDENTITY_WALK_MAX;
use objects::refs::{PreviousValue, RefEdit, RefName};
use objects::repository::Repository;
use objects::signed::{Envelope, Signed};
use plumbing::sync::serve::previous;

/// The key of this machine's endpoint, which signs nothing.
pub const ENDPOINT_KEY: &str = "endpoint";

/// The names of the roles, as messages and flags have them.
pub const ROLES: [&str; 7] = ["root", "recovery", "admin", "release", "note", "index", "beacon"];

/// The identity to act as: the one named, the one the settings name, or the only one.
///
/// # Errors
/// `NotFound` if there is none, `Usage` if there are several and none is named.
pub fn choose(session: &Session, name: Option<&str>) -> Result<Own, Error> {
    let all = list(session)?;
    let wanted = name.or(session.config().identity.as_deref());
    match (wanted, all.as_slice()) {
        (Some(wanted), _) => {
            let found = all.iter().find(|own| own.name == wanted).cloned();
            found.ok_or_else(|| {
                Error::not_found(
                    format!("an identity called {wanted}"),
                    "`pkg id list` shows yours, `pkg id new` makes one",
                )
            })
        }
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Error::not_found("an identity of yours", "make one: `pkg id new NAME`")),
        (None, _) => Err(Error::usage(
            "you have several identities",
            "say which with --as NAME, or `identity = \"NAME\"` in config.toml",
        )),
    }
}

/// The documents of an identity: those in the user's store, and what was signed here after them.
///
/// # Errors
/// If they are not there, or do not stand.
pub fn chain(session: &Session, id: IdentityId) -> Result<Chain, Error> {
    try_chain(session, id)?
        .ok_or_else(|| Error::not_found(format!("the identity {}", id.nick()), "`pkg id list` shows yours"))
}

/// As [`chain`], or None if this machine knows nothing of the identity.
///
/// # Errors
/// If a document is lost or does not stand.
pub fn try_chain(session: &Session, id: IdentityId) -> Result<Option<Chain>, Error> {
    let kept = read_chain(session.store()?, id)?;
    let Some(signed) = Ledger::open(session.state()?)?.head(&subject::identity_line(id))? else {
        return Ok(kept);
    };
    if kept.as_ref().is_some_and(|chain| chain.head().n >= signed.seq) {
        return Ok(kept);
    }
    // A command was cut off, or a source showed an older state. What waits for signatures stands not yet.
    let Ok(newer) = walk(session, id, signed.entry) else { return Ok(kept) };
    keep_chain(session.store()?, &newer, session)?;
    Ok(Some(newer))
}

/// The chain that ends with `head`, from the ledger and the store.
fn walk(session: &Session, id: IdentityId, head: StatementId) -> Result<Chain, Error> {
    let ledger = Ledger::open(session.state()?)?;
    let documents = walk_back(id, head, |at| match ledger.entry(at)? {
        Some(envelope) => Ok(envelope.typed()?),
        None => Ok(session.store()?.statements().find::<Identity>(at)?),
    })?;
    Ok(Chain::walk(id, &documents)?)
}

/// The documents of an identity that `repository` keeps, or None.
///
/// # Errors
/// If a document is lost or does not stand.
pub fn read_chain(repository: &Repository, id: IdentityId) -> Result<Option<Chain>, Error> {
    let Some(head) = repository.refs().try_find(&ref_name(id))? else { return Ok(None) };
    let documents = walk_back(id, head, |at| Ok(repository.statements().find::<Identity>(at)?))?;
    Ok(Some(Chain::walk(id, &documents)?))
}

fn walk_back(
    id: IdentityId,
    head: StatementId,
    find: impl Fn(StatementId) -> Result<Signed<Identity>, Error>,
) -> Result<Vec<Signed<Identity>>, Error> {
    let mut documents = Vec::new();
    let mut next = Some(head);
    while let Some(at) = next {
        let signed = find(at)?;
        next = previous(signed.envelope());
        documents.push(signed);
        if documents.len() > IDENTITY_WALK_MAX {
            return Err(objects::identity::Error::TooLong { id }.into());
        }
    }
    documents.reverse();
    Ok(documents)
}

/// Keeps an identity's documents in `repository`, and points its ref at the newest. A ref that is further
/// along the same chain stays.
///
/// # Errors
/// If the disk refuses.
pub fn keep_chain(repository: &Repository, chain: &Chain, session: &Session) -> Result<StatementId, Error> {
    repository.statements().insert_all(chain.documents().iter().map(|document| document.envelope()))?;
    let new = chain.head().id();
    let name = ref_name(chain.id());
    if repository.refs().try_find(&name)?.is_some_and(|present| leads_to(repository, present, new)) {
        return Ok(new);
    }
    let edit = RefEdit {
        name,
        previous: PreviousValue::Any,
        new: Some(new),
        message: format!("identity: document {}", chain.head().n),
    };
    repository.refs().edit(&[edit], session.now())?;
    Ok(new)
}

/// True if `target` is before `from` in its chain.
fn leads_to(repository: &Repository, from: StatementId, target: StatementId) -> bool {
    let before = |id| repository.statements().try_find(id).ok().flatten().as_ref().and_then(previous);
    let mut next = before(from);
    for _ in 0..IDENTITY_WALK_MAX {
        match next {
            Some(id) if id == target => return true,
            Some(id) => next = before(id),
            None => return false,
        }
    }
    false
}

/// The ref of an identity's newest document.
pub fn ref_name(id: IdentityId) -> RefName {
    format!("refs/identities/{}", id.to_hex()).parse().expect("an id in hexadecimal is a part of a ref name")
}

/// The ref of an issuer's newest grants.
pub fn grants_ref(issuer: IdentityId) -> RefName {
    format!("refs/grants/{}", issuer.to_hex()).parse().expect("an id in hexadecimal is a part of a ref name")
}

/// Holds other commands of the user off while this one signs. The state is there before the lock, or else
/// a killed command would look like a lost state.
fn alone(session: &Session) -> Result<std::fs::File, Error> {
    session.state()?;
    session.lock_signing()
}

/// A statement in the ledger or the user's store.
fn own_statement(session: &Session, id: StatementId) -> Result<Option<Envelope>, Error> {
    match Ledger::open(session.state()?)?.entry(id)? {
        Some(envelope) => Ok(Some(envelope)),
        None => Ok(session.store()?.statements().try_find(id)?),
    }
}
