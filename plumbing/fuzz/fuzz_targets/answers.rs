//! See `plumbing::testing::fuzz::answers`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::answers(data);
});
