//! The state: kept across processes, never backwards, whoever writes.

use super::world::{Book, DAY, Machine, Mirror, NOW, Person, code, time};
use plumbing::trust::{Advance, Database, DatabaseError, Head, Line, Policy, State};
use std::path::Path;
use std::thread;

fn machine(path: &Path) -> Machine {
    Machine { state: State::open(path).unwrap(), policy: Policy::default(), now: NOW }
}

/// Pins, heads, time and evidence are there after the file is opened again.
#[test]
fn what_was_believed_survives_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/state.db");
    let (mirror, book) = (Mirror::new(Person::new(1), 8), Book::new(Person::new(2), "hello", 3));
    let (ours, theirs) = (mirror.clone().grown("ours"), mirror.clone().grown("theirs"));
    {
        let machine = machine(&path);
        machine.state.pin_repository("m", &mirror.repository, time(NOW)).unwrap();
        machine.installs(&ours, &book, "1.1.0").unwrap();
        assert_eq!(code(machine.shown(&theirs)), "E-FORK");
    }
    let machine = machine(&path);
    assert_eq!(machine.state.repository("m").unwrap(), Some(mirror.repository.clone()));
    assert_eq!(machine.state.repositories().unwrap()[0].source, "m");
    assert_eq!(machine.state.packages().unwrap()[0].owner, book.author.id());
    assert_eq!(machine.state.last_known().unwrap(), time(NOW));
    assert_eq!(machine.state.heads().unwrap().len(), 4, "two identities, an index, a log");
    assert_eq!(machine.state.forks().unwrap()[0].theirs, theirs.indexes[8].id());
    assert_eq!(code(machine.shown(&mirror)), "E-ROLLBACK");
    assert_eq!(code(machine.shown(&ours)), "E-FORK");
}

/// SQL itself refuses to move a head or the clock back, so no careless writer can.
#[test]
fn heads_and_clock_never_go_back() {
    let (machine, mirror) = (Machine::new(), Mirror::new(Person::new(1), 4));
    machine.shown(&mirror).unwrap();
    for sql in [
        "UPDATE heads SET n = n - 1 WHERE kind = 'index'",
        "UPDATE heads SET statement = zeroblob(32)",
        "UPDATE clock SET last_known = last_known - 1",
    ] {
        let written = machine.state.database().write("write", |tx| tx.execute(sql, []));
        assert!(written.is_err(), "{sql}");
    }
    let line = Line::Index(mirror.repository.clone());
    assert_eq!(machine.state.head(&line).unwrap().unwrap().n, 3);
    machine.state.note_time(time(NOW - DAY)).unwrap();
    assert_eq!(machine.state.last_known().unwrap(), time(NOW));
}

/// A head moves only from where it was judged: of two writers that saw the same head, one has to
/// look again.
#[test]
fn a_head_moves_only_from_where_it_was_judged() {
    let (state, mirror) = (State::in_memory().unwrap(), Mirror::new(Person::new(1), 3));
    let line = Line::Index(mirror.repository.clone());
    let head = |n: usize| Head { n: n as u64, id: mirror.indexes[n].id() };
    let step = |from: Option<Head>, to: usize| {
        let envelope = mirror.indexes[to].envelope();
        let advance = Advance { line: &line, from, to: head(to), envelope, positions: &[] };
        state.advance(&advance, time(NOW)).unwrap()
    };
    assert!(step(None, 0));
    assert!(!step(None, 1));
    assert!(step(Some(head(0)), 2));
    assert!(!step(Some(head(0)), 1));
    assert_eq!(state.head(&line).unwrap(), Some(head(2)));
}

/// A pin that stands is not moved by pinning again.
#[test]
fn a_pin_stands_until_it_is_taken_off() {
    let state = State::in_memory().unwrap();
    let (one, two) = (Mirror::new(Person::new(1), 0).repository, Mirror::new(Person::new(2), 0).repository);
    assert_eq!(state.pin_repository("m", &one, time(NOW)).unwrap(), one);
    assert_eq!(state.pin_repository("m", &two, time(NOW)).unwrap(), one);
    assert!(state.unpin_repository("m").unwrap());
    assert!(!state.unpin_repository("m").unwrap());
    assert_eq!(state.pin_repository("m", &two, time(NOW)).unwrap(), two);
}

/// REL-039: tables of a newer version are refused with a clear text, and left as they are.
#[test]
fn a_newer_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    drop(State::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    database.write("write", |tx| tx.execute("UPDATE rooms SET version = 99", [])).unwrap();
    let error = State::open(&path).err().unwrap();
    assert!(matches!(error, DatabaseError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("newer version"), "{error}");
}

/// Another room's tables live in the same file, step by step.
#[test]
fn rooms_share_the_file() {
    let state = State::in_memory().unwrap();
    let database = state.database();
    let (first, second) = ("CREATE TABLE one (x INTEGER)", "CREATE TABLE two (x INTEGER)");
    database.migrate("cache", &[first]).unwrap();
    database.migrate("cache", &[first, second]).unwrap();
    database.migrate("cache", &[first, second]).unwrap();
    let count = "SELECT count(*) FROM sqlite_schema WHERE name IN ('one', 'two')";
    assert_eq!(
        database.read("read", |view| view.query_row(count, [], |row| row.get::<_, i64>(0))).unwrap(),
        2
    );
    let failed = database.write("write", |tx| {
        tx.execute("INSERT INTO one VALUES (1)", [])?;
        tx.execute("INSERT INTO nowhere VALUES (1)", [])
    });
    assert!(failed.is_err());
    let count = "SELECT count(*) FROM one";
    assert_eq!(
        database.read("read", |view| view.query_row(count, [], |row| row.get::<_, i64>(0))).unwrap(),
        0
    );
}

/// What is no database is refused, not overwritten.
#[test]
fn what_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let text = "a shopping list, long enough to be no header of SQLite\n".repeat(20);
    std::fs::write(&path, &text).unwrap();
    assert_eq!(State::open(&path).err().unwrap().code(), "E-FORMAT");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

/// Several commands may make the file, and show it mirrors in any order, at once: it ends at the newest
/// index, with no fork seen.
#[test]
fn commands_share_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let mirror = Mirror::new(Person::new(1), 24);
    thread::scope(|scope| {
        for start in 1..=8 {
            let (path, mirror) = (&path, &mirror);
            scope.spawn(move || {
                let machine = machine(path);
                for count in (start..=24).step_by(4) {
                    let shown = code(machine.shown(&mirror.back_at(count)));
                    assert!(["ok", "E-ROLLBACK"].contains(&shown), "{shown}");
                }
            });
        }
    });
    let machine = machine(&path);
    let line = Line::Index(mirror.repository.clone());
    assert_eq!(machine.state.head(&line).unwrap().unwrap().n, 23);
    assert!(machine.state.forks().unwrap().is_empty());
}
