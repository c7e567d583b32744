//! Every implementation of `Wire` without sockets through its suite. Those with sockets are in `host` and `peer`.

use std::sync::Arc;

use plumbing::transport::{
    Wire,
    memory::MemoryWire,
    meter::{Meter, Metered, Traffic},
};

use super::suite::{self, Actor, ask, request};

#[test]
fn memory_keeps_the_contract() {
    suite::wire(&MemoryWire::new(Arc::new(Actor)));
}

#[test]
fn a_metered_wire_keeps_the_contract() {
    suite::wire(&Metered::new(MemoryWire::new(Arc::new(Actor)), Meter::new()));
    let shared: Arc<dyn Wire> = Arc::new(MemoryWire::new(Arc::new(Actor)));
    suite::wire(&shared);
}

/// L-U4: both halves are counted.
#[test]
fn a_meter_counts_both_halves() {
    let meter = Meter::new();
    let wire = Metered::new(MemoryWire::new(Arc::new(Actor)), Arc::clone(&meter));
    ask(&wire, request(b'b', b"70000")).unwrap();
    assert_eq!(meter.traffic(), Traffic { received: 70_000, sent: 6, requests: 1 });
}
