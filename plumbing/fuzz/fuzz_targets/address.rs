//! See `plumbing::testing::fuzz::address`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::address(data);
});
