//! See `plumbing::testing::fuzz::key_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::key_file(data);
});
