//! See `porcelain::testing::fuzz::duration`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::duration(data);
});
