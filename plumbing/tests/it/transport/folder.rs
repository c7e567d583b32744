//! What a folder on a disk must withstand.

use std::{fs, io::Read, os::unix::fs::symlink, process::Command};

use plumbing::transport::{Bare, BareWrite, Error, file::Folder};

use super::key;

fn scene() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(dir.path().join("repository")).unwrap();
    fs::create_dir(dir.path().join("victim")).unwrap();
    fs::write(dir.path().join("victim/secret"), "SECRET").unwrap();
    (dir, folder)
}

/// SEC-105, SEC-006: a link inside the folder leads nowhere, for reading and for writing.
#[test]
fn links_lead_nowhere() {
    let (dir, folder) = scene();
    let inside = dir.path().join("repository");
    symlink("../victim/secret", inside.join("file")).unwrap();
    symlink("../victim", inside.join("folder")).unwrap();
    symlink("/", inside.join("root")).unwrap();
    fs::write(inside.join("real"), "real").unwrap();
    symlink("real", inside.join("alias")).unwrap();
    for name in ["file", "folder/secret", "root/etc/passwd", "alias"] {
        for error in [
            folder.try_read(&key(name), 9999).unwrap_err(),
            folder.try_size(&key(name)).unwrap_err(),
            folder.read_range(&key(name), 0..1).unwrap_err(),
        ] {
            assert!(matches!(error, Error::NotAFile { .. }), "{name}: {error:?}");
            assert_eq!(error.code(), "E-PATH");
        }
    }
    assert!(folder.write(&key("folder/new"), &mut &b"x"[..]).is_err());
    assert!(folder.swap(&key("folder/new"), None, b"x").is_err());
    folder.delete(&key("folder/secret")).unwrap(); // a link is no folder, so there is nothing to take away
    let names = folder.list("").unwrap();
    assert_eq!(names, [(key("real"), 4)]);
    assert_eq!(folder.list("folder/").map(|found| found.len()).unwrap_or(0), 0);

    // A link where a file should stand is replaced, not written through.
    folder.write(&key("file"), &mut &b"mine"[..]).unwrap();
    assert_eq!(folder.find(&key("file"), 9).unwrap(), b"mine");
    assert_eq!(fs::read_to_string(dir.path().join("victim/secret")).unwrap(), "SECRET");
    assert_eq!(fs::read_dir(dir.path().join("victim")).unwrap().count(), 1);
}

/// A named pipe put there by somebody must not hang a reader.
#[test]
fn a_named_pipe_is_no_file() {
    let (dir, folder) = scene();
    assert!(Command::new("mkfifo").arg(dir.path().join("repository/pipe")).status().unwrap().success());
    let error = folder.try_read(&key("pipe"), 9).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error:?}");
    assert_eq!(folder.list("").unwrap(), []);
}

#[test]
fn opening_what_is_no_folder_says_so() {
    let (dir, _folder) = scene();
    assert_eq!(Folder::open(dir.path().join("absent")).unwrap_err().code(), "E-NOTFOUND");
    assert_eq!(Folder::open(dir.path().join("victim/secret")).unwrap_err().code(), "E-IO");
    assert_eq!(Folder::create(dir.path().join("victim/secret/x")).unwrap_err().code(), "E-IO");
}

/// A folder opened through a link stays the folder it was, wherever the link points later.
#[test]
fn an_open_folder_stays_the_same() {
    let (dir, _) = scene();
    symlink("repository", dir.path().join("current")).unwrap();
    let folder = Folder::open(dir.path().join("current")).unwrap();
    folder.write(&key("f"), &mut &b"1"[..]).unwrap();
    fs::remove_file(dir.path().join("current")).unwrap();
    symlink("victim", dir.path().join("current")).unwrap();
    assert_eq!(folder.find(&key("f"), 9).unwrap(), b"1");
    assert_eq!(folder.try_read(&key("secret"), 9).unwrap(), None);
}

/// What a killed writer left is removed; what a living one writes is not.
#[test]
fn leftovers_are_swept_and_the_living_left_alone() {
    let (dir, folder) = scene();
    let leftover = dir.path().join("repository/objects/pack/.aside-0123456789abcdef");
    fs::create_dir_all(leftover.parent().unwrap()).unwrap();
    fs::write(&leftover, "half a pack").unwrap();

    /// Sweeps while it is being written.
    struct Sweeps<'a>(&'a Folder, bool);
    impl Read for Sweeps<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            if std::mem::replace(&mut self.1, true) {
                return Ok(0);
            }
            assert_eq!(self.0.sweep().unwrap(), 1, "the leftover alone");
            buffer[..4].copy_from_slice(b"pack");
            Ok(4)
        }
    }
    folder.write(&key("objects/pack/00.pack"), &mut Sweeps(&folder, false)).unwrap();
    assert_eq!(folder.find(&key("objects/pack/00.pack"), 9).unwrap(), b"pack");
    assert!(!leftover.exists());
    assert_eq!(folder.sweep().unwrap(), 0);
    assert_eq!(folder.list("").unwrap(), [(key("objects/pack/00.pack"), 4)]);
}

/// REL-024: writers in several processes lose no step, because the lock is the system's.
#[test]
fn swaps_of_two_handles_do_not_lose_each_other() {
    let (dir, first) = scene();
    let second = Folder::open(dir.path().join("repository")).unwrap();
    first.swap(&key("n"), None, b"0").unwrap();
    std::thread::scope(|scope| {
        for folder in [&first, &second] {
            scope.spawn(move || {
                for _ in 0..50 {
                    loop {
                        let now = folder.find(&key("n"), 9).unwrap();
                        let next = (str::from_utf8(&now).unwrap().parse::<u32>().unwrap() + 1).to_string();
                        match folder.swap(&key("n"), Some(&now), next.as_bytes()) {
                            Ok(()) => break,
                            Err(Error::Conflict { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            });
        }
    });
    assert_eq!(first.find(&key("n"), 9).unwrap(), b"100");
}

/// REL-015: a folder that may not be written to refuses, and the old file stands.
#[test]
fn a_folder_that_may_not_be_written_refuses() {
    let (dir, folder) = scene();
    folder.write(&key("f"), &mut &b"old"[..]).unwrap();
    fs::set_permissions(dir.path().join("repository"), std::os::unix::fs::PermissionsExt::from_mode(0o500))
        .unwrap();
    let outcome = folder.write(&key("f"), &mut &b"new"[..]);
    fs::set_permissions(dir.path().join("repository"), std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .unwrap();
    match outcome {
        Err(error) => {
            assert!(matches!(error, Error::Io { .. }), "{error:?}");
            assert_eq!(folder.find(&key("f"), 9).unwrap(), b"old");
        }
        Ok(()) => assert_eq!(folder.find(&key("f"), 9).unwrap(), b"new"), // run by root, whom permissions do not stop
    }
    assert_eq!(folder.list("").unwrap(), [(key("f"), 3)]);
}
