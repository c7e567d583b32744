//! Steps 8 and THREATS 1.5: what a recovery role and a reset take back.

use super::world::{Book, Giver, Machine, Mirror, Person, Register, Shelf, code, grant, key, role, sign};
use objects::claim::Index;
use objects::grants::Grants;
use objects::identity::{Chain, Identity, Reset, Roles, Withdrawal};
use objects::key::Signer as _;
use objects::release::LogHead;
use objects::signed::Signed;
use plumbing::trust::{Error, Line};

/// Someone with key 1 in all roles, and key 8 for recovery.
fn careful() -> Person {
    Person::with(1, Identity { recovery: Some(role(&[8], 1)), ..Person::new(1).newest })
}

fn shown(machine: &Machine, person: &Person) -> Result<Chain, Error> {
    shown_beside(machine, person, &[])
}

/// The same, where the machine still has the documents of `known`.
fn shown_beside(machine: &Machine, person: &Person, known: &[&Person]) -> Result<Chain, Error> {
    let shelf = Shelf::default();
    person.shelve(&shelf);
    known.iter().for_each(|known| known.shelve(&shelf));
    machine.judge().identity(person.id(), Some(&person.row()), &shelf, "mirror")
}

/// `person` after a document with these root keys, signed by those.
fn after(person: &Person, roots: u8, signers: &[u8]) -> Person {
    let mut next = person.clone();
    next.take(Identity { roles: Roles::all(&role(&[roots], 1)), ..person.next() }, signers);
    next.seed = roots;
    next
}

fn withdrawn(seed: u8) -> Withdrawal {
    Withdrawal { key: key(seed).public(), checkpoint: Vec::new() }
}

/// SEC-053: the recovery role signs a successor with the new root, and alone it signs none.
#[test]
fn the_recovery_role_replaces_a_lost_root() {
    let person = careful();
    assert_eq!(shown(&Machine::new(), &after(&person, 2, &[8, 2])).unwrap().head().n, 1);
    for (what, signers) in
        [("without the new root", &[8][..]), ("the new root alone", &[2]), ("a stranger", &[9, 2])]
    {
        assert_eq!(code(shown(&Machine::new(), &after(&person, 2, signers))), "E-SIG", "{what}");
    }
    let unprepared = Person::new(1);
    assert_eq!(code(shown(&Machine::new(), &after(&unprepared, 2, &[8, 2]))), "E-SIG");
}

/// SEC-050, step 8: a document signed by recovery beats its sibling by root, however far the thief of the
/// root key went on; the other branch stays as evidence, and is refused from then on.
#[test]
fn recovery_beats_root() {
    let trunk = after(&careful(), 1, &[1]);
    let saved = after(&trunk, 2, &[8, 2]);
    let stolen = after(&after(&after(&trunk, 5, &[1, 5]), 6, &[5, 6]), 7, &[6, 7]);
    for thief_first in [true, false] {
        let machine = Machine::new();
        shown(&machine, &trunk).unwrap();
        if thief_first {
            assert_eq!(shown(&machine, &stolen).unwrap().head().n, 4);
        }
        let beside = |person: &Person| shown_beside(&machine, person, &[&stolen, &saved]);
        assert_eq!(beside(&saved).unwrap().head().n, 2, "thief first: {thief_first}");
        let refused = beside(&stolen).unwrap_err();
        assert!(matches!(refused, Error::Overruled { n: 2, .. }), "{refused:?}");
        assert_eq!(refused.code(), "E-ROLLBACK");
        let fork = machine.state.forks().unwrap().remove(0);
        assert_eq!((fork.n, fork.kept), (2, Some(saved.documents[2].id())), "thief first: {thief_first}");
        let longer = after(&saved, 3, &[2, 3]);
        assert_eq!(shown(&machine, &longer).unwrap().head().n, 3, "thief first: {thief_first}");
        assert_eq!(code(shown(&machine, &trunk)), "E-ROLLBACK");
    }
}

/// Step 8: two successors that recovery signed are a fork like any other: a person decides.
#[test]
fn two_recoveries_are_a_fork() {
    let (machine, trunk) = (Machine::new(), careful());
    shown(&machine, &after(&trunk, 2, &[8, 2])).unwrap();
    assert_eq!(code(shown(&machine, &after(&trunk, 3, &[8, 3]))), "E-FORK");
    assert_eq!(code(shown(&machine, &after(&trunk, 2, &[8, 2]))), "E-FORK");
}

/// A fork between two of the thief's own branches does not keep recovery from being taken.
#[test]
fn recovery_settles_a_fork() {
    let (machine, trunk) = (Machine::new(), careful());
    shown(&machine, &after(&trunk, 5, &[1, 5])).unwrap();
    assert_eq!(code(shown(&machine, &after(&trunk, 6, &[1, 6]))), "E-FORK");
    let saved = after(&trunk, 2, &[8, 2]);
    assert_eq!(shown(&machine, &saved).unwrap().head().n, 1);
    assert_eq!(shown(&machine, &after(&saved, 3, &[2, 3])).unwrap().head().n, 2);
}

/// SEC-050: a thief of the index key signs a number far ahead. After the owner's document that revokes the
/// key and resets the role, clients take the owner's next index, and none by the old key.
#[test]
fn a_reset_heals_a_fast_forward_of_the_index() {
    let machine = Machine::new();
    let honest = Mirror::new(Person::new(1), 3);
    machine.shown(&honest).unwrap();
    let mut stolen = honest.clone();
    let last = stolen.indexes[2].id();
    let far = Index { n: 1 << 53, prev: Some(last), skips: vec![last; 53], ..stolen.next("stolen") };
    stolen.indexes.push(sign(&far, &[1]));
    let mut summary = stolen.summary();
    summary.beacon = sign(&objects::claim::Beacon { n: far.n, ..stolen.beacon() }, &[1]);
    let shelf = stolen.shelf();
    // Its links lead to what was known, by whatever numbers they claim.
    let forward = code(machine.shown_summary(&summary, &shelf));
    let line = Line::Index(honest.repository.clone());
    if forward == "ok" {
        assert_eq!(machine.state.head(&line).unwrap().map(|head| head.n), Some(1 << 53));
        assert_eq!(code(machine.shown(&honest.clone().grown("four"))), "E-ROLLBACK");
    }
    let fresh = Machine::new();
    fresh.shown_summary(&summary, &shelf).unwrap();
    assert_eq!(code(fresh.shown(&honest.clone().grown("four"))), "E-ROLLBACK", "this machine met it first");

    let mut owner = honest.owner.clone();
    let mut roles = owner.newest.roles.clone();
    (roles.index, roles.beacon) = (role(&[2], 1), role(&[2], 1));
    let reset = vec![Reset { role: "index".into(), n: 2 }];
    owner.take(Identity { roles, revoked: vec![withdrawn(1)], reset, ..owner.next() }, &[1]);
    owner.seed = 2;
    let healed = Mirror { owner, ..honest.clone() }.grown("four");
    for (name, machine) in [("knew the honest ones", &machine), ("met the thief's first", &fresh)] {
        assert_eq!(code(machine.shown(&healed)), "ok", "{name}");
        assert_eq!(machine.state.head(&line).unwrap().map(|head| head.n), Some(3), "{name}");
        assert_eq!(code(machine.shown_summary(&summary, &shelf)), "E-ROLLBACK", "{name}: an older identity");
        assert_eq!(code(machine.shown(&honest)), "E-ROLLBACK", "{name}");
    }
}

/// SEC-050 for grants and logs: likewise the admin and the release role.
#[test]
fn a_reset_heals_grants_and_logs() {
    let (machine, owner, ci) = (Machine::new(), Person::new(2), Person::new(3));
    let giver = Giver::new(&owner, vec![grant(&ci, &["*"])]);
    let book = Book::by(ci.clone(), Some(owner.clone()), "web", 3);
    let shows = |machine: &Machine, ci: &Person, giver: &Giver, book: &Book, version: &str| {
        code(machine.installs_by(&Register::of(&[ci], &[giver]), book, version))
    };
    assert_eq!(shows(&machine, &ci, &giver, &book, "1.2.0"), "ok");
    let far = giver.clone().take(giver.next());
    let far = far.clone().take(far.next());
    assert_eq!(shows(&machine, &ci, &far, &book, "1.2.0"), "ok");
    let thiefs = book.clone().released("6.6.6", "stolen");
    assert_eq!(shows(&machine, &ci, &far, &thiefs, "6.6.6"), "ok");

    let renewed = |mut person: Person, seed: u8, reset: Vec<Reset>, checkpoint: Vec<LogHead>| {
        let old = person.seed;
        let mut roles = person.newest.roles.clone();
        (roles.admin, roles.release) = (role(&[seed], 1), role(&[seed], 1));
        let revoked = vec![Withdrawal { key: key(old).public(), checkpoint }];
        person.take(Identity { roles, revoked, reset, ..person.next() }, &[old]);
        person.seed = seed;
        person
    };
    let owner = renewed(owner, 12, vec![Reset { role: "admin".into(), n: 0 }], Vec::new());
    let next = Grants { issuer_n: 1, ..giver.next() };
    let healed = Giver { issuer: owner.clone(), newest: next.clone(), ..giver.clone() };
    let healed = Giver { documents: vec![giver.documents[0].clone(), sign(&next, &[12])], ..healed };
    let head = LogHead {
        owner: owner.id(),
        name: "web".parse().unwrap(),
        signer: ci.id(),
        seq: 2,
        entry: book.entries[2].id(),
    };
    let ci = renewed(ci, 13, vec![Reset { role: "release".into(), n: 2 }], vec![head]);
    let honest = Book { author: ci.clone(), owner: Some(owner.clone()), ..book }.released("1.3.0", "honest");
    for machine in [&machine, &Machine::new()] {
        assert_eq!(shows(machine, &ci, &healed, &honest, "1.3.0"), "ok");
        assert_eq!(shows(machine, &ci, &healed, &honest, "1.1.0"), "ok");
        let thiefs = Book { author: ci.clone(), owner: Some(owner.clone()), ..thiefs.clone() };
        assert_ne!(shows(machine, &ci, &healed, &thiefs, "6.6.6"), "ok");
    }
    let _: &[Signed<Grants>] = &healed.documents;
}
