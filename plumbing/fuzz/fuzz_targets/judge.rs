//! See `plumbing::testing::fuzz::judge`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::judge(data);
});
