//! Steps 13 to 16: releases and the logs they stand in.

use super::world::{
    Book, DAY, Machine, Mirror, NOW, Person, Shelf, code, forge, key, role, sign, signature, time,
};
use objects::claim::{Mark, PackageRecord, Repository};
use objects::identity::Withdrawal;
use objects::key::Signer as _;
use objects::release::{Action, Entry, LogHead};
use objects::signed::{Kind, Signed};
use plumbing::trust::{Error, Line, Log, NameUse};

fn world() -> (Machine, Mirror, Book) {
    (Machine::new(), Mirror::new(Person::new(1), 1), Book::new(Person::new(2), "hello", 5))
}

fn log(book: &Book) -> Log {
    let (owner, signer) = (book.author.id(), book.author.id());
    Log { owner, name: book.name.parse().unwrap(), signer }
}

fn head(machine: &Machine, book: &Book) -> Option<u64> {
    machine.state.head(&Line::Log(log(book))).unwrap().map(|head| head.n)
}

/// Installs with a record that was tampered with.
fn with_record(
    machine: &Machine,
    book: &Book,
    version: &str,
    tamper: impl Fn(&mut PackageRecord),
) -> &'static str {
    let mut record = book.record();
    tamper(&mut record);
    let mirror = Mirror::new(Person::new(1), 1);
    code(machine.installs_from(&mirror, &record, &book.author, version, &book.shelf()))
}

/// Every version of a log installs, whichever is asked for first, and the log goes on.
#[test]
fn an_honest_log_is_believed() {
    let (machine, mirror, book) = world();
    for version in ["1.3.0", "1.0.0", "1.4.0", "1.2.0"] {
        let entry = machine.installs(&mirror, &book, version).unwrap();
        assert_eq!(entry.release().unwrap().version.to_string(), version);
    }
    let longer = book.released("2.0.0", "new").released("2.1.0", "newer");
    machine.installs(&mirror, &longer, "2.0.0").unwrap();
    assert_eq!(head(&machine, &longer), Some(6));
}

/// Each entry of a log is fetched for judging once a machine; afterwards only what is wanted is.
#[test]
fn a_log_is_walked_once() {
    let (machine, mirror, book) = world();
    let asked = |book: &Book, version: &str| {
        let shelf = book.shelf();
        machine.installs_from(&mirror, &book.record(), &book.author, version, &shelf).unwrap();
        shelf.asked.get() - 1 // the author's document
    };
    assert_eq!(asked(&book, "1.2.0"), 3 + 1);
    assert_eq!(asked(&book, "1.3.0"), 1);
    assert_eq!(asked(&book, "1.0.0"), 3 + 1, "the oldest known one leads on");
    assert_eq!(asked(&book.clone().released("2.0.0", "new"), "2.0.0"), 1 + 1);
}

/// A distributor cannot alter what an author signed, nor show a release under another's row.
#[test]
fn an_altered_row_is_refused() {
    let (machine, _, book) = world();
    let other = Book::new(Person::new(2), "other", 3).record();
    let other_tree = super::world::release("1.4.0", "other").tree;
    let tampered = |tamper: &dyn Fn(&mut PackageRecord)| with_record(&machine, &book, "1.4.0", tamper);
    assert_eq!(tampered(&|record| record.versions[4].release.size = 2), "E-SIG");
    assert_eq!(tampered(&|record| record.versions[4].release.dependencies = vec![]), "ok");
    assert_eq!(tampered(&|record| record.versions[4].release.tree = other_tree), "E-SIG");
    assert_eq!(tampered(&|record| record.versions[4].release.about.description = Some("x".into())), "E-SIG");
    assert_eq!(tampered(&|record| record.versions[4].entry = record.versions[3].entry), "E-HASH");
    assert_eq!(tampered(&|record| record.versions[4].seq = 3), "E-HASH");
    assert_eq!(tampered(&|record| record.versions[4].seq = 5), "E-HASH");
    assert_eq!(tampered(&|record| record.versions[4].entry = other.versions[2].entry), "E-NOTFOUND");
    assert_eq!(tampered(&|record| record.logs.clear()), "E-HASH");
    assert!(machine.state.forks().unwrap().is_empty());
}

/// SEC-045, SEC-055: an entry of another package, of the same author or of another one, does not
/// pass; nor does another author's log under this one's name.
#[test]
fn an_entry_of_another_package_is_refused() {
    let (machine, mirror, book) = world();
    for (other, expected) in
        [(Book::new(Person::new(2), "other", 5), "E-SCOPE"), (Book::new(Person::new(3), "hello", 5), "E-SIG")]
    {
        let shelf = book.shelf();
        other.entries.iter().for_each(|entry| shelf.put(entry));
        let mut record = book.record();
        record.logs[0].entry = other.entries[4].id();
        record.versions[4].entry = other.entries[4].id();
        let installed = machine.installs_from(&mirror, &record, &book.author, "1.4.0", &shelf);
        assert_eq!(code(installed), expected);
        let mut record = book.record();
        record.versions[1].entry = other.entries[1].id();
        let installed = machine.installs_from(&mirror, &record, &book.author, "1.1.0", &shelf);
        assert_eq!(code(installed), expected);
    }
}

/// SEC-040, SEC-041, SEC-044: entries without a good signature of the release role are refused, for
/// the release itself and for what stands between it and the head.
#[test]
fn an_unsigned_entry_is_refused() {
    let mut first = Person::new(2).newest;
    first.roles.release = role(&[3], 1);
    let author = Person::with(2, first);
    let signed_by = |bad: usize, seeds: &[u8]| {
        let mut book = Book::new(author.clone(), "hello", 0);
        for seq in 0..3_usize {
            let entry =
                book.next(Action::Release(Box::new(super::world::release(&format!("1.{seq}.0"), "t"))));
            book.entries.push(sign(&entry, if seq == bad { seeds } else { &[3] }));
            book.drafts.push(entry);
        }
        let (machine, mirror, _) = world();
        code(machine.installs(&mirror, &book, "1.1.0"))
    };
    for bad in [1, 2] {
        assert_eq!(signed_by(bad, &[]), "E-SIG");
        assert_eq!(signed_by(bad, &[2]), "E-SIG", "a key of another role");
        assert_eq!(signed_by(bad, &[9]), "E-SIG");
        assert_eq!(signed_by(bad, &[3]), "ok");
    }
    let book = Book::new(Person::new(2), "hello", 1);
    let payload = book.entries[0].envelope().payload();
    let relabelled =
        forge(Kind::Entry.media_type(), payload, &[signature(2, Kind::Note.media_type(), payload)]);
    let relabelled = Book { entries: vec![Signed::<Entry>::decode(&relabelled).unwrap()], ..book };
    let (machine, mirror, _) = world();
    assert_eq!(code(machine.installs(&mirror, &relabelled, "1.0.0")), "E-SIG");
}

/// SEC-046 for logs: a log that ends before what is known is stale.
#[test]
fn a_shortened_log_is_refused() {
    let (machine, mirror, book) = world();
    machine.installs(&mirror, &book, "1.4.0").unwrap();
    let short = Book::new(Person::new(2), "hello", 3);
    let error = machine.installs(&mirror, &short, "1.1.0").unwrap_err();
    assert!(matches!(error, Error::Rollback { seen: 4, offered: 2, .. }), "{error:?}");
    assert_eq!(head(&machine, &book), Some(4));
}

/// SEC-051: two entries with one number are a fork for this package from there on: older versions
/// and other packages install, evidence is kept, and a person may choose.
#[test]
fn two_entries_with_one_number_are_a_fork() {
    let (machine, mirror, trunk) = world();
    let ours = trunk.clone().released("2.0.0", "ours").released("2.1.0", "ours");
    let theirs = trunk.released("2.0.0", "theirs").released("2.1.0", "theirs").released("2.2.0", "theirs");
    machine.installs(&mirror, &ours, "2.1.0").unwrap();
    let error = machine.installs(&mirror, &theirs, "2.2.0").unwrap_err();
    assert!(matches!(error, Error::Fork { n: 6, .. }), "{error:?}");

    assert_eq!(code(machine.installs(&mirror, &ours, "2.1.0")), "E-FORK");
    machine.installs(&mirror, &ours, "1.4.0").unwrap();
    machine.installs(&mirror, &Book::new(Person::new(2), "other", 2), "1.1.0").unwrap();

    let fork = machine.state.forks().unwrap().remove(0);
    assert_eq!((fork.ours, fork.theirs), (ours.entries[6].id(), theirs.entries[6].id()));
    let line = Line::Log(log(&ours));
    assert!(machine.state.settle(&line, fork.id, fork.theirs).unwrap());
    for version in ["2.0.0", "2.2.0", "1.0.0"] {
        machine.installs(&mirror, &theirs, version).unwrap();
    }
    assert_eq!(code(machine.installs(&mirror, &ours, "2.1.0")), "E-ROLLBACK");
}

/// SEC-051: a row that names a second entry in a known place is a fork too, at any depth.
#[test]
fn a_sibling_in_the_middle_is_a_fork() {
    let (machine, mirror, book) = world();
    let sibling = Book::new(Person::new(2), "hello", 2).released("1.2.0", "other");
    machine.installs(&mirror, &book, "1.0.0").unwrap();
    let (shelf, mut record) = (book.shelf(), book.record());
    shelf.put(&sibling.entries[2]);
    record.versions[2] = sibling.record().versions[2].clone();
    let installed = machine.installs_from(&mirror, &record, &book.author, "1.2.0", &shelf);
    assert_eq!(code(installed), "E-FORK");
    assert_eq!(machine.state.forks().unwrap()[0].n, 2);
    machine.installs(&mirror, &book, "1.1.0").unwrap();
    assert_eq!(code(machine.installs(&mirror, &book, "1.3.0")), "E-FORK");
}

/// Step 15: a version with two trees is refused, other versions install. (Within one log; SEC-052
/// itself needs delegates.)
#[test]
fn a_version_with_two_trees_is_refused() {
    let (machine, mirror, book) = world();
    let again = book.released("1.1.0", "other");
    let mut record = again.record();
    record.versions.remove(5);
    let install =
        |version: &str| code(machine.installs_from(&mirror, &record, &again.author, version, &again.shelf()));
    assert_eq!((install("1.1.0"), install("1.2.0")), ("E-FORK", "ok"));
}

/// What the author withdrew counts, whether or not the index repeats it (SEC-057 in spirit).
#[test]
fn a_withdrawn_version_is_refused() {
    let (mut machine, mirror, book) = world();
    let yanked = book.yanked("1.3.0");
    machine.installs(&mirror, &yanked, "1.4.0").unwrap();
    let error = machine.installs(&mirror, &yanked, "1.3.0").unwrap_err();
    assert!(error.code() == "E-POLICY" && error.to_string().contains("it burns"), "{error}");
    machine.installs(&mirror, &yanked.clone().unyanked("1.3.0"), "1.3.0").unwrap();
    machine.policy.allow_yanked = true;
    let again = yanked.unyanked("1.3.0").yanked("1.3.0");
    machine.installs(&mirror, &again, "1.3.0").unwrap();
}

/// Step 16: marks and age, as the policy says.
#[test]
fn marks_and_age_follow_the_policy() {
    let (machine, _, book) = world();
    let reason = || "because".to_owned();
    let marked = |machine: &Machine, mark: Mark| {
        with_record(machine, &book, "1.4.0", |record| record.versions[4].mark = Some(mark.clone()))
    };
    let marks = [
        Mark::Yanked { reason: reason() },
        Mark::Forbidden { reason: reason() },
        Mark::Malicious { reason: reason() },
    ];
    for (nth, mark) in marks.into_iter().enumerate() {
        assert_eq!(marked(&machine, mark.clone()), "E-POLICY", "{mark:?}");
        let mut lenient = Machine::new();
        lenient.policy.allow_yanked = nth == 0;
        lenient.policy.allow_forbidden = nth == 1;
        lenient.policy.allow_malicious = nth == 2;
        assert_eq!(marked(&lenient, mark), "ok");
    }
    assert_eq!(marked(&machine, Mark::Retired { successor: None }), "ok");

    let mut careful = Machine::new();
    careful.policy.min_age_seconds = 7 * DAY;
    for (age, expected) in [(0, "E-POLICY"), (7 * DAY - 1, "E-POLICY"), (7 * DAY, "ok")] {
        let listed = |record: &mut PackageRecord| record.versions[4].listed = time(NOW - age);
        assert_eq!(with_record(&careful, &book, "1.4.0", listed), expected, "{age}");
    }
}

/// SEC-062: an entry dated ahead of the clock is refused; those around it are not, and time stays.
#[test]
fn an_entry_dated_ahead_is_refused() {
    let (machine, mirror, book) = world();
    let mut entry = book.next(Action::Release(Box::new(super::world::release("2.0.0", "t"))));
    entry.created = time(NOW + 601);
    let book = book.with(entry);
    assert_eq!(code(machine.installs(&mirror, &book, "2.0.0")), "E-EXPIRED");
    assert_eq!(code(machine.installs(&mirror, &book, "1.2.0")), "ok");
    let longer = book.released("2.1.0", "later");
    assert_eq!(code(machine.installs(&mirror, &longer, "2.1.0")), "ok");
    assert_eq!(code(machine.installs(&mirror, &longer, "2.0.0")), "E-EXPIRED");
    assert!(machine.state.last_known().unwrap() <= time(NOW));
}

/// SEC-063: a second repository that maps a known name to another identity is refused before
/// anything is fetched; one that maps it to the same is fine.
#[test]
fn a_known_name_keeps_its_owner() {
    let (machine, mirror, book) = world();
    let judge = machine.judge();
    let accepted = machine.shown(&mirror).unwrap();
    assert_eq!(judge.accept_name(&accepted, &book.record(), "m").unwrap(), NameUse::First);
    machine.installs(&mirror, &book, "1.0.0").unwrap();
    assert_eq!(judge.accept_name(&accepted, &book.record(), "m").unwrap(), NameUse::Known);

    let second = Mirror::new(Person::new(5), 1);
    let thief = Book::new(Person::new(6), "hello", 1);
    let shelf = thief.shelf();
    let installed = machine.installs_from(&second, &thief.record(), &thief.author, "1.0.0", &shelf);
    assert_eq!(code(installed), "E-IDENTITY-CHANGED");
    assert_eq!(shelf.asked.get(), 0, "nothing is fetched");
    assert_eq!(code(machine.installs(&mirror, &thief, "1.0.0")), "E-IDENTITY-CHANGED");
    machine.installs(&second, &book, "1.0.0").unwrap();

    let name = "hello".parse().unwrap();
    assert_eq!(machine.state.package(&name).unwrap().len(), 2);
    assert!(machine.state.unpin_package(&name).unwrap());
    machine.installs(&second, &thief, "1.0.0").unwrap();
}

/// A name that a person let two repositories map differently stays so in each.
#[test]
fn two_repositories_may_differ_on_a_persons_word() {
    let (machine, mirror, book) = world();
    machine.installs(&mirror, &book, "1.0.0").unwrap();
    let (second, other) = (Mirror::new(Person::new(5), 1), Book::new(Person::new(6), "hello", 1));
    let (name, repository) = ("hello".parse().unwrap(), second.repository.clone());
    let pin = plumbing::trust::PackagePin { name, repository, owner: other.author.id(), since: time(NOW) };
    machine.state.pin_package(&pin).unwrap();
    machine.installs(&second, &other, "1.0.0").unwrap();
    machine.installs(&mirror, &book, "1.0.0").unwrap();
    assert_eq!(code(machine.installs(&mirror, &other, "1.0.0")), "E-IDENTITY-CHANGED");
}

/// SEC-056: what a revoked key signed counts up to the checkpoint, by position and not by date; a
/// history of the thief's own, however short, does not.
#[test]
fn a_revoked_key_counts_up_to_its_checkpoint() {
    let mirror = Mirror::new(Person::new(1), 1);
    let before = Book::new(Person::new(2), "hello", 3);
    let stolen = before.clone().released("6.6.6", "evil");
    let checkpoint = |book: &Book| {
        let (owner, signer) = (book.author.id(), book.author.id());
        let (seq, entry) = (book.entries.len() as u64 - 1, book.entries.last().unwrap().id());
        vec![LogHead { owner, name: "hello".parse().unwrap(), signer, seq, entry }]
    };
    let mut author = before.author.clone();
    let mut next = author.next();
    next.roles = objects::identity::Roles::all(&role(&[4], 1));
    next.revoked = vec![Withdrawal { key: key(2).public(), checkpoint: checkpoint(&before) }];
    author.take(next, &[2, 4]);
    author.seed = 4;

    let honest = Book { author: author.clone(), ..before }.released("1.3.0", "new key");
    let machine = Machine::new();
    for version in ["1.3.0", "1.2.0", "1.0.0"] {
        machine.installs(&mirror, &honest, version).unwrap();
    }
    let stolen = Book { author: author.clone(), ..stolen };
    let error = Machine::new().installs(&mirror, &stolen, "6.6.6").unwrap_err();
    assert!(matches!(error, Error::Withdrawn { .. }), "{error:?}");

    let own = Book::new(Person::new(2), "hello", 0).released("6.6.6", "evil");
    let own = Book { author: author.clone(), ..own };
    assert_eq!(code(Machine::new().installs(&mirror, &own, "6.6.6")), "E-SIG");
    let longer = (0..4)
        .fold(Book::new(Person::new(2), "hello", 0), |book, n| book.released(&format!("6.{n}.0"), "evil"));
    let longer = Book { author, ..longer };
    assert_eq!(code(Machine::new().installs(&mirror, &longer, "6.1.0")), "E-SIG");
}

/// SEC-057, step 9: an entry that names a newer document of its signer than the source shows is proof
/// that the source is stale. An old role signs no entry that names the new document.
#[test]
fn an_entry_of_an_unseen_document_shows_a_stale_source() {
    let (machine, mirror, book) = world();
    let ahead =
        Entry { signer_n: 1, ..book.next(Action::Release(Box::new(super::world::release("2.0.0", "t")))) };
    assert_eq!(code(machine.installs(&mirror, &book.clone().with(ahead.clone()), "2.0.0")), "E-ROLLBACK");
    let mut author = book.author.clone();
    let mut next = author.next();
    next.roles.release = role(&[4], 1);
    author.take(next, &[2]);
    let by_old = Book { author, ..book.with(ahead) };
    assert_eq!(code(machine.installs(&mirror, &by_old, "2.0.0")), "E-SIG");
}

/// A log longer than anyone walks is refused before it is fetched.
#[test]
fn an_endless_log_is_cut() {
    let (machine, mirror, book) = world();
    for seq in [20_000, u64::MAX] {
        let mut record = book.record();
        record.logs[0].seq = seq;
        let shelf: Shelf = book.shelf();
        let installed = machine.installs_from(&mirror, &record, &book.author, "1.0.0", &shelf);
        assert_eq!(code(installed), "E-LIMIT");
        assert_eq!(shelf.asked.get(), 1, "the author's document only");
    }
}

/// The same author's packages in two repositories are one log: what one shows the other must not
/// deny.
#[test]
fn a_log_is_one_across_repositories() {
    let (machine, mirror, book) = world();
    let second = Mirror {
        repository: Repository { name: "second".into(), ..mirror.repository.clone() },
        ..Mirror::new(Person::new(1), 0)
    };
    let second = second.grown("honest");
    machine.installs(&mirror, &book, "1.4.0").unwrap();
    machine.installs(&second, &book, "1.2.0").unwrap();
    assert_eq!(
        code(machine.installs(&second, &Book::new(Person::new(2), "hello", 4), "1.3.0")),
        "E-ROLLBACK"
    );
}

/// SEC-072: a package is handed on by an entry that the present root of both owners signed, for this
/// package and to this owner; nothing else is taken for one, and nobody's pin moves by it.
#[test]
fn a_package_is_handed_on_by_both_owners() {
    let (machine, mirror, book) = world();
    machine.installs(&mirror, &book, "1.4.0").unwrap();
    let separate = |seed: u8| {
        let mut first = Person::new(seed).newest;
        first.roles.release = role(&[seed + 100], 1);
        Person::with(seed, first)
    };
    let (from, to, other) = (separate(2), separate(3), separate(4));
    let own = Book::new(from.clone(), "hello", 0);
    let transfer = |to: &Person| own.next(Action::Transfer { to: to.id() });
    let handed = |entry: &Entry, seeds: &[u8]| {
        let signed = sign(entry, seeds);
        let shelf = Shelf::default();
        shelf.put(&signed);
        from.shelve(&shelf);
        to.shelve(&shelf);
        let record =
            PackageRecord { transfer: Some(signed.id()), ..Book::new(to.clone(), "hello", 1).record() };
        let judge = machine.judge();
        let chain = |person: &Person| judge.identity(person.id(), Some(&person.row()), &shelf, "m").unwrap();
        code(judge.handed_on(&record, &chain(&from), &chain(&to), &shelf, "m"))
    };
    assert_eq!(handed(&transfer(&to), &[2, 3]), "ok");
    for (what, entry, seeds, expected) in [
        ("the old owner alone", transfer(&to), &[2][..], "E-SIG"),
        ("the new owner alone", transfer(&to), &[3], "E-SIG"),
        ("release keys", transfer(&to), &[102, 103], "E-SIG"),
        ("a stranger for the old owner", transfer(&to), &[4, 3], "E-SIG"),
        ("to somebody else", transfer(&other), &[2, 3], "E-SCOPE"),
        ("another package", Entry { name: "other".parse().unwrap(), ..transfer(&to) }, &[2, 3], "E-SCOPE"),
        ("a release", Book::new(from.clone(), "hello", 1).drafts.remove(0), &[2, 3], "E-SCOPE"),
    ] {
        assert_eq!(handed(&entry, seeds), expected, "{what}");
    }
    assert_eq!(machine.state.package(&"hello".parse().unwrap()).unwrap()[0].owner, book.author.id());
}
