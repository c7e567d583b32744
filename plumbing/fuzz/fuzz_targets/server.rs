//! See `plumbing::testing::fuzz::server`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::server(data);
});
