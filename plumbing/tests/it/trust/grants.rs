//! Steps 10 to 12: what an identity grants, and the path from an owner to who signed.

use super::world::{Book, DAY, Giver, Machine, NOW, Person, Register, code, grant, key, role, sign, time};
use objects::grants::{Ended, Grant, Grants, Permission};
use objects::identity::{Identity, Withdrawal};
use objects::key::Signer as _;
use objects::release::LogHead;
use objects::signed::Signed;
use plumbing::trust::{Error, Line};

const HOUR: u64 = 3_600;

fn owner() -> Person {
    Person::new(2)
}

/// A package of [`owner`] that `signer` releases.
fn book(signer: &Person, name: &str) -> Book {
    Book::by(signer.clone(), Some(owner()), name, 3)
}

/// Whether a fresh machine installs 1.2.0 of `name` by `signer`, if these grant what they grant.
fn judged(signer: &Person, name: &str, givers: &[&Giver]) -> Result<Vec<Grant>, Error> {
    judged_at(NOW, signer, name, givers)
}

fn judged_at(now: u64, signer: &Person, name: &str, givers: &[&Giver]) -> Result<Vec<Grant>, Error> {
    let people: Vec<&Person> = givers.iter().map(|giver| &giver.issuer).chain([signer]).collect();
    let machine = Machine { now, ..Machine::new() };
    let release = machine.installs_by(&Register::of(&people, givers), &book(signer, name), "1.2.0")?;
    Ok(release.path.into_iter().map(|step| step.grant).collect())
}

/// An owner's grant lets a delegate release; what is returned says by which grant. Without one, nobody may.
#[test]
fn a_delegate_may_do_what_was_granted() {
    let ci = Person::new(3);
    let given = grant(&ci, &["acme/*"]);
    let giver = Giver::new(&owner(), vec![given.clone()]);
    assert_eq!(judged(&ci, "acme/web", &[&giver]).unwrap(), [given]);
    assert_eq!(code(judged(&ci, "acme/web", &[])), "E-SCOPE");
    assert_eq!(code(judged(&Person::new(4), "acme/web", &[&giver])), "E-SCOPE");
    assert_eq!(judged(&owner(), "acme/web", &[]).unwrap(), []);
}

/// SEC-058, SEC-144: the scope along a path is the intersection of its grants: names, actions, depth.
#[test]
fn the_scope_of_a_path_is_the_intersection() {
    let [a, b, c] = [3, 4, 5].map(Person::new);
    let only = |grant: Grant, permission| Grant { permissions: [permission].into(), ..grant };
    let deep = |grant: Grant, depth| Grant { depth, ..grant };
    let to_a = |grant: Grant| Giver::new(&owner(), vec![grant]);
    let to_b = |grant: Grant| Giver::new(&a, vec![grant]);
    let to_c = |grant: Grant| Giver::new(&b, vec![grant]);
    let web = |to: &Person| grant(to, &["acme/web-*"]);
    let all = |to: &Person| grant(to, &["**"]);
    let table: Vec<(&str, &Person, &str, Vec<Giver>, &str)> = vec![
        ("in scope", &a, "acme/web-ui", vec![to_a(web(&a))], "ok"),
        ("another name", &a, "acme/core", vec![to_a(web(&a))], "E-SCOPE"),
        ("another label", &a, "acme/web-ui/core", vec![to_a(web(&a))], "E-SCOPE"),
        ("one of two patterns", &a, "x", vec![to_a(grant(&a, &["acme/*", "x"]))], "ok"),
        ("another action", &a, "acme/web-ui", vec![to_a(only(web(&a), Permission::Yank))], "E-SCOPE"),
        ("the action", &a, "acme/web-ui", vec![to_a(only(web(&a), Permission::Release))], "ok"),
        ("passed on", &b, "acme/web-ui", vec![to_a(deep(web(&a), 1)), to_b(web(&b))], "ok"),
        ("not to be passed on", &b, "acme/web-ui", vec![to_a(web(&a)), to_b(web(&b))], "E-SCOPE"),
        ("wider below", &b, "acme/core", vec![to_a(deep(web(&a), 1)), to_b(all(&b))], "E-SCOPE"),
        ("narrower below", &b, "acme/core", vec![to_a(deep(all(&a), 1)), to_b(web(&b))], "E-SCOPE"),
        ("both fit", &b, "acme/web-ui", vec![to_a(deep(all(&a), 1)), to_b(web(&b))], "ok"),
        (
            "an action lost on the way",
            &b,
            "acme/web-ui",
            vec![to_a(deep(only(all(&a), Permission::Yank), 1)), to_b(all(&b))],
            "E-SCOPE",
        ),
        (
            "depth of 1 used up",
            &c,
            "acme/web-ui",
            vec![to_a(deep(all(&a), 1)), to_b(deep(all(&b), 3)), to_c(all(&c))],
            "E-SCOPE",
        ),
        (
            "depth of 2",
            &c,
            "acme/web-ui",
            vec![to_a(deep(all(&a), 2)), to_b(deep(all(&b), 1)), to_c(all(&c))],
            "ok",
        ),
    ];
    for (what, signer, name, givers, expected) in table {
        let givers: Vec<&Giver> = givers.iter().collect();
        assert_eq!(code(judged(signer, name, &givers)), expected, "{what}");
    }
}

/// SEC-059: loops end, paths have at most 4 grants, a search looks at 64 identities and a document has
/// 256 grants.
#[test]
fn searches_are_bounded() {
    let deep = |to: &Person| Grant { depth: 3, ..grant(to, &["**"]) };
    let people: Vec<Person> = (3..9).map(Person::new).collect();
    let chain = |length: usize| {
        let issuers = std::iter::once(owner()).chain(people.iter().cloned());
        let givers: Vec<Giver> =
            issuers.zip(&people).take(length).map(|(from, to)| Giver::new(&from, vec![deep(to)])).collect();
        code(judged(&people[length - 1], "web", &givers.iter().collect::<Vec<_>>()))
    };
    assert_eq!([1, 2, 4, 5, 6].map(chain), ["ok", "ok", "ok", "E-SCOPE", "E-SCOPE"]);

    let [a, b] = [3, 4].map(Person::new);
    let to_a = Giver::new(&owner(), vec![deep(&a)]);
    let [a_to_b, b_to_a] = [Giver::new(&a, vec![deep(&b), deep(&owner())]), Giver::new(&b, vec![deep(&a)])];
    assert_eq!(code(judged(&Person::new(9), "web", &[&to_a, &a_to_b, &b_to_a])), "E-SCOPE");

    let crowd = |count: u8| {
        let crowd: Vec<Person> = (10..10 + count).map(Person::new).collect();
        let wide = Giver::new(&owner(), crowd.iter().map(deep).collect());
        let ends: Vec<Giver> = crowd.iter().map(|from| Giver::new(from, vec![deep(&owner())])).collect();
        let givers: Vec<&Giver> = std::iter::once(&wide).chain(&ends).collect();
        code(judged(&Person::new(9), "web", &givers))
    };
    assert_eq!([crowd(63), crowd(64)], ["E-SCOPE", "E-LIMIT"]);

    let many = |count: u64| {
        let grants = (0..count).map(|n| Grant { from: time(NOW - n), ..grant(&a, &["*"]) });
        let grants = grants.collect();
        let first = Giver::new(&owner(), Vec::new()).newest;
        Signed::sign(&Grants { grants, ..first }, &[&key(2)]).map(drop).map_err(|error| error.code())
    };
    assert_eq!([many(256), many(257), many(10_000)], [Ok(()), Err("E-LIMIT"), Err("E-LIMIT")]);
}

/// SEC-060: in a diamond of grants each path is judged alone: the one that is too narrow or past its time
/// gives nothing to the other, and the other one holds without it.
#[test]
fn paths_are_judged_alone() {
    let [left, right, low] = [3, 4, 5].map(Person::new);
    let deep = |to: &Person, names: &[&str]| Grant { depth: 1, ..grant(to, names) };
    let expired = |to: &Person| Grant { until: Some(time(NOW - HOUR)), ..deep(to, &["**"]) };
    let below = |from: &Person, names: &[&str]| Giver::new(from, vec![grant(&low, names)]);
    let by = |grants: Vec<Grant>, left_names: &[&str], right_names: &[&str]| {
        let givers = [Giver::new(&owner(), grants), below(&left, left_names), below(&right, right_names)];
        code(judged(&low, "acme/web", &givers.iter().collect::<Vec<_>>()))
    };
    let [narrow, wide] = [&["acme/core"][..], &["**"]];
    assert_eq!(by(vec![deep(&left, narrow), deep(&right, wide)], wide, wide), "ok");
    assert_eq!(by(vec![deep(&left, narrow), deep(&right, wide)], wide, narrow), "E-SCOPE");
    assert_eq!(by(vec![expired(&left), deep(&right, wide)], wide, wide), "ok");
    assert_eq!(by(vec![expired(&left), deep(&right, wide)], wide, narrow), "E-EXPIRED");
    assert_eq!(by(vec![expired(&left), expired(&right)], wide, wide), "E-EXPIRED");
    let ending = Grant { terminating: true, ..deep(&left, wide) };
    assert_eq!(by(vec![ending.clone(), deep(&right, wide)], narrow, wide), "E-SCOPE", "it ends the search");
    let ending = Grant { names: vec!["acme/core".parse().unwrap()], ..ending };
    assert_eq!(by(vec![ending, deep(&right, wide)], wide, wide), "ok", "it does not fit, so it ends nothing");
}

/// SEC-061, SEC-144: a grant counts inside its window, by when an index first listed the entry; what was
/// listed in time still installs later.
#[test]
fn grants_count_in_their_time() {
    let ci = Person::new(3);
    let window = |from: u64, until: u64| {
        let given = Grant { from: time(from), until: Some(time(until)), ..grant(&ci, &["acme/*"]) };
        Giver::new(&owner(), vec![given])
    };
    // Everything is listed at NOW.
    for (what, from, until, expected) in [
        ("inside", NOW - HOUR, NOW + HOUR, "ok"),
        ("from now on", NOW, NOW + 1, "ok"),
        ("till now", NOW - HOUR, NOW, "E-EXPIRED"),
        ("not yet", NOW + 1, NOW + HOUR, "E-EXPIRED"),
    ] {
        assert_eq!(code(judged(&ci, "acme/web", &[&window(from, until)])), expected, "{what}");
    }
    let hour = window(NOW - HOUR, NOW + HOUR);
    assert_eq!(code(judged_at(NOW + 20 * DAY, &ci, "acme/web", &[&hour])), "ok", "it was listed in time");
    assert_eq!(code(judged(&ci, "other/web", &[&hour])), "E-SCOPE");
}

/// SEC-061, SEC-142: a grant that was ended counts for what its checkpoint covers, and nothing after it.
#[test]
fn an_ended_grant_counts_up_to_its_checkpoint() {
    let ci = Person::new(3);
    let given = grant(&ci, &["acme/*"]);
    let stolen = book(&ci, "acme/web").released("6.6.6", "the thief's");
    let last_good = &stolen.entries[2];
    let head = LogHead {
        owner: owner().id(),
        name: "acme/web".parse().unwrap(),
        signer: ci.id(),
        seq: 2,
        entry: last_good.id(),
    };
    let giver = Giver::new(&owner(), vec![given.clone()]);
    let ended = |checkpoint| {
        let ended = vec![Ended { grant: given.clone(), checkpoint }];
        giver.clone().take(Grants { grants: Vec::new(), ended, ..giver.next() })
    };
    let installs = |giver: &Giver, version: &str| {
        let register = Register::of(&[&ci], &[giver]);
        code(Machine::new().installs_by(&register, &stolen, version))
    };
    assert_eq!(installs(&giver, "6.6.6"), "ok");
    for (version, expected) in [("1.0.0", "ok"), ("1.2.0", "ok"), ("6.6.6", "E-EXPIRED")] {
        assert_eq!(installs(&ended(vec![head.clone()]), version), expected, "{version}");
    }
    assert_eq!(installs(&ended(Vec::new()), "1.0.0"), "E-EXPIRED", "nothing of it is stood by");
    let elsewhere = LogHead { entry: stolen.entries[1].id(), ..head };
    assert_eq!(installs(&ended(vec![elsewhere]), "1.0.0"), "E-EXPIRED", "a checkpoint of another branch");
}

/// SEC-046, SEC-054, SEC-055, SEC-057 for grants: an older document, another one in its place, one that
/// takes back the end of a grant, one by another key or of another identity is refused, and what was known
/// stays. A source that leaves grants out does not hide what this machine knows.
#[test]
fn grants_move_forward_only() {
    let ci = Person::new(3);
    let given = grant(&ci, &["acme/*"]);
    let first = Giver::new(&owner(), vec![given.clone()]);
    let ended = vec![Ended { grant: given.clone(), checkpoint: Vec::new() }];
    let ended = first.clone().take(Grants { grants: Vec::new(), ended, ..first.next() });
    let machine = Machine::new();
    let shown = |giver: &Giver| {
        code(machine.installs_by(&Register::of(&[&ci], &[giver]), &book(&ci, "acme/web"), "1.2.0"))
    };
    assert_eq!(shown(&first), "ok");
    assert_eq!(shown(&ended), "E-EXPIRED");
    assert_eq!(shown(&first), "E-ROLLBACK");
    let nobody = Register::of(&[&ci], &[]);
    let shelved = Register::of(&[], &[&ended]);
    let hidden = Register { givers: shelved.givers.clone(), ..nobody.clone() };
    assert_eq!(code(machine.installs_by(&hidden, &book(&ci, "acme/web"), "1.2.0")), "E-EXPIRED");

    let again = grant(&ci, &["**"]);
    let by = |seed: u8, next: Grants| {
        let mut giver = ended.clone();
        giver.documents.push(sign(&next, &[seed]));
        giver.newest = next;
        giver
    };
    let next = || Grants { grants: vec![again.clone()], ..ended.next() };
    let sibling = first.clone().take(Grants { grants: vec![again.clone()], ..first.next() });
    let line = Line::Grants(owner().id());
    for (what, giver, expected) in [
        ("another key", by(9, next()), "E-SIG"),
        (
            "no key",
            {
                let mut unsigned = by(2, next());
                unsigned.documents[2] = sign(&next(), &[]);
                unsigned
            },
            "E-SIG",
        ),
        ("takes back an end", by(2, Grants { ended: Vec::new(), ..next() }), "E-HASH"),
        ("another identity's", by(2, Grants { issuer: ci.id(), ..next() }), "E-SCOPE"),
        ("a number left out", by(2, Grants { n: 3, ..next() }), "E-HASH"),
        ("of a newer identity", by(2, Grants { issuer_n: 1, ..next() }), "E-ROLLBACK"),
        ("dated ahead", by(2, Grants { created: time(NOW + 700), ..next() }), "E-EXPIRED"),
    ] {
        assert_eq!(shown(&giver), expected, "{what}");
        assert_eq!(machine.state.head(&line).unwrap().map(|head| head.n), Some(1), "{what}");
    }
    assert_eq!(shown(&by(2, next())), "ok");
    assert!(machine.state.forks().unwrap().is_empty());
    assert_eq!(shown(&sibling), "E-ROLLBACK");
    let twin = by(2, Grants { grants: Vec::new(), ..next() });
    assert_eq!(shown(&twin), "E-FORK");
    assert_eq!(shown(&by(2, next())), "E-FORK", "neither is applied");
    assert_eq!(machine.state.forks().unwrap()[0].kind, "grants");
}

/// SEC-054: grants count as long as the issuer's admin keys do: a withdrawn one signs no more.
#[test]
fn grants_need_the_present_admin_keys() {
    let (ci, mut owner) = (Person::new(3), owner());
    let giver = Giver::new(&owner, vec![grant(&ci, &["**"])]);
    let withdrawal = Withdrawal { key: key(2).public(), checkpoint: Vec::new() };
    let mut roles = owner.newest.roles.clone();
    roles.admin = role(&[7], 1);
    owner.take(Identity { roles, revoked: vec![withdrawal], ..owner.next() }, &[2]);
    let installs = |giver: &Giver| {
        let book = Book::by(ci.clone(), Some(owner.clone()), "web", 1);
        let register = Register::of(&[&ci], &[giver]);
        code(Machine::new().installs_by(&register, &book, "1.0.0"))
    };
    assert_eq!(installs(&giver), "E-SIG");
    let signed = Signed::sign(&giver.next(), &[&key(7)]).unwrap();
    let newest = Giver { newest: giver.next(), documents: vec![giver.documents[0].clone(), signed], ..giver };
    assert_eq!(installs(&newest), "ok");
}

/// What the owner withdraws, no delegate's release brings back; nor does one grant more than it can sign.
#[test]
fn an_owner_withdraws_what_a_delegate_released() {
    let ci = Person::new(3);
    let register = Register::of(&[&ci], &[&Giver::new(&owner(), vec![grant(&ci, &["*"])])]);
    let released = book(&ci, "web");
    let own = Book::new(owner(), "web", 0).yanked("1.1.0");
    let mut record = released.record();
    record.logs.extend(own.record().logs);
    let installs = |version: &str| {
        let shelf = released.shelf();
        own.entries.iter().for_each(|entry| shelf.put(entry));
        register.shelve(&shelf);
        code(Machine::new().installs_record(&register, &record, &owner(), version, &shelf))
    };
    assert_eq!([installs("1.0.0"), installs("1.1.0"), installs("1.2.0")], ["ok", "E-POLICY", "ok"]);
}
