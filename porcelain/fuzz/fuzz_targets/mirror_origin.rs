//! See `porcelain::testing::fuzz::mirror_origin`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = porcelain::testing::fuzz::mirror_origin(data);
});
