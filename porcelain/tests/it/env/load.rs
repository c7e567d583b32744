//! Loading: the rules O2 to O9.

use super::support::{World, beside, content, id, package, packages, said};
use objects::id::{IdentityId, TreeId};
use porcelain::env::{Error, MediaKind, MediaSource};
use std::fs;
use std::os::unix::fs::symlink;

/// The rules as a table: what stands, what is asked, what is found.
#[test]
fn the_version_a_spec_means_is_found() {
    let one = || vec![package("dict#0.1.5")];
    let two = || vec![package("dict#0.1.5"), beside("dict#0.1.3")];
    let channels = || vec![package("dict#1.0.0"), beside("dict#nightly:1.2.0"), beside("dict#nightly:1.1.0")];
    let only_beside = || vec![beside("dict#1.0.3"), beside("dict#1.10.0"), beside("dict#2.0.0-rc.1")];
    let table = [
        // O3: the link without suffix, else the highest version
        (one(), "dict", "0.1.5"),
        (two(), "dict", "0.1.5"),
        (only_beside(), "dict", "1.10.0"),
        (vec![beside("dict#2.0.0-rc.1")], "dict", "2.0.0-rc.1"),
        (vec![], "dict", "E-NOTFOUND"),
        (one(), "dictionary", "E-NOTFOUND"),
        (one(), "acme/dict", "E-NOTFOUND"),
        // O5: conditions, among what is installed
        (one(), "dict#>0.1.4", "0.1.5"),
        (one(), "dict#>0.1.5", "E-NOTFOUND"),
        (two(), "dict#<0.1.5", "0.1.3"),
        (two(), "dict#>0.1.2<0.1.5", "0.1.3"),
        (two(), "dict@>=0.1.3", "0.1.5"),
        (two(), "dict@^0.1", "0.1.5"),
        (two(), "dict@=0.1.3", "0.1.3"),
        (only_beside(), "dict@>=2.0.0-rc.0", "2.0.0-rc.1"),
        (only_beside(), "dict@>1", "E-NOTFOUND"),
        // O9 and exact versions
        (two(), "dict#0.1.3", "0.1.3"),
        (two(), "dict#0.1.5", "0.1.5"),
        (two(), "dict#0.1.4", "E-NOTFOUND"),
        (vec![beside("dict#1.0.0+linux")], "dict#1.0.0", "1.0.0+linux"),
        // O7: channels
        (channels(), "dict", "1.0.0"),
        (channels(), "dict@nightly:*", "1.2.0"),
        (channels(), "dict@nightly:<1.2", "1.1.0"),
        (channels(), "dict#nightly:1.1.0", "1.1.0"),
        (channels(), "dict#1.1.0", "E-NOTFOUND"),
        (channels(), "dict@>1.0.0", "E-NOTFOUND"),
        (vec![package("dict#nightly:1.2.0")], "dict", "1.2.0"),
        (vec![package("dict#nightly:1.2.0")], "dict@^1", "E-NOTFOUND"),
        // names with owners' labels
        (packages(&["acme/web#1.0.0", "acme/db#2.0.0"]), "acme/web", "1.0.0"),
        (packages(&["acme/web#1.0.0"]), "acme/web@^1", "1.0.0"),
        (packages(&["acme/web#1.0.0"]), "acme", "E-NOTFOUND"),
        // names that control files have, too
        (packages(&["tmp#1.0.0", "config#2.0.0", "lock#3.0.0", "index-db#4.0.0"]), "config@^2", "2.0.0"),
    ];
    for (standing, spec, expected) in table {
        let shown = format!("{spec} among {:?}", standing.iter().map(content).collect::<Vec<_>>());
        assert_eq!(World::with(standing).loaded(spec), expected, "{shown}");
    }
}

/// O7: what is not said is said by the environment.
#[test]
fn the_environments_channel_is_taken_where_none_is_named() {
    let world = World::with(vec![package("dict#1.0.0"), beside("dict#nightly:1.2.0")]);
    fs::write(world.path("pkg.cfg.toml"), "[environment]\nchannel = \"nightly\"\n").unwrap();
    assert_eq!(world.loaded("dict"), "1.0.0");
    assert_eq!(world.loaded("dict@^1"), "1.2.0");
    assert_eq!(world.loaded("dict#1.2.0"), "1.2.0");
    assert_eq!(world.loaded("dict@release:^1"), "1.0.0");
}

/// O4: content ids need neither a link nor an index.
#[test]
fn content_loads_by_its_ids_without_links() {
    let world = World::with(vec![package("dict#1.0.0"), beside("dict#0.9.0")]);
    let old = package("dict#0.9.0");
    fs::remove_dir_all(world.path("pkgs")).unwrap();
    for spec in [
        format!("dict#{}", old.tree),
        format!("dict#blake3:{}", old.tree.short(12)),
        format!("dict#blake3:{}", old.tree.short(40)),
        format!("dict#{}", old.sha256),
    ] {
        assert_eq!(world.loaded(&spec), "0.9.0", "{spec}");
    }
    assert_eq!(world.loaded(&format!("dict#{}", TreeId::new(id("other")))), "E-NOTFOUND");
}

/// O4: the beginning of an id has to fit one tree.
#[test]
fn an_ambiguous_content_id_is_an_error() {
    let mut packages = vec![package("dict#1.0.0"), beside("dict#0.9.0")];
    for (package, last) in packages.iter_mut().zip([1, 2]) {
        let mut bytes = [7; 32];
        bytes[15] = last;
        package.tree = TreeId::new(objects::id::ObjectId::from_bytes(bytes));
    }
    let world = World::with(packages);
    assert_eq!(world.loaded("dict#blake3:0707070707"), "E-AMBIGUOUS");
    assert_eq!(world.loaded(&format!("dict#blake3:{}01", "07".repeat(15))), "1.0.0");
}

/// O6: a removed link blocks its version, unless a repair is allowed.
#[test]
fn a_removed_link_blocks_until_it_is_repaired() {
    let world = World::with(vec![package("dict#0.1.5"), beside("dict#0.1.3")]);
    let before = world.links();
    for (link, spec, version) in [
        ("dict#0.1.3", "dict#0.1.3", "0.1.3"),
        ("dict", "dict#0.1.5", "0.1.5"),
        ("dict", "dict@>0.1.4", "0.1.5"),
    ] {
        fs::remove_file(world.path("pkgs").join(link)).unwrap();
        let error = world.try_load(spec).unwrap_err();
        assert!(matches!(&error, Error::LinkGone { link: gone, .. } if gone == link), "{error:?}");
        assert!(error.to_string().contains(link), "{error}");
        assert_eq!(said(world.repair(spec)), version);
        assert_eq!(world.loaded(spec), version);
        assert_eq!(world.links(), before);
    }
}

/// O6, to the letter: content of an earlier generation, whose link a switch removed.
#[test]
fn a_repair_brings_back_what_is_still_there() {
    let world = World::with(vec![package("dict#0.1.4")]);
    world.become_of(vec![package("dict#0.1.5")]).unwrap();
    assert!(matches!(world.try_load("dict#0.1.4"), Err(Error::LinkGone { .. })));
    assert!(matches!(world.try_load("dict@<0.1.5"), Err(Error::NotInstalled { .. })));
    assert_eq!(said(world.repair("dict#0.1.4")), "0.1.4");
    assert_eq!(world.links().keys().collect::<Vec<_>>(), ["dict", "dict#0.1.4"]);
    assert_eq!(world.loaded("dict"), "0.1.5");
    assert_eq!(world.loaded("dict@<0.1.5"), "0.1.4");
}

/// A repair does not wait for whoever changes the environment.
#[test]
fn a_repair_beside_a_writer_is_refused() {
    let world = World::with(vec![package("dict#0.1.5")]);
    fs::remove_file(world.path("pkgs/dict")).unwrap();
    let writer = world.env.lock_exclusive().unwrap();
    assert!(matches!(world.repair("dict#0.1.5"), Err(Error::Busy { .. })));
    drop(writer);
    assert_eq!(said(world.repair("dict#0.1.5")), "0.1.5");
}

/// O8: a person's own folder, file or link loads under its name.
#[test]
fn own_folders_load_under_their_names() {
    let world = World::with(packages(&["dict#0.1.5", "acme/web#1.0.0"]));
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir_all(world.path("pkgs/mine")).unwrap();
    fs::create_dir_all(world.path("pkgs/acme/own")).unwrap();
    fs::create_dir_all(world.path("pkgs/mine#2.0.0")).unwrap();
    fs::write(world.path("pkgs/image.iso"), "bytes").unwrap();
    symlink(elsewhere.path(), world.path("pkgs/linked")).unwrap();
    symlink("nowhere", world.path("pkgs/dangling")).unwrap();

    for name in ["mine", "acme/own", "linked", "image.iso"] {
        let info = world.try_load(name).unwrap();
        assert_eq!((info.source, &info.version, info.tree), (MediaSource::OwnFolder, &None, None), "{name}");
    }
    assert_eq!(world.try_load("linked").unwrap().path, elsewhere.path().canonicalize().unwrap());
    assert_eq!(world.try_load("mine").unwrap().kind, MediaKind::Directory);
    let image = world.try_load("image.iso").unwrap();
    assert_eq!((image.kind, image.media.as_str()), (MediaKind::File, "application/x-iso9660-image"));
    assert_eq!(world.loaded("dangling"), "E-NOTFOUND");
    assert_eq!(world.loaded("mine#2.0.0"), "2.0.0");
    assert_eq!(world.loaded("mine@>1"), "2.0.0");
    assert_eq!(world.loaded("mine#1.0.0"), "E-NOTFOUND");
    assert_eq!(world.loaded("acme"), "E-NOTFOUND");
}

/// O8: a folder of one's own stands for an installed version.
#[test]
fn an_own_folder_takes_the_place_of_an_installed_one() {
    let world = World::with(vec![package("dict#0.1.5"), beside("dict#0.1.3")]);
    fs::remove_file(world.path("pkgs/dict")).unwrap();
    fs::create_dir(world.path("pkgs/dict")).unwrap();
    assert_eq!(world.loaded("dict"), "own");
    assert_eq!(world.loaded("dict#0.1.3"), "0.1.3");
    assert!(matches!(world.try_load("dict#0.1.5"), Err(Error::LinkGone { .. })));
    assert_eq!(said(world.repair("dict#0.1.5")), "0.1.5");
    assert_eq!(world.loaded("dict"), "own");
}

/// A package cannot pretend to be another one by what is in it.
#[test]
fn what_is_inside_a_package_is_no_package() {
    let world = World::with(vec![package("acme#1.0.0")]);
    assert!(world.path("pkgs/acme/folder").is_dir());
    assert_eq!(world.loaded("acme/folder"), "E-NOTFOUND");
    assert_eq!(world.loaded("acme/content"), "E-NOTFOUND");
}

/// O2: a tree of one file that serves as a package is that file.
#[test]
fn single_files_load_as_files() {
    let table = [
        ("disk.iso", None, MediaKind::File, "application/x-iso9660-image"),
        ("words.ZIP", None, MediaKind::File, "application/zip"),
        ("model.bin", Some("application/x-model"), MediaKind::File, "application/x-model"),
        ("readme.txt", None, MediaKind::Directory, "inode/directory"),
    ];
    for (file, media, kind, shown) in table {
        let world = World::new();
        let installed =
            porcelain::env::Installed { files: 1, media: media.map(str::to_owned), ..package("one#1.0.0") };
        let writer = world.env.lock_exclusive().unwrap();
        let staged = writer.stage().unwrap();
        fs::create_dir(staged.path()).unwrap();
        fs::write(staged.path().join(file), "content").unwrap();
        writer.materialise(vec![(staged, &installed)]).unwrap();
        let change = porcelain::env::Change::of_packages(0, vec![installed], "test", super::support::now());
        writer.switch(change).unwrap();
        let info = world.try_load("one").unwrap();
        assert_eq!((info.kind, info.media.as_str()), (kind, shown), "{file}");
        assert_eq!(info.path.ends_with(file), kind == MediaKind::File);
    }
}

/// Where two releases have the same content, each link still means its own.
#[test]
fn releases_of_one_content_keep_their_versions() {
    let same = package("dict#1.0.0").tree;
    let [mut default, mut side] = [package("dict#1.0.1"), beside("dict#nightly:1.0.0")];
    (default.tree, side.tree) = (same, same);
    let world = World::with(vec![default.clone(), side]);
    assert_eq!(world.loaded("dict"), "1.0.1");
    assert_eq!(world.loaded("dict@nightly:*"), "1.0.0");
    assert_eq!(world.loaded("dict#1.0.1"), "1.0.1");
    world.become_of(vec![default]).unwrap();
    assert_eq!(world.loaded("dict"), "1.0.1");
}

/// An owner named in a spec has to be the one.
#[test]
fn a_spec_may_name_the_owner() {
    let world = World::with(vec![package("dict#1.0.0")]);
    fs::create_dir(world.path("pkgs/mine")).unwrap();
    let owner = IdentityId::new(id("owner"));
    let other = IdentityId::new(id("other"));
    assert_eq!(world.loaded(&format!("id:{}/dict", owner.short(16))), "1.0.0");
    assert_eq!(world.loaded(&format!("id:{}/dict@^1", owner.short(16))), "1.0.0");
    assert_eq!(world.loaded(&format!("id:{}/dict", other.short(16))), "E-NOTFOUND");
    assert_eq!(world.loaded(&format!("id:{}/mine", owner.short(16))), "E-NOTFOUND");
}

/// DESIGN 10: a child falls back to its parent, and circles end.
#[test]
fn what_is_not_here_is_loaded_from_the_parent() {
    let parent = World::with(packages(&["base#1.0.0", "dict#1.0.0"]));
    let child = World::with(vec![package("dict#2.0.0")]);
    let text = |parent: &World| format!("[environment]\nparent = {:?}\n", parent.env.root());
    fs::write(child.path("pkg.cfg.toml"), text(&parent)).unwrap();
    assert_eq!(child.loaded("base"), "1.0.0");
    assert_eq!(child.loaded("dict"), "2.0.0");
    assert_eq!(child.loaded("dict@^1"), "1.0.0");
    fs::write(parent.path("pkg.cfg.toml"), text(&child)).unwrap();
    assert_eq!(child.loaded("none"), "E-NOTFOUND");
}

/// Content that went is said to have gone, and the rest still loads.
#[test]
fn missing_content_is_reported() {
    let world = World::with(vec![package("dict#0.1.5"), beside("dict#0.1.3")]);
    let tree = world.try_load("dict").unwrap().path;
    fs::remove_dir_all(tree).unwrap();
    let error = world.try_load("dict").unwrap_err();
    assert!(matches!(error, Error::ContentGone { .. }), "{error:?}");
    assert_eq!(world.loaded("dict#0.1.3"), "0.1.3");
    assert_eq!(world.loaded("dict@>0.1.0"), "0.1.3");
}
