//! The rules of the house that a machine can check (STYLE 2).

use crate::sandbox::walk;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a file: past it, look for the second subject.
const LINES_MAX: usize = 600;
/// Files that are past it, with the lines they may have until they are parted. It only shrinks.
const OVERDUE: [(&str, usize); 1] = [("porcelain/src/install.rs", 850)];

/// Every file of the repository with this ending, its path inside, and its text.
fn files(ending: &str) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for folder in ["src", "tests", "objects", "plumbing", "porcelain", "docs", "benches", "fuzz"] {
        let folder = root.join(folder);
        if !folder.exists() {
            continue;
        }
        walk(&folder, &mut |path, meta| {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            if meta.is_file() && name.ends_with(ending) && !name.contains("/target/") {
                found.insert(name, fs::read_to_string(path).unwrap());
            }
        });
    }
    found
}

#[test]
fn every_file_opens_with_what_lives_there() {
    for (name, text) in files(".rs") {
        let first = text.lines().find(|line| !line.starts_with("#!["));
        assert!(first.is_some_and(|line| line.starts_with("//! ")), "{name} does not open with `//! …`");
    }
}

#[test]
fn no_file_is_too_long() {
    for (name, text) in files(".rs") {
        let most =
            OVERDUE.iter().find(|(overdue, _)| *overdue == name).map_or(LINES_MAX, |(_, lines)| *lines);
        let lines = text.lines().count();
        assert!(lines <= most, "{name} has {lines} lines, more than {most}: look for its second subject");
    }
}

#[test]
fn nothing_is_left_to_be_done_by_a_macro() {
    let macros = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    for (name, text) in files(".rs") {
        for banned in &macros {
            assert!(!text.contains(banned.as_str()), "{name} holds {banned}…)");
        }
    }
}

/// objects ← plumbing ← porcelain ← the binary, and no other way.
#[test]
fn arrows_go_one_way() {
    let above: [(&str, &[&str]); 3] = [
        ("objects", &["plumbing", "porcelain", "pkg"]),
        ("plumbing", &["porcelain", "pkg"]),
        ("porcelain", &["pkg"]),
    ];
    for (lower, uppers) in above {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let manifest = fs::read_to_string(root.join(lower).join("Cargo.toml")).unwrap();
        let mut texts = files(".rs");
        texts.retain(|name, _| name.starts_with(&format!("{lower}/")));
        for upper in uppers {
            let depends =
                |line: &str| line.split(['.', ' ', '=']).next() == Some(*upper) && !line.starts_with('#');
            assert!(!manifest.lines().any(depends), "{lower} depends on {upper}");
            for (name, text) in &texts {
                let uses = [format!("use {upper}::"), format!(" {upper}::"), format!("({upper}::")];
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                for line in code {
                    assert!(
                        !uses.iter().any(|used| line.contains(used.as_str())),
                        "{name} uses {upper}: {line}"
                    );
                }
            }
        }
    }
}

/// STYLE 38: one test binary a crate, and no file of it forgotten.
#[test]
fn no_test_file_is_forgotten() {
    let all = files(".rs");
    for (main, text) in all.iter().filter(|(name, _)| is_test_root(name)) {
        let folder = main.trim_end_matches("main.rs");
        for name in all.keys().filter(|name| name.starts_with(folder) && *name != main) {
            let inside = &name[folder.len()..];
            let (holder, stem) = match inside.rsplit_once('/') {
                None => (text.clone(), inside.trim_end_matches(".rs")),
                Some((parent, "mod.rs")) => (text.clone(), parent),
                Some((parent, file)) => (parent_text(&all, folder, parent), file.trim_end_matches(".rs")),
            };
            assert!(holder.contains(&format!("mod {stem};")), "{name} is no part of {main}");
        }
    }
}

fn is_test_root(name: &str) -> bool {
    name.ends_with("tests/it/main.rs") || name == "tests/journeys/main.rs"
}

fn parent_text(all: &BTreeMap<String, String>, folder: &str, parent: &str) -> String {
    let places = [format!("{folder}{parent}.rs"), format!("{folder}{parent}/mod.rs")];
    places.iter().find_map(|place| all.get(place)).cloned().unwrap_or_default()
}

/// Links between pages lead to files that are there.
#[test]
fn links_in_the_documents_lead_somewhere() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (name, text) in files(".md") {
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains(':') || target.contains(' ') {
                continue;
            }
            let path = root.join(&name).parent().unwrap().join(target);
            assert!(path.exists(), "{name} links to {target}, which is not there");
        }
    }
}

/// The tables of attacks name tests that exist: a word in backticks with two `_` and no other sign is one.
#[test]
fn tests_that_the_documents_name_exist() {
    let code = files(".rs");
    let is_name = |word: &&str| {
        let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        plain && word.bytes().filter(|b| *b == b'_').count() >= 2
    };
    for document in ["docs/TRUST.md", "docs/TUF.md"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(document)).unwrap();
        let tables: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        let names: Vec<&str> =
            tables.iter().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(is_name).collect();
        assert!(names.len() > 50, "{document} names {} tests", names.len());
        for name in names {
            let head = format!("fn {name}(");
            assert!(
                code.values().any(|text| text.contains(&head)),
                "{document} names {name}, which is no test"
            );
        }
    }
}
