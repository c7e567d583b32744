//! `pkg.lock`: every field of it is held against what was signed (SEC-073); what was withdrawn since
//! (SEC-074); owners that are others now.

use crate::fixture::{hello, small};
use crate::sandbox::{Person, World, content, copy, text};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Ada publishes `base`, and `hello` 1.0.0; bob locks both; then ada publishes `hello` 1.1.0.
fn locked(world: &World) -> (Person, Person) {
    let ada = world.author("ada");
    small(&world.path("base"), "base", "1.0.0", "");
    ada.publish(&world.path("base"));
    hello(&world.path("hello"), "1.0.0");
    ada.publish(&world.path("hello"));
    small(&world.path("unwanted"), "unwanted", "1.0.0", "");
    ada.publish(&world.path("unwanted"));
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "hello", "base", "-y"]);
    hello(&world.path("hello"), "1.1.0");
    ada.publish(&world.path("hello"));
    (ada, bob)
}

/// What a person sees of an environment; the index, the lock and times are left out.
fn visible(environment: &Path) -> BTreeMap<String, (char, String)> {
    let hidden = |path: &str| {
        [".pkgs/lock", ".pkgs/index-db", ".pkgs/tmp"].iter().any(|start| path.starts_with(start))
    };
    content(environment).into_iter().filter(|(path, _)| !hidden(path)).collect()
}

/// A lockfile in parts, to be edited as a person would: by lines.
struct Text {
    head: String,
    rows: Vec<String>,
}

impl Text {
    fn of(text: &str) -> Text {
        let mut parts = text.split("\n[[").map(str::to_owned);
        Text { head: parts.next().unwrap(), rows: parts.map(|row| format!("\n[[{row}")).collect() }
    }

    /// The row that begins so and holds this line.
    fn row(&mut self, kind: &str, line: &str) -> &mut String {
        let fits = |row: &&mut String| row.starts_with(&format!("\n[[{kind}]]")) && row.contains(line);
        self.rows.iter_mut().find(fits).unwrap()
    }

    fn text(&self) -> String {
        format!("{}{}", self.head, self.rows.concat())
    }
}

/// The line of a field.
fn line(row: &str, field: &str) -> String {
    row.lines().find(|line| line.starts_with(&format!("{field} = "))).unwrap().to_owned()
}

fn turn_last_digit(line: &str) -> String {
    let body = line.trim_end_matches('"');
    let last = if body.ends_with('0') { '1' } else { '0' };
    format!("{}{last}\"", &body[..body.len() - 1])
}

enum Edit {
    /// Another last digit.
    Turn,
    /// Another value.
    To(&'static str),
    /// A line behind it.
    Add(&'static str),
    /// The value of the same field in the row of another package.
    OfBase,
    /// Another row like it, with another version.
    Twice,
    /// No row at all.
    Gone,
}

/// Which row (its kind and a line of it), which field, how it is edited, what the message names.
type Case = ((&'static str, &'static str), &'static str, Edit, [&'static str; 2]);

/// SEC-073: a table of edits, each of one field; each is refused by name, and nothing is changed.
#[test]
fn every_edited_field_is_refused_and_named() {
    let world = World::new();
    let (_, bob) = locked(&world);
    let honest = fs::read_to_string(bob.here("pkg.lock")).unwrap();
    bob.ok(["sync", "--locked"]);
    assert_eq!(bob.installed()["hello"], "1.0.0", "what is locked is not updated");
    assert_eq!(fs::read_to_string(bob.here("pkg.lock")).unwrap(), honest);
    bob.no(["update", "--locked"], "E-LOCK");

    let hello = ("package", "name = \"hello\"");
    let base = ("package", "name = \"base\"");
    let (repository, identity) = (("repository", ""), ("identity", ""));
    let edits: [Case; 30] = [
        (repository, "owner", Edit::Turn, ["owner", "repository"]),
        (repository, "name", Edit::To("\"other\""), ["name", "repository"]),
        (repository, "index-n", Edit::To("1"), ["index-n", "repository"]),
        (repository, "index-n", Edit::To("3"), ["index-n", "repository"]),
        (repository, "index-n", Edit::To("99"), ["index-n", "repository"]),
        (repository, "index", Edit::Turn, ["index", "repository"]),
        (repository, "index", Edit::Gone, ["repository", "no row"]),
        (identity, "id", Edit::Turn, ["id", "identity"]),
        (identity, "n", Edit::To("1"), ["n", "identity"]),
        (identity, "head", Edit::Turn, ["head", "identity"]),
        (identity, "head", Edit::Gone, ["identity", "no row"]),
        (hello, "name", Edit::To("\"hallo\""), ["hallo", "name"]),
        (hello, "name", Edit::To("\"unwanted\""), ["unwanted", "name"]),
        (hello, "version", Edit::To("\"1.1.0\""), ["version", "hello"]),
        (hello, "version", Edit::To("\"9.9.9\""), ["version", "hello"]),
        (hello, "version", Edit::To("\"1.0.0-rc.1\""), ["version", "hello"]),
        (hello, "version", Edit::Add("channel = \"beta\""), ["channel", "hello"]),
        (hello, "owner", Edit::Turn, ["owner", "hello"]),
        (hello, "entry", Edit::Turn, ["entry", "hello"]),
        (hello, "entry", Edit::OfBase, ["entry", "hello"]),
        (hello, "tree", Edit::Turn, ["tree", "hello"]),
        (hello, "tree", Edit::OfBase, ["tree", "hello"]),
        (hello, "signer", Edit::Turn, ["signer", "hello"]),
        (hello, "signer-n", Edit::To("1"), ["signer-n", "hello"]),
        (hello, "signer-n", Edit::Add("grants = [\"HEX\"]"), ["grants", "hello"]),
        (hello, "version", Edit::Add("beside = true"), ["beside", "hello"]),
        (hello, "version", Edit::Twice, ["version", "hello"]),
        (hello, "version", Edit::Gone, ["does not have", "hello"]),
        (base, "tree", Edit::Turn, ["tree", "base"]),
        (base, "signer-n", Edit::To("7"), ["signer-n", "base"]),
    ];
    for ((kind, mark), field, edit, named) in edits {
        let mut lock = Text::of(&honest);
        let other = lock.row(base.0, base.1).clone();
        let row = lock.row(kind, mark);
        let old = line(row, field);
        let grant = format!("blake3:{}", "ab".repeat(32));
        let new = match edit {
            Edit::Turn => row.replacen(&old, &turn_last_digit(&old), 1),
            Edit::To(value) => row.replacen(&old, &format!("{field} = {value}"), 1),
            Edit::Add(more) => row.replacen(&old, &format!("{old}\n{}", more.replace("HEX", &grant)), 1),
            Edit::OfBase => row.replacen(&old, &line(&other, field), 1),
            Edit::Twice => format!("{row}{}", row.replacen(&old, "version = \"1.1.0\"", 1)),
            Edit::Gone => String::new(),
        };
        *row = new;
        let edited = lock.text();
        assert_ne!(edited, honest, "{field}");
        fs::write(bob.here("pkg.lock"), &edited).unwrap();
        let before = visible(&bob.here("."));
        let failure = bob.no(["sync", "--locked"], "E-LOCK");
        for word in named {
            assert!(failure.message.contains(word), "{kind} {field}, {word}: {failure:?}\n{edited}");
        }
        assert_eq!(visible(&bob.here(".")), before, "{kind} {field}");
        assert_eq!(fs::read_to_string(bob.here("pkg.lock")).unwrap(), edited);
    }
    fs::write(bob.here("pkg.lock"), honest.replace("signer-n = 0", "signer-n = 5")).unwrap();
    bob.no(["sync", "--locked"], "E-LOCK");
    bob.ok(["sync", "-y"]);
    bob.ok(["sync", "--locked"]); // as the hint says: without --locked it is put right
    fs::remove_file(bob.here("pkg.lock")).unwrap();
    bob.no(["sync", "--locked"], "E-LOCK");
    fs::write(bob.here("pkg.lock"), "version = 1\n[[package]]\nname = 3\n").unwrap();
    let failure = bob.no(["sync"], "E-FORMAT");
    assert!(failure.message.contains("pkg.lock") && failure.message.contains('3'), "{failure:?}");
    fs::write(bob.here("pkg.lock"), honest).unwrap();
    bob.ok(["sync", "--locked"]);
    bob.store_is_whole();
}

/// Off line a lockfile needs no news: what was judged before is compared as it was judged.
#[test]
fn a_lockfile_holds_off_line() {
    let world = World::new();
    let (ada, bob) = locked(&world);
    bob.ok(["fetch"]); // lists entries that were never fetched
    fs::rename(ada.repo(), world.path("gone")).unwrap();
    bob.ok(["sync", "--locked", "--offline"]);
    let honest = fs::read_to_string(bob.here("pkg.lock")).unwrap();
    for (field, value) in
        [("signer-n = 0", "signer-n = 5"), ("n = 0", "n = 1"), ("index-n = 2", "index-n = 1")]
    {
        fs::write(bob.here("pkg.lock"), honest.replacen(field, value, 1)).unwrap();
        bob.no(["sync", "--locked", "--offline"], "E-LOCK");
    }
}

/// Step 9: a lockfile that knows more than the source shows proves the source stale; one that knows less
/// is as good as it was, and is not rewritten.
#[test]
fn a_source_that_is_behind_the_lockfile_is_stale() {
    let world = World::new();
    let (ada, bob) = locked(&world);
    copy(&ada.repo(), &world.path("old.repo"));
    hello(&world.path("hello"), "1.2.0");
    ada.publish(&world.path("hello"));
    let eve = world.user("eve").clone_of("ada.repo", "eve");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(bob.here(file), eve.here(file)).unwrap();
    }
    eve.ok(["sync", "--locked"]);
    assert_eq!(eve.installed()["hello"], "1.0.0");
    assert_eq!(fs::read(eve.here("pkg.lock")).unwrap(), fs::read(bob.here("pkg.lock")).unwrap());

    eve.ok(["update", "-y"]);
    assert_eq!(eve.installed()["hello"], "1.2.0");
    let zoe = world.user("zoe").clone_of("old.repo", "zoe");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(eve.here(file), zoe.here(file)).unwrap();
    }
    let failure = zoe.no(["sync", "--locked"], "E-ROLLBACK");
    assert!(failure.message.contains("index 4") && failure.message.contains("is 3"), "{failure:?}");
    assert!(zoe.installed().is_empty());
}

/// SEC-063, SEC-072: a name that belongs to somebody else is not followed without a person's word, which is
/// a flag, never a question; then the new owner is the one it is held to.
#[test]
fn another_owner_needs_a_persons_word() {
    let world = World::new();
    world.with_hello();
    let bob = world.user("bob");
    let first = bob.clone_of("ada.repo", "work");
    first.ok(["add", "hello", "-y"]);
    let eve = world.author("eve");
    hello(&world.path("hello"), "9.9.9");
    eve.publish(&world.path("hello"));

    // on the machine that pinned the name
    let second = bob.clone_of("eve.repo", "other");
    let failure = second.no(["add", "hello"], "E-IDENTITY-CHANGED");
    assert!(failure.hints.iter().any(|hint| hint.contains("--accept-identity")), "{failure:?}");
    assert!(second.installed().is_empty());
    let plan = second.yes(["add", "hello", "--dry-run", "--accept-identity"]);
    assert_eq!(
        (&plan["accepts"][0]["name"], &plan["accepts"][0]["role"]),
        (&"hello".into(), &"owner".into())
    );
    second.no(["add", "hello"], "E-IDENTITY-CHANGED");
    second.yes(["add", "hello", "--accept-identity"]);
    assert_eq!(second.installed()["hello"], "9.9.9");
    second.yes(["update"]);
    first.yes(["update"]);
    assert_eq!(first.installed()["hello"], "1.0.0");

    // on a machine that knows the owner from the lockfile alone
    let zoe = world.user("zoe").clone_of("eve.repo", "zoe");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(first.here(file), zoe.here(file)).unwrap();
    }
    let cfg = fs::read_to_string(zoe.here("pkg.cfg.toml")).unwrap();
    fs::write(zoe.here("pkg.cfg.toml"), cfg.replace("^1.0.0", "*")).unwrap();
    zoe.no(["sync", "--locked"], "E-LOCK");
    let failure = zoe.no(["sync"], "E-IDENTITY-CHANGED");
    assert!(failure.message.contains("owner of hello"), "{failure:?}");
    assert!(zoe.installed().is_empty());
    zoe.yes(["sync", "--accept-identity"]);
    zoe.yes(["sync", "--locked"]);
    assert_eq!(zoe.run(["sync", "--locked", "--accept-identity"]).code, Some(2), "the two contradict");
}

/// The very version that is locked, signed by somebody else: a person's word is needed for that as well.
#[test]
fn another_signer_of_a_locked_version_needs_a_persons_word() {
    let world = World::new();
    let (_, bob) = locked(&world);
    let mut lock = Text::of(&fs::read_to_string(bob.here("pkg.lock")).unwrap());
    let row = lock.row("package", "name = \"hello\"");
    let signer = line(row, "signer");
    *row = row.replacen(&signer, &turn_last_digit(&signer), 1);
    fs::write(bob.here("pkg.lock"), lock.text()).unwrap();
    let failure = bob.no(["sync"], "E-IDENTITY-CHANGED");
    assert!(failure.message.contains("signer of hello"), "{failure:?}");
    assert!(failure.hints[0].contains("--accept-identity"), "{failure:?}");
    bob.yes(["sync", "--accept-identity"]);
    bob.yes(["sync", "--locked"]);
    bob.yes(["sync"]);
}

/// SEC-074: what was withdrawn after it was locked installs with a warning, unless that is denied; nobody
/// chooses it anew.
#[test]
fn what_the_lock_keeps_may_be_withdrawn() {
    let world = World::new();
    let (ada, bob) = locked(&world);
    let eve = world.user("eve").clone_of("ada.repo", "eve");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(bob.here(file), eve.here(file)).unwrap();
    }
    for marked in [true, false] {
        forged::yank(&ada, "hello", "1.0.0", "it greets the wrong people", marked);
        let folder = format!("zoe-{marked}");
        let zoe = world.user(&folder).clone_of("ada.repo", &folder);
        for file in ["pkg.cfg.toml", "pkg.lock"] {
            fs::copy(bob.here(file), zoe.here(file)).unwrap();
        }
        for words in [&["sync", "--locked", "--deny-yanked"][..], &["sync", "--deny-yanked"]] {
            let failure = zoe.no(words.iter().copied(), "E-POLICY");
            assert!(failure.message.contains("wrong people"), "{failure:?}");
        }
        assert!(zoe.installed().is_empty());
        zoe.ok(["trust", "policy", "set", "deny-yanked", "true"]);
        zoe.no(["sync", "--locked"], "E-POLICY");
        zoe.ok(["trust", "policy", "unset", "deny-yanked"]);
        let run = zoe.run(["sync", "--locked", "-y"]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stderr.contains("warning:") && run.stderr.contains("wrong people"), "{run:?}");
        assert_eq!(zoe.installed()["hello"], "1.0.0");
        zoe.store_is_whole();
    }
    let new = world.user("new").clone_of("ada.repo", "new");
    new.no(["add", "hello#1.0.0"], "E-POLICY");
    new.ok(["add", "hello", "-y"]);
    assert_eq!(new.installed()["hello"], "1.1.0");
    eve.no(["sync", "--locked", "--deny-yanked"], "E-POLICY");
}

/// SEC-079: what is too young is not taken, unless the lockfile keeps it.
#[test]
fn what_the_lock_keeps_may_be_young() {
    let world = World::new();
    let (_, bob) = locked(&world);
    let eve = world.user("eve").clone_of("ada.repo", "eve");
    eve.ok(["trust", "policy", "set", "min-age", "7d"]);
    eve.no(["add", "hello"], "E-POLICY");
    for file in ["pkg.cfg.toml", "pkg.lock"] {
        fs::copy(bob.here(file), eve.here(file)).unwrap();
    }
    eve.ok(["sync", "--locked", "-y"]);
    assert_eq!(eve.installed()["hello"], "1.0.0");
    eve.ok(["update", "-y"]);
    assert_eq!(eve.installed()["hello"], "1.0.0");
    assert!(text(&eve.here("pkg.lock")).ends_with("pkg.lock"));
}

/// Statements that an author's program would make, made here.
pub mod forged {
    use crate::sandbox::Person;
    use objects::claim::{
        Beacon, IdentityRow, Index as Head, LogRow, Mark, PackageRecord, VersionRow, skip_distances,
    };
    use objects::id::{IdentityId, ObjectId, StatementId, TreeId};
    use objects::identity::{Chain, Identity};
    use objects::key::{SecretKey, Signer};
    use objects::release::{Action, Entry, Release};
    use objects::repository::Repository;
    use objects::signed::Signed;
    use objects::store::pack::writer::Options;
    use objects::summary::Summary;
    use objects::time::Timestamp;
    use objects::version::Version;
    use plumbing::index::{Changes, Index, edit};
    use plumbing::trust::keyring::Keyring;

    fn key(author: &Person) -> SecretKey {
        Keyring::open(&author.home.join("pkg/keys")).unwrap().load("ada", &mut || None).unwrap()
    }

    /// Withdraws a version in the author's log; the index repeats it if `marked`.
    pub fn yank(author: &Person, name: &str, version: &str, reason: &str, marked: bool) {
        let (version, reason): (Version, _) = (version.parse().unwrap(), reason.to_owned());
        amend(author, name, |repository, record| {
            let log = record.logs[0].clone();
            let row = record.versions.iter_mut().find(|row| row.release.version == version).unwrap();
            row.mark = marked.then(|| Mark::Yanked { reason: reason.clone() });
            let before: Entry =
                repository.statements().find::<Entry>(row.entry).unwrap().envelope().peek().unwrap();
            let action = Action::Yank { version, reason };
            let entry = Entry { seq: log.seq + 1, prev: Some(log.entry), action, ..before };
            let entry = Signed::sign(&entry, &[&key(author)]).unwrap();
            repository.statements().insert(entry.envelope()).unwrap();
            record.logs = vec![LogRow { entry: entry.id(), seq: log.seq + 1, ..log }];
        });
    }

    /// Changes the record of a package in the author's repository, and signs an index that has it.
    fn amend(author: &Person, name: &str, change: impl FnOnce(&Repository, &mut PackageRecord)) {
        let repository = Repository::open(&author.repo()).unwrap();
        let summary = repository.summary().unwrap().unwrap();
        let old: Head = summary.index.envelope().peek().unwrap();
        let index = Index::open(repository.store(), old.root).unwrap();
        let mut record = index.record(&name.parse().unwrap()).unwrap().unwrap();
        change(&repository, &mut record);
        publish(author, &repository, summary, Changes { records: vec![record], ..Changes::default() });
    }

    /// Says that a version is listed since earlier than it is.
    pub fn backdate(author: &Person, name: &str, version: &str, seconds: u64) {
        let version = version.parse().unwrap();
        amend(author, name, |_, record| {
            let row = record.versions.iter_mut().find(|row| row.release.version == version).unwrap();
            row.listed = Timestamp::new(row.listed.seconds() - seconds).unwrap();
        });
    }

    /// Lists one more version, of a tree with a size and a number of files; `sign` makes a statement of the
    /// entry's payload, keeps it and gives its id.
    pub fn release(
        author: &Person,
        name: &str,
        version: &str,
        (tree, size, files): (ObjectId, u64, u64),
        sign: impl FnOnce(&[u8]) -> ObjectId,
    ) {
        amend(author, name, |repository, record| {
            let (log, row) = (record.logs[0].clone(), record.versions[0].clone());
            let before: Entry =
                repository.statements().find::<Entry>(row.entry).unwrap().envelope().peek().unwrap();
            let (version, tree) = (version.parse().unwrap(), TreeId::new(tree));
            let release = Release { version, tree, size, files, ..row.release.clone() };
            let action = Action::Release(Box::new(release.clone()));
            let entry = Entry { seq: log.seq + 1, prev: Some(log.entry), action, ..before };
            let id = StatementId::new(sign(&objects::codec::encode(&entry)));
            record.logs = vec![LogRow { entry: id, seq: entry.seq, ..log }];
            record.versions.push(VersionRow { entry: id, seq: entry.seq, release, ..row });
        });
    }

    /// Signs a next document of the distributor's identity that is like the one before.
    pub fn next_document(author: &Person) {
        let repository = Repository::open(&author.repo()).unwrap();
        let mut summary = repository.summary().unwrap().unwrap();
        let id = summary.repository.owner;
        let chain = Chain::walk(id, &summary.owner).unwrap();
        let next = Identity {
            id: Some(id),
            n: chain.head().n + 1,
            prev: Some(chain.head().id()),
            ..chain.head().document().clone()
        };
        let next = Signed::sign(&next, &[&key(author)]).unwrap();
        repository.statements().insert(next.envelope()).unwrap();
        let row: (IdentityId, IdentityRow) = (id, IdentityRow { n: chain.head().n + 1, document: next.id() });
        summary.owner.push(next);
        let no: Vec<PackageRecord> = Vec::new();
        publish(
            author,
            &repository,
            summary,
            Changes { records: no, identities: vec![row], ..Changes::default() },
        );
    }

    /// Shows only the first documents of the owner's chain, as a server that hides a revocation does.
    pub fn hide_documents(repository: &std::path::Path, keep: usize) {
        let repository = Repository::open(repository).unwrap();
        let mut summary = repository.summary().unwrap().unwrap();
        summary.owner.truncate(keep);
        repository.write_summary(&summary).unwrap();
    }

    /// Signs the next index, with `changes` in it.
    fn publish(author: &Person, repository: &Repository, mut summary: Summary, changes: Changes) {
        let key = key(author);
        let old_id = summary.index.id();
        let old: Head = summary.index.envelope().peek().unwrap();
        let index = Index::open(repository.store(), old.root).unwrap();
        let mut transaction = repository.store().transaction(Options::default()).unwrap();
        let (root, totals) = edit(index, &changes, &mut transaction).unwrap();
        transaction.commit().unwrap();
        let n = old.n + 1;
        let next = Head {
            n,
            prev: Some(old_id),
            skips: skip_distances(n).map(|distance| at(repository, old_id, n - distance)).collect(),
            root,
            size: totals.bytes,
            files: totals.files,
            ..old
        };
        summary.index = Signed::sign(&next, &[&key as &dyn Signer]).unwrap();
        let (index, expires) = (summary.index.id(), next.created.after(86_400));
        let beacon = Beacon { repository: next.repository, n, index, created: next.created, expires };
        summary.beacon = Signed::sign(&beacon, &[&key as &dyn Signer]).unwrap();
        repository.statements().insert(summary.index.envelope()).unwrap();
        repository.write_pack_list(&[], None).unwrap();
        repository.write_summary(&summary).unwrap();
    }

    fn at(repository: &Repository, from: StatementId, n: u64) -> StatementId {
        let head: Head = repository.statements().find::<Head>(from).unwrap().envelope().peek().unwrap();
        if head.n == n { from } else { at(repository, head.prev.unwrap(), n) }
    }
}
