//! Opening beneath a folder, never through a link.
//!
//! Promises: what is opened lies inside the folder at the moment of opening, even while others rename and link in it.
//! On Linux the kernel guarantees that in one call (`openat2`); elsewhere, and where a sandbox forbids the call, the path is walked
//! segment by segment, each opened without following links.
//! Leaves to others: checking the segments; they come from [`Key`](crate::transport::Key)s.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A folder's handle.
#[derive(Debug)]
pub(super) struct Beneath(OwnedFd);

impl Beneath {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::open(path, flags, Mode::empty())?))
    }

    /// `None` if it or a folder above it is not there. A link anywhere on the way is an error.
    pub(super) fn open_file(&self, path: &str, flags: OFlags) -> io::Result<Option<File>> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(present(open_beneath(self.0.as_fd(), path, flags))?.map(File::from))
    }

    /// The folder at `path`, where the empty path is the folder itself; `None` if it is not there.
    pub(super) fn open_folder(&self, path: &str) -> io::Result<Option<OwnedFd>> {
        let path = if path.is_empty() { "." } else { path };
        present(open_beneath(self.0.as_fd(), path, FOLDER))
    }

    /// The folder at `path`, made durably if it is not there.
    pub(super) fn make_folder(&self, path: &str) -> io::Result<OwnedFd> {
        let mut folder = openat(&self.0, ".", FOLDER, Mode::empty())?;
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            folder = step_into(folder, segment)?;
        }
        Ok(folder)
    }
}

fn step_into(folder: OwnedFd, segment: &str) -> io::Result<OwnedFd> {
    match openat(&folder, segment, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => {}
        opened => return Ok(opened?),
    }
    match rustix::fs::mkdirat(&folder, segment, Mode::from_raw_mode(0o755)) {
        Ok(()) => rustix::fs::fsync(&folder)?,
        Err(Errno::EXIST) => {} // another writer was faster
        Err(e) => return Err(e.into()),
    }
    Ok(openat(&folder, segment, FOLDER, Mode::empty())?)
}

fn present(opened: Result<OwnedFd, Errno>) -> io::Result<Option<OwnedFd>> {
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(target_os = "linux")]
fn open_beneath(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    use rustix::fs::{ResolveFlags, openat2};

    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {} // a rename ran beside the lookup
            Err(Errno::NOSYS | Errno::PERM) => return walk(root, path, flags),
            opened => return opened,
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn open_beneath(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    walk(root, path, flags)
}

fn walk(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut held: Option<OwnedFd> = None;
    let mut rest = path;
    while let Some((segment, tail)) = rest.split_once('/') {
        let next = openat(held.as_ref().map_or(root, AsFd::as_fd), segment, FOLDER, Mode::empty())?;
        (held, rest) = (Some(next), tail);
    }
    openat(held.as_ref().map_or(root, AsFd::as_fd), rest, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn scene() -> (tempfile::TempDir, Beneath) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("in/a/b")).unwrap();
        std::fs::write(dir.path().join("in/a/b/file"), "inside").unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        std::os::unix::fs::symlink("../../secret", dir.path().join("in/a/link")).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("in/folder")).unwrap();
        let root = Beneath::open(&dir.path().join("in")).unwrap();
        (dir, root)
    }

    /// Both ways of opening agree: files are found, links are not followed, not even inside.
    #[test]
    fn neither_way_follows_a_link() {
        let (_dir, root) = scene();
        for open in [open_beneath, walk] {
            let open = |path| open(root.0.as_fd(), path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC);
            let mut text = String::new();
            File::from(open("a/b/file").unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, "inside");
            assert!(matches!(open("a/absent"), Err(Errno::NOENT)));
            assert!(open("a/link").is_err());
            assert!(open("folder/b/file").is_err());
        }
    }

    #[test]
    fn folders_are_not_made_through_a_link() {
        let (dir, root) = scene();
        assert!(root.make_folder("folder/new").is_err());
        root.make_folder("a/new/deep").unwrap();
        assert!(dir.path().join("in/a/new/deep").is_dir());
        assert!(!dir.path().join("in/a/b/new").exists());
    }
}
