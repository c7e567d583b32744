//! Refs: names, edits, logs, and what killed processes leave.

use objects::id::{ObjectId, StatementId};
use objects::refs::reflog;
use objects::refs::{Error, PreviousValue, RefEdit, RefName, Refs};
use objects::testing::{Author, Damage, Random, TempRepository, snapshot_of_store};
use objects::time::Timestamp;
use proptest::prelude::*;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn id(n: u64) -> StatementId {
    StatementId::new(ObjectId::of(&n.to_le_bytes()))
}

fn name(text: &str) -> RefName {
    text.parse().unwrap()
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::new(seconds).unwrap()
}

fn edit(ref_name: &str, previous: PreviousValue, new: Option<u64>) -> RefEdit {
    RefEdit { name: name(ref_name), previous, new: new.map(id), message: "test".into() }
}

fn set(refs: &Refs, ref_name: &str, to: u64) {
    refs.edit(&[edit(ref_name, PreviousValue::Any, Some(to))], at(1)).unwrap();
}

/// SEC-001, SEC-003: names that are no refs, above all those that would leave the folder.
#[test]
fn names_that_are_none_are_refused() {
    let long = format!("refs/{}", "n".repeat(256));
    let deep = format!("refs{}", "/x".repeat(8));
    let names = [
        "",
        "refs",
        "refs/",
        "/refs/a",
        "refs//a",
        "refs/a/",
        "heads/a",
        "refs/..",
        "refs/../config",
        "refs/a/../../b",
        "refs/.",
        "refs/.hidden",
        "refs/a b",
        "refs/a\nb",
        "refs/a\0",
        "refs/é",
        "refs/a\\b",
        "refs/a:b",
        "REFS/a",
        "refs/a?",
        "refs/*",
        &long,
        &deep,
    ];
    for text in names {
        let error = text.parse::<RefName>().unwrap_err();
        assert_eq!(error.code(), "E-FORMAT", "{text:?}");
    }
    for text in ["refs/a", "refs/tags/ab12/web~ui/1.0.0-rc.1+linux!2~3", "refs/packages/a/b/c"] {
        assert_eq!(text.parse::<RefName>().unwrap().as_str(), text);
    }
}

/// Refs are set, moved, removed and listed, loose and packed alike.
#[test]
fn refs_are_found_loose_and_packed() {
    let repository = TempRepository::new();
    let refs = repository.refs();
    let names = ["refs/tags/a/x/1.0.0", "refs/tags/a/x/1.1.0", "refs/tags/b/y/1.0.0", "refs/index/a/main"];
    names.iter().zip(0..).for_each(|(name, n)| set(refs, name, n));
    for packed in [false, true] {
        if packed {
            assert_eq!(refs.pack().unwrap(), 4);
            assert!(!repository.root().join(names[0]).exists());
        }
        for (text, n) in names.iter().zip(0..) {
            assert_eq!(refs.try_find(&name(text)).unwrap(), Some(id(n)));
        }
        let listed: Vec<_> = refs.list("refs/tags/a/").unwrap().into_iter().map(|(name, _)| name).collect();
        assert_eq!(listed, [name(names[0]), name(names[1])]);
        assert_eq!(refs.list("").unwrap().len(), 4);
    }
    set(refs, names[0], 9);
    assert_eq!(refs.try_find(&name(names[0])).unwrap(), Some(id(9)), "a loose ref stands above a packed one");
    for text in names {
        refs.edit(&[edit(text, PreviousValue::Any, None)], at(2)).unwrap();
        assert_eq!(refs.try_find(&name(text)).unwrap(), None, "{text}");
    }
    assert_eq!(refs.list("").unwrap(), []);
    assert_eq!(refs.try_find(&name("refs/tags/a")).unwrap(), None, "a folder is no ref");
}

/// An edit whose ref is not where it has to be stops the whole call before its first move.
#[test]
fn a_conflict_moves_nothing() {
    let repository = TempRepository::new();
    let refs = repository.refs();
    set(refs, "refs/a", 1);
    let before = snapshot_of_store(repository.root());
    let wrong = [
        edit("refs/a", PreviousValue::Absent, Some(2)),
        edit("refs/a", PreviousValue::At(id(7)), Some(2)),
        edit("refs/b", PreviousValue::At(id(1)), Some(2)),
        edit("refs/a", PreviousValue::At(id(7)), None),
    ];
    for wrong in wrong {
        let edits = [edit("refs/c", PreviousValue::Absent, Some(1)), wrong];
        let error = refs.edit(&edits, at(2)).unwrap_err();
        assert!(matches!(&error, Error::Conflict { name, .. } if *name == edits[1].name), "{error}");
        assert_eq!(error.code(), "E-CONFLICT");
        assert_eq!(snapshot_of_store(repository.root()), before);
    }
    let right =
        [edit("refs/a", PreviousValue::At(id(1)), Some(2)), edit("refs/b", PreviousValue::Absent, Some(3))];
    refs.edit(&right, at(3)).unwrap();
    assert_eq!(refs.list("").unwrap(), [(name("refs/a"), id(2)), (name("refs/b"), id(3))]);
}

/// Every move is in the log, in order, with when and why; what is written to it stays one line.
#[test]
fn every_move_is_logged() {
    let repository = TempRepository::new();
    let refs = repository.refs();
    let messages = ["first", "tab\tand\nbreak", "carriage\r", "\u{1b}[31mred", "", "ünïcode"];
    for (n, message) in messages.iter().enumerate() {
        let mut edit = edit("refs/a", PreviousValue::Any, Some(n as u64));
        edit.message = (*message).to_owned();
        refs.edit(&[edit], at(100 + n as u64)).unwrap();
    }
    refs.edit(&[edit("refs/a", PreviousValue::Any, None)], at(200)).unwrap();
    let (lines, damaged) = reflog::read(repository.root(), &name("refs/a")).unwrap();
    assert_eq!((lines.len(), damaged), (messages.len() + 1, 0));
    assert_eq!((lines[0].old, lines[0].new, lines[0].at), (None, Some(id(0)), at(100)));
    assert!(lines.windows(2).all(|pair| pair[0].new == pair[1].old));
    assert_eq!(lines[1].message, "tab and break");
    assert!(lines.iter().all(|line| !line.message.contains(char::is_control)));
    assert_eq!((lines.last().unwrap().new, lines.last().unwrap().at), (None, at(200)));
    set(refs, "refs/b", 1);
    set(refs, "refs/b", 1);
    assert_eq!(reflog::read(repository.root(), &name("refs/b")).unwrap().0.len(), 1, "staying is no move");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() })]

    /// REL-020: whatever happens to a log shows as damage, or as an end that is not where the ref
    /// is; the next move is logged whole all the same.
    #[test]
    fn damage_of_a_log_shows(seed: u64) {
        let repository = TempRepository::new();
        (0..5).for_each(|n| set(repository.refs(), "refs/a", n));
        let path = repository.root().join("logs/refs/a");
        let content = std::fs::read(&path).unwrap();
        Damage::random(&mut Random::new(seed), &content).apply(&path);
        let (lines, damaged) = reflog::read(repository.root(), &name("refs/a")).unwrap();
        prop_assert!(damaged > 0 || lines.last().and_then(|line| line.new) != Some(id(4)));
        set(repository.refs(), "refs/a", 5);
        let (lines, _) = reflog::read(repository.root(), &name("refs/a")).unwrap();
        prop_assert_eq!(lines.last().and_then(|line| line.new), Some(id(5)));
    }
}

/// A power cut in the midst of a line: what is left of it goes with the next move, and no damage stays.
#[test]
fn a_torn_line_is_taken_away() {
    let repository = TempRepository::new();
    (0..3).for_each(|n| set(repository.refs(), "refs/a", n));
    let path = repository.root().join("logs/refs/a");
    let whole = std::fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for len in last..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let value = if len == whole.len() - 1 { 2 } else { 1 };
        std::fs::write(repository.root().join("refs/a"), format!("{}\n", id(value))).unwrap();
        set(repository.refs(), "refs/a", 3);
        let (lines, damaged) = reflog::read(repository.root(), &name("refs/a")).unwrap();
        assert_eq!(damaged, 0, "torn after {} bytes", len - last);
        assert_eq!(lines.last().unwrap().new, Some(id(3)));
    }
}

/// REL-020: a ref file or a line of `packed-refs` that was damaged is refused, not read as absent.
#[test]
fn damaged_refs_are_refused() {
    let repository = TempRepository::new();
    let refs = repository.refs();
    set(refs, "refs/a", 1);
    let good = format!("{}\n", id(1));
    let path = repository.root().join("refs/a");
    let upper = good.to_uppercase();
    let bare = good.trim_start_matches("blake3:").to_owned();
    for bad in [
        "",
        "\n",
        &good[1..],
        good.trim_end(),
        &format!("{good}\n"),
        &format!(" {good}"),
        &upper,
        &bare,
        &good.repeat(2),
        &"x".repeat(999),
    ] {
        std::fs::write(&path, bad).unwrap();
        assert!(refs.try_find(&name("refs/a")).is_err(), "{bad:?}");
        assert!(refs.list("refs/").is_err(), "{bad:?}");
        assert!(refs.edit(&[edit("refs/a", PreviousValue::Any, Some(2))], at(1)).is_err(), "{bad:?}");
    }
    std::fs::write(&path, &good).unwrap();
    set(refs, "refs/b", 2);
    refs.pack().unwrap();
    let packed = repository.root().join("packed-refs");
    let text = std::fs::read_to_string(&packed).unwrap();
    for bad in [
        text.trim_end(),
        "x\n",
        &text.replace(' ', ""),
        &text.replace("refs/", "../"),
        &text.replace("blake3", "blake2"),
        &format!("{text}\n"),
    ] {
        std::fs::write(&packed, bad).unwrap();
        assert!(refs.list("").is_err(), "{bad:?}");
    }
    std::fs::write(&packed, b"\xff\n").unwrap();
    assert_eq!(refs.list("").unwrap_err().code(), "E-FORMAT");
}

/// Moves `refs/a` on by one, forty times; retries when somebody else was first.
fn count_up(root: &Path) {
    let refs = Refs::new(root);
    for _ in 0..25 {
        loop {
            let found = refs.try_find(&name("refs/a")).unwrap();
            let number = (0..1_000).find(|n| found == Some(id(*n))).unwrap();
            match refs.edit(&[edit("refs/a", PreviousValue::At(id(number)), Some(number + 1))], at(1)) {
                Ok(()) => break,
                Err(Error::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// REL-024: threads and processes that move one ref at once lose no move, and the log has each.
#[test]
fn moves_beside_each_other_lose_nothing() {
    if let Ok(root) = std::env::var("PKG_TEST_REFS") {
        return count_up(Path::new(&root));
    }
    let repository = TempRepository::new();
    set(repository.refs(), "refs/a", 0);
    let child = child("refs::moves_beside_each_other_lose_nothing", "PKG_TEST_REFS", repository.root());
    std::thread::scope(|scope| (0..2).for_each(|_| _ = scope.spawn(|| count_up(repository.root()))));
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(repository.refs().try_find(&name("refs/a")).unwrap(), Some(id(75)));
    let (lines, damaged) = reflog::read(repository.root(), &name("refs/a")).unwrap();
    assert_eq!((lines.len(), damaged), (76, 0));
}

fn child(test: &str, variable: &str, value: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(variable, value);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// REL-026: the lock of a process that was killed is free at once.
#[test]
fn a_lock_left_by_a_killed_process_is_free() {
    if let Ok(root) = std::env::var("PKG_TEST_LOCK") {
        let lock = std::fs::File::options()
            .create(true)
            .append(true)
            .open(Path::new(&root).join("refs.lock"))
            .unwrap();
        lock.lock().unwrap();
        println!("locked");
        loop {
            std::thread::park();
        }
    }
    let repository = TempRepository::new();
    let mut holder =
        child("refs::a_lock_left_by_a_killed_process_is_free", "PKG_TEST_LOCK", repository.root());
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("locked")));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| set(repository.refs(), "refs/a", 1));
        assert_eq!(repository.refs().try_find(&name("refs/a")).unwrap(), None, "the holder lives");
        holder.kill().unwrap();
        holder.wait().unwrap();
        waiting.join().unwrap();
    });
    assert_eq!(repository.refs().try_find(&name("refs/a")).unwrap(), Some(id(1)));
}

const THREE: [&str; 3] = ["refs/a", "refs/b", "refs/c"];

/// A repository as it is on disk when a process is killed after it moved the first `moved` of three
/// refs, and, if `logged`, had written the log of the next. The edit is held up at a log that is a
/// pipe, and the picture taken.
fn killed_after(moved: usize, logged: bool) -> TempRepository {
    let edits = THREE.map(|name| edit(name, PreviousValue::Any, Some(7)));
    let held = TempRepository::new();
    set(held.refs(), THREE[0], 0);
    let picture = TempRepository::new();
    let done = TempRepository::new();
    set(done.refs(), THREE[0], 0);
    done.refs().edit(&edits, at(5)).unwrap();
    let log = held.root().join("logs").join(THREE[moved]);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let aside = std::fs::read(&log).ok();
    let _ = std::fs::remove_file(&log);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    std::thread::scope(|scope| {
        let editing = scope.spawn(|| held.refs().edit(&edits, at(5)));
        let before = THREE[..moved].last();
        let stands = |name: &&str| held.refs().try_find(&self::name(name)).unwrap() == Some(id(7));
        let journal = held.root().join("refs.lock");
        while std::fs::metadata(&journal).unwrap().len() == 0 || !before.is_none_or(stands) {
            std::thread::yield_now();
        }
        for folder in ["refs", "logs/refs"] {
            std::fs::create_dir_all(picture.root().join(folder)).unwrap();
        }
        std::fs::copy(&journal, picture.root().join("refs.lock")).unwrap();
        for name in THREE {
            for path in
                [name.to_owned(), format!("logs/{name}")].iter().filter(|path| held.root().join(path) != log)
            {
                let _ = std::fs::copy(held.root().join(path), picture.root().join(path));
            }
        }
        let pipe = std::fs::File::options().read(true).write(true).open(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        drop(pipe); // the edit reads an empty log and goes on
        editing.join().unwrap().unwrap();
    });
    let path = picture.root().join("logs").join(THREE[moved]);
    if logged {
        std::fs::copy(done.root().join("logs").join(THREE[moved]), path).unwrap();
    } else if let Some(aside) = aside {
        std::fs::write(path, aside).unwrap();
    }
    picture
}

/// REL-001: the edits of one call are all made though their process was killed among them: whoever
/// edits next finishes them, each once in its log; until then `fsck` has nothing to say about logs.
#[test]
fn what_a_killed_process_began_is_finished() {
    for (moved, logged) in [(0, false), (0, true), (1, false), (1, true), (2, false), (2, true)] {
        let repository = killed_after(moved, logged);
        assert_eq!(repository.refs().unfinished().unwrap(), THREE.map(name), "{moved} moved");
        assert_eq!(repository.refs().list("").unwrap().iter().filter(|(_, at)| *at == id(7)).count(), moved);
        let report = objects::fsck::check(&repository.reopened(), Default::default()).unwrap();
        let logs = report.findings.iter().filter(|finding| finding.problem.contains("log"));
        assert_eq!(logs.count(), 0, "{moved} moved: {report:?}");
        set(repository.refs(), "refs/d", 1);
        for text in THREE {
            assert_eq!(
                repository.refs().try_find(&name(text)).unwrap(),
                Some(id(7)),
                "{text}, {moved} moved"
            );
            let (lines, damaged) = reflog::read(repository.root(), &name(text)).unwrap();
            assert_eq!(
                (lines.last().unwrap().new, lines.last().unwrap().at, damaged),
                (Some(id(7)), at(5), 0)
            );
            assert_eq!(lines.iter().filter(|line| line.new == Some(id(7))).count(), 1);
        }
        assert_eq!(repository.refs().unfinished().unwrap(), []);
    }
}

/// REL-012: an edit that the disk refuses takes back those before it; later edits are not held up.
#[test]
fn a_refused_edit_takes_the_others_back() {
    for folder in ["refs/c", "logs/refs/c"] {
        let repository = TempRepository::new();
        set(repository.refs(), "refs/a", 0);
        std::fs::create_dir_all(repository.root().join(folder)).unwrap();
        let edits = THREE.map(|name| edit(name, PreviousValue::Any, Some(7)));
        let error = repository.refs().edit(&edits, at(5)).unwrap_err();
        assert_eq!(error.code(), "E-IO", "{error}");
        assert_eq!(
            repository.refs().list("").unwrap(),
            [(name("refs/a"), id(0))],
            "with a folder at {folder}"
        );
        let report = objects::fsck::check(&repository.reopened(), Default::default()).unwrap();
        assert!(report.findings.iter().all(|finding| !finding.problem.contains("log")), "{report:?}");
        set(repository.refs(), "refs/a", 1);
        let (lines, _) = reflog::read(repository.root(), &name("refs/a")).unwrap();
        assert_eq!(lines.iter().map(|line| line.new).collect::<Vec<_>>(), [0, 7, 0, 1].map(|n| Some(id(n))));
    }
}

/// One call may move one ref twice: the second move begins where the first ends.
#[test]
fn edits_of_one_call_are_made_in_order() {
    let repository = TempRepository::new();
    let edits = [
        edit("refs/a", PreviousValue::Absent, Some(1)),
        edit("refs/a", PreviousValue::At(id(1)), Some(2)),
        edit("refs/a", PreviousValue::At(id(2)), None),
        edit("refs/a", PreviousValue::Absent, Some(3)),
    ];
    repository.refs().edit(&edits, at(1)).unwrap();
    assert_eq!(repository.refs().try_find(&name("refs/a")).unwrap(), Some(id(3)));
    let (lines, _) = reflog::read(repository.root(), &name("refs/a")).unwrap();
    assert!(lines.len() == 4 && lines.windows(2).all(|pair| pair[0].new == pair[1].old));
}

/// REL-009: a journal that a power cut tore, or that was damaged, is passed over.
#[test]
fn a_torn_journal_is_passed_over() {
    let repository = killed_after(0, false);
    let path = repository.root().join("refs.lock");
    let content = std::fs::read(&path).unwrap();
    let mut random = Random::new(9);
    for _ in 0..200 {
        let damaged = Damage::random(&mut random, &content).of(&content).unwrap_or_default();
        std::fs::write(&path, damaged).unwrap();
        assert_eq!(repository.refs().unfinished().unwrap(), []);
    }
    set(repository.refs(), "refs/d", 1);
    assert_eq!(repository.refs().try_find(&name("refs/a")).unwrap(), Some(id(0)));
    assert_eq!(repository.refs().try_find(&name("refs/b")).unwrap(), None);
}

/// The refs of a publication lead to what was signed.
#[test]
fn a_publication_moves_its_refs() {
    let repository = TempRepository::new();
    let folder = tempfile::tempdir().unwrap();
    let ingested = repository.ingest(folder.path());
    let mut author = Author::new(1);
    let entry = author.release(&repository, "web/ui", "1.0.0", &ingested);
    let owner = author.id().to_hex();
    let tag = name(&format!("refs/tags/{owner}/web~ui/1.0.0"));
    assert_eq!(repository.refs().try_find(&tag).unwrap(), Some(entry.id()));
    assert_eq!(repository.refs().list("refs/packages/").unwrap()[0].1, entry.id());
}
