//! See `porcelain::testing::fuzz::carried`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::carried(data);
});
