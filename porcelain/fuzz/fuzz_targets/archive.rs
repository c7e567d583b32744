//! See `porcelain::testing::fuzz::archive`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::archive(data);
});
