//! See `objects::testing::fuzz::tail`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::tail(data);
});
