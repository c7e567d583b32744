//! See `plumbing::testing::fuzz::request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::request(data);
});
