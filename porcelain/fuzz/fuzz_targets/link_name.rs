//! See `porcelain::testing::fuzz::link_name`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::link_name(data);
});
