//! See `objects::testing::fuzz::pack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::pack(data);
});
