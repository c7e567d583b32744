//! Random histories of honest and hostile acts, judged twice: by the judge, and by a model that knows no
//! bytes, no signatures and no database, only who signed what upon what.
//!
//! The people: an owner, whose identity has a recovery key, and two delegates. The acts: documents of the
//! owner's identity, grants, entries of the owner's and the delegates' logs, each upon any earlier one and
//! signed by any keys, so that most of them are wrong in one way or another. After each act the machine is
//! asked for one release beside some of the documents. Run `PKG_LONG_TESTS=1` for 10,000 histories.

use super::world::{DAY, Machine, Mirror, NOW, Person, Shelf, key, role, sign, time};
use objects::claim::{GrantsRow, IdentityRow, LogRow, PackageRecord, VersionRow};
use objects::grants::{Ended, Grant, Grants, Permission};
use objects::id::{GrantId, IdentityId};
use objects::identity::{Identity, Roles, Withdrawal};
use objects::key::Signer as _;
use objects::release::{Action, Entry, LogHead};
use objects::signed::Signed;
use plumbing::trust::{Accepted, Directory, Error, Places};
use std::collections::{BTreeMap, BTreeSet};

/// Who signs logs: 0 is the owner.
const PEOPLE: usize = 3;
const NAMES: [&str; 2] = ["acme/web", "acme/core"];
const RECOVERY: u8 = 50;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.roll() % n as u64) as usize
    }

    /// True once in `n` times.
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A document of the owner's identity: one key in all roles, but for recovery.
#[derive(Clone)]
struct Doc {
    parent: Option<usize>,
    n: u64,
    key: u8,
    /// Stolen keys, with the owner's entry up to which they count.
    revoked: BTreeMap<u8, Option<usize>>,
    signers: Vec<u8>,
    signed: Signed<Identity>,
}

/// A grants document of the owner or the first delegate.
#[derive(Clone)]
struct Deed {
    issuer: usize,
    parent: Option<usize>,
    n: u64,
    given: Vec<Given>,
    /// What ended, with the entry up to which it counts.
    ended: Vec<(Given, Option<usize>)>,
    signer: u8,
    signed: Signed<Grants>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Given {
    to: usize,
    /// Which name; None for both.
    name: Option<usize>,
    depth: u32,
    /// True if it is past its time.
    expired: bool,
    /// So that no two are alike.
    serial: u64,
}

#[derive(Clone)]
struct Row {
    by: usize,
    name: usize,
    parent: Option<usize>,
    seq: u64,
    signer_n: u64,
    signer: u8,
    signed: Signed<Entry>,
    document: Entry,
}

/// Everything that was ever signed.
struct History {
    owner: IdentityId,
    delegates: Vec<Person>,
    docs: Vec<Doc>,
    deeds: Vec<Deed>,
    rows: Vec<Row>,
}

impl History {
    fn begin() -> History {
        let first = Identity { recovery: Some(role(&[RECOVERY], 1)), ..Person::new(10).newest };
        let signed = sign(&first, &[10]);
        let owner = IdentityId::new(signed.id().object());
        let first = Doc { parent: None, n: 0, key: 10, revoked: BTreeMap::new(), signers: vec![10], signed };
        let delegates = vec![Person::new(20), Person::new(30)];
        History { owner, delegates, docs: vec![first], deeds: Vec::new(), rows: Vec::new() }
    }

    fn id(&self, person: usize) -> IdentityId {
        if person == 0 { self.owner } else { self.delegates[person - 1].id() }
    }

    fn head_of(&self, entry: Option<usize>) -> Vec<LogHead> {
        let rows = entry.map(|entry| &self.rows[entry]).into_iter();
        rows.map(|row| LogHead {
            owner: self.owner,
            name: NAMES[row.name].parse().unwrap(),
            signer: self.id(row.by),
            seq: row.seq,
            entry: row.signed.id(),
        })
        .collect()
    }

    /// The owner's key of a document, or mostly so.
    fn some_key(&self, chance: &mut Chance, doc: usize) -> u8 {
        match chance.below(8) {
            0 => 10 + chance.below(4) as u8,
            1 => 99,
            _ => self.docs[doc].key,
        }
    }

    fn act(&mut self, chance: &mut Chance) {
        match chance.below(7) {
            0 | 1 => self.add_doc(chance),
            2 | 3 => self.add_deed(chance),
            _ => self.add_row(chance),
        }
    }

    fn add_doc(&mut self, chance: &mut Chance) {
        let parent = if chance.one_in(3) { chance.below(self.docs.len()) } else { self.docs.len() - 1 };
        let before = self.docs[parent].clone();
        let key = if chance.one_in(2) { before.key } else { 10 + chance.below(4) as u8 };
        let mut revoked = before.revoked.clone();
        if chance.one_in(3) && key != before.key {
            let rows: Vec<usize> = (0..self.rows.len()).filter(|row| self.rows[*row].by == 0).collect();
            let up_to = (!rows.is_empty() && chance.one_in(2)).then(|| rows[chance.below(rows.len())]);
            revoked.entry(before.key).or_insert(up_to);
        }
        if chance.one_in(8) {
            revoked.clear();
        }
        let n = if chance.one_in(10) { before.n + 2 } else { before.n + 1 };
        let old = if chance.one_in(4) { RECOVERY } else { self.some_key(chance, parent) };
        let signers = if chance.one_in(8) { vec![old] } else { vec![old, key] };
        let list = revoked.iter().map(|(stolen, up_to)| Withdrawal {
            key: self::key(*stolen).public(),
            checkpoint: self.head_of(*up_to),
        });
        let document = Identity {
            id: Some(self.owner),
            n,
            prev: Some(before.signed.id()),
            name: Some(format!("act {}", self.docs.len())),
            roles: Roles::all(&role(&[key], 1)),
            revoked: list.collect(),
            retired: Vec::new(),
            reset: Vec::new(),
            recovery: Some(role(&[RECOVERY], 1)),
            created: time(NOW - DAY),
            expires: None,
        };
        let mut distinct = signers.clone();
        distinct.dedup();
        let signed = sign(&document, &distinct);
        self.docs.push(Doc { parent: Some(parent), n, key, revoked, signers, signed });
    }

    fn add_deed(&mut self, chance: &mut Chance) {
        let issuer = usize::from(chance.one_in(3));
        let own: Vec<usize> =
            (0..self.deeds.len()).filter(|deed| self.deeds[*deed].issuer == issuer).collect();
        let parent = match own.as_slice() {
            [] => None,
            own if chance.one_in(4) => Some(own[chance.below(own.len())]),
            [.., last] => Some(*last),
        };
        let before = parent.map(|parent| self.deeds[parent].clone());
        let n = before.as_ref().map_or(0, |before| before.n + 1)
            + u64::from(parent.is_some() && chance.one_in(12));
        let mut given = before.as_ref().map(|before| before.given.clone()).unwrap_or_default();
        let mut ended = before.map(|before| before.ended).unwrap_or_default();
        if !given.is_empty() && chance.one_in(3) {
            let gone = given.remove(chance.below(given.len()));
            let up_to = (!self.rows.is_empty() && chance.one_in(2)).then(|| chance.below(self.rows.len()));
            ended.push((gone, up_to));
        }
        if chance.one_in(10) {
            ended.clear();
        }
        if chance.below(3) > 0 {
            let name = [None, Some(0), Some(1)][chance.below(3)];
            let (to, depth) = (1 + chance.below(2), chance.below(2) as u32);
            given.push(Given { to, name, depth, expired: chance.one_in(5), serial: self.deeds.len() as u64 });
        }
        let signer = match issuer {
            0 => self.some_key(chance, self.docs.len() - 1),
            _ => 20 + u8::from(chance.one_in(6)),
        };
        let terms = |given: &Given| Grant {
            to: self.id(given.to),
            names: vec![given.name.map_or("**", |name| NAMES[name]).parse().unwrap()],
            permissions: Permission::ALL.into(),
            depth: given.depth,
            terminating: false,
            from: time(NOW - 9 * DAY + given.serial),
            until: given.expired.then(|| time(NOW - DAY)),
        };
        let document = Grants {
            issuer: self.id(issuer),
            issuer_n: 0,
            n,
            prev: parent.map(|parent| self.deeds[parent].signed.id()),
            grants: given.iter().map(terms).collect(),
            ended: ended
                .iter()
                .map(|(gone, up_to)| Ended { grant: terms(gone), checkpoint: self.head_of(*up_to) })
                .collect(),
            created: time(NOW - DAY + self.deeds.len() as u64), // no two are one statement
        };
        let signed = sign(&document, &[signer]);
        self.deeds.push(Deed { issuer, parent, n, given, ended, signer, signed });
    }

    fn add_row(&mut self, chance: &mut Chance) {
        let (by, name) = (chance.below(PEOPLE), chance.below(2));
        let is_own = |row: &Row| row.by == by && row.name == name;
        let own: Vec<usize> = (0..self.rows.len()).filter(|row| is_own(&self.rows[*row])).collect();
        let parent = match own.as_slice() {
            [] => None,
            own if chance.one_in(6) => Some(own[chance.below(own.len())]),
            [.., last] => Some(*last),
        };
        let seq = parent.map_or(0, |parent| self.rows[parent].seq + 1);
        let doc = if by > 0 || chance.one_in(3) { 0 } else { self.docs.len() - 1 };
        let signer_n = if by > 0 { 0 } else { self.docs[doc].n };
        let signer = match by {
            0 => self.some_key(chance, doc),
            _ => 10 + 10 * by as u8 + u8::from(chance.one_in(8)),
        };
        let version = format!("1.{}.0", self.rows.len());
        let document = Entry {
            owner: self.owner,
            name: NAMES[name].parse().unwrap(),
            signer: self.id(by),
            signer_n,
            seq,
            prev: parent.map(|parent| self.rows[parent].signed.id()),
            grants: Vec::<GrantId>::new(),
            action: Action::Release(Box::new(super::world::release(&version, &version))),
            created: time(NOW - DAY),
        };
        let signed = sign(&document, &[signer]);
        self.rows.push(Row { by, name, parent, seq, signer_n, signer, signed, document });
    }
}

/// What a source shows: the newest documents it knows of, and a release.
struct Offer {
    doc: usize,
    /// By issuer: the owner, the first delegate.
    deeds: [Option<usize>; 2],
    head: usize,
    wanted: usize,
}

impl Offer {
    fn draw(history: &History, chance: &mut Chance) -> Option<Offer> {
        let head = (!history.rows.is_empty()).then(|| match chance.one_in(3) {
            true => chance.below(history.rows.len()),
            false => history.rows.len() - 1,
        })?;
        let mut wanted = head;
        while let Some(parent) = history.rows[wanted].parent.filter(|_| chance.one_in(2)) {
            wanted = parent;
        }
        let mut newest = |count: usize, fits: &dyn Fn(usize) -> bool| {
            let all: Vec<usize> = (0..count).filter(|at| fits(*at)).collect();
            match all.as_slice() {
                [] => None,
                all if chance.one_in(4) => Some(all[chance.below(all.len())]),
                [.., last] => Some(*last),
            }
        };
        let doc = newest(history.docs.len(), &|_| true).unwrap();
        let deeds = [0, 1].map(|by| newest(history.deeds.len(), &|deed| history.deeds[deed].issuer == by));
        Some(Offer { doc, deeds, head, wanted })
    }
}

/// The directory of an offer.
struct Shown<'a>(&'a History, &'a Offer);

impl Directory for Shown<'_> {
    fn identity(&self, id: IdentityId) -> Result<Option<IdentityRow>, Error> {
        let delegate = self.0.delegates.iter().find(|person| person.id() == id);
        let doc = &self.0.docs[self.1.doc];
        Ok(Some(delegate.map_or(IdentityRow { n: doc.n, document: doc.signed.id() }, Person::row)))
    }

    fn grants(&self, id: IdentityId) -> Result<Option<GrantsRow>, Error> {
        let issuer = (0..2).find(|person| self.0.id(*person) == id);
        let deed = issuer.and_then(|issuer| self.1.deeds[issuer]).map(|deed| &self.0.deeds[deed]);
        Ok(deed.map(|deed| GrantsRow { n: deed.n, document: deed.signed.id() }))
    }
}

/// What the judge says to an offer.
fn judged(machine: &Machine, accepted: &Accepted, history: &History, offer: &Offer) -> Result<(), Error> {
    let shelf = Shelf::default();
    history.docs.iter().for_each(|doc| shelf.put(&doc.signed));
    history.deeds.iter().for_each(|deed| shelf.put(&deed.signed));
    history.rows.iter().for_each(|row| shelf.put(&row.signed));
    history.delegates.iter().for_each(|person| person.shelve(&shelf));
    let (head, wanted) = (&history.rows[offer.head], &history.rows[offer.wanted]);
    let signer = history.id(head.by);
    let logs = vec![LogRow { signer, seq: head.seq, entry: head.signed.id(), listed: time(NOW) }];
    let release = wanted.document.release().unwrap().clone();
    let (entry, seq, listed) = (wanted.signed.id(), wanted.seq, time(NOW));
    let versions = vec![VersionRow { entry, signer, seq, listed, mark: None, release }];
    let name = NAMES[head.name].parse().unwrap();
    let record = PackageRecord { name, owner: history.owner, transfer: None, logs, versions };
    let directory = Shown(history, offer);
    let places = Places { directory: &directory, statements: &shelf, origin: "mirror" };
    let judge = machine.judge();
    let row = directory.identity(history.owner)?;
    let owner = judge.identity(history.owner, row.as_ref(), &shelf, "mirror")?;
    judge.accept_release(accepted, &record, &record.versions[0], &owner, places).map(drop)
}

/// What a machine believes, by the model: the newest of each line, and where lines are known to fork.
#[derive(Default)]
struct Model {
    doc: Option<usize>,
    doc_forks: BTreeSet<u64>,
    deeds: [Option<usize>; 2],
    deed_forks: [BTreeSet<u64>; 2],
    logs: BTreeMap<(usize, usize), usize>,
    /// The number of the oldest entry that is known of each: those above are not looked at again.
    oldest: BTreeMap<(usize, usize), u64>,
    log_forks: BTreeMap<(usize, usize), BTreeSet<u64>>,
}

/// A branch from the first document to `at`.
fn branch(parent: impl Fn(usize) -> Option<usize>, at: usize) -> Vec<usize> {
    let mut line: Vec<usize> = std::iter::successors(Some(at), |at| parent(*at)).collect();
    line.reverse();
    line
}

impl Model {
    /// True if the offer is to be believed; what is learned is kept either way, as far as it stands.
    fn takes(&mut self, history: &History, offer: &Offer) -> bool {
        let Some(chain) = self.takes_doc(history, offer.doc) else { return false };
        let wanted = offer.wanted;
        self.takes_log(history, &chain, offer) && self.allows(history, &chain, offer, wanted)
    }

    fn takes_doc(&mut self, history: &History, at: usize) -> Option<Vec<usize>> {
        let docs = &history.docs;
        let line = branch(|at| docs[at].parent, at);
        let follows = |pair: &[usize]| {
            let (old, new) = (&docs[pair[0]], &docs[pair[1]]);
            let keeps = old.revoked.iter().all(|(key, up_to)| new.revoked.get(key) == Some(up_to));
            let by_old = new.signers.contains(&old.key) || new.signers.contains(&RECOVERY);
            new.n == old.n + 1 && by_old && new.signers.contains(&new.key) && keeps
        };
        if !line.windows(2).all(follows) {
            return None;
        }
        if let Some(stored) = self.doc.filter(|stored| !line.contains(stored)) {
            let ours = branch(|at| docs[at].parent, stored);
            let at = line.iter().zip(&ours).position(|(new, old)| new != old)?; // else it only ends earlier
            let recovered = |doc: usize| docs[doc].signers.contains(&RECOVERY);
            match (recovered(ours[at]), recovered(line[at])) {
                (false, true) => drop(self.doc_forks.split_off(&(at as u64))),
                (true, false) => return None,
                _ => {
                    self.doc_forks.insert(at as u64);
                    return None;
                }
            }
        } else if self.doc_forks.first().is_some_and(|n| *n <= docs[at].n) {
            return None;
        }
        self.doc = Some(at);
        Some(line)
    }

    fn takes_deed(
        &mut self,
        history: &History,
        chain: &[usize],
        offer: &Offer,
        issuer: usize,
    ) -> Option<usize> {
        let deeds = &history.deeds;
        let at = offer.deeds[issuer].or(self.deeds[issuer])?;
        let signed_by_any = |deed: usize| match issuer {
            0 => chain.iter().any(|doc| history.docs[*doc].key == deeds[deed].signer),
            _ => deeds[deed].signer == 20,
        };
        let head = &history.docs[*chain.last().unwrap()];
        let present = issuer > 0 || (head.key == deeds[at].signer && !head.revoked.contains_key(&head.key));
        let stored = self.deeds[issuer];
        if stored.is_some_and(|stored| deeds[stored].n > deeds[at].n) || !signed_by_any(at) || !present {
            return None;
        }
        if let Some(stored) = stored {
            let mut newer = at;
            while deeds[newer].n > deeds[stored].n {
                let older = deeds[newer].parent.unwrap();
                let stands =
                    older == stored || (signed_by_any(older) && deeds[older].n + 1 == deeds[newer].n);
                // The stored one is taken for its place whatever number the link to it claims.
                let in_place = deeds[older].n + 1 == deeds[newer].n;
                let keeps = deeds[older].ended.iter().all(|ended| deeds[at].ended.contains(ended));
                if !stands || !in_place || !keeps {
                    return None;
                }
                newer = older;
            }
            if newer != stored {
                self.deed_forks[issuer].insert(deeds[stored].n);
                return None;
            }
        }
        if self.deed_forks[issuer].first().is_some_and(|n| *n <= deeds[at].n) {
            return None;
        }
        self.deeds[issuer] = Some(at);
        Some(at)
    }

    fn takes_log(&mut self, history: &History, chain: &[usize], offer: &Offer) -> bool {
        let rows = &history.rows;
        let (head, wanted) = (offer.head, offer.wanted);
        let log = (rows[head].by, rows[head].name);
        let stands = |row: usize| match log.0 {
            0 => {
                let doc = chain.get(rows[row].signer_n as usize);
                doc.is_some_and(|doc| history.docs[*doc].key == rows[row].signer)
            }
            by => rows[row].signer == 10 + 10 * by as u8,
        };
        let line = branch(|row| rows[row].parent, head);
        let stored = self.logs.get(&log).copied();
        let from = stored.map_or(rows[wanted].seq, |stored| rows[stored].seq);
        match stored {
            Some(stored) if rows[stored].seq > rows[head].seq => return false,
            Some(stored) if stored == head => {}
            Some(stored) => {
                let met = line.contains(&stored);
                let walked =
                    line.iter().filter(|row| rows[**row].seq > from || (!met && rows[**row].seq == from));
                if !walked.into_iter().all(|row| stands(*row)) {
                    return false;
                }
                if !met {
                    self.log_forks.entry(log).or_default().insert(from);
                    return false;
                }
                self.logs.insert(log, head);
            }
            None => {
                if !line.iter().filter(|row| rows[**row].seq >= from).all(|row| stands(*row)) {
                    return false;
                }
                self.logs.insert(log, head);
            }
        }
        let oldest = *self.oldest.entry(log).or_insert(rows[wanted].seq);
        let mut older = line.iter().filter(|row| (rows[wanted].seq..oldest).contains(&rows[**row].seq));
        if !older.all(|row| stands(*row)) {
            return false;
        }
        self.oldest.insert(log, oldest.min(rows[wanted].seq));
        let forked = self.log_forks.get(&log).and_then(|forks| forks.first().copied());
        stands(wanted) && forked.is_none_or(|n| n > rows[wanted].seq)
    }

    /// Withdrawn keys, and the grants from the owner to the signer.
    fn allows(&mut self, history: &History, chain: &[usize], offer: &Offer, wanted: usize) -> bool {
        let row = &history.rows[wanted];
        let stored = branch(|row| history.rows[row].parent, self.logs[&(row.by, row.name)]);
        let covers = |up_to: Option<usize>| {
            up_to.is_some_and(|up_to| {
                let head = &history.rows[up_to];
                (head.by, head.name) == (row.by, row.name) && head.seq >= row.seq && stored.contains(&up_to)
            })
        };
        if row.by == 0 {
            let head = &history.docs[*chain.last().unwrap()];
            return head.revoked.get(&row.signer).is_none_or(|up_to| covers(*up_to));
        }
        let fitting = |issuer: usize, to: usize, model: &mut Model| -> Vec<u32> {
            let Some(deed) = model.takes_deed(history, chain, offer, issuer) else { return Vec::new() };
            let deed = &history.deeds[deed];
            let live = deed.given.iter().filter(|given| !given.expired);
            let ended = deed.ended.iter().filter(|(_, up_to)| covers(*up_to)).map(|(given, _)| given);
            let fits = |given: &&Given| given.to == to && given.name.is_none_or(|name| name == row.name);
            live.chain(ended).filter(fits).map(|given| given.depth).collect()
        };
        let direct = fitting(0, row.by, self);
        let to_first = fitting(0, 1, self);
        // The judge looks at what the first delegate grants only on its way; so does the model.
        let passes_on = to_first.iter().any(|depth| *depth > 0);
        if row.by == 1 {
            return !direct.is_empty();
        }
        let before_direct = self.passes_on_before(history, row.by, row.name, &covers);
        if !direct.is_empty() && !before_direct {
            return true;
        }
        let through = if passes_on { fitting(1, row.by, self) } else { Vec::new() };
        !direct.is_empty() || !through.is_empty()
    }

    /// True if the search comes to a grant that leads on through the first delegate before one that leads
    /// to the signer: then it looks at that delegate's grants.
    fn passes_on_before(
        &self,
        history: &History,
        to: usize,
        name: usize,
        covers: &dyn Fn(Option<usize>) -> bool,
    ) -> bool {
        let Some(deed) = self.deeds[0].map(|deed| &history.deeds[deed]) else { return false };
        let live = deed.given.iter().filter(|given| !given.expired);
        let ended = deed.ended.iter().filter(|(_, up_to)| covers(*up_to)).map(|(given, _)| given);
        let fits = |given: &&Given| given.name.is_none_or(|fits| fits == name);
        let first =
            live.chain(ended).filter(fits).find(|given| given.to == to || (given.to == 1 && given.depth > 0));
        first.is_some_and(|given| given.to != to)
    }
}

/// The judge and the model agree on every offer of every history.
#[test]
fn the_judge_does_what_the_model_says() {
    let histories = if std::env::var_os("PKG_LONG_TESTS").is_some() { 10_000 } else { 150 };
    let (mut believed, mut refused) = (0, BTreeMap::<&str, usize>::new());
    let mirror = Mirror::new(Person::new(99), 1);
    for seed in 0..histories {
        let mut chance = Chance(seed);
        let (mut history, mut model, machine) = (History::begin(), Model::default(), Machine::new());
        let accepted = machine.shown(&mirror).unwrap();
        for step in 0..24 {
            history.act(&mut chance);
            let Some(offer) = Offer::draw(&history, &mut chance) else { continue };
            let judged = judged(&machine, &accepted, &history, &offer);
            let expected = model.takes(&history, &offer);
            assert_eq!(judged.is_ok(), expected, "history {seed}, step {step}: {judged:?}");
            match judged {
                Ok(()) => believed += 1,
                Err(error) => *refused.entry(error.code()).or_default() += 1,
            }
        }
    }
    println!("{histories} histories: {believed} offers believed, refused {refused:?}");
    assert!(
        believed > histories && refused.len() >= 5,
        "the histories say too little: {believed}, {refused:?}"
    );
}
