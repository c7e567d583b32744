//! Frames and packs that are cut, bent, or lie.

use objects::blob::Blob;
use objects::id::{ChunkId, ObjectId, PackId};
use objects::limits::{DELTA_DEPTH_MAX, FRAME_BYTES_MAX, PREFIX_BYTES_MAX, PREFIX_RANGES_MAX};
use objects::object::{Find, Kind};
use objects::store::Store;
use objects::store::pack::frame;
use objects::store::pack::table::{Base, BaseOf, Frame, Table};
use objects::store::pack::writer::describe;
use objects::testing::literally::{self, Cbor, PackedFrame};
use objects::testing::{Damage, Random, TempRepository};
use proptest::prelude::*;
use zstd_safe::{CCtx, CParameter};

/// `raw` compressed with the given parameters.
fn compressed(raw: &[u8], parameters: &[CParameter]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(raw.len()));
    let mut context = CCtx::create();
    parameters.iter().for_each(|parameter| _ = context.set_parameter(*parameter).unwrap());
    context.compress2(&mut packed, raw).unwrap();
    packed
}

/// A frame by hand: one raw block, the size in eight bytes, the window as its header byte says.
fn by_hand(raw: &[u8], stated: u64, window: u8) -> Vec<u8> {
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0b1100_0000, window];
    frame.extend_from_slice(&stated.to_le_bytes());
    frame.extend_from_slice(&((raw.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    frame.extend_from_slice(raw);
    frame
}

/// What stands in a window descriptor for 2 to the power of `log`, and so many eighths more.
fn window(log: u8, eighths: u8) -> u8 {
    (log - 10) << 3 | eighths
}

const EIGHT_MIB: u8 = 23;

fn refused(frame: &[u8], raw_len: usize, what: &str) -> String {
    frame::open(frame, raw_len, None).expect_err(what)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..Default::default() })]

    /// What is sealed opens again, compressed or stored, with and without a prefix.
    #[test]
    fn sealed_frames_open_again(seed: u64, text: bool, len in 0..300_000usize, prefix in 1..100_000usize) {
        let mut random = Random::new(seed);
        let raw = if text { random.text(len) } else { random.bytes(len) };
        let sealed = frame::seal(&raw, 3);
        prop_assert!(sealed.len() <= len + 64, "what cannot shrink is stored");
        prop_assert_eq!(&frame::open(&sealed, len, None).unwrap(), &raw);
        let prefix = [&raw[..len / 2], &random.bytes(prefix)].concat();
        let sealed = frame::seal_with_prefix(&raw, &prefix, 9);
        prop_assert_eq!(&frame::open(&sealed, len, Some(&prefix)).unwrap(), &raw);
    }
}

/// The shortest frames, and those at the edges of a block, open again.
#[test]
fn frames_at_the_edges_open_again() {
    for len in [0, 1, 2, 99, 100, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 256 << 10, 1 << 20] {
        for raw in [Random::new(1).bytes(len), vec![0; len]] {
            let sealed = frame::seal(&raw, 3);
            assert_eq!(frame::open(&sealed, len, None).as_ref(), Ok(&raw), "{len} bytes");
        }
    }
}

/// SEC-021: a frame cut anywhere is refused.
#[test]
fn cut_frames_are_refused() {
    for raw in [Random::new(1).text(9_000), Random::new(1).bytes(3_000)] {
        let sealed = frame::seal(&raw, 3);
        (0..sealed.len()).for_each(|len| _ = refused(&sealed[..len], raw.len(), "a cut"));
    }
}

/// SEC-022: a flipped bit never makes a frame panic or give another number of bytes.
#[test]
fn flipped_frames_give_the_stated_length_or_nothing() {
    let mut random = Random::new(2);
    let raw = random.text(5_000);
    let sealed = frame::seal(&raw, 3);
    for _ in 0..2_000 {
        let bent = Damage::flip(&mut random, sealed.len()).of(&sealed).unwrap();
        if let Ok(opened) = frame::open(&bent, raw.len(), None) {
            assert_eq!(opened.len(), raw.len());
        }
    }
}

/// SEC-023: 8 KB that unpack to 256 MiB stop at the limit, at the stated size, and when no size is
/// stated at all.
#[test]
fn a_compression_bomb_is_refused() {
    const BOMB: usize = 256 << 20;
    let zeros = vec![0; BOMB];
    let level = CParameter::CompressionLevel(19);
    let bomb = compressed(&zeros, &[level]);
    assert!(bomb.len() < 9_000, "{} bytes", bomb.len());
    assert!(refused(&bomb, BOMB, "beyond the limit").contains("more than"));
    refused(&bomb, 1 << 20, "another size");
    let silent = compressed(&zeros, &[level, CParameter::ContentSizeFlag(false)]);
    refused(&silent, 1 << 20, "no size");
    let twice = compressed(&bomb, &[level]);
    assert_eq!(frame::open(&twice, bomb.len(), None).unwrap(), bomb, "one layer is taken off, and only one");
    drop(zeros);

    let row = Frame {
        stored: bomb.len() as u32,
        raw: BOMB as u32,
        hash: ObjectId::of(&bomb),
        base: vec![],
        lengths: vec![BOMB as u32],
    };
    assert!(row.check().is_err(), "nor may a table state it");
    let lying = PackedFrame::stored_as(&[vec![0; 1 << 20]], bomb);
    let repository = TempRepository::new();
    let packed = literally::pack(&[lying]);
    repository.plant(packed.id, &packed.pack, Some(&packed.index));
    let error = repository.store().try_find(&ObjectId::of(&vec![0; 1 << 20])).unwrap_err();
    assert_eq!(error.code(), "E-FORMAT", "{error}");
}

/// SEC-024: a frame states its size, and a window of at most 8 MiB.
#[test]
fn frames_without_a_size_or_with_a_large_window_are_refused() {
    let raw = Random::new(3).bytes(1_000);
    refused(&compressed(&raw, &[CParameter::ContentSizeFlag(false)]), 1_000, "no size");
    let at_limit = by_hand(&raw, 1_000, window(EIGHT_MIB, 0));
    assert_eq!(frame::open(&at_limit, 1_000, None).as_ref(), Ok(&raw), "8 MiB is the most");
    for (log, eighths) in [(EIGHT_MIB, 1), (24, 0), (25, 0), (31, 0), (31, 7), (41, 7)] {
        refused(&by_hand(&raw, 1_000, window(log, eighths)), 1_000, "a large window");
    }
    let prefix = raw.as_slice();
    assert!(
        frame::open(&by_hand(&raw, 1_000, window(25, 0)), 1_000, Some(prefix)).is_ok(),
        "32 MiB with a prefix"
    );
    assert!(frame::open(&by_hand(&raw, 1_000, window(25, 1)), 1_000, Some(prefix)).is_err());
}

/// SEC-025: stated sizes that lie, up to the largest there are.
#[test]
fn frames_that_lie_about_their_size_are_refused() {
    let raw = Random::new(4).bytes(1_000);
    for stated in
        [0, 1, 999, 1_001, 1 << 24, (1 << 24) + 1, 1 << 31, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX]
    {
        let frame = by_hand(&raw, stated, window(EIGHT_MIB, 0));
        refused(&frame, 1_000, "the table says otherwise");
        refused(&frame, stated as usize, "its blocks say otherwise");
    }
}

/// SEC-026: exactly one frame, nothing before it and nothing after it.
#[test]
fn a_frame_stands_alone() {
    let raw = Random::new(5).text(1_000);
    let (frame, empty) = (frame::seal(&raw, 3), compressed(b"", &[]));
    let skippable = [0x184D_2A50_u32.to_le_bytes().as_slice(), &4u32.to_le_bytes(), b"skip"].concat();
    for (what, bytes) in [
        ("two frames", [frame.as_slice(), &frame].concat()),
        ("an empty frame first", [empty.as_slice(), &frame].concat()),
        ("an empty frame behind", [frame.as_slice(), &empty].concat()),
        ("a skippable frame first", [skippable.as_slice(), &frame].concat()),
        ("a skippable frame behind", [frame.as_slice(), &skippable].concat()),
        ("a skippable frame alone", skippable.clone()),
        ("a byte behind", [frame.as_slice(), &[0]].concat()),
        ("nothing", Vec::new()),
    ] {
        refused(&bytes, 1_000, what);
        refused(&bytes, 2_000, what);
        refused(&bytes, 0, what);
    }
}

/// SEC-024, SEC-035: dictionaries, reserved bits and blocks, wrong checksums.
#[test]
fn odd_frames_are_refused() {
    let raw = Random::new(6).bytes(1_000);
    let mut reserved = by_hand(&raw, 1_000, window(20, 0));
    reserved[14] |= 0b110; // block type 3
    refused(&reserved, 1_000, "a reserved block");
    let mut reserved = by_hand(&raw, 1_000, window(20, 0));
    reserved[4] |= 0b1000;
    refused(&reserved, 1_000, "a reserved bit");
    let mut asking = by_hand(&raw, 1_000, window(20, 0));
    asking[4] |= 1;
    asking.insert(6, 77);
    refused(&asking, 1_000, "a dictionary");
    let mut checked = compressed(&raw, &[CParameter::ChecksumFlag(true)]);
    assert!(frame::open(&checked, 1_000, None).is_ok());
    *checked.last_mut().unwrap() ^= 1;
    refused(&checked, 1_000, "a wrong checksum");
}

fn vectors(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/../fixtures/vectors/zstd/{folder}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let files =
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()));
    files.collect()
}

/// SEC-021, SEC-024: zstd's own golden files. Bad ones are refused at every length they could
/// claim; good ones open if they state their size, as ours have to.
#[test]
fn golden_files_of_zstd_are_judged_right() {
    let (bad, good) = (vectors("golden-decompression-errors"), vectors("golden-decompression"));
    assert_eq!((bad.len(), good.len()), (3, 4));
    for (name, bytes) in &bad {
        for len in (0..300).chain([1 << 10, 128 << 10, 1 << 20]) {
            refused(bytes, len, name);
        }
    }
    for (name, bytes) in &good {
        let stated = zstd_safe::get_frame_content_size(bytes).unwrap();
        let opened = frame::open(bytes, stated.unwrap_or(0) as usize, None);
        assert_eq!(opened.is_ok(), stated.is_some(), "{name}: {opened:?}");
    }
    for (name, raw) in vectors("golden-compression") {
        for level in [1, 3, 9, 19] {
            let sealed = frame::seal(&raw, level);
            assert!(frame::open(&sealed, raw.len(), None).as_ref() == Ok(&raw), "{name} at level {level}");
        }
    }
}

/// A repository with one pack, planted without its index, and what opening the pack says.
fn opened_without_index(id: PackId, pack: &[u8]) -> Option<String> {
    let repository = TempRepository::new();
    repository.plant(id, pack, None);
    let store = repository.reopened_store();
    let broken = store.broken().remove(&id);
    assert_eq!(broken.is_none(), store.packs().len() == 1);
    broken
}

/// SEC-021, SEC-028: every fault of a pack's tail is told, with no index to help.
#[test]
fn packs_with_a_bad_tail_are_refused() {
    let packed = literally::pack(&[PackedFrame::of(&[Random::new(1).text(3_000), b"two".to_vec()])]);
    assert_eq!(opened_without_index(packed.id, &packed.pack), None);
    let table_len = {
        let at = packed.pack.len() - 12;
        u32::from_le_bytes(packed.pack[at..at + 4].try_into().unwrap()) as usize
    };
    let tail = packed.pack.len() - table_len - 52;
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut pack = packed.pack.clone();
        edit(&mut pack);
        opened_without_index(packed.id, &pack)
    };
    let len = packed.pack.len();
    let faults: [(&str, Option<String>); 10] = [
        ("magic of the tail", edited(&|pack| pack[tail] ^= 1)),
        ("length of the tail", edited(&|pack| pack[tail + 4] ^= 1)),
        ("hash of the table", edited(&|pack| pack[len - 13] ^= 1)),
        (
            "a table longer than the pack",
            edited(&|pack| pack[len - 12..len - 8].copy_from_slice(&(len as u32).to_le_bytes())),
        ),
        ("a table of 4 GiB", edited(&|pack| pack[len - 12..len - 8].fill(0xff))),
        ("a table of no bytes", edited(&|pack| pack[len - 12..len - 8].fill(0))),
        ("the last word", edited(&|pack| pack[len - 1] ^= 1)),
        ("a byte before the frames", edited(&|pack| pack.insert(0, 0))),
        ("a byte less before the tail", edited(&|pack| _ = pack.remove(tail - 1))),
        ("nothing at all", edited(&|pack| pack.clear())),
    ];
    for (what, broken) in faults {
        assert!(broken.is_some(), "{what} is not seen");
    }
    let other = PackId::new(ObjectId::of(b"another name"));
    assert!(opened_without_index(other, &packed.pack).is_some(), "a pack under another name");
}

/// SEC-025, SEC-028: tables that do not agree with themselves.
#[test]
fn tables_that_lie_are_refused() {
    let id = || Cbor::id(ObjectId::of(b"x"));
    let int = Cbor::Int;
    let lens = |lengths: &[u64]| Cbor::Array(lengths.iter().map(|len| Cbor::Int(*len)).collect());
    let row = |stored: Cbor, raw: Cbor, base: Cbor, lengths: Cbor| {
        Cbor::Array(vec![stored, raw, id(), base, lengths])
    };
    let table = |rows: Vec<Cbor>| Cbor::Array(vec![Cbor::text("pack/1"), Cbor::Array(rows)]).encode();
    let none = || Cbor::Array(vec![]);
    let base = |what: u64, len: u64| Cbor::Array(vec![int(what), id(), int(0), int(len)]);
    let too_large = FRAME_BYTES_MAX as u64 + 1;
    assert!(Table::decode(&table(vec![row(int(9), int(10), none(), lens(&[4, 6]))])).is_ok());
    for (what, bytes) in [
        ("objects that do not fill the frame", table(vec![row(int(9), int(10), none(), lens(&[4, 5]))])),
        ("objects that overfill it", table(vec![row(int(9), int(10), none(), lens(&[4, 7]))])),
        (
            "lengths that wrap around",
            table(vec![row(int(9), int(10), none(), lens(&[u64::from(u32::MAX), 11]))]),
        ),
        ("a frame of no objects", table(vec![row(int(9), int(0), none(), lens(&[]))])),
        ("a frame beyond the limit", table(vec![row(int(9), int(too_large), none(), lens(&[too_large]))])),
        ("a frame stored in 4 GiB", table(vec![row(int(u64::from(u32::MAX)), int(10), none(), lens(&[10]))])),
        ("a size beyond 32 bits", table(vec![row(int(1 << 32), int(10), none(), lens(&[10]))])),
        ("a negative length", table(vec![row(int(9), int(10), none(), Cbor::Raw(vec![0x81, 0x20]))])),
        ("an unknown base", table(vec![row(int(9), int(10), Cbor::Array(vec![base(2, 1)]), lens(&[10]))])),
        (
            "a prefix beyond the limit",
            table(vec![row(
                int(9),
                int(10),
                Cbor::Array(vec![base(0, PREFIX_BYTES_MAX as u64 + 1)]),
                lens(&[10]),
            )]),
        ),
        (
            "a prefix that wraps around",
            table(vec![row(int(9), int(10), Cbor::Array(vec![base(0, u64::MAX), base(1, 2)]), lens(&[10]))]),
        ),
        (
            "too many ranges",
            table(vec![row(
                int(9),
                int(10),
                Cbor::Array(vec![base(0, 0); PREFIX_RANGES_MAX + 1]),
                lens(&[10]),
            )]),
        ),
        ("another kind", Cbor::Array(vec![Cbor::text("pack/2"), none()]).encode()),
        (
            "a stated count",
            Cbor::Array(vec![Cbor::text("pack/1"), Cbor::StatedArray(1 << 40, vec![])]).encode(),
        ),
    ] {
        assert!(Table::decode(&bytes).is_err(), "{what}");
        let packed = literally::pack_around(&[0; 9], &bytes, 1);
        assert!(opened_without_index(packed.id, &packed.pack).is_some(), "{what}");
        let repository = TempRepository::new();
        repository.plant(packed.id, &packed.pack, Some(&packed.index));
        assert!(repository.reopened_store().broken().contains_key(&packed.id), "{what}");
    }
}

fn object(n: u64) -> Vec<u8> {
    Random::new(n).bytes(200)
}

fn whole(n: u64) -> Base {
    Base { of: BaseOf::Object, id: ObjectId::of(&object(n)), start: 0, len: 200 }
}

/// Object `n` as a delta against object `base`.
fn delta(n: u64, base: u64) -> PackedFrame {
    PackedFrame::delta(&object(n), vec![whole(base)], &object(base))
}

fn store_of(frames: &[PackedFrame]) -> (TempRepository, Store) {
    let repository = TempRepository::new();
    let packed = literally::pack(frames);
    repository.plant(packed.id, &packed.pack, Some(&packed.index));
    let store = repository.reopened_store();
    (repository, store)
}

fn read(store: &Store, n: u64) -> Result<Vec<u8>, objects::object::Error> {
    store.find(Kind::Chunk, &ObjectId::of(&object(n))).map(|bytes| bytes.to_vec())
}

/// SEC-030: chains of delta frames as deep as allowed are read; deeper ones, rings and those with
/// nothing at their end are refused.
#[test]
fn delta_chains_are_bounded() {
    let mut frames = vec![PackedFrame::of(&[object(0)])];
    frames.extend((1..=DELTA_DEPTH_MAX as u64 + 1).map(|n| delta(n, n - 1)));
    let deepest = DELTA_DEPTH_MAX as u64;
    let (_kept, store) = store_of(&frames);
    assert_eq!(read(&store, deepest).unwrap(), object(deepest));
    let (_kept, store) = store_of(&frames); // with nothing cached
    assert_eq!(read(&store, deepest + 1).unwrap_err().code(), "E-LIMIT");
    assert_eq!(read(&store, 0).unwrap(), object(0), "a failed read leaves nothing behind");
    assert_eq!(read(&store, deepest).unwrap(), object(deepest));

    let (_kept, store) = store_of(&[delta(1, 1)]);
    assert_eq!(read(&store, 1).unwrap_err().code(), "E-LIMIT", "a frame that is its own base");
    let (_kept, store) = store_of(&[delta(1, 2), delta(2, 3), delta(3, 1)]);
    assert_eq!(read(&store, 2).unwrap_err().code(), "E-LIMIT", "a ring");
    let (_kept, store) = store_of(&[delta(1, 404)]);
    assert_eq!(read(&store, 1).unwrap_err().code(), "E-NOTFOUND", "no base");
    let mut long = whole(0);
    (long.start, long.len) = (100, 200);
    let beyond = PackedFrame::delta(&object(1), vec![long], &object(0));
    let (_kept, store) = store_of(&[PackedFrame::of(&[object(0)]), beyond]);
    assert_eq!(read(&store, 1).unwrap_err().code(), "E-FORMAT", "a base that is too short");
}

/// SEC-030: a wrong base is a bad pack and nothing more.
#[test]
fn a_delta_against_other_bytes_is_noticed() {
    let lying = PackedFrame::delta(&object(1), vec![whole(0)], &object(2));
    let (_kept, store) = store_of(&[PackedFrame::of(&[object(0)]), lying]);
    match read(&store, 1) {
        Ok(bytes) => assert_eq!(bytes, object(1)),
        Err(error) => assert!(["E-HASH", "E-FORMAT"].contains(&error.code()), "{error}"),
    }
}

/// SEC-030, SEC-017: within the depth allowed, a delta whose 300 bases each have 300 bases, and so
/// on, would take 8,100,000,000 reads; it is refused after a bounded number.
#[test]
fn a_delta_bomb_is_refused() {
    const WIDE: u64 = 40; // more frames than are cached
    let mut frames: Vec<PackedFrame> = (0..WIDE).map(|n| PackedFrame::of(&[object(n)])).collect();
    for level in 1..DELTA_DEPTH_MAX as u64 + 1 {
        for n in 0..WIDE {
            let below = (0..300).map(|at| (level - 1) * WIDE + at % WIDE);
            let base = below.map(|n| Base { len: 1, ..whole(n) }).collect();
            let object = object(level * WIDE + n);
            frames.push(PackedFrame::delta(&object, base, &[7; 300]));
        }
    }
    let (_kept, store) = store_of(&frames);
    let error = read(&store, DELTA_DEPTH_MAX as u64 * WIDE).unwrap_err();
    assert_eq!(error.code(), "E-LIMIT", "{error}");
    assert_eq!(read(&store, 3).unwrap(), object(3), "the next read begins anew");
}

/// SEC-030, SEC-035: a delta that names two long files in turn, four thousand times, is refused after
/// a bounded number of chunks was listed.
#[test]
fn a_delta_against_long_files_in_turn_is_refused() {
    const ROWS: usize = 20_000;
    let chunk = ChunkId::new(ObjectId::of(b"x"));
    let run = Blob::Chunks { size: ROWS as u64, pieces: vec![(chunk, 1); ROWS] }.encode();
    let (run_id, rows) = (ObjectId::of(&run), ROWS as u64);
    let fan = |runs: u64| literally::blob_fan(runs * rows, &vec![(run_id, rows, rows); runs as usize]);
    let (long, longer) = (fan(1), fan(2));
    let content = |blob: &[u8]| Base { of: BaseOf::Content, id: ObjectId::of(blob), start: 0, len: 1 };
    let in_turn: Vec<Base> =
        [content(&long), content(&longer)].into_iter().cycle().take(PREFIX_RANGES_MAX).collect();
    let lists = PackedFrame::of(&[b"x".to_vec(), run, long.clone(), longer.clone()]);
    let honest = PackedFrame::delta(&object(1), vec![content(&longer), content(&long)], b"xx");
    let hostile = PackedFrame::delta(&object(2), in_turn, &[b'x'; PREFIX_RANGES_MAX]);
    let (_kept, store) = store_of(&[lists, honest, hostile]);
    assert_eq!(read(&store, 1).unwrap(), object(1));
    assert_eq!(read(&store, 2).unwrap_err().code(), "E-FORMAT");
}

/// SEC-031: an id twice in one pack with different bytes: what is served matches the id.
#[test]
fn doubled_ids_in_a_pack_serve_the_right_bytes_or_none() {
    let right = object(1);
    let id = ObjectId::of(&right);
    for wrong_first in [true, false] {
        let mut forged = PackedFrame::of(&[object(2)]);
        forged.ids = vec![id];
        let mut frames = vec![PackedFrame::of(std::slice::from_ref(&right))];
        frames.insert(if wrong_first { 0 } else { 1 }, forged);
        let (repository, store) = store_of(&frames);
        if let Ok(bytes) = store.find(Kind::Chunk, &id) {
            assert_eq!(*bytes, *right);
        }
        let report =
            objects::fsck::check(&repository.reopened(), objects::fsck::Options { data: true }).unwrap();
        assert!(!report.findings.is_empty(), "fsck tells");
    }
}

/// SEC-025: the row of a frame is what was packed, and no more.
#[test]
fn a_row_describes_its_frame() {
    let raw = b"abc".to_vec();
    let stored = frame::seal(&raw, 3);
    let row = describe(&raw, &stored, vec![1, 2], Vec::new());
    assert!(row.check().is_ok());
    let table = Table::new(vec![row.clone(), row]).unwrap();
    assert_eq!((table.objects(), table.frames_bytes()), (4, 2 * stored.len() as u64));
    assert_eq!(table.place(3).range, 1..3);
    assert_eq!(Table::decode(&table.encode()).unwrap(), table);
}
