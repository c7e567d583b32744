//! See `objects::testing::fuzz::identity`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::identity(data);
});
