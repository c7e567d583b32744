//! See `plumbing::testing::fuzz::file_key`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::file_key(data);
});
