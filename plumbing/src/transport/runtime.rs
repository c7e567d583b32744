//! The one async runtime behind the blocking interface.
//!
//! Promises: it starts with the first socket and lasts as long as the process; its few threads only move bytes.
//! Leaves to others: closing what they opened before the process ends.

use std::sync::{Mutex, OnceLock, PoisonError};

use tokio::runtime::{Builder, Runtime};

use super::error::Error;

const THREADS: usize = 2;

/// The runtime.
pub(crate) fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());

    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let _one_at_a_time = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if RUNTIME.get().is_none() {
        let _ = RUNTIME.set(start()?); // nobody else can have set it: we hold the lock
    }
    Ok(RUNTIME.get().expect("it was set a line above"))
}

fn start() -> Result<Runtime, Error> {
    let built =
        Builder::new_multi_thread().worker_threads(THREADS).thread_name("pkg-net").enable_all().build();
    built.map_err(|e| Error::Setup { at: "the network threads".into(), source: e.into() })
}
