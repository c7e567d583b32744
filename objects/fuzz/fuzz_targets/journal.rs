//! See `objects::testing::fuzz::journal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::journal(data);
});
