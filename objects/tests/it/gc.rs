//! Collecting: what is live stays, whatever else is wrong.

use objects::id::{ObjectId, PackId, TreeId};
use objects::ids::IdSet;
use objects::object::{Find, Kind};
use objects::store::gc::{self, Plan, Roots};
use objects::store::pack::table::{Base, BaseOf};
use objects::store::pack::writer::Options;
use objects::store::pack::{file_name, index_name};
use objects::testing::literally::{self, PackedFrame, reseal};
use objects::testing::{Damage, Random, TempRepository, snapshot, snapshot_of_store};
use objects::time::Timestamp;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

fn object(n: u64) -> Vec<u8> {
    let mut random = Random::new(n);
    let len = 200 + random.below(2_000) as usize;
    if n.is_multiple_of(2) { random.text(len) } else { random.bytes(len) }
}

fn id(n: u64) -> ObjectId {
    ObjectId::of(&object(n))
}

fn live(numbers: impl IntoIterator<Item = u64>) -> IdSet {
    numbers.into_iter().map(id).collect()
}

/// `seconds` after now, as the disk's clock has it.
fn in_future(seconds: u64) -> Timestamp {
    Timestamp::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + seconds).unwrap()
}

fn add(repository: &TempRepository, numbers: std::ops::Range<u64>) {
    repository.add(&numbers.map(object).collect::<Vec<_>>());
}

fn plan(repository: &TempRepository, live: &IdSet) -> Plan {
    let roots = Roots { live: live.clone(), grace_seconds: 0, now: in_future(100) };
    gc::plan(&repository.reopened_store(), roots).unwrap()
}

/// Plans and applies; the plan by itself changes nothing.
fn collect(repository: &TempRepository, live: &IdSet) -> Result<Option<PackId>, objects::object::Error> {
    let before = snapshot(repository.root());
    let plan = plan(repository, live);
    assert_eq!(snapshot(repository.root()), before, "a plan changes nothing");
    let new = gc::apply(repository.store(), &plan, Options::default());
    assert_eq!(std::fs::read_dir(repository.store().staging_folder()).unwrap().count(), 0);
    new
}

fn assert_served(repository: &TempRepository, numbers: impl IntoIterator<Item = u64>) {
    let store = repository.reopened_store();
    for n in numbers {
        assert_eq!(*store.find(Kind::Chunk, &id(n)).unwrap(), *object(n), "object {n}");
    }
}

fn findings(repository: &TempRepository) -> usize {
    let options = objects::fsck::Options { data: true };
    objects::fsck::check(&repository.reopened(), options).unwrap().findings.len()
}

/// REL-003: dead packs go, packs with few live objects are rewritten, live ones stay as they are.
#[test]
fn live_objects_stay_and_dead_ones_go() {
    let repository = TempRepository::new();
    add(&repository, 0..20);
    add(&repository, 20..40);
    add(&repository, 40..60);
    let kept = live((0..20).chain([20, 25, 30]));
    let plan = plan(&repository, &kept);
    assert_eq!((plan.drop.len(), plan.rewrite.len(), plan.dead_objects), (1, 1, 37));
    collect(&repository, &kept).unwrap().expect("three objects move");
    assert_served(&repository, (0..20).chain([20, 25, 30]));
    for n in [21, 39, 40, 59] {
        assert!(repository.store().try_find(&id(n)).unwrap().is_none(), "object {n} is dead");
    }
    assert_eq!(repository.store().packs().len(), 2);
    assert_eq!(findings(&repository), 0);
    assert!(self::plan(&repository, &kept).is_empty(), "a second collection has nothing to do");
}

/// REL-025, REL-037: packs younger than the grace period are left alone; a clock that was set back
/// makes a pack young, never old.
#[test]
fn the_grace_period_is_respected() {
    let repository = TempRepository::new();
    add(&repository, 0..10);
    let planned = |grace_seconds, now| {
        let roots = Roots { live: IdSet::default(), grace_seconds, now };
        gc::plan(repository.store(), roots).unwrap().drop.len()
    };
    assert_eq!(planned(3_600, in_future(3_500)), 0);
    assert_eq!(planned(3_600, in_future(3_700)), 1);
    assert_eq!(planned(0, Timestamp::new(1_000).unwrap()), 0, "long before the pack was written");
    assert_eq!(planned(u64::MAX, in_future(1 << 30)), 0);
}

/// Many small packs become one, with every object; the list of packs hands its tips on.
#[test]
fn small_packs_are_gathered() {
    let repository = TempRepository::new();
    (0..12).for_each(|n| add(&repository, n * 10..n * 10 + 10));
    let tip = TreeId::new(id(7));
    let old = repository.store().packs()[3].id();
    repository.write_pack_list(&[(old, tip)], None).unwrap();
    let new = collect(&repository, &live(0..120)).unwrap().unwrap();
    assert_eq!(repository.store().packs().len(), 1);
    assert_served(&repository, 0..120);
    repository.write_pack_list(&[], Some(new)).unwrap();
    let list = repository.pack_list().unwrap();
    assert_eq!((list.len(), &list[0].tips), (1, &vec![tip]));
    assert_eq!((list[0].id, list[0].objects), (new, 120));
    assert_eq!(findings(&repository), 0);
}

/// Objects that stand in several packs are moved once and lost never.
#[test]
fn doubled_objects_are_kept_once() {
    let repository = TempRepository::new();
    for n in 0..12 {
        let packed = literally::pack(&[PackedFrame::of(&[object(0), object(n + 1)])]);
        repository.plant(packed.id, &packed.pack, Some(&packed.index));
    }
    repository.store().refresh().unwrap();
    collect(&repository, &live(0..13)).unwrap();
    assert_served(&repository, 0..13);
    assert_eq!(repository.store().packs()[0].index().len(), 13);
}

/// A rewrite that comes to the same pack does not remove it.
#[test]
fn a_pack_rewritten_to_itself_stays() {
    let repository = TempRepository::new();
    add(&repository, 0..10);
    let only = repository.store().packs()[0].id();
    let plan = Plan { rewrite: vec![only], keep: live(0..10), ..Plan::default() };
    let new = gc::apply(repository.store(), &plan, Options::default()).unwrap();
    assert_eq!(new, Some(only));
    assert_served(&repository, 0..10);
}

/// SEC-030: what a live delta builds on is kept as long as the delta is, in whatever pack it lies and
/// however deep; then both go.
#[test]
fn what_deltas_build_on_is_kept_with_them() {
    let repository = TempRepository::new();
    let base = |n: u64| vec![Base { of: BaseOf::Object, id: id(n), start: 0, len: object(n).len() as u64 }];
    for frames in [
        vec![PackedFrame::of(&[object(0)]), PackedFrame::of(&[object(20)])],
        vec![PackedFrame::delta(&object(1), base(0), &object(0))],
        vec![PackedFrame::delta(&object(2), base(1), &object(1)), PackedFrame::of(&[object(30)])],
    ] {
        let packed = literally::pack(&frames);
        repository.plant(packed.id, &packed.pack, Some(&packed.index));
    }
    repository.store().refresh().unwrap();
    collect(&repository, &live([2])).unwrap();
    assert_served(&repository, [0, 1, 2]);
    assert_eq!(findings(&repository), 0);
    for gone in [20, 30] {
        assert!(repository.store().try_find(&id(gone)).unwrap().is_none());
    }
    collect(&repository, &live([])).unwrap();
    assert!(repository.store().packs().is_empty());
}

/// REL-003, SEC-022: a pack whose index hides or misplaces live objects is left for repair: with
/// the index rebuilt, all is there again.
#[test]
fn a_damaged_index_costs_no_object() {
    let mut random = Random::new(3);
    for _ in 0..60 {
        let repository = TempRepository::new();
        add(&repository, 0..8);
        let pack = repository.store().packs()[0].id();
        let index = repository.store().packs_folder().join(index_name(pack));
        let content = std::fs::read(&index).unwrap();
        Damage::flip(&mut random, content.len()).apply(&index);
        repository.store().refresh().unwrap();
        let plan = plan(&repository, &live([0, 1, 2]));
        let _ = gc::apply(&repository.reopened_store(), &plan, Options::default());
        let _ = std::fs::remove_file(&index);
        assert_served(&repository, [0, 1, 2]);
    }
}

/// REL-023, SEC-029: an index that claims an object it does not have never has the good copy
/// removed.
#[test]
fn a_lying_index_costs_no_object() {
    for forged_first in [true, false] {
        for others in [0..1, 0..9] {
            let repository = TempRepository::new();
            let mut forged = PackedFrame::of(&[object(100)]);
            forged.ids = vec![id(50)];
            let honest = literally::pack(&[PackedFrame::of(&[object(50), object(51)])]);
            let mut planted = [literally::pack(&[forged]), honest];
            if !forged_first {
                planted.reverse();
            }
            planted.iter().for_each(|packed| repository.plant(packed.id, &packed.pack, Some(&packed.index)));
            others.for_each(|n| add(&repository, n..n + 1));
            repository.store().refresh().unwrap();
            let everything = live((0..9).chain([50, 51]));
            let mut plan = plan(&repository, &everything);
            plan.rewrite.extend(planted.iter().map(|packed| packed.id));
            plan.rewrite.sort();
            plan.rewrite.dedup();
            let _ = gc::apply(&repository.reopened_store(), &plan, Options::default());
            assert_served(&repository, [50, 51, 0]);
        }
    }
    let repository = TempRepository::new();
    let mut swapped = literally::pack(&[PackedFrame::of(&(0..9).map(object).collect::<Vec<_>>())]);
    let numbers = 16 + 1024 + 9 * 32;
    let (first, second) = swapped.index[numbers..numbers + 8].split_at_mut(4);
    first.swap_with_slice(second);
    reseal(&mut swapped.index);
    repository.plant(swapped.id, &swapped.pack, Some(&swapped.index));
    let plan = Plan { rewrite: vec![swapped.id], keep: live(0..9), ..Plan::default() };
    let error = gc::apply(&repository.reopened_store(), &plan, Options::default()).unwrap_err();
    assert_eq!(error.code(), "E-HASH", "{error}");
    std::fs::remove_file(repository.store().packs_folder().join(index_name(swapped.id))).unwrap();
    assert_served(&repository, 0..9);
}

/// REL-003: if a live object is damaged, collecting ends in an error and removes nothing.
#[test]
fn damage_stops_the_collection() {
    let repository = TempRepository::new();
    (0..12).for_each(|n| add(&repository, n..n + 1));
    let pack = repository.store().packs()[5].path().to_owned();
    Damage::Flip { at: 20, bit: 3 }.apply(&pack);
    let before = snapshot_of_store(repository.root());
    let plan = plan(&repository, &live(0..12));
    let error = gc::apply(&repository.reopened_store(), &plan, Options::default()).unwrap_err();
    assert!(["E-FORMAT", "E-HASH"].contains(&error.code()), "{error}");
    assert_eq!(snapshot_of_store(repository.root()), before);
}

/// REL-003: killed between writing the new pack and removing the old ones, nothing is lost, and the
/// next collection ends the work.
#[test]
fn a_collection_cut_short_is_done_again() {
    let repository = TempRepository::new();
    (0..12).for_each(|n| add(&repository, n * 3..n * 3 + 3));
    let folder = repository.store().packs_folder();
    let old: Vec<_> = repository.store().packs().iter().map(|pack| pack.id()).collect();
    let copies: Vec<_> = old.iter().map(|id| std::fs::read(folder.join(file_name(*id))).unwrap()).collect();
    let new = collect(&repository, &live(0..36)).unwrap().unwrap();
    for (id, pack) in old.iter().zip(&copies).skip(4) {
        repository.plant(*id, pack, None); // the index went with the pack, or had not gone yet
    }
    repository.store().refresh().unwrap();
    assert_served(&repository, 0..36);
    collect(&repository, &live(0..36)).unwrap();
    collect(&repository, &live(0..36)).unwrap();
    assert_served(&repository, 0..36);
    assert_eq!(findings(&repository), 0);
    assert!(folder.join(file_name(new)).exists() || repository.store().packs().len() == 1);
}

/// A reader that opened the store before a collection reads on, and finds what moved.
#[test]
fn readers_read_on_through_a_collection() {
    let repository = TempRepository::new();
    (0..12).for_each(|n| add(&repository, n..n + 1));
    let reader = repository.reopened_store();
    collect(&repository, &live(0..12)).unwrap();
    for n in 0..12 {
        assert_eq!(*reader.find(Kind::Chunk, &id(n)).unwrap(), *object(n));
    }
    reader.refresh().unwrap();
    assert_eq!(reader.packs().len(), 1);
}

/// DESIGN 4: `zstd -dc` of any pack, collected ones too, shows its objects behind each other.
#[test]
fn zstd_shows_the_objects_of_a_pack() {
    if Command::new("zstd").arg("--version").output().is_err() {
        return eprintln!("left out: the program zstd is not installed");
    }
    let repository = TempRepository::new();
    (0..12).for_each(|n| add(&repository, n * 4..n * 4 + 4));
    repository.add(&["", "an empty object beside"]);
    repository.add(&[Random::new(1).bytes(300_000)]);
    for _ in 0..2 {
        for pack in repository.store().packs() {
            let shown = Command::new("zstd").arg("-dc").arg(pack.path()).output().unwrap();
            assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
            let ids = pack.index().ids_in_pack_order();
            let objects: Vec<u8> = ids
                .iter()
                .flat_map(|id| repository.store().find(Kind::Chunk, id).unwrap().to_vec())
                .collect();
            assert!(shown.stdout == objects, "{}", pack.path().display());
        }
        let everything =
            repository.store().packs().iter().flat_map(|pack| pack.index().ids_in_pack_order()).collect();
        collect(&repository, &everything).unwrap();
    }
    assert_eq!(repository.store().packs().len(), 1);
}
