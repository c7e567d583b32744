//! What a run of the program did to the disk, call by call, as `strace` saw it; and what would be left of
//! it after a power cut.
//!
//! The disk of this room is the weakest there may be: bytes of a file last once the file was synced,
//! names in a folder once the folder was. Everything else may be lost or kept, each write and each name by
//! itself, and the last of a file's writes may be torn. Folders know their entries by name, files are
//! known by number, so a file may last without its name and a name without the file's bytes.
//!
//! Promises: what was played back in full is what stands on disk. Leaves out: modes (they last at once),
//! times, and memory shared between processes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

/// A file, folder or link, by its number.
type Node = usize;

/// The folder that everything is recorded in.
const ROOT: Node = 0;

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Folder,
    File,
    Link(String),
}

/// One change, or a promise of the kernel.
#[derive(Clone, Debug)]
enum Step {
    /// `name` in `folder` comes to mean `node`.
    Name { folder: Node, name: String, node: Node },
    /// `name` in `folder` goes.
    Unname { folder: Node, name: String },
    /// Both at once.
    Rename { from: (Node, String), to: (Node, String), node: Node },
    /// Bytes of a file.
    Write { node: Node, at: usize, bytes: Vec<u8> },
    /// A file's length.
    Cut { node: Node, length: usize },
    /// What was written to a file, or named in a folder, lasts; of everything for None.
    Sync(Option<Node>),
    /// A command told that it is done.
    Acknowledged,
}

impl Step {
    /// Whose sync makes it last.
    fn lasts_with(&self) -> Option<Node> {
        match self {
            Step::Name { folder, .. } | Step::Unname { folder, .. } => Some(*folder),
            Step::Rename { to, .. } => Some(to.0),
            Step::Write { node, .. } | Step::Cut { node, .. } => Some(*node),
            Step::Sync(_) | Step::Acknowledged => None,
        }
    }
}

/// What stands on a disk.
#[derive(Clone, Default)]
struct State {
    names: BTreeMap<Node, BTreeMap<String, Node>>,
    bytes: HashMap<Node, Vec<u8>>,
}

impl State {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Name { folder, name, node } => self.name(*folder, name, *node),
            Step::Unname { folder, name } => drop(self.names.entry(*folder).or_default().remove(name)),
            Step::Rename { from, to, node } => {
                self.names.entry(from.0).or_default().remove(&from.1);
                self.name(to.0, &to.1, *node);
            }
            Step::Write { node, at, bytes } => {
                let file = self.bytes.entry(*node).or_default();
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Step::Cut { node, length } => self.bytes.entry(*node).or_default().resize(*length, 0),
            Step::Sync(_) | Step::Acknowledged => {}
        }
    }

    fn name(&mut self, folder: Node, name: &str, node: Node) {
        self.names.entry(folder).or_default().insert(name.to_owned(), node);
    }
}

/// What becomes of a step that need not last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Lost,
    /// Only the first part of a write; of a file that grew the rest reads as zeros, or is not there.
    Torn(u64),
}

/// Commands, one after the other, as a list of steps from a first state.
pub struct Recording {
    root: PathBuf,
    kinds: Vec<Kind>,
    modes: Vec<u32>,
    first: State,
    now: State,
    steps: Vec<Step>,
}

impl Recording {
    /// Begins with what stands in `root`.
    pub fn of(root: &Path) -> Recording {
        let mut recording = Recording {
            root: root.to_owned(),
            kinds: vec![Kind::Folder],
            modes: vec![0o755],
            first: State::default(),
            now: State::default(),
            steps: Vec::new(),
        };
        recording.take_in(root, ROOT);
        recording.first = recording.now.clone();
        recording
    }

    fn take_in(&mut self, folder: &Path, node: Node) {
        self.now.names.entry(node).or_default();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let kind = match meta.file_type() {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_symlink() => Kind::Link(fs::read_link(&path).unwrap().display().to_string()),
                _ => Kind::File,
            };
            let new = self.new_node(kind.clone(), meta.permissions().mode() & 0o7777);
            self.now.name(node, path.file_name().unwrap().to_str().unwrap(), new);
            match kind {
                Kind::Folder => self.take_in(&path, new),
                Kind::File => drop(self.now.bytes.insert(new, fs::read(&path).unwrap())),
                Kind::Link(_) => {}
            }
        }
    }

    fn new_node(&mut self, kind: Kind, mode: u32) -> Node {
        self.kinds.push(kind);
        self.modes.push(mode);
        self.kinds.len() - 1
    }

    fn push(&mut self, step: Step) {
        self.now.apply(&step);
        self.steps.push(step);
    }

    /// A command is done.
    pub fn acknowledge(&mut self) {
        self.steps.push(Step::Acknowledged);
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// How many commands were done before step `end`.
    pub fn acknowledged(&self, end: usize) -> usize {
        self.steps[..end].iter().filter(|step| matches!(step, Step::Acknowledged)).count()
    }

    /// The steps before `end` that need not last when the power goes there.
    pub fn unsynced(&self, end: usize) -> Vec<usize> {
        let mut open: Vec<usize> = Vec::new();
        for (n, step) in self.steps[..end].iter().enumerate() {
            match step {
                Step::Sync(None) => open.clear(),
                Step::Sync(node) => open.retain(|open| self.steps[*open].lasts_with() != *node),
                step if step.lasts_with().is_some() => open.push(n),
                _ => {}
            }
        }
        open
    }

    /// A step, for messages.
    pub fn describe(&self, n: usize) -> String {
        match &self.steps[n] {
            Step::Write { node, at, bytes } => format!("write of {} bytes at {at} to {node}", bytes.len()),
            step => format!("{step:?}"),
        }
    }

    /// Makes `root` what is left if the power goes before step `end`; `fate` says what becomes of the
    /// steps that need not last.
    pub fn play(&self, end: usize, fate: &BTreeMap<usize, Fate>) {
        let mut state = self.first.clone();
        for (n, step) in self.steps[..end].iter().enumerate() {
            match (fate.get(&n).copied().unwrap_or(Fate::Kept), step) {
                (Fate::Kept, step) => state.apply(step),
                (Fate::Torn(dice), Step::Write { node, at, bytes }) => {
                    let kept = dice as usize % (bytes.len() + 1);
                    let length = if dice % 3 == 0 { at + bytes.len() } else { at + kept };
                    let old = state.bytes.get(node).map_or(0, Vec::len);
                    state.apply(&Step::Cut { node: *node, length: old.max(length) });
                    state.apply(&Step::Write { node: *node, at: *at, bytes: bytes[..kept].to_vec() });
                }
                _ => {}
            }
        }
        for entry in fs::read_dir(&self.root).unwrap() {
            let path = entry.unwrap().path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.unwrap();
        }
        self.write_out(&state, ROOT, &self.root);
    }

    fn write_out(&self, state: &State, folder: Node, path: &Path) {
        for (name, node) in state.names.get(&folder).into_iter().flatten() {
            let path = path.join(name);
            match &self.kinds[*node] {
                Kind::Folder => {
                    fs::create_dir(&path).unwrap();
                    self.write_out(state, *node, &path);
                }
                Kind::File => fs::write(&path, state.bytes.get(node).map_or(&[][..], |bytes| bytes)).unwrap(),
                Kind::Link(target) => {
                    symlink(target, &path).unwrap();
                    continue;
                }
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(self.modes[*node])).unwrap();
        }
    }

    /// Adds a run of the program that stood in `cwd`, from its log: `strace -f -xx`, every byte shown.
    pub fn add(&mut self, log: &str, cwd: &Path) {
        let mut calls = Calls { recording: self, cwd: cwd.to_owned(), open: HashMap::new() };
        let mut begun: HashMap<&str, &str> = HashMap::new();
        for line in log.lines() {
            let (thread, call) = line.split_once(' ').unwrap();
            let call = call.trim_start();
            if let Some(first) = call.strip_suffix(" <unfinished ...>") {
                match first.strip_prefix("close(").and_then(|fd| fd.parse().ok()) {
                    Some(fd) => drop(calls.open.remove(&fd)), // another thread may have its number at once
                    None => drop(begun.insert(thread, first)),
                }
            } else if let Some((_, rest)) = call.strip_prefix("<... ").and_then(|c| c.split_once(" resumed>"))
            {
                calls.take(&format!("{}{rest}", begun.remove(thread).unwrap_or_default()));
            } else {
                calls.take(call);
            }
        }
    }
}

/// The calls of `strace` that are needed to follow a program.
pub const FOLLOWED: &str = "openat,openat2,open,creat,close,dup,dup2,dup3,fcntl,lseek,write,writev,pwrite64,pwritev,pwritev2,\
     ftruncate,truncate,fallocate,fsync,fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,\
     rmdir,mkdir,mkdirat,symlink,symlinkat,fchmod,chmod,fchmodat,copy_file_range,sendfile,ioctl,chdir,fchdir";

/// An open file or folder below the root; others are not followed.
#[derive(Clone, Copy)]
struct Handle {
    node: Node,
    at: usize,
    appends: bool,
}

/// A process, as its calls go by.
struct Calls<'r> {
    recording: &'r mut Recording,
    cwd: PathBuf,
    open: HashMap<i64, Handle>,
}

impl Calls<'_> {
    fn take(&mut self, call: &str) {
        let Some((name, rest)) = call.split_once('(') else { return };
        let Some((args, result)) = rest.rsplit_once(" = ") else { return };
        let args = args.trim_end().trim_end_matches(')');
        let result: i64 = result.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(-1);
        if result < 0 {
            return;
        }
        let args: Vec<&str> = args.split(", ").collect();
        let number = |n: usize| args[n].trim_end_matches("...").parse::<i64>().unwrap_or(-1);
        match name {
            "openat" => self.opened(args[0], args[1], args[2], args.get(3).copied(), result),
            "open" => self.opened("AT_FDCWD", args[0], args[1], args.get(2).copied(), result),
            "openat2" => self.opened(args[0], args[1], &args[2..].concat(), None, result),
            "close" => drop(self.open.remove(&number(0))),
            "fcntl" if args[1].starts_with("F_DUPFD") => self.duplicated(number(0), result),
            "dup" | "dup2" | "dup3" => self.duplicated(number(0), result),
            "lseek" => drop(self.open.get_mut(&number(0)).map(|handle| handle.at = result as usize)),
            "write" => self.written(number(0), None, args[1]),
            "pwrite64" => self.written(number(0), Some(number(3) as usize), args[1]),
            "ftruncate" => {
                let length = number(1) as usize;
                self.with(number(0), |node| Step::Cut { node, length });
            }
            "fsync" | "fdatasync" => self.with(number(0), |node| Step::Sync(Some(node))),
            "sync" | "syncfs" => self.recording.push(Step::Sync(None)),
            "rename" => self.renamed(("AT_FDCWD", args[0]), ("AT_FDCWD", args[1])),
            "renameat" | "renameat2" => self.renamed((args[0], args[1]), (args[2], args[3])),
            "link" => self.linked(("AT_FDCWD", args[0]), ("AT_FDCWD", args[1])),
            "linkat" => self.linked((args[0], args[1]), (args[2], args[3])),
            "unlink" | "rmdir" => self.removed("AT_FDCWD", args[0]),
            "unlinkat" => self.removed(args[0], args[1]),
            "mkdir" => self.made("AT_FDCWD", args[0], Kind::Folder, args[1]),
            "mkdirat" => self.made(args[0], args[1], Kind::Folder, args[2]),
            "symlink" => self.made("AT_FDCWD", args[1], Kind::Link(unhex_text(args[0])), "0777"),
            "symlinkat" => self.made(args[1], args[2], Kind::Link(unhex_text(args[0])), "0777"),
            "fchmod" => {
                let mode = octal(args[1]);
                if let Some(handle) = self.open.get(&number(0)) {
                    self.recording.modes[handle.node] = mode;
                }
            }
            "chmod" => self.changed_mode("AT_FDCWD", args[0], args[1]),
            "fchmodat" => self.changed_mode(args[0], args[1], args[2]),
            "fcntl" => {}
            "ioctl" if !args[1].contains("FICLONE") => {}
            other => self.is_elsewhere(other, &args),
        }
    }

    /// A call that is not followed must not concern what is recorded.
    fn is_elsewhere(&self, name: &str, args: &[&str]) {
        let concerns =
            args.iter().filter_map(|arg| arg.parse().ok()).any(|fd: i64| self.open.contains_key(&fd));
        assert!(!concerns, "the recording does not know what {name}({}) does", args.join(", "));
    }

    /// The folder that a path names something in, and the name; None outside the root.
    fn place(&self, at: &str, path: &str) -> Option<(Node, String)> {
        let path = PathBuf::from(unhex_text(path));
        let (mut node, rest) = match at.parse::<i64>() {
            Ok(fd) if !path.is_absolute() => (self.open.get(&fd)?.node, path),
            _ => {
                let full = self.cwd.join(&path);
                (ROOT, full.strip_prefix(&self.recording.root).ok()?.to_owned())
            }
        };
        let mut parts: Vec<&str> = Vec::new();
        for part in rest.components() {
            match part {
                Component::Normal(part) => parts.push(part.to_str().unwrap()),
                Component::ParentDir => drop(parts.pop()),
                _ => {}
            }
        }
        let name = parts.pop().unwrap_or("."); // of the folder itself
        for part in parts {
            node = *self.recording.now.names.get(&node)?.get(part)?;
        }
        Some((node, name.to_owned()))
    }

    fn find(&self, at: &str, path: &str) -> Option<Node> {
        let (folder, name) = self.place(at, path)?;
        if name == "." { Some(folder) } else { self.recording.now.names.get(&folder)?.get(&name).copied() }
    }

    fn opened(&mut self, at: &str, path: &str, flags: &str, mode: Option<&str>, fd: i64) {
        self.open.remove(&fd);
        let node = match self.find(at, path) {
            Some(node) => node,
            None if flags.contains("O_CREAT") => {
                self.made(at, path, Kind::File, mode.unwrap_or("0666"));
                let Some(node) = self.find(at, path) else { return };
                node
            }
            None => return,
        };
        if flags.contains("O_TRUNC") {
            self.recording.push(Step::Cut { node, length: 0 });
        }
        self.open.insert(fd, Handle { node, at: 0, appends: flags.contains("O_APPEND") });
    }

    fn duplicated(&mut self, old: i64, new: i64) {
        if let Some(handle) = self.open.get(&old).copied() {
            self.open.insert(new, handle);
        }
    }

    fn with(&mut self, fd: i64, step: impl FnOnce(Node) -> Step) {
        if let Some(node) = self.open.get(&fd).map(|handle| handle.node) {
            self.recording.push(step(node));
        }
    }

    fn written(&mut self, fd: i64, at: Option<usize>, bytes: &str) {
        let Some(handle) = self.open.get_mut(&fd) else { return };
        let bytes = unhex(bytes);
        let length = self.recording.now.bytes.get(&handle.node).map_or(0, Vec::len);
        let start = at.unwrap_or(if handle.appends { length } else { handle.at });
        if at.is_none() {
            handle.at = start + bytes.len();
        }
        let node = handle.node;
        self.recording.push(Step::Write { node, at: start, bytes });
    }

    fn made(&mut self, at: &str, path: &str, kind: Kind, mode: &str) {
        let Some((folder, name)) = self.place(at, path) else { return };
        let node = self.recording.new_node(kind, octal(mode) & !0o022);
        self.recording.push(Step::Name { folder, name, node });
    }

    fn renamed(&mut self, from: (&str, &str), to: (&str, &str)) {
        let (from_place, to_place) = (self.place(from.0, from.1), self.place(to.0, to.1));
        let (Some(from_place), Some(to_place)) = (from_place, to_place) else { return };
        let Some(node) = self.find(from.0, from.1) else { return };
        self.recording.push(Step::Rename { from: from_place, to: to_place, node });
    }

    fn linked(&mut self, from: (&str, &str), to: (&str, &str)) {
        let (Some(node), Some((folder, name))) = (self.find(from.0, from.1), self.place(to.0, to.1)) else {
            return;
        };
        self.recording.push(Step::Name { folder, name, node });
    }

    fn removed(&mut self, at: &str, path: &str) {
        let Some((folder, name)) = self.place(at, path) else { return };
        self.recording.push(Step::Unname { folder, name });
    }

    fn changed_mode(&mut self, at: &str, path: &str, mode: &str) {
        if let Some(node) = self.find(at, path) {
            self.recording.modes[node] = octal(mode);
        }
    }
}

fn octal(mode: &str) -> u32 {
    u32::from_str_radix(mode.trim_start_matches("0o"), 8).unwrap()
}

/// The bytes of `"\x2f\x61…"`.
fn unhex(quoted: &str) -> Vec<u8> {
    assert!(quoted.ends_with('"'), "the log does not show every byte");
    let digits = quoted.trim_matches('"').split("\\x").skip(1);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

fn unhex_text(quoted: &str) -> String {
    String::from_utf8(unhex(quoted)).unwrap()
}
