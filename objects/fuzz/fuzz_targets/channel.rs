//! See `objects::testing::fuzz::channel`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::channel(data);
});
