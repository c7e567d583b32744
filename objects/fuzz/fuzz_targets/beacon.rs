//! See `objects::testing::fuzz::beacon`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::beacon(data);
});
