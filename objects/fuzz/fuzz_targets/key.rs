//! See `objects::testing::fuzz::key`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::key(data);
});
