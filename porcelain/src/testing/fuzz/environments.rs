//! What stands in an environment: each file in its place, in an environment that is else in order.

use crate::env::{Binding, Environment, LinkName, LoadOptions, Lockfile, WANTED_FILE};
use objects::id::{ObjectId, TreeId};
use objects::name::PackageName;
use objects::spec::PackageSpec;
use objects::testing::folder_in_memory;
use objects::time::Timestamp;
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A lockfile: what is written reads as the same, and is written so again.
pub fn lockfile(data: &[u8]) -> bool {
    let path = Path::new("pkg.lock");
    let parsed = std::str::from_utf8(data).ok().and_then(|text| Lockfile::parse(path, text).ok());
    let Some(lockfile) = parsed else { return false };
    let written = lockfile.to_string();
    let again = Lockfile::parse(path, &written).expect("what was written reads");
    assert!(again == lockfile && again.to_string() == written, "a lockfile is written as another one");
    true
}

/// The name of a link: shows itself as it is read, and stays below its folder.
pub fn link_name(data: &[u8]) -> bool {
    let parsed = std::str::from_utf8(data).ok().and_then(|text| text.parse::<LinkName>().ok());
    let Some(link) = parsed else { return false };
    assert!(link.to_string().as_bytes() == data);
    assert!(link.to_string().split('/').all(|part| part != ".." && part != "." && !part.is_empty()));
    let _ = link.edition();
    true
}

/// An empty environment, in a folder with something beside it that nobody may touch.
fn fresh() -> (TempDir, Environment) {
    let folder = folder_in_memory();
    fs::write(folder.path().join("beside"), "untouched").expect("the folder is ours");
    let binding = Binding { source: "https://pkg.example/".into(), repository: None };
    let environment = Environment::init(&folder.path().join("env"), &binding, Timestamp::EPOCH);
    let environment = environment.expect("the folder is fresh");
    (folder, environment)
}

thread_local! {
    static KEPT: RefCell<(TempDir, Environment)> = RefCell::new(fresh());
}

/// Puts `data` as `file` into an environment that is used again, and reads.
fn with_file(file: &str, data: &[u8], read: impl FnOnce(&Environment) -> bool) -> bool {
    KEPT.with_borrow(|(_, environment)| {
        let path = environment.root().join(file);
        let before = fs::read(&path).ok();
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).expect("the folder is ours");
        }
        fs::write(&path, data).expect("the folder is ours");
        let taken = read(environment);
        match before {
            Some(before) => fs::write(&path, before).expect("the folder is ours"),
            None => fs::remove_file(&path).expect("the file is ours"),
        }
        taken
    })
}

/// `pkg.cfg.toml`: what is wanted. An edit keeps it readable and does what it says.
pub fn wanted(data: &[u8]) -> bool {
    with_file(WANTED_FILE, data, |environment| {
        let Ok(wanted) = environment.wanted() else { return false };
        let name: PackageName = "added/here".parse().expect("it is a name");
        let any = crate::env::WantedPackage::of_version(objects::version::Requirement::any());
        let mut edit = environment.edit_wanted().expect("what reads can be edited");
        let was = wanted.packages.contains_key(&name);
        edit.set(&name, &any);
        edit.set_channel(&"nightly".parse().expect("it is a channel"));
        let (_, edited) = edit.finish().expect("an edited file reads");
        let others = |wanted: &crate::env::Wanted| {
            let mut others = wanted.packages.clone();
            others.remove(&name);
            others
        };
        assert_eq!(others(&edited), others(&wanted), "an edit changes what it was not asked to");
        assert_eq!(edited.environment.channel.as_str(), "nightly");
        assert!(edited.packages.contains_key(&name));
        let mut edit = environment.edit_wanted().expect("what reads can be edited");
        assert_eq!(edit.remove(&name), was);
        true
    })
}

/// `.pkgs/config`: where an environment belongs.
pub fn binding(data: &[u8]) -> bool {
    with_file(".pkgs/config", data, |environment| environment.binding().is_ok())
}

/// `.pkgs/HEAD`: the number of the current generation.
pub fn head(data: &[u8]) -> bool {
    with_file(".pkgs/HEAD", data, |environment| {
        let _ = (environment.current(), environment.history());
        environment.head().is_ok()
    })
}

/// A generation: what stood in an environment.
pub fn generation(data: &[u8]) -> bool {
    with_file(".pkgs/generations/0", data, |environment| {
        let Ok(generation) = environment.generation(0) else { return false };
        let written = serde_json::to_vec(&generation).expect("names, numbers and texts fit into JSON");
        let again: Result<crate::env::Generation, _> = serde_json::from_slice(&written);
        assert!(again.is_ok_and(|again| again == generation), "a generation is written as another one");
        true
    })
}

/// What is known of a tree, beside the tree.
pub fn facts(data: &[u8]) -> bool {
    let tree = facts_tree();
    let stem = format!(".pkgs/dict/dict#{}", &tree.to_hex()[..32]);
    with_file(&format!("{stem}.json"), data, |environment| {
        fs::create_dir_all(environment.root().join(&stem)).expect("the folder is ours");
        let name: PackageName = "dict".parse().expect("it is a name");
        for spec in ["dict".to_owned(), format!("dict#blake3:{}", &tree.to_hex()[..16])] {
            let spec: PackageSpec = spec.parse().expect("it is a spec");
            let _ = environment.load(&spec, LoadOptions::default());
        }
        environment.has_tree(&name, tree).expect("the folder can be read")
    })
}

/// The tree that [`facts`] speak of.
pub fn facts_tree() -> TreeId {
    TreeId::new(ObjectId::of(b"tree"))
}

/// The journal of a switch: opening completes it or refuses it, and touches nothing outside.
pub fn journal(data: &[u8]) -> bool {
    let (folder, environment) = fresh();
    let root = environment.root().to_owned();
    fs::write(root.join(".pkgs/tmp/staged"), "# nothing is wanted\n").expect("the folder is ours");
    fs::write(root.join(".pkgs/journal"), data).expect("the folder is ours");
    let opened = Environment::open(&root);
    let beside = fs::read(folder.path().join("beside")).expect("it was not touched");
    assert_eq!(beside, b"untouched");
    let names = fs::read_dir(folder.path()).expect("the folder is ours").count();
    assert_eq!(names, 2, "a journal leads out of its environment");
    opened.is_ok() && !root.join(".pkgs/journal").exists()
}
