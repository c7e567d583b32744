//! Steps 1 to 5: what a mirror shows of a repository.

use super::world::{DAY, Machine, Mirror, NOW, Person, Shelf, code, forge, key, role, sign, signature, time};
use objects::claim::{Beacon, Index, Repository};
use objects::identity::Identity;
use objects::key::Signer as _;
use objects::signed::{Kind, Signed};
use objects::summary::Summary;
use plumbing::trust::{Error, Freshness, Line};

fn mirror(count: usize) -> Mirror {
    Mirror::new(Person::new(1), count)
}

fn head(machine: &Machine, mirror: &Mirror) -> Option<u64> {
    let line = Line::Index(mirror.repository.clone());
    machine.state.head(&line).unwrap().map(|head| head.n)
}

/// The first look says so and pins nothing; the second is unchanged; growth is taken.
#[test]
fn an_honest_mirror_is_believed() {
    let (machine, mirror) = (Machine::new(), mirror(1));
    let first = machine.judge().accept_summary(&mirror.summary(), None, &mirror.shelf(), "m").unwrap();
    assert!(first.first_use && !first.unchanged && first.warnings.is_empty());
    assert_eq!(first.index.n, 0);
    assert_eq!(machine.state.repository("m").unwrap(), None);
    machine.state.pin_repository("m", &mirror.repository, time(NOW)).unwrap();
    assert_eq!(machine.state.repository("m").unwrap().as_ref(), Some(&mirror.repository));

    let again = machine.shown(&mirror).unwrap();
    assert!(!again.first_use && again.unchanged);
    assert!(!machine.shown(&mirror.grown("more")).unwrap().unchanged);
}

/// An old head is found in a few steps, whatever the distance, and the next index needs none.
#[test]
fn a_thousand_missed_indexes_cost_a_few_fetches() {
    let mirror = mirror(1_001);
    for (seen, fetches_max) in [(1_000, 0), (999, 0), (990, 4), (600, 9), (1, 10)] {
        let machine = Machine::new();
        machine.shown(&mirror.back_at(seen)).unwrap();
        let shelf = mirror.shelf();
        machine.shown_summary(&mirror.summary(), &shelf).unwrap();
        assert!(shelf.asked.get() <= fetches_max, "from {seen}: {} fetches", shelf.asked.get());
        assert_eq!(head(&machine, &mirror), Some(1_000));
    }
}

/// SEC-040, SEC-041, SEC-042, SEC-044: signatures that are none, of others, doubled, or over another
/// kind are refused, for index and beacon, and nothing is kept.
#[test]
fn a_bad_signature_is_refused() {
    let mut first = Identity::found(None, &role(&[1], 1), time(NOW - DAY));
    first.roles.index = role(&[2, 3], 2);
    first.roles.beacon = role(&[4], 1);
    let mut mirror = Mirror::new(Person::with(1, first), 0);
    let index = mirror.next("honest");
    mirror.indexes.push(sign(&index, &[2, 3]));
    let good = Summary { beacon: sign(&mirror.beacon(), &[4]), ..mirror.summary() };

    let (index_type, note_type) = (Kind::Index.media_type(), Kind::Note.media_type());
    let payload = mirror.indexes[0].envelope().payload().to_vec();
    let by = |seed| signature(seed, index_type, &payload);
    let decoded = |bytes: Vec<u8>| Signed::<Index>::decode(&bytes).unwrap();
    let index_with = |rows: &[([u8; 32], [u8; 64])]| decoded(forge(index_type, &payload, rows));
    let other = sign(&Index { size: 9, ..index.clone() }, &[2, 3]);
    let of_other: Vec<_> = other.envelope().signatures().map(|(key, signature)| (*key, *signature)).collect();

    let bad_indexes = [
        ("none", index_with(&[])),
        ("random", index_with(&[(by(2).0, [7; 64]), (by(3).0, [9; 64])])),
        ("of another document", index_with(&of_other)),
        ("of a stranger", index_with(&[by(8), by(9)])),
        ("of another role", index_with(&[by(1), by(4)])),
        ("too few", index_with(&[by(2)])),
        ("one key twice", index_with(&[by(2), by(2)])),
        ("under another's name", index_with(&[by(2), (by(3).0, by(2).1)])),
        (
            "of another kind",
            index_with(&[signature(2, note_type, &payload), signature(3, note_type, &payload)]),
        ),
    ];
    let machine = Machine::new();
    for (name, index) in bad_indexes {
        let summary = Summary { index, ..good.clone() };
        assert_eq!(code(machine.shown_summary(&summary, &mirror.shelf())), "E-SIG", "{name}");
    }
    let beacon: Signed<Beacon> = sign(&mirror.beacon(), &[1]);
    let summary = Summary { beacon, ..good.clone() };
    let error = machine.shown_summary(&summary, &mirror.shelf()).unwrap_err();
    assert_eq!(error.code(), "E-SIG");
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("role beacon") && text.contains("mirror"), "{text}");

    assert_eq!(head(&machine, &mirror), None);
    machine.shown_summary(&good, &mirror.shelf()).unwrap();
}

/// SEC-044: a note's envelope, or a beacon's, cannot stand where an index has to.
#[test]
fn another_kind_in_the_place_of_an_index_is_refused() {
    let mirror = mirror(1);
    let beacon = mirror.summary().beacon.envelope().encode();
    assert_eq!(Signed::<Index>::decode(&beacon).unwrap_err().code(), "E-SIG");
    let payload = mirror.summary().beacon.envelope().payload().to_vec();
    let media_type = Kind::Index.media_type();
    let relabelled = forge(media_type, &payload, &[signature(9, Kind::Beacon.media_type(), &payload)]);
    let summary = Summary { index: Signed::decode(&relabelled).unwrap(), ..mirror.summary() };
    assert_eq!(code(Machine::new().shown_summary(&summary, &mirror.shelf())), "E-SIG");
}

/// SEC-032: what is signed in another encoding of the same meaning is refused, and of a thousand
/// mutated summaries none is believed.
#[test]
fn another_encoding_is_refused() {
    let mirror = mirror(1);
    let (good, shelf) = (mirror.summary(), mirror.shelf());
    let media_type = Kind::Index.media_type();
    let payload = good.index.envelope().payload();
    let mut longer = payload.to_vec();
    longer.push(0);
    let mut unsorted = payload.to_vec();
    let at = unsorted.windows(6).position(|w| w == b"\x65files").unwrap();
    unsorted[at + 1..at + 6].copy_from_slice(b"zzzzz");
    for odd in [longer, unsorted] {
        let envelope = forge(media_type, &odd, &[signature(1, media_type, &odd)]);
        let summary = Summary { index: Signed::decode(&envelope).unwrap(), ..good.clone() };
        assert_eq!(code(Machine::new().shown_summary(&summary, &shelf)), "E-FORMAT");
    }
    let (machine, bytes) = (Machine::new(), good.encode());
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..1_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut mutated = bytes.clone();
        let place = (seed >> 33) as usize % bytes.len();
        mutated[place] ^= 1 << (seed >> 30 & 7);
        if let Ok(summary) = Summary::decode(&mutated) {
            let shown = machine.judge().accept_summary(&summary, Some(&mirror.repository), &shelf, "m");
            assert_ne!(code(shown), "ok", "byte {place}");
        }
    }
    assert_eq!(head(&machine, &mirror), None);
}

/// SEC-045: an index of another repository of the same owner does not pass for this one.
#[test]
fn the_index_of_another_repository_is_out_of_scope() {
    let (machine, mirror) = (Machine::new(), mirror(1));
    let repository = Repository { name: "other".into(), ..mirror.repository.clone() };
    let other = Mirror { repository, indexes: Vec::new(), ..mirror.clone() }.grown("honest");
    let index = Summary { index: other.summary().index, ..mirror.summary() };
    let beacon = Summary { beacon: other.summary().beacon, ..mirror.summary() };
    for mixed in [index, beacon] {
        assert_eq!(code(machine.shown_summary(&mixed, &mirror.shelf())), "E-SCOPE");
    }
}

/// A remote pinned to one repository that shows another is refused before anything is looked at.
#[test]
fn another_repository_than_pinned_is_refused() {
    let (machine, ours, other) = (Machine::new(), mirror(1), Mirror::new(Person::new(9), 1));
    let pinned = Some(&ours.repository);
    let shown = machine.judge().accept_summary(&other.summary(), pinned, &other.shelf(), "m");
    assert_eq!(code(shown), "E-IDENTITY-CHANGED");
    assert!(machine.state.heads().unwrap().is_empty());
}

/// SEC-046: an older index is refused, what is stored stays, and another source with the same or a
/// newer one is used.
#[test]
fn an_older_index_is_refused() {
    let (machine, eighth) = (Machine::new(), mirror(9));
    machine.shown(&eighth.back_at(8)).unwrap();
    let error = machine.shown(&eighth.back_at(6)).unwrap_err();
    assert!(matches!(error, Error::Rollback { seen: 7, offered: 5, .. }), "{error:?}");
    assert_eq!(head(&machine, &eighth), Some(7));
    assert!(machine.shown(&eighth.back_at(8)).unwrap().unchanged);
    assert!(!machine.shown(&eighth).unwrap().unchanged);
    assert_eq!(code(machine.shown(&eighth.back_at(8))), "E-ROLLBACK");
}

/// SEC-047: past its time, index and beacon are refused, unless the freshness rule allows.
#[test]
fn a_frozen_index_is_refused() {
    let mirror = mirror(1);
    let stale = |seconds| Freshness::MaxStale { seconds };
    for (late, freshness, expected, warns) in [
        (3 * DAY - 1, Freshness::Strict, "ok", false),
        (3 * DAY, Freshness::Strict, "E-FREEZE", false),
        (400 * DAY, Freshness::Strict, "E-FREEZE", false),
        (400 * DAY, Freshness::Warn, "ok", true),
        (400 * DAY, Freshness::Off, "ok", false),
        (5 * DAY, stale(2 * DAY), "ok", true),
        (5 * DAY + 1, stale(2 * DAY), "E-FREEZE", false),
    ] {
        let mut machine = Machine::new();
        machine.policy.freshness = freshness;
        machine.now = NOW + late;
        let shown = machine.shown(&mirror);
        if let Ok(accepted) = &shown {
            assert_eq!(!accepted.warnings.is_empty(), warns, "{freshness:?}");
            assert_eq!(accepted.stale_seconds.is_some(), late >= 3 * DAY, "{freshness:?}");
        } else {
            assert_eq!(head(&machine, &mirror), None);
        }
        assert_eq!(code(shown), expected, "{late} {freshness:?}");
    }
    let mut machine = Machine::new();
    machine.now = NOW + 31 * DAY;
    let beacon = Beacon { expires: time(NOW + 90 * DAY), ..mirror.beacon() };
    let summary = Summary { beacon: sign(&beacon, &[1]), ..mirror.summary() };
    let error = machine.shown_summary(&summary, &mirror.shelf()).unwrap_err();
    assert!(error.to_string().contains("index"), "{error}");
}

/// SEC-047, REL-037: a clock set back does not make an expired index fresh.
#[test]
fn time_does_not_run_backwards_with_the_clock() {
    let mut machine = Machine::new();
    machine.now = NOW + 10 * DAY;
    let mut other = Mirror::new(Person::new(9), 0);
    other.now = NOW + 10 * DAY;
    machine.shown(&other.grown("honest")).unwrap();
    machine.now = NOW;
    assert_eq!(code(machine.shown(&mirror(1))), "E-FREEZE");
    assert_eq!(machine.judge().effective_time(), time(NOW + 10 * DAY));
}

/// SEC-062: what is dated more than ten minutes ahead is refused, and the last known time stays
/// within ten minutes of the clock.
#[test]
fn a_date_ahead_of_the_clock_is_refused() {
    let at = |seconds: u64| {
        let mut mirror = mirror(0);
        mirror.now = seconds;
        mirror.grown("honest")
    };
    let machine = Machine::new();
    for ahead in [601, DAY, 253_402_300_799 - NOW - 31 * DAY] {
        assert_eq!(code(machine.shown(&at(NOW + ahead))), "E-EXPIRED");
    }
    let last_known = || machine.state.last_known().unwrap().seconds();
    assert_eq!(last_known(), NOW - 100 * DAY, "the owner's document was accepted");
    machine.shown(&at(NOW + 600)).unwrap();
    assert_eq!(last_known(), NOW + 600);

    let beacon = Beacon { created: time(NOW + 601), ..mirror(1).beacon() };
    let summary = Summary { beacon: sign(&beacon, &[1]), ..mirror(1).summary() };
    assert_eq!(code(Machine::new().shown_summary(&summary, &Shelf::default())), "E-EXPIRED");
}

/// SEC-048: a beacon that names another index shows a stale source, or a mixture of two states.
#[test]
fn a_beacon_of_another_index_is_refused() {
    let mirror = mirror(3);
    let with = |beacon: Beacon| {
        let summary = Summary { beacon: sign(&beacon, &[1]), ..mirror.summary() };
        code(Machine::new().shown_summary(&summary, &mirror.shelf()))
    };
    assert_eq!(with(mirror.clone().grown("next").beacon()), "E-ROLLBACK");
    assert_eq!(with(mirror.back_at(2).beacon()), "E-HASH");
    assert_eq!(with(mirror.back_at(2).grown("other").beacon()), "E-HASH");
}

/// SEC-049: two indexes with one number: neither is applied, both are kept as evidence, and the
/// next index that grows from the known one heals the line.
#[test]
fn two_indexes_with_one_number_are_a_fork() {
    let (machine, seventh) = (Machine::new(), mirror(8));
    let (ours, theirs) = (seventh.clone().grown("ours"), seventh.grown("theirs"));
    machine.shown(&ours).unwrap();
    let error = machine.shown(&theirs).unwrap_err();
    assert!(matches!(error, Error::Fork { n: 8, .. }), "{error:?}");
    assert_eq!(code(machine.shown(&theirs)), "E-FORK");
    assert_eq!(code(machine.shown(&ours)), "E-FORK");

    let forks = machine.state.forks().unwrap();
    let [fork] = forks.as_slice() else { panic!("{forks:?}") };
    assert_eq!((fork.ours, fork.theirs), (ours.indexes[8].id(), theirs.indexes[8].id()));
    assert_eq!(fork.ours_envelope, ours.indexes[8].envelope().encode());
    assert_eq!(fork.theirs_envelope, theirs.indexes[8].envelope().encode());
    assert_eq!((fork.n, fork.origin.as_str(), fork.kind.as_str()), (8, "mirror", "index"));

    machine.shown(&ours.grown("next")).unwrap();
    assert_eq!(code(machine.shown(&theirs.grown("next"))), "E-FORK");
}

/// SEC-049: a newer index that did not grow from the known one is a fork as well, and the evidence
/// is the pair with one number.
#[test]
fn a_newer_index_of_another_branch_is_a_fork() {
    let (machine, trunk) = (Machine::new(), mirror(5));
    let ours = trunk.clone().grown("ours").grown("ours");
    machine.shown(&ours).unwrap();
    let theirs = (0..20).fold(trunk, |mirror, _| mirror.grown("theirs"));
    assert_eq!(code(machine.shown(&theirs)), "E-FORK");
    let fork = &machine.state.forks().unwrap()[0];
    assert_eq!((fork.n, fork.theirs), (6, theirs.indexes[6].id()));
    assert_eq!(head(&machine, &ours), Some(6));

    let line = Line::Index(ours.repository.clone());
    assert!(!machine.state.settle(&line, fork.id, theirs.indexes[7].id()).unwrap());
    assert!(machine.state.settle(&line, fork.id, theirs.indexes[6].id()).unwrap());
    machine.shown(&theirs).unwrap();
    assert_eq!(machine.state.forks().unwrap()[0].kept, Some(theirs.indexes[6].id()));
    assert_eq!(code(machine.shown(&ours)), "E-ROLLBACK");
}

/// A thief of the index key, or a careless distributor, cannot leave out, exchange or bend links.
#[test]
fn broken_links_to_the_known_index_are_refused() {
    let mirror = mirror(12);
    let seen = |machine: &Machine| machine.shown(&mirror.back_at(2)).unwrap();
    let (by_skip, unrelated) = (mirror.indexes[3].id(), mirror.indexes[10].envelope().clone());
    let machine = Machine::new();
    seen(&machine);
    let shelf = mirror.shelf();
    shelf.drop(by_skip);
    assert_eq!(code(machine.shown_summary(&mirror.summary(), &shelf)), "E-NOTFOUND");
    shelf.exchange(by_skip, &unrelated);
    assert_eq!(code(machine.shown_summary(&mirror.summary(), &shelf)), "E-HASH");

    let mut bent = mirror.back_at(12);
    let mut next = bent.next("bent");
    next.skips[2] = bent.indexes[5].id(); // 12 - 8 is 4
    bent.indexes.push(sign(&next, &[1]));
    assert_eq!(code(machine.shown(&bent)), "E-HASH");

    let stranger = Mirror { owner: Person::new(9), ..mirror.back_at(2) }.grown("stranger");
    let mut forged = mirror.back_at(2);
    forged.indexes.push(stranger.indexes[2].clone());
    let forged = forged.grown("good").grown("good");
    assert_eq!(code(machine.shown(&forged)), "E-SIG");
    assert_eq!(head(&machine, &mirror), Some(1));
}

/// A number so high that the state cannot hold it is refused. (SEC-050 itself needs `reset`.)
#[test]
fn a_number_beyond_counting_is_refused() {
    let mirror = mirror(1);
    for (n, expected) in [(1 << 53, "ok"), (u64::MAX, "E-LIMIT"), (1 << 63, "E-LIMIT")] {
        let skips = objects::claim::skip_distances(n).map(|_| mirror.indexes[0].id()).collect();
        let index = Index { n, prev: Some(mirror.indexes[0].id()), skips, ..mirror.next("far") };
        let index = sign(&index, &[1]);
        let beacon = sign(&Beacon { n, index: index.id(), ..mirror.beacon() }, &[1]);
        let summary = Summary { index, beacon, ..mirror.summary() };
        assert_eq!(code(Machine::new().shown_summary(&summary, &mirror.shelf())), expected, "{n}");
    }
}

/// A withdrawn key counts for no index and no beacon, even if it still stands in the role.
#[test]
fn a_withdrawn_key_signs_no_index() {
    let mut owner = Person::new(1);
    let mut next = owner.next();
    next.roles.root = role(&[5], 1);
    next.revoked.push(objects::identity::Withdrawal { key: key(1).public(), checkpoint: Vec::new() });
    owner.take(next, &[1, 5]);
    let mirror = Mirror::new(owner, 1);
    assert_eq!(code(Machine::new().shown(&mirror)), "E-SIG");
}

/// Every document of a kind fits its own role only: with one key a role, no role can stand in for
/// another (SEC-041).
#[test]
fn each_role_signs_its_own_kind() {
    let mut first = Identity::found(None, &role(&[1], 1), time(NOW - DAY));
    first.roles.index = role(&[2], 1);
    first.roles.beacon = role(&[3], 1);
    let mut mirror = Mirror::new(Person::with(1, first), 0);
    let index = mirror.next("honest");
    for (index_by, beacon_by, expected) in
        [(2, 3, "ok"), (3, 3, "E-SIG"), (2, 2, "E-SIG"), (1, 3, "E-SIG"), (2, 1, "E-SIG")]
    {
        mirror.indexes = vec![sign(&index, &[index_by])];
        let summary = Summary { beacon: sign(&mirror.beacon(), &[beacon_by]), ..mirror.summary() };
        let shown = Machine::new().shown_summary(&summary, &mirror.shelf());
        assert_eq!(code(shown), expected, "index by {index_by}, beacon by {beacon_by}");
    }
}
