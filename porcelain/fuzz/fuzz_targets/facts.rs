//! See `porcelain::testing::fuzz::facts`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::facts(data);
});
