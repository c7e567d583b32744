//! Folders made from a list, and what a folder looks like, to be compared.

use crate::id::ObjectId;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

/// What stands under a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    File { bytes: Vec<u8>, mode: u32 },
    Link(String),
    Dir,
}

/// Files, links and folders to be written, by path. Folders above a path come by themselves.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeMap<String, Node>);

impl Files {
    /// Nothing yet.
    pub fn new() -> Files {
        Files::default()
    }

    /// A file with mode 0644.
    pub fn file(self, path: &str, bytes: impl AsRef<[u8]>) -> Files {
        self.file_with_mode(path, bytes, 0o644)
    }

    /// A file with mode 0755.
    pub fn exec(self, path: &str, bytes: impl AsRef<[u8]>) -> Files {
        self.file_with_mode(path, bytes, 0o755)
    }

    /// A file with any mode.
    pub fn file_with_mode(mut self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) -> Files {
        self.0.insert(path.to_owned(), Node::File { bytes: bytes.as_ref().to_vec(), mode });
        self
    }

    /// A symbolic link.
    pub fn link(mut self, path: &str, target: &str) -> Files {
        self.0.insert(path.to_owned(), Node::Link(target.to_owned()));
        self
    }

    /// A folder, which may stay empty.
    pub fn dir(mut self, path: &str) -> Files {
        self.0.insert(path.to_owned(), Node::Dir);
        self
    }

    /// Writes all into the folder `to`, by name.
    pub fn write(&self, to: &Path) {
        self.0.iter().for_each(|(path, node)| node.write(&to.join(path)));
    }

    /// Writes all into the folder `to`, last name first: the disk then lists them in another order.
    pub fn write_backwards(&self, to: &Path) {
        self.0.iter().rev().for_each(|(path, node)| node.write(&to.join(path)));
    }
}

impl Node {
    fn write(&self, path: &Path) {
        let above = path.parent().expect("a path in a folder has one above it");
        fs::create_dir_all(above).expect("the folder is ours");
        match self {
            Node::Dir => fs::create_dir_all(path).expect("the folder is ours"),
            Node::Link(target) => symlink(target, path).expect("the folder is ours"),
            Node::File { bytes, mode } => {
                fs::write(path, bytes).expect("the folder is ours");
                fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("the file is ours");
            }
        }
    }
}

/// What can be seen of one path: its mode, its times, and its bytes or target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Kind and permission bits.
    pub mode: u32,
    /// Seconds and nanoseconds of the last change of content.
    pub modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of anything.
    pub changed: (i64, i64),
    /// The hash of a file's bytes, a link's target, nothing for a folder.
    pub content: String,
}

/// All there is in the folder `root`, itself included: equal if and only if nothing was touched.
pub fn snapshot(root: &Path) -> BTreeMap<String, Stamp> {
    let mut seen = BTreeMap::new();
    look(root, root, &mut seen);
    seen
}

/// The files of a repository and the hashes of their bytes, empty files and times left out.
pub fn snapshot_of_store(root: &Path) -> BTreeMap<String, String> {
    let files = snapshot(root).into_iter().filter(|(_, stamp)| stamp.mode & 0o170_000 == 0o100_000);
    let empty = ObjectId::of(b"").to_hex();
    files.map(|(path, stamp)| (path, stamp.content)).filter(|(_, content)| *content != empty).collect()
}

fn look(root: &Path, path: &Path, seen: &mut BTreeMap<String, Stamp>) {
    let meta = fs::symlink_metadata(path).expect("the path was just listed");
    let content = if meta.is_symlink() {
        fs::read_link(path).expect("it is a link").display().to_string()
    } else if meta.is_file() {
        ObjectId::of(&fs::read(path).expect("the file is ours")).to_hex()
    } else {
        String::new()
    };
    let key = path.strip_prefix(root).expect("it lies below").display().to_string();
    let (modified, changed) = ((meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
    seen.insert(key, Stamp { mode: meta.mode(), modified, changed, content });
    if meta.is_dir() {
        for entry in fs::read_dir(path).expect("the folder is ours") {
            look(root, &entry.expect("the folder is ours").path(), seen);
        }
    }
}
