//! See `objects::testing::fuzz::tree`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::tree(data);
});
