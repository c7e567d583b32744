//! See `objects::testing::fuzz::stat_cache`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::stat_cache(data);
});
