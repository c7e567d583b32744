//! See `objects::testing::fuzz::identity_row`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::identity_row(data);
});
