//! See `objects::testing::fuzz::reflog`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::reflog(data);
});
