//! What comes over a wire: requests, answers with their frames, and the frames of a pipe.

use crate::sync::intake::{Intake, STORED_BYTES_MAX};
use crate::sync::message::{self, Answer, MESSAGE_BYTES_MAX, Request};
use crate::sync::peer::Peer;
use crate::sync::push::Pushed;
use crate::sync::serve::{Admitted, PushPolicy, Refusal, Server};
use crate::sync::{Source, Wanted};
use crate::transport::{Error, Service, Wire, pipe};
use objects::codec;
use objects::id::{ObjectId, StatementId, TreeId};
use objects::ingest::Ingested;
use objects::object::Find;
use objects::progress::Silent;
use objects::repository::Repository;
use objects::store::Store;
use objects::store::pack::frame;
use objects::store::pack::writer::Options;
use objects::testing::{Author, Files, TempRepository, folder_in_memory};
use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;

/// Requests behind each other: each is written again to the bytes it was read from.
pub fn request(data: &[u8]) -> bool {
    let mut rest = data;
    let mut taken = 0;
    while let Ok(Some(request)) = message::read::<Request>("the client", &mut rest) {
        let mut again = Vec::new();
        message::write(&mut again, &request).expect("a vector takes everything");
        taken += again.len();
        assert!(data[..taken].ends_with(&again), "a request was taken in another spelling");
        assert_eq!(taken + rest.len(), data.len());
        assert!(!request.word().is_empty());
    }
    taken > 0
}

/// A pipe's input: exchanges with a service that says what it hears. What that writes is well-formed.
pub fn pipe(data: &[u8]) -> bool {
    let mut output = Vec::new();
    let ended = pipe::serve(data, &mut output, &Echo).is_ok();
    if ended {
        pipe::serve(output.as_slice(), io::sink(), &Echo).expect("a pipe reads what a pipe wrote");
    }
    ended && !output.is_empty()
}

struct Echo;

impl Service for Echo {
    fn serve(&self, request: &mut dyn Read, answer: &mut dyn Write) -> io::Result<()> {
        io::copy(request, answer).map(drop)
    }
}

/// A peer that answers whatever it is asked with the same bytes.
struct Canned(Vec<u8>);

impl Wire for Canned {
    fn source(&self) -> String {
        "a peer".into()
    }

    fn exchange(&self, _: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>, Error> {
        Ok(Box::new(Cursor::new(self.0.clone())))
    }
}

/// A peer's answers, as they are and with the hashes of their frames made right: taken for its
/// summary, for statements, and for the tree that they bring. What is kept is whole.
pub fn answers(data: &[u8]) -> bool {
    let (mended, tree) = mended(data);
    let peer = Peer::new(Box::new(Canned(mended)));
    let tree = tree.unwrap_or(TreeId::new(ObjectId::of(b"")));
    let brought = brought(&peer, tree);
    let peer = Peer::new(Box::new(Canned(data.to_vec())));
    let advertised = peer.advertise().is_ok();
    let found = peer.statements(&[(StatementId::new(tree.object()), 3)]);
    assert!(found.as_ref().is_ok_and(|found| found.len() <= 4) || found.is_err());
    brought | advertised | found.is_ok_and(|found| !found.is_empty())
}

/// Asks `source` for a tree; true if all of it came. Whatever came is served again.
pub(super) fn brought(source: &dyn Source, tree: TreeId) -> bool {
    let folder = folder_in_memory();
    let store = Store::open(folder.path()).expect("the folder is ours");
    let wanted = Wanted { tree, files_max: 1_000, bytes_max: 1 << 20 };
    let options = Options { jobs: 1, ..Options::default() };
    let mut intake = Intake::begin(&store, wanted, options).expect("an empty store can be written to");
    let done = source.bring(&mut intake, &[], &Silent).is_ok() && intake.is_complete();
    intake.finish().expect("the disk takes a small pack");
    store.refresh().expect("the folder is ours");
    for pack in store.packs() {
        for (id, _) in pack.index().ids() {
            let served = store.try_find(&id).expect("what was kept is whole").expect("its index has it");
            assert_eq!(ObjectId::of(&served), id);
        }
    }
    done
}

/// The answers with the hash of each frame as its bytes have it, and the tree they bring: the first
/// object of the first frame.
fn mended(data: &[u8]) -> (Vec<u8>, Option<TreeId>) {
    let mut parts = Vec::new();
    let mut tree = None;
    let mut rest = data;
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let len = (u32::from_le_bytes(*len) as usize).min(behind.len());
        let (body, behind) = behind.split_at(len);
        rest = behind;
        let Ok(mut answer) = codec::decode::<Answer>("message", body, MESSAGE_BYTES_MAX) else {
            parts.push((None, body, &[][..]));
            continue;
        };
        let mut stored = &[][..];
        if let Answer::Frame(row) = &mut answer {
            (stored, rest) = behind.split_at(behind.len().min(row.stored as usize).min(STORED_BYTES_MAX));
            row.hash = ObjectId::of(stored);
            let raw = frame::open(stored, row.raw as usize, None).unwrap_or_default();
            let first = row.lengths.first().and_then(|len| raw.get(..*len as usize));
            tree = tree.or(first.map(|object| TreeId::new(ObjectId::of(object))));
        }
        parts.push((Some(answer), body, stored));
    }
    let mut out = Vec::new();
    for (answer, body, stored) in parts {
        let bytes = match answer {
            Some(Answer::Tree(named)) => codec::encode(&Answer::Tree(tree.unwrap_or(named))),
            Some(answer) => codec::encode(&answer),
            None => body.to_vec(),
        };
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&bytes);
        out.extend_from_slice(stored);
    }
    (out, tree)
}

/// A repository with one release of one package, to be asked.
pub struct Published {
    repository: TempRepository,
    /// The release's content.
    pub ingested: Ingested,
}

impl Published {
    /// A fresh one; the same bytes each time.
    pub fn new() -> Published {
        let repository = TempRepository::new();
        let source = folder_in_memory();
        let files =
            Files::new().file("README", "hello\n").exec("bin/run", "#!/bin/sh\n").link("run", "bin/run");
        files.write(source.path());
        let ingested = repository.ingest(source.path());
        let mut author = Author::new(1);
        author.release(&repository, "hello", "1.0.0", &ingested);
        author.announce(&repository);
        Published { repository, ingested }
    }

    /// The repository, as another process would open it.
    pub fn open(&self) -> Repository {
        self.repository.reopened()
    }
}

impl Default for Published {
    fn default() -> Self {
        Published::new()
    }
}

/// Takes no push, but looks at it.
struct NoPushes;

impl PushPolicy for NoPushes {
    fn admit(&self, pushed: &Pushed) -> Result<Box<dyn Admitted + '_>, Refusal> {
        Err(("E-POLICY".into(), format!("not {} statements", pushed.statements.len())))
    }
}

thread_local! {
    static SERVED: (Published, Server) = {
        let published = Published::new();
        let server = Server::new(Arc::new(published.open()), Some(Arc::new(NoPushes)));
        (published, server)
    };
}

/// A request to a server of a small repository. Its answer is well-formed to its end.
pub fn server(data: &[u8]) -> bool {
    let mut answer = Vec::new();
    let served = SERVED.with(|(_, server)| server.serve(&mut &data[..], &mut answer).is_ok());
    let mut rest = answer.as_slice();
    while let Some(part) = read_whole(&mut rest, served) {
        if let Answer::Frame(row) = part {
            let stored = message::read_bytes("the server", &mut rest, row.stored as usize, STORED_BYTES_MAX);
            assert!(!served || stored.is_ok_and(|stored| ObjectId::of(&stored) == row.hash));
        }
    }
    served && !answer.is_empty()
}

/// The next answer; an answer that broke off may end anywhere.
fn read_whole(rest: &mut &[u8], served: bool) -> Option<Answer> {
    match message::read("the server", rest) {
        Ok(part) => part,
        Err(error) => {
            assert!(!served, "a server's answer is malformed: {error}");
            None
        }
    }
}
