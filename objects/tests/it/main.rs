//! Integration tests, one binary: a module a room.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // tests may read the environment, and make a socket to refuse
#![allow(clippy::single_range_in_vec_init)] // one chunk is a list of one range

mod blob;
mod checkout;
mod chunker;
mod codec;
mod crash;
mod fsck;
mod fuzz;
mod gc;
mod golden;
mod ids;
mod index;
mod ingest;
mod key;
mod malformed;
mod multi;
mod pack;
mod parallel;
mod refs;
mod repack;
mod repair;
mod signed;
mod store;
mod tree;
mod version;

/// Counted, so that a decoder which takes memory by a stated length is found.
#[global_allocator]
static ALLOCATOR: objects::testing::memory::Counting = objects::testing::memory::Counting;

/// A test file without its `mod` line would pass by never running.
#[test]
fn no_test_file_is_forgotten() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let room = name.strip_suffix(".rs").unwrap_or(&name);
        let named = include_str!("main.rs").lines().any(|line| line == format!("mod {room};"));
        assert!(named || room == "main", "{name} has no mod line in main.rs");
    }
}
