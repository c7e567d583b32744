//! Identities for people: who they are, what changed, whether they stand.

use super::keys::{Ring, signed_by};
use super::pending::{Waiting, waiting_of};
use super::registry::list;
use super::subject::Subject;
use super::{GrantLine, chain, granting, grants_of, read_chain, try_chain, words};
use crate::error::Error;
use crate::session::Session;
use objects::grants::Grants;
use objects::id::{IdentityId, Prefix, StatementId};
use objects::identity::{Chain, Identity, Reset, Withdrawal};
use objects::key::PublicKey;
use objects::repository::Repository;
use objects::signed::{Envelope, Signed};
use objects::time::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// A key in a role.
#[derive(Clone, Debug, Serialize)]
pub struct KeyShown {
    /// The key.
    pub key: PublicKey,
    /// Its file, if it is on this machine.
    pub file: Option<String>,
}

/// Roles with the same keys and threshold.
#[derive(Clone, Debug, Serialize)]
pub struct RoleShown {
    /// Their names.
    pub roles: Vec<&'static str>,
    /// How many keys have to sign.
    pub threshold: usize,
    /// The keys.
    pub keys: Vec<KeyShown>,
}

/// An identity.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// What the user calls it, if it is theirs.
    pub name: Option<String>,
    /// What it calls itself: a hint, which decides nothing.
    pub calls_itself: Option<String>,
    /// The identity.
    pub id: IdentityId,
    /// The number of the newest document known here.
    pub n: u64,
    /// That document.
    pub statement: StatementId,
    /// When it was signed.
    pub created: Timestamp,
    /// Until when it counts as the newest.
    pub expires: Option<Timestamp>,
    /// Who may do what.
    pub roles: Vec<RoleShown>,
    /// Keys that were stolen.
    pub revoked: Vec<Withdrawal>,
    /// Keys that were laid down.
    pub retired: Vec<Withdrawal>,
    /// Roles whose numbering starts anew.
    pub reset: Vec<Reset>,
    /// What it lets others do.
    pub grants: Vec<GrantLine>,
    /// What waits for signatures here.
    pub waiting: Vec<Waiting>,
}

/// One document, as `pkg id log` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    /// Its number.
    pub n: u64,
    /// The document.
    pub statement: StatementId,
    /// When it was signed.
    pub created: Timestamp,
    /// The role of the document before that signed it: root or recovery.
    pub by: &'static str,
    /// The keys that signed it.
    pub keys: Vec<PublicKey>,
    /// What it changes, a line each.
    pub says: Vec<String>,
}

/// What a check of an identity came to.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// The identity.
    pub id: IdentityId,
    /// How many documents follow each other.
    pub documents: u64,
    /// Which of them the recovery role signed.
    pub recovered: Vec<u64>,
    /// How many documents of grants follow each other.
    pub grants: u64,
}

/// The identity that a text means: one of the user's by name, `id:` with all or the first digits, or one
/// in the user's store that calls itself so.
///
/// # Errors
/// `NotFound`, or `Ambiguous` if several fit.
pub fn find(session: &Session, text: &str) -> Result<IdentityId, Error> {
    let own = list(session)?;
    if let Some(own) = own.iter().find(|own| own.name == text) {
        return Ok(own.id);
    }
    let digits = text.strip_prefix("id:").or_else(|| text.strip_prefix("blake3:")).unwrap_or(text);
    if digits.len() == 64
        && let Ok(id) = digits.parse::<IdentityId>()
    {
        return Ok(id);
    }
    let mut known: BTreeMap<IdentityId, Option<String>> = own.iter().map(|own| (own.id, None)).collect();
    let refs = session.store()?.refs().survey()?.refs;
    for id in refs.keys().filter_map(|name| name.as_str().strip_prefix("refs/identities/")?.parse().ok()) {
        let name = try_chain(session, id).ok().flatten().and_then(|chain| chain.head().name.clone());
        known.insert(id, name);
    }
    let prefix = digits.parse::<Prefix>().ok();
    let fits = |id: &IdentityId, name: &Option<String>| {
        name.as_deref() == Some(text) || prefix.as_ref().is_some_and(|prefix| prefix.matches(&id.object()))
    };
    let found: Vec<IdentityId> =
        known.iter().filter(|(id, name)| fits(id, name)).map(|(id, _)| *id).collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(Error::not_found(
            format!("an identity {text}"),
            "`pkg id list` shows yours; others are named by all of `id:…`, as they or a repository tell it",
        )),
        many => Err(Error::Ambiguous {
            what: text.to_owned(),
            candidates: many.iter().map(IdentityId::nick).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// What the user calls the identity of a statement, or it calls itself.
pub(super) fn name_of(session: &Session, subject: &Subject) -> Option<String> {
    let own = list(session).ok()?.into_iter().find(|own| own.id == subject.identity).map(|own| own.name);
    let stated = || subject.own_name().or_else(|| chain(session, subject.identity).ok()?.head().name.clone());
    let plain =
        |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    own.or_else(stated).filter(|name| !name.is_empty() && !name.starts_with('.') && plain(name))
}

/// Shows an identity.
///
/// # Errors
/// `NotFound` if its documents are not here.
pub fn show(session: &Session, id: IdentityId) -> Result<Shown, Error> {
    let chain = chain(session, id)?;
    let head = chain.head();
    let mut ring = Ring::new(session)?;
    let mut roles = Vec::new();
    for (names, role) in words::by_role(head) {
        let held = ring.held(role.keys())?;
        let file = |key: &PublicKey| held.iter().find(|held| held.key == *key).map(|held| held.file.clone());
        let keys = role.keys().iter().map(|key| KeyShown { key: *key, file: file(key) }).collect();
        roles.push(RoleShown { roles: names, threshold: role.threshold(), keys });
    }
    Ok(Shown {
        name: list(session)?.into_iter().find(|own| own.id == id).map(|own| own.name),
        calls_itself: head.name.clone(),
        id,
        n: head.n,
        statement: head.id(),
        created: head.created,
        expires: head.expires,
        roles,
        revoked: head.revoked.clone(),
        retired: head.retired.clone(),
        reset: head.reset.clone(),
        grants: grants_of(session, id)?,
        waiting: waiting_of(session, id)?,
    })
}

/// The documents of an identity, newest first.
///
/// # Errors
/// `NotFound` if they are not here.
pub fn log(session: &Session, id: IdentityId) -> Result<Vec<LogLine>, Error> {
    let chain = chain(session, id)?;
    let mut lines = Vec::new();
    let mut before: Option<&Identity> = None;
    for document in chain.documents() {
        let says = match before {
            None => vec!["founded".to_owned()],
            Some(before) => words::changes(before, document),
        };
        before = Some(document.document());
        lines.push(LogLine {
            n: document.n,
            statement: document.id(),
            created: document.created,
            by: if chain.is_recovered(document.n) { "recovery" } else { "root" },
            keys: signed_by(document.envelope()).into_iter().collect(),
            says,
        });
    }
    lines.reverse();
    Ok(lines)
}

/// Checks the documents of an identity and its grants, in the user's store or in `repository`.
///
/// # Errors
/// What does not stand, with its code.
pub fn verify(session: &Session, id: IdentityId, repository: Option<&Path>) -> Result<Checked, Error> {
    let (chain, grants) = match repository {
        None => {
            let chain = chain(session, id)?;
            let grants = granting::documents(session, &chain)?;
            (chain, grants)
        }
        Some(path) => {
            let repository = Repository::open(path)?;
            let chain = read_chain(&repository, id)?.ok_or_else(|| {
                Error::not_found(
                    format!("{} in {}", id.nick(), path.display()),
                    "`pkg show-ref` lists what it has",
                )
            })?;
            let grants = grants_in(&repository, id)?;
            (chain, grants)
        }
    };
    check(&chain, &grants)
}

fn grants_in(repository: &Repository, id: IdentityId) -> Result<Vec<Envelope>, Error> {
    let name = format!("refs/grants/{}", id.to_hex()).parse()?;
    let mut next = repository.refs().try_find(&name)?;
    let mut found = Vec::new();
    while let Some(id) = next {
        let envelope = repository.statements().try_find(id)?;
        let envelope = envelope.ok_or(objects::statements::Error::Missing(id))?;
        next = plumbing::sync::serve::previous(&envelope);
        found.push(envelope);
    }
    found.reverse();
    Ok(found)
}

/// The documents follow each other, or the chain would not be; the grants have to, too.
pub(super) fn check(chain: &Chain, grants: &[Envelope]) -> Result<Checked, Error> {
    let mut last: Option<(StatementId, Grants)> = None;
    for envelope in grants {
        let signed: Signed<Grants> = envelope.clone().typed()?;
        let verified = chain.verify_by_any(&signed, "admin")?;
        let follows = match &last {
            None => verified.n == 0,
            Some((id, before)) => {
                verified.n == before.n + 1 && verified.prev == Some(*id) && verified.keeps_ended(before)
            }
        };
        if !follows || verified.issuer != chain.id() {
            return Err(Error::Refused {
                code: "E-ROLLBACK",
                what: format!(
                    "the grants {} of {} do not follow those before",
                    verified.n,
                    chain.id().nick()
                ),
                hint: "another source may have the right ones".into(),
            });
        }
        last = Some((verified.id(), verified.document().clone()));
    }
    let numbers = chain.documents().iter().map(|document| document.n);
    Ok(Checked {
        id: chain.id(),
        documents: chain.documents().len() as u64,
        recovered: numbers.filter(|n| chain.is_recovered(*n)).collect(),
        grants: grants.len() as u64,
    })
}
