//! Several sources of one repository: their newest words, asked at once and held against each other
//! (THREATS 1.4, step 2).
//!
//! ```text
//! ask all ──► one has answered ──► a little patience for the rest ──► longest chain, then highest number first
//!    │                                                                 │
//!    └ cannot be reached: named                                        ├ two with one number: E-FORK, both kept
//!                                                                      ├ the newest that is believed is used
//!                                                                      └ behind it: named as stale; serves objects
//! ```
//!
//! Promises: what is chosen does not depend on who answers first, only on who answers in time; a slow
//! source holds a command for [`PATIENCE`] at most once another one is believed.
//! Leaves to others: the judgement of each word (`plumbing::trust`), what is fetched because of it (`fetch`).

use crate::config::Net;
use crate::error::Error;
use crate::event::Reporter;
use crate::fetch::{self, Known};
use crate::remote::{Lookup, Remote};
use crate::session::Session;
use objects::claim::{IdentityRow, Index, Repository as RepositoryName, skip_distances};
use objects::id::StatementId;
use objects::identity::{Chain, Identity, Role};
use objects::signed::{Envelope, Signed};
use objects::summary::Summary;
use plumbing::trust::{self, Head, Judge, Line, Sighting, Statements};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the others are waited for once a source has answered.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many sources are asked at once.
const AT_ONCE: usize = 8;

/// A source that has answered, or why it did not.
type Answer = Result<Remote, Error>;

/// Sources that are being asked.
pub(crate) struct Asked {
    addresses: Vec<String>,
    answers: Receiver<(usize, Answer)>,
    /// Those that have not answered yet.
    waiting: Vec<usize>,
    /// Those that have, in the order they were named in.
    came: Vec<usize>,
    remotes: Vec<Remote>,
    failed: Vec<(usize, Error)>,
}

impl Asked {
    /// Begins to ask all of `addresses`. One alone is asked right here.
    pub(crate) fn begin(session: &Session, addresses: Vec<String>) -> Asked {
        let (sender, answers) = channel();
        let net = &session.config().net;
        match addresses.as_slice() {
            [address] => drop(sender.send((0, ask(net, address)))),
            _ => ask_at_once(net, addresses.clone(), &sender),
        }
        let waiting = (0..addresses.len()).collect();
        Asked { addresses, answers, waiting, came: Vec::new(), remotes: Vec::new(), failed: Vec::new() }
    }

    /// Waits for one more answer, then a little for the others.
    fn gather(&mut self) {
        let mut until: Option<Instant> = None;
        while !self.waiting.is_empty() {
            let answer = match until {
                None => self.answers.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => self.answers.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            match answer {
                Ok((n, answer)) => {
                    self.take(n, answer);
                    if !self.remotes.is_empty() {
                        until = until.or_else(|| Some(Instant::now() + PATIENCE));
                    }
                }
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => self.waiting.clear(),
            }
        }
    }

    fn take(&mut self, n: usize, answer: Answer) {
        self.waiting.retain(|waiting| *waiting != n);
        match answer {
            Ok(remote) => {
                let at = self.came.partition_point(|other| *other < n);
                self.came.insert(at, n);
                self.remotes.insert(at, remote);
            }
            Err(error) => self.failed.push((n, error)),
        }
    }

    /// The newest index that is believed, and the sources that have answered.
    ///
    /// # Errors
    /// `Fork` if two of them show two indexes with one number; else, if none is believed, the
    /// weightiest reason.
    pub(crate) fn newest(
        mut self,
        session: &Session,
        pinned: Option<&RepositoryName>,
        reporter: &dyn Reporter,
    ) -> Result<(Vec<Remote>, Known), Error> {
        loop {
            self.gather();
            let found = match self.remotes.is_empty() {
                true => None,
                false => Some(fetch::index(session, &self.remotes, pinned, reporter)),
            };
            match found {
                Some(Err(error)) if !is_final(session, &error) && !self.waiting.is_empty() => {}
                Some(Ok(known)) => {
                    self.tell(reporter);
                    return Ok((self.remotes, known));
                }
                Some(Err(error)) => {
                    self.tell(reporter);
                    return Err(self.failed.drain(..).map(|(_, failed)| failed).fold(error, weightier));
                }
                None if self.waiting.is_empty() => {
                    let several = self.addresses.len() > 1;
                    if several {
                        self.tell(reporter);
                    }
                    self.failed.sort_by_key(|(n, _)| *n);
                    let first = self.failed.drain(..).map(|(_, error)| error).reduce(weightier);
                    return Err(first.unwrap_or_else(no_source));
                }
                None => {}
            }
        }
    }

    /// Names those that are passed over.
    fn tell(&self, reporter: &dyn Reporter) {
        for (n, error) in &self.failed {
            reporter.warn(&format!("{} is passed over: {}", shown(&self.addresses[*n]), error.message()));
        }
        for n in &self.waiting {
            reporter.warn(&format!("{} is slow and not waited for", shown(&self.addresses[*n])));
        }
    }
}

fn ask(net: &Net, address: &str) -> Answer {
    let remote = Remote::open_by(net, address)?;
    remote.learn()?;
    Ok(remote)
}

/// The threads are not joined: one that hangs is left behind, and ends with the program at the latest.
fn ask_at_once(net: &Net, addresses: Vec<String>, sender: &Sender<(usize, Answer)>) {
    let threads = addresses.len().min(AT_ONCE);
    let queue = Arc::new(Mutex::new(addresses.into_iter().enumerate()));
    for _ in 0..threads {
        let (queue, sender, net) = (queue.clone(), sender.clone(), net.clone());
        let next = move || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::spawn(move || {
            while let Some((n, address)) = next() {
                if sender.send((n, ask(&net, &address))).is_err() {
                    return; // nobody listens any more
                }
            }
        });
    }
}

/// The refusal where there is nobody to ask.
pub(crate) fn no_source() -> Error {
    Error::usage("the environment is bound to no source", "clone one: `pkg clone SOURCE DIR`")
}

/// An address without credentials.
fn shown(address: &str) -> String {
    use plumbing::transport::address::Address;
    Address::parse(address).map_or_else(|_| address.to_owned(), |address| address.to_string())
}

/// True if no other source can make it good: a signer was caught, and nobody has said yet what holds.
pub(crate) fn is_final(session: &Session, error: &Error) -> bool {
    let Error::Trust(trust::Error::Fork { n, .. }) = error else { return false };
    let forks = session.state().and_then(|state| Ok(state.forks()?));
    forks.map_or(true, |forks| forks.iter().any(|fork| fork.kept.is_none() && fork.n == *n))
}

/// Of two failures the one to tell: not being believed weighs more than not being reached, since off
/// line one goes on with what was fetched last.
pub(crate) fn weightier(one: Error, other: Error) -> Error {
    use crate::error::Class;
    if one.class() == Class::Untrusted || other.class() != Class::Untrusted { one } else { other }
}

/// A source's word.
pub(crate) struct Word {
    /// Which of the sources.
    pub from: usize,
    /// What it says.
    pub summary: Summary,
}

/// Puts the words in the order they are judged in: whoever knows most of the owner first, since that may
/// revoke what the others are signed with; then the newest.
pub(crate) fn in_order(words: &mut [Word]) {
    let number = |summary: &Summary| summary.index.envelope().peek::<Index>().map_or(0, |index| index.n);
    words.sort_by_key(|word| {
        std::cmp::Reverse((word.summary.owner.len(), number(&word.summary), std::cmp::Reverse(word.from)))
    });
}

/// Why a word is not heard at all: a person gave its index up.
///
/// # Errors
/// If the state cannot be read.
pub(crate) fn given_up(session: &Session, word: &Word) -> Result<Option<Error>, Error> {
    let id = word.summary.index.id();
    let fork = session.state()?.forks()?.into_iter().find(|fork| fork.gave_up(id));
    Ok(fork.map(|fork| Error::Refused {
        code: "E-FORK",
        what: format!("it shows index {} that was given up: {}", fork.n, id.short(16)),
        hint: "`pkg trust log` shows both; another source has the one that was kept".into(),
    }))
}

/// Finds two indexes of one number among `words` and keeps them as evidence, before either is believed.
/// Gives the numbers, each with the sources that contradict each other. Sources of another repository than
/// `pinned` are left out: nothing of theirs is to be learned.
///
/// # Errors
/// If the state cannot be read or written.
pub(crate) fn contradictions(
    session: &Session,
    words: &[Word],
    remotes: &[Remote],
    pinned: Option<&RepositoryName>,
) -> Result<Vec<(u64, String, String)>, Error> {
    let mut found = Vec::new();
    let expected = |word: &&Word| pinned.is_none_or(|pinned| *pinned == word.summary.repository);
    let sound: Vec<(&Word, u64)> = words
        .iter()
        .filter(expected)
        .filter_map(|word| Some((word, signed_number(&owner(session, words, remotes, word)?, word)?)))
        .collect();
    for (at, (one, n)) in sound.iter().enumerate() {
        for (other, m) in &sound[at + 1..] {
            let (a, b) = (&one.summary, &other.summary);
            if n == m && a.repository == b.repository && a.index.id() != b.index.id() {
                let pair = (a.index.envelope(), b.index.envelope());
                let other = &remotes[other.from];
                keep(session, &a.repository, *n, pair, &other.shown())?;
                found.push((*n, remotes[one.from].shown(), other.shown()));
            }
        }
    }
    Ok(found)
}

/// The owner's chain as far as any of the words tells it; None if none of them stands.
fn owner(session: &Session, words: &[Word], remotes: &[Remote], of: &Word) -> Option<Chain> {
    let id = of.summary.repository.owner;
    let judge = Judge::new(session.state().ok()?, session.policy(), session.now()).ok()?;
    words.iter().filter(|word| word.summary.repository.owner == id).find_map(|word| {
        let newest = word.summary.owner.last()?;
        let n = word.summary.owner.len() as u64 - 1;
        let row = IdentityRow { n, document: newest.id() };
        judge.identity(id, Some(&row), &Documents(&word.summary.owner), &remotes[word.from].shown()).ok()
    })
}

/// The documents a summary carries.
struct Documents<'a>(&'a [Signed<Identity>]);

impl Statements for Documents<'_> {
    fn find(&self, id: StatementId) -> Result<Option<Envelope>, trust::Error> {
        Ok(self.0.iter().find(|document| document.id() == id).map(|document| document.envelope().clone()))
    }
}

/// The number of a word's index, if it is signed by keys that count today.
fn signed_number(owner: &Chain, word: &Word) -> Option<u64> {
    let newest = owner.head();
    let counts = |key: &&objects::key::PublicKey| {
        !newest.revoked.iter().chain(&newest.retired).any(|withdrawal| withdrawal.key == **key)
    };
    let role = &newest.roles.index;
    let keys = role.keys().iter().filter(counts).copied().collect();
    let role = Role::new(keys, u32::try_from(role.threshold()).ok()?).ok()?;
    let index = word.summary.index.verify(&role, "index").ok()?;
    (index.repository == word.summary.repository).then_some(index.n)
}

/// Keeps two indexes as evidence, first the one this machine knew, if it knew one.
fn keep(
    session: &Session,
    repository: &RepositoryName,
    n: u64,
    (one, other): (&Envelope, &Envelope),
    origin: &str,
) -> Result<(), Error> {
    let state = session.state()?;
    let line = Line::Index(repository.clone());
    let is_ours = state.head(&line)?.is_some_and(|head| head.id == other.id());
    let (ours, theirs) = if is_ours { (other, one) } else { (one, other) };
    let sighting = Sighting { line: &line, n, ours, theirs, origin, seen: session.now() };
    Ok(state.record_fork(&sighting)?)
}

/// Whether an older index, shown by a source that is behind, is one that the believed one grew from. If
/// not, its signer was caught: both are kept, and the number is given.
///
/// # Errors
/// If the state cannot be read or written.
pub(crate) fn rewritten(
    session: &Session,
    known: &Known,
    lookup: &Lookup<'_>,
    word: &Word,
    origin: &str,
) -> Result<Option<u64>, Error> {
    let index = &known.accepted.index;
    if word.summary.repository != index.repository {
        return Ok(None);
    }
    let Some(n) = signed_number(&known.accepted.owner, word).filter(|n| *n < index.n) else {
        return Ok(None);
    };
    let Some(ancestor) = ancestor(lookup, index, n).filter(|at| *at != word.summary.index.id()) else {
        return Ok(None);
    };
    let Ok(Some(ours)) = lookup.find(ancestor) else { return Ok(None) };
    keep(session, &index.repository, n, (&ours, word.summary.index.envelope()), origin)?;
    Ok(Some(n))
}

/// The index with number `n` that `index` grew from, by skip links; None if a statement on the way cannot
/// be had. Each step is named by its hash, from a believed index on.
pub(crate) fn ancestor(lookup: &dyn Statements, index: &Index, n: u64) -> Option<StatementId> {
    let mut at = index.clone();
    loop {
        let links = skip_distances(at.n).zip(&at.skips);
        let farthest = links.filter(|(distance, _)| at.n - distance >= n).last();
        let (distance, id) = farthest.map_or((1, at.prev), |(distance, id)| (distance, Some(*id)));
        let head = Head { n: at.n.checked_sub(distance)?, id: id? };
        if head.n <= n {
            return (head.n == n).then_some(head.id);
        }
        let envelope = lookup.find(head.id).ok()??;
        at = (envelope.id() == head.id).then(|| envelope.peek::<Index>().ok())??;
        if at.n != head.n {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use objects::id::{ObjectId, TreeId};
    use objects::key::SecretKey;
    use objects::time::Timestamp;
    use std::cell::Cell;
    use std::collections::HashMap;

    /// Statements that are counted as they are read, less one that is lost.
    struct Shelf {
        rows: HashMap<StatementId, Envelope>,
        lost: Option<StatementId>,
        asked: Cell<u64>,
    }

    impl Statements for Shelf {
        fn find(&self, id: StatementId) -> Result<Option<Envelope>, trust::Error> {
            self.asked.set(self.asked.get() + 1);
            Ok(self.rows.get(&id).filter(|_| self.lost != Some(id)).cloned())
        }
    }

    fn line(count: u64) -> (Vec<Signed<Index>>, Shelf) {
        let key = SecretKey::from_seed(&[7; 32]);
        let owner = objects::id::IdentityId::new(ObjectId::of(b"owner"));
        let mut line: Vec<Signed<Index>> = Vec::new();
        for n in 0..count {
            let at = |distance: u64| line[(n - distance) as usize].id();
            let index = Index {
                repository: RepositoryName { owner, name: "main".into() },
                n,
                prev: (n > 0).then(|| at(1)),
                skips: skip_distances(n).map(at).collect(),
                root: TreeId::new(ObjectId::of(&n.to_le_bytes())),
                size: 0,
                files: 0,
                created: Timestamp::EPOCH,
                expires: Timestamp::EPOCH,
            };
            line.push(Signed::sign(&index, &[&key]).unwrap());
        }
        let rows = line.iter().map(|signed| (signed.id(), signed.envelope().clone())).collect();
        (line, Shelf { rows, lost: None, asked: Cell::new(0) })
    }

    /// Every index is found from every later one, in few steps; what is lost on the way is told by None.
    #[test]
    fn an_older_index_is_found_in_few_steps() {
        let (line, mut shelf) = line(70);
        let index = |n: usize| line[n].envelope().peek::<Index>().unwrap();
        for from in 1..70 {
            for (to, older) in line.iter().enumerate().take(from) {
                shelf.asked.set(0);
                assert_eq!(ancestor(&shelf, &index(from), to as u64), Some(older.id()), "{from} {to}");
                assert!(shelf.asked.get() <= 7, "{from} {to}: {} steps", shelf.asked.get());
            }
        }
        assert_eq!(ancestor(&shelf, &index(0), 0), None, "an index is no ancestor of itself");
        assert_eq!(ancestor(&shelf, &index(3), 9), None);
        shelf.lost = Some(line[61].id()); // 69 - 8, on the way to 60
        assert_eq!(ancestor(&shelf, &index(69), 60), None);
        assert_eq!(ancestor(&shelf, &index(69), 61), Some(line[61].id()));
    }
}
