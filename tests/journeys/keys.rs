//! Keys as their owner meets them: brought along from other tools, and out of everybody else's sight while a
//! command holds them (SEC-140, SEC-141).

use crate::disk::{has, left_out};
use crate::fixture::hello;
use crate::sandbox::{Guard, PKG, Person, World, text, wait_for};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Somebody who is not root, if we are.
const NOBODY: u32 = 65_534;
const PASSPHRASE: &str = "correct horse battery staple";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A key as ssh-keygen makes it.
fn ssh_key(world: &World, name: &str, passphrase: &str) -> PathBuf {
    let path = world.path(name);
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", passphrase, "-C", "", "-f", text(&path)]);
    assert!(command.status().unwrap().success());
    path
}

/// A key of OpenSSH becomes an identity that publishes; the file stays as it was.
#[test]
fn a_key_of_openssh_publishes() {
    if !has("keys of OpenSSH", &["ssh-keygen"]) {
        return;
    }
    let world = World::new();
    let ada = world.user("ada");
    let file = ssh_key(&world, "id_ed25519", "");
    let before = fs::read(&file).unwrap();
    let own = ada.yes(["id", "new", "ada", "--key", "id_ed25519"]);
    let stated = fs::read_to_string(world.path("id_ed25519.pub")).unwrap();
    let stated = base64_of(stated.split(' ').nth(1).unwrap());
    assert_eq!(own["keys"][0]["key"], format!("ed25519:{}", hex::encode(&stated[stated.len() - 32..])));
    assert_eq!(fs::read(&file).unwrap(), before);
    let kept = ada.home.join("pkg/keys/ada.key");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(fs::read_to_string(&kept).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));

    ada.ok(["init", "--bare", "ada.repo"]);
    hello(&world.path("hello"), "1.0.0");
    ada.publish(&world.path("hello"));
    let bob = world.user("bob").clone_of("ada.repo", "work");
    bob.ok(["add", "hello", "-y"]);
    assert_eq!(bob.installed()["hello"], "1.0.0");
    ada.no(["id", "new", "ada", "--key", "id_ed25519"], "E-CONFLICT");
}

fn base64_of(digits: &str) -> Vec<u8> {
    use base64ct::{Base64, Encoding};
    Base64::decode_vec(digits).unwrap()
}

/// SEC-140: the file of another tool has to be as safe as our own; one under that tool's passphrase is refused
/// with what to do; nothing is left of what was refused.
#[test]
fn a_foreign_key_that_is_not_safe_is_refused() {
    if !has("keys of OpenSSH", &["ssh-keygen"]) {
        return;
    }
    let world = World::new();
    let ada = world.user("ada");
    let file = ssh_key(&world, "plain", "");
    let refused = |name: &str, code: &str| {
        let failure = ada.no(["id", "new", "ada", "--key", name], code);
        assert!(ada.yes(["id", "list"]).as_array().unwrap().is_empty());
        assert!(!ada.home.join("pkg/keys/ada.key").exists());
        failure.hints.join(" ")
    };
    set_mode(&file, 0o644);
    assert!(refused("plain", "E-KEYPERM").contains("chmod 600"));
    set_mode(&file, 0o600);
    std::os::unix::fs::symlink("plain", world.path("link")).unwrap();
    assert!(refused("link", "E-KEYPERM").contains("leads to"));
    fs::create_dir(world.path("open")).unwrap();
    fs::rename(&file, world.path("open/plain")).unwrap();
    set_mode(&world.path("open"), 0o777);
    assert!(refused("open/plain", "E-KEYPERM").contains("chmod 700"));
    ssh_key(&world, "locked", "secret");
    assert!(refused("locked", "E-KEYPERM").contains("ssh-keygen -p"));
    refused("locked.pub", "E-KEYPERM");
    set_mode(&world.path("locked.pub"), 0o600);
    refused("locked.pub", "E-FORMAT");
    refused("absent", "E-NOTFOUND");

    set_mode(&world.path("open"), 0o700);
    fs::write(world.path("word"), PASSPHRASE).unwrap();
    set_mode(&world.path("word"), 0o644);
    let sealed = ["id", "new", "ada", "--key", "open/plain", "--passphrase-file", "word"];
    assert!(ada.no(sealed, "E-KEYPERM").hints[0].contains("chmod 600"));
    set_mode(&world.path("word"), 0o600);
    ada.ok(sealed);
    let kept = fs::read_to_string(ada.home.join("pkg/keys/ada.key")).unwrap();
    assert!(kept.starts_with("-----BEGIN PKG ENCRYPTED KEY-----"));
}

/// Runs `program` as somebody who is not root, with core files as large as they like.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("sh");
    let change = match rustix::process::geteuid().is_root() {
        true => format!("setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"),
        false => String::new(),
    };
    command.args(["-c", &format!("ulimit -c unlimited; exec {change} \"$0\" \"$@\""), text(program)]);
    command
}

/// A command that signs, held where it has asked for the passphrase of its key.
struct Held {
    world: World,
    ada: Person,
    child: Guard,
    pipe: File,
}

impl Held {
    fn new() -> Held {
        let world = World::new();
        let ada = world.user("ada");
        fs::write(world.path("word"), PASSPHRASE).unwrap();
        set_mode(&world.path("word"), 0o600);
        ada.ok(["id", "new", "ada", "--passphrase-file", "word"]);
        ada.ok(["init", "--bare", "ada.repo"]);
        hello(&world.path("hello"), "1.0.0");
        let pipe = world.path("pipe");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::copy(PKG, world.path("pkg")).unwrap();
        if rustix::process::geteuid().is_root() {
            let mut chown = Command::new("chown");
            chown.args(["-R", &format!("{NOBODY}:{NOBODY}"), text(&world.path(""))]);
            assert!(chown.status().unwrap().success());
        }
        let mut command = unprivileged(&world.path("pkg"));
        command.args(["publish", "hello", "--to", "ada.repo"]);
        ada.with("PKG_PASSPHRASE_FILE", &pipe).dress(&mut command);
        let child = Guard(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let opened = || {
            let flags = OFlags::NONBLOCK.bits().cast_signed();
            OpenOptions::new().write(true).custom_flags(flags).open(&pipe).ok()
        };
        let mut found = None;
        wait_for("the passphrase to be asked for", || {
            found = opened(); // only once somebody reads
            found.is_some()
        });
        Held { world, ada, child, pipe: found.unwrap() }
    }

    fn look(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.0.id());
        String::from_utf8_lossy(&fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
            .into_owned()
    }
}

/// True if another process of the same user may open this file of `pid`.
fn neighbour_opens(pid: u32, file: &str) -> bool {
    let mut command = unprivileged(Path::new("sh"));
    command.args(["-c", &format!("exec 3</proc/{pid}/{file}")]).current_dir("/");
    command.stderr(Stdio::null()).status().unwrap().success()
}

/// What `kill -ABRT` makes of a process in `folder`.
fn aborted(mut child: Guard) -> ExitStatus {
    let kill = Command::new("kill").args(["-ABRT", &child.0.id().to_string()]).status().unwrap();
    assert!(kill.success());
    child.0.wait().unwrap()
}

/// A process of the same user that has nothing to hide, waiting in `folder`.
fn plain_process(folder: &Path) -> Guard {
    let mut command = unprivileged(Path::new("sleep"));
    let child = command.arg("1000").current_dir(folder).spawn().unwrap();
    let name = format!("/proc/{}/comm", child.id());
    let child = Guard(child);
    wait_for("sleep", || fs::read_to_string(&name).is_ok_and(|name| name.trim() == "sleep"));
    child
}

fn core_files(folder: &Path) -> usize {
    let is_core = |name: &str| name == "core" || name.starts_with("core.");
    fs::read_dir(folder)
        .unwrap()
        .filter(|entry| is_core(&entry.as_ref().unwrap().file_name().to_string_lossy()))
        .count()
}

/// SEC-141: a command that is about to hold a key leaves no core file, shows its memory to nobody of the same
/// user, and has no secret in its arguments or environment. Then it signs.
#[test]
#[cfg(target_os = "linux")]
fn a_key_in_use_is_out_of_sight() {
    let root = rustix::process::geteuid().is_root();
    if root && !has("keys in use", &["setpriv"]) {
        return;
    }
    let mut held = Held::new();
    let pid = held.child.0.id();
    let limits = held.look("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    assert!(!held.look("cmdline").contains(PASSPHRASE));
    let control = plain_process(&held.world.path(""));
    for file in ["mem", "environ", "maps", "auxv"] {
        assert!(!neighbour_opens(pid, file), "{file} can be opened");
        match neighbour_opens(control.0.id(), file) {
            true => {}
            false => left_out(&format!("/proc/PID/{file}"), "nobody here may look into any process"),
        }
    }
    if root {
        assert!(!held.look("environ").contains(PASSPHRASE));
    }

    use std::io::Write;
    held.pipe.write_all(format!("{PASSPHRASE}\n").as_bytes()).unwrap();
    let Held { world, ada, mut child, pipe } = held;
    drop(pipe);
    assert!(child.0.wait().unwrap().success());
    assert!(ada.repo().join("summary").exists());
    drop(world);
}

/// SEC-141: a forced abort while a key is in use leaves no core file, where that of another program does.
#[test]
fn an_abort_leaves_no_core_file() {
    if rustix::process::geteuid().is_root() && !has("aborts", &["setpriv"]) {
        return;
    }
    let held = Held::new();
    let folder = held.world.path("");
    let control = aborted(plain_process(&folder));
    if !control.core_dumped() {
        left_out("aborts", "no program leaves a core file here");
    }
    for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_string_lossy().starts_with("core") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let status = aborted(held.child);
    assert_eq!(status.signal(), Some(6));
    assert!(!status.core_dumped(), "{status}");
    assert_eq!(core_files(&folder), 0);
    drop((held.ada, held.pipe));
}
