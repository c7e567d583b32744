//! Statements for other people's tools: what `pkg show --dsse` prints holds for whoever knows DSSE and nothing
//! of `pkg`, and what was tampered with does not.

use crate::disk::{has, left_out};
use crate::sandbox::{Person, Run, World, text};
use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Stdio};

/// What reads envelopes, with the library of those who wrote DSSE down.
const VERIFIER: &str = r#"
import json, sys
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
for case in json.load(sys.stdin):
    try:
        key = SSlibKey(case["keyid"], "ed25519", "ed25519", {"public": case["public"]})
        Envelope.from_dict(case["envelope"]).verify([key], 1)
        print("good")
    except Exception as error:
        print("refused:", type(error).__name__)
"#;

/// The pre-authentication encoding, written down once more from the specification.
fn pae(envelope: &Value) -> Vec<u8> {
    let kind = envelope["payloadType"].as_str().unwrap().as_bytes();
    let payload = Base64::decode_vec(envelope["payload"].as_str().unwrap()).unwrap();
    let [kind_length, payload_length] = [kind.len(), payload.len()].map(|length| length.to_string());
    let parts: [&[u8]; 5] = [b"DSSEv1", kind_length.as_bytes(), kind, payload_length.as_bytes(), &payload];
    parts.join(&b' ')
}

/// True if the first signature of `envelope` holds under `public`.
fn holds(envelope: &Value, public: &str) -> bool {
    let mut key = [0; 32];
    hex::decode_to_slice(public, &mut key).unwrap();
    let signature = Base64::decode_vec(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
    let signature = Signature::from_slice(&signature).unwrap();
    VerifyingKey::from_bytes(&key).unwrap().verify_strict(&pae(envelope), &signature).is_ok()
}

struct Case {
    name: String,
    envelope: Value,
    public: String,
    good: bool,
}

/// The good envelope, and it with another payload, another type, another signature, under another key.
fn cases(good: &Value, stranger: &str) -> Vec<Case> {
    let public = good["signatures"][0]["keyid"].as_str().unwrap();
    let kind = good["payloadType"].as_str().unwrap();
    let mut payload = Base64::decode_vec(good["payload"].as_str().unwrap()).unwrap();
    payload[10] ^= 1;
    let mut signature = Base64::decode_vec(good["signatures"][0]["sig"].as_str().unwrap()).unwrap();
    signature[0] ^= 1;
    let with = |pointer: &str, value: &str| {
        let mut envelope = good.clone();
        *envelope.pointer_mut(pointer).unwrap() = json!(value);
        envelope
    };
    let case = |what: &str, envelope, public: &str| {
        let name = format!("{kind}: {what}");
        Case { name, envelope, public: public.to_owned(), good: what == "as it is" }
    };
    vec![
        case("as it is", good.clone(), public),
        case("another payload", with("/payload", &Base64::encode_string(&payload)), public),
        case("another type", with("/payloadType", "application/vnd.pkg.note.v1+cbor"), public),
        case("another signature", with("/signatures/0/sig", &Base64::encode_string(&signature)), public),
        case("another key", good.clone(), stranger),
    ]
}

/// Every statement of a repository with one release, as `pkg show --dsse` prints it.
fn everything(ada: &Person) -> Vec<(String, Value)> {
    let repo = ada.repo();
    let mut ids = Vec::new();
    crate::sandbox::walk(&repo.join("statements"), &mut |path, meta| {
        if meta.is_file() {
            ids.push(path.file_name().unwrap().to_str().unwrap().to_owned());
        }
    });
    assert!(ids.len() >= 3, "an identity, an entry and an index at the least: {ids:?}");
    let show = |id: &String| ada.yes(["show", "--dsse", &format!("blake3:{id}"), "--repo", text(&repo)]);
    ids.iter().map(|id| (id.clone(), show(id))).collect()
}

fn all_cases(ada: &Person, stranger: &str) -> Vec<Case> {
    everything(ada).iter().flat_map(|(_, envelope)| cases(envelope, stranger)).collect()
}

/// The public key of somebody's identity.
fn public(person: &Person) -> String {
    person.yes(["id", "key"])["key"].as_str().unwrap().trim_start_matches("ed25519:").to_owned()
}

/// The envelope holds under its key and no other, over bytes whose hash is the statement's id; each change is
/// noticed (SEC-044).
#[test]
fn an_exported_statement_holds_for_others() {
    let world = World::new();
    let (ada, _) = world.with_hello();
    let stranger = public(&world.author("eve"));
    for (id, envelope) in everything(&ada) {
        assert_eq!(blake3::hash(&pae(&envelope)).to_hex().as_str(), id);
        assert_eq!(envelope["signatures"][0]["keyid"].as_str(), Some(public(&ada).as_str()));
        assert_eq!(envelope.as_object().unwrap().len(), 3);
    }
    let cases = all_cases(&ada, &stranger);
    assert_eq!(cases.len() % 5, 0);
    for case in cases {
        assert_eq!(holds(&case.envelope, &case.public), case.good, "{}", case.name);
    }
}

/// An id, a prefix of one, a ref and a package all name a statement; what names none is not found.
#[test]
fn a_statement_is_exported_by_any_of_its_names() {
    let world = World::new();
    let (ada, repo) = world.with_hello();
    let show = |what: &str| ada.yes(["show", what, "--dsse", "--repo", text(&repo)]);
    let release = ada.yes(["show", "hello", "--repo", text(&repo)]);
    let entry = release["entry"].as_str().unwrap();
    let refs = ada.yes(["show-ref", "--repo", text(&repo)]);
    let by_ref: Vec<&String> =
        refs.as_object().unwrap().iter().filter(|(_, id)| *id == entry).map(|(name, _)| name).collect();
    assert!(!by_ref.is_empty(), "{refs}");
    let expected = show(entry);
    assert_eq!(expected["payloadType"], "application/vnd.pkg.entry.v1+cbor");
    let digits = entry.trim_start_matches("blake3:");
    for name in [digits, &digits[..12], "hello", "hello@1.0.0", "hello#1.0.0", by_ref[0]] {
        assert_eq!(show(name), expected, "{name}");
    }
    let no = |what: &str| ada.no(["show", what, "--dsse", "--repo", text(&repo)], "E-NOTFOUND");
    no("nothing");
    no("hello@2.0.0");
    no("refs/tags/none");
    no("blake3:00");
    no("a b");
    no(release["release"]["tree"].as_str().unwrap());
    ada.no(["show", "a b", "--repo", text(&repo)], "E-USAGE");
}

/// A Python with securesystemslib in a folder of its own; None, with the reason, where there is none to be had.
fn python(world: &World) -> Option<std::path::PathBuf> {
    let what = "envelopes before securesystemslib";
    if !has(what, &["python3"]) {
        return None;
    }
    let venv = world.path("venv");
    let bin = venv.join("bin");
    let mut make = Command::new("python3");
    make.args(["-m", "venv", text(&venv)]);
    let mut install = Command::new(bin.join("pip"));
    install.args(["install", "-q", "--disable-pip-version-check", "--timeout", "10", "--retries", "1"]);
    install.arg("securesystemslib[crypto]==1.*");
    for command in [make, install] {
        let run = Run::of(command);
        if run.code != Some(0) {
            left_out(what, run.stderr.lines().last().unwrap_or("it cannot be installed"));
            return None;
        }
    }
    Some(bin.join("python"))
}

/// The library of DSSE's authors takes what is good and refuses what is not.
#[test]
fn securesystemslib_agrees() {
    let world = World::new();
    let Some(python) = python(&world) else { return };
    let (ada, _) = world.with_hello();
    let cases = all_cases(&ada, &public(&world.author("eve")));
    let row = |case: &Case| {
        let keyid = &case.envelope["signatures"][0]["keyid"];
        json!({ "envelope": case.envelope, "keyid": keyid, "public": case.public })
    };
    let asked = Value::Array(cases.iter().map(row).collect()).to_string();
    let mut child = Command::new(python)
        .args(["-c", VERIFIER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(asked.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), cases.len(), "{answers}");
    for (case, answer) in cases.iter().zip(answers.lines()) {
        let expected = if case.good { "good" } else { "refused: VerificationError" };
        assert_eq!(answer, expected, "{}", case.name);
    }
}
