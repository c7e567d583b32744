//! See `plumbing::testing::fuzz::openssh_key`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let _ = plumbing::testing::fuzz::openssh_key(data);
});
