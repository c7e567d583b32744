//! The stage: folders of their own, people with a home each, the real program.
//!
//! Promises: nothing of the machine's user is read or written; every run ends, by itself or by a
//! deadline; every process that was started is gone when its guard is dropped; no output of the
//! program holds a panic. Nothing sleeps for luck: what has to happen is waited for.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The program under test.
pub const PKG: &str = env!("CARGO_BIN_EXE_pkg");
/// How long one command may take on a loaded machine.
fn run_max() -> Duration {
    Duration::from_secs(if long() { 3_600 } else { 120 })
}

/// True if the long forms of the tests are asked for.
pub fn long() -> bool {
    std::env::var_os("PKG_LONG_TESTS").is_some_and(|value| value == "1")
}

/// Waits until `ready`, and fails with `what` if that takes too long.
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(begun.elapsed() < run_max(), "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder in which a story is told; gone with it.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        World { folder: tempfile::tempdir().unwrap() }
    }

    /// A path in it.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Somebody with an empty home.
    pub fn user(&self, name: &str) -> Person {
        Person { name: name.to_owned(), ..self.user_at(&format!("home-{name}")) }
    }

    /// Somebody whose home is the folder `name`.
    pub fn user_at(&self, name: &str) -> Person {
        let home = self.path(name);
        fs::create_dir_all(&home).unwrap();
        let cwd = self.folder.path().to_owned();
        Person { name: name.to_owned(), home, cwd, env: Vec::new() }
    }

    /// Somebody with an identity and a repository, `<name>.repo`.
    pub fn author(&self, name: &str) -> Person {
        let person = self.user(name);
        person.ok(["id", "new", name]);
        person.ok(["init", "--bare", &format!("{name}.repo")]);
        person
    }

    /// An author who published the fixture `hello` 1.0.0, and their repository.
    pub fn with_hello(&self) -> (Person, PathBuf) {
        let ada = self.author("ada");
        let folder = self.path("hello");
        crate::fixture::hello(&folder, "1.0.0");
        ada.publish(&folder);
        let repo = ada.repo();
        (ada, repo)
    }
}

/// Somebody who runs the program.
#[derive(Clone)]
pub struct Person {
    name: String,
    pub home: PathBuf,
    cwd: PathBuf,
    env: Vec<(String, String)>,
}

impl Person {
    /// The same person in another folder.
    pub fn at(&self, folder: impl AsRef<Path>) -> Person {
        Person { cwd: self.cwd.join(folder), ..self.clone() }
    }

    /// The same person with a variable set.
    pub fn with(&self, key: &str, value: impl AsRef<Path>) -> Person {
        let mut person = self.clone();
        person.env.push((key.to_owned(), value.as_ref().display().to_string()));
        person
    }

    /// Their repository.
    pub fn repo(&self) -> PathBuf {
        self.home.parent().unwrap().join(format!("{}.repo", self.name))
    }

    /// A command of the program, not started yet.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(PKG);
        command.args(args);
        self.dress(&mut command);
        command
    }

    /// Gives a command this person's folder and environment, and nothing of anybody else's.
    pub fn dress(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.current_dir(&self.cwd).env_clear().env("PATH", path);
        command.env("HOME", &self.home).env("PKG_HOME", self.home.join("pkg"));
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null());
    }

    /// Runs the program to its end.
    pub fn run<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.command(args))
    }

    /// Runs the program, which has to succeed; gives what it wrote to stdout.
    pub fn ok<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        let run = self.run(args);
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stdout
    }

    /// Runs the program with `--json`, which has to succeed; gives its outcome.
    pub fn yes<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Value {
        let run = self.run(args.into_iter().chain(["--json"]));
        assert_eq!(run.code, Some(0), "{run:?}");
        run.json()
    }

    /// Runs the program with `--json`, which has to fail with `code` and the exit code of its class.
    pub fn no<'a>(&self, args: impl IntoIterator<Item = &'a str>, code: &str) -> Failure {
        let run = self.run(args.into_iter().chain(["--json"]));
        let failure = run.failure();
        assert_eq!(failure.code, code, "{run:?}");
        failure
    }

    /// Publishes a folder or archive to their repository.
    pub fn publish(&self, from: &Path) -> Value {
        self.yes(["publish", text(from), "--to", text(&self.repo())])
    }

    /// Clones `source` into `folder` and steps into it.
    pub fn clone_of(&self, source: &str, folder: &str) -> Person {
        self.ok(["clone", source, folder]);
        self.at(folder)
    }

    /// The path of a file where this person stands.
    pub fn here(&self, name: impl AsRef<Path>) -> PathBuf {
        self.cwd.join(name)
    }

    /// What `pkg list` shows: names and versions.
    pub fn installed(&self) -> BTreeMap<String, String> {
        let list = self.yes(["list"]);
        let word = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(|row| (word(row, "name"), word(row, "version"))).collect()
    }

    /// Where a package that is installed stands.
    pub fn loaded(&self, spec: &str) -> PathBuf {
        PathBuf::from(self.yes(["load", spec])["path"].as_str().unwrap())
    }

    /// Fails unless the user's store is whole, down to the last byte.
    pub fn store_is_whole(&self) {
        let store = self.home.join("pkg/store");
        if store.join("config").exists() {
            self.is_whole(&store);
        }
    }

    /// Fails unless a repository is whole, down to the last byte.
    pub fn is_whole(&self, repo: &Path) {
        let run = self.run(["fsck", "--data", "--repo", text(repo)]);
        assert_eq!(run.code, Some(0), "{run:?}");
    }

    /// Fails unless a repository is whole, but for what a killed command may leave: statements that no
    /// ref leads to yet, and refs that were about to move.
    pub fn is_whole_after_a_kill(&self, repo: &Path) {
        let run = self.run(["fsck", "--data", "--repo", text(repo), "--json"]);
        let findings = run.json()["findings"].clone();
        let left = [
            "no ref leads to this entry",
            "this release has no tag",
            "its last line is not where the ref is",
            "its pack is lost", // the index of one that was being removed, or had no name yet
        ];
        let is_left = |finding: &Value| left.contains(&finding["problem"].as_str().unwrap());
        assert!(findings.as_array().unwrap().iter().all(is_left), "{run:?}");
    }

    /// Starts to serve a repository and waits until it answers.
    pub fn serve(&self, repo: &Path, flags: &[&str]) -> Served {
        self.serve_as(Command::new(PKG), repo, flags)
    }

    /// The same by `command`, which is the program or runs it in its own place.
    pub fn serve_as(&self, mut command: Command, repo: &Path, flags: &[&str]) -> Served {
        let announce = tempfile::tempdir().unwrap();
        let file = announce.path().join("addresses");
        self.dress(&mut command);
        command.args(["serve", "--repo", text(repo), "--announce", text(&file)]);
        command.args(flags).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Guard(command.spawn().unwrap());
        wait_for("pkg serve", || {
            if let Some(status) = child.0.try_wait().unwrap() {
                let mut said = String::new();
                child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("pkg serve ended with {status}: {said}");
            }
            file.exists()
        });
        let addresses = fs::read_to_string(&file).unwrap();
        let find = |web: bool| addresses.lines().find(|line| line.starts_with("http") == web);
        let [ticket, url] = [find(false), find(true)].map(|line| line.unwrap_or_default().to_owned());
        Served { child, ticket, url }
    }
}

/// A process that is killed when it is dropped.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `pkg serve`, until it is dropped.
pub struct Served {
    child: Guard,
    pub ticket: String,
    pub url: String,
}

impl Drop for Served {
    /// Of a journey that fails, what the server has to say belongs to its report.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.child.0.try_wait();
            let _ = self.child.0.kill();
            let mut said = String::new();
            let _ = self.child.0.stderr.take().map(|mut stderr| stderr.read_to_string(&mut said));
            eprintln!("pkg serve at {} ({ended:?}) said: {said}", self.url);
        }
    }
}

/// How a run ended.
#[allow(dead_code, reason = "what was run, and the signal, are for messages")]
#[derive(Debug)]
pub struct Run {
    pub args: String,
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// Runs a command to its end, within the deadline.
    pub fn of(mut command: Command) -> Run {
        let args = format!("{command:?}");
        let mut child = Guard(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        let [stdout, stderr] = [drain(child.0.stdout.take().unwrap()), drain(child.0.stderr.take().unwrap())];
        let begun = Instant::now();
        let status = loop {
            match child.0.try_wait().unwrap() {
                Some(status) => break status,
                None if begun.elapsed() > run_max() => panic!("{args} does not end"),
                None => std::thread::sleep(Duration::from_millis(2)),
            }
        };
        let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        let run = Run { args, code: status.code(), signal: status.signal(), stdout, stderr };
        for word in ["panicked at", "RUST_BACKTRACE", "stack overflow", "internal error"] {
            assert!(!run.stderr.contains(word) && !run.stdout.contains(word), "{run:?}");
        }
        run
    }

    /// The one JSON object of stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The error that a failed run with `--json` printed, after checking its form and exit code.
    pub fn failure(&self) -> Failure {
        let value = self.json();
        let word = |key: &str| value[key].as_str().unwrap_or_else(|| panic!("no {key}: {self:?}")).to_owned();
        let hints = value["hints"].as_array().unwrap_or_else(|| panic!("no hints: {self:?}"));
        let hints = hints.iter().map(|hint| hint.as_str().unwrap().to_owned()).collect();
        let failure = Failure { code: word("code"), message: word("message"), hints };
        assert!(CODES.contains(&failure.code.as_str()), "a code that is not on the list: {self:?}");
        assert_eq!(self.code, Some(exit_code(&failure.code)), "{self:?}");
        let control = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
        assert!(!control(&failure.message), "a raw control character: {self:?}");
        failure
    }
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What a failed command said with `--json`.
#[derive(Debug)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub hints: Vec<String>,
}

const CODES: [&str; 21] = [
    "E-FORMAT",
    "E-HASH",
    "E-SIG",
    "E-SCOPE",
    "E-EXPIRED",
    "E-ROLLBACK",
    "E-FREEZE",
    "E-FORK",
    "E-IDENTITY-CHANGED",
    "E-LOCK",
    "E-PATH",
    "E-LIMIT",
    "E-POLICY",
    "E-CONFLICT",
    "E-AMBIGUOUS",
    "E-KEYPERM",
    "E-NOSPACE",
    "E-IO",
    "E-NET",
    "E-NOTFOUND",
    "E-USAGE",
];

/// The exit code of an error's class, as `pkg --help` documents them.
fn exit_code(code: &str) -> i32 {
    match code {
        "E-USAGE" | "E-AMBIGUOUS" => 2,
        "E-NOTFOUND" => 3,
        "E-SIG" | "E-SCOPE" | "E-EXPIRED" | "E-ROLLBACK" | "E-FREEZE" | "E-FORK" | "E-IDENTITY-CHANGED"
        | "E-LOCK" | "E-POLICY" | "E-KEYPERM" | "E-PATH" => 4,
        "E-CONFLICT" => 5,
        "E-NET" => 6,
        "E-HASH" | "E-FORMAT" => 7,
        _ => 1,
    }
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Bytes received, over all sources of an outcome.
pub fn received(outcome: &Value) -> u64 {
    let bytes = outcome["bytes"].as_array().unwrap();
    bytes.iter().map(|from| from["received"].as_u64().unwrap()).sum()
}

/// What stands at one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub mode: u32,
    pub size: u64,
    pub mtime: (i64, i64),
    /// A hash of a file's bytes, or where a link leads.
    pub content: String,
}

/// Everything below a folder, by its path in it: to show that nothing changed.
pub fn snapshot(folder: &Path) -> BTreeMap<String, Standing> {
    let mut found = BTreeMap::new();
    walk(folder, &mut |path, meta| {
        let content = if meta.is_symlink() {
            text(&fs::read_link(path).unwrap()).to_owned()
        } else if meta.is_file() {
            blake3::hash(&fs::read(path).unwrap()).to_hex().to_string()
        } else {
            String::new()
        };
        let size = if meta.is_dir() { 0 } else { meta.size() };
        let standing =
            Standing { mode: meta.mode(), size, mtime: (meta.mtime(), meta.mtime_nsec()), content };
        found.insert(inside(folder, path), standing);
    });
    found
}

/// What a tree says of a folder, and nothing else: kinds, the exec bit, content.
pub fn content(folder: &Path) -> BTreeMap<String, (char, String)> {
    let kind = |mode: u32| match mode & 0o170_000 {
        0o040_000 => 'd',
        0o120_000 => 'l',
        _ if mode & 0o111 != 0 => 'x',
        _ => 'f',
    };
    snapshot(folder).into_iter().map(|(path, at)| (path, (kind(at.mode), at.content))).collect()
}

/// Visits everything below a folder, the folder itself left out.
pub fn walk(folder: &Path, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        visit(&path, &meta);
        if meta.is_dir() {
            walk(&path, visit);
        }
    }
}

fn inside(folder: &Path, path: &Path) -> String {
    path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()
}

/// Copies a folder with all below it; times are kept, as a backup keeps them.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", text(from), text(to)]).status().unwrap();
    assert!(status.success());
}

/// The files below a folder that hold what a reader fetches: packs, indexes, lists, statements, head.
pub fn public_files(repo: &Path) -> Vec<String> {
    let mut found = Vec::new();
    walk(repo, &mut |path, meta| {
        let name = inside(repo, path);
        let public = ["objects/pack/", "objects/info/", "statements/", "summary"];
        if meta.is_file() && public.iter().any(|start| name.starts_with(start)) {
            found.push(name);
        }
    });
    found.sort();
    found
}
