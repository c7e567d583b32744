//! SEC-035: every decoder over every kept input, and over some thousand changed ones (a hundred times
//! as many with `PKG_LONG_TESTS=1`).
//!
//! `PKG_UPDATE_FIXTURES=1` writes the good examples below `fuzz/corpus` anew.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use crate::archive::build::{self, file, folder as folder_item, link, program};
use objects::id::{GrantId, IdentityId, ObjectId, StatementId, TreeId};
use objects::key::Signer as _;
use objects::release::Sha256;
use objects::testing::{Author, memory, smoke};
use objects::time::Timestamp;
use porcelain::env::{
    Generation, Installed, LockedIdentity, LockedPackage, LockedRepository, Lockfile, WANTED_FILE,
};
use porcelain::testing::fuzz::{TARGETS, facts_tree};
use std::path::{Path, PathBuf};

/// Changed inputs of each target.
const TRIES: u64 = 2_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// SEC-033, 035, 077: no panic, no stack that overflows, bounded memory, and the laws of each decoder.
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

fn id(text: &str) -> ObjectId {
    ObjectId::of(text.as_bytes())
}

const MANIFEST: &str = r#"
[package]
name = "web/ui"
version = "1.2.0-rc.1"
epoch = 2
revision = 3
channel = "nightly"
description = "Windows and doors"
license = "MIT"
homepage = "https://pkg.example/"
authors = [{ name = "Ada", email = "ada@pkg.example" }]
categories = ["text"]
tags = ["ui", "web"]
media = "text/html"
requires-pkg = ">=0.1"

[dependencies]
words = "^1.2"
dict = { version = ">0.1.2<0.2", owner = "id:00", channel = "nightly", optional = true }

[conflicts]
old-dict = "*"

[variants]
linux-x86_64 = "build/linux"

[scripts]
post-install = "scripts/after.sh"
"#;

fn nested(levels: usize) -> String {
    let names = vec!["a"; 80].join(".");
    format!("{}{}", format!("{names} = {{ ").repeat(levels), "}".repeat(levels))
}

/// A file of one document.
fn carried() -> Vec<u8> {
    let one = Author::new(1).identity().envelope().encode();
    [b"pkgstatements1\n".as_slice(), &u32::try_from(one.len()).unwrap().to_le_bytes(), &one].concat()
}

fn settings() -> Seeds {
    let text = |target, name, text: &str| (target, name, text.as_bytes().to_vec());
    let author = Author::new(1);
    let own = format!(
        "[[identity]]\nname = \"ada\"\nid = \"{}\"\nkey = \"{}\"\n",
        author.id(),
        author.key().public()
    );
    let (id, key) = (author.id(), author.key().public());
    let keys = format!(
        "[[identity]]\nname = \"ada\"\nid = \"{id}\"\n\n[[key]]\nfile = \"ada-2\"\nkey = \"{key}\"\n"
    );
    let user = "identity = \"ada\"\njobs = 4\nfreshness = \"warn\"\nmax-stale = \"90d\"\nmin-age = \"7d\"\n\
                [net]\nrelays = [\"https://relay.example/\"]\nca-file = \"/etc/own.pem\"\n";
    vec![
        text("manifest", "full", MANIFEST),
        text("manifest", "small", "[package]\nname = \"words\"\nversion = \"1.0.0\"\n"),
        text("manifest", "deep", &nested(80)),
        text("user_settings", "full", user),
        text("user_settings", "deep", &nested(80)),
        text("identities", "one", &own),
        text("identities", "deep", &nested(80)),
        text("identities", "keys", &keys),
        ("carried", "first", carried()),
        text("mirror_origin", "web", "origin = \"https://pkg.example/\"\n"),
        text("mirror_origin", "deep", &nested(80)),
        text("duration", "days", "90d"),
        text("duration", "weeks", "18446744073709551615w"),
    ]
}

fn installed(name: &str, version: &str) -> Installed {
    Installed {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        channel: "nightly".parse().unwrap(),
        owner: IdentityId::new(id("owner")),
        entry: StatementId::new(id("entry")),
        signer: IdentityId::new(id("owner")),
        signer_n: 3,
        tree: TreeId::new(id("tree")),
        sha256: Sha256([7; 32]),
        size: 12,
        files: 2,
        media: Some("text/plain".into()),
        requested: true,
        dependencies: vec!["words".parse().unwrap()],
        beside: true,
    }
}

fn locked() -> Lockfile {
    let owner = IdentityId::new(id("owner"));
    let Installed { name, version, channel, entry, tree, .. } = installed("web/ui", "2!1.4.0-rc.1~3");
    let package = LockedPackage {
        name,
        version,
        channel,
        owner,
        entry,
        tree,
        signer: owner,
        signer_n: 3,
        grants: vec![GrantId::new(id("grant"))],
        beside: true,
    };
    let repository =
        LockedRepository { owner, name: "ma\"in".into(), index_n: 12, index: StatementId::new(id("index")) };
    let identity = LockedIdentity { id: owner, n: 3, head: StatementId::new(id("head")) };
    Lockfile::new(vec![repository], vec![identity], vec![package])
}

fn environments() -> Seeds {
    let text = |target, name, text: &str| (target, name, text.as_bytes().to_vec());
    let owner = format!("id:{}", id("owner").to_hex());
    let wanted = format!(
        "# what is wanted\n[environment]\nchannel = \"nightly\"\nsources = [\"../mirror\"]\nparent = \"..\"\n\n\
         [packages]\nwords = \"^1.2\" # plain\n\"web/ui\" = {{ version = \"*\", owner = \"{owner}\", \
         channel = \"nightly\", optional = [\"dict\"], beside = [\"=1.0.0\"] }}\n"
    );
    let binding = format!(
        "format = 1\n\n[binding]\nsource = \"https://pkg.example/\"\n\n\
         [binding.repository]\nowner = \"{owner}\"\nname = \"main\"\n"
    );
    let generation = Generation {
        number: 0,
        when: Timestamp::new(Author::NOW).unwrap(),
        why: "add words".into(),
        packages: vec![installed("words", "1.2.3"), installed("web/ui", "2!1.4.0-rc.1~3")],
    };
    let facts = format!(
        "{{\"name\":\"dict\",\"tree\":\"{}\",\"sha256\":\"sha256:{}\",\"size\":12,\"files\":2,\"releases\":\
         [{{\"version\":\"1.0.0\",\"owner\":\"{}\",\"entry\":\"{}\",\"media\":\"text/plain\"}}]}}\n",
        facts_tree(),
        "07".repeat(32),
        id("owner"),
        id("entry"),
    );
    let journal = format!(
        "{{\"links\":[{{\"link\":\"old\"}},{{\"link\":\"web/ui#nightly:1.0.0\",\"tree\":\"{}\"}}],\"index_db\":null,\
         \"wanted\":{{\"file\":\"staged\",\"over\":null}},\"lockfile\":\"staged\",\"head\":0}}",
        id("tree"),
    );
    vec![
        text("lockfile", "full", &locked().to_string()),
        text("lockfile", "empty", &Lockfile::default().to_string()),
        text("link_name", "plain", "web/ui"),
        text("link_name", "beside", "web/ui#nightly:1.0.3-rc.1+linux~2"),
        text("wanted", WANTED_FILE, &wanted),
        text("wanted", "inline", "environment = { channel = \"nightly\" }\npackages.words = \"1\"\n"),
        text("binding", "pinned", &binding),
        text("binding", "newer", "format = 2\n"),
        text("head", "first", "0\n"),
        ("generation", "two", serde_json::to_vec_pretty(&generation).unwrap()),
        text("facts", "one", &facts),
        text("journal", "all", &journal),
        text(
            "journal",
            "nothing",
            "{\"links\":[],\"index_db\":null,\"wanted\":null,\"lockfile\":null,\"head\":null}",
        ),
    ]
}

fn archives() -> Seeds {
    let items = [
        folder_item("d"),
        file("d/README", "hello\n"),
        program("d/run", "#!/bin/sh\n"),
        link("d/l", "README"),
    ];
    let tar = build::tar(&items);
    let mut pax = build::Tar::default();
    pax.pax(b'x', &[("path", "a long name"), ("size", "6")]);
    pax.put(b"short", b'0', 0o644, b"", b"hello\n");
    pax.put(b"again", b'1', 0o644, b"a long name", b"");
    let npm = build::tar(&[file("package/package.json", "{\"name\":\"ui\",\"version\":\"1.0.0\"}")]);
    let cargo = build::tar(&[file("a-1.0.0/Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.0.0\"\n")]);
    let wheel = build::zip(&[
        file("a/__init__.py", ""),
        file("a-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: a\nVersion: 1.0\n\nWords.\n"),
    ]);
    let named = |name: u8, bytes: &[u8]| [&[name], bytes].concat();
    vec![
        ("archive", "tar", named(0, &tar)),
        ("archive", "pax", named(0, &pax.end())),
        ("archive", "npm", named(1, &build::gzip(&npm))),
        ("archive", "wheel", named(2, &wheel)),
        ("archive", "zip", named(3, &build::zip(&items))),
        ("archive", "deb", named(4, &build::deb("data.tar.xz", &build::xz(&tar)))),
        ("archive", "crate", named(5, &build::gzip(&cargo))),
        ("archive", "xz", named(6, &build::xz(&tar))),
        ("archive", "zst", named(7, &build::zstd(&tar))),
    ]
}

/// The good examples are kept, and kept as files: who fuzzes needs nothing else.
#[test]
fn good_examples_are_kept() {
    let update = std::env::var_os("PKG_UPDATE_FIXTURES").is_some();
    for (target, name, bytes) in [settings(), environments(), archives()].concat() {
        let path = folder().join("corpus").join(target).join(name);
        if update {
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(path.exists(), "{} is not kept", path.display());
    }
}
