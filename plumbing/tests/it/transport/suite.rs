//! The contracts of the traits as code. Whoever implements one calls its suite.

use std::{
    io::{self, Read, Write},
    sync::Barrier,
    thread,
};

use plumbing::transport::{Bare, BareWrite, Error, Service, Wire};

use super::{key, noise};

const PACK: &str = "objects/pack/00ff.pack";
const PACK_BYTES: usize = 3 << 20;

/// Puts there what [`bare`] expects to find.
pub fn fill(store: &dyn BareWrite) {
    let pack = noise(1, PACK_BYTES);
    let files: [(&str, &[u8]); 5] = [
        ("summary", b"signed head"),
        ("empty", b""),
        (PACK, &pack),
        ("a/b/c/d/e/f/g/deep", b"eight segments"),
        ("statements/v1.0~rc+1_x-y", b"every character"),
    ];
    for (name, bytes) in files {
        store.write(&key(name), &mut &*bytes).unwrap();
    }
}

/// The contract of [`Bare`], over a source that was filled by [`fill`].
pub fn bare(source: &dyn Bare) {
    whole_files_are_read(source);
    sizes_are_told(source);
    ranges_are_exact(source);
    what_is_absent_is_told(source);
    bounds_hold(source);
    readers_do_not_disturb_each_other(source);
}

fn whole_files_are_read(source: &dyn Bare) {
    assert_eq!(source.find(&key("summary"), 100).unwrap(), b"signed head");
    assert_eq!(source.try_read(&key("empty"), 0).unwrap().unwrap(), b"");
    assert_eq!(source.find(&key("a/b/c/d/e/f/g/deep"), 100).unwrap(), b"eight segments");
    assert_eq!(source.find(&key("statements/v1.0~rc+1_x-y"), 100).unwrap(), b"every character");
    assert!(source.find(&key(PACK), u64::MAX).unwrap() == noise(1, PACK_BYTES));
}

fn sizes_are_told(source: &dyn Bare) {
    assert_eq!(source.try_size(&key("summary")).unwrap(), Some(11));
    assert_eq!(source.try_size(&key("empty")).unwrap(), Some(0));
    assert_eq!(source.try_size(&key(PACK)).unwrap(), Some(PACK_BYTES as u64));
    assert_eq!(source.try_size(&key("absent")).unwrap(), None);
}

fn ranges_are_exact(source: &dyn Bare) {
    let (pack, end) = (noise(1, PACK_BYTES), PACK_BYTES as u64);
    for range in [0..1, 0..end, 1..2_000_000, end - 1..end, 1_048_575..1_048_577] {
        let expected = &pack[range.start as usize..range.end as usize];
        assert!(source.read_range(&key(PACK), range.clone()).unwrap() == expected, "{range:?}");
    }
    for range in [end - 1..end + 1, end..end + 1, end + 5..end + 6, 0..u64::MAX, u64::MAX - 1..u64::MAX] {
        let error = source.read_range(&key(PACK), range.clone()).unwrap_err();
        assert!(matches!(error, Error::Short { .. }), "{range:?}: {error:?}");
        assert!(error.to_string().contains(PACK), "{error}");
    }
    let error = source.read_range(&key("empty"), 0..1).unwrap_err();
    assert!(matches!(error, Error::Short { .. }), "{error:?}");
    assert_eq!(source.read_range(&key(PACK), 7..7).unwrap(), b"");
    assert_eq!(source.read_range(&key("absent"), 7..7).unwrap(), b"");
}

fn what_is_absent_is_told(source: &dyn Bare) {
    for absent in
        ["absent", "objects", "objects/pack", "objects/pack/absent", "summary/below", "no/such/folder"]
    {
        assert_eq!(source.try_read(&key(absent), 9).unwrap(), None, "{absent}");
        assert_eq!(source.try_size(&key(absent)).unwrap(), None, "{absent}");
        for error in
            [source.find(&key(absent), 9).unwrap_err(), source.read_range(&key(absent), 0..1).unwrap_err()]
        {
            assert!(matches!(error, Error::NotFound { .. }) && !error.is_transient(), "{absent}: {error:?}");
            assert_eq!(error.code(), "E-NOTFOUND");
            assert!(error.to_string().contains(absent), "{error}");
        }
    }
}

fn bounds_hold(source: &dyn Bare) {
    assert!(source.try_read(&key("summary"), 11).unwrap().is_some());
    for (name, bytes_max) in [("summary", 10), ("summary", 0), (PACK, PACK_BYTES as u64 - 1)] {
        let error = source.try_read(&key(name), bytes_max).unwrap_err();
        assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
        assert_eq!(error.code(), "E-LIMIT");
    }
}

fn readers_do_not_disturb_each_other(source: &dyn Bare) {
    let pack = noise(1, PACK_BYTES);
    thread::scope(|scope| {
        for reader in 0..4_u64 {
            let pack = &pack;
            scope.spawn(move || {
                for step in 0..8 {
                    let range = reader * 7 + step * 99_991..reader * 1000 + (step + 1) * 120_011;
                    let expected = &pack[range.start as usize..range.end as usize];
                    assert!(source.read_range(&key(PACK), range).unwrap() == expected);
                }
            });
        }
    });
}

/// The contract of [`BareWrite`], over an empty store.
pub fn bare_write(store: &dyn BareWrite) {
    replaced_whole_or_not_at_all(store);
    swaps_happen_once(store);
    lists_are_whole_and_sorted(store);
    deleting_is_idempotent(store);
    readers_never_see_half(store);
}

fn replaced_whole_or_not_at_all(store: &dyn BareWrite) {
    let file = key("w/file");
    store.write(&file, &mut &b"old"[..]).unwrap();
    let mut breaks_off = (&b"half"[..]).chain(Fails);
    let error = store.write(&file, &mut breaks_off).unwrap_err();
    assert!(matches!(error, Error::Input { .. }), "{error:?}");
    assert_eq!(store.find(&file, 9).unwrap(), b"old");
    let mut breaks_off = (&b"half"[..]).chain(Fails);
    assert!(store.write(&key("w/new"), &mut breaks_off).is_err());
    assert_eq!(store.try_read(&key("w/new"), 9).unwrap(), None);
    store.write(&file, &mut &b"new"[..]).unwrap();
    assert_eq!(store.find(&file, 9).unwrap(), b"new");
    assert_eq!(store.list("w/").unwrap(), [(file.clone(), 3)]);
    store.delete(&file).unwrap();
}

fn swaps_happen_once(store: &dyn BareWrite) {
    let head = key("s/summary");
    let conflict = |outcome: Result<(), Error>| match outcome {
        Err(error @ Error::Conflict { .. }) => assert_eq!(error.code(), "E-CONFLICT"),
        other => panic!("{other:?}"),
    };
    conflict(store.swap(&head, Some(b"0"), b"1"));
    conflict(store.swap(&head, Some(b""), b"1"));
    store.swap(&head, None, b"").unwrap();
    conflict(store.swap(&head, None, b"1"));
    store.swap(&head, Some(b""), b"0").unwrap();
    conflict(store.swap(&head, Some(b""), b"1"));
    conflict(store.swap(&head, Some(b"00"), b"1"));

    // Eight writers count to eighty between them: no step is lost and none is taken twice.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..10).for_each(|_| count_up(store)));
        }
    });
    assert_eq!(store.find(&head, 9).unwrap(), b"80");
    store.delete(&head).unwrap();
}

fn count_up(store: &dyn BareWrite) {
    let head = key("s/summary");
    loop {
        let now = store.find(&head, 9).unwrap();
        let next = str::from_utf8(&now).unwrap().parse::<u32>().unwrap() + 1;
        match store.swap(&head, Some(&now), next.to_string().as_bytes()) {
            Ok(()) => return,
            Err(Error::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn lists_are_whole_and_sorted(store: &dyn BareWrite) {
    for (name, bytes) in [("l/b/2", "xx"), ("l/a", "x"), ("l/b/1", ""), ("l/b-c", "xyz"), ("lb", "x")] {
        store.write(&key(name), &mut bytes.as_bytes()).unwrap();
    }
    store.swap(&key("l/b/3"), None, b"swapped").unwrap();
    let list = |prefix| {
        let found = store.list(prefix).unwrap();
        found.iter().map(|(key, size)| format!("{key}={size}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(list("l/"), "l/a=1 l/b-c=3 l/b/1=0 l/b/2=2 l/b/3=7");
    assert_eq!(list("l/b"), "l/b-c=3 l/b/1=0 l/b/2=2 l/b/3=7");
    assert_eq!(list("l/b/"), "l/b/1=0 l/b/2=2 l/b/3=7");
    assert_eq!(list(""), "l/a=1 l/b-c=3 l/b/1=0 l/b/2=2 l/b/3=7 lb=1");
    for nothing in ["x", "l/x/", "l/a/", "../", "/", "l//", ".", "l/b/1/"] {
        assert_eq!(list(nothing), "", "{nothing}");
    }
}

fn deleting_is_idempotent(store: &dyn BareWrite) {
    store.delete(&key("l/a")).unwrap();
    store.delete(&key("l/a")).unwrap();
    store.delete(&key("l/a/below")).unwrap();
    store.delete(&key("no/such/folder")).unwrap();
    assert_eq!(store.try_read(&key("l/a"), 9).unwrap(), None);
    assert_eq!(store.find(&key("l/b/2"), 9).unwrap(), b"xx");
}

fn readers_never_see_half(store: &dyn BareWrite) {
    let head = key("r/summary");
    let version = |n: u8| vec![n; 100_000 + usize::from(n)];
    store.write(&head, &mut &version(0)[..]).unwrap();
    thread::scope(|scope| {
        let writer = scope.spawn(|| (1..30).for_each(|n| store.write(&head, &mut &version(n)[..]).unwrap()));
        while !writer.is_finished() {
            let seen = store.find(&head, 1 << 20).unwrap();
            assert!(seen == version(seen[0]), "a mixture of versions");
        }
    });
}

/// A reader that fails.
pub struct Fails;

impl Read for Fails {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk under the request has died"))
    }
}

/// The service behind every wire of [`wire`]. The first byte of a request says what to do.
pub struct Actor;

impl Service for Actor {
    fn serve(&self, request: &mut dyn Read, answer: &mut dyn Write) -> io::Result<()> {
        let mut verb = [0];
        if request.read(&mut verb)? == 0 {
            return Ok(());
        }
        match verb[0] {
            b'e' => io::copy(request, answer).map(drop),
            b'c' => write!(answer, "{}", io::copy(request, &mut io::sink())?),
            b'b' => {
                let mut length = String::new();
                request.read_to_string(&mut length)?;
                answer.write_all(&noise(2, length.parse().map_err(io::Error::other)?))
            }
            b'a' => answer.write_all(b"early"),
            b'f' => Err(io::Error::other("refused")),
            b'h' => {
                answer.write_all(&noise(3, 200_000))?;
                Err(io::Error::other("gave up halfway"))
            }
            b'p' => {
                answer.write_all(&noise(3, 200_000))?;
                panic!("this service panics when told to");
            }
            _ => Err(io::Error::other("unknown verb")),
        }
    }
}

/// One exchange, read to its end.
pub fn ask(wire: &dyn Wire, request: impl Read + Send + 'static) -> Result<Vec<u8>, Error> {
    let mut answer = wire.exchange(Box::new(request))?;
    let mut bytes = Vec::new();
    match answer.read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(error) => {
            assert!(Error::in_io(&error).is_some(), "an answer failed with a foreign error: {error:?}");
            assert!(answer.read(&mut [0]).is_err(), "an answer that failed has ended");
            Err(Error::from_read(&wire.source(), error))
        }
    }
}

/// A request: a verb and its data.
pub fn request(verb: u8, data: &[u8]) -> io::Cursor<Vec<u8>> {
    io::Cursor::new([&[verb], data].concat())
}

/// The contract of [`Wire`], over a wire to an [`Actor`].
pub fn wire(wire: &dyn Wire) {
    both_halves_arrive_whole(wire);
    an_early_answer_is_heard(wire);
    a_failed_answer_is_no_answer(wire);
    a_failed_request_is_no_request(wire);
    an_answer_may_be_dropped(wire);
    exchanges_may_overlap(wire);
}

fn both_halves_arrive_whole(wire: &dyn Wire) {
    assert_eq!(ask(wire, io::empty()).unwrap(), b"");
    assert_eq!(ask(wire, request(b'e', b"")).unwrap(), b"");
    assert_eq!(ask(wire, request(b'e', b"hello")).unwrap(), b"hello");
    for length in [65_534, 65_535, 65_536, 65_537, 3 << 20] {
        let data = noise(4, length);
        assert!(ask(wire, request(b'e', &data)).unwrap() == data, "{length}");
    }
    assert_eq!(ask(wire, request(b'c', &noise(5, 10 << 20))).unwrap(), (10 << 20).to_string().as_bytes());
    assert!(ask(wire, request(b'b', b"5000000")).unwrap() == noise(2, 5_000_000));
}

fn an_early_answer_is_heard(wire: &dyn Wire) {
    assert_eq!(ask(wire, request(b'a', &noise(6, 2 << 20))).unwrap(), b"early");
    assert_eq!(ask(wire, request(b'a', b"")).unwrap(), b"early");
}

fn a_failed_answer_is_no_answer(wire: &dyn Wire) {
    for verb in [b'f', b'h', b'p', b'?'] {
        let error = ask(wire, request(verb, b"data")).unwrap_err();
        assert!(error.is_transient(), "{}: {error:?}", char::from(verb));
        assert_eq!(error.code(), "E-NET");
        assert_eq!(ask(wire, request(b'e', b"still here")).unwrap(), b"still here");
    }
}

fn a_failed_request_is_no_request(wire: &dyn Wire) {
    for length in [10, 500_000] {
        let error = ask(wire, request(b'c', &noise(7, length)).chain(Fails)).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{length}: {error:?}");
        assert_eq!(ask(wire, request(b'e', b"still here")).unwrap(), b"still here");
    }
}

fn an_answer_may_be_dropped(wire: &dyn Wire) {
    drop(wire.exchange(Box::new(request(b'b', b"9000000"))).unwrap());
    let mut answer = wire.exchange(Box::new(request(b'b', b"9000000"))).unwrap();
    answer.read_exact(&mut [0; 10_000]).unwrap();
    drop(answer);
    assert_eq!(ask(wire, request(b'e', b"still here")).unwrap(), b"still here");
}

fn exchanges_may_overlap(wire: &dyn Wire) {
    let together = Barrier::new(4);
    thread::scope(|scope| {
        for seed in 0..4 {
            let together = &together;
            scope.spawn(move || {
                let data = noise(100 + seed, 1 << 20);
                together.wait();
                assert!(ask(wire, request(b'e', &data)).unwrap() == data);
            });
        }
    });
}
