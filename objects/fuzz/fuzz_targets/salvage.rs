//! See `objects::testing::fuzz::salvage`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::salvage(data);
});
