//! See `porcelain::testing::fuzz::journal`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::journal(data);
});
