//! What must be refused, and with which code. Each test also looks after a victim beside the
//! target.

use std::error::Error as _;
use std::fs;

use porcelain::archive::{Limits, Reason};

use super::Bench;
use super::build::*;

/// The same entries as tar, as tar in gzip, as the data of a deb, and as zip.
fn in_every_way(items: &[Item]) -> Vec<(&'static str, Vec<u8>)> {
    let tar = tar(items);
    let zipped = items.iter().map(|item| match item {
        Item::File(name, mode, content) => ZipItem::new(name.as_bytes(), 0o100_000 | mode, content),
        Item::Folder(name) => ZipItem::new(name.as_bytes(), 0o040_755, b""),
        Item::Link(name, target) => ZipItem::new(name.as_bytes(), 0o120_777, target.as_bytes()),
    });
    let zip = raw_zip(&zipped.collect::<Vec<_>>());
    vec![
        ("a.tar", tar.clone()),
        ("a.tgz", gzip(&tar)),
        ("a.deb", deb("data.tar.xz", &xz(&tar))),
        ("a.zip", zip),
    ]
}

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
    for name in [
        ".git/config",
        "a/.GIT/hooks/x",
        ".pkgs/config",
        "a/.git. ",
        ".git::$INDEX_ALLOCATION/x",
        "git~1",
    ] {
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
        let links: Vec<_> = links
            .iter()
            .map(|(name, target)| link(name, target))
            .collect();
        refused_in_every_way(&links, "E-PATH");
    }
}

/// SEC-005: whatever the order, and whether the link leads inside or outside.
#[test]
fn nothing_is_written_through_a_link() {
    for target in ["../victim", "real"] {
        refused_in_every_way(
            &[folder("real/"), link("d", target), file("d/file", "x")],
            "E-PATH",
        );
        refused_in_every_way(
            &[folder("real/"), link("d", target), folder("d/sub/")],
            "E-PATH",
        );
        refused_in_every_way(
            &[folder("real/"), link("d", target), link("d/l", "x")],
            "E-PATH",
        );
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
            let error = Bench::new(name, &bytes)
                .unpack()
                .expect_err("it must be refused");
            assert!(
                matches!(error.reason(), Reason::Duplicate { first: 2, again: 3 }),
                "{name}: {error:?}"
            );
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
        let error = Bench::new("a.tar", &tar.end())
            .unpack()
            .expect_err("it must be refused");
        assert_eq!(
            (error.code(), error.entry()),
            ("E-FORMAT", Some("dev/thing"))
        );
    }
    for mode in [0o010_644, 0o020_644, 0o060_644, 0o140_644, 0o170_644] {
        let zip = raw_zip(&[ZipItem::new(b"dev/thing", mode, b"")]);
        let error = Bench::new("a.zip", &zip)
            .unpack()
            .expect_err("it must be refused");
        assert_eq!(
            (error.code(), error.entry()),
            ("E-FORMAT", Some("dev/thing"))
        );
    }
}

#[test]
fn hard_links_need_an_earlier_file_inside() {
    for (target, code) in [
        ("nothing", "E-FORMAT"),
        ("later", "E-FORMAT"),
        ("none/such", "E-FORMAT"),
        ("folder", "E-FORMAT"),
        ("link", "E-FORMAT"),
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

#[test]
fn hard_links_count_as_what_they_copy() {
    let mut tar = Tar::default();
    tar.put(b"f", b'0', 0o644, b"", &[b'x'; 1000]);
    for n in 0..9 {
        tar.put(format!("h{n}").as_bytes(), b'1', 0o644, b"f", b"");
    }
    let bytes = tar.end();
    let within = |bytes_max| Limits {
        bytes: bytes_max,
        ..Limits::default()
    };
    let error = Bench::new("a.tar", &bytes)
        .unpack_within(&within(9_999))
        .expect_err("it must be refused");
    assert_eq!((error.code(), error.entry()), ("E-LIMIT", Some("h8")));
    Bench::new("a.tar", &bytes)
        .unpack_within(&within(10_000))
        .expect("that is just enough");
}

#[test]
fn limits_hold_in_every_format() {
    let default = Limits::default();
    let items = [file("a/b/c", "12345"), file("d", "67890")];
    for (limits, is_enough) in [
        (
            Limits {
                bytes: 10,
                ..default
            },
            true,
        ),
        (
            Limits {
                bytes: 9,
                ..default
            },
            false,
        ),
        // Two files and two folders that are only implied.
        (
            Limits {
                files: 4,
                ..default
            },
            true,
        ),
        (
            Limits {
                files: 3,
                ..default
            },
            false,
        ),
        (
            Limits {
                levels: 3,
                ..default
            },
            true,
        ),
        (
            Limits {
                levels: 2,
                ..default
            },
            false,
        ),
        (
            Limits {
                path_bytes: 5,
                ..default
            },
            true,
        ),
        (
            Limits {
                path_bytes: 4,
                ..default
            },
            false,
        ),
    ] {
        for (name, bytes) in in_every_way(&items) {
            let result = Bench::new(name, &bytes).unpack_within(&limits);
            assert_eq!(
                result.map(drop).map_err(|error| error.code()),
                if is_enough { Ok(()) } else { Err("E-LIMIT") }
            );
        }
    }
}

/// SEC-015.
#[test]
fn deep_nesting_is_refused() {
    let deep = "d/".repeat(2000) + "f";
    let mut tar = Tar::default();
    tar.pax(b'x', &[("path", &deep)]);
    tar.put(b"f", b'0', 0o644, b"", b"x");
    assert_eq!(Bench::new("a.tar", &tar.end()).refused(), "E-LIMIT");
    let zip = raw_zip(&[ZipItem::new(deep.as_bytes(), 0o100_644, b"x")]);
    assert_eq!(Bench::new("a.zip", &zip).refused(), "E-LIMIT");
}

/// SEC-023: a little gzip that is a lot of zeros, as content, as a name, and behind the end.
#[test]
fn compression_bombs_stop_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    let limits = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    let mut content = Tar::default();
    content.put(b"f", b'0', 0o644, b"", &zeros);
    let mut name = Tar::default();
    name.put(b"././@LongLink", b'L', 0o644, b"", &zeros);
    let mut pax = Tar::default();
    pax.put(b"pax", b'x', 0o644, b"", &zeros);
    let mut global = Tar::default();
    global.put(b"pax", b'g', 0o644, b"", &zeros);
    let mut behind = Tar::default();
    behind.put(b"f", b'0', 0o644, b"", b"x");
    behind.0.extend(&zeros);
    for tar in [content, name, pax, global, behind] {
        let error = Bench::new("a.tar.zst", &zstd(&tar.0))
            .unpack_within(&limits)
            .expect_err("it must be refused");
        assert_eq!(error.code(), "E-LIMIT", "{error:?}");
    }
    let bomb = zip(&[Item::File("f".into(), 0o644, zeros)]);
    let error = Bench::new("a.zip", &bomb)
        .unpack_within(&limits)
        .expect_err("it must be refused");
    assert_eq!(error.code(), "E-LIMIT");
}

/// SEC-025.
#[test]
fn sizes_that_lie_are_refused() {
    for size in [0, 4, 6, 1 << 20, u32::MAX - 1] {
        let zip = raw_zip(&[ZipItem {
            size,
            ..ZipItem::new(b"f", 0o100_644, b"12345")
        }]);
        assert_eq!(Bench::new("a.zip", &zip).refused(), "E-FORMAT", "{size}");
    }
    for (kind, size) in [
        (b'0', 10_000),
        (b'5', 10_000),
        (b'2', 3),
        (b'1', 3),
        (b'0', (1 << 33) - 1),
    ] {
        let mut tar = Tar::default();
        tar.header(b"f", kind, 0o644, b"x", size);
        tar.0.extend(b"12345");
        assert_eq!(
            Bench::new("a.tar", &tar.end()).refused(),
            "E-FORMAT",
            "{size}"
        );
    }
}

/// What readers would disagree about.
#[test]
fn pax_headers_that_can_be_read_in_two_ways_are_refused() {
    for records in [
        &[("path", "a"), ("path", "b")][..],
        &[("size", "2")],
        &[("size", "x")],
        &[("comment", "a\n11 path=b")],
        &[("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")],
    ] {
        let mut tar = Tar::default();
        tar.pax(b'x', records);
        tar.put(b"f", b'0', 0o644, b"", b"x");
        assert_eq!(
            Bench::new("a.tar", &tar.end()).refused(),
            "E-FORMAT",
            "{records:?}"
        );
    }
    let mut global = Tar::default();
    global.pax(b'g', &[("path", "everything")]);
    global.put(b"f", b'0', 0o644, b"", b"x");
    assert_eq!(Bench::new("a.tar", &global.end()).refused(), "E-FORMAT");
}

#[test]
fn zip_headers_that_disagree_are_refused() {
    let good = ZipItem::new(b"good", 0o100_644, b"x");
    for item in [
        ZipItem {
            local_name: b"evil".to_vec(),
            ..good.clone()
        },
        ZipItem {
            method: 12,
            ..good.clone()
        },
        ZipItem {
            flags: 1,
            ..good.clone()
        },
        ZipItem {
            name: b"good/".to_vec(),
            local_name: b"good/".to_vec(),
            ..good.clone()
        },
    ] {
        assert_eq!(Bench::new("a.zip", &raw_zip(&[item])).refused(), "E-FORMAT");
    }
}

/// SEC-033.
#[test]
fn a_second_archive_behind_the_first_is_refused() {
    let (first, second) = (tar(&[file("a", "1")]), tar(&[file("b", "2")]));
    assert_eq!(
        Bench::new("a.tar", &[first.clone(), second.clone()].concat()).refused(),
        "E-FORMAT"
    );
    for pack in [gzip, xz, zstd] {
        assert_eq!(
            Bench::new("a", &[pack(&first), pack(&second)].concat()).refused(),
            "E-FORMAT"
        );
        assert_eq!(
            Bench::new("a", &[&pack(&first)[..], b"rubbish"].concat()).refused(),
            "E-FORMAT"
        );
    }
    for second in [zip(&[file("b", "2")]), zip(&[file("longer", "content")])] {
        let both = [zip(&[file("a", "1")]), second].concat();
        assert_eq!(Bench::new("a.zip", &both).refused(), "E-FORMAT");
        assert_eq!(
            Bench::new("a.zip", &[&both[..], b"rubbish"].concat()).refused(),
            "E-FORMAT"
        );
    }
}

#[test]
fn debs_have_their_parts_in_order() {
    let control = gzip(&tar(&[file("control", CONTROL)]));
    let data = gzip(&tar(&[file("f", "x")]));
    let (version, control, data) = (
        ("debian-binary", &b"2.0\n"[..]),
        ("control.tar.gz", &control[..]),
        ("data.tar.gz", &data[..]),
    );
    Bench::new(
        "a.deb",
        &ar(&[version, control, data, ("_gpgorigin", b"x")]),
    )
    .unpack()
    .expect("it is a good one");
    for parts in [
        &[version, data, control][..],
        &[version, control],
        &[control, data],
        &[version, control, data, data],
        &[version, control, ("data.tar.bz2", b"BZh9")],
        &[("debian-binary", b"3.0\n"), control, data],
        &[version, ("control.tar.gz", data.1), data],
    ] {
        assert_eq!(Bench::new("a.deb", &ar(parts)).refused(), "E-FORMAT");
    }
    for header in ["/99999", "//", "#1/99999999", "data.tar.gz"] {
        let deb = format!(
            "!<arch>\n{header:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0, 0, 0, 644, 9_999_999_999_u64
        );
        assert_eq!(
            Bench::new("a.deb", deb.as_bytes()).refused(),
            "E-FORMAT",
            "{header}"
        );
    }
}

/// SEC-021: cut anywhere, an archive is refused; only the zeros that fill up a tar may be missing.
#[test]
fn archives_cut_short_are_refused() {
    let items = [program("bin/run", "content"), link("l", "bin/run")];
    let plain = tar(&items);
    for (name, bytes) in [
        ("a.tar", plain[..plain.len() - 512].to_vec()),
        ("a.tar.gz", gzip(&plain)),
        ("a.tar.xz", xz(&plain)),
        ("a.tar.zst", zstd(&plain)),
        ("a.zip", zip(&items)),
        ("a.deb", deb("data.tar.xz", &xz(&plain))),
    ] {
        Bench::new(name, &bytes).unpack().expect(name);
        let step = if bytes.len() > 1024 { 13 } else { 1 };
        for end in (0..bytes.len()).step_by(step) {
            assert_eq!(
                Bench::new(name, &bytes[..end]).refused(),
                "E-FORMAT",
                "{name} cut at {end}"
            );
        }
    }
}

/// SEC-022, SEC-035: damage anywhere is an answer or an error, and never a way out.
#[test]
fn damaged_archives_never_panic_and_never_escape() {
    let items = [
        program("bin/run", "content"),
        link("l", "bin/run"),
        folder("d/"),
    ];
    for (name, bytes) in in_every_way(&items) {
        for at in (0..bytes.len()).step_by(11) {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                if let Err(error) = Bench::new(name, &bytes).unpack() {
                    assert!(
                        ["E-FORMAT", "E-PATH", "E-LIMIT"].contains(&error.code()),
                        "{name} at {at}: {error:?}"
                    );
                }
            }
        }
    }
}

/// SEC-006: another process exchanges a folder of the target for a link while it is written to.
#[test]
fn a_folder_exchanged_for_a_link_leads_nowhere() {
    let files: Vec<_> = (0..400)
        .map(|n| file(&format!("d{}/sub/f{n}", n % 2), "x"))
        .collect();
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
            let outcome =
                porcelain::archive::unpack(&bench.archive, &bench.path("out"), &Limits::default());
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
