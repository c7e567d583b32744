//! The manifest `pkg.toml`: read, refused, and written again.

use std::collections::BTreeMap;
use std::fs;

use porcelain::manifest::{Author, Dependency, Error, Manifest, Package, Scripts};
use proptest::prelude::*;

const FULL: &str = r#"
[package]
name = "english-dict"
version = "1.4.0"
epoch = 1
revision = 2
channel = "nightly"
description = "Wörter"
license = "MIT"
homepage = "https://example.org"
repository = "https://example.org/git"
authors = [{ name = "Ada", email = "ada@example.org" }, { name = "Bob", url = "https://b.example" }]
categories = ["text"]
tags = ["dictionary", "english"]
media = "application/x-dictionary"
requires-pkg = ">=0.2"

[dependencies]
word-lists = "^2"
proposal = ">0.1.4<0.2"
extras = { version = ">=1", owner = "id:abc", channel = "nightly", optional = true }
any = { owner = "id:abc" }

[conflicts]
old-dict = "*"

[variants]
"linux-x86_64" = "build/linux"
any = "."

[scripts]
post-install = "scripts/post.sh"
"#;

const MINIMAL: &str = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";

fn parse(text: &str) -> Result<Manifest, Error> {
    Manifest::parse(text, "pkg.toml")
}

/// What is wrong with the smallest manifest when `more` follows.
#[track_caller]
fn refused(more: &str) -> Error {
    parse(&format!("{MINIMAL}{more}")).expect_err("it must be refused")
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn by_name<T>(rows: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// G-11, G-12, G-14, G-15, G-17, G-19, O2, O7, L-F12, L-S2.
#[test]
fn a_full_manifest_is_read() {
    let author = |name: &str, email, url| Author { name: name.into(), email, url };
    let expected = Manifest {
        package: Package {
            name: "english-dict".into(),
            version: "1.4.0".into(),
            epoch: 1,
            revision: 2,
            channel: some("nightly"),
            description: some("Wörter"),
            license: some("MIT"),
            homepage: some("https://example.org"),
            repository: some("https://example.org/git"),
            authors: vec![
                author("Ada", some("ada@example.org"), None),
                author("Bob", None, some("https://b.example")),
            ],
            categories: vec!["text".into()],
            tags: vec!["dictionary".into(), "english".into()],
            media: some("application/x-dictionary"),
            requires_pkg: some(">=0.2"),
        },
        dependencies: by_name([
            ("word-lists", Dependency::on("^2")),
            ("proposal", Dependency::on(">0.1.4<0.2")),
            ("any", Dependency { owner: some("id:abc"), ..Dependency::on("*") }),
            (
                "extras",
                Dependency {
                    version: ">=1".into(),
                    owner: some("id:abc"),
                    channel: some("nightly"),
                    optional: true,
                },
            ),
        ]),
        conflicts: by_name([("old-dict", "*".to_owned())]),
        variants: by_name([("linux-x86_64", "build/linux".to_owned()), ("any", ".".to_owned())]),
        scripts: Scripts { post_install: some("scripts/post.sh"), ..Scripts::default() },
    };
    assert_eq!(parse(FULL).expect("it is a good one"), expected);
}

#[test]
fn a_manifest_needs_only_name_and_version() {
    let manifest = parse(MINIMAL).expect("it is a good one");
    assert_eq!(manifest.to_toml(), MINIMAL);
    assert_eq!((manifest.package.epoch, manifest.package.revision), (0, 0));
    assert!(manifest.dependencies.is_empty() && manifest.scripts.is_empty());
}

#[test]
fn errors_name_file_line_and_column() {
    for (more, message) in [
        ("nmae = 'x'", "pkg.toml:4:1: unknown key `nmae`, did you mean `name`?"),
        ("colour = 'x'", "pkg.toml:4:1: unknown key `colour`"),
        ("[dependencis]\na = '1'", "pkg.toml:4:2: unknown key `dependencis`, did you mean `dependencies`?"),
        (
            "[scripts]\npost_install = 'x'",
            "pkg.toml:5:1: unknown key `post_install`, did you mean `post-install`?",
        ),
        ("authors = [{ nam = 'x' }]", "pkg.toml:4:14: unknown key `nam`, did you mean `name`?"),
        (
            "[dependencies]\na = { versoin = '1' }",
            "pkg.toml:5:7: unknown key `versoin`, did you mean `version`?",
        ),
        ("[dependencies.a]\nversoin = '1'", "pkg.toml:5:1: unknown key `versoin`, did you mean `version`?"),
        (
            "[dependencies]\na = 1",
            "pkg.toml:5:5: invalid type: integer `1`, expected a requirement like \"^1.2\", or a table with one",
        ),
        ("[scripts]\n\"a\\u001b`, expected `\" = 'x'", "pkg.toml:5:1: unknown key `a\\u{1b}`, expected ``"),
        ("description = 3", "pkg.toml:4:15: invalid type: integer `3`, expected a string"),
        ("name = 'again'", "pkg.toml:4:1: duplicate key"),
        ("[package]", "pkg.toml:4:2: duplicate key"),
        ("license = MIT", "pkg.toml:4:11: string values must be quoted, expected literal string"),
    ] {
        let error = refused(more);
        assert_eq!(error.to_string(), message);
        assert_eq!(error.code(), "E-FORMAT");
    }
    let error = parse("[package]\nname = 'a'").expect_err("there is no version");
    assert_eq!(error.to_string(), "pkg.toml:1:1: missing key `version`");
    let error = parse("").expect_err("there is no package");
    assert_eq!(error.to_string(), "pkg.toml:1:1: missing key `package`");
}

#[test]
fn numbers_stay_in_their_range() {
    for epoch in ["-1", "4294967296", "99999999999999999999", "1.0", "1979-05-27", "true", "'1'"] {
        assert_eq!(refused(&format!("epoch = {epoch}")).code(), "E-FORMAT", "{epoch}");
    }
}

/// SEC-018, SEC-090.
#[test]
fn control_characters_are_refused_everywhere() {
    for (more, field) in [
        ("description = \"a\\u001b[31m\"", "package.description"),
        ("license = \"a\\nb\"", "package.license"),
        ("tags = ['a', \"\\t\"]", "package.tags[1]"),
        ("authors = [{ name = 'a', url = \"\\u0085\" }]", "package.authors[0].url"),
        ("[dependencies]\na = \"1\\u007f\"", "dependencies.a.version"),
        ("[dependencies]\n\"a\\u0007\" = '1'", "a name in dependencies"),
        ("[dependencies]\na = { owner = \"\\u0000\" }", "dependencies.a.owner"),
        ("[conflicts]\na = \"\\r\"", "conflicts.a"),
        ("[variants]\n\"\\b\" = 'x'", "a name in variants"),
        ("[scripts]\npre-remove = \"x\\u0001\"", "scripts.pre-remove"),
    ] {
        let error = refused(more);
        assert_eq!(error.to_string(), format!("pkg.toml: {field} holds a control character"));
        assert_eq!(error.code(), "E-FORMAT");
    }
}

#[test]
fn paths_stay_inside_the_package() {
    for path in ["/etc", "..", "a/../..", "../x", "a//b", "./a", "a/", "", "C:\\x", "c:x", "a\\..\\.."] {
        for more in [format!("[variants]\nany = '{path}'"), format!("[scripts]\npost-install = '{path}'")] {
            assert_eq!(refused(&more).code(), "E-PATH", "{more}");
        }
    }
    assert_eq!(refused("[scripts]\npre-install = '.'").code(), "E-PATH");
}

#[test]
fn lists_and_texts_have_bounds() {
    let list = |n: usize| format!("tags = [{}]", "'x',".repeat(n));
    let packages = |table: &str, n: usize| {
        let rows: String = (0..n).map(|n| format!("p{n} = '*'\n")).collect();
        format!("[{table}]\n{rows}")
    };
    let long = |n: usize| format!("description = '{}'", "x".repeat(n));
    for (most, more) in [
        (list(256), list(257)),
        (packages("dependencies", 1024), packages("dependencies", 1025)),
        (packages("conflicts", 1024), packages("conflicts", 1025)),
        (long(4096), long(4097)),
    ] {
        parse(&format!("{MINIMAL}{most}")).expect("that is just enough");
        assert_eq!(refused(&more).code(), "E-LIMIT");
    }
    let error = refused(&list(300));
    assert_eq!(error.to_string(), "pkg.toml: package.tags has more than 256 entries");
}

/// SEC-077, on a stack as small as anyone sets it: what nests too deep is told before it is read.
#[test]
fn bombs_are_refused() {
    let names = |n: usize| vec!["a"; n].join(".");
    let bombs = [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{} = 1", names(100_000)),
        format!("[{}]", names(100_000)),
        format!("[[{}]]", names(100_000)),
        // Each kind within its own bound, and all together 6,400 levels.
        format!("[{0}]\n{0} = {1}1{2}", names(79), format!("{{{} = ", names(79)).repeat(79), "}".repeat(79)),
        format!("x\"{}", format!("{{{} = ", names(79)).repeat(79)),
        format!("description = '{}'", "x".repeat(1 << 20)),
        format!("description = '{}", "x".repeat(1 << 19)),
        "a = 1\n".repeat(2),
        "\"".repeat(500_000),
        "#\r".repeat(500_000),
    ];
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let thread = small.spawn(move || {
        for bomb in bombs {
            let error = refused(&bomb);
            assert_eq!(error.code(), "E-FORMAT");
            assert!(error.to_string().len() < 1000);
        }
    });
    thread.expect("a thread can be made").join().expect("none of them overflows the stack");
}

#[test]
fn a_manifest_that_is_not_there_is_none() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("pkg.toml");
    assert_eq!(Manifest::read(&path).expect("that is no error"), None);
    fs::write(&path, FULL).expect("it can be written");
    assert_eq!(Manifest::read(&path).expect("it is a good one"), parse(FULL).ok());
}

/// SEC-011, SEC-077: nothing hangs, and no more is read than the bound.
#[test]
fn only_files_of_text_are_read() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("pkg.toml");
    let refused = |code: &str| {
        let error = Manifest::read(&path).expect_err("it must be refused");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(error.code(), code, "{error}");
    };
    fs::write(&path, b"name = \"\xff\"").expect("it can be written");
    refused("E-FORMAT");
    // One huge file that takes no room, and whose first MiB ends inside a character.
    fs::write(&path, "ü".repeat(1 << 20)).expect("it can be written");
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(1 << 40)).expect("it can grow");
    refused("E-FORMAT");
    fs::remove_file(&path).expect("it is there");
    fs::create_dir(&path).expect("a folder can be made");
    refused("E-FORMAT");
    fs::remove_dir(&path).expect("it is there");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("a fifo can be made");
    refused("E-FORMAT");
    fs::remove_file(&path).expect("it is there");
    std::os::unix::fs::symlink("pkg.toml", &path).expect("a link can be made");
    refused("E-IO");
}

fn text() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{0,12}"
}

fn maybe_text() -> impl Strategy<Value = Option<String>> {
    prop::option::of(text())
}

fn path() -> impl Strategy<Value = String> {
    "[a-z'\" .]{0,3}[a-zé]{1,4}(/[a-z]{1,4}){0,2}"
}

prop_compose! {
    fn author()(name in text(), email in maybe_text(), url in maybe_text()) -> Author {
        Author { name, email, url }
    }
}

prop_compose! {
    fn dependency()(
        version in text(), owner in maybe_text(), channel in maybe_text(), optional in any::<bool>(),
    ) -> Dependency {
        Dependency { version, owner, channel, optional }
    }
}

prop_compose! {
    fn scripts()(paths in prop::array::uniform4(prop::option::of(path()))) -> Scripts {
        let [pre_install, post_install, pre_remove, post_remove] = paths;
        Scripts { pre_install, post_install, pre_remove, post_remove }
    }
}

prop_compose! {
    fn package()(
        required in prop::array::uniform2(text()),
        numbers in any::<[u32; 2]>(),
        optional in prop::collection::vec(maybe_text(), 7),
        authors in prop::collection::vec(author(), 0..3),
        lists in prop::array::uniform2(prop::collection::vec(text(), 0..3)),
    ) -> Package {
        let [name, version] = required;
        let [epoch, revision] = numbers;
        let [categories, tags] = lists;
        let [channel, description, license, homepage, repository, media, requires_pkg] =
            optional.try_into().expect("seven were asked for");
        Package {
            name, version, epoch, revision, channel, description, license, homepage, repository,
            authors, categories, tags, media, requires_pkg,
        }
    }
}

prop_compose! {
    fn manifest()(
        package in package(),
        dependencies in prop::collection::btree_map(text(), dependency(), 0..4),
        conflicts in prop::collection::btree_map(text(), text(), 0..3),
        variants in prop::collection::btree_map(text(), path(), 0..3),
        scripts in scripts(),
    ) -> Manifest {
        Manifest { package, dependencies, conflicts, variants, scripts }
    }
}

proptest! {
    /// Reading what was written yields the same, and writing that the same text.
    #[test]
    fn a_manifest_survives_being_written(manifest in manifest()) {
        let text = manifest.to_toml();
        let again = parse(&text);
        prop_assert_eq!(again.map_err(|error| format!("{error}\n{text}")), Ok(manifest));
    }

    /// SEC-035, SEC-077: whatever the pieces, an answer or an error, and one that is safe to show.
    #[test]
    fn any_text_is_answered(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "[", "]", "{", "}", "=", ".", ",", "\n", "\r", "#", "\"", "'", "\"\"\"", "'''", "\\", " ", "a", "1",
                "package", "name", "version", "dependencies", "\u{1b}", "é", "[package]\nname='a'\nversion='1'\n",
            ]),
            0..60,
        ),
    ) {
        if let Err(error) = parse(&pieces.concat()) {
            prop_assert!(!error.to_string().chars().any(char::is_control), "{}", error);
        }
    }
}
