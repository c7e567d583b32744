//! Work spread over threads: order, errors, panics.

use objects::parallel::ordered;
use proptest::prelude::*;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Runs `work` on a thread of its own; panics if it hangs. The time is far beyond any honest run.
fn without_hanging<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = channel();
    std::thread::spawn(move || done.send(work()));
    result.recv_timeout(Duration::from_secs(60)).expect("it hangs")
}

/// Some work whose length differs from item to item, so that threads overtake each other.
fn uneven(item: u32) -> u32 {
    (0..item % 7 * 300).fold(item, |sum, n| std::hint::black_box(sum.rotate_left(n % 3).rotate_right(n % 3)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    /// REL-040: results arrive in the order of the input, all of them, whatever the number of threads.
    #[test]
    fn order_is_kept(items in prop::collection::vec(any::<u32>(), 0..300), jobs in 0..9usize) {
        let mut taken = Vec::new();
        let done: Result<(), Infallible> = ordered(jobs, items.clone().into_iter(), uneven, |item| {
            taken.push(item);
            Ok(())
        });
        prop_assert!(done.is_ok());
        prop_assert_eq!(taken, items);
    }

    /// The first error ends the work: nothing after it is taken, and not all of the input is drawn.
    #[test]
    fn the_first_error_stops_it(stop in 0..200usize, jobs in 1..6usize) {
        let drawn = AtomicUsize::new(0);
        let input = (0..1_000_000usize).inspect(|_| { drawn.fetch_add(1, Ordering::Relaxed); });
        let mut taken = Vec::new();
        let done = ordered(jobs, input, |item| item, |item| {
            if item == stop {
                return Err(item);
            }
            taken.push(item);
            Ok(())
        });
        prop_assert_eq!(done, Err(stop));
        prop_assert_eq!(taken, (0..stop).collect::<Vec<_>>());
        prop_assert!(drawn.into_inner() <= stop + 10 * jobs + 10, "the window is bounded");
    }

    /// A panic of a worker comes out, with its own words, and does not leave the others waiting.
    #[test]
    fn a_panic_in_a_worker_comes_out(at in 0..100usize, jobs in 1..6usize) {
        let words = without_hanging(move || {
            let work = |item: usize| { assert_ne!(item, at, "worker {item} panics"); item };
            let run = || ordered(jobs, 0..10_000, work, |_| Ok::<(), Infallible>(()));
            let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("the panic is hidden");
            panic.downcast_ref::<String>().cloned().unwrap_or_default()
        });
        prop_assert!(words.contains("panics"), "{}", words);
    }

    /// So does a panic of the input, and of the taker.
    #[test]
    fn a_panic_at_either_end_comes_out(at in 0..100usize, jobs in 1..6usize, taker: bool) {
        without_hanging(move || {
            let input = (0..10_000usize).inspect(|item| assert!(taker || *item != at, "input panics"));
            let take = |item: usize| { assert!(!taker || item != at, "taker panics"); Ok::<(), Infallible>(()) };
            let run = || ordered(jobs, input, |item| item, take);
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "the panic is hidden");
        });
    }
}

/// Memory is bounded: however slow the taker, only a window of items is between it and the input.
#[test]
fn a_slow_taker_holds_the_input_back() {
    let (drawn, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let input = (0..2_000usize).inspect(|_| {
        let ahead = drawn.fetch_add(1, Ordering::SeqCst) - taken.load(Ordering::SeqCst);
        assert!(ahead <= 2 * 4 * 3, "{ahead} items in flight");
    });
    let take = |_: usize| {
        std::thread::yield_now();
        taken.fetch_add(1, Ordering::SeqCst);
        Ok::<(), Infallible>(())
    };
    ordered(2, input, |item| item, take).unwrap();
}
