//! See `porcelain::testing::fuzz::user_settings`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::user_settings(data);
});
