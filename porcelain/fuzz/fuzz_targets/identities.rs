//! See `porcelain::testing::fuzz::identities`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::identities(data);
});
