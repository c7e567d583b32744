//! A person's word: forks are settled by it, and nothing but it; and a judge may work on a copy.

use super::world::{Book, Machine, Mirror, NOW, Person, code, time};
use objects::claim::Repository;
use plumbing::trust::{Fork, Head, Line, Log, Sighting, State};

fn mirror(indexes: usize) -> Mirror {
    Mirror::new(Person::new(1), indexes)
}

/// Two indexes with number 8, kept as evidence by a machine that has seen number 7 alone.
fn met_at_once() -> (Machine, Mirror, Mirror, Line) {
    let (machine, seventh) = (Machine::new(), mirror(8));
    machine.shown(&seventh).unwrap();
    let (one, other) = (seventh.clone().grown("one"), seventh.grown("other"));
    let line = Line::Index(one.repository.clone());
    let (ours, theirs) = (one.indexes[8].envelope(), other.indexes[8].envelope());
    let pair = Sighting { line: &line, n: 8, ours, theirs, origin: "mirror", seen: time(NOW) };
    machine.state.record_fork(&pair).unwrap();
    (machine, one, other, line)
}

/// SEC-049: of two indexes that were met at once neither is applied, until an honest one follows.
#[test]
fn neither_of_two_indexes_met_at_once_is_applied() {
    let (machine, one, other, line) = met_at_once();
    assert_eq!(code(machine.shown(&one)), "E-FORK");
    assert_eq!(code(machine.shown(&other)), "E-FORK");
    assert_eq!(machine.state.head(&line).unwrap().unwrap().n, 7);
    machine.shown(&one.clone().grown("next")).unwrap();
    assert_eq!(code(machine.shown(&other.grown("next"))), "E-FORK");
}

/// What a person gave up stays out, with all that grew from it, also if the head had not come so far.
#[test]
fn what_was_given_up_stays_out() {
    for keeps_ours in [true, false] {
        let (machine, one, other, line) = met_at_once();
        let (kept, lost) = if keeps_ours { (one, other) } else { (other, one) };
        let fork = machine.state.forks().unwrap()[0].clone();
        let keep = kept.indexes[8].id();
        assert!(machine.state.settle(&line, fork.id, keep).unwrap());
        assert_eq!(machine.state.head(&line).unwrap(), Some(Head { n: 8, id: keep }));
        let fork = machine.state.forks().unwrap()[0].clone();
        assert!(fork.gave_up(lost.indexes[8].id()) && !fork.gave_up(keep));
        assert_eq!(code(machine.shown(&lost)), "E-FORK");
        assert_eq!(code(machine.shown(&lost.clone().grown("next"))), "E-FORK");
        machine.shown(&kept).unwrap();
        machine.shown(&kept.grown("next")).unwrap();
        assert_eq!(machine.state.forks().unwrap().len(), 1, "the same pair is kept once");
    }
}

/// Evidence leads back to its line, whatever its kind.
#[test]
fn evidence_names_its_line() {
    let (one, two) = (Person::new(1).id(), Person::new(2).id());
    let lines = [
        Line::Identity(one),
        Line::Index(Repository { owner: two, name: "a/b".into() }),
        Line::Log(Log { owner: one, name: "acme/web/tool".parse().unwrap(), signer: two }),
    ];
    let mirror = mirror(2);
    let (ours, theirs) = (mirror.indexes[0].envelope(), mirror.indexes[1].envelope());
    for line in lines {
        let state = State::in_memory().unwrap();
        let pair = Sighting { line: &line, n: 3, ours, theirs, origin: "mirror", seen: time(NOW) };
        state.record_fork(&pair).unwrap();
        let fork: Fork = state.forks().unwrap().remove(0);
        let signer = if matches!(line, Line::Identity(_)) { one } else { two };
        assert_eq!(fork.signer(), Some(signer));
        assert_eq!(fork.of_line(), Some(line));
        assert_eq!(fork.id.to_string(), "1");
        assert_eq!(Fork { kind: "unheard of".into(), ..fork }.of_line(), None);
    }
}

/// What a judge learns into a copy is not believed by the machine; what the machine knows, the copy knows.
#[test]
fn a_copy_knows_everything_and_changes_nothing() {
    let (machine, mirror) = (Machine::new(), Mirror::new(Person::new(1), 3));
    let book = Book::new(Person::new(2), "hello", 3);
    machine.state.pin_repository("m", &mirror.repository, time(NOW)).unwrap();
    machine.installs(&mirror, &book, "1.1.0").unwrap();
    let copy = Machine { state: machine.state.copy().unwrap(), policy: machine.policy.clone(), now: NOW };
    assert_eq!(copy.state.heads().unwrap(), machine.state.heads().unwrap());
    assert_eq!(copy.state.packages().unwrap(), machine.state.packages().unwrap());
    assert_eq!(copy.state.repositories().unwrap(), machine.state.repositories().unwrap());
    assert_eq!(copy.state.last_known().unwrap(), machine.state.last_known().unwrap());
    assert_eq!(code(copy.shown(&mirror.back_at(2))), "E-ROLLBACK");

    let before = machine.state.heads().unwrap();
    copy.shown(&mirror.clone().grown("next")).unwrap();
    assert_eq!(code(copy.shown(&mirror.grown("other"))), "E-FORK");
    assert_eq!(machine.state.heads().unwrap(), before);
    assert!(machine.state.forks().unwrap().is_empty());
}
