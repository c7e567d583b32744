//! See `objects::testing::fuzz::blob`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::blob(data);
});
