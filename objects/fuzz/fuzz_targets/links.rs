//! See `objects::testing::fuzz::links`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::links(data);
});
