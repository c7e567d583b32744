//! The bytes of format 1, pinned. They change with a format version only.
//!
//! Each file under `fixtures/format/v1` is made again here, into a fresh folder, and compared.
//! `PKG_UPDATE_FIXTURES=1` writes the fixtures instead: for a new kind, or a new format.

use objects::archive;
use objects::blob::{self, Blob};
use objects::chunker;
use objects::id::{ChunkId, GrantId, ObjectId, PackId, TreeId};
use objects::identity::{Identity, Reset, Role, Roles, Withdrawal};
use objects::key::{SecretKey, Signer};
use objects::name::EntryName;
use objects::object::{Find, Kind};
use objects::refs::{PreviousValue, RefEdit};
use objects::release::{About, Action, Conflict, Dependency, Entry, LogHead, Person, Variant};
use objects::signed::{Envelope, Signed};
use objects::store::pack::writer::{Options, PackWriter};
use objects::store::pack::{Pack, file_name, index_name};
use objects::summary::Summary;
use objects::testing::{Author, Files, Random, TempRepository};
use objects::time::Timestamp;
use objects::tree::{self, Mode, Tree};
use objects::{codec, packlist, refs};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::tempdir;

/// Files by name.
type Fixtures = BTreeMap<&'static str, Vec<u8>>;

fn folder(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(below)
}

fn now() -> Timestamp {
    Timestamp::new(Author::NOW).unwrap()
}

fn id(n: u64) -> ObjectId {
    ObjectId::of(&n.to_le_bytes())
}

/// Cut points as text: the id of the bytes, then offset and length of each chunk.
fn cut_points(bytes: &[u8]) -> Vec<u8> {
    let cuts = chunker::chunks(bytes);
    let lines = cuts.iter().map(|cut| format!("{} {}\n", cut.start, cut.len()));
    format!("{}\n{}", ObjectId::of(bytes), lines.collect::<String>()).into_bytes()
}

fn chunks(fixtures: &mut Fixtures) {
    fixtures.insert("chunks-text.txt", cut_points(&Random::new(1).text(1 << 20)));
    fixtures.insert("chunks-random.txt", cut_points(&Random::new(1).bytes(1 << 20)));
    fixtures.insert("chunks-zeros.txt", cut_points(&vec![0; 1 << 20]));
}

fn pieces(count: u64) -> Vec<blob::Piece> {
    (0..count).map(|n| (ChunkId::new(id(n)), 4_096 + n % 9_999)).collect()
}

fn entry(name: &str, mode: Mode, n: u64) -> tree::Entry {
    tree::Entry { name: EntryName::new(name).unwrap(), mode, size: n, id: id(n) }
}

/// One entry of each mode, with names whose order by bytes is not the one people expect.
fn small_tree() -> Vec<tree::Entry> {
    vec![
        entry("Z", Mode::File, 1),
        entry("a", Mode::Dir, 1 << 40),
        entry("a-b", Mode::FileBlob, 100_000),
        entry("a.b", Mode::Exec, 255),
        entry("run", Mode::ExecBlob, 65_536),
        entry("é", Mode::Link, 24),
    ]
}

fn large_tree() -> Vec<tree::Entry> {
    (0..5_000).map(|n| entry(&format!("file-{n:05}"), Mode::File, n)).collect()
}

fn structure(fixtures: &mut Fixtures) {
    let mut one =
        |name, objects: Vec<Vec<u8>>| _ = fixtures.insert(name, objects.into_iter().next_back().unwrap());
    let bytes = |objects: Vec<(TreeId, Vec<u8>)>| objects.into_iter().map(|(_, bytes)| bytes).collect();
    let blobs = |count| blob::build(&pieces(count)).into_iter().map(|(_, bytes)| bytes).collect();
    one("blob.cbor", blobs(3));
    one("blob-fan.cbor", blobs(5_000));
    one("tree.cbor", bytes(tree::build(small_tree()).unwrap()));
    one("tree-empty.cbor", bytes(tree::build(Vec::new()).unwrap()));
    one("tree-fan.cbor", bytes(tree::build(large_tree()).unwrap()));
}

/// The second document of an identity: other keys, thresholds, and every list in use.
fn second_document(author: &Author) -> Signed<Identity> {
    let key = |seed: u8| SecretKey::from_seed(&[seed; 32]);
    let role = |seeds: &[u8], threshold| {
        Role::new(seeds.iter().map(|seed| key(*seed).public()).collect(), threshold).unwrap()
    };
    let package: objects::name::PackageName = "hello".parse().unwrap();
    let head = LogHead {
        owner: author.id(),
        name: package,
        signer: author.id(),
        seq: 4,
        entry: author.identity().id(),
    };
    let withdrawal = |seed: u8| Withdrawal { key: key(seed).public(), checkpoint: vec![head.clone()] };
    let document = Identity {
        id: Some(author.id()),
        n: 1,
        prev: Some(author.identity().id()),
        name: Some("Ada".into()),
        roles: Roles { root: role(&[1, 2, 3], 2), ..Roles::all(&role(&[4], 1)) },
        revoked: vec![withdrawal(5)],
        retired: vec![withdrawal(6)],
        reset: vec![Reset { role: "index".into(), n: 9 }],
        recovery: Some(role(&[7], 1)),
        created: now(),
        expires: Some(now().after(86_400)),
    };
    Signed::sign(&document, &[&key(1), &key(3)]).unwrap()
}

/// An entry with every field in use.
fn full_entry(author: &Author, ingested: &objects::ingest::Ingested) -> Signed<Entry> {
    let mut release = Author::describe("2!1.4.0-rc.1+linux~3", ingested);
    let text = |text: &str| Some(text.to_owned());
    let dependency = |name: &str, requirement: &str| Dependency {
        name: name.parse().unwrap(),
        requirement: requirement.parse().unwrap(),
        owner: None,
        channel: None,
        optional: false,
    };
    let bound = Dependency { owner: Some(author.id()), optional: true, ..dependency("web/ui", ">0.1.4<0.2") };
    release.dependencies = vec![dependency("word-lists", "^2"), bound];
    release.conflicts =
        vec![Conflict { name: "old-dict".parse().unwrap(), requirement: "*".parse().unwrap() }];
    let variant = Variant { path: "build/linux".into(), tree: ingested.tree, size: 5, files: 1 };
    release.variants = [("linux-x86_64".to_owned(), variant)].into();
    release.scripts = [("post-install".to_owned(), id(1))].into();
    release.media = text("application/x-dictionary");
    release.requires_pkg = Some(">=0.2".parse().unwrap());
    release.unportable = true;
    release.about = About {
        description: text("Words, and what they mean"),
        license: text("MIT"),
        homepage: text("https://example.org"),
        repository: text("https://example.org/git"),
        authors: vec![Person { name: "Ada".into(), email: text("ada@example.org"), url: None }],
        categories: vec!["text".into()],
        tags: vec!["dictionary".into(), "english".into()],
    };
    author.sign(&Entry {
        owner: author.id(),
        name: "english-dict".parse().unwrap(),
        signer: author.id(),
        signer_n: 1,
        seq: 3,
        prev: Some(author.identity().id()),
        grants: vec![GrantId::new(id(2))],
        action: Action::Release(Box::new(release)),
        created: now(),
    })
}

/// What a repository holds after one release: statements, refs, log, summary, configuration.
fn publication(fixtures: &mut Fixtures) {
    let repository = TempRepository::new();
    let source = tempdir().unwrap();
    let files = Files::new()
        .file("README", "hello\n")
        .exec("bin/run", "#!/bin/sh\n")
        .link("run", "bin/run")
        .dir("void");
    files.write(source.path());
    let ingested = repository.ingest(source.path());
    let mut tar = Vec::new();
    archive::write_tree(repository.store(), ingested.tree, &mut tar).unwrap();
    fixtures.insert("archive.tar", tar);
    let mut author = Author::new(1);
    let entry = author.release(&repository, "hello", "1.0.0", &ingested);
    let summary = author.announce(&repository);
    let owner = author.id().to_hex();
    let read = |path: String| std::fs::read(repository.root().join(path)).unwrap();
    fixtures.insert("identity.envelope", author.identity().envelope().encode());
    fixtures.insert("identity-2.envelope", second_document(&author).envelope().encode());
    fixtures.insert("entry.envelope", entry.envelope().encode());
    fixtures.insert("entry-full.envelope", full_entry(&author, &ingested).envelope().encode());
    fixtures.insert("index.envelope", summary.index.envelope().encode());
    fixtures.insert("beacon.envelope", summary.beacon.envelope().encode());
    fixtures.insert("summary.cbor", summary.encode());
    fixtures.insert("config", read("config".into()));
    let tag = format!("refs/tags/{owner}/hello/1.0.0");
    fixtures.insert("ref", read(tag.clone()));
    let edit = RefEdit {
        name: tag.parse().unwrap(),
        previous: PreviousValue::Any,
        new: Some(author.identity().id()),
        message: "moved".into(),
    };
    repository.refs().edit(&[edit], now().after(60)).unwrap();
    fixtures.insert("reflog", read(format!("logs/{tag}")));
    repository.refs().pack().unwrap();
    fixtures.insert("packed-refs", read("packed-refs".into()));
    let listed = packlist::ListedPack {
        id: PackId::new(id(1)),
        bytes: 123_456,
        index_bytes: 7_890,
        objects: 42,
        tips: vec![TreeId::new(id(2)), TreeId::new(id(3))],
    };
    fixtures.insert(
        "packs.cbor",
        packlist::encode(&[listed.clone(), packlist::ListedPack { tips: vec![], ..listed }]),
    );
}

/// Objects that do not compress: their frames are stored, so the pack is the same everywhere.
fn raw_objects() -> Vec<Vec<u8>> {
    (0..4).map(|n| Random::new(n).bytes(100 + n as usize * 1_000)).collect()
}

/// Objects that compress. Two groups, so two frames.
fn packed_objects() -> Vec<Vec<u8>> {
    (0..6).map(|n| Random::new(n).text(500 + n as usize * 700)).collect()
}

/// Writes `objects` in two groups; gives pack and index.
fn packed(objects: &[Vec<u8>]) -> (Vec<u8>, Vec<u8>) {
    let folder = tempdir().unwrap();
    let mut writer = PackWriter::create(folder.path(), Options { level: 3, jobs: 1 }).unwrap();
    for (n, object) in objects.iter().enumerate() {
        writer.add(ObjectId::of(object), object, n as u64 % 2).unwrap();
    }
    let id = writer.finish(folder.path()).unwrap().unwrap();
    let read = |name: String| std::fs::read(folder.path().join(name)).unwrap();
    (read(file_name(id)), read(index_name(id)))
}

fn packs(fixtures: &mut Fixtures) {
    let (raw, packed) = (packed(&raw_objects()), packed(&packed_objects()));
    fixtures.insert("raw.pack", raw.0);
    fixtures.insert("raw.idx", raw.1);
    fixtures.insert("packed.pack", packed.0);
    fixtures.insert("packed.idx", packed.1);
}

fn all() -> Fixtures {
    let mut fixtures = Fixtures::new();
    chunks(&mut fixtures);
    structure(&mut fixtures);
    publication(&mut fixtures);
    packs(&mut fixtures);
    let structured = ["blob.cbor", "blob-fan.cbor", "tree.cbor", "tree-empty.cbor", "tree-fan.cbor"];
    let ids = structured.map(|name| format!("{} {name}\n", ObjectId::of(&fixtures[name])));
    let statements = [
        "identity.envelope",
        "identity-2.envelope",
        "entry.envelope",
        "entry-full.envelope",
        "index.envelope",
        "beacon.envelope",
    ];
    let statement_ids =
        statements.map(|name| format!("{} {name}\n", Envelope::decode(&fixtures[name]).unwrap().id()));
    fixtures.insert(
        "ids.txt",
        ids.concat().into_bytes().into_iter().chain(statement_ids.concat().into_bytes()).collect(),
    );
    fixtures
}

/// zstd may pack better in its next version: these are compared by what they hold.
const COMPRESSED: [&str; 2] = ["packed.pack", "packed.idx"];

/// REL-040: every structure of format 1 has the bytes it always had.
#[test]
fn format_1_has_the_bytes_it_always_had() {
    let golden = folder("format/v1");
    let fresh = tempdir().unwrap();
    let update = std::env::var_os("PKG_UPDATE_FIXTURES").is_some();
    let fixtures = all();
    for (name, bytes) in &fixtures {
        std::fs::write(fresh.path().join(name), bytes).unwrap();
        if update {
            std::fs::create_dir_all(&golden).unwrap();
            std::fs::copy(fresh.path().join(name), golden.join(name)).unwrap();
        }
    }
    for (name, bytes) in fixtures.iter().filter(|(name, _)| !COMPRESSED.contains(name)) {
        let expected = std::fs::read(golden.join(name)).unwrap();
        assert!(expected == *bytes, "{name} is {} bytes now, and other ones", bytes.len());
    }
    let known =
        std::fs::read_dir(&golden).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    for name in known.filter(|name| name != "README.md") {
        assert!(fixtures.contains_key(name.as_str()), "nothing makes {name} any more");
    }
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(folder("format/v1").join(name)).unwrap()
}

/// REL-039: what format 1 wrote is read, and says what it said.
#[test]
fn format_1_is_read() {
    assert_eq!(Blob::decode(&golden("blob.cbor")).unwrap(), Blob::Chunks { size: 12_291, pieces: pieces(3) });
    assert!(matches!(Blob::decode(&golden("blob-fan.cbor")).unwrap(), Blob::Fan { .. }));
    assert_eq!(Tree::decode(&golden("tree.cbor")).unwrap(), Tree::Entries(small_tree()));
    assert!(matches!(Tree::decode(&golden("tree-fan.cbor")).unwrap(), Tree::Fan(_)));
    let author = Author::new(1);
    let first = Signed::<Identity>::decode(&golden("identity.envelope")).unwrap();
    let mut chain = objects::identity::Chain::begin(author.id(), &first).unwrap();
    chain.extend(&Signed::decode(&golden("identity-2.envelope")).unwrap()).unwrap();
    assert_eq!((chain.head().n, chain.head().roles.root.threshold()), (1, 2));
    let role = Role::new(vec![author.key().public()], 1).unwrap();
    let entry =
        Signed::<Entry>::decode(&golden("entry-full.envelope")).unwrap().verify(&role, "release").unwrap();
    assert_eq!(entry.release().unwrap().version.to_string(), "2!1.4.0-rc.1+linux~3");
    let summary = Summary::decode(&golden("summary.cbor")).unwrap();
    assert_eq!(summary.index.envelope().encode(), golden("index.envelope"));
    assert_eq!(summary.beacon.verify(&role, "beacon").unwrap().index, summary.index.id());
    assert_eq!(packlist::decode(&golden("packs.cbor")).unwrap()[0].objects, 42);
}

/// REL-039: a repository whose files are the fixtures' is opened, and its refs and logs are read.
#[test]
fn a_repository_of_format_1_is_opened() {
    let root = tempdir().unwrap();
    let tag: refs::RefName =
        format!("refs/tags/{}/hello/1.0.0", Author::new(1).id().to_hex()).parse().unwrap();
    let put = |path: &str, name: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, golden(name)).unwrap();
    };
    put("config", "config");
    put("summary", "summary.cbor");
    put(tag.as_str(), "ref");
    put(&format!("logs/{tag}"), "reflog");
    let repository = objects::repository::Repository::open(root.path()).unwrap();
    assert!(repository.summary().unwrap().is_some());
    let (lines, damaged) = refs::reflog::read(root.path(), &tag).unwrap();
    assert_eq!((lines.len(), damaged, lines[1].at), (2, 0, now().after(60)));
    assert_eq!(repository.refs().try_find(&tag).unwrap(), lines[0].new);
    std::fs::remove_file(root.path().join(tag.as_str())).unwrap();
    put("packed-refs", "packed-refs");
    assert_eq!(repository.refs().try_find(&tag).unwrap(), lines[1].new);
}

/// REL-039: golden packs are read, object by object, with and without their indexes. Compressed
/// frames are compared by their tables and unpacked bytes, since zstd may change how it packs;
/// stored frames byte for byte, above.
#[test]
fn packs_of_format_1_are_read() {
    for (name, objects) in [("raw", raw_objects()), ("packed", packed_objects())] {
        let (pack, index) = (golden(&format!("{name}.pack")), golden(&format!("{name}.idx")));
        let tail = objects::store::pack::table::table_len(pack.last_chunk().unwrap()).unwrap();
        let table = &pack[pack.len() - tail - 44..pack.len() - 44];
        let id = PackId::new(ObjectId::of(table));
        for with_index in [true, false] {
            let repository = TempRepository::new();
            repository.plant(id, &pack, with_index.then_some(&index));
            let store = repository.reopened_store();
            for object in &objects {
                assert_eq!(*store.find(Kind::Chunk, &ObjectId::of(object)).unwrap(), **object);
            }
            assert_eq!(std::fs::read(store.packs_folder().join(index_name(id))).unwrap(), index);
            let opened = Pack::open(&store.packs_folder(), id, &store).unwrap();
            let (fresh, _) = packed(&objects);
            let again = TempRepository::new();
            let fresh_len = objects::store::pack::table::table_len(fresh.last_chunk().unwrap()).unwrap();
            let fresh_id = PackId::new(ObjectId::of(&fresh[fresh.len() - fresh_len - 44..fresh.len() - 44]));
            again.plant(fresh_id, &fresh, None);
            let fresh = Pack::open(&again.store().packs_folder(), fresh_id, again.store()).unwrap();
            let shape = |pack: &Pack| -> Vec<_> {
                pack.table()
                    .frames()
                    .iter()
                    .map(|frame| (frame.raw, frame.lengths.clone(), frame.base.clone()))
                    .collect()
            };
            assert_eq!(shape(&opened), shape(&fresh));
            assert_eq!(opened.index().ids_in_pack_order(), fresh.index().ids_in_pack_order());
        }
    }
}

/// Ids are what `b3sum` prints: the official vectors of BLAKE3, all 35 lengths.
#[test]
fn ids_are_blake3() {
    let vectors = std::fs::read(folder("vectors/blake3-test_vectors.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_slice(&vectors).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 35);
    for case in cases {
        let len = case["input_len"].as_u64().unwrap() as usize;
        let input: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
        assert_eq!(ObjectId::of(&input).to_hex(), case["hash"].as_str().unwrap()[..64], "{len} bytes");
    }
}

/// An id is the hash of an object's bytes and nothing else: the fixtures' own, and as text.
#[test]
fn ids_are_those_of_the_bytes() {
    let ids = String::from_utf8(golden("ids.txt")).unwrap();
    for line in ids.lines() {
        let (id, name) = line.split_once(' ').unwrap();
        let bytes = golden(name);
        let expected = match Envelope::decode(&bytes) {
            Ok(envelope) => envelope.id().object(),
            Err(_) => ObjectId::from_bytes(*blake3::hash(&bytes).as_bytes()),
        };
        assert_eq!(id.parse::<ObjectId>().unwrap(), expected, "{name}");
        assert_eq!(id, expected.to_string());
    }
    for bad in [
        "",
        "blake3:",
        "blake3:00",
        &"0".repeat(63),
        &"0".repeat(65),
        &"A".repeat(64),
        &"g".repeat(64),
        &format!("sha256:{}", "0".repeat(64)),
    ] {
        assert!(bad.parse::<ObjectId>().is_err(), "{bad:?}");
    }
    let id = ObjectId::of(b"x");
    assert_eq!(
        codec::encode(&id),
        [&[0x58, 32], id.as_bytes().as_slice()].concat(),
        "32 bytes in binary forms"
    );
}
