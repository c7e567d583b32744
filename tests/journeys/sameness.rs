//! The same tree has the same ids and the same bytes on every disk, with any number of threads, in any
//! order of its files (REL-040).

use crate::disk::{Disk, Kind, has, with_mounts};
use crate::fixture::{hello, large};
use crate::sandbox::{Person, World, public_files, text, walk};
use std::fs;
use std::path::{Path, PathBuf};

/// Writes a copy of `from` whose entries came into being in another order.
fn copy_in_another_order(from: &Path, to: &Path, turn: usize) {
    let mut entries: Vec<(PathBuf, fs::Metadata)> = Vec::new();
    walk(from, &mut |path, meta| entries.push((path.to_owned(), meta.clone())));
    let at = |path: &Path| to.join(path.strip_prefix(from).unwrap());
    fs::create_dir_all(to).unwrap();
    entries.iter().filter(|(_, meta)| meta.is_dir()).for_each(|(path, _)| fs::create_dir(at(path)).unwrap());
    entries.retain(|(_, meta)| !meta.is_dir());
    entries.sort_by_key(|(path, _)| path.clone());
    let turn = turn % entries.len();
    entries.rotate_left(turn);
    if turn % 2 == 1 {
        entries.reverse();
    }
    for (path, meta) in &entries {
        match meta.is_symlink() {
            true => std::os::unix::fs::symlink(fs::read_link(path).unwrap(), at(path)).unwrap(),
            false => drop(fs::copy(path, at(path)).unwrap()),
        }
    }
}

/// What publishing says of a tree, and the pack with its content.
fn published(person: &Person, folder: &Path, jobs: &str) -> (String, String, Vec<u8>, Vec<u8>) {
    let repo = folder.join(format!("repo-{jobs}"));
    person.ok(["init", "--bare", text(&repo)]);
    let outcome = person.yes(["--jobs", jobs, "publish", text(&folder.join("source")), "--to", text(&repo)]);
    let packs = public_files(&repo).into_iter().filter(|name| name.ends_with(".pack"));
    let pack = packs.max_by_key(|name| fs::metadata(repo.join(name)).unwrap().len()).unwrap();
    let index = pack.replace(".pack", ".idx");
    let read = |name: &str| fs::read(repo.join(name)).unwrap();
    (outcome["tree"].to_string(), outcome["sha256"].to_string(), read(&pack), read(&index))
}

/// REL-040: ext4, XFS, memory; one thread and eight.
#[test]
fn every_disk_and_every_number_of_threads_gives_the_same_bytes() {
    let world = World::new();
    large(&world.path("tree"), "1.0.0");
    hello(&world.path("tree/inside"), "1.0.0");
    let mut expected = None;
    let mut turn = 0;
    let mut compare = |folder: &Path, place: &str| {
        turn += 7;
        copy_in_another_order(&world.path("tree"), &folder.join("source"), turn);
        for jobs in ["1", "8"] {
            // Another author each time: a version that was published elsewhere would be known.
            let author = world.user(&format!("{place}-{jobs}"));
            author.ok(["id", "new", "ada"]);
            let found = published(&author, folder, jobs);
            let expected = expected.get_or_insert_with(|| found.clone());
            assert!(found == *expected, "other ids or bytes on {place} with {jobs} threads");
        }
    };
    fs::create_dir(world.path("here")).unwrap();
    compare(&world.path("here"), "the disk of the machine");
    if !has("the same bytes on other disks", &["mkfs.ext4", "mkfs.xfs", "losetup"]) {
        return;
    }
    let folder = |name: &str| world.path(name);
    with_mounts("the same bytes on other disks", || {
        let _memory = Disk::in_memory(&folder("memory"), "size=1g");
        compare(&folder("memory"), "memory");
        for kind in [Kind::Ext4, Kind::Xfs] {
            let (image, at) = (folder(&format!("memory/{kind:?}.image")), folder(&format!("{kind:?}")));
            kind.format(&image);
            let _disk = Disk::of_image(&image, &at);
            compare(&at, &format!("{kind:?}"));
        }
    });
}
