//! See `objects::testing::fuzz::id`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::id(data);
});
