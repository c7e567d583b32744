//! See `objects::testing::fuzz::summary`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::summary(data);
});
