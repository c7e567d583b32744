//! See `plumbing::testing::fuzz::pipe`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::pipe(data);
});
