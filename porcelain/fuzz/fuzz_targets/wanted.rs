//! See `porcelain::testing::fuzz::wanted`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::wanted(data);
});
