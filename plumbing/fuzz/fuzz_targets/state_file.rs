//! See `plumbing::testing::fuzz::state_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::state_file(data);
});
