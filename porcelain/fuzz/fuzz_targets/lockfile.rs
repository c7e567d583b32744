//! See `porcelain::testing::fuzz::lockfile`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::lockfile(data);
});
