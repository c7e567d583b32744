//! See `porcelain::testing::fuzz::head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::head(data);
});
