//! Blobs: sums, kinds, fans.

use objects::blob::{self, Blob};
use objects::id::{BlobId, ChunkId, ObjectId};
use objects::limits::ROWS_MAX;
use objects::object::{Find, Kind};
use objects::store::pack::gather;
use objects::store::pack::table::{Base, BaseOf};
use objects::testing::literally;
use objects::testing::{Random, TempRepository};
use objects::tree::{Entry, Mode};
use objects::walk;

const HUGE: [u64; 3] = [1 << 63, u64::MAX, u64::MAX - 1];

fn id(n: u64) -> ObjectId {
    ObjectId::of(&n.to_le_bytes())
}

fn refused(bytes: &[u8], what: &str) {
    assert_eq!(Blob::decode(bytes).unwrap_err().code(), "E-FORMAT", "{what}");
}

/// A blob and its fan come back as they were made; long ones are split.
#[test]
fn blobs_come_back() {
    for count in [2u64, 3, 4_096, 4_097, 20_000] {
        let pieces: Vec<_> = (0..count).map(|n| (ChunkId::new(id(n)), 1 + n % 9)).collect();
        let repository = TempRepository::new();
        let objects = blob::build(&pieces);
        assert_eq!(objects.len() > 1, count > 4_096, "{count} pieces");
        repository.add(&objects.iter().map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>());
        let (root, bytes) = objects.last().unwrap();
        assert_eq!(walk::blob_pieces(repository.store(), *root).unwrap(), pieces);
        assert_eq!(Blob::decode(bytes).unwrap().size(), pieces.iter().map(|piece| piece.1).sum::<u64>());
    }
}

/// SEC-025: a size that is not the sum of the lengths is refused, however large the numbers are.
#[test]
fn sums_that_lie_are_refused() {
    let two = [(id(1), 5), (id(2), 6)];
    assert!(Blob::decode(&literally::blob(11, &two)).is_ok());
    for size in [0, 10, 12, 1 << 32, 1 << 63, u64::MAX] {
        refused(&literally::blob(size, &two), "blob");
        refused(&literally::blob_fan(size, &[(id(1), 1, 5), (id(2), 1, 6)]), "blob fan");
    }
    for huge in HUGE {
        let wrapping = [(id(1), huge), (id(2), huge), (id(3), 24)];
        let wrapped = huge.wrapping_mul(2).wrapping_add(24);
        refused(&literally::blob(wrapped, &wrapping), "a sum beyond 2^64");
        refused(&literally::blob_fan(wrapped, &wrapping.map(|(id, len)| (id, 1, len))), "a sum beyond 2^64");
    }
    refused(
        &literally::blob(11, &[(id(1), 11), (id(2), 0)]),
        "an empty piece: a second encoding of one content",
    );
}

/// SEC-016: more rows than an object may have are refused.
#[test]
fn too_many_rows_are_refused() {
    let pieces = vec![(id(1), 1); ROWS_MAX + 1];
    let error = Blob::decode(&literally::blob(pieces.len() as u64, &pieces)).unwrap_err();
    assert_eq!(error.code(), "E-LIMIT", "{error}");
}

/// A file entry that names `root` as its blob.
fn entry(root: ObjectId, size: u64) -> Entry {
    Entry { name: objects::name::EntryName::new("f").unwrap(), mode: Mode::FileBlob, size, id: root }
}

fn code(repository: &TempRepository, root: ObjectId, size: u64) -> &'static str {
    walk::pieces(repository.store(), &entry(root, size)).unwrap_err().code()
}

/// SEC-025, SEC-027: a fan whose runs are other blobs than it says, or fans themselves.
#[test]
fn fans_that_lie_are_refused() {
    let repository = TempRepository::new();
    let run = literally::blob(11, &[(id(1), 5), (id(2), 6)]);
    let run_id = ObjectId::of(&run);
    let nested = literally::blob_fan(11, &[(run_id, 2, 11)]);
    let faults = [
        ("counts more", literally::blob_fan(11, &[(run_id, 3, 11)])),
        ("counts fewer", literally::blob_fan(11, &[(run_id, 1, 11)])),
        ("has other bytes", literally::blob_fan(12, &[(run_id, 2, 12)])),
        ("names a fan", literally::blob_fan(11, &[(ObjectId::of(&nested), 1, 11)])),
        ("names a tree", literally::blob_fan(11, &[(ObjectId::of(&literally::tree(vec![])), 1, 11)])),
    ];
    repository.add(&[run.clone(), nested, literally::tree(vec![])]);
    for (what, fan) in faults {
        let size = Blob::decode(&fan).unwrap().size();
        let root = repository.add(&[fan])[0];
        assert_eq!(code(&repository, root, size), "E-FORMAT", "a fan that {what}");
    }
    assert_eq!(code(&repository, run_id, 12), "E-FORMAT", "an entry of another size");
    assert_eq!(code(&repository, id(404), 12), "E-NOTFOUND");
}

/// SEC-017, SEC-025: two objects of a few MB that say they are 4,294,967,296 chunks are refused
/// before memory is taken for those.
#[test]
fn a_bomb_of_runs_is_refused() {
    let repository = TempRepository::new();
    let run = literally::blob(ROWS_MAX as u64, &vec![(id(1), 1); ROWS_MAX]);
    let run_id = ObjectId::of(&run);
    let rows = vec![(run_id, ROWS_MAX as u64, ROWS_MAX as u64); ROWS_MAX];
    let size = (ROWS_MAX * ROWS_MAX) as u64;
    let fan = repository.add(&[literally::blob_fan(size, &rows), run])[0];
    assert_eq!(code(&repository, fan, size), "E-LIMIT");
    let part = Base { of: BaseOf::Content, id: fan, start: 0, len: 1 };
    let error = gather(&[part], repository.store()).unwrap_err();
    assert_eq!(error.code(), "E-LIMIT", "{error}");
}

/// SEC-027: an object of another kind is no blob, and a blob is nothing else.
#[test]
fn a_blob_is_no_other_kind() {
    let repository = TempRepository::new();
    let tree = literally::tree(vec![]);
    let text = Random::new(3).text(500);
    let blob = literally::blob(11, &[(id(1), 5), (id(2), 6)]);
    for other in [&tree, &text] {
        refused(other, "another kind");
        let other = repository.add(&[other])[0];
        let error = walk::blob(repository.store(), BlobId::new(other)).unwrap_err();
        assert_eq!(error.code(), "E-FORMAT", "{error}");
    }
    assert!(objects::tree::Tree::decode(&blob).is_err());
    let blob = repository.add(&[blob])[0];
    assert!(walk::tree(repository.store(), objects::id::TreeId::new(blob)).is_err());
    assert!(repository.store().find(Kind::Chunk, &blob).is_ok(), "its bytes may still be a file's content");
}
