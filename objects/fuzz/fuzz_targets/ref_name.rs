//! See `objects::testing::fuzz::ref_name`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::ref_name(data);
});
