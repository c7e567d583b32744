//! Benchmarks of the store.
fn main() {
    divan::main();
}
