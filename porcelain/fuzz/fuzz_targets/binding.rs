//! See `porcelain::testing::fuzz::binding`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::binding(data);
});
