//! Every input that must be refused, kept as a file under `fixtures/malformed`: `KIND/NAME.CODE`.
//!
//! `PKG_UPDATE_FIXTURES=1` writes them anew.

use objects::blob::Blob;
use objects::id::{ObjectId, PackId};
use objects::packlist;
use objects::signed::Envelope;
use objects::store::pack::index::Index;
use objects::store::pack::table::Table;
use objects::summary::Summary;
use objects::testing::TempRepository;
use objects::testing::literally::{self, Cbor, PackedFrame, tree_of_one, tree_row};
use objects::tree::Tree;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Inputs by `NAME.CODE`.
type Faults = Vec<(&'static str, Vec<u8>)>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/malformed")
}

fn id() -> ObjectId {
    ObjectId::of(b"x")
}

fn trees() -> Faults {
    let one = |name: &str| tree_of_one(name, 0, 0, id());
    let row = |name: &str, mode| tree_row(name, mode, 0, id());
    let good = one("a");
    vec![
        ("climbs.E-PATH", one("..")),
        ("climbs-behind.E-PATH", one("a/../../x")),
        ("climbs-on-windows.E-PATH", one("a\\..\\x")),
        ("absolute.E-PATH", one("/victim/x")),
        ("absolute-on-windows.E-PATH", one("C:\\x")),
        ("unc.E-PATH", one("\\\\?\\x")),
        ("git.E-PATH", one(".git")),
        ("git-short.E-PATH", one("GIT~1")),
        ("git-stream.E-PATH", one(".git::$INDEX_ALLOCATION")),
        ("git-ignorable.E-PATH", one(".g\u{200c}it")),
        ("pkgs-long-s.E-PATH", one(".pkg\u{17f}")),
        ("pkgs-backslash.E-PATH", one("a\\.pkgs\\x")),
        ("empty-name.E-FORMAT", one("")),
        ("dot.E-FORMAT", one(".")),
        ("slash.E-FORMAT", one("a/b")),
        ("zero-byte.E-FORMAT", one("a\0b")),
        ("long-name.E-FORMAT", one(&"n".repeat(256))),
        ("not-nfc.E-FORMAT", one("e\u{301}")),
        ("doubled.E-FORMAT", literally::tree(vec![row("a", 0), row("a", 5)])),
        ("link-and-folder.E-FORMAT", literally::tree(vec![row("d", 4), row("d", 5)])),
        ("unsorted.E-FORMAT", literally::tree(vec![row("b", 0), row("a", 0)])),
        ("unknown-mode.E-FORMAT", literally::tree(vec![row("a", 6)])),
        ("trailing-byte.E-FORMAT", [good.as_slice(), &[0]].concat()),
        (
            "endless.E-FORMAT",
            Cbor::Array(vec![Cbor::text("tree/1"), Cbor::EndlessArray(vec![row("a", 0)])]).encode(),
        ),
        (
            "stated-count.E-FORMAT",
            Cbor::Array(vec![Cbor::text("tree/1"), Cbor::StatedArray(5_000_000, vec![])]).encode(),
        ),
        ("other-kind.E-FORMAT", literally::blob(1, &[(id(), 1)])),
        ("cut.E-FORMAT", good[..good.len() - 1].to_vec()),
        ("nothing.E-FORMAT", Vec::new()),
    ]
}

fn blobs() -> Faults {
    vec![
        ("sum-too-small.E-FORMAT", literally::blob(10, &[(id(), 5), (id(), 6)])),
        ("sum-wraps.E-FORMAT", literally::blob(0, &[(id(), 1 << 63), (id(), 1 << 63)])),
        ("empty-piece.E-FORMAT", literally::blob(5, &[(id(), 5), (id(), 0)])),
        ("fan-sum.E-FORMAT", literally::blob_fan(10, &[(id(), 1, 5)])),
        ("other-kind.E-FORMAT", literally::tree(vec![])),
        ("nothing.E-FORMAT", Vec::new()),
    ]
}

fn envelopes() -> Faults {
    let signature = || Cbor::Array(vec![Cbor::Bytes(vec![1; 32]), Cbor::Bytes(vec![2; 64])]);
    let envelope = |tag: &str, kind: &str, payload: usize, signatures: usize| {
        let signatures = (0..signatures).map(|_| signature()).collect();
        let fields =
            [Cbor::text(tag), Cbor::text(kind), Cbor::Bytes(vec![0; payload]), Cbor::Array(signatures)];
        Cbor::Array(fields.into()).encode()
    };
    let kind = "application/vnd.pkg.entry.v1+cbor";
    vec![
        ("unknown-kind.E-FORMAT", envelope("envelope/1", "application/vnd.pkg.entry.v2+cbor", 1, 1)),
        ("other-tag.E-FORMAT", envelope("envelope/2", kind, 1, 1)),
        ("many-signatures.E-LIMIT", envelope("envelope/1", kind, 1, 17)),
        ("long-payload.E-LIMIT", envelope("envelope/1", kind, (64 << 10) + 1, 1)),
        ("nothing.E-FORMAT", Vec::new()),
    ]
}

fn pack_lists() -> Faults {
    let mut wrong_sum = packlist::encode(&[]);
    *wrong_sum.last_mut().unwrap() ^= 1;
    vec![("wrong-sum.E-FORMAT", wrong_sum), ("nothing.E-FORMAT", Vec::new())]
}

fn summaries() -> Faults {
    let part = || Cbor::Bytes(b"no envelope".to_vec());
    let name =
        Cbor::Map(vec![(Cbor::text("name"), Cbor::text("main")), (Cbor::text("owner"), Cbor::id(id()))]);
    let summary = |tag: &str| {
        Cbor::Array(vec![Cbor::text(tag), name.clone(), part(), part(), Cbor::Array(vec![])]).encode()
    };
    vec![
        ("parts.E-FORMAT", summary("summary/1")),
        ("other-tag.E-FORMAT", summary("summary/2")),
        ("nothing.E-FORMAT", Vec::new()),
    ]
}

fn tables() -> Faults {
    let table = |stored: u64, raw: u64, lengths: &[u64]| {
        let lengths = lengths.iter().map(|len| Cbor::Int(*len)).collect();
        let row =
            [Cbor::Int(stored), Cbor::Int(raw), Cbor::id(id()), Cbor::Array(vec![]), Cbor::Array(lengths)];
        Cbor::Array(vec![Cbor::text("pack/1"), Cbor::Array(vec![Cbor::Array(row.into())])]).encode()
    };
    vec![
        ("lengths-short.E-FORMAT", table(9, 10, &[4, 5])),
        ("lengths-wrap.E-FORMAT", table(9, 10, &[u64::from(u32::MAX), 11])),
        ("no-objects.E-FORMAT", table(9, 0, &[])),
        ("frame-too-large.E-FORMAT", table(9, 1 << 31, &[1 << 31])),
        ("stored-too-large.E-FORMAT", table(u64::from(u32::MAX), 10, &[10])),
    ]
}

/// A pack of two small objects.
fn pack() -> literally::Packed {
    literally::pack(&[PackedFrame::of(&["one", "another"])])
}

fn packs() -> Faults {
    let good = pack().pack;
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        bytes
    };
    vec![
        ("cut.E-FORMAT", edited(|bytes| bytes.truncate(bytes.len() - 1))),
        ("end-word.E-FORMAT", edited(|bytes| *bytes.last_mut().unwrap() = b'2')),
        (
            "table-hash.E-FORMAT",
            edited(|bytes| {
                let at = bytes.len() - 13;
                bytes[at] ^= 1
            }),
        ),
        (
            "table-length.E-FORMAT",
            edited(|bytes| {
                let at = bytes.len() - 9;
                bytes[at] = 0xff
            }),
        ),
        ("byte-before.E-FORMAT", edited(|bytes| bytes.insert(0, 0))),
        ("frame-bent.E-FORMAT", edited(|bytes| bytes[0] ^= 1)),
        ("nothing.E-FORMAT", Vec::new()),
    ]
}

fn indexes() -> Faults {
    let good = pack().index;
    let edited = |edit: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        edit(&mut bytes);
        literally::reseal(&mut bytes);
        bytes
    };
    vec![
        ("count.E-FORMAT", edited(|bytes| bytes[8] += 1)),
        ("count-overflow.E-FORMAT", edited(|bytes| bytes[8..12].fill(0xff))),
        ("table-length.E-FORMAT", edited(|bytes| bytes[12..16].fill(0xff))),
        ("fan-out.E-FORMAT", edited(|bytes| bytes[16 + 400] += 7)),
        (
            "unsorted.E-FORMAT",
            edited(|bytes| {
                let (a, b) = bytes[1_040..1_104].split_at_mut(32);
                a.swap_with_slice(b)
            }),
        ),
        ("number-doubled.E-FORMAT", edited(|bytes| bytes.copy_within(1_104..1_108, 1_108))),
        ("number-too-large.E-FORMAT", edited(|bytes| bytes[1_104] = 9)),
        ("other-pack.E-FORMAT", literally::pack(&[PackedFrame::of(&["three", "four"])]).index),
        ("no-index.E-FORMAT", b"pkgidx1\0".to_vec()),
    ]
}

/// All fixtures by their path.
fn all() -> BTreeMap<String, Vec<u8>> {
    let kinds: [(&str, Faults); 8] = [
        ("tree", trees()),
        ("blob", blobs()),
        ("envelope", envelopes()),
        ("packlist", pack_lists()),
        ("summary", summaries()),
        ("table", tables()),
        ("pack", packs()),
        ("index", indexes()),
    ];
    let named = |(kind, faults): (&str, Faults)| -> Vec<_> {
        faults.into_iter().map(|(name, bytes)| (format!("{kind}/{name}"), bytes)).collect()
    };
    kinds.into_iter().flat_map(named).collect()
}

/// The code with which the reader of `kind` refuses `bytes`.
fn refusal(kind: &str, bytes: &[u8], pack: PackId) -> String {
    let accepted = || "accepted".to_owned();
    match kind {
        "tree" => Tree::decode(bytes).map_or_else(|error| error.code().into(), |_| accepted()),
        "blob" => Blob::decode(bytes).map_or_else(|error| error.code().into(), |_| accepted()),
        "envelope" => Envelope::decode(bytes).map_or_else(|error| error.code().into(), |_| accepted()),
        "packlist" => packlist::decode(bytes).map_or_else(|error| error.code().into(), |_| accepted()),
        "summary" => Summary::decode(bytes).map_or_else(|error| error.code().into(), |_| accepted()),
        "table" => Table::decode(bytes).map_or_else(|_| "E-FORMAT".into(), |_| accepted()),
        "index" => Index::open(bytes.to_vec(), pack)
            .and_then(|index| index.check())
            .map_or_else(|_| "E-FORMAT".into(), |()| accepted()),
        "pack" => {
            let repository = TempRepository::new();
            repository.plant(pack, bytes, None);
            let store = repository.store();
            let opened = objects::store::pack::Pack::open(&store.packs_folder(), pack, store);
            opened.map_or_else(|error| error.code().into(), |_| accepted())
        }
        other => panic!("nothing reads {other}"),
    }
}

/// SEC-001 to 003, 005, 008, 010, 011, 016, 021, 025, 028, 032: each kept input is refused, with
/// the code it is named after.
#[test]
fn every_kept_input_is_refused() {
    let pack = pack().id;
    let mut seen = 0;
    for kind in
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        for file in std::fs::read_dir(&kind).unwrap().map(|entry| entry.unwrap().path()) {
            let code = file.extension().unwrap().to_str().unwrap();
            let bytes = std::fs::read(&file).unwrap();
            let kind = kind.file_name().unwrap().to_str().unwrap();
            assert_eq!(refusal(kind, &bytes, pack), code, "{}", file.display());
            seen += 1;
        }
    }
    assert!(seen >= all().len());
}

/// The kept inputs are what their encoders write.
#[test]
fn kept_inputs_are_as_they_were_made() {
    let update = std::env::var_os("PKG_UPDATE_FIXTURES").is_some();
    for (name, bytes) in all() {
        let path = folder().join(&name);
        if update {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(std::fs::read(&path).unwrap() == bytes, "{name} is made of other bytes now");
    }
}
