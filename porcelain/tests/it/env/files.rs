//! The files of an environment: read strictly, written stably, edited in place.

use super::support::{World, id, lockfile, now, package, packages};
use objects::claim::Repository;
use objects::id::{GrantId, IdentityId, ObjectId, StatementId, TreeId};
use objects::version::Version;
use porcelain::env::{
    Binding, Environment, Error, LockedIdentity, LockedPackage, LockedRepository, Lockfile, WantedPackage,
};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn wanted(version: &str) -> WantedPackage {
    WantedPackage::of_version(version.parse().unwrap())
}

/// O1: what an environment consists of, and that it is found from below.
#[test]
fn an_environment_is_found_from_below() {
    let world = World::new();
    for path in ["pkg.cfg.toml", "pkgs", ".pkgs/config", ".pkgs/HEAD", ".pkgs/generations/0"] {
        assert!(world.path(path).exists(), "{path}");
    }
    let below = world.path("deep/er");
    fs::create_dir_all(&below).unwrap();
    assert_eq!(Environment::find(&below).unwrap().root(), world.env.root());
    assert_eq!(world.env.current().unwrap().packages, []);

    let elsewhere = tempfile::tempdir().unwrap();
    let error = Environment::find(elsewhere.path()).unwrap_err();
    assert_eq!(error.code(), "E-NOTFOUND");
    assert!(matches!(Environment::open(elsewhere.path()), Err(Error::NoEnvironment { .. })));
}

/// O1: an environment is made once, and keeps what is wanted already.
#[test]
fn init_keeps_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pkg.cfg.toml"), "[packages]\ndict = \"^1\"\n").unwrap();
    let env = Environment::init(folder.path(), &Binding::default(), now()).unwrap();
    assert_eq!(env.wanted().unwrap().packages.len(), 1);
    let error = Environment::init(folder.path(), &Binding::default(), now()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }));
}

/// SEC-086: an environment of another user is passed by, and said to be.
#[test]
fn an_environment_of_another_user_is_ignored() {
    if !rustix::process::geteuid().is_root() {
        return; // only root can give a folder away
    }
    for given in [".pkgs", ".pkgs/config", "pkg.cfg.toml"] {
        let world = World::new();
        std::os::unix::fs::chown(world.path(given), Some(12_345), None).unwrap();
        let error = Environment::find(world.env.root()).unwrap_err();
        let Error::NoEnvironment { ignored, .. } = &error else { panic!("{error:?}") };
        assert_eq!(ignored, &[world.env.root()]);
        assert!(error.to_string().contains("another user"), "{error}");
        assert!(Environment::open(world.env.root()).is_ok(), "named outright, it is meant");
    }
}

#[test]
fn a_binding_is_read_as_it_was_written() {
    let world = World::new();
    let repository = Repository { owner: IdentityId::new(id("distributor")), name: "main".to_owned() };
    for binding in [
        Binding { source: "iroh:abc \"quoted\"\n".to_owned(), repository: Some(repository) },
        Binding { source: String::new(), repository: None },
    ] {
        world.env.lock_exclusive().unwrap().bind(&binding).unwrap();
        assert_eq!(world.env.binding().unwrap(), binding);
    }
    fs::write(world.path(".pkgs/config"), "format = 2\nnew = true\n").unwrap();
    assert!(matches!(Environment::open(world.env.root()), Err(Error::Newer { found: 2, .. })));
}

const COMMENTED: &str = r#"# Our tools.
[environment]
channel = "release"   # what we ship

[packages]
# words
dict = "^1.2"         # not 2 yet
"acme/web" = { version = ">=1", channel = "nightly" } # see #12
old = "1"

[packages.long]       # written out
version = "1"
optional = ["themes"]
"#;

/// Comments, order and spelling of what is not edited stay.
#[test]
fn editing_keeps_comments() {
    let world = World::new();
    fs::write(world.path("pkg.cfg.toml"), COMMENTED).unwrap();
    let name = |text: &str| text.parse().unwrap();
    let mut edit = world.env.edit_wanted().unwrap();
    edit.set(&name("dict"), &wanted("^2"));
    edit.set(&name("acme/web"), &WantedPackage { beside: vec!["=1.0.3".parse().unwrap()], ..wanted(">=2") });
    edit.set(&name("long"), &wanted("3"));
    edit.set(&name("acme/new"), &wanted("*"));
    assert!(edit.remove(&name("old")));
    assert!(!edit.remove(&name("never")));
    edit.set_channel(&"beta".parse().unwrap());
    let (text, meant) = edit.finish().unwrap();

    for kept in [
        "# Our tools.",
        "channel = \"beta\"   # what we ship",
        "# words\n",
        "= \"^2\"         # not 2 yet",
        "# see #12",
        "[packages.long]       # written out",
    ] {
        assert!(text.as_str().contains(kept), "{kept} in\n{}", text.as_str());
    }
    assert!(!text.as_str().contains("old"));
    let versions: Vec<String> =
        meant.packages.iter().map(|(name, wanted)| format!("{name} {}", wanted.version)).collect();
    assert_eq!(versions, ["acme/new *", "acme/web >=2", "dict ^2", "long 3"]);
    assert_eq!(meant.packages[&name("acme/web")].beside.len(), 1);
    assert_eq!(meant.packages[&name("acme/web")].channel, None);
    assert_eq!(meant.packages[&name("long")].optional, []);
    assert_eq!(fs::read_to_string(world.path("pkg.cfg.toml")).unwrap(), COMMENTED, "nothing is written yet");
}

/// What is set is what is read, in a fresh file, an inline table and a file without sections.
#[test]
fn what_is_set_is_what_is_read() {
    let full = WantedPackage {
        version: ">0.1.2<0.1.5".parse().unwrap(),
        owner: Some(IdentityId::new(id("owner"))),
        channel: Some("nightly".parse().unwrap()),
        optional: vec!["themes".parse().unwrap(), "acme/fonts".parse().unwrap()],
        beside: vec!["=1.0.3".parse().unwrap()],
    };
    for text in
        [None, Some(""), Some("packages = { dict = \"1\" }\n"), Some("[packages]\n\"acme/web\" = \"1\"\n")]
    {
        let world = World::new();
        match text {
            Some(text) => fs::write(world.path("pkg.cfg.toml"), text).unwrap(),
            None => fs::remove_file(world.path("pkg.cfg.toml")).unwrap(),
        }
        let mut edit = world.env.edit_wanted().unwrap();
        let [first, second] = ["acme/web", "a.b"].map(|name| name.parse().unwrap());
        edit.set(&first, &full);
        edit.set(&second, &wanted("^1"));
        edit.set(&second, &full);
        let (_, meant) = edit.finish().unwrap();
        assert_eq!((&meant.packages[&first], &meant.packages[&second]), (&full, &full), "{text:?}");
    }
}

/// Errors in `pkg.cfg.toml` name the file and the line.
#[test]
fn errors_of_the_config_name_the_line() {
    let deep = format!("[packages]\na = {}1{}\n", "[".repeat(70), "]".repeat(70));
    let table: [(&str, usize, &str); 9] = [
        ("[packages]\n\ndict = \"^^1\"\n", 3, "^^1"),
        ("[packages]\nDict = \"1\"\n", 2, "Dict"),
        ("[packages]\n\"../x\" = \"1\"\n", 2, "../x"),
        ("[packages]\ndict = 1\n", 2, "version requirement"),
        ("[packages]\ndict = { version = \"1\", onwer = \"id:1\" }\n", 2, "onwer"),
        ("[packages]\ndict = { owner = \"id:12\" }\n", 2, "id:12"),
        ("[hooks]\npost = \"rm\"\n", 1, "hooks"),
        ("[environment]\nchannel = \"Release\"\n", 2, "Release"),
        (&deep, 2, "deeper"),
    ];
    for (text, line, what) in table {
        let world = World::new();
        fs::write(world.path("pkg.cfg.toml"), text).unwrap();
        let error = world.env.wanted().unwrap_err();
        assert_eq!(error.code(), "E-FORMAT");
        let shown = error.to_string();
        assert!(shown.contains(&format!("pkg.cfg.toml:{line}: ")) && shown.contains(what), "{text}: {shown}");
        assert!(world.env.edit_wanted().is_err());
        assert_eq!(fs::read_to_string(world.path("pkg.cfg.toml")).unwrap(), text);
    }
}

/// SEC-077 and damage: every malformed file is a clear error that names it, and nothing is lost.
#[test]
fn malformed_files_are_named_and_kept() {
    type Read = fn(&World) -> Result<(), Error>;
    let facts = || {
        let tree = package("dict#1.0.0").tree.short(32);
        format!(".pkgs/dict/dict#{tree}.json")
    };
    let table: [(String, Read); 6] = [
        (".pkgs/HEAD".to_owned(), |w| w.env.current().map(drop)),
        (".pkgs/generations/1".to_owned(), |w| w.env.current().map(drop)),
        (".pkgs/config".to_owned(), |w| Environment::open(w.env.root()).map(drop)),
        (".pkgs/journal".to_owned(), |w| Environment::open(w.env.root()).map(drop)),
        ("pkg.lock".to_owned(), |w| w.env.lockfile().map(drop)),
        (facts(), |w| w.try_load("dict").map(drop)),
    ];
    let bombs =
        [b"\0\xff\xfe".to_vec(), b"{\"number\": ".to_vec(), b"[".repeat(100_000), vec![b'a'; 1 << 20]];
    for (path, read) in table {
        for bytes in &bombs {
            let world = World::with(packages(&["dict#1.0.0", "other#1.0.0"]));
            fs::write(world.path(&path), bytes).unwrap();
            let error = read(&world).unwrap_err();
            let file = Path::new(&path).file_name().unwrap().to_str().unwrap();
            assert!(error.to_string().contains(file), "{path}: {error}");
            assert!(!error.to_string().contains('\0') && error.to_string().len() < 1_000);
            assert_eq!(&fs::read(world.path(&path)).unwrap(), bytes);
            assert_eq!(world.loaded("other"), "1.0.0", "{path}");
        }
    }
}

/// A journal cannot lead out of its environment.
#[test]
fn a_hostile_journal_reaches_nothing() {
    for journal in [
        r#"{"links":[{"link":"../../x","tree":null}],"index_db":null,"wanted":null,"lockfile":null,"head":null}"#,
        r#"{"links":[],"index_db":"../../..","wanted":null,"lockfile":null,"head":null}"#,
        r#"{"links":[],"index_db":null,"wanted":null,"lockfile":"../config","head":null}"#,
        r#"{"links":[],"index_db":null,"wanted":null,"lockfile":null,"head":null,"run":"rm"}"#,
    ] {
        let world = World::with(packages(&["dict#1.0.0"]));
        fs::write(world.path(".pkgs/journal"), journal).unwrap();
        let error = Environment::open(world.env.root()).unwrap_err();
        assert_eq!(error.code(), "E-FORMAT", "{journal}");
        assert_eq!(world.loaded("dict"), "1.0.0");
    }
}

/// A lockfile for review: this is what it looks like.
#[test]
fn a_lockfile_is_stable_text() {
    let owner = IdentityId::new(ObjectId::from_bytes([1; 32]));
    let statement = StatementId::new(ObjectId::from_bytes([2; 32]));
    let row = |name: &str, version: &str, channel: &str, grants| LockedPackage {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        channel: channel.parse().unwrap(),
        owner,
        entry: statement,
        tree: TreeId::new(ObjectId::from_bytes([3; 32])),
        signer: owner,
        signer_n: 4,
        grants,
        beside: false,
    };
    let rows = vec![
        row("zoo", "1.0.0", "release", vec![GrantId::new(ObjectId::from_bytes([5; 32]))]),
        row("acme/web", "1.10.0", "nightly", vec![]),
    ];
    let repository = LockedRepository { owner, name: "main".to_owned(), index_n: 12, index: statement };
    let identity = LockedIdentity { id: owner, n: 4, head: statement };
    let lockfile = Lockfile::new(vec![repository], vec![identity], rows);
    let [one, two, three, five] = [1, 2, 3, 5].map(|byte: u8| format!("{byte:02x}").repeat(32));
    let expected = format!(
        "# What was chosen for pkg.cfg.toml; written by pkg. Keep it under version control.
version = 1

[[repository]]
owner = \"id:{one}\"
name = \"main\"
index-n = 12
index = \"blake3:{two}\"

[[identity]]
id = \"id:{one}\"
n = 4
head = \"blake3:{two}\"

[[package]]
name = \"acme/web\"
version = \"1.10.0\"
channel = \"nightly\"
owner = \"id:{one}\"
entry = \"blake3:{two}\"
tree = \"blake3:{three}\"
signer = \"id:{one}\"
signer-n = 4

[[package]]
name = \"zoo\"
version = \"1.0.0\"
owner = \"id:{one}\"
entry = \"blake3:{two}\"
tree = \"blake3:{three}\"
signer = \"id:{one}\"
signer-n = 4
grants = [
    \"blake3:{five}\",
]
"
    );
    assert_eq!(lockfile.to_string(), expected);
    assert_eq!(Lockfile::parse(Path::new("pkg.lock"), &expected).unwrap(), lockfile);
    assert_eq!(lockfile.of(&"zoo".parse().unwrap()).count(), 1);
}

/// SEC-073's ground: what is doubled, unknown or too much is refused.
#[test]
fn malformed_lockfiles_are_refused() {
    let good = lockfile(&packages(&["dict#1.0.0"])).to_string();
    let row = good[good.find("[[package]]").unwrap()..].to_owned();
    let deep = format!("version = 1\n{}a{} = 1\n", "a.".repeat(50), ".b".repeat(50));
    let table = [
        ("version = 2\n".to_owned(), "version 2"),
        ("version = 1\nsource = \"https://x\"\n".to_owned(), "source"),
        (format!("{good}\n{row}"), "twice"),
        (good.replace("signer-n = 3", "signer-n = -1"), "pkg.lock:"),
        (good.replace("name = \"dict\"", "name = \"Dict\""), "Dict"),
        (good.replace("1.0.0", "01.0.0"), "01.0.0"),
        (good.replace("tree = \"blake3:", "tree = \"blake3:0"), "id"),
        (good.replace("name = \"dict\"\n", ""), "name"),
        (deep, "deeper"),
    ];
    for (text, what) in table {
        let error = Lockfile::parse(Path::new("pkg.lock"), &text).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!(error.code(), "E-FORMAT");
    }
    let long = format!("version = 1\n#{}", " ".repeat(16 << 20));
    assert_eq!(Lockfile::parse(Path::new("pkg.lock"), &long).unwrap_err().code(), "E-LIMIT");
}

fn versions() -> impl Strategy<Value = Version> {
    ("([1-9]!)?[0-9]\\.[0-9]{1,2}(0)?\\.[0-9](-rc\\.[0-9])?(\\+[a-z]{1,3})?(~[1-9])?")
        .prop_filter_map("a version", |text| text.parse().ok())
}

fn rows() -> impl Strategy<Value = LockedPackage> {
    let ids = proptest::array::uniform4(any::<[u8; 32]>());
    let name = "[a-z0-9][a-z0-9._-]{0,8}(/[a-z0-9][a-z0-9._-]{0,8}){0,2}";
    let grants = proptest::collection::vec(any::<[u8; 32]>(), 0..3);
    (name, versions(), "[a-z][a-z0-9-]{0,5}", ids, any::<u32>(), grants, any::<bool>()).prop_map(
        |(name, version, channel, [owner, entry, tree, signer], n, grants, beside)| LockedPackage {
            name: name.parse().unwrap(),
            version,
            channel: channel.parse().unwrap(),
            owner: IdentityId::new(ObjectId::from_bytes(owner)),
            entry: StatementId::new(ObjectId::from_bytes(entry)),
            tree: TreeId::new(ObjectId::from_bytes(tree)),
            signer: IdentityId::new(ObjectId::from_bytes(signer)),
            signer_n: u64::from(n),
            grants: grants.into_iter().map(|bytes| GrantId::new(ObjectId::from_bytes(bytes))).collect(),
            beside,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// What is written reads as what it was written from, in whatever order it came.
    #[test]
    fn lockfiles_round_trip(mut rows in proptest::collection::vec(rows(), 0..8), name in "\\PC{1,20}", n in any::<u32>()) {
        rows.sort_by(|a, b| (&a.name, &a.version, &a.channel).cmp(&(&b.name, &b.version, &b.channel)));
        rows.dedup_by(|a, b| (&a.name, &a.version, &a.channel) == (&b.name, &b.version, &b.channel));
        let owner = IdentityId::new(id(&name));
        let index = StatementId::new(id("index"));
        let repository = LockedRepository { owner, name, index_n: u64::from(n), index };
        let reversed = rows.iter().rev().cloned().collect();
        let lockfile = Lockfile::new(vec![repository.clone(), repository.clone()], Vec::new(), rows);
        let text = lockfile.to_string();
        prop_assert_eq!(&Lockfile::parse(Path::new("pkg.lock"), &text).unwrap(), &lockfile);
        prop_assert_eq!(Lockfile::new(vec![repository], Vec::new(), reversed).to_string(), text);
    }

    /// SEC-035: no text makes the reader panic.
    #[test]
    fn any_text_is_read_or_refused(text in "(version = 1\n)?(\\[\\[package\\]\\]\n)?\\PC{0,40}\n?[a-z\\[\\]{}.=\" \n]{0,60}") {
        let _ = Lockfile::parse(Path::new("pkg.lock"), &text);
    }
}
