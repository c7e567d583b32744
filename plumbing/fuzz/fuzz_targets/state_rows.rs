//! See `plumbing::testing::fuzz::state_rows`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::state_rows(data);
});
