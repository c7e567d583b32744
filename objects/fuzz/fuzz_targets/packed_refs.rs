//! See `objects::testing::fuzz::packed_refs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = objects::testing::fuzz::packed_refs(data);
});
