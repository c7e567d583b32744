//! SEC-035: every decoder over every kept input, and over some thousand changed ones (a hundred times
//! as many with `PKG_LONG_TESTS=1`).
//!
//! `PKG_UPDATE_FIXTURES=1` writes the good examples below `fuzz/corpus` anew. What broke a target
//! once lies there too, and stays.

use objects::blob;
use objects::claim::{IdentityRow, LogRow, Mark, PackageRecord, VersionRow};
use objects::id::{ChunkId, ObjectId};
use objects::key::Signer;
use objects::name::EntryName;
use objects::refs::{PreviousValue, RefEdit};
use objects::signed::{Envelope, Signed};
use objects::store::pack::frame;
use objects::store::pack::table::{Base, BaseOf};
use objects::testing::fuzz::TARGETS;
use objects::testing::literally::{self, Cbor, PackedFrame};
use objects::testing::{Author, Loose, Random, TempRepository, memory, smoke};
use objects::time::Timestamp;
use objects::tree::{self, Mode};
use std::path::{Path, PathBuf};

/// Changed inputs of each target.
const TRIES: u64 = 3_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// SEC-021, 022, 025, 028, 032, 035: no panic, no stack that overflows, bounded memory, and the laws
/// of each decoder.
#[test]
fn every_decoder_stands_what_it_is_given() {
    let (_, peak) = memory::peak_of(|| drop(vec![0u8; 1 << 20]));
    assert!(peak >= 1 << 20, "memory is not counted");
    let tries = if std::env::var_os("PKG_LONG_TESTS").is_some() { TRIES * 100 } else { TRIES };
    smoke::run(&folder(), TARGETS, tries);
}

#[test]
fn every_target_has_its_file_and_its_corpus() {
    smoke::check_layout(&folder(), TARGETS);
}

/// Inputs by target and name.
type Seeds = Vec<(&'static str, &'static str, Vec<u8>)>;

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(folder().join("../../fixtures/format/v1").join(name)).unwrap()
}

fn payload(name: &str) -> Vec<u8> {
    Envelope::decode(&golden(name)).unwrap().payload().to_vec()
}

/// A file that can be made again, of a small repository.
fn hints(which: &str) -> Vec<u8> {
    let repository = TempRepository::new();
    let mut random = Random::new(6);
    for n in 0..4 {
        repository.add(&[random.bytes(3_000), random.bytes(3_000 + n)]);
    }
    repository.store().write_multi_index().unwrap();
    let packs = repository.store().packs();
    let pack = packs.iter().min_by_key(|pack| pack.id()).unwrap();
    objects::similar::of_pack(repository.store(), pack).unwrap();
    let path = match which {
        "multi-index" => repository.store().info_folder().join(which),
        _ => repository.store().packs_folder().join(objects::store::pack::sketches_name(pack.id())),
    };
    std::fs::read(path).unwrap()
}

/// A stat cache of two rows.
fn stat_cache() -> Vec<u8> {
    let mut cache = b"pkgstat2\0".to_vec();
    cache.extend([1; 32 + 32 + 3 * 8]);
    cache.extend([2; 2 * 16]);
    let sum = ObjectId::of(&cache);
    cache.extend(sum.as_bytes());
    cache
}

fn id(n: u8) -> ObjectId {
    ObjectId::of(&[n])
}

fn structure() -> Seeds {
    let good = |name: &str, mode, size, object: &[u8]| tree::Entry {
        name: EntryName::new(name).unwrap(),
        mode,
        size,
        id: ObjectId::of(object),
    };
    let built = |entries| tree::build(entries).unwrap().pop().unwrap().1;
    let (text, target) = (b"hello\n".as_slice(), b"b/c".as_slice());
    let pieces = [(ChunkId::new(ObjectId::of(text)), 6), (ChunkId::new(ObjectId::of(target)), 3)];
    let long = blob::build(&pieces).pop().unwrap().1;
    let below = built(vec![good("c", Mode::File, 6, text), good("d", Mode::ExecBlob, 9, &long)]);
    let root = built(vec![good("a", Mode::Link, 3, target), good("b", Mode::Dir, 15, &below)]);
    let fan = literally::tree_fan(&[("a", ObjectId::of(&root), 2, 18)]);
    vec![
        ("tree", "modes", golden("tree.cbor")),
        ("tree", "empty", golden("tree-empty.cbor")),
        ("tree", "fan", golden("tree-fan.cbor")),
        ("tree", "climbs", literally::tree_of_one("..", 0, 0, id(0))),
        ("blob", "three", golden("blob.cbor")),
        ("blob", "fan", golden("blob-fan.cbor")),
        ("links", "chain", b"a\tb/c\nb/c\t../d\nd/e\tf\ng\t./a\n".to_vec()),
        ("links", "out", b"a\tb/../..\nb\tc/d\n".to_vec()),
        ("closure", "folder", Loose::write::<&[u8]>(&[text, target, &long, &below, &root])),
        ("closure", "fan", Loose::write::<&[u8]>(&[text, target, &long, &below, &root, &fan])),
        ("closure", "missing", Loose::write::<&[u8]>(&[text, &root])),
    ]
}

fn statements() -> Seeds {
    vec![
        ("envelope", "identity", golden("identity-2.envelope")),
        ("envelope", "entry", golden("entry-full.envelope")),
        ("envelope", "index", golden("index.envelope")),
        ("envelope", "beacon", golden("beacon.envelope")),
        ("identity", "first", payload("identity.envelope")),
        ("identity", "second", payload("identity-2.envelope")),
        ("entry", "plain", payload("entry.envelope")),
        ("entry", "full", payload("entry-full.envelope")),
        ("index_statement", "first", payload("index.envelope")),
        ("beacon", "first", payload("beacon.envelope")),
    ]
}

fn records() -> Seeds {
    let author = Author::new(1);
    let entry: Signed<objects::release::Entry> = Signed::decode(&golden("entry-full.envelope")).unwrap();
    let role = objects::identity::Role::new(vec![author.key().public()], 1).unwrap();
    let verified = entry.verify(&role, "release").unwrap();
    let listed = Timestamp::new(Author::NOW).unwrap();
    let row = |version: &str, mark| {
        let mut release = verified.release().unwrap().clone();
        release.version = version.parse().unwrap();
        VersionRow { entry: entry.id(), signer: author.id(), seq: 3, listed, mark, release }
    };
    let log = LogRow { signer: author.id(), seq: 3, entry: entry.id(), listed };
    let reason = || "wrong words".to_owned();
    let marked = vec![
        row("1.0.0", Some(Mark::Yanked { reason: reason() })),
        row("1.1.0", Some(Mark::Retired { successor: None })),
        row("1.2.0", Some(Mark::Forbidden { reason: reason() })),
        row("2.0.0", None),
    ];
    let name: objects::name::PackageName = "english-dict".parse().unwrap();
    let record = |versions| PackageRecord {
        name: name.clone(),
        owner: author.id(),
        transfer: None,
        logs: vec![log.clone()],
        versions,
    };
    let identity = IdentityRow { n: 7, document: entry.id() };
    vec![
        ("summary", "first", golden("summary.cbor")),
        ("package_record", "one", record(vec![row("1.0.0", None)]).encode()),
        ("package_record", "marked", record(marked).encode()),
        ("identity_row", "seventh", identity.encode()),
        ("pack_list", "two", golden("packs.cbor")),
        ("pack_list", "empty", objects::packlist::encode(&[])),
    ]
}

fn words() -> Seeds {
    let text = |target, name, text: &str| (target, name, text.as_bytes().to_vec());
    let author = Author::new(1);
    let hex = author.id().to_hex();
    vec![
        text("entry_name", "plain", "naïve file.txt"),
        text("entry_name", "short", "GIT~1 .pkgs::$DATA \u{200c}..\\con.txt"),
        text("package_name", "two-labels", "web/ui-kit_2.0"),
        text("version", "all-parts", "2!1.4.0-rc.1+linux~3"),
        text("version", "plain", "18446744073709551615.0.10"),
        text("requirement", "cargo", "^1.2, <1.9, ~3.4.5-rc.1, =1.*"),
        text("requirement", "proposal", "2!>0.1.2<0.1.5~3"),
        text("requirement", "any", "*"),
        text("channel", "nightly", "nightly-2"),
        text("spec", "owner", &format!("id:{}/web/ui@nightly:^1.2", &hex[..16])),
        text("spec", "exact", "dict#2!1.4.0-rc.1~3"),
        text("spec", "content", "dict#blake3:1f0c9a3e77"),
        text("spec", "archive", &format!("dict#sha256:{hex}")),
        text("id", "whole", &format!("blake3:{hex}")),
        text("id", "beginning", "1F0c9a3e"),
        text("key", "text", &author.key().public().to_string()),
        ("key", "bytes", author.key().public().as_bytes().to_vec()),
        ("key", "small-order", [&[1][..], &[0; 31]].concat()),
        text("ref_name", "tag", &format!("refs/tags/{hex}/web~ui/1.0.0+x")),
    ]
}

/// The journal that stands while two refs move, as a second process would find it.
fn journal_bytes() -> Vec<u8> {
    let row = |name: &str, old: Cbor, new: Cbor| {
        Cbor::Array(vec![Cbor::text(name), old, new, Cbor::text("publish")])
    };
    let null = || Cbor::Raw(vec![0xf6]);
    let rows = || {
        Cbor::Array(vec![
            row("refs/packages/ada/hello", Cbor::id(id(1)), Cbor::id(id(2))),
            row("refs/tags/ada/hello/1.0.0", null(), Cbor::id(id(2))),
        ])
    };
    let sum = ObjectId::of(&Cbor::Array(vec![Cbor::Int(Author::NOW), rows()]).encode());
    let parts = [Cbor::text("refs-journal/1"), Cbor::Int(Author::NOW), rows(), Cbor::id(sum)];
    Cbor::Array(parts.into()).encode()
}

fn refs() -> Seeds {
    let repository = TempRepository::new();
    let edit = |new: u8, message: &str| RefEdit {
        name: "refs/packages/ada/hello".parse().unwrap(),
        previous: PreviousValue::Any,
        new: Some(objects::id::StatementId::new(id(new))),
        message: message.into(),
    };
    let now = Timestamp::new(Author::NOW).unwrap();
    repository.refs().edit(&[edit(1, "one"), edit(2, "two words"), edit(3, "three")], now).unwrap();
    let log = std::fs::read(repository.root().join("logs/refs/packages/ada/hello")).unwrap();
    vec![
        ("ref_file", "plain", golden("ref")),
        ("packed_refs", "plain", golden("packed-refs")),
        ("reflog", "three", log),
        ("journal", "two", journal_bytes()),
        ("repository_config", "first", golden("config")),
        ("repository_config", "newer", b"[repository]\nformat = 2\n".to_vec()),
    ]
}

fn with_length(raw: usize, stored: Vec<u8>) -> Vec<u8> {
    [&(raw as u32).to_le_bytes(), stored.as_slice()].concat()
}

/// What a killed process leaves: the list of frames and the pack itself.
fn unfinished() -> Vec<u8> {
    let sealed = PackedFrame::of(&["one", "another"]);
    let row = objects::codec::encode(&sealed.row);
    let frames = [&(row.len() as u32).to_le_bytes(), row.as_slice()].concat();
    [&(frames.len() as u16).to_le_bytes(), frames.as_slice(), &sealed.stored].concat()
}

fn packs() -> Seeds {
    let raw = Random::new(3).text(3_000);
    let noise = Random::new(3).bytes(300);
    let prefix = Random::new(1).text(2_000);
    let delta = literally::pack(&[
        PackedFrame::of(&[&raw, &noise]),
        PackedFrame::delta(
            &raw[100..],
            vec![Base { of: BaseOf::Object, id: ObjectId::of(&raw), start: 10, len: 2_000 }],
            &raw[10..2_010],
        ),
    ]);
    let table = |packed: &literally::Packed| {
        packed.pack[packed.pack.len() - table_len(packed) - 44..][..table_len(packed)].to_vec()
    };
    let packed = literally::pack(&[PackedFrame::of(&["one", "another"])]);
    vec![
        ("frame", "plain", with_length(raw.len(), frame::seal(&raw, 3))),
        ("frame", "stored", with_length(noise.len(), frame::seal(&noise, 3))),
        ("frame", "delta", with_length(1_900, frame::seal_with_prefix(&prefix[100..], &prefix, 3))),
        ("frame", "empty", with_length(0, frame::seal(b"", 3))),
        ("table", "delta", table(&delta)),
        ("table", "small", table(&packed)),
        ("tail", "small", packed.pack.clone()),
        ("multi_index", "four", hints("multi-index")),
        ("sketches", "two", hints("sketches")),
        ("stat_cache", "folder", stat_cache()),
        ("index", "delta", delta.index.clone()),
        ("index", "small", packed.index.clone()),
        ("pack", "delta", delta.pack.clone()),
        ("pack", "small", packed.pack.clone()),
        (
            "pack",
            "structure",
            literally::pack(&[PackedFrame::of(&[golden("tree.cbor"), golden("blob.cbor")])]).pack,
        ),
        ("salvage", "two", unfinished()),
    ]
}

fn table_len(packed: &literally::Packed) -> usize {
    objects::store::pack::table::table_len(packed.pack.last_chunk().unwrap()).unwrap()
}

/// The good examples are kept, and kept as files: who fuzzes needs nothing else.
#[test]
fn good_examples_are_kept() {
    let update = std::env::var_os("PKG_UPDATE_FIXTURES").is_some();
    for (target, name, bytes) in [structure(), statements(), records(), words(), refs(), packs()].concat() {
        let path = folder().join("corpus").join(target).join(name);
        if update {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(path.exists(), "{} is not kept", path.display());
    }
}
