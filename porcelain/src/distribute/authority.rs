//! Who may act for whom, as far as this machine knows: chains of identities and documents of grants, in
//! the user's store or the repository at hand.
//!
//! Promises: what is kept here was checked against the keys of its issuer, and never goes back.
//! Leaves to others: what an installer believes (`plumbing::trust`). The search below spares an author from
//! signing what everybody would refuse; it lets nobody in.

use crate::error::Error;
use crate::identity::{self, grants_ref};
use crate::session::Session;
use objects::claim::{GrantsRow, IdentityRow};
use objects::grants::{Grants, Permission};
use objects::id::{GrantId, IdentityId, StatementId};
use objects::identity::Chain;
use objects::limits::{GRANT_DEPTH_MAX, GRANT_SEARCH_MAX, IDENTITY_WALK_MAX};
use objects::name::PackageName;
use objects::refs::{PreviousValue, RefEdit};
use objects::repository::Repository;
use objects::signed::{Envelope, Signed, Verified};
use plumbing::index::Index;
use plumbing::trust::{Judge, Statements};
use std::collections::BTreeSet;

/// The documents of an identity, from where they are known best; None if nowhere.
///
/// # Errors
/// If a document is lost or does not stand.
pub fn chain(session: &Session, repository: &Repository, id: IdentityId) -> Result<Option<Chain>, Error> {
    let known = [identity::read_chain(repository, id)?, identity::read_chain(session.store()?, id)?];
    Ok(known.into_iter().flatten().max_by_key(|chain| chain.head().n))
}

/// The newest grants of `issuer`, from where they are known best; None if it grants nothing.
///
/// # Errors
/// If they are lost, or the issuer did not sign them.
pub fn grants(
    session: &Session,
    repository: &Repository,
    issuer: IdentityId,
) -> Result<Option<Verified<Grants>>, Error> {
    let mut newest: Option<Verified<Grants>> = None;
    for place in [repository, session.store()?.as_ref()] {
        let Some(head) = place.refs().try_find(&grants_ref(issuer))? else { continue };
        let signed = place.statements().find::<Grants>(head)?;
        let Some(chain) = chain(session, repository, issuer)? else { continue };
        let grants = by_issuer(&signed, &chain)?;
        if newest.as_ref().is_none_or(|newest| newest.n < grants.n) {
            newest = Some(grants);
        }
    }
    Ok(newest)
}

/// Checks that the admin keys of the identity that `chain` is of signed its grants.
fn by_issuer(signed: &Signed<Grants>, chain: &Chain) -> Result<Verified<Grants>, Error> {
    let grants = chain.verify_by_any(signed, "admin")?;
    if grants.issuer != chain.id() {
        let what = format!("grants {} are of another issuer", signed.id().short(16));
        return Err(Error::Refused { code: "E-SCOPE", what, hint: String::new() });
    }
    Ok(grants)
}

/// By which grants `signer` may act for `owner`: none of them if it is the owner itself.
///
/// # Errors
/// `E-SCOPE` if nothing known here allows it, with what the owner has to run.
pub fn path(
    session: &Session,
    repository: &Repository,
    (owner, signer): (IdentityId, IdentityId),
    name: &PackageName,
    permission: Permission,
) -> Result<Vec<GrantId>, Error> {
    if owner == signer {
        return Ok(Vec::new());
    }
    let mut search = Search { session, repository, signer, name, permission, visited: BTreeSet::new() };
    match search.below(owner, GRANT_DEPTH_MAX)? {
        Found::Path(path) => Ok(path),
        Found::Nothing | Found::Ended => Err(Error::Refused {
            code: "E-SCOPE",
            what: format!(
                "no grant of {} that is known here lets {} {permission} {name}",
                owner.nick(),
                signer.nick()
            ),
            hint: format!(
                "its owner runs `pkg id grant id:{} {name}`; `pkg repo accept` of their repository brings the grant here",
                signer.to_hex()
            ),
        }),
    }
}

/// A search for a path of grants, depth first (THREATS 1.4, steps 11 and 12).
struct Search<'a> {
    session: &'a Session,
    repository: &'a Repository,
    signer: IdentityId,
    name: &'a PackageName,
    permission: Permission,
    visited: BTreeSet<IdentityId>,
}

enum Found {
    Path(Vec<GrantId>),
    Nothing,
    /// A terminating grant fits, and leads nowhere.
    Ended,
}

impl Search<'_> {
    /// Looks at the grants of `issuer`, of which `left` may still follow each other.
    fn below(&mut self, issuer: IdentityId, left: usize) -> Result<Found, Error> {
        if left == 0 || self.visited.len() >= GRANT_SEARCH_MAX || !self.visited.insert(issuer) {
            return Ok(Found::Nothing);
        }
        let Some(grants) = grants(self.session, self.repository, issuer)? else { return Ok(Found::Nothing) };
        let now = self.session.now();
        for grant in &grants.grants {
            if !grant.fits(self.name, self.permission) || !grant.covers(now) {
                continue;
            }
            let id = grant.id(issuer);
            if grant.to == self.signer {
                return Ok(Found::Path(vec![id]));
            }
            match self.below(grant.to, (left - 1).min(grant.depth as usize))? {
                Found::Path(rest) => return Ok(Found::Path([vec![id], rest].concat())),
                Found::Nothing if !grant.terminating => {}
                Found::Nothing | Found::Ended => return Ok(Found::Ended),
            }
        }
        Ok(Found::Nothing)
    }
}

/// Rows of an index: heads of identities, and of grants.
type Rows = (Vec<(IdentityId, IdentityRow)>, Vec<(IdentityId, GrantsRow)>);

/// The rows of everybody in `concerned`, and of those who act by their grants. Their documents are brought
/// into the repository.
///
/// # Errors
/// If documents are lost, or the disk refuses.
pub fn rows(session: &Session, repository: &Repository, concerned: Vec<IdentityId>) -> Result<Rows, Error> {
    let (mut identities, mut issuers) = (Vec::new(), Vec::new());
    let mut queue = concerned;
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if !seen.insert(id) {
            continue;
        }
        // Who receives a grant and never published need not be known.
        let Some(chain) = chain(session, repository, id)? else { continue };
        keep_newer_chain(session, repository, &chain)?;
        identities.push((id, IdentityRow { n: chain.head().n, document: chain.head().id() }));
        let Some(grants) = grants(session, repository, id)? else { continue };
        keep_grants(session, repository, (&grants, &chain), &|id| find(session, repository, id))?;
        issuers.push((id, GrantsRow { n: grants.n, document: grants.id() }));
        queue.extend(grants.grants.iter().map(|grant| grant.to));
        queue.extend(grants.ended.iter().map(|ended| ended.grant.to));
    }
    identities.sort_by_key(|(id, _)| *id);
    issuers.sort_by_key(|(id, _)| *id);
    Ok((identities, issuers))
}

fn find(session: &Session, repository: &Repository, id: StatementId) -> Result<Option<Envelope>, Error> {
    match repository.statements().try_find(id)? {
        Some(envelope) => Ok(Some(envelope)),
        None => Ok(session.store()?.statements().try_find(id)?),
    }
}

/// Keeps a chain, unless as much of it is here.
///
/// # Errors
/// If the disk refuses, or what is here is lost.
pub fn keep_newer_chain(session: &Session, repository: &Repository, chain: &Chain) -> Result<(), Error> {
    let here = identity::read_chain(repository, chain.id())?;
    if here.is_none_or(|here| here.head().n < chain.head().n) {
        identity::keep_chain(repository, chain, session)?;
    }
    Ok(())
}

/// Keeps grants with all before them, unless what is here is as new.
fn keep_grants(
    session: &Session,
    repository: &Repository,
    (newest, issuer): (&Verified<Grants>, &Chain),
    find: &dyn Fn(StatementId) -> Result<Option<Envelope>, Error>,
) -> Result<(), Error> {
    let name = grants_ref(newest.issuer);
    if let Some(head) = repository.refs().try_find(&name)? {
        let here: Grants = repository.statements().find::<Grants>(head)?.envelope().peek()?;
        if here.n >= newest.n {
            return Ok(());
        }
    }
    let (mut line, mut next) = (vec![newest.envelope().clone()], newest.prev);
    while let Some(id) = next {
        let envelope = find(id)?.ok_or(objects::statements::Error::Missing(id))?;
        next = by_issuer(&envelope.clone().typed()?, issuer)?.prev;
        line.push(envelope);
        if line.len() > IDENTITY_WALK_MAX {
            let what =
                format!("the grants of {} are more than {IDENTITY_WALK_MAX} documents", newest.issuer.nick());
            return Err(Error::Refused { code: "E-LIMIT", what, hint: String::new() });
        }
    }
    repository.statements().insert_all(line.iter().rev())?;
    let message = format!("grants: document {}", newest.n);
    let edit = RefEdit { name, previous: PreviousValue::Any, new: Some(newest.id()), message };
    Ok(repository.refs().edit(&[edit], session.now())?)
}

/// Brings what an index says of `concerned` into `repository`: chains, and documents of grants, of them and of
/// those who act by their grants. Everything is checked first.
///
/// # Errors
/// Those of the judge; `E-SIG` or `E-SCOPE` for grants that their issuer did not sign.
pub fn bring(
    session: &Session,
    repository: &Repository,
    judge: &Judge<'_>,
    index: &Index<'_>,
    concerned: &[IdentityId],
    (statements, origin): (&dyn Statements, &str),
) -> Result<(), Error> {
    let mut queue = concerned.to_vec();
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if !seen.insert(id) || seen.len() > concerned.len() + GRANT_SEARCH_MAX {
            continue;
        }
        let row = index.identity(id)?;
        if row.is_none() && !concerned.contains(&id) {
            continue; // it receives a grant, and never published here
        }
        let chain = match judge.identity(id, row.as_ref(), statements, origin) {
            Err(_) if !concerned.contains(&id) => continue, // no path that was judged leads through it
            judged => judged?,
        };
        keep_newer_chain(session, repository, &chain)?;
        let Some(grants) = judge.grants(&chain, index.grants(id)?.as_ref(), statements, origin)? else {
            continue;
        };
        keep_grants(session, repository, (&grants, &chain), &|id| {
            Ok(statements.find(id)?.filter(|envelope| envelope.id() == id))
        })?;
        queue.extend(grants.grants.iter().map(|grant| grant.to));
        queue.extend(grants.ended.iter().map(|ended| ended.grant.to));
    }
    Ok(())
}

/// The identity a person means by `text`: one of theirs by name, or any that is known here by its id, the
/// beginning of one behind `id:`, or what it calls itself, if it grants something.
///
/// # Errors
/// `NotFound` if there is none, `Ambiguous` if there are several.
pub fn owner(session: &Session, repository: &Repository, text: &str) -> Result<IdentityId, Error> {
    // `--json` shows ids by their hash.
    let whole = text.strip_prefix("id:").or(text.strip_prefix("blake3:")).filter(|digits| digits.len() == 64);
    if let Some(id) = whole {
        return id
            .parse()
            .map_err(|_| Error::usage(format!("{text} is no id"), "an id has 64 hexadecimal digits"));
    }
    if let Some(own) = identity::list(session)?.into_iter().find(|own| own.name == text) {
        return Ok(own.id);
    }
    let mut found = BTreeSet::new();
    for place in [repository, session.store()?.as_ref()] {
        for (name, _) in place.refs().list("refs/identities/")? {
            let id = name.as_str().rsplit('/').next().and_then(|id| id.parse::<IdentityId>().ok());
            let Some(id) = id else { continue };
            let is_meant = match text.strip_prefix("id:") {
                Some(digits) => digits.len() >= 8 && id.to_hex().starts_with(digits),
                // What somebody calls themself decides nothing: it is asked of those who grant only.
                None => {
                    calls_itself(session, repository, id, text)? && grants(session, repository, id)?.is_some()
                }
            };
            found.extend(is_meant.then_some(id));
        }
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only),
        (None, _) => Err(Error::not_found(
            format!("an identity {text}"),
            "write its whole id, `id:` and 64 digits; its owner sees it with `pkg id list`",
        )),
        (Some(first), Some(second)) => Err(Error::Ambiguous {
            what: text.to_owned(),
            candidates: format!("id:{}, id:{}", first.to_hex(), second.to_hex()),
        }),
    }
}

fn calls_itself(
    session: &Session,
    repository: &Repository,
    id: IdentityId,
    text: &str,
) -> Result<bool, Error> {
    let chain = chain(session, repository, id)?;
    Ok(chain.is_some_and(|chain| chain.head().name.as_deref() == Some(text)))
}
