//! See `objects::testing::fuzz::spec`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::spec(data);
});
