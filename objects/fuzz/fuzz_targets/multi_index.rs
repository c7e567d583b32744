//! See `objects::testing::fuzz::multi_index`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::multi_index(data);
});
