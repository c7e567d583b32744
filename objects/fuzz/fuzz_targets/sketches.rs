//! See `objects::testing::fuzz::sketches`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::sketches(data);
});
