//! See `objects::testing::fuzz::requirement`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::requirement(data);
});
