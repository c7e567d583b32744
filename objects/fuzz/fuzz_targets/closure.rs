//! See `objects::testing::fuzz::closure`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::closure(data);
});
