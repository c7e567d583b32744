//! See `objects::testing::fuzz::entry_name`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::entry_name(data);
});
