//! Sizes that lie, bombs, and bytes that are damaged, cut short, or readable in two ways.

use porcelain::archive::Limits;

use super::Bench;
use super::build::*;

#[test]
fn hard_links_count_as_what_they_copy() {
    let mut tar = Tar::default();
    tar.put(b"f", b'0', 0o644, b"", &[b'x'; 1000]);
    for n in 0..9 {
        tar.put(format!("h{n}").as_bytes(), b'1', 0o644, b"f", b"");
    }
    let bytes = tar.end();
    let within = |bytes_max| Limits { bytes: bytes_max, ..Limits::default() };
    let error = Bench::new("a.tar", &bytes).unpack_within(&within(9_999)).expect_err("it must be refused");
    assert_eq!((error.code(), error.entry()), ("E-LIMIT", Some("h8")));
    Bench::new("a.tar", &bytes).unpack_within(&within(10_000)).expect("that is just enough");
}

#[test]
fn limits_hold_in_every_format() {
    let default = Limits::default();
    let items = [file("a/b/c", "12345"), file("d", "67890")];
    for (limits, is_enough) in [
        (Limits { bytes: 10, ..default }, true),
        (Limits { bytes: 9, ..default }, false),
        // Two files and two folders that are only implied.
        (Limits { files: 4, ..default }, true),
        (Limits { files: 3, ..default }, false),
        (Limits { levels: 3, ..default }, true),
        (Limits { levels: 2, ..default }, false),
        (Limits { path_bytes: 5, ..default }, true),
        (Limits { path_bytes: 4, ..default }, false),
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
    let limits = Limits { bytes: 1 << 20, ..Limits::default() };
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
        let error =
            Bench::new("a.tar.zst", &zstd(&tar.0)).unpack_within(&limits).expect_err("it must be refused");
        assert_eq!(error.code(), "E-LIMIT", "{error:?}");
    }
    let bomb = zip(&[Item::File("f".into(), 0o644, zeros)]);
    let error = Bench::new("a.zip", &bomb).unpack_within(&limits).expect_err("it must be refused");
    assert_eq!(error.code(), "E-LIMIT");
}

/// SEC-025.
#[test]
fn sizes_that_lie_are_refused() {
    for size in [0, 4, 6, 1 << 20, u32::MAX - 1] {
        let zip = raw_zip(&[ZipItem { size, ..ZipItem::new(b"f", 0o100_644, b"12345") }]);
        assert_eq!(Bench::new("a.zip", &zip).refused(), "E-FORMAT", "{size}");
    }
    for (kind, size) in [(b'0', 10_000), (b'5', 10_000), (b'2', 3), (b'1', 3), (b'0', (1 << 33) - 1)] {
        let mut tar = Tar::default();
        tar.header(b"f", kind, 0o644, b"x", size);
        tar.0.extend(b"12345");
        assert_eq!(Bench::new("a.tar", &tar.end()).refused(), "E-FORMAT", "{size}");
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
        assert_eq!(Bench::new("a.tar", &tar.end()).refused(), "E-FORMAT", "{records:?}");
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
        ZipItem { local_name: b"evil".to_vec(), ..good.clone() },
        ZipItem { method: 12, ..good.clone() },
        ZipItem { flags: 1, ..good.clone() },
        ZipItem { name: b"good/".to_vec(), local_name: b"good/".to_vec(), ..good.clone() },
    ] {
        assert_eq!(Bench::new("a.zip", &raw_zip(&[item])).refused(), "E-FORMAT");
    }
}

/// SEC-033.
#[test]
fn a_second_archive_behind_the_first_is_refused() {
    let (first, second) = (tar(&[file("a", "1")]), tar(&[file("b", "2")]));
    assert_eq!(Bench::new("a.tar", &[first.clone(), second.clone()].concat()).refused(), "E-FORMAT");
    for pack in [gzip, xz, zstd] {
        assert_eq!(Bench::new("a", &[pack(&first), pack(&second)].concat()).refused(), "E-FORMAT");
        assert_eq!(Bench::new("a", &[&pack(&first)[..], b"rubbish"].concat()).refused(), "E-FORMAT");
    }
    for second in [zip(&[file("b", "2")]), zip(&[file("longer", "content")])] {
        let both = [zip(&[file("a", "1")]), second].concat();
        assert_eq!(Bench::new("a.zip", &both).refused(), "E-FORMAT");
        assert_eq!(Bench::new("a.zip", &[&both[..], b"rubbish"].concat()).refused(), "E-FORMAT");
    }
}

#[test]
fn debs_have_their_parts_in_order() {
    let control = gzip(&tar(&[file("control", CONTROL)]));
    let data = gzip(&tar(&[file("f", "x")]));
    let (version, control, data) =
        (("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control[..]), ("data.tar.gz", &data[..]));
    Bench::new("a.deb", &ar(&[version, control, data, ("_gpgorigin", b"x")]))
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
        let deb =
            format!("!<arch>\n{header:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 644, 9_999_999_999_u64);
        assert_eq!(Bench::new("a.deb", deb.as_bytes()).refused(), "E-FORMAT", "{header}");
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
            assert_eq!(Bench::new(name, &bytes[..end]).refused(), "E-FORMAT", "{name} cut at {end}");
        }
    }
}

/// SEC-022, SEC-035: damage anywhere is an answer or an error, and never a way out.
#[test]
fn damaged_archives_never_panic_and_never_escape() {
    let items = [program("bin/run", "content"), link("l", "bin/run"), folder("d/")];
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
