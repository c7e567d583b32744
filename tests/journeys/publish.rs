//! Publishing: from folders and archives; what is refused; identities.

use crate::fixture::{self, hello, small};
use crate::sandbox::{Person, World, content, snapshot, text};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// Everything of a repository that somebody can see: packs that nothing refers to are left out, and
/// so are locks and the times of folders.
fn visible(repo: &Path) -> BTreeMap<String, (u32, u64, String)> {
    let hidden =
        |path: &str| path.starts_with("objects/") && path != "objects/info/packs" || path.ends_with("lock");
    let all = snapshot(repo).into_iter().filter(|(path, _)| !hidden(path));
    all.map(|(path, at)| (path, (at.mode, at.size, at.content))).collect()
}

#[test]
fn a_folder_with_a_manifest_is_published_and_comes_out_as_it_went_in() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let shown = ada.yes(["show", "hello", "--repo", text(&repo)]);
    assert_eq!(shown["release"]["version"], "1.0.0");
    assert_eq!(shown["release"]["about"]["license"], "MIT");

    ada.ok(["checkout", "hello", "out", "--repo", text(&repo)]);
    assert_eq!(content(&world.path("out")), content(&world.path("hello")));
    ada.is_whole(&repo);
}

/// G-20: the archive has the SHA-256 that was signed.
#[test]
fn the_archive_has_the_digest_that_was_signed() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let signed = ada.yes(["show", "hello", "--repo", text(&repo)])["release"]["sha256"].clone();
    ada.ok(["archive", "hello", "-o", "hello.tar", "--repo", text(&repo)]);
    let summed = std::process::Command::new("sha256sum").arg(world.path("hello.tar")).output().unwrap();
    let digest = String::from_utf8(summed.stdout).unwrap();
    assert_eq!(signed, format!("sha256:{}", digest.split_whitespace().next().unwrap()));
}

#[test]
fn flags_stand_in_for_a_manifest_and_win_over_it() {
    let world = World::new();
    let ada = world.author("ada");
    fs::create_dir(world.path("plain")).unwrap();
    fs::write(world.path("plain/data"), "plain").unwrap();
    let flags = ["--name", "plain", "--version", "0.3.0", "--channel", "nightly"];
    let publish = |from: &str| ada.yes(["publish", from, "--to", "ada.repo"].into_iter().chain(flags));
    let outcome = publish("plain");
    assert_eq!((&outcome["name"], &outcome["version"]), (&"plain".into(), &"0.3.0".into()));
    assert_eq!(outcome["channel"], "nightly");

    hello(&world.path("hello"), "1.0.0");
    let outcome = ada.yes(["publish", "hello", "--to", "ada.repo", "--version", "1.0.1"]);
    assert_eq!((&outcome["name"], &outcome["version"]), (&"hello".into(), &"1.0.1".into()));
}

/// Of a package that is one empty file, nothing is lost.
#[test]
fn an_empty_file_is_a_package() {
    let world = World::new();
    let ada = world.author("ada");
    fs::create_dir(world.path("nothing")).unwrap();
    fs::write(world.path("nothing/empty"), "").unwrap();
    ada.ok(["publish", "nothing", "--name", "nothing", "--version", "1.0.0", "--to", "ada.repo"]);
    ada.is_whole(&ada.repo());
    ada.ok(["checkout", "nothing", "out", "--repo", "ada.repo"]);
    assert_eq!(content(&world.path("out")), content(&world.path("nothing")));
}

/// O2: one file is a package too.
#[test]
fn a_single_file_is_a_package() {
    let world = World::new();
    let ada = world.author("ada");
    fs::write(world.path("model.bin"), fixture::Dice(1).bytes(100_000)).unwrap();
    ada.ok(["publish", "model.bin", "--name", "model", "--version", "1.0.0", "--to", "ada.repo"]);
    ada.ok(["checkout", "model", "out", "--repo", "ada.repo"]);
    let out = content(&world.path("out"));
    assert_eq!(out.keys().collect::<Vec<_>>(), ["model.bin"]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = tar::Builder::new(Vec::new());
    for (path, body) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        out.append_data(&mut header, path, body.as_bytes()).unwrap();
    }
    out.into_inner().unwrap()
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, body) in files {
        out.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        out.write_all(body.as_bytes()).unwrap();
    }
    out.finish().unwrap().into_inner()
}

fn deb(control: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let mut out = ar::Builder::new(Vec::new());
    let control = gzip(&tar(&[("./control", control)]));
    let data = gzip(&tar(files));
    for (name, body) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar.gz", control), ("data.tar.gz", data)]
    {
        out.append(&ar::Header::new(name.into(), body.len() as u64), body.as_slice()).unwrap();
    }
    out.into_inner().unwrap()
}

/// Each archive is unpacked, and tells its own name and version where its kind has them.
#[test]
fn archives_are_unpacked_and_tell_name_and_version() {
    let world = World::new();
    let ada = world.author("ada");
    let whl = zip(&[
        ("some_wheel/__init__.py", "x = 1\n"),
        ("some_wheel-1.2.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-wheel\nVersion: 1.2.3\n"),
        ("some_wheel-1.2.3.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n"),
        ("some_wheel-1.2.3.dist-info/RECORD", ""),
    ]);
    let tgz = gzip(&tar(&[
        ("package/package.json", "{\"name\": \"@scope/lib\", \"version\": \"4.5.6\", \"license\": \"MIT\"}"),
        ("package/index.js", "module.exports = 1\n"),
    ]));
    let krate = gzip(&tar(&[
        ("thing-0.2.0/Cargo.toml", "[package]\nname = \"thing\"\nversion = \"0.2.0\"\nedition = \"2021\"\n"),
        ("thing-0.2.0/src/lib.rs", "//! Thing.\n"),
    ]));
    let control =
        "Package: tool\nVersion: 1.0.7\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: a tool\n";
    let deb = deb(control, &[("./usr/bin/tool", "#!/bin/sh\n")]);
    let told = [
        ("some_wheel-1.2.3-py3-none-any.whl", whl, "some-wheel", "1.2.3", "some_wheel/__init__.py"),
        ("scope-lib-4.5.6.tgz", tgz, "scope/lib", "4.5.6", "index.js"),
        ("thing-0.2.0.crate", krate, "thing", "0.2.0", "src/lib.rs"),
        ("tool_1.0.7_all.deb", deb, "tool", "1.0.7", "usr/bin/tool"),
    ];
    for (file, bytes, name, version, inside) in told {
        fs::write(world.path(file), bytes).unwrap();
        let outcome = ada.yes(["publish", file, "--to", "ada.repo"]);
        assert_eq!((outcome["name"].as_str(), outcome["version"].as_str()), (Some(name), Some(version)));
        assert!(
            ada.ok(["ls-tree", "-r", "--name-only", &format!("{name}@={version}"), "--repo", "ada.repo"])
                .contains(inside),
            "{file}"
        );
    }
    let files = [("data/a.txt", "a"), ("data/b.txt", "b")];
    let mut zst = vec![0; 4096];
    let n = zstd_safe::compress(&mut zst[..], &tar(&files), 3).unwrap();
    for (file, bytes) in [("plain.zip", zip(&files)), ("plain.tar.zst", zst[..n].to_vec())] {
        fs::write(world.path(file), bytes).unwrap();
        let version = format!("1.0.{}", file.len());
        ada.ok(["publish", file, "--name", "plain", "--version", &version, "--to", "ada.repo"]);
        let spec = format!("plain#{version}");
        let listed = ada.ok(["ls-tree", "-r", "--name-only", &spec, "--repo", "ada.repo"]);
        assert_eq!(listed.lines().filter(|line| line.ends_with(".txt")).count(), 2, "{file}: {listed}");
    }
}

/// What cannot be published: each with its code, and nothing to be seen of it afterwards.
#[test]
fn wrong_inputs_are_refused_with_a_code_and_change_nothing() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let make = |name: &str| {
        let folder = world.path(name);
        small(&folder, "other", "1.0.0", "");
        folder
    };
    fs::create_dir(world.path("nameless")).unwrap();
    fs::write(make("malformed").join("pkg.toml"), "[package]\nname = \"other\"\nversion = 7\n").unwrap();
    fs::write(
        make("unknown-key").join("pkg.toml"),
        "[package]\nname = \"other\"\nversion = \"1.0.0\"\nlicence = \"MIT\"\n",
    )
    .unwrap();
    hello(&world.path("changed"), "1.0.0");
    fs::write(world.path("changed/greeting.txt"), "something else").unwrap();
    let fifo = make("fifo").join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    fs::write(make("reserved").join("nul.txt"), "").unwrap();
    let case = make("case");
    for name in ["Readme", "README"] {
        fs::write(case.join(name), "").unwrap();
    }
    fs::write(make("control").join("a\u{1b}[31m"), "").unwrap();
    symlink("../../etc/passwd", make("link-out").join("link")).unwrap();
    symlink("/etc/passwd", make("link-absolute").join("link")).unwrap();
    fs::create_dir(make("git").join(".git")).unwrap();
    fs::create_dir(make("pkgs").join(".PKGS")).unwrap();
    fs::write(world.path("broken.tgz"), &gzip(&tar(&[("package/package.json", "{}")]))[..20]).unwrap();

    let before = visible(&repo);
    let cases = [
        ("nameless", "E-USAGE", "no name"),
        ("absent", "E-NOTFOUND", "absent"),
        ("malformed", "E-FORMAT", "3"),
        ("unknown-key", "E-FORMAT", "licence"),
        ("changed", "E-CONFLICT", "hello 1.0.0"),
        ("fifo", "E-FORMAT", "pipe"),
        ("reserved", "E-PATH", "nul.txt"),
        ("case", "E-PATH", "portable"),
        ("control", "E-PATH", "31m"),
        ("link-out", "E-PATH", "link"),
        ("link-absolute", "E-PATH", "link"),
        ("broken.tgz", "E-FORMAT", "broken.tgz"),
    ];
    for (from, code, word) in cases {
        let failure = ada.no(["publish", from, "--to", "ada.repo"], code);
        assert!(failure.message.contains(word), "{from}: {failure:?}");
        assert_eq!(visible(&repo), before, "{from}");
    }
    ada.is_whole(&repo);
}

/// SEC-010: control folders never get into a package: what names one is left out or refused.
#[test]
fn control_folders_do_not_get_into_a_package() {
    let world = World::new();
    let ada = world.author("ada");
    for (n, name) in [".git", ".pkgs", ".PKGS", ".Git"].into_iter().enumerate() {
        let folder = world.path(format!("{n}"));
        small(&folder, "other", &format!("1.0.{n}"), "");
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("config"), "[core]").unwrap();
        let run = ada.run(["publish", &n.to_string(), "--to", "ada.repo", "--json"]);
        if run.code == Some(0) {
            let listed = ada.ok([
                "ls-tree",
                "-r",
                "--name-only",
                run.json()["tree"].as_str().unwrap(),
                "--repo",
                "ada.repo",
            ]);
            assert!(!listed.to_lowercase().contains(&name.to_lowercase()), "{listed}");
        } else {
            assert_eq!(run.failure().code, "E-PATH");
        }
    }
}

/// SEC-009: who insists gets an unportable name, and the release says so.
#[test]
fn unportable_names_are_taken_on_request_and_marked() {
    let world = World::new();
    let ada = world.author("ada");
    small(&world.path("odd"), "odd", "1.0.0", "");
    fs::write(world.path("odd/CON"), "").unwrap();
    ada.ok(["publish", "odd", "--to", "ada.repo", "--allow-unportable"]);
    let shown = ada.yes(["show", "odd", "--repo", "ada.repo"]);
    assert_eq!(shown["release"]["unportable"], true);
}

#[test]
fn publishing_the_same_again_does_nothing() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let before = visible(&repo);
    let again = ada.publish(&world.path("hello"));
    assert_eq!((&again["unchanged"], &again["new_objects"]), (&true.into(), &0.into()));
    assert_eq!(visible(&repo), before);
}

#[test]
fn a_dry_run_measures_and_shows_nothing() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    hello(&world.path("hello"), "1.1.0");
    let before = visible(&repo);
    let dry = ada.yes(["publish", "hello", "--to", "ada.repo", "--dry-run"]);
    assert!(dry["entry"].is_null() && dry["index"].is_null(), "{dry}");
    assert!(dry["new_objects"].as_u64().unwrap() > 0, "{dry}");
    assert_eq!(visible(&repo), before);
    let real = ada.publish(&world.path("hello"));
    assert_eq!((&real["tree"], &real["size"]), (&dry["tree"], &dry["size"]));
}

/// REL-042: who works from a restored backup is told of the newer entry, and signs nothing.
#[test]
fn a_restored_backup_does_not_fork_its_own_log() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    crate::sandbox::copy(&repo, &world.path("backup"));
    hello(&world.path("hello"), "1.1.0");
    let newer = ada.publish(&world.path("hello"));

    fs::rename(&repo, world.path("lost")).unwrap();
    fs::rename(world.path("backup"), &repo).unwrap();
    let before = visible(&repo);
    hello(&world.path("hello"), "1.2.0");
    let failure = ada.no(["publish", "hello", "--to", "ada.repo"], "E-CONFLICT");
    let head = newer["entry"].as_str().unwrap().trim_start_matches("blake3:");
    assert!(failure.message.contains(&head[..16]), "{failure:?}");
    assert_eq!(visible(&repo), before);
}

/// SEC-140: an encrypted key needs its passphrase.
#[test]
fn an_encrypted_key_signs_with_its_passphrase_only() {
    let world = World::new();
    let ada = world.user("ada");
    fs::write(world.path("secret"), "correct horse\n").unwrap();
    fs::write(world.path("wrong"), "battery staple\n").unwrap();
    for file in ["secret", "wrong"] {
        fs::set_permissions(world.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
    ada.ok(["id", "new", "ada", "--passphrase-file", "secret"]);
    ada.ok(["init", "--bare", "ada.repo"]);
    hello(&world.path("hello"), "1.0.0");
    let publish = |who: &Person| who.run(["publish", "hello", "--to", "ada.repo", "--json"]);
    let hinted = |who: &Person, what: &str| {
        let failure = publish(who).failure();
        assert_eq!(failure.code, "E-KEYPERM");
        assert!(failure.hints[0].contains(what) && !failure.hints[0].contains("chmod"), "{failure:?}");
    };
    hinted(&ada, "at a terminal");
    hinted(&ada.with("PKG_PASSPHRASE_FILE", "wrong"), "try again");
    hinted(&ada.with("PKG_PASSPHRASE_FILE", "absent"), "at a terminal");
    assert!(!ada.repo().join("summary").exists());
    let run = publish(&ada.with("PKG_PASSPHRASE_FILE", "secret"));
    assert_eq!(run.code, Some(0), "{run:?}");
}

/// SEC-140: a key that others can read is refused; keys are made for their owner alone.
#[test]
fn a_key_that_others_can_read_is_refused() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let keys = ada.home.join("pkg/keys");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    let key =
        fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_file()).unwrap();
    assert_eq!(mode(&key), 0o600);

    hello(&world.path("hello"), "1.1.0");
    let before = visible(&repo);
    let cases = [(&key, 0o644, 0o600), (&keys, 0o777, 0o700)];
    for (path, open, shut) in cases {
        fs::set_permissions(path, fs::Permissions::from_mode(open)).unwrap();
        let failure = ada.no(["publish", "hello", "--to", "ada.repo"], "E-KEYPERM");
        assert!(failure.hints.iter().any(|hint| hint.contains("chmod")), "{failure:?}");
        fs::set_permissions(path, fs::Permissions::from_mode(shut)).unwrap();
    }
    assert_eq!(visible(&repo), before);
    ada.publish(&world.path("hello"));
}

/// Somebody else's repository takes nothing, and somebody without an identity gets one.
#[test]
fn a_repository_belongs_to_whoever_published_first() {
    let world = World::new();
    let (_, repo) = world.with_hello();
    let mallory = world.user("mallory");
    mallory.ok(["id", "new", "mallory"]);
    let before = visible(&repo);
    hello(&world.path("hello"), "6.6.6");
    let failure = mallory.no(["publish", "hello", "--to", "ada.repo"], "E-SCOPE");
    assert!(failure.message.contains("mallory"), "{failure:?}");
    assert_eq!(visible(&repo), before);

    let bob = world.user("bob");
    bob.ok(["init", "--bare", "bob.repo"]);
    let outcome = bob.publish(&world.path("hello"));
    assert_eq!(outcome["new_identity"], "me");
}
