//! Thresholds before and after a change of keys: the scenarios that TUF's conformance suite plays with the
//! rotation of keys, on identities (its root) and indexes (its other roles). docs/TUF.md lists them.

use super::world::{Machine, Mirror, NOW, Person, Shelf, code, role, sign, time};
use objects::identity::{Identity, Roles};

/// Keys of the role, its threshold, who signs.
type Stage<'a> = (&'a [u8], u32, &'a [u8]);

/// What a machine says that meets documents with these roots, one after the other.
fn judged(stages: &[Stage<'_>]) -> &'static str {
    let ((keys, threshold, signers), later) = stages.split_first().unwrap();
    let first = Identity::found(None, &role(keys, *threshold), time(NOW));
    let mut person = Person { seed: signers[0], documents: vec![sign(&first, signers)], newest: first };
    for (keys, threshold, signers) in later {
        let next = Identity { roles: Roles::all(&role(keys, *threshold)), ..person.next() };
        person.take(next, signers);
    }
    let shelf = Shelf::default();
    person.shelve(&shelf);
    code(Machine::new().judge().identity(person.id(), Some(&person.row()), &shelf, "mirror"))
}

/// SEC-042, SEC-053: a document needs as many keys of the root before it, and as many of its own, as each of
/// them asks for; signatures of strangers neither help nor harm.
#[test]
fn a_root_changes_by_both_thresholds() {
    const FIVE: &[u8] = &[1, 2, 3, 4, 5];
    const ONE_CHANGED: &[u8] = &[1, 2, 4, 5, 6];
    const ALL_CHANGED: &[u8] = &[6, 7, 8, 9, 10];
    let table: [(&str, &[Stage<'_>], &str); 15] = [
        ("1 of 1", &[(&[2], 1, &[2]), (&[3], 1, &[3, 2]), (&[3], 1, &[3])], "ok"),
        (
            "1 of 1, strangers sign too",
            &[(&[2], 1, &[4, 2, 5]), (&[3], 1, &[4, 3, 2, 5]), (&[3], 1, &[4, 3, 5])],
            "ok",
        ),
        ("3 of 5, any three", &[(FIVE, 3, &[1, 3, 5]), (FIVE, 3, &[1, 5, 2]), (FIVE, 3, &[1, 2, 4])], "ok"),
        ("3 of 5, one changes", &[(FIVE, 3, &[1, 3, 5]), (ONE_CHANGED, 3, &[1, 5, 2])], "ok"),
        (
            "3 of 5, one changes, in steps",
            &[(FIVE, 3, &[1, 3, 5]), (ONE_CHANGED, 3, &[1, 3, 5, 6]), (ONE_CHANGED, 3, &[1, 5, 6])],
            "ok",
        ),
        (
            "3 of 5, all change",
            &[(FIVE, 3, &[1, 3, 5]), (ALL_CHANGED, 3, &[1, 3, 5, 6, 7, 8]), (ALL_CHANGED, 3, &[6, 7, 8])],
            "ok",
        ),
        ("1 of 3 becomes 2 of 3", &[(&[2, 3, 4], 1, &[2]), (&[2, 3, 4], 2, &[2, 3])], "ok"),
        (
            "2 of 3 becomes 1 of 3",
            &[(&[2, 3, 4], 2, &[2, 3]), (&[2, 3, 4], 1, &[2, 3]), (&[2, 3, 4], 1, &[2])],
            "ok",
        ),
        ("1 of 1 becomes 2 of 2", &[(&[2], 1, &[2]), (&[2, 3], 2, &[2, 3])], "ok"),
        ("without the old key", &[(&[2], 1, &[2]), (&[3], 1, &[3, 4, 5])], "E-SIG"),
        ("without the new key", &[(&[2], 1, &[2]), (&[3], 1, &[2, 4, 5])], "E-SIG"),
        ("too few of the new", &[(FIVE, 3, &[1, 3, 5]), (ONE_CHANGED, 3, &[1, 3, 5])], "E-SIG"),
        ("too few of the old", &[(FIVE, 3, &[1, 3, 5]), (ONE_CHANGED, 3, &[1, 5, 6])], "E-SIG"),
        ("below the new threshold", &[(&[2, 3, 4], 1, &[2]), (&[2, 3, 4], 2, &[3])], "E-SIG"),
        ("below the old threshold", &[(&[2, 3, 4], 2, &[2, 3]), (&[2, 3, 4], 1, &[2])], "E-SIG"),
    ];
    for (what, stages, expected) in table {
        assert_eq!(judged(stages), expected, "{what}");
    }
}

/// SEC-041, SEC-042: an index needs as many keys of the index role as the newest document asks for.
#[test]
fn an_index_needs_the_threshold_of_its_role() {
    const FIVE: &[u8] = &[2, 3, 5, 6, 7];
    let table: [(&str, Stage<'_>, &str); 10] = [
        ("1 of 1", (&[3], 1, &[3]), "ok"),
        ("strangers sign too", (&[2], 1, &[4, 2, 5]), "ok"),
        ("strangers alone", (&[3], 1, &[2, 4, 5]), "E-SIG"),
        ("a stranger for the third", (FIVE, 3, &[2, 4, 6]), "E-SIG"),
        ("two of three", (FIVE, 3, &[2, 6]), "E-SIG"),
        ("one of them twice", (FIVE, 3, &[2, 6, 6]), "E-SIG"),
        ("three", (FIVE, 3, &[2, 5, 7]), "ok"),
        ("three others", (FIVE, 3, &[2, 7, 3]), "ok"),
        ("the last three", (FIVE, 3, &[5, 6, 7]), "ok"),
        ("more than asked for", (FIVE, 3, FIVE), "ok"),
    ];
    for (what, (keys, threshold, signers), expected) in table {
        let mut first = Identity::found(None, &role(&[1], 1), time(NOW));
        first.roles.index = role(keys, threshold);
        let mut mirror = Mirror::new(Person::with(1, first), 0);
        mirror.indexes.push(sign(&mirror.next("honest"), signers));
        assert_eq!(code(Machine::new().shown(&mirror)), expected, "{what}");
    }
}
