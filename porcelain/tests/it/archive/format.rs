//! What comes out of each format.

use std::os::unix::fs::PermissionsExt;

use porcelain::archive::{About, Format, Limits};
use proptest::prelude::*;

use super::build::*;
use super::{Bench, Listing};

/// One of everything that a package can hold, beneath `prefix`.
fn items(prefix: &str) -> Vec<Item> {
    let at = |name: &str| format!("{prefix}{name}");
    vec![
        program(&at("bin/run"), "#!/bin/sh"),
        file(&at("lib/data.txt"), "data"),
        file(&at("lib/nothing"), ""),
        folder(&at("empty/")),
        link(&at("lib/run"), "../bin/run"),
        file(&at("lib/Grüße"), "ü"),
    ]
}

fn expected() -> Listing {
    let rows = [
        ("bin", "folder 755"),
        ("bin/run", "file 755 #!/bin/sh"),
        ("empty", "folder 755"),
        ("lib", "folder 755"),
        ("lib/Grüße", "file 644 ü"),
        ("lib/data.txt", "file 644 data"),
        ("lib/nothing", "file 644 "),
        ("lib/run", "link ../bin/run"),
    ];
    rows.into_iter().map(|(path, what)| (path.to_owned(), what.to_owned())).collect()
}

/// Every kind of archive, by a name that fits it.
fn every_format() -> Vec<(&'static str, Vec<u8>, Format)> {
    let plain = tar(&items(""));
    let dotted = tar(&[vec![folder("./")], items("./")].concat());
    vec![
        ("a.tar", plain.clone(), Format::Tar),
        ("a.tar.gz", gzip(&plain), Format::TarGz),
        ("a.tgz", gzip(&plain), Format::TarGz),
        ("a.tar.xz", xz(&plain), Format::TarXz),
        ("a.tar.zst", zstd(&plain), Format::TarZst),
        ("a.zip", zip(&items("")), Format::Zip),
        ("a.deb", deb("data.tar.zst", &zstd(&dotted)), Format::Deb),
        ("b.deb", deb("data.tar.xz", &xz(&dotted)), Format::Deb),
        ("c.deb", deb("data.tar.gz", &gzip(&dotted)), Format::Deb),
        ("d.deb", deb("data.tar", &dotted), Format::Deb),
    ]
}

#[test]
fn every_format_comes_out_alike() {
    for (name, bytes, format) in every_format() {
        let bench = Bench::new(name, &bytes);
        let unpacked = bench.unpack().expect(name);
        assert_eq!(unpacked.format, format, "{name}");
        assert_eq!(bench.listing(), expected(), "{name}");
    }
}

#[test]
fn content_decides_before_the_name() {
    for (_, bytes, format) in every_format() {
        for name in ["a.zip", "a.tar", "a.tar.zst", "a", "a.deb.txt"] {
            let unpacked = Bench::new(name, &bytes).unpack().expect(name);
            assert_eq!(unpacked.format, format, "{name}");
        }
    }
}

#[test]
fn what_is_no_archive_is_refused() {
    for (name, bytes) in [
        ("empty.zip", &b""[..]),
        ("text.tar", b"some text"),
        ("zeros.bin", &[0; 1024]),
        ("noise.whl", &[0x5a; 4096]),
        ("library.deb", &ar(&[("a.o", b"object")])),
        ("data.json.gz", &gzip(b"{}")),
        ("long.json.gz", &gzip(&[b'x'; 4096])),
    ] {
        assert_eq!(Bench::new(name, bytes).refused(), "E-FORMAT", "{name}");
    }
}

#[test]
fn empty_archives_are_archives() {
    for (name, bytes) in [("a.tar", vec![0; 1024]), ("a.tar.gz", gzip(&[0; 1024])), ("a.zip", zip(&[]))] {
        let bench = Bench::new(name, &bytes);
        bench.unpack().expect(name);
        assert_eq!(bench.listing(), Listing::new(), "{name}");
    }
}

/// SEC-011: the archive itself may be a fifo that nobody writes to.
#[test]
fn only_files_are_opened() {
    let bench = Bench::new("a.tar", b"");
    std::fs::remove_file(&bench.archive).expect("it is there");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &bench.archive, mode).expect("a fifo can be made");
    assert_eq!(bench.refused(), "E-FORMAT");
    std::fs::remove_file(&bench.archive).expect("it is there");
    assert_eq!(bench.refused(), "E-IO");
}

#[test]
fn the_target_must_be_fresh() {
    let bench = Bench::new("a.tar", &tar(&items("")));
    bench.unpack().expect("the first time");
    assert_eq!(bench.refused(), "E-CONFLICT");
    assert_eq!(bench.listing(), expected());
}

/// SEC-012.
#[test]
fn of_a_mode_only_the_exec_bit_is_kept() {
    let modes = [(0o4777, 755), (0o2755, 755), (0o1666, 644), (0o000, 644), (0o100, 755), (0o611, 644)];
    for (mode, kept) in modes {
        let item = [Item::File("f".into(), mode, b"x".to_vec())];
        for (name, bytes) in
            [("a.tar", tar(&item)), ("a.zip", raw_zip(&[ZipItem::new(b"f", 0o100_000 | mode, b"x")]))]
        {
            let bench = Bench::new(name, &bytes);
            bench.unpack().expect(name);
            assert_eq!(bench.listing()["f"], format!("file {kept} x"), "{mode:o} in {name}");
        }
    }
}

fn about(name: &str, version: &str, description: &str, dependency: (&str, &str)) -> About {
    About {
        name: name.into(),
        version: version.into(),
        description: Some(description.into()),
        dependencies: vec![(dependency.0.into(), dependency.1.into())],
        ..About::default()
    }
}

#[test]
fn wheels_say_what_they_are() {
    let metadata =
        "Metadata-Version: 2.1\nName: words\nVersion: 2.0\nSummary: Words\nRequires-Dist: six>=1\n\nBody";
    let wheel = [file("words/a.py", "1"), file("words-2.0.dist-info/METADATA", metadata)];
    let wheel =
        zip(&[wheel.to_vec(), vec![file("words-2.0.dist-info/WHEEL", "Wheel-Version: 1.0")]].concat());
    for name in ["words-2.0-py3-none-any.whl", "words.zip"] {
        let bench = Bench::new(name, &wheel);
        let unpacked = bench.unpack().expect(name);
        assert_eq!(unpacked.format, Format::Wheel);
        assert_eq!(unpacked.about, Some(about("words", "2.0", "Words", ("six", ">=1"))));
        assert!(bench.listing().contains_key("words/a.py"));
    }
    assert_eq!(Bench::new("words.whl", &zip(&items(""))).refused(), "E-FORMAT");
}

#[test]
fn debs_say_what_they_are_and_run_nothing() {
    let bench = Bench::new("words.deb", &deb("data.tar.xz", &xz(&tar(&[file("./usr/words", "w")]))));
    let unpacked = bench.unpack().expect("it is a good one");
    assert_eq!(unpacked.about, Some(about("words", "1:2.0-1", "Words", ("libc6", ">= 2"))));
    assert_eq!(bench.listing().keys().collect::<Vec<_>>(), ["usr", "usr/words"]);
}

const PACKAGE_JSON: &str =
    r#"{"name":"words","version":"2.0.0","description":"Words","dependencies":{"a":"^1"}}"#;
const CARGO_TOML: &str =
    "[package]\nname = \"words\"\nversion = \"2.0.0\"\ndescription = \"Words\"\n[dependencies]\na = \"^1\"\n";

#[test]
fn npm_tarballs_and_crates_lose_the_folder_around_them() {
    let known = about("words", "2.0.0", "Words", ("a", "^1"));
    for (name, top, metadata, text, format) in [
        ("words-2.0.0.tgz", "package", "package.json", PACKAGE_JSON, Format::Npm),
        ("words-2.0.0.tar.gz", "package", "package.json", PACKAGE_JSON, Format::Npm),
        ("words-2.0.0.tgz", "words", "package.json", PACKAGE_JSON, Format::Npm),
        ("words-2.0.0.crate", "words-2.0.0", "Cargo.toml", CARGO_TOML, Format::Crate),
        ("words.bin", "words-2.0.0", "Cargo.toml", CARGO_TOML, Format::Crate),
    ] {
        let entries = [vec![file(&format!("{top}/{metadata}"), text)], items(&format!("{top}/"))].concat();
        let bench = Bench::new(name, &gzip(&tar(&entries)));
        let unpacked = bench.unpack().expect(name);
        assert_eq!((unpacked.format, unpacked.about), (format, Some(known.clone())), "{name}");
        let mut wanted = expected();
        wanted.insert(metadata.into(), format!("file 644 {text}"));
        assert_eq!(bench.listing(), wanted, "{name}");
    }
}

/// What is inside may have the name of the folder that goes, or of the place it steps aside to.
#[test]
fn unwrapping_loses_nothing() {
    let names = ["package/package/package", "package/.unwrapped-0", "package/.unwrapped-1/x"];
    let mut entries = vec![file("package/package.json", PACKAGE_JSON)];
    entries.extend(names.map(|name| file(name, name)));
    let bench = Bench::new("a.tgz", &gzip(&tar(&entries)));
    bench.unpack().expect("it is a good one");
    let found = bench.listing();
    assert_eq!(found["package/package"], "file 644 package/package/package");
    assert_eq!(found[".unwrapped-0"], "file 644 package/.unwrapped-0");
    assert_eq!(found[".unwrapped-1/x"], "file 644 package/.unwrapped-1/x");
    assert_eq!(found.len(), 6);
}

#[test]
fn other_archives_keep_their_folder() {
    for (name, entry) in [
        ("a.tar.gz", file("words/package.json", PACKAGE_JSON)),
        ("a.tar.gz", file("words/Cargo.toml", CARGO_TOML)),
        ("a.tar.gz", file("package/package.json", "{ broken")),
        ("a.tgz", file("words/package.json", "{ broken")),
        ("a.tgz", link("package/package.json", "other")),
    ] {
        let bench = Bench::new(name, &gzip(&tar(&[entry])));
        let unpacked = bench.unpack().expect(name);
        assert_eq!((unpacked.format, unpacked.about), (Format::TarGz, None));
        assert_eq!(bench.listing().len(), 2);
    }
}

#[test]
fn a_name_that_promises_metadata_is_held_to_it() {
    for (name, entry) in [
        ("a.crate", file("words-1/README", "")),
        ("a.crate", file("words-1/Cargo.toml", "broken")),
        ("a.crate", file("Cargo.toml", CARGO_TOML)),
        ("a.tgz", file("package/package.json", "{ broken")),
        ("a.tgz", file("package/package.json", r#"{"name":"words"}"#)),
    ] {
        assert_eq!(Bench::new(name, &gzip(&tar(&[entry]))).refused(), "E-FORMAT", "{name}");
    }
}

/// The links of a package must stay inside it once its folder is gone.
#[test]
fn links_to_the_folder_that_goes_are_refused() {
    let entries = [file("package/package.json", PACKAGE_JSON), link("package/l", "../package/package.json")];
    assert_eq!(Bench::new("a.tgz", &gzip(&tar(&entries))).refused(), "E-PATH");
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(200));
    let mut gnu = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    gnu.append_data(&mut header, &long, &b"x"[..]).expect("it makes a long name");
    let mut pax = Tar::default();
    pax.pax(b'g', &[("comment", "made by hand")]);
    pax.pax(b'x', &[("mtime", "1.5"), ("path", &long), ("size", "1")]);
    pax.put(b"short", b'0', 0o644, b"", b"x");
    for bytes in [gnu.into_inner().expect("memory takes it"), pax.end()] {
        let bench = Bench::new("a.tar", &bytes);
        bench.unpack().expect("it is a good one");
        assert_eq!(bench.listing()[&long], "file 644 x");
    }
}

/// Before ustar there was no magic, and a folder was a file with a slash behind.
#[test]
fn old_tar_is_read() {
    let mut old = Tar::default();
    old.put(b"d/", 0, 0o755, b"", b"");
    old.put(b"d/f", 0, 0o755, b"", b"x");
    let bench = Bench::new("a", &old.end());
    bench.unpack().expect("it is a good one");
    assert_eq!(
        bench.listing(),
        Listing::from([("d".into(), "folder 755".into()), ("d/f".into(), "file 755 x".into())])
    );
}

#[test]
fn hard_links_become_copies() {
    let mut tar = Tar::default();
    tar.put(b"./d/original", b'0', 0o755, b"", b"content");
    tar.put(b"./other", b'1', 0o644, b"./d/original", b"");
    tar.put(b"./d/third", b'1', 0o644, b"other", b"");
    let bench = Bench::new("a.tar", &tar.end());
    bench.unpack().expect("it is a good one");
    for name in ["d/original", "other", "d/third"] {
        assert_eq!(bench.listing()[name], "file 755 content");
    }
    std::fs::write(bench.path("out/other"), "changed").expect("it can be changed");
    assert_eq!(bench.listing()["d/original"], "file 755 content");
}

/// GNU tar writes the second name of a link as a hard link to it.
#[test]
fn hard_links_to_links_become_links() {
    let mut tar = Tar::default();
    tar.put(b"link", b'2', 0o777, b"nowhere", b"");
    tar.put(b"d/other", b'1', 0o777, b"link", b"");
    let bench = Bench::new("a.tar", &tar.end());
    bench.unpack().expect("it is a good one");
    assert_eq!(bench.listing()["d/other"], "link nowhere");
    let mut tar = Tar::default();
    tar.put(b"d/link", b'2', 0o777, b"../inside", b"");
    tar.put(b"outside", b'1', 0o777, b"d/link", b"");
    assert_eq!(Bench::new("a.tar", &tar.end()).refused(), "E-PATH");
}

#[test]
fn folders_may_be_stated_late_and_twice() {
    let entries = [file("d/f", "x"), folder("d/"), folder("./d")];
    for (name, bytes) in [
        ("a.tar", tar(&entries)),
        (
            "a.zip",
            raw_zip(&[
                ZipItem::new(b"d/f", 0o100_644, b"x"),
                ZipItem::new(b"d/", 0o040_755, b""),
                ZipItem::new(b"d/", 0, b""),
            ]),
        ),
    ] {
        let bench = Bench::new(name, &bytes);
        bench.unpack().expect(name);
        assert_eq!(bench.listing().len(), 2);
    }
}

#[test]
fn streams_behind_each_other_are_one() {
    let plain = tar(&items(""));
    let (one, two) = plain.split_at(700);
    for pack in [gzip, xz, zstd] {
        let bench = Bench::new("a", &[pack(one), pack(two)].concat());
        bench.unpack().expect("it is a good one");
        assert_eq!(bench.listing(), expected());
    }
}

#[test]
fn sparse_files_of_gnu_come_out_whole() {
    let mut tar = Tar::default();
    tar.header(b"f", b'S', 0o644, b"", 512);
    let header = &mut tar.0[..];
    header[257..265].copy_from_slice(b"ustar  \0");
    header[345..512].fill(0);
    // One piece of 512 bytes at 1024, in a file of 1536.
    header[386..398].copy_from_slice(b"00000002000\0");
    header[398..410].copy_from_slice(b"00000001000\0");
    header[483..495].copy_from_slice(b"00000003000\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    tar.0.extend([b'x'; 512]);
    let bench = Bench::new("a.tar", &tar.end());
    bench.unpack().expect("it is a good one");
    let content = std::fs::read(bench.path("out/f")).expect("it is there");
    assert_eq!(content, [vec![0; 1024], vec![b'x'; 512]].concat());
}

/// What is under way in the target when it ends is a plain folder that its owner can clear away.
#[test]
fn folders_can_be_removed_whatever_mode_they_had() {
    let mut tar = Tar::default();
    tar.put(b"d", b'5', 0o000, b"", b"");
    tar.put(b"d/f", b'0', 0o000, b"", b"x");
    let bench = Bench::new("a.tar", &tar.end());
    bench.unpack().expect("it is a good one");
    let mode = std::fs::metadata(bench.path("out/d")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o700, 0o700);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is packed comes out, from a tar and from a zip alike.
    #[test]
    fn what_is_packed_comes_out(files in prop::collection::btree_map(
        "[a-c]{1,2}(/[a-c]{1,2}){0,3}\\.t", (any::<bool>(), prop::collection::vec(any::<u8>(), 0..2000)), 0..12,
    )) {
        let items: Vec<_> = files.iter().map(|(name, (exec, content))| {
            Item::File(name.clone(), if *exec { 0o755 } else { 0o644 }, content.clone())
        }).collect();
        for bytes in [zstd(&tar(&items)), zip(&items)] {
            let bench = Bench::new("a", &bytes);
            bench.unpack_within(&Limits::default()).expect("it is a good one");
            let mut found = bench.listing();
            found.retain(|_, what| !what.starts_with("folder"));
            prop_assert_eq!(found.len(), files.len());
            for (name, (exec, content)) in &files {
                let mode = if *exec { 755 } else { 644 };
                prop_assert_eq!(&found[name], &format!("file {mode} {}", String::from_utf8_lossy(content)));
            }
        }
    }
}
