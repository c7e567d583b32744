//! The folder that is unpacked into.
//!
//! Promises: every write goes beneath the handle that was opened once, name by name, following no
//! link, and onto nothing that exists; so neither the archive nor another process can lead it
//! elsewhere. Bytes, files and paths stay within the limits, counted before they are written. Modes
//! are 0644 and 0755 less the umask.
//! Leaves to others: single calls to the system (`disk`), whether a path is fit to be written
//! (`path`), where links lead (`links`).

mod disk;

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode};
use rustix::io::Errno;

use super::Limits;
use super::error::{At, Fault, Reason};
use super::links::Links;
use super::path::EntryPath;
use disk::{CREATE, FOLDER, READ, free_name, names, open_folder, read_link, regular};

pub(super) use disk::bounded_text;

const COPY_BUFFER_BYTES: usize = 128 << 10;

/// One entry of an archive, as its format states it.
pub(super) struct Member<'a> {
    /// Counted from 1.
    pub(super) number: u64,
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) content: &'a mut dyn Read,
}

/// What an entry is to become.
pub(super) enum Kind {
    Folder,
    File {
        exec: Exec,
        size: u64,
    },
    Link {
        target: String,
    },
    /// A hard link: another name of a file that came before.
    Copy {
        of: String,
    },
}

/// The one bit of a mode that is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Exec {
    No,
    Yes,
}

impl Exec {
    /// The owner's bit decides, as it does in git.
    pub(super) fn of(mode: u32) -> Self {
        if mode & 0o100 == 0 { Exec::No } else { Exec::Yes }
    }

    fn mode(self) -> Mode {
        Mode::from_raw_mode(if self == Exec::Yes { 0o755 } else { 0o644 })
    }
}

/// The target, and what has been written there.
pub(super) struct Root {
    folder: OwnedFd,
    limits: Limits,
    bytes: u64,
    made: u64,
    links: Links,
    tops: Tops,
    /// Which entry made what, by the hash of its path, so that two million paths need not be kept.
    /// Two paths with one hash spoil the number in a message and nothing else: it is the disk that
    /// knows what exists.
    makers: HashMap<u64, u64>,
    hasher: RandomState,
    /// The folder of the last entry, where the next one is likely to be.
    last: Option<(String, OwnedFd)>,
    buffer: Vec<u8>,
}

/// What a hard link is another name of.
enum Original {
    File(File),
    Link(String),
}

/// What lies at the top.
enum Tops {
    Nothing,
    OneFolder(String),
    Several,
}

impl Root {
    /// Makes the folder, or takes an empty one.
    pub(super) fn create(into: &Path, limits: &Limits) -> Result<Self, Reason> {
        match std::fs::create_dir(into) {
            Err(source) if source.kind() != ErrorKind::AlreadyExists => {
                return Err(Reason::Io { what: "make the target folder", source });
            }
            _ => {}
        }
        let folder = match rustix::fs::open(into, FOLDER, Mode::empty()) {
            Err(Errno::NOTDIR) => return Err(Reason::NotFresh(into.to_owned())),
            folder => folder.map_err(Reason::io("open the target folder"))?,
        };
        if !names(&folder)?.is_empty() {
            return Err(Reason::NotFresh(into.to_owned()));
        }
        Ok(Self {
            folder,
            limits: *limits,
            bytes: 0,
            made: 0,
            links: Links::new(),
            tops: Tops::Nothing,
            makers: HashMap::new(),
            hasher: RandomState::new(),
            last: None,
            buffer: vec![0; COPY_BUFFER_BYTES],
        })
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Writes one entry.
    pub(super) fn take(&mut self, member: Member<'_>) -> Result<(), Fault> {
        let name = member.name;
        self.write(member).at(name)
    }

    fn write(&mut self, member: Member<'_>) -> Result<(), Reason> {
        let Member { number, name, kind, content } = member;
        if number > self.limits.files {
            return Err(self.too_many());
        }
        let path = EntryPath::parse(name, &self.limits)?;
        if path.is_root() {
            return match kind {
                Kind::Folder => Ok(()),
                _ => Err(Reason::Path("is that of the package itself")),
            };
        }
        self.tops.note(&path, matches!(kind, Kind::Folder));
        match kind {
            Kind::Folder => self.folder(number, &path),
            Kind::File { exec, size } => self.file(number, &path, exec, size, content),
            Kind::Link { target } => self.link(number, &path, &target),
            Kind::Copy { of } => self.copy(number, &path, &of),
        }
    }

    /// A folder may be stated again, and after what is in it: it has nothing to disagree about.
    fn folder(&mut self, number: u64, path: &EntryPath) -> Result<(), Reason> {
        match self.enter(path.as_str(), Some(number)) {
            // Here it is the entry itself that is in the way, not a folder above it.
            Err(Reason::Through(at)) if at == path.as_str() => Err(self.duplicate(path, number)),
            entered => entered.map(drop),
        }
    }

    fn file(
        &mut self,
        number: u64,
        path: &EntryPath,
        exec: Exec,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), Reason> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(Reason::Limit { what: "bytes unpacked", limit: self.limits.bytes });
        }
        self.count()?;
        let (above, name) = path.split();
        match rustix::fs::openat(self.enter(above, Some(number))?, name, CREATE, exec.mode()) {
            Err(Errno::EXIST) => Err(self.duplicate(path, number)),
            file => {
                self.made_by(path.as_str(), number);
                let file = file.map_err(Reason::io("make the file"))?.into();
                disk::pour(content, file, size, &mut self.buffer)
            }
        }
    }

    fn link(&mut self, number: u64, path: &EntryPath, target: &str) -> Result<(), Reason> {
        self.links.add(path.as_str(), target, &self.limits)?;
        self.count()?;
        let (above, name) = path.split();
        match rustix::fs::symlinkat(target, self.enter(above, Some(number))?, name) {
            Err(Errno::EXIST) => Err(self.duplicate(path, number)),
            made => {
                self.made_by(path.as_str(), number);
                made.map_err(Reason::io("make the link"))
            }
        }
    }

    fn copy(&mut self, number: u64, path: &EntryPath, of: &str) -> Result<(), Reason> {
        let of = EntryPath::parse(of, &self.limits)?;
        match self.original(&of)? {
            Original::Link(target) => self.link(number, path, &target),
            Original::File(mut file) => {
                let (mode, size) = regular(&file)?;
                self.file(number, path, Exec::of(mode), size, &mut file)
            }
        }
    }

    /// The handle of a folder, reached name by name. With a `maker`, what is missing is made in its
    /// name.
    fn enter(&mut self, path: &str, maker: Option<u64>) -> Result<BorrowedFd<'_>, Reason> {
        if path.is_empty() {
            return Ok(self.folder.as_fd());
        }
        if self.last.as_ref().is_none_or(|(at, _)| at != path) {
            let folder = self.descend(path, maker)?;
            self.last = Some((path.to_owned(), folder));
        }
        let (_, folder) = self.last.as_ref().expect("it was set above or was there before");
        Ok(folder.as_fd())
    }

    fn descend(&mut self, path: &str, maker: Option<u64>) -> Result<OwnedFd, Reason> {
        let mut here: Option<OwnedFd> = None;
        let mut end = 0;
        for name in path.split('/') {
            end += name.len();
            let above = here.as_ref().map_or(self.folder.as_fd(), |here| here.as_fd());
            let (folder, is_new) =
                open_folder(above, name, maker.is_some()).map_err(|errno| match errno {
                    Errno::LOOP | Errno::NOTDIR => Reason::Through(path[..end].to_owned()),
                    errno => Reason::io("make the folder")(errno),
                })?;
            if let (true, Some(number)) = (is_new, maker) {
                self.count()?;
                self.made_by(&path[..end], number);
            }
            here = Some(folder);
            end += 1;
        }
        Ok(here.expect("a path has at least one name"))
    }

    /// What was unpacked at `path` before.
    fn original(&mut self, path: &EntryPath) -> Result<Original, Reason> {
        let absent = || Reason::format("it is another name of a file that did not come before it");
        let (above, name) = path.split();
        let above = match self.enter(above, None) {
            Err(Reason::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                return Err(absent());
            }
            above => above?,
        };
        match rustix::fs::openat(above, name, READ, Mode::empty()) {
            Ok(file) => Ok(Original::File(file.into())),
            Err(Errno::LOOP) => read_link(above, name).map(Original::Link),
            Err(Errno::NOENT) => Err(absent()),
            Err(errno) => Err(Reason::io("read an earlier entry")(errno)),
        }
    }

    /// The text of an unpacked file, for as long as it is a plain file of at most `bytes_max`
    /// bytes.
    pub(super) fn text(&self, path: &str, bytes_max: u64) -> Result<Option<String>, Reason> {
        let mut here: Option<OwnedFd> = None;
        for name in path.split('/') {
            let above = here.as_ref().map_or(self.folder.as_fd(), |here| here.as_fd());
            here = match rustix::fs::openat(above, name, READ, Mode::empty()) {
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(None),
                file => Some(file.map_err(Reason::io("read an unpacked file"))?),
            };
        }
        let file = File::from(here.expect("a path has at least one name"));
        match regular(&file) {
            Ok(_) => bounded_text(file, bytes_max, "bytes of metadata").map(Some),
            Err(_) => Ok(None),
        }
    }

    /// The one folder that everything lies in, if there is just one.
    pub(super) fn only_folder(&self) -> Option<&str> {
        match &self.tops {
            Tops::OneFolder(name) => Some(name),
            _ => None,
        }
    }

    /// The names at the top, sorted.
    pub(super) fn tops(&self) -> Result<Vec<String>, Reason> {
        names(&self.folder)
    }

    /// Checks where the links lead, and takes away the folder `wrapper` that holds everything else.
    pub(super) fn finish(mut self, wrapper: Option<&str>) -> Result<(), Fault> {
        self.links.check(usize::from(wrapper.is_some()))?;
        if let Some(name) = wrapper {
            self.unwrap_folder(name)?;
        }
        Ok(())
    }

    /// The wrapper steps aside first, since it may hold something of its own name.
    fn unwrap_folder(&mut self, name: &str) -> Result<(), Reason> {
        let moving = Reason::io("take away the folder around the package");
        let inner =
            self.enter(name, None)?.try_clone_to_owned().map_err(Reason::io("open the package's folder"))?;
        let names = names(&inner)?;
        let aside = free_name(&names);
        rustix::fs::renameat(&self.folder, name, &self.folder, &aside).map_err(&moving)?;
        for name in &names {
            rustix::fs::renameat(&inner, name, &self.folder, name).map_err(&moving)?;
        }
        rustix::fs::unlinkat(&self.folder, &aside, AtFlags::REMOVEDIR).map_err(&moving)
    }

    fn count(&mut self) -> Result<(), Reason> {
        self.made += 1;
        if self.made > self.limits.files { Err(self.too_many()) } else { Ok(()) }
    }

    fn too_many(&self) -> Reason {
        Reason::Limit { what: "files, folders and links", limit: self.limits.files }
    }

    fn made_by(&mut self, path: &str, number: u64) {
        self.makers.insert(self.hasher.hash_one(path), number);
    }

    /// A disk that takes two spellings for one name ends here too, and knows no first maker.
    fn duplicate(&self, path: &EntryPath, again: u64) -> Reason {
        match self.makers.get(&self.hasher.hash_one(path.as_str())) {
            Some(&first) => Reason::Duplicate { first, again },
            None => Reason::Path("is, to this disk, the same as that of another entry"),
        }
    }
}

impl Tops {
    fn note(&mut self, path: &EntryPath, is_folder: bool) {
        let (top, rest) = path.top();
        *self = match std::mem::replace(self, Tops::Several) {
            Tops::Nothing if is_folder || rest.is_some() => Tops::OneFolder(top.to_owned()),
            Tops::OneFolder(name) if name == top => Tops::OneFolder(name),
            _ => Tops::Several,
        };
    }
}
