//! See `objects::testing::fuzz::index_statement`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::index_statement(data);
});
