//! Every implementation of `Bare` and `BareWrite` through their suites.

use std::sync::Arc;

use plumbing::transport::{
    Bare, BareWrite,
    file::Folder,
    memory::Memory,
    meter::{Meter, Metered, Traffic},
    retry::Retry,
    subset::Subset,
};

use super::{key, suite};

fn filled() -> Memory {
    let memory = Memory::new();
    suite::fill(&memory);
    memory
}

#[test]
fn memory_keeps_the_contracts() {
    suite::bare(&filled());
    suite::bare_write(&Memory::new());
}

#[test]
fn a_folder_keeps_the_contracts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::create(dir.path().join("filled")).unwrap();
    suite::fill(&folder);
    suite::bare(&folder);
    suite::bare_write(&Folder::create(dir.path().join("empty")).unwrap());
}

#[test]
fn wrappers_keep_the_contracts() {
    suite::bare(&Retry::new(filled()));
    suite::bare(&Metered::new(filled(), Meter::new()));
    suite::bare(&Subset::new(filled(), ["summary", "empty", "objects/", "a/", "statements/"]));
    let shared: Arc<dyn Bare> = Arc::new(filled());
    suite::bare(&Retry::new(shared));
    suite::bare_write(&Retry::new(Memory::new()));
    let boxed: Box<dyn BareWrite> = Box::new(Metered::new(Memory::new(), Meter::new()));
    suite::bare_write(&boxed);
}

/// A subset shows its part alone, by whatever call.
#[test]
fn a_subset_hides_the_rest() {
    let subset = Subset::new(filled(), ["summary", "objects/pack/"]);
    assert!(subset.try_read(&key("summary"), 99).unwrap().is_some());
    assert!(subset.try_size(&key("objects/pack/00ff.pack")).unwrap().is_some());
    for hidden in ["empty", "summary/x", "objects/other", "statements/v1.0~rc+1_x-y"] {
        assert_eq!(subset.try_read(&key(hidden), 99).unwrap(), None, "{hidden}");
        assert_eq!(subset.try_size(&key(hidden)).unwrap(), None, "{hidden}");
        assert_eq!(subset.read_range(&key(hidden), 0..1).unwrap_err().code(), "E-NOTFOUND", "{hidden}");
    }
}

/// L-U4: what went through a source can be told.
#[test]
fn a_meter_counts_both_ways() {
    let meter = Meter::new();
    let store = Metered::new(Memory::new(), Arc::clone(&meter));
    store.write(&key("f"), &mut &[7; 1000][..]).unwrap();
    store.swap(&key("g"), None, &[7; 20]).unwrap();
    assert_eq!(meter.traffic(), Traffic { received: 0, sent: 1020, requests: 2 });
    store.find(&key("f"), 1000).unwrap();
    store.read_range(&key("f"), 10..15).unwrap();
    assert!(store.try_read(&key("absent"), 9).unwrap().is_none());
    assert_eq!(meter.traffic(), Traffic { received: 1005, sent: 1020, requests: 5 });
}
