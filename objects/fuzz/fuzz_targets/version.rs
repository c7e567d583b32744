//! See `objects::testing::fuzz::version`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::version(data);
});
