//! Keys that other tools made: taken if they are sound and kept safely, refused otherwise (SEC-043, SEC-140).

use base64ct::{Base64, Encoding as _};
use objects::key::{SecretKey, Signer as _};
use plumbing::trust::keyring::{Error, Passphrase, Tool, read_key};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path("key");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn read(&self, bytes: impl AsRef<[u8]>) -> Result<SecretKey, Error> {
        read(&self.put(bytes))
    }
}

fn read(path: &Path) -> Result<SecretKey, Error> {
    read_key(path, &mut || panic!("nobody has to be asked"))
}

/// What an OpenSSH key is made of, each part open to change.
#[derive(Clone)]
struct Parts {
    magic: Vec<u8>,
    cipher: &'static str,
    kdf: &'static str,
    options: Vec<u8>,
    number: u32,
    checks: [u32; 2],
    kind: &'static str,
    publics: [Vec<u8>; 3],
    seed: Vec<u8>,
    comment: Vec<u8>,
    padding: Option<Vec<u8>>,
    behind: [Vec<u8>; 2],
}

fn good() -> Parts {
    let seed = [7; 32];
    let public = SecretKey::from_seed(&seed).public().as_bytes().to_vec();
    Parts {
        magic: b"openssh-key-v1\0".to_vec(),
        cipher: "none",
        kdf: "none",
        options: vec![],
        number: 1,
        checks: [9, 9],
        kind: "ssh-ed25519",
        publics: [public.clone(), public.clone(), public],
        seed: seed.to_vec(),
        comment: b"ada@example".to_vec(),
        padding: None,
        behind: [vec![], vec![]],
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

impl Parts {
    fn body(&self) -> Vec<u8> {
        let kind = string(self.kind.as_bytes());
        let [outer, inner, last] = &self.publics;
        let public = [kind.clone(), string(outer), self.behind[0].clone()].concat();
        let mut private = self.checks.map(u32::to_be_bytes).concat();
        private.extend([kind, string(inner), string(&[&self.seed[..], last].concat())].concat());
        private.extend(string(&self.comment));
        let missing = (8 - private.len() % 8) % 8;
        private.extend(self.padding.clone().unwrap_or_else(|| (1..=missing as u8).collect()));
        let head = [string(self.cipher.as_bytes()), string(self.kdf.as_bytes()), string(&self.options)];
        let head = [self.magic.clone(), head.concat(), self.number.to_be_bytes().to_vec()].concat();
        [head, string(&public), string(&private), self.behind[1].clone()].concat()
    }

    fn text(&self) -> String {
        wrapped(&self.body())
    }
}

fn wrapped(body: &[u8]) -> String {
    let digits = Base64::encode_string(body);
    let lines: Vec<&str> =
        digits.as_bytes().chunks(70).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n", lines.join("\n"))
}

fn why(result: Result<SecretKey, Error>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(Error::Malformed { why, .. }) => why.to_owned(),
        Err(error) => panic!("{error}"),
    }
}

/// The form as OpenSSH documents it is taken, whatever the length of its comment, with or without a line end.
#[test]
fn openssh_keys_are_taken() {
    let desk = Desk::new();
    let expected = SecretKey::from_seed(&[7; 32]).public();
    for length in 0..80 {
        let parts = Parts { comment: vec![b'x'; length], ..good() };
        assert_eq!(desk.read(parts.text()).unwrap().public(), expected, "{length}");
        assert_eq!(desk.read(parts.text().trim_end()).unwrap().public(), expected, "{length}");
    }
}

/// SEC-043: a public half that is weak, or not that of the secret, is refused wherever it stands.
#[test]
fn an_openssh_key_with_another_public_half_is_refused() {
    let desk = Desk::new();
    let other = SecretKey::from_seed(&[8; 32]).public().as_bytes().to_vec();
    for place in 0..3 {
        let mut parts = good();
        parts.publics[place] = other.clone();
        assert_eq!(why(desk.read(parts.text())), "its public key is not that of its secret key", "{place}");
    }
    let all = |public: Vec<u8>| Parts { publics: [public.clone(), public.clone(), public], ..good() };
    assert_eq!(why(desk.read(all(other).text())), "its public key is not that of its secret key");
    // a point of order 8, one of mixed order, and no point at all
    for (digits, expected) in [
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "weak"),
        ("cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d", "weak"),
        ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "no point"),
    ] {
        let said = why(desk.read(all(hex::decode(digits).unwrap()).text()));
        assert!(said.contains(expected), "{said}");
    }
}

/// What is malformed is refused, part by part, without a word of its content.
#[test]
fn malformed_openssh_keys_are_refused() {
    let desk = Desk::new();
    let cases: Vec<(&str, Parts)> = vec![
        ("magic", Parts { magic: b"openssh-key-v2\0".to_vec(), ..good() }),
        ("kdf options", Parts { options: vec![1], ..good() }),
        ("no key", Parts { number: 0, ..good() }),
        ("two keys", Parts { number: 2, ..good() }),
        ("kind", Parts { kind: "ssh-rsa", ..good() }),
        ("security key", Parts { kind: "sk-ssh-ed25519@openssh.com", ..good() }),
        ("checks", Parts { checks: [1, 2], ..good() }),
        ("short public", Parts { publics: [vec![1; 31], vec![1; 31], vec![1; 31]], ..good() }),
        ("short seed", Parts { seed: vec![7; 31], ..good() }),
        ("long seed", Parts { seed: vec![7; 33], ..good() }),
        ("wrong padding", Parts { padding: Some(vec![9; 2]), ..good() }),
        ("no padding", Parts { padding: Some(vec![]), comment: b"abc".to_vec(), ..good() }),
        ("block of padding", Parts { padding: Some((1..=10).collect()), ..good() }),
        ("behind the public key", Parts { behind: [vec![0], vec![]], ..good() }),
        ("behind all", Parts { behind: [vec![], vec![0]], ..good() }),
    ];
    for (name, parts) in cases {
        assert_ne!(why(desk.read(parts.text())), "ok", "{name}");
    }
    let body = good().body();
    for length in 0..body.len() {
        assert_ne!(why(desk.read(wrapped(&body[..length]))), "ok", "cut at {length}");
    }
    let text = good().text();
    let unlike = [
        text.replace('\n', "\r\n"),
        text.replace("-----END", "\n-----END"),
        text.replacen('\n', "\n\n", 2),
        text.replace("OPENSSH PRIVATE KEY-----\n", "OPENSSH PRIVATE KEY-----\n "),
        text.replace('=', ""),
        format!("{text}{text}"),
        format!("{text}\n"),
        format!("\n{text}"),
        text.lines()
            .map(|line| if line.len() == 70 { line.to_owned() } else { format!("{line}\n") })
            .collect(),
    ];
    for text in &unlike {
        let error = desk.read(text).unwrap_err();
        assert_eq!(error.code(), "E-FORMAT", "{text}");
        assert!(!error.to_string().contains("b3Blbn"));
    }
}

/// A key under a passphrase of another tool is named as such, with what that tool can do about it.
#[test]
fn a_key_encrypted_by_another_tool_is_named() {
    let desk = Desk::new();
    let parts = Parts { cipher: "aes256-ctr", kdf: "bcrypt", options: vec![0; 24], ..good() };
    let error = desk.read(parts.text()).unwrap_err();
    assert!(matches!(error, Error::Encrypted { tool: Tool::Ssh, .. }), "{error}");
    assert_eq!(error.code(), "E-KEYPERM");
    assert!(error.hint().unwrap().contains("ssh-keygen -p"));
    let pkcs8 = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = desk.read(pkcs8).unwrap_err();
    assert!(matches!(error, Error::Encrypted { tool: Tool::Openssl, .. }), "{error}");
    assert!(error.hint().unwrap().contains("openssl pkey"));
}

/// True if the tool is here and did as it was told.
fn made(program: &str, args: &[&str]) -> bool {
    let made = Command::new(program).args(args).output().is_ok_and(|output| output.status.success());
    if !made {
        println!("left out: {program} is not here, or cannot {}", args.join(" "));
    }
    made
}

/// The real tools agree: what ssh-keygen and openssl make is taken, with the public half they state.
#[test]
fn keys_of_the_real_tools_are_taken() {
    let desk = Desk::new();
    let path = |name: &str| desk.path(name).to_str().unwrap().to_owned();
    let (plain, locked, rsa) = (path("plain"), path("locked"), path("rsa"));
    if made("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "ada@example", "-f", &plain]) {
        let key = read(Path::new(&plain)).unwrap();
        let public = fs::read_to_string(format!("{plain}.pub")).unwrap();
        let stated = Base64::decode_vec(public.split(' ').nth(1).unwrap()).unwrap();
        assert_eq!(stated[stated.len() - 32..], *key.public().as_bytes());
    }
    if made("ssh-keygen", &["-q", "-t", "ed25519", "-N", "secret", "-f", &locked]) {
        assert!(matches!(read(Path::new(&locked)), Err(Error::Encrypted { tool: Tool::Ssh, .. })));
        assert!(
            made("ssh-keygen", &["-q", "-p", "-P", "secret", "-N", "", "-f", &locked]),
            "the hint serves"
        );
        read(Path::new(&locked)).unwrap();
    }
    if made("ssh-keygen", &["-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", &rsa]) {
        assert_eq!(why(read(Path::new(&rsa))), "it is not an ed25519 key");
    }
    let (pkcs8, locked) = (path("pkcs8"), path("locked8"));
    if made("openssl", &["genpkey", "-algorithm", "ed25519", "-out", &pkcs8]) {
        fs::set_permissions(&pkcs8, Permissions::from_mode(0o600)).unwrap();
        read(Path::new(&pkcs8)).unwrap();
        let lock = ["pkcs8", "-topk8", "-in", &pkcs8, "-passout", "pass:secret", "-out", &locked];
        if made("openssl", &lock) {
            fs::set_permissions(&locked, Permissions::from_mode(0o600)).unwrap();
            assert!(matches!(read(Path::new(&locked)), Err(Error::Encrypted { tool: Tool::Openssl, .. })));
        }
    }
}

/// A key of another keyring, under its passphrase, comes along.
#[test]
fn a_key_of_another_keyring_is_taken() {
    let desk = Desk::new();
    let ring = plumbing::trust::keyring::Keyring::open(&desk.path("keys")).unwrap();
    let key = ring.create("k", Some(&Passphrase::from("open".to_owned()))).unwrap();
    let file = desk.path("keys/k.key");
    let found = read_key(&file, &mut || Some(Passphrase::from("open".to_owned()))).unwrap();
    assert_eq!(found.public(), key.public());
    assert!(matches!(read_key(&file, &mut || None), Err(Error::Locked(_))));
    assert!(matches!(read(&desk.path("absent")), Err(Error::Absent(_))));
}

/// SEC-140: a passphrase in a file that others may read is refused; a pipe is its writer's business.
#[test]
fn a_passphrase_others_can_read_is_refused() {
    let desk = Desk::new();
    let path = desk.put("open sesame\nsecond line\n");
    assert!(Passphrase::read(&path).unwrap() == Passphrase::from("open sesame".to_owned()));
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(Passphrase::read(&path).unwrap_err().code(), "E-KEYPERM", "{mode:o}");
    }
    let pipe = desk.path("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::write(pipe, "by pipe\n").unwrap()
    });
    assert!(Passphrase::read(&pipe).unwrap() == Passphrase::from("by pipe".to_owned()));
    writer.join().unwrap();
}
