//! See `porcelain::testing::fuzz::generation`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::generation(data);
});
