//! See `objects::testing::fuzz::repository_config`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::repository_config(data);
});
