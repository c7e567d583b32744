//! The one encoding: what decodes is canonical, what is not is refused.

use objects::blob::Blob;
use objects::claim::{Beacon, IdentityRow, PackageRecord};
use objects::codec;
use objects::id::ObjectId;
use objects::limits::{OBJECT_BYTES_MAX, STATEMENT_BYTES_MAX};
use objects::packlist;
use objects::signed::Envelope;
use objects::store::pack::table::Table;
use objects::summary::Summary;
use objects::testing::literally::{self, Cbor, tree_row};
use objects::testing::{Author, Files, Random, TempRepository};
use objects::tree::Tree;
use proptest::prelude::*;
use std::sync::LazyLock;

fn int(number: u64) -> Cbor {
    Cbor::Int(number)
}

/// The rows of a good beacon, in canonical order: shorter keys first, then by bytes.
fn beacon_rows() -> Vec<(Cbor, Cbor)> {
    let id = || Cbor::Bytes(vec![7; 32]);
    let repository = Cbor::Map(vec![(Cbor::text("name"), Cbor::text("main")), (Cbor::text("owner"), id())]);
    vec![
        (Cbor::text("n"), int(3)),
        (Cbor::text("index"), id()),
        (Cbor::text("created"), int(1000)),
        (Cbor::text("expires"), int(2000)),
        (Cbor::text("repository"), repository),
    ]
}

fn beacon(rows: Vec<(Cbor, Cbor)>) -> Result<Beacon, codec::Error> {
    codec::decode("beacon", &Cbor::Map(rows).encode(), STATEMENT_BYTES_MAX)
}

/// SEC-032: a map whose keys are unsorted or doubled is another spelling of one meaning.
#[test]
fn maps_have_one_order() {
    assert_eq!(beacon(beacon_rows()).unwrap().n, 3);
    for (a, b) in [(0, 1), (1, 4), (2, 3), (0, 4)] {
        let mut rows = beacon_rows();
        rows.swap(a, b);
        assert_eq!(beacon(rows).unwrap_err().code(), "E-FORMAT", "rows {a} and {b} swapped");
    }
    for doubled in 0..5 {
        let mut rows = beacon_rows();
        rows.insert(doubled, rows[doubled].clone());
        assert_eq!(beacon(rows).unwrap_err().code(), "E-FORMAT", "row {doubled} doubled");
    }
    let mut rows = beacon_rows();
    rows.push((Cbor::text("unknown-to-format-1"), int(1)));
    assert_eq!(beacon(rows).unwrap_err().code(), "E-FORMAT", "a key nobody knows");
}

/// SEC-032: integers and lengths that are longer than need be, indefinite lengths, tags, trailing
/// bytes, and everything that is no item at all.
#[test]
fn every_second_encoding_of_a_tree_is_refused() {
    let id = ObjectId::of(b"content");
    let row = |size: Cbor| Cbor::Array(vec![Cbor::text("a"), int(0), size, Cbor::id(id)]);
    let rows = || Cbor::Array(vec![row(int(7))]);
    let tree = |tag: Cbor, rows: Cbor| Cbor::Array(vec![tag, rows]).encode();
    let tag = || Cbor::text("tree/1");
    let good = tree(tag(), rows());
    assert_eq!(Tree::decode(&good).unwrap().encode(), good);

    let long_text = Cbor::Raw([&[0x78, 6], b"tree/1".as_slice()].concat());
    let long_bytes = Cbor::Raw([&[0x59, 0, 32], id.as_bytes().as_slice()].concat());
    let long_row = Cbor::Array(vec![Cbor::text("a"), int(0), int(7), long_bytes]);
    let faults = [
        ("a long integer", tree(tag(), Cbor::Array(vec![row(Cbor::LongInt(7))]))),
        ("a long text length", tree(long_text, rows())),
        ("a long byte length", tree(tag(), Cbor::Array(vec![long_row]))),
        (
            "a long array length",
            tree(tag(), Cbor::Raw([&[0x98, 1], row(int(7)).encode().as_slice()].concat())),
        ),
        ("an endless array", tree(tag(), Cbor::EndlessArray(vec![row(int(7))]))),
        ("an endless array outside", Cbor::EndlessArray(vec![tag(), rows()]).encode()),
        ("a text in chunks", tree(Cbor::ChunkedText(vec!["tree".into(), "/1".into()]), rows())),
        ("a tag", tree(tag(), Cbor::Tagged(42, Box::new(rows())))),
        ("the self-describing tag", Cbor::Tagged(55799, Box::new(Cbor::Raw(good.clone()))).encode()),
        (
            "a float for a size",
            tree(tag(), Cbor::Array(vec![row(Cbor::Raw(vec![0xfb, 0x40, 0x1c, 0, 0, 0, 0, 0, 0]))])),
        ),
        ("a negative size", tree(tag(), Cbor::Array(vec![row(Cbor::Raw(vec![0x26]))]))),
        ("null for a size", tree(tag(), Cbor::Array(vec![row(Cbor::Raw(vec![0xf6]))]))),
        ("a trailing byte", [good.as_slice(), &[0]].concat()),
        ("a second tree behind", [good.as_slice(), &good].concat()),
        ("a third field", Cbor::Array(vec![tag(), rows(), int(1)]).encode()),
        ("a missing field", Cbor::Array(vec![tag()]).encode()),
        ("another kind", tree(Cbor::text("tree/2"), rows())),
        ("nothing", Vec::new()),
        ("a break", vec![0xff]),
    ];
    for (what, bytes) in faults {
        assert_eq!(Tree::decode(&bytes).unwrap_err().code(), "E-FORMAT", "{what}");
    }
    for len in 0..good.len() {
        assert_eq!(Tree::decode(&good[..len]).unwrap_err().code(), "E-FORMAT", "cut to {len} bytes");
    }
}

/// SEC-016, SEC-035: nesting far deeper than any document ends in an error, not in the stack.
#[test]
fn deep_nesting_ends_in_an_error() {
    let deep = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        let nested = |open: u8| [vec![open; 1 << 20], vec![0]].concat();
        let inside = |item: Vec<u8>| {
            let row = Cbor::Array(vec![Cbor::text("a"), int(0), int(0), Cbor::Raw(item)]);
            literally::tree(vec![row])
        };
        for open in [0x81, 0xa1, 0x9f, 0xc6, 0xd8] {
            assert!(Tree::decode(&nested(open)).is_err());
            assert!(Tree::decode(&inside(nested(open))).is_err());
            assert!(Blob::decode(&nested(open)).is_err());
            assert!(Envelope::decode(&nested(open)[..60_000]).is_err());
            assert!(Table::decode(&nested(open)).is_err());
        }
    });
    deep.unwrap().join().expect("no decoder overflows a stack of 1 MiB");
}

/// SEC-064: what is longer than its kind may be is not looked at.
#[test]
fn long_input_is_refused_by_its_length() {
    let limit = |error: codec::Error| assert_eq!(error.code(), "E-LIMIT", "{error}");
    limit(Envelope::decode(&vec![0; 100 << 10]).unwrap_err());
    limit(Blob::decode(&vec![0; OBJECT_BYTES_MAX + 1]).unwrap_err());
    limit(packlist::decode(&vec![0; 17 << 20]).unwrap_err());
    assert_eq!(Tree::decode(&vec![0; OBJECT_BYTES_MAX + 1]).unwrap_err().code(), "E-LIMIT");
    assert_eq!(Summary::decode(&vec![0; 300 << 10]).unwrap_err().code(), "E-LIMIT");
}

/// A decoder, and what it makes of bytes it accepts.
type Reencode = fn(&[u8]) -> Option<Vec<u8>>;

/// Valid documents of every kind, each with its decoder.
static DOCUMENTS: LazyLock<Vec<(&str, Vec<u8>, Reencode)>> = LazyLock::new(|| {
    let repository = TempRepository::new();
    let files =
        Files::new().file("README", "hello").exec("bin/run", Random::new(1).text(70_000)).link("l", "bin");
    let folder = tempfile::tempdir().unwrap();
    files.write(folder.path());
    let ingested = repository.ingest(folder.path());
    let mut author = Author::new(1);
    let entry = author.release(&repository, "hello", "1.0.0", &ingested);
    let summary = author.announce(&repository);
    let id = |n: u8| ObjectId::of(&[n]);
    let many: Vec<Cbor> = (0..30).map(|n| tree_row(&format!("f{n:02}"), n % 6, n, id(n as u8))).collect();
    let pieces: Vec<_> = (0..30).map(|n| (id(n), 100 + u64::from(n))).collect();
    let size = pieces.iter().map(|piece| piece.1).sum();
    let record = PackageRecord {
        name: "hello".parse().unwrap(),
        owner: author.id(),
        transfer: None,
        logs: vec![],
        versions: vec![],
    };
    let tables = repository.store().packs()[0].table().encode();
    let list = packlist::encode(&repository.pack_list().unwrap());
    let row = IdentityRow { n: 1, document: entry.id() };
    vec![
        ("tree", literally::tree(many), |b| Some(Tree::decode(b).ok()?.encode())),
        ("tree fan", literally::tree_fan(&[("a", id(1), 2, 3), ("b", id(2), 3, 4)]), |b| {
            Some(Tree::decode(b).ok()?.encode())
        }),
        ("blob", literally::blob(size, &pieces), |b| Some(Blob::decode(b).ok()?.encode())),
        ("blob fan", literally::blob_fan(7, &[(id(1), 2, 3), (id(2), 3, 4)]), |b| {
            Some(Blob::decode(b).ok()?.encode())
        }),
        ("identity", author.identity().envelope().encode(), |b| Some(Envelope::decode(b).ok()?.encode())),
        ("entry", entry.envelope().encode(), |b| Some(Envelope::decode(b).ok()?.encode())),
        ("entry payload", entry.envelope().payload().to_vec(), |b| {
            let entry: objects::release::Entry = codec::decode("entry", b, STATEMENT_BYTES_MAX).ok()?;
            Some(codec::encode(&entry))
        }),
        ("identity payload", author.identity().envelope().payload().to_vec(), |b| {
            let identity: objects::identity::Identity =
                codec::decode("identity", b, STATEMENT_BYTES_MAX).ok()?;
            Some(codec::encode(&identity))
        }),
        ("index payload", summary.index.envelope().payload().to_vec(), |b| {
            let index: objects::claim::Index = codec::decode("index", b, STATEMENT_BYTES_MAX).ok()?;
            Some(codec::encode(&index))
        }),
        ("summary", summary.encode(), |b| Some(Summary::decode(b).ok()?.encode())),
        ("package record", record.encode(), |b| Some(PackageRecord::decode(b).ok()?.encode())),
        ("identity row", row.encode(), |b| Some(IdentityRow::decode(b).ok()?.encode())),
        ("table", tables, |b| Some(Table::decode(b).ok()?.encode())),
        ("list of packs", list, |b| Some(packlist::encode(&packlist::decode(b).ok()?))),
    ]
});

#[derive(Clone, Debug)]
enum Mutation {
    Set(u16, u8),
    Flip(u16, u8),
    Insert(u16, u8),
    Remove(u16, u8),
    Repeat(u16, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let heads = prop_oneof![
        any::<u8>(),
        prop::sample::select(vec![
            0x00, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x40, 0x5f, 0x60, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xf6,
            0xfb, 0xff
        ])
    ];
    prop_oneof![
        (any::<u16>(), heads.clone()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (any::<u16>(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        (any::<u16>(), heads).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<u16>(), 1..40u8).prop_map(|(at, len)| Mutation::Remove(at, len)),
        (any::<u16>(), 1..40u8).prop_map(|(at, len)| Mutation::Repeat(at, len)),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    let place = |at: u16| usize::from(at) % bytes.len().max(1);
    match *mutation {
        _ if bytes.is_empty() => {}
        Mutation::Set(at, byte) => {
            let at = place(at);
            bytes[at] = byte;
        }
        Mutation::Flip(at, bit) => {
            let at = place(at);
            bytes[at] ^= 1 << bit;
        }
        Mutation::Insert(at, byte) => bytes.insert(place(at), byte),
        Mutation::Remove(at, len) => {
            let at = place(at);
            let end = (at + usize::from(len)).min(bytes.len());
            bytes.drain(at..end);
        }
        Mutation::Repeat(at, len) => {
            let at = place(at);
            let end = (at + usize::from(len)).min(bytes.len());
            let again = bytes[at..end].to_vec();
            bytes.splice(end..end, again);
        }
    }
}

/// Each kind's own sample passes, so that the property below speaks of living documents.
#[test]
fn valid_documents_decode_and_encode_to_themselves() {
    for (what, bytes, reencode) in DOCUMENTS.iter() {
        assert_eq!(reencode(bytes).as_ref(), Some(bytes), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..Default::default() })]

    /// SEC-032, SEC-035: of 1,000 mutated valid documents of every kind, each is refused or is the
    /// canonical form of something.
    #[test]
    fn mutated_documents_fail_or_encode_to_the_same_bytes(
        kind in 0..14usize,
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let (what, bytes, reencode) = &DOCUMENTS[kind];
        let mut bytes = bytes.clone();
        mutations.iter().for_each(|mutation| mutate(&mut bytes, mutation));
        if let Some(again) = reencode(&bytes) {
            prop_assert_eq!(again, bytes, "{} after {:?}", what, mutations);
        }
    }
}
