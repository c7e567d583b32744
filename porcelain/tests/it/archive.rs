//! Archives, good and hostile, all of them built here byte by byte or by their own writers.

pub(crate) mod build;
mod damage;
mod format;
mod hostile;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use porcelain::archive::{self, Error, Limits, Unpacked};

/// What lies at a path: `file 644 content`, `link target`, `folder 755`.
type Listing = BTreeMap<String, String>;

/// A folder with an archive in it, and room beside it that nobody may touch.
struct Bench {
    folder: tempfile::TempDir,
    archive: PathBuf,
}

impl Bench {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the test");
        let archive = folder.path().join(name);
        fs::write(&archive, bytes).expect("the archive can be written");
        fs::create_dir(folder.path().join("victim")).expect("the victim can be made");
        fs::write(folder.path().join("victim/file"), "untouched").expect("the victim can be written");
        Self { folder, archive }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn unpack(&self) -> Result<Unpacked, Error> {
        self.unpack_within(&Limits::default())
    }

    /// Unpacks, and looks after what must not change whatever comes of it.
    fn unpack_within(&self, limits: &Limits) -> Result<Unpacked, Error> {
        let result = archive::unpack(&self.archive, &self.path("out"), limits);
        assert_eq!(
            listing(&self.path("victim")),
            Listing::from([("file".into(), "file 644 untouched".into())])
        );
        let name = self.archive.file_name().expect("it has a name").to_string_lossy().into_owned();
        let beside = ["out".to_owned(), "victim".to_owned(), name];
        for entry in fs::read_dir(self.folder.path()).expect("the folder is there") {
            let entry = entry.expect("it can be listed").file_name();
            assert!(beside.iter().any(|known| entry == known.as_str()), "{entry:?} appeared");
        }
        result
    }

    fn listing(&self) -> Listing {
        listing(&self.path("out"))
    }

    /// Unpacks what must be refused, and says with which code.
    #[track_caller]
    fn refused(&self) -> &'static str {
        let error = self.unpack().expect_err("it must be refused");
        assert!(error.to_string().contains(&format!("{:?}", self.archive)), "{error}");
        error.code()
    }
}

fn listing(root: &Path) -> Listing {
    let mut found = Listing::new();
    walk(root, root, &mut found);
    found
}

fn walk(root: &Path, at: &Path, found: &mut Listing) {
    for entry in fs::read_dir(at).expect("a folder can be listed") {
        let path = entry.expect("an entry can be read").path();
        let metadata = path.symlink_metadata().expect("an entry can be looked at");
        let mode = (metadata.permissions().mode() | umask()) & 0o7777;
        let what = if metadata.is_symlink() {
            format!("link {}", fs::read_link(&path).expect("a link can be read").display())
        } else if metadata.is_dir() {
            walk(root, &path, found);
            format!("folder {mode:o}")
        } else {
            let content = fs::read(&path).expect("a file can be read");
            format!("file {mode:o} {}", String::from_utf8_lossy(&content))
        };
        let name = path.strip_prefix(root).expect("it is beneath").to_string_lossy().into_owned();
        found.insert(name, what);
    }
}

/// The bits this process leaves out, but for those that 022 leaves out anyway.
fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").expect("there is a /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).expect("it states the umask");
    u32::from_str_radix(line.trim(), 8).expect("it is octal") & 0o755
}
