//! Steps 6 to 9: identities and their chains.

use super::world::{DAY, Machine, Mirror, NOW, Person, Shelf, code, role, sign, time};
use objects::claim::IdentityRow;
use objects::id::StatementId;
use objects::identity::{Chain, Identity, Withdrawal};
use objects::key::Signer as _;
use objects::signed::Signed;
use plumbing::trust::{Error, Freshness, InOrder, Line};

/// Shows the machine an identity as an index would.
fn shown(machine: &Machine, person: &Person) -> Result<Chain, Error> {
    let shelf = Shelf::default();
    person.shelve(&shelf);
    machine.judge().identity(person.id(), Some(&person.row()), &shelf, "mirror")
}

fn head(machine: &Machine, person: &Person) -> Option<u64> {
    machine.state.head(&Line::Identity(person.id())).unwrap().map(|head| head.n)
}

/// An identity that handed its keys on `count` times: document n is signed by keys n and n + 1.
fn handed_on(count: u8) -> Person {
    (0..count).fold(Person::new(1), |mut person, n| {
        let next = Identity { roles: roles(n + 2), ..person.next() };
        person.take(next, &[n + 1, n + 2]);
        person
    })
}

fn roles(seed: u8) -> objects::identity::Roles {
    objects::identity::Roles::all(&role(&[seed], 1))
}

/// A chain is taken from its first document, and later from where the machine stands.
#[test]
fn a_chain_is_followed() {
    let machine = Machine::new();
    assert_eq!(shown(&machine, &handed_on(2)).unwrap().head().n, 2);
    let chain = shown(&machine, &handed_on(5)).unwrap();
    assert_eq!((chain.head().n, chain.documents().len()), (5, 6));
    assert_eq!(head(&machine, &handed_on(5)), Some(5));
}

/// Without an index that names it, the head known here counts; without either, the first document.
#[test]
fn an_unnamed_identity_is_taken_as_known() {
    let (machine, person, shelf) = (Machine::new(), handed_on(3), Shelf::default());
    person.shelve(&shelf);
    let unnamed = || machine.judge().identity(person.id(), None, &shelf, "m").unwrap().head().n;
    assert_eq!(unnamed(), 0);
    shown(&machine, &person).unwrap();
    assert_eq!(unnamed(), 3);
}

/// SEC-053: a successor signed by the new keys alone, by the old ones alone, out of number, or after
/// another document is refused; so is one that takes back a revocation. What was known stays.
#[test]
fn a_forged_successor_is_refused() {
    let machine = Machine::new();
    let mut person = Person::new(1);
    let withdrawal = Withdrawal { key: super::world::key(7).public(), checkpoint: Vec::new() };
    person.take(Identity { revoked: vec![withdrawal], ..person.next() }, &[1]);
    shown(&machine, &person).unwrap();
    let good = Identity { roles: roles(2), ..person.next() };
    let other = StatementId::new(Person::new(9).id().object());
    for (name, document, seeds, expected) in [
        ("new keys alone", good.clone(), vec![2], "E-SIG"),
        ("old keys alone", good.clone(), vec![1], "E-SIG"),
        ("nobody", good.clone(), vec![], "E-SIG"),
        ("a stranger", good.clone(), vec![9], "E-SIG"),
        ("a number left out", Identity { n: 3, ..good.clone() }, vec![1, 2], "E-ROLLBACK"),
        ("a number again", Identity { n: 1, ..good.clone() }, vec![1, 2], "E-ROLLBACK"),
        ("another's id", Identity { id: Some(Person::new(9).id()), ..good.clone() }, vec![1, 2], "E-SIG"),
        ("a revocation less", Identity { revoked: Vec::new(), ..good.clone() }, vec![1, 2], "E-SIG"),
        (
            "after none that is known",
            Identity { prev: Some(other), ..good.clone() },
            vec![1, 2],
            "E-NOTFOUND",
        ),
        ("good", good.clone(), vec![1, 2], "ok"),
    ] {
        assert_eq!(head(&machine, &person), Some(1), "{name}");
        let mut forged = person.clone();
        forged.take(document, &seeds);
        assert_eq!(code(shown(&machine, &forged)), expected, "{name}");
    }
    assert_eq!(head(&machine, &person), Some(2));
}

/// SEC-053: a summary's chain, which is shown whole, is held to the same: another `prev` is refused.
#[test]
fn a_summary_with_a_bent_chain_is_refused() {
    let mut owner = handed_on(2);
    let bent = Identity { prev: Some(owner.documents[1].id()), ..owner.next() };
    owner.take(bent, &[3]);
    let mirror = Mirror::new(owner, 1);
    assert_eq!(code(Machine::new().shown(&mirror)), "E-ROLLBACK");
}

/// SEC-054: an old document shown again as the head, or appended behind it, is refused.
#[test]
fn an_old_document_as_a_new_head_is_refused() {
    let (machine, person) = (Machine::new(), handed_on(3));
    shown(&machine, &person).unwrap();
    let old = Person { documents: person.documents[..3].to_vec(), ..handed_on(2) };
    let error = shown(&machine, &old).unwrap_err();
    assert!(matches!(error, Error::Rollback { seen: 3, offered: 2, .. }), "{error:?}");

    let mut owner = handed_on(3);
    owner.documents.push(person.documents[2].clone());
    let mirror = Mirror { now: NOW, ..Mirror::new(owner, 1) };
    assert!(["E-ROLLBACK", "E-SIG"].contains(&code(machine.shown(&mirror))));
    let row = IdentityRow { n: 4, document: person.documents[2].id() };
    let shelf = Shelf::default();
    person.shelve(&shelf);
    assert_eq!(code(machine.judge().identity(person.id(), Some(&row), &shelf, "m")), "E-HASH");
    assert_eq!(head(&machine, &person), Some(3));
}

/// SEC-055: documents of one identity do not pass for another's, from the first or from the middle.
#[test]
fn a_graft_is_refused() {
    let (machine, ours) = (Machine::new(), Person::new(1));
    let mut theirs = Person::new(9);
    theirs.take(theirs.next(), &[9]);
    let shelf = Shelf::default();
    theirs.shelve(&shelf);
    let under_ours = machine.judge().identity(ours.id(), Some(&theirs.row()), &shelf, "m");
    assert_eq!(code(under_ours), "E-HASH");

    let mut grafted = ours.clone();
    grafted.documents.push(theirs.documents[1].clone());
    let mirror = Mirror::new(grafted, 1);
    assert_eq!(code(machine.shown(&mirror)), "E-SIG");

    let twin = Identity { name: Some("same keys".into()), ..Person::new(1).newest };
    let mut twin = Person::with(1, twin);
    twin.take(twin.next(), &[1]);
    let mut grafted = ours.clone();
    grafted.documents.push(twin.documents[1].clone());
    assert_eq!(code(machine.shown(&Mirror::new(grafted, 1))), "E-SIG");
    assert_eq!(machine.state.heads().unwrap(), []);
}

/// Two successors of one document are a fork: evidence is kept, neither branch is applied, and a
/// person decides. What they decide against is refused from then on.
#[test]
fn two_successors_are_a_fork() {
    let (machine, trunk) = (Machine::new(), handed_on(1));
    let branch = |name: &str| {
        let mut branch = trunk.clone();
        branch.take(Identity { name: Some(name.into()), ..branch.next() }, &[2]);
        branch
    };
    let (ours, theirs) = (branch("ours"), branch("theirs"));
    shown(&machine, &ours).unwrap();
    let error = shown(&machine, &theirs).unwrap_err();
    assert!(matches!(error, Error::Fork { n: 2, .. }), "{error:?}");
    assert_eq!(code(shown(&machine, &ours)), "E-FORK");

    let line = Line::Identity(trunk.id());
    let fork = machine.state.forks().unwrap().remove(0);
    assert_eq!(fork.ours_envelope, ours.documents[2].envelope().encode());
    assert_eq!(fork.theirs_envelope, theirs.documents[2].envelope().encode());
    assert!(machine.state.settle(&line, fork.id, fork.theirs).unwrap());
    assert_eq!(shown(&machine, &theirs).unwrap().head().n, 2);
    assert_eq!(code(shown(&machine, &ours)), "E-FORK");
    assert_eq!(machine.state.forks().unwrap().len(), 1, "what is settled stays settled");
    shown(&machine, &theirs).unwrap();
}

/// SEC-057: a source that leaves out the newest document is stale as soon as another source named
/// it, even one whose index was refused.
#[test]
fn a_hidden_document_is_noticed() {
    let machine = Machine::new();
    let short = Mirror::new(Person::new(1), 1);
    let mut owner = short.owner.clone();
    owner.take(owner.next(), &[1]);
    let mut long = Mirror { owner, ..short.clone() };
    long.indexes = vec![sign(&short.next("unsigned"), &[])];
    assert_eq!(code(machine.shown(&long)), "E-SIG");
    let error = machine.shown(&short).unwrap_err();
    assert!(matches!(error, Error::Rollback { seen: 1, offered: 0, .. }), "{error:?}");
}

/// Expiry counts for the last document only, by the freshness rule, and is never silent unless
/// the rule is off.
#[test]
fn an_expired_identity_is_refused() {
    let mut person = Person::with(1, Identity { expires: Some(time(NOW - DAY)), ..Person::new(1).newest });
    for (freshness, expected, warnings) in [
        (Freshness::Strict, "E-EXPIRED", 0),
        (Freshness::Warn, "ok", 1),
        (Freshness::Off, "ok", 0),
        (Freshness::MaxStale { seconds: DAY - 1 }, "E-EXPIRED", 0),
    ] {
        let mut machine = Machine::new();
        machine.policy.freshness = freshness;
        let shelf = Shelf::default();
        person.shelve(&shelf);
        let judge = machine.judge();
        let shown = judge.identity(person.id(), Some(&person.row()), &shelf, "m");
        assert_eq!(code(shown), expected, "{freshness:?}");
        assert_eq!(judge.take_warnings().len(), warnings, "{freshness:?}");
    }
    person.take(Identity { expires: None, ..person.next() }, &[1]);
    shown(&Machine::new(), &person).unwrap();
}

/// SEC-062: no document of the chain may be dated ahead.
#[test]
fn a_document_dated_ahead_is_refused() {
    let (machine, mut person) = (Machine::new(), Person::new(1));
    person.take(Identity { created: time(NOW + 601), ..person.next() }, &[1]);
    person.take(Identity { created: time(NOW), ..person.next() }, &[1]);
    assert_eq!(code(shown(&machine, &person)), "E-EXPIRED");
    assert_eq!(head(&machine, &person), None);
}

/// SEC-064, THREATS 1.8: 1,024 documents are followed, and not one more.
#[test]
fn an_endless_chain_is_cut() {
    let (machine, mut person) = (Machine::new(), Person::new(1));
    for _ in 1..1_024 {
        person.take(person.next(), &[1]);
    }
    assert_eq!(shown(&machine, &person).unwrap().head().n, 1_023);
    let mut longer = person.clone();
    longer.take(longer.next(), &[1]);
    assert_eq!(code(shown(&machine, &longer)), "E-LIMIT");
    let shelf = Shelf::default();
    longer.shelve(&shelf);
    let lying = IdentityRow { n: 3, ..longer.row() };
    assert_eq!(code(Machine::new().judge().identity(longer.id(), Some(&lying), &shelf, "m")), "E-LIMIT");
}

/// A place that fails or lies does not hide what the next one has.
#[test]
fn places_are_asked_in_order() {
    let (machine, person) = (Machine::new(), handed_on(2));
    let (lying, empty, honest) = (Shelf::default(), Shelf::default(), Shelf::default());
    person.shelve(&honest);
    lying.exchange(person.documents[2].id(), person.documents[1].envelope());
    let judge = machine.judge();
    let from = |places: &[&dyn plumbing::trust::Statements]| {
        code(judge.identity(person.id(), Some(&person.row()), &InOrder(places), "m"))
    };
    assert_eq!(from(&[&empty]), "E-NOTFOUND");
    assert_eq!(from(&[&lying, &empty]), "E-HASH");
    assert_eq!(from(&[&lying, &empty, &honest]), "ok");
}

/// The statements of a repository on disk are a source like any other.
#[test]
fn statements_on_disk_are_a_source() {
    let folder = tempfile::tempdir().unwrap();
    let (machine, person) = (Machine::new(), handed_on(2));
    let disk = objects::statements::Statements::new(folder.path());
    let judge = machine.judge();
    let shown = || judge.identity(person.id(), Some(&person.row()), &disk, "disk");
    assert_eq!(code(shown()), "E-NOTFOUND");
    person.documents.iter().map(Signed::envelope).for_each(|document| disk.insert(document).unwrap());
    assert_eq!(shown().unwrap().head().n, 2);
}
