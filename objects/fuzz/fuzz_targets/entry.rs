//! See `objects::testing::fuzz::entry`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::entry(data);
});
