//! See `plumbing::testing::fuzz::index_tree`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::index_tree(data);
});
