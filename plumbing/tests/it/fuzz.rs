//! SEC-035: every decoder over every kept input, and over some thousand changed ones (a hundred times
//! as many with `PKG_LONG_TESTS=1`).
//!
//! `PKG_UPDATE_FIXTURES=1` writes the good examples below `fuzz/corpus` anew.

use objects::claim::{IdentityRow, PackageRecord};
use objects::id::{ObjectId, StatementId, TreeId};
use objects::key::{SecretKey, Signer as _};
use objects::repository::Repository;
use objects::testing::literally::{self, tree_row};
use objects::testing::{Author, Loose, memory, smoke};
use plumbing::sync::message::{self, Answer, Chunks, DELTA_PREFIX, Push, Request, Want};
use plumbing::testing::fuzz::{Published, TARGETS};
use plumbing::transport::{Key, Service, bundle};
use plumbing::trust::State;
use plumbing::trust::keyring::{Keyring, Passphrase};
use serde_bytes::ByteBuf;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::tempdir;

/// Changed inputs of each target.
const TRIES: u64 = 2_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// SEC-032, 033, 035: no panic, no stack that overflows, bounded memory, and the laws of each decoder.
#[test]
fn every_decoder_stands_what_it_is_given() {
    let (_, peak) = memory::peak_of(|| drop(vec![0u8; 1 << 20]));
    assert!(peak >= 1 << 20, "memory is not counted");
    let tries = if std::env::var_os("PKG_LONG_TESTS").is_some() { TRIES * 100 } else { TRIES };
    smoke::run(&folder(), TARGETS, tries);
}

#[test]
fn every_target_has_its_file_and_its_corpus() {
    smoke::check_layout(&folder(), TARGETS);
}

/// Inputs by target and name.
type Seeds = Vec<(&'static str, &'static str, Vec<u8>)>;

fn words() -> Seeds {
    let text = |target, name, text: &str| (target, name, text.as_bytes().to_vec());
    vec![
        text("address", "web", "https://ada:word@pkg.example:8080/a%20b/"),
        text("address", "file", "file:///srv/my%20pkg.bundle"),
        text("address", "iroh", "iroh:00ff"),
        text("address", "ticket", &format!("endpoint{}", "abc234".repeat(12))),
        text("file_key", "pack", "objects/pack/00ff.pack"),
        text("file_key", "statement", "statements/ab/cdef"),
    ]
}

fn written(messages: &[Request]) -> Vec<u8> {
    let mut bytes = Vec::new();
    messages.iter().for_each(|one| message::write(&mut bytes, one).unwrap());
    bytes
}

fn requests(repository: &Repository, tree: TreeId) -> [Request; 4] {
    let summary = repository.summary().unwrap().unwrap();
    let (index, owner) = (summary.index.id(), StatementId::new(ObjectId::of(b"absent")));
    let deltas = || vec![DELTA_PREFIX.to_owned()];
    [
        Request::Advertise {},
        Request::Want(Want {
            statements: vec![(index, 8), (owner, 0)],
            tree: Some(tree),
            haves: vec![TreeId::new(ObjectId::of(b"absent"))],
            deltas: deltas(),
        }),
        Request::Chunks(Chunks {
            tree,
            ranges: vec![(0, 2), (2, u64::MAX)],
            frame_bytes: 65_536,
            haves: vec![],
            deltas: deltas(),
        }),
        Request::Push(Push { summary: ByteBuf::from(summary.encode()) }),
    ]
}

/// What a server of `repository` answers.
fn answered(repository: Repository, request: &Request) -> Vec<u8> {
    let server = plumbing::sync::serve::Server::new(Arc::new(repository), None);
    let mut answer = Vec::new();
    server.serve(&mut written(std::slice::from_ref(request)).as_slice(), &mut answer).unwrap();
    answer
}

fn wire(published: &Published) -> Seeds {
    let tree = published.ingested.tree;
    let [advertise, want, chunks, push] = requests(&published.open(), tree);
    let all = [advertise.clone(), want.clone(), chunks.clone(), push.clone()];
    let one = |request: &Request| written(std::slice::from_ref(request));
    let only_tree = Request::Want(Want { tree: Some(tree), ..Want::default() });
    let statements = match &want {
        Request::Want(want) => Request::Want(Want { tree: None, ..want.clone() }),
        _ => advertise.clone(),
    };
    let pushed = [one(&push), {
        let mut rest = Vec::new();
        let envelope = published.open().summary().unwrap().unwrap().index.envelope().encode();
        message::write(&mut rest, &Answer::Statement(ByteBuf::from(envelope))).unwrap();
        message::write(&mut rest, &Answer::Done {}).unwrap();
        rest
    }];
    let mut refused = Vec::new();
    let no = Answer::Refused { code: "E-POLICY".into(), message: "no".into() };
    message::write(&mut refused, &no).unwrap();
    let half = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let exchange = [half(b"one"), half(b"two"), vec![0; 4], half(b"three"), vec![0xff; 4]].concat();
    vec![
        ("request", "all", written(&all)),
        ("request", "advertise", one(&advertise)),
        ("server", "advertise", one(&advertise)),
        ("server", "want", one(&want)),
        ("server", "chunks", one(&chunks)),
        ("server", "push", pushed.concat()),
        ("answers", "summary", answered(published.open(), &advertise)),
        ("answers", "tree", answered(published.open(), &only_tree)),
        ("answers", "statements", answered(published.open(), &statements)),
        ("answers", "refused", refused),
        ("pipe", "two", exchange),
    ]
}

/// All files of a repository, as a bundle.
fn bundled(repository: &Repository) -> Vec<u8> {
    fn files(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
        }
    }
    let mut found = Vec::new();
    files(repository.root(), &mut found);
    found.sort();
    let keyed = |path: PathBuf| {
        let key = path.strip_prefix(repository.root()).unwrap().to_str().unwrap();
        let wanted = ["summary", "objects/", "statements/"].iter().any(|part| key.starts_with(part));
        wanted.then(|| (Key::new(key).unwrap(), path.clone()))
    };
    let files: Vec<_> = found.into_iter().filter_map(keyed).collect();
    let folder = tempdir().unwrap();
    bundle::write(&folder.path().join("b"), &files).unwrap();
    std::fs::read(folder.path().join("b")).unwrap()
}

/// The objects of an index of one package.
fn index_objects() -> Vec<u8> {
    let author = Author::new(1);
    let record = PackageRecord {
        name: "web/ui".parse().unwrap(),
        owner: author.id(),
        transfer: None,
        logs: vec![],
        versions: vec![],
    };
    let (record, row) = (record.encode(), IdentityRow { n: 0, document: author.identity().id() }.encode());
    let file = |name: &str, bytes: &[u8]| tree_row(name, 0, bytes.len() as u64, ObjectId::of(bytes));
    let identities = literally::tree(vec![file(&author.id().to_hex(), &row)]);
    let packages = literally::tree(vec![file("web~ui", &record)]);
    let folder = |name: &str, size: usize, tree: &[u8]| tree_row(name, 5, size as u64, ObjectId::of(tree));
    let root = literally::tree(vec![
        folder("identities", row.len(), &identities),
        folder("packages", record.len(), &packages),
    ]);
    Loose::write::<&[u8]>(&[&record, &row, &identities, &packages, &root])
}

fn carried(published: &Published) -> Seeds {
    let repository = published.open();
    let summary = repository.summary().unwrap().unwrap();
    vec![
        ("bundle", "repository", bundled(&repository)),
        ("index_tree", "one", index_objects()),
        ("judge", "first", summary.encode()),
    ]
}

/// A key as OpenSSH keeps it, before base64.
fn openssh(key: &SecretKey, cipher: &str) -> Vec<u8> {
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let public = *key.public().as_bytes();
    let named = [string(b"ssh-ed25519"), string(&public)].concat();
    let pair = string(&[*key.seed(), public].concat());
    let private = [vec![0; 8], named.clone(), pair, string(b"ada"), vec![1, 2, 3, 4, 5, 6]].concat();
    let head = [string(cipher.as_bytes()), string(b"none"), string(b""), vec![0, 0, 0, 1]].concat();
    [b"openssh-key-v1\0".to_vec(), head, string(&named), string(&private)].concat()
}

fn key_files() -> Seeds {
    let folder = tempdir().unwrap();
    let keyring = Keyring::open(&folder.path().join("keys")).unwrap();
    let author = Author::new(1);
    keyring.insert("plain", author.key(), None).unwrap();
    keyring.insert("sealed", author.key(), Some(&Passphrase::from("open".to_owned()))).unwrap();
    let read = |name: &str| std::fs::read(folder.path().join("keys").join(name)).unwrap();
    vec![
        ("key_file", "plain", read("plain.key")),
        ("key_file", "sealed", read("sealed.key")),
        ("openssh_key", "plain", openssh(author.key(), "none")),
        ("openssh_key", "sealed", openssh(author.key(), "aes256-ctr")),
    ]
}

/// A row as `state_rows` takes it.
fn row(table: u8, n: i64, texts: [&str; 2], blobs: [&[u8]; 2]) -> Vec<u8> {
    let mut row = vec![table];
    row.extend_from_slice(&n.to_le_bytes());
    for field in texts.map(str::as_bytes).into_iter().chain(blobs) {
        row.push(field.len() as u8);
        row.extend_from_slice(field);
    }
    row
}

fn state() -> Seeds {
    let id = ObjectId::of(b"id");
    let (hex, id) = (id.to_hex(), id.as_bytes().as_slice());
    let rows = [
        row(0, Author::NOW as i64, ["", ""], [&[], &[]]),
        row(1, 1, ["https://pkg.example/", "main"], [id, &[]]),
        row(2, 2, ["web/ui", "main"], [id, id]),
        row(3, 3, [&hex, "identity"], [id, b"envelope"]),
        row(4, 4, ["web/ui", "1.0.0"], [id, id]),
        row(5, 5, [&hex, "identity"], [b"one", id]),
    ];
    let folder = tempdir().unwrap();
    let path = folder.path().join("state.db");
    let state = State::open(&path).unwrap();
    state.note_time(objects::time::Timestamp::new(Author::NOW).unwrap()).unwrap();
    drop(state);
    vec![
        ("state_rows", "each", rows.concat()),
        ("state_rows", "clock", rows[0].clone()),
        ("state_file", "fresh", std::fs::read(path).unwrap()),
    ]
}

/// The good examples are kept, and kept as files: who fuzzes needs nothing else.
#[test]
fn good_examples_are_kept() {
    let update = std::env::var_os("PKG_UPDATE_FIXTURES").is_some();
    let published = Published::new();
    let all = [words(), wire(&published), carried(&published), key_files(), state()].concat();
    for (target, name, bytes) in all {
        let path = folder().join("corpus").join(target).join(name);
        if update {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(path.exists(), "{} is not kept", path.display());
    }
}
