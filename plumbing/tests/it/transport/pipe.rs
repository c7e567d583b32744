//! A wire to a real child process: this test binary again, serving on a stream of its own beside the harness's output.

use std::{
    fs::File,
    io::{self, Read},
    process::Command,
    time::Duration,
};

use plumbing::transport::{
    Error, Wire,
    limits::Limits,
    pipe::{PipeWire, serve},
};

use super::suite::{self, Actor, ask, request};

const ROLE: &str = "PLUMBING_TEST_PIPE";

/// The child. The harness prints to standard output, so answers leave by descriptor 3, which the shell made of it.
#[test]
#[ignore = "run as a child by the other tests of this file"]
fn child() {
    if std::env::var_os(ROLE).is_some() {
        serve(io::stdin().lock(), File::options().write(true).open("/dev/fd/3").unwrap(), &Actor).unwrap();
    }
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).stderr(std::process::Stdio::null());
    command
}

fn actor() -> Command {
    let mut command = shell("exec \"$@\" 3>&1 >/dev/null");
    command.arg(std::env::current_exe().unwrap());
    command.args(["transport::pipe::child", "--exact", "--ignored", "--nocapture"]).env(ROLE, "1");
    command
}

fn impatient() -> Limits {
    Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() }
}

#[test]
fn a_child_process_keeps_the_contract() {
    suite::wire(&PipeWire::spawn("child", actor(), Limits::default()).unwrap());
}

#[test]
fn one_child_serves_one_exchange_after_the_other() {
    let wire = PipeWire::spawn("child", actor(), Limits::default()).unwrap();
    for n in 0..100_u32 {
        assert_eq!(ask(&wire, request(b'e', &n.to_be_bytes())).unwrap(), n.to_be_bytes());
    }
}

#[test]
fn a_program_that_is_not_there_is_told() {
    let error = PipeWire::spawn("nobody", Command::new("/no/such/program"), Limits::default()).err().unwrap();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
}

/// A child that ends, one that talks nonsense and one that is silent are each an error, and the next exchange starts anew.
#[test]
fn a_bad_child_is_an_error_and_no_hang() {
    let ends = PipeWire::spawn("ends", shell("exit 0"), impatient()).unwrap();
    let chatters = PipeWire::spawn("chatters", shell("yes; cat"), impatient()).unwrap();
    let silent = PipeWire::spawn("silent", shell("exec sleep 600"), impatient()).unwrap();
    let cuts = PipeWire::spawn("cuts", shell("printf '\\000\\000\\000\\010half'"), impatient()).unwrap();
    for _ in 0..2 {
        assert!(matches!(ask(&ends, request(b'e', b"x")).unwrap_err(), Error::Broken { .. }));
        assert!(matches!(
            ask(&chatters, request(b'e', b"x")).unwrap_err(),
            Error::Answer { .. } | Error::Broken { .. }
        ));
        assert!(matches!(ask(&silent, request(b'e', b"x")).unwrap_err(), Error::Stalled { .. }));
        assert!(matches!(ask(&cuts, request(b'e', b"x")).unwrap_err(), Error::Broken { .. }));
    }
}

/// What a server reads and writes, byte for byte.
#[test]
fn frames_are_as_documented() {
    let served = |input: &[u8]| {
        let mut output = Vec::new();
        serve(input, &mut output, &Actor).map(|()| output)
    };
    assert_eq!(served(b"").unwrap(), b"");
    assert_eq!(served(b"\0\0\0\x03ehi\0\0\0\0").unwrap(), b"\0\0\0\x02hi\0\0\0\0");
    assert_eq!(
        served(b"\0\0\0\x01e\0\0\0\x02hi\0\0\0\0\0\0\0\0").unwrap(),
        b"\0\0\0\x02hi\0\0\0\0\0\0\0\0",
        "two exchanges"
    );
    assert_eq!(served(b"\0\0\0\x01f\0\0\0\0").unwrap(), b"\xff\xff\xff\xff", "a service that refuses");
    assert_eq!(
        served(b"\0\0\0\x01c\xff\xff\xff\xff").unwrap(),
        b"\xff\xff\xff\xff",
        "a request that is void"
    );
    for cut in [&b"\0\0"[..], b"\0\0\0\x05e", b"\0\0\0\x01e", b"\0\x10\0\x01", b"\0\0\0\x01a"] {
        assert!(served(cut).is_err(), "{cut:?}");
    }
}

/// The reader of an answer fails with our error inside, so that callers can tell what may be tried again.
#[test]
fn a_broken_answer_tells_why() {
    let wire =
        PipeWire::spawn("cuts", shell("printf '\\000\\000\\000\\004half\\000'"), Limits::default()).unwrap();
    let mut answer = wire.exchange(Box::new(request(b'e', b"x"))).unwrap();
    let mut bytes = Vec::new();
    let error = answer.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(bytes, b"half");
    assert!(Error::in_io(&error).unwrap().is_transient());
}
