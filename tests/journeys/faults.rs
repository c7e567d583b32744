//! Sources that misbehave: web servers over a real repository, and peers that speak the protocol.
//! Nothing wrong is kept, the next source serves, and what was broken off goes on (SEC-020 to 022,
//! 035, 064, 104, 120, REL-033, 035).

use crate::fixture::Dice;
use crate::hostile::Sentinel;
use crate::sandbox::{Failure, Person, content, public_files, text};
use crate::web::{Answer, Reply, Request, Web, file};
use objects::id::ObjectId;
use objects::repository::Repository;
use plumbing::sync::message::{self, Answer as Message, Request as Asked};
use plumbing::sync::serve::Server;
use plumbing::transport::Service;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

type Fault = Arc<dyn Fn(&Request, Reply) -> Answer + Send + Sync>;

/// A web server over ada's repository that can be made to misbehave, and bob who knows it.
struct Scene {
    sentinel: Sentinel,
    web: Web,
    fault: Arc<Mutex<Option<Fault>>>,
    repo: PathBuf,
}

impl Scene {
    fn set() -> Scene {
        let sentinel = Sentinel::new();
        let (_, repo) = sentinel.world().with_hello();
        let fault: Arc<Mutex<Option<Fault>>> = Arc::default();
        let (present, folder) = (fault.clone(), repo.clone());
        let web = Web::start(move |request| {
            let honest = file(&folder, request, true);
            match present.lock().unwrap().clone() {
                Some(fault) => fault(request, honest),
                None => Answer::Reply(honest),
            }
        });
        Scene { sentinel, web, fault, repo }
    }

    fn misbehave(&self, fault: impl Fn(&Request, Reply) -> Answer + Send + Sync + 'static) {
        *self.fault.lock().unwrap() = Some(Arc::new(fault));
    }

    fn behave(&self) {
        *self.fault.lock().unwrap() = None;
    }

    /// Somebody with an environment bound to the server, cloned while it behaved.
    fn user(&self, name: &str) -> Person {
        self.behave();
        self.sentinel.world().user(name).clone_of(&self.web.url, &format!("work-{name}"))
    }

    /// Adds `hello` from the server alone: fails with a code, or brings the right bytes.
    fn alone(&self, person: &Person, case: &str) -> Option<Failure> {
        let run = person.run(["add", "hello", "--json"]);
        self.sentinel.unharmed(person, case);
        if run.code == Some(0) {
            assert_eq!(
                content(&person.loaded("hello")),
                content(&self.sentinel.world().path("hello")),
                "{case}"
            );
            return None;
        }
        assert!(person.installed().is_empty(), "{case}");
        Some(run.failure())
    }

    /// Adds `hello` with an honest folder as second source, which has to work.
    fn with_second_source(&self, person: &Person, case: &str) {
        let wanted = person.here("pkg.cfg.toml");
        let honest = fs::read_to_string(&wanted).unwrap();
        let sources = format!("[environment]\nsources = [\"{}\"]", text(&self.repo));
        fs::write(&wanted, honest.replace("[environment]", &sources)).unwrap();
        let run = person.run(["add", "hello", "-y"]);
        assert_eq!(run.code, Some(0), "{case}: {run:?}");
        assert_eq!(content(&person.loaded("hello")), content(&self.sentinel.world().path("hello")), "{case}");
        self.sentinel.unharmed(person, case);
    }
}

/// SEC-020, 022: one flipped byte in any file: an error that names the source, or the right result;
/// with a second source always the right result.
#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let scene = Scene::set();
    let mut dice = Dice(21);
    let mut noticed = 0;
    for (n, name) in public_files(&scene.repo).into_iter().enumerate() {
        for position in 0..2 {
            let (name, roll) = (name.clone(), dice.roll() as usize);
            let case = format!("{name}, {roll}");
            let bob = scene.user(&format!("bob{n}{position}"));
            scene.misbehave(move |request, honest| Answer::Reply(flipped(request, honest, &name, roll)));
            if let Some(failure) = scene.alone(&bob, &case) {
                noticed += 1;
                let codes =
                    ["E-HASH", "E-FORMAT", "E-SIG", "E-NOTFOUND", "E-LIMIT", "E-NET", "E-IDENTITY-CHANGED"];
                assert!(codes.contains(&failure.code.as_str()), "{case}: {failure:?}");
                scene.with_second_source(&bob, &case);
            }
        }
    }
    assert!(noticed >= 6, "only {noticed} were noticed");
}

/// The honest answer, with one bit of the file `name` turned.
fn flipped(request: &Request, mut honest: Reply, name: &str, roll: usize) -> Reply {
    if request.key == name && !honest.body.is_empty() {
        let at = roll % honest.body.len();
        honest.body[at] ^= 1 << (roll % 8);
    }
    honest
}

/// SEC-021, REL-035: every answer cut short, with a head that agrees.
#[test]
fn answers_that_are_cut_are_noticed() {
    let scene = Scene::set();
    let mut dice = Dice(22);
    for round in 0..6 {
        let bob = scene.user(&format!("bob{round}"));
        let (keep, kind) =
            (dice.roll() as usize, ["summary", "statements/", ".idx", ".pack", "packs", ""][round]);
        scene.misbehave(move |request, mut honest| {
            if request.key.contains(kind) && !honest.body.is_empty() {
                honest.body.truncate(keep % honest.body.len());
            }
            Answer::Reply(honest)
        });
        let case = format!("{kind} cut");
        let failure = scene.alone(&bob, &case).unwrap_or_else(|| panic!("{case} was not noticed"));
        assert!(!failure.message.is_empty());
        scene.with_second_source(&bob, &case);
    }
}

/// REL-035, SEC-104: pages instead of files, errors, redirects in a ring and to other schemes.
#[test]
fn answers_of_another_kind_are_refused() {
    let scene = Scene::set();
    let page = || Reply::new(200, "<html><body>It works!</body></html>").header("content-type", "text/html");
    let ring = scene.web.url.clone();
    let cases: [(&str, &str, Fault); 4] = [
        ("a page for everything", "E-FORMAT", Arc::new(move |_, _| Answer::Reply(page()))),
        (
            "a ring of redirects",
            "E-NET",
            Arc::new(move |request, _| {
                Answer::Reply(Reply::new(302, "").header("location", format!("{ring}{}", request.key)))
            }),
        ),
        (
            "a redirect to a file",
            "E-NET",
            Arc::new(|_, _| Answer::Reply(Reply::new(302, "").header("location", "file:///etc/passwd"))),
        ),
        ("forbidden", "E-NET", Arc::new(|_, _| Answer::Reply(Reply::new(403, "no")))),
    ];
    for (n, (case, code, fault)) in cases.into_iter().enumerate() {
        let bob = scene.user(&format!("bob{n}"));
        *scene.fault.lock().unwrap() = Some(fault);
        let eve = scene.sentinel.world().user(&format!("eve{n}"));
        let failure = eve.no(["clone", &scene.web.url, &format!("eve-work{n}")], code);
        assert!(failure.message.contains("127.0.0.1"), "{case}: {failure:?}");
        assert!(!scene.sentinel.world().path(format!("eve-work{n}")).exists(), "{case}");
        scene.with_second_source(&bob, case);
    }
}

/// SEC-064: a body without end is cut at the limit of what was asked for.
#[test]
fn a_body_without_end_is_cut() {
    let scene = Scene::set();
    for (n, kind) in ["summary", "statements/", "info/packs"].into_iter().enumerate() {
        let bob = scene.user(&format!("bob{n}"));
        let sent = Arc::new(AtomicU64::new(0));
        let counted = sent.clone();
        scene.misbehave(move |request, honest| {
            if !request.key.contains(kind) {
                return Answer::Reply(honest);
            }
            let counted = counted.clone();
            Answer::Raw(Box::new(move |out| {
                out.write_all(b"HTTP/1.1 200 X\r\nconnection: close\r\n\r\n")?;
                loop {
                    out.write_all(&[b'x'; 4096])?;
                    counted.fetch_add(4096, Relaxed);
                }
            }))
        });
        let failure = scene.alone(&bob, kind);
        assert!(failure.is_some() || kind == "statements/", "{kind}");
        assert!(sent.load(Relaxed) < 64 << 20, "{kind}: {} bytes were taken", sent.load(Relaxed));
        scene.with_second_source(&bob, kind);
    }
}

/// How a lying peer answers: what was asked, and the honest answer.
type Lie = Arc<dyn Fn(&Asked, Vec<u8>) -> Answer + Send + Sync>;

/// A peer over ada's repository that lies about everything but its summary by GET.
fn liar(repo: PathBuf, lie: Lie) -> Web {
    let server = Arc::new(Server::new(Arc::new(Repository::open(&repo).unwrap()), None));
    Web::start(move |request| {
        if request.method != "POST" {
            return Answer::Reply(file(&repo, request, true).header("pkg-wire", 1));
        }
        let mut honest = Vec::new();
        server.serve(&mut request.body.as_slice(), &mut honest).unwrap();
        let asked: Asked = message::read("a test", &mut request.body.as_slice()).unwrap().unwrap();
        lie(&asked, honest)
    })
}

fn speak(body: Vec<u8>) -> Answer {
    Answer::Reply(Reply::new(200, body).header("pkg-wire", 1))
}

/// Says `bytes` over and over.
fn drone(bytes: Vec<u8>, counted: Arc<AtomicU64>) -> Answer {
    Answer::Raw(Box::new(move |out| {
        out.write_all(b"HTTP/1.1 200 X\r\npkg-wire: 1\r\nconnection: close\r\n\r\n")?;
        let many = bytes.repeat(1 + (64 << 10) / bytes.len());
        loop {
            out.write_all(&many)?;
            counted.fetch_add(many.len() as u64, Relaxed);
        }
    }))
}

fn said(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::write(&mut bytes, message).unwrap();
    bytes
}

fn framed(object: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(zstd_safe::compress_bound(object.len()));
    zstd_safe::compress(&mut stored, object, 3).unwrap();
    let mut bytes = Vec::new();
    message::write_frame(&mut bytes, &crate::forge::frame(&stored, object.len() as u32), &stored).unwrap();
    bytes
}

/// SEC-020, 021, 025, 120: a peer that sends other things than asked, cut, changed or without end.
#[test]
fn a_lying_peer_is_dropped_and_the_next_source_serves() {
    let drones = Arc::new(AtomicU64::new(0));
    let endless = |bytes: Vec<u8>| {
        let drones = drones.clone();
        Arc::new(move |_: &Asked, _| drone(bytes.clone(), drones.clone())) as Lie
    };
    let before = |bytes: Vec<u8>| {
        Arc::new(move |_: &Asked, honest: Vec<u8>| speak([bytes.clone(), honest].concat())) as Lie
    };
    let refusal = Message::Refused { code: "E-\u{1b}[2J".into(), message: "\u{1b}]0;owned\u{7} no".into() };
    let lies: Vec<(&str, Lie)> = vec![
        ("an object nobody asked for", before(framed(b"an object nobody asked for"))),
        (
            "another tree than asked",
            before(said(&Message::Tree(objects::id::TreeId::new(ObjectId::of(b"x"))))),
        ),
        ("nothing", Arc::new(|_, _| speak(Vec::new()))),
        ("done at once", Arc::new(|_, _| speak(said(&Message::Done {})))),
        ("a refusal with control characters", Arc::new(move |_, _| speak(said(&refusal)))),
        ("noise", Arc::new(|_, _| speak(Dice(4).bytes(10_000)))),
        ("a message of 4 GiB", before(vec![0xff; 8])),
        ("half of it", Arc::new(|_, honest| speak(honest[..honest.len() / 2].to_vec()))),
        (
            "a byte changed",
            Arc::new(|_, mut honest| {
                let at = honest.len() * 2 / 3;
                honest[at] ^= 16;
                speak(honest)
            }),
        ),
        ("trees without end", endless(said(&Message::Tree(objects::id::TreeId::new(ObjectId::of(b"x")))))),
        ("frames without end", endless(framed(b"an object nobody asked for"))),
        (
            "its own answer without end",
            Arc::new({
                let drones = drones.clone();
                move |_: &Asked, honest: Vec<u8>| {
                    let whole = honest.len() - said(&Message::Done {}).len();
                    drone(honest[..whole].to_vec(), drones.clone())
                }
            }),
        ),
        ("zeros without end", endless(vec![0; 1024])),
    ];
    let sentinel = Sentinel::new();
    let (_, repo) = sentinel.world().with_hello();
    for (n, (case, lie)) in lies.into_iter().enumerate() {
        let web = liar(repo.clone(), lie);
        let bob = sentinel.world().user(&format!("bob{n}"));
        let folder = format!("work{n}");
        let run = bob.run(["clone", &web.url, &folder, "--json"]);
        if run.code == Some(0) {
            assert_eq!(case, "its own answer without end", "{run:?}"); // cut where it is complete
            fs::remove_dir_all(sentinel.world().path(&folder)).unwrap();
        } else {
            let failure = run.failure();
            assert!(failure.message.contains("127.0.0.1"), "{case}: {failure:?}");
            assert!(!sentinel.world().path(&folder).exists(), "{case}");
        }
        sentinel.unharmed(&bob, case);
        assert!(drones.load(Relaxed) < 256 << 20, "{case}: {} bytes were taken", drones.load(Relaxed));

        // bound to the liar, with an honest folder beside it
        let bob = bob.clone_of(text(&repo), &folder);
        let config = bob.here(".pkgs/config");
        let bound = fs::read_to_string(&config).unwrap();
        let changed = bound.replace(text(&repo), &web.url);
        assert_ne!(bound, changed);
        fs::write(&config, changed).unwrap();
        let wanted = bob.here("pkg.cfg.toml");
        let sources = format!("[environment]\nsources = [\"{}\"]", text(&repo));
        fs::write(&wanted, fs::read_to_string(&wanted).unwrap().replace("[environment]", &sources)).unwrap();
        let run = bob.run(["add", "hello", "-y"]);
        assert_eq!(run.code, Some(0), "{case}: {run:?}");
        assert_eq!(content(&bob.loaded("hello")), content(&sentinel.world().path("hello")), "{case}");
        sentinel.unharmed(&bob, case);
    }
}
