//! Names, links and kinds that must be refused, and with which code. Each test also looks after a
//! victim beside the target.

use std::error::Error as _;
use std::fs;

use porcelain::archive::{Limits, Reason};

use super::Bench;
use super::build::*;

#[track_caller]
fn refused_in_every_way(items: &[Item], code: &str) {
    for (name, bytes) in in_every_way(items) {
        assert_eq!(Bench::new(name, &bytes).refused(), code, "{name}");
    }
}

/// SEC-001, SEC-002, SEC-003, SEC-018: in a tar a NUL ends the name, elsewhere it is refused.
#[test]
fn names_that_are_no_plain_way_downwards_are_refused() {
    for name in [
        "..",
        "../x",
        "../victim/file",
        "a/../../victim/file",
        "/victim/x",
        "//x",
        "C:\\x",
        "\\\\?\\x",
        "a//b",
        "a/./b",
        "a/..",
        "x\ny",
        "x\x1b[2J",
        "a\\..\\..\\x",
    ] {
        refused_in_every_way(&[file(name, "x")], "E-PATH");
        refused_in_every_way(&[file("before", "x"), folder(name)], "E-PATH");
        refused_in_every_way(&[link(name, "x")], "E-PATH");
    }
    for name in [&b"a\0b"[..], b"\xff\xfe", b"", b"a\\b"] {
        let zip = raw_zip(&[ZipItem::new(name, 0o100_644, b"x")]);
        assert_eq!(Bench::new("a.zip", &zip).refused(), "E-PATH", "{name:?}");
    }
    let mut latin = Tar::default();
    latin.put(b"caf\xe9", b'0', 0o644, b"", b"x");
    assert_eq!(Bench::new("a.tar", &latin.end()).refused(), "E-PATH");
}

/// SEC-010.
#[test]
fn control_names_are_refused() {
    for name in
        [".git/config", "a/.GIT/hooks/x", ".pkgs/config", "a/.git. ", ".git::$INDEX_ALLOCATION/x", "git~1"]
    {
        refused_in_every_way(&[file(name, "x")], "E-PATH");
    }
}

/// SEC-001 by the long names of GNU and of pax, which replace what the header says.
#[test]
fn long_names_are_judged_too() {
    let mut gnu = Tar::default();
    gnu.put(b"././@LongLink", b'L', 0o644, b"", b"../victim/file\0");
    gnu.put(b"innocent", b'0', 0o644, b"", b"x");
    let mut pax = Tar::default();
    pax.pax(b'x', &[("path", "../victim/file")]);
    pax.put(b"innocent", b'0', 0o644, b"", b"x");
    let mut target = Tar::default();
    target.pax(b'x', &[("linkpath", "/victim")]);
    target.put(b"link", b'2', 0o644, b"innocent", b"");
    for tar in [gnu, pax, target] {
        assert_eq!(Bench::new("a.tar", &tar.end()).refused(), "E-PATH");
    }
}

/// SEC-004.
#[test]
fn links_that_leave_are_refused() {
    for links in [
        &[("l", "../victim")][..],
        &[("l", "/victim")],
        &[("d/l", "../../victim")],
        &[("s", "."), ("l", "s/s/../victim")],
        &[("d/e/up", "../.."), ("l", "d/e/up/../victim")],
        &[("a", "b"), ("b", "a")],
    ] {
        let links: Vec<_> = links.iter().map(|(name, target)| link(name, target)).collect();
        refused_in_every_way(&links, "E-PATH");
    }
}

/// SEC-005: whatever the order, and whether the link leads inside or outside.
#[test]
fn nothing_is_written_through_a_link() {
    for target in ["../victim", "real"] {
        refused_in_every_way(&[folder("real/"), link("d", target), file("d/file", "x")], "E-PATH");
        refused_in_every_way(&[folder("real/"), link("d", target), folder("d/sub/")], "E-PATH");
        refused_in_every_way(&[folder("real/"), link("d", target), link("d/l", "x")], "E-PATH");
    }
    refused_in_every_way(&[file("f", "x"), file("f/g", "x")], "E-PATH");
}

/// SEC-005: one path, two entries.
#[test]
fn a_path_comes_only_once() {
    for (first, again) in [
        (file("a", "1"), file("a", "2")),
        (file("a", "1"), file("./a", "2")),
        (file("a", "1"), link("a", "b")),
        (file("a", "1"), folder("a/")),
        (link("a", "b"), file("a", "1")),
        (link("a", "b"), folder("a/")),
        (link("a", "b"), link("a", "c")),
        (folder("a/"), file("a", "1")),
        (file("a/b", "1"), file("a", "2")),
    ] {
        for (name, bytes) in in_every_way(&[file("other", "x"), first.clone(), again.clone()]) {
            let error = Bench::new(name, &bytes).unpack().expect_err("it must be refused");
            assert!(matches!(error.reason(), Reason::Duplicate { first: 2, again: 3 }), "{name}: {error:?}");
            assert_eq!(error.code(), "E-FORMAT");
        }
    }
}

/// SEC-011.
#[test]
fn devices_fifos_and_sockets_are_refused() {
    for kind in [b'3', b'4', b'6', b'7' + 1, b'M', b'V'] {
        let mut tar = Tar::default();
        tar.put(b"dev/thing", kind, 0o644, b"", b"");
        let error = Bench::new("a.tar", &tar.end()).unpack().expect_err("it must be refused");
        assert_eq!((error.code(), error.entry()), ("E-FORMAT", Some("dev/thing")));
    }
    for mode in [0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o170_644] {
        let zip = raw_zip(&[ZipItem::new(b"dev/thing", mode, b"")]);
        let error = Bench::new("a.zip", &zip).unpack().expect_err("it must be refused");
        assert_eq!((error.code(), error.entry()), ("E-FORMAT", Some("dev/thing")));
    }
}

#[test]
fn hard_links_need_an_earlier_file_inside() {
    for (target, code) in [
        ("nothing", "E-FORMAT"),
        ("later", "E-FORMAT"),
        ("none/such", "E-FORMAT"),
        ("folder", "E-FORMAT"),
        ("link/..", "E-PATH"),
        ("link/f", "E-PATH"),
        ("f/g", "E-PATH"),
        ("../victim/file", "E-PATH"),
        ("/etc/passwd", "E-PATH"),
    ] {
        let mut tar = Tar::default();
        tar.put(b"f", b'0', 0o644, b"", b"x");
        tar.put(b"folder", b'5', 0o755, b"", b"");
        tar.put(b"link", b'2', 0o777, b"folder", b"");
        tar.put(b"hard", b'1', 0o644, target.as_bytes(), b"");
        tar.put(b"later", b'0', 0o644, b"", b"x");
        assert_eq!(Bench::new("a.tar", &tar.end()).refused(), code, "{target}");
    }
}

/// SEC-006: another process exchanges a folder of the target for a link while it is written to.
#[test]
fn a_folder_exchanged_for_a_link_leads_nowhere() {
    let files: Vec<_> = (0..400).map(|n| file(&format!("d{}/sub/f{n}", n % 2), "x")).collect();
    let bytes = tar(&files);
    for _ in 0..10 {
        let bench = Bench::new("a.tar", &bytes);
        let (folder, bait) = (bench.path("out/d0"), bench.path("victim-link"));
        let is_done = std::sync::atomic::AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::os::unix::fs::symlink("../victim", &bait).expect("a link can be made");
                while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                    let exchange = rustix::fs::RenameFlags::EXCHANGE;
                    let cwd = rustix::fs::CWD;
                    let _ = rustix::fs::renameat_with(cwd, &folder, cwd, &bait, exchange);
                }
            });
            let outcome = porcelain::archive::unpack(&bench.archive, &bench.path("out"), &Limits::default());
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            outcome
        });
        if let Err(error) = outcome {
            assert_eq!(error.code(), "E-PATH", "{error:?}");
        }
        let victim = fs::read_dir(bench.path("victim")).expect("it is there");
        assert_eq!(victim.count(), 1, "something came into the victim");
    }
}

/// SEC-090: names out of archives reach the screen escaped.
#[test]
fn errors_name_archive_entry_and_reason() {
    let error = Bench::new("a.tar", &tar(&[file("a\x1b]52;c;x\x07\u{202e}/../b", "x")]))
        .unpack()
        .expect_err("it is bad");
    let text = error.to_string();
    assert!(
        text.starts_with("cannot unpack \"/")
            && text.contains("a.tar\", entry \"a\\u{1b}]52;c;x\\u{7}\\u{202e}")
    );
    assert!(!text.chars().any(char::is_control));
    let source = error.source().expect("there is a reason").to_string();
    assert_eq!(source, "its path holds a control character");
}
