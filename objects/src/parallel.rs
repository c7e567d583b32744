//! Work spread over threads, results taken in order.
//!
//! Promises: `take` sees results in the order of the input whatever the threads do; at most
//! `window` items are in flight, so memory is bounded.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// What `work` gave, or the panic it ended in, which is the taker's too.
type Outcome<R> = std::thread::Result<R>;

/// How many threads there are for computing.
pub fn default_jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Feeds `input` through `work` on `jobs` threads and hands the results to `take` in order. The
/// input is drawn on a thread of its own.
///
/// # Errors
/// The first error of `take`; what is in flight is then dropped.
pub fn ordered<T: Send, R: Send, E>(
    jobs: usize,
    input: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let jobs = jobs.max(1);
    let window = jobs * 4;
    let (permits, released) = sync_channel::<()>(window);
    let (to_workers, items) = sync_channel::<(usize, T)>(window);
    let (to_taker, results) = sync_channel::<(usize, Outcome<R>)>(window);
    let items = Mutex::new(items);
    std::thread::scope(|scope| {
        scope.spawn(move || feed(input, &permits, &to_workers));
        for _ in 0..jobs {
            let (to_taker, items, work) = (to_taker.clone(), &items, &work);
            scope.spawn(move || labour(items, &to_taker, work));
        }
        drop(to_taker);
        take_in_order(results, released, &mut take)
    })
}

fn feed<T>(input: impl Iterator<Item = T>, permits: &SyncSender<()>, to_workers: &SyncSender<(usize, T)>) {
    for item in input.enumerate() {
        if permits.send(()).is_err() || to_workers.send(item).is_err() {
            return; // the taker has given up
        }
    }
}

fn labour<T, R>(
    items: &Mutex<Receiver<(usize, T)>>,
    to_taker: &SyncSender<(usize, Outcome<R>)>,
    work: &(impl Fn(T) -> R + Sync),
) {
    loop {
        let next = items.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, item)) = next else { return };
        let done = catch_unwind(AssertUnwindSafe(|| work(item)));
        if to_taker.send((number, done)).is_err() {
            return;
        }
    }
}

fn take_in_order<R, E>(
    results: Receiver<(usize, Outcome<R>)>,
    released: Receiver<()>,
    take: &mut impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    for (number, result) in results {
        waiting.insert(number, result);
        while let Some(result) = waiting.remove(&next) {
            take(result.unwrap_or_else(|panic| resume_unwind(panic)))?;
            next += 1;
            let _ = released.recv();
        }
    }
    Ok(())
}
