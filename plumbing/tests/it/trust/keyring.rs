//! Secret keys as files: who may read them, and what is refused (SEC-140).

use objects::key::{SecretKey, Signer as _};
use plumbing::trust::keyring::{Error, Fault, Keyring, Passphrase, read_key};
use rustix::fs::Mode;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Home {
        Home { folder: tempfile::tempdir().unwrap() }
    }

    fn keys(&self) -> PathBuf {
        self.folder.path().join("deep/keys")
    }

    fn ring(&self) -> Keyring {
        Keyring::open(&self.keys()).unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.keys().join(format!("{name}.key"))
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn word(text: &str) -> Passphrase {
    Passphrase::from(text.to_owned())
}

fn unasked() -> Option<Passphrase> {
    panic!("nobody has to be asked")
}

fn load(ring: &Keyring, name: &str) -> Result<SecretKey, Error> {
    ring.load(name, &mut unasked)
}

/// A key comes back as it was made, in both forms, and each draw is another key.
#[test]
fn keys_come_back() {
    let home = Home::new();
    let ring = home.ring();
    let plain = ring.create("plain", None).unwrap();
    let sealed = ring.create("sealed", Some(&word("open"))).unwrap();
    assert_ne!(plain.public(), sealed.public());
    assert_eq!(load(&ring, "plain").unwrap().public(), plain.public());
    assert_eq!(ring.load("sealed", &mut || Some(word("open"))).unwrap().public(), sealed.public());
    assert!(matches!(ring.load("sealed", &mut || Some(word("shut"))), Err(Error::Passphrase(_))));
    assert!(matches!(ring.load("sealed", &mut || None), Err(Error::Locked(_))));
    assert_eq!(ring.list().unwrap(), ["plain", "sealed"]);
    assert!(matches!(load(&ring, "absent"), Err(Error::Absent(_))));
    assert_eq!(fs::read_dir(home.keys()).unwrap().count(), 2, "nothing is left beside the keys");
}

/// The plain form is what other tools write: PKCS#8 of version 1, as in RFC 8410.
#[test]
fn the_plain_form_is_pkcs8() {
    let home = Home::new();
    let ring = home.ring();
    // The example key of RFC 8410, section 10.3, in both versions of PKCS#8.
    let first = "-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
        -----END PRIVATE KEY-----\n";
    fs::write(home.file("rfc"), first).unwrap();
    set_mode(&home.file("rfc"), 0o600);
    let key = load(&ring, "rfc").unwrap();
    let public = "ed25519:19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    assert_eq!(key.public().to_string(), public);
    ring.insert("again", &key, None).unwrap();
    assert_eq!(fs::read_to_string(home.file("again")).unwrap(), first);
}

/// SEC-140: under any umask new keys are 0600 in a 0700 folder, and load exactly if nobody else can read or
/// exchange them: every mode of the file by every mode of the folder. In a process of its own, for the umask is
/// the process's.
#[test]
fn new_keys_are_private_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let mut command = Command::new("sh");
        command.args(["-c", "umask $0 && exec \"$@\"", umask]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "trust::keyring::the_matrix_of_modes", "--nocapture"]);
        let home = Home::new();
        let output = command.env("PKG_TEST_FOLDER", home.folder.path()).output().unwrap();
        assert!(output.status.success(), "{umask}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "{umask}: {output:?}");
    }
}

/// What `new_keys_are_private_whatever_the_umask` runs; nothing by itself.
#[test]
fn the_matrix_of_modes() {
    let Some(folder) = std::env::var_os("PKG_TEST_FOLDER") else { return };
    let keys = PathBuf::from(folder).join("keys");
    let file = |name: &str| keys.join(format!("{name}.key"));
    let ring = Keyring::open(&keys).unwrap();
    ring.create("plain", None).unwrap();
    ring.create("sealed", Some(&word("open"))).unwrap();
    assert_eq!(mode(&keys), 0o700);
    assert_eq!((mode(&file("plain")), mode(&file("sealed"))), (0o600, 0o600));

    let code = |result: Result<SecretKey, Error>| result.map_or_else(|error| error.code(), |_| "ok");
    for folder_mode in (0..0o100).map(|others| 0o700 | others).chain([0o1777, 0o1700, 0o2700, 0o500]) {
        set_mode(&keys, folder_mode);
        for file_mode in (0..0o100).flat_map(|others| [0o600 | others, 0o400 | others, 0o700 | others]) {
            set_mode(&file("plain"), file_mode);
            let safe = folder_mode & 0o022 == 0 && file_mode & 0o077 == 0;
            let expected = if safe { "ok" } else { "E-KEYPERM" };
            assert_eq!(code(load(&ring, "plain")), expected, "{folder_mode:o} {file_mode:o}");
            assert_eq!(
                code(read_key(&file("plain"), &mut unasked)),
                expected,
                "{folder_mode:o} {file_mode:o}"
            );
        }
    }
}

/// SEC-140: a file that others may read or write is refused, and one the owner alone may is not.
#[test]
fn a_key_others_can_read_is_refused() {
    let home = Home::new();
    let ring = home.ring();
    ring.create("k", None).unwrap();
    for (mode, expected) in [
        (0o600, "ok"),
        (0o400, "ok"),
        (0o700, "ok"),
        (0o640, "E-KEYPERM"),
        (0o604, "E-KEYPERM"),
        (0o620, "E-KEYPERM"),
        (0o602, "E-KEYPERM"),
        (0o610, "E-KEYPERM"),
        (0o644, "E-KEYPERM"),
        (0o666, "E-KEYPERM"),
        (0o777, "E-KEYPERM"),
    ] {
        set_mode(&home.file("k"), mode);
        let code = load(&ring, "k").map_or_else(|error| error.code(), |_| "ok");
        assert_eq!(code, expected, "{mode:o}");
    }
}

/// SEC-140: a folder in which others may write is refused, when it is opened and ever after.
#[test]
fn a_folder_others_can_write_is_refused() {
    let home = Home::new();
    let ring = home.ring();
    ring.create("k", None).unwrap();
    for (mode, expected) in [
        (0o700, "ok"),
        (0o755, "ok"),
        (0o750, "ok"),
        (0o770, "E-KEYPERM"),
        (0o702, "E-KEYPERM"),
        (0o777, "E-KEYPERM"),
        (0o1777, "E-KEYPERM"),
    ] {
        set_mode(&home.keys(), mode);
        let code = |result: Result<(), Error>| result.map_or_else(|error| error.code(), |()| "ok");
        assert_eq!(code(Keyring::open(&home.keys()).map(drop)), expected, "open {mode:o}");
        assert_eq!(code(load(&ring, "k").map(drop)), expected, "load {mode:o}");
        let name = format!("new{mode:o}");
        assert_eq!(code(ring.create(&name, None).map(drop)), expected, "create {mode:o}");
        assert_eq!(home.file(&name).exists(), expected == "ok");
    }
}

/// SEC-140: what belongs to another user is refused. Only root can show it.
#[test]
fn a_key_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = Home::new();
    let ring = home.ring();
    ring.create("k", None).unwrap();
    std::os::unix::fs::chown(home.file("k"), Some(65_534), None).unwrap();
    let refused = |result: Result<SecretKey, Error>| match result.unwrap_err() {
        error @ Error::Unsafe { why: Fault::Owner, .. } => assert_eq!(error.code(), "E-KEYPERM"),
        error => panic!("{error}"),
    };
    refused(load(&ring, "k"));
    refused(read_key(&home.file("k"), &mut unasked));
    std::os::unix::fs::chown(home.file("k"), Some(0), None).unwrap();
    std::os::unix::fs::chown(home.keys(), Some(65_534), None).unwrap();
    refused(load(&ring, "k"));
    refused(read_key(&home.file("k"), &mut unasked));
    refused(ring.create("new", None));
    let error = Keyring::open(&home.keys()).unwrap_err();
    assert!(matches!(error, Error::Unsafe { why: Fault::Owner, .. }), "{error}");
}

/// A link, a folder or a pipe under a key's name is refused, and a pipe is not waited for.
#[test]
fn what_is_no_file_is_refused() {
    let home = Home::new();
    let ring = home.ring();
    ring.create("k", None).unwrap();
    symlink(home.file("k"), home.file("link")).unwrap();
    fs::create_dir(home.file("folder")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, home.file("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
        .unwrap();
    for name in ["link", "folder", "pipe"] {
        for error in [load(&ring, name).unwrap_err(), read_key(&home.file(name), &mut unasked).unwrap_err()] {
            assert_eq!(error.code(), "E-KEYPERM", "{name}");
            assert!(error.hint().is_some(), "{name}");
        }
    }
}

/// Each reason why a key cannot be used has a hint of its own.
#[test]
fn each_cause_has_its_own_hint() {
    let home = Home::new();
    let ring = home.ring();
    ring.create("k", Some(&word("open"))).unwrap();
    let hint = |error: Error| {
        assert_eq!(error.code(), "E-KEYPERM");
        error.hint().unwrap()
    };
    let wrong = hint(ring.load("k", &mut || Some(word("shut"))).unwrap_err());
    assert!(wrong.contains("try again") && !wrong.contains("chmod"), "{wrong}");
    let locked = hint(ring.load("k", &mut || None).unwrap_err());
    assert!(locked.contains("PKG_PASSPHRASE_FILE") && !locked.contains("chmod"), "{locked}");
    set_mode(&home.file("k"), 0o644);
    assert!(hint(load(&ring, "k").unwrap_err()).contains("chmod 600"));
}

/// A key is never replaced.
#[test]
fn a_key_is_never_replaced() {
    let home = Home::new();
    let ring = home.ring();
    let first = ring.create("k", None).unwrap();
    assert!(matches!(ring.create("k", None), Err(Error::Exists(_))));
    assert!(matches!(ring.insert("k", &first, Some(&word("open"))), Err(Error::Exists(_))));
    assert_eq!(load(&ring, "k").unwrap().public(), first.public());
    assert_eq!(fs::read_dir(home.keys()).unwrap().count(), 1);
}

/// A key's name is no path.
#[test]
fn odd_names_are_refused() {
    let home = Home::new();
    let ring = home.ring();
    let long = "a".repeat(65);
    for name in ["", ".", "..", "../k", "a/b", "A", "-k", ".k", "k\n", "ключ", &long] {
        assert!(matches!(ring.create(name, None), Err(Error::Name(_))), "{name:?}");
        assert!(matches!(load(&ring, name), Err(Error::Name(_))), "{name:?}");
    }
    for name in ["a", "0", "laptop.2024_b-1", &"a".repeat(64)] {
        ring.create(name, None).unwrap();
    }
}

/// Damaged, foreign and endless files are refused without a word of their content.
#[test]
fn a_damaged_file_is_refused() {
    let home = Home::new();
    let ring = home.ring();
    ring.create("good", None).unwrap();
    let good = fs::read_to_string(home.file("good")).unwrap();
    let secret = good.lines().nth(1).unwrap();
    let cases: [Vec<u8>; 6] = [
        Vec::new(),
        good.as_bytes()[..good.len() / 2].to_vec(),
        good.replace("MC4C", "MC4D").into_bytes(),
        good.replace("PRIVATE", "PUBLIC").into_bytes(),
        vec![0xff; 100],
        format!("{good}{}", "\n".repeat(5_000)).into_bytes(),
    ];
    for (nth, bytes) in cases.iter().enumerate() {
        let name = format!("bad{nth}");
        fs::write(home.file(&name), bytes).unwrap();
        set_mode(&home.file(&name), 0o600);
        let error = load(&ring, &name).unwrap_err();
        assert_eq!(error.code(), "E-FORMAT", "{nth}");
        assert!(!format!("{error} {error:?}").contains(secret));
    }
}

/// Secrets show in no debug print.
#[test]
fn secrets_are_not_printed() {
    let home = Home::new();
    let key = home.ring().create("k", None).unwrap();
    let printed = format!("{:?} {:?} {:?}", word("open sesame"), key, home.ring());
    assert!(!printed.contains("sesame") && !printed.contains(&hex::encode(key.seed())), "{printed}");
}

/// What `secrets_are_wiped` looks into; nothing by itself.
#[test]
fn a_process_that_had_keys() {
    let Some(folder) = std::env::var_os("PKG_TEST_KEYS") else { return };
    let keys = PathBuf::from(folder);
    let control = std::hint::black_box(Box::new(*CONTROL));
    let ring = Keyring::open(&keys).unwrap();
    let signed = |key: SecretKey| assert!(key.public().verifies(b"word", &key.sign(b"word")));
    signed(load(&ring, "plain").unwrap());
    signed(ring.load("sealed", &mut || Some(Passphrase::read(&keys.join("word")).unwrap())).unwrap());
    signed(read_key(&keys.join("plain.key"), &mut unasked).unwrap());
    println!("stack {}", (&raw const keys).addr());
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert_eq!(&*control, CONTROL);
}

/// What is found, if anything is.
const CONTROL: &[u8; 32] = b"the scan finds what is not wiped";

/// SEC-141: of a key that was used nothing is left in the heap: neither its seed, nor the text of its file, nor
/// its passphrase. Only root may look.
#[test]
#[cfg(target_os = "linux")]
fn secrets_are_wiped() {
    use std::io::{BufRead as _, BufReader};
    use std::process::Stdio;
    if !rustix::process::geteuid().is_root() {
        println!("left out: only root may read the memory of a shielded process");
        return;
    }
    let passphrase = "correct horse battery staple";
    let home = Home::new();
    let ring = home.ring();
    let seeds =
        [ring.create("plain", None).unwrap(), ring.create("sealed", Some(&word(passphrase))).unwrap()];
    fs::write(home.keys().join("word"), passphrase).unwrap();
    set_mode(&home.keys().join("word"), 0o600);
    let text = fs::read_to_string(home.file("plain")).unwrap();

    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "trust::keyring::a_process_that_had_keys", "--nocapture"]);
    let mut child = command
        .env("PKG_TEST_KEYS", home.keys())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let stack = lines.find_map(|line| Some(line.split_once("stack ")?.1.parse().unwrap())).unwrap();
    let heap = heap(child.id(), stack);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());

    // the allocator writes over the first bytes of what was given back
    let found = |secret: &[u8]| heap.windows(16).any(|bytes| bytes == &secret[secret.len() - 16..]);
    assert!(found(CONTROL));
    assert!(!found(seeds[0].seed()), "the seed of a plain key");
    assert!(!found(seeds[1].seed()), "the seed of a sealed key");
    assert!(!found(text.lines().nth(1).unwrap().as_bytes()), "the text of a key file");
    assert!(!found(passphrase.as_bytes()), "a passphrase");
}

/// The memory another process has written to, but for the files it maps and the stack at this address.
#[cfg(target_os = "linux")]
fn heap(pid: u32, stack: u64) -> Vec<u8> {
    use std::os::unix::fs::FileExt as _;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut found = Vec::new();
    for line in fs::read_to_string(format!("/proc/{pid}/maps")).unwrap().lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (from, to) = fields[0].split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let of_a_file = fields.get(5).is_some_and(|name| *name != "[heap]");
        if fields[1].starts_with("rw") && !of_a_file && !(from..to).contains(&stack) {
            let mut bytes = vec![0; (to - from) as usize];
            memory.read_exact_at(&mut bytes, from).unwrap();
            found.extend(bytes);
        }
    }
    found
}
