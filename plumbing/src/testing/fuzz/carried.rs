//! What somebody else made and we read as a whole: bundles, indexes, summaries.

use super::wire::{Published, brought};
use crate::index::Index;
use crate::sync::Source;
use crate::sync::mirror::Mirror;
use crate::transport::bundle::Bundle;
use crate::transport::{Bare, Key};
use crate::trust::{Freshness, InOrder, Judge, Policy, State};
use objects::claim;
use objects::codec;
use objects::id::{IdentityId, ObjectId, StatementId, TreeId};
use objects::signed::Signed;
use objects::summary::Summary;
use objects::testing::{Author, Loose, folder_in_memory};
use objects::time::Timestamp;

/// Length of what stands behind a bundle's table.
const END_BYTES: usize = 44;
/// Most keys of a bundle that are read.
const KEYS_MAX: usize = 64;

/// A bundle, as it is and with the hash of its table made right: its files are read in every way, and
/// it is asked for its repository.
pub fn bundle(data: &[u8]) -> bool {
    let mended = mended(data);
    let whole = mended.as_ref().is_some_and(|mended| is_bundle(mended));
    whole | (mended.is_none_or(|mended| mended != data) && is_bundle(data))
}

fn mended(data: &[u8]) -> Option<Vec<u8>> {
    let end = data.len().checked_sub(END_BYTES)?;
    let length = u32::from_le_bytes(*data[end + 32..].first_chunk()?) as usize;
    let sum = ObjectId::of(&data[end.checked_sub(length)?..end]);
    let mut mended = data.to_vec();
    mended[end..end + 32].copy_from_slice(sum.as_bytes());
    Some(mended)
}

fn is_bundle(data: &[u8]) -> bool {
    let folder = folder_in_memory();
    let path = folder.path().join("a.bundle");
    std::fs::write(&path, data).expect("the folder is ours");
    let Ok(bundle) = Bundle::open(&path) else { return false };
    let keys: Vec<Key> = bundle.keys().map(|key| Key::new(key).expect("it was checked")).collect();
    for key in keys.iter().take(KEYS_MAX) {
        let size = bundle.try_size(key).expect("the table is in memory").expect("its table has it");
        let whole = bundle.try_read(key, size).expect("it lies inside").expect("its table has it");
        assert_eq!(whole.len() as u64, size);
        assert!(bundle.read_range(key, 0..size + 1).is_err(), "a file is read past its end");
    }
    let mirror = Mirror::new(Box::new(bundle));
    if let Ok(summary) = mirror.advertise() {
        let _ = mirror.statements(&[(summary.index.id(), 3)]);
        if let Ok(head) = codec::peek::<claim::Index>(summary.index.envelope().payload()) {
            brought(&mirror, head.root);
        }
    }
    true
}

/// An index, its objects as [`Loose::read`] takes them: every name in it can be asked for.
pub fn index_tree(data: &[u8]) -> bool {
    let (objects, Some(root)) = Loose::read(data) else { return false };
    let Ok(index) = Index::open(&objects, TreeId::new(root)) else { return false };
    let names = index.names();
    let found = names.iter().filter(|name| match index.record(name) {
        Ok(record) => record.is_some_and(|record| record.name == **name),
        Err(error) => error.code().is_empty(),
    });
    let found = found.count();
    let _ = index.identity(IdentityId::new(root));
    let _ = index.identity(Author::new(1).id());
    found > 0
}

thread_local! {
    /// What an honest author says: the index and its beacon.
    static HONEST: (StatementId, StatementId) = {
        let summary = Published::new().open().summary();
        let summary = summary.expect("it was just written").expect("it was announced");
        (summary.index.id(), summary.beacon.id())
    };
}

/// A summary before a judge who knows nobody: whoever speaks, nothing passes for the word of an
/// author who did not sign it.
pub fn judge(data: &[u8]) -> bool {
    let Ok(summary) = Summary::decode(data) else { return false };
    let state = State::in_memory().expect("SQLite gives memory");
    let policy = Policy { freshness: Freshness::Off, ..Policy::default() };
    let now = Timestamp::new(Author::NOW).expect("it lies before the year 9999");
    let judge = Judge::new(&state, &policy, now).expect("the state is empty");
    let Ok(accepted) = judge.accept_summary(&summary, None, &InOrder(&[]), "a source") else { return false };
    assert_eq!(accepted.owner.id(), summary.repository.owner);
    assert_eq!(accepted.beacon.index, accepted.index.id());
    if summary.repository == Author::new(1).repository() {
        assert_eq!((summary.index.id(), summary.beacon.id()), HONEST.with(|honest| *honest));
    }
    assert!(
        summary.owner.first().map(Signed::id).is_some_and(|id| id.object() == accepted.owner.id().object())
    );
    true
}
