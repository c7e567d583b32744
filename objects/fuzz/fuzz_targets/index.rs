//! See `objects::testing::fuzz::index`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::index(data);
});
