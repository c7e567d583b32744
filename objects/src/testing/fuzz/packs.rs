//! Packs: frames, the table of contents, the tail, the index, whole packs, and unfinished ones.

use super::{same, with_sum};
use crate::id::{ObjectId, PackId};
use crate::object::Find;
use crate::store::Store;
use crate::store::pack::index::{self, Index};
use crate::store::pack::table::{self, Frame, TAIL_BYTES, Table};
use crate::store::pack::{Pack, file_name, frame, index_name, objects_in, open_frame, writer};
use crate::testing::{Loose, Random, folder_in_memory};
use std::fs;
use std::path::Path;

/// How much of a stated length stands before a frame in the input of [`frame()`].
const LENGTH_BYTES: usize = 4;

/// A zstd frame after the length it is said to unpack to (u32 little-endian); plain, and with a
/// prefix. What unpacks has that length.
pub fn frame(data: &[u8]) -> bool {
    let Some((length, stored)) = data.split_first_chunk::<LENGTH_BYTES>() else { return false };
    let length = u32::from_le_bytes(*length) as usize;
    let prefix = Random::new(1).text(2_000);
    let opened = [frame::open(stored, length, None), frame::open(stored, length, Some(&prefix))];
    for raw in opened.iter().flatten() {
        assert_eq!(raw.len(), length);
    }
    if let Ok(raw) = &opened[0] {
        assert!(frame::open(&frame::seal(raw, 1), length, None).as_ref() == Ok(raw), "it seals to another");
    }
    opened.iter().any(Result::is_ok)
}

/// A table of contents: one spelling, places inside their frames.
pub fn table(data: &[u8]) -> bool {
    let Ok(table) = Table::decode(data) else { return false };
    same("table", &table.encode(), data);
    check_places(&table);
    let tail = table.tail();
    let length = table.frames_bytes() + tail.len() as u64;
    assert!(table::decode_tail(&tail, length).as_ref() == Ok(&table), "its tail is that of another table");
    true
}

fn check_places(table: &Table) {
    for number in (0..table.objects()).take(1_000) {
        let place = table.place(number);
        assert!(table.objects_of(place.frame).contains(&number));
        assert!(place.range.end <= table.frames()[place.frame].raw as usize);
    }
    let ends = (0..table.frames().len()).map(|frame| table.stored_range(frame).end);
    assert!(ends.max().unwrap_or(0) == table.frames_bytes());
}

/// The end of a pack, of which nothing else is there: bytes as long as the pack they end.
pub fn tail(data: &[u8]) -> bool {
    let Some(end) = data.last_chunk::<12>() else { return false };
    let Ok(length) = table::table_len(end) else { return false };
    let Some(at) = data.len().checked_sub(length + TAIL_BYTES) else { return false };
    let tail = &data[at..];
    let Ok(table) = table::decode_tail(tail, data.len() as u64) else { return false };
    same("tail", &table.tail(), tail);
    true
}

/// An index, of the pack whose table it holds: no read outside, whatever is asked.
pub fn index(data: &[u8]) -> bool {
    let body = &data[..data.len().saturating_sub(32)];
    let mended = with_sum(data, body);
    mended.is_some_and(|mended| is_index(&mended)) | is_index(data)
}

fn is_index(data: &[u8]) -> bool {
    let stated = data.get(12..16).map_or(0, |len| u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
    let end = data.len().saturating_sub(32);
    let table = &data[end.saturating_sub(stated as usize)..end];
    let Ok(opened) = Index::open(data, PackId::new(ObjectId::of(table))) else { return false };
    for (id, _) in opened.ids() {
        let found = opened.number(&id);
        assert!(found.is_none_or(|number| number < opened.table().objects()));
    }
    for byte in [0, 1, 0x7f, 0xff] {
        let _ = opened.number(&ObjectId::from_bytes([byte; 32]));
    }
    let ids = opened.ids_in_pack_order();
    let whole = opened.check().is_ok();
    if whole {
        same("index", &index::encode(opened.table(), &ids), data);
        assert!(opened.ids().all(|(id, number)| opened.number(&id) == Some(number)));
    }
    whole
}

/// A whole pack: opened as it is, and again with its hashes made right. An object that is served
/// has the id it was asked by.
pub fn pack(data: &[u8]) -> bool {
    let mended = mended(data);
    let whole = mended.as_ref().is_some_and(|(id, pack, index)| serves(*id, pack, Some(index)));
    let id = data.last_chunk::<12>().and_then(|end| {
        let at = data.len().checked_sub(table::table_len(end).ok()? + TAIL_BYTES - 8)?;
        let body = &data[at..data.len() - (TAIL_BYTES - 8)];
        Some(PackId::new(ObjectId::of(body)))
    });
    let named = id.unwrap_or(PackId::new(ObjectId::of(data)));
    // The first one holds already what the second would say again, at the price of syncing its index.
    let known = mended.is_some_and(|(_, pack, _)| pack == data);
    whole | (!known && serves(named, data, None))
}

/// The pack with each frame's hash as its bytes have it, and the index that belongs to it.
fn mended(data: &[u8]) -> Option<(PackId, Vec<u8>, Vec<u8>)> {
    let end = data.len().checked_sub(TAIL_BYTES - 8)?;
    let start = end.checked_sub(table::table_len(data.last_chunk()?).ok()?)?;
    let mut frames: Vec<Frame> = Table::decode(&data[start..end]).ok()?.frames().to_vec();
    let (mut ids, mut pack) = (Vec::new(), Vec::new());
    let mut objects = Loose::default();
    for row in &mut frames {
        let stored = data.get(pack.len()..pack.len() + row.stored as usize)?;
        row.hash = ObjectId::of(stored);
        match open_frame(row, stored, &objects) {
            Ok(Ok(raw)) => ids.extend(objects_in(row, &raw).map(|object| objects.add(object))),
            _ => ids.extend(row.lengths.iter().map(|length| ObjectId::of(&length.to_le_bytes()))),
        }
        pack.extend_from_slice(stored);
    }
    let table = Table::new(frames).ok()?;
    pack.extend(table.tail());
    Some((table.pack_id(), pack, index::encode(&table, &ids)))
}

/// Puts a pack into a store of its own and asks for all its objects; true if some is served.
fn serves(id: PackId, pack: &[u8], index: Option<&[u8]>) -> bool {
    let folder = folder_in_memory();
    let packs = folder.path().join("pack");
    fs::create_dir(&packs).expect("the folder is ours");
    fs::write(packs.join(file_name(id)), pack).expect("the folder is ours");
    if let Some(index) = index {
        fs::write(packs.join(index_name(id)), index).expect("the folder is ours");
    }
    let _ = Pack::open(&packs, id, &Loose::default());
    let store = Store::open(folder.path()).expect("a broken pack is set aside");
    let opened = store.packs();
    assert_eq!(opened.len() + store.broken().len(), 1);
    let ids = opened.iter().flat_map(|pack| pack.index().ids().map(|(id, _)| id));
    ids.take(1_000).filter(|id| is_served(&store, id)).count() > 0
}

fn is_served(store: &Store, id: &ObjectId) -> bool {
    let Ok(Some(bytes)) = store.try_find(id) else { return false };
    assert_eq!(ObjectId::of(&bytes), *id, "the store serves other bytes");
    true
}

/// What a killed process left: the list of its frames after their length (u16 little-endian), then
/// the unfinished pack. What is saved from it is a sound pack.
pub fn salvage(data: &[u8]) -> bool {
    let Some((length, rest)) = data.split_first_chunk::<2>() else { return false };
    let (frames, part) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
    let folder = folder_in_memory();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(folder.path().join(name), bytes).expect("the folder is ours");
    };
    write("1.frames", frames);
    write("1.part", part);
    let packs = folder.path().join("pack");
    let saved = writer::salvage(folder.path(), &packs).expect("the disk takes a small pack");
    assert_eq!(left_in(folder.path()), usize::from(saved > 0), "a leftover was left again");
    let store = Store::open(folder.path()).expect("the folder can be read");
    assert!(store.broken().is_empty(), "an unsound pack was made: {:?}", store.broken());
    let served = store.packs().iter().map(|pack| pack.index().len()).sum::<usize>();
    assert!(served <= saved);
    for pack in store.packs() {
        assert!(pack.index().ids().all(|(id, _)| is_served(&store, &id)), "not all that was saved is served");
    }
    saved > 0
}

fn left_in(folder: &Path) -> usize {
    fs::read_dir(folder).expect("the folder is ours").count()
}
