//! An identity in one file: all its documents and grants, for a machine without network.
//!
//! ```text
//! "pkgstatements1\n"  (length: u32, little-endian; an envelope)*     documents, oldest first; grants, oldest first
//! ```
//!
//! Promises: what is taken in was walked from the first document; a file that contradicts what is known
//! here is refused as a fork.

use super::keys::Ring;
use super::look::{Checked, check};
use super::pending::{Signing, register};
use super::{alone, chain, granting, keep_chain, try_chain};
use crate::error::Error;
use crate::session::Session;
use objects::disk;
use objects::id::IdentityId;
use objects::identity::{Chain, Identity};
use objects::limits::IDENTITY_WALK_MAX;
use objects::signed::{Envelope, Error as SignedError, Kind};
use std::fs::File;
use std::io::Read;
use std::path::Path;

const MAGIC: &[u8] = b"pkgstatements1\n";
/// Largest such file, in bytes: a long chain of documents with a few keys each.
const BYTES_MAX: usize = 16 << 20;

/// True if a file holds all of an identity rather than one statement.
pub(super) fn is_export(path: &Path) -> Result<bool, Error> {
    let mut begin = Vec::new();
    match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::not_found(path.display(), "name a file"));
        }
        Err(error) => return Err(disk::Error::new("open", path, error).into()),
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut begin),
    }
    .map_err(|error| disk::Error::new("read", path, error))?;
    Ok(begin == MAGIC)
}

/// Writes the documents of an identity and its grants into one file.
///
/// # Errors
/// If the disk refuses.
pub fn export(session: &Session, id: IdentityId, path: &Path) -> Result<Checked, Error> {
    let chain = chain(session, id)?;
    let grants = granting::documents(session, &chain)?;
    let checked = check(&chain, &grants)?;
    let mut bytes = MAGIC.to_vec();
    for envelope in chain.documents().iter().map(|document| document.envelope()).chain(&grants) {
        let one = envelope.encode();
        let len = u32::try_from(one.len()).expect("a statement is far smaller than 4 GiB");
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&one);
    }
    disk::write_whole(path, &bytes)?;
    Ok(checked)
}

/// Checks a file that [`export`] wrote, by itself.
///
/// # Errors
/// What does not stand, with its code.
pub fn check_file(path: &Path) -> Result<Checked, Error> {
    let (chain, grants) = read(path)?;
    check(&chain, &grants)
}

/// Takes a file that [`export`] wrote into the user's store.
pub(super) fn import(session: &Session, path: &Path) -> Result<Signing, Error> {
    let _lock = alone(session)?;
    let (theirs, grants) = read(path)?;
    let checked = check(&theirs, &grants)?;
    let known = try_chain(session, theirs.id())?;
    if let Some(known) = &known {
        agree(known, &theirs)?;
    }
    if known.is_none_or(|known| known.head().n < theirs.head().n) {
        keep_chain(session.store()?, &theirs, session)?;
        register(session, &mut Ring::new(session)?, &theirs, theirs.head().name.clone())?;
    }
    session.store()?.statements().insert_all(&grants)?;
    let newest = granting::newest(session, &chain(session, theirs.id())?)?;
    if let Some(last) =
        grants.last().filter(|_| newest.is_none_or(|newest| newest.n < grants.len() as u64 - 1))
    {
        granting::keep(session, session.store()?, theirs.id(), last)?;
    }
    Ok(Signing {
        file: path.to_owned(),
        statement: theirs.head().id(),
        identity: theirs.id(),
        says: vec![format!(
            "{} documents of {}, {} of grants",
            checked.documents,
            theirs.id().nick(),
            checked.grants
        )],
        added: Vec::new(),
        needs: Vec::new(),
        then: None,
        put: Vec::new(),
    })
}

/// One of the two has to be the beginning of the other.
fn agree(known: &Chain, theirs: &Chain) -> Result<(), Error> {
    let n = known.head().n.min(theirs.head().n);
    if known.at(n).map(|document| document.id()) == theirs.at(n).map(|document| document.id()) {
        return Ok(());
    }
    Err(Error::Refused {
        code: "E-FORK",
        what: format!("document {n} of {} is another one in the file", known.id().nick()),
        hint: "nothing was taken: ask whoever made the file, and compare".into(),
    })
}

fn read(path: &Path) -> Result<(Chain, Vec<Envelope>), Error> {
    let bytes = disk::try_read(path, BYTES_MAX)?;
    let bytes = bytes.ok_or_else(|| Error::not_found(path.display(), "name a file"))?;
    let malformed = |why: &str| Error::Malformed { path: path.to_owned(), why: why.to_owned() };
    let all = split(&bytes).map_err(malformed)?;
    let (documents, grants): (Vec<_>, Vec<_>) = all
        .into_iter()
        .map(|bytes| Envelope::decode(bytes).map_err(SignedError::from))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .partition(|envelope| envelope.kind() == Kind::Identity);
    let documents = documents.into_iter().map(Envelope::typed::<Identity>).collect::<Result<Vec<_>, _>>()?;
    let first = documents.first().ok_or_else(|| malformed("it holds no document of an identity"))?;
    Ok((Chain::walk(IdentityId::new(first.id().object()), &documents)?, grants))
}

fn split(bytes: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("it is no file of `pkg id export`")?;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let (len, after) = rest.split_first_chunk().ok_or("it is cut")?;
        let len = u32::from_le_bytes(*len) as usize;
        found.push(after.get(..len).ok_or("it is cut")?);
        rest = &after[len..];
        if found.len() > 2 * IDENTITY_WALK_MAX {
            return Err("it holds too many statements");
        }
    }
    Ok(found)
}
