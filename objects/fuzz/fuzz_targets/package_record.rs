//! See `objects::testing::fuzz::package_record`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::package_record(data);
});
