//! See `objects::testing::fuzz::package_name`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::package_name(data);
});
