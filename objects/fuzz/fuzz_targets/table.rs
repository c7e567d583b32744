//! See `objects::testing::fuzz::table`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::table(data);
});
