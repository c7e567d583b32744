//! Nothing of a process that holds secrets is left for others (SEC-141).
//!
//! Promises: from the first call on, no core file holds this process's memory, and on Linux no other
//! process of the same user reads it or attaches to it. Both stay so until the process ends.
//! Leaves to others: root, and what the machine itself writes away (swap, hibernation).

use rustix::process::{Resource, Rlimit, setrlimit};
use std::sync::Once;

/// Shields the process. Called before the first secret is read; later calls do nothing.
pub fn shield() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        if let Err(error) = setrlimit(Resource::Core, none).and_then(|()| hide()) {
            tracing::warn!(%error, "the system lets others look into this process");
        }
    });
}

/// A core that is piped into a program knows no limit of size; it is not made for a process that may not
/// be dumped. The same keeps `ptrace` and `/proc/<pid>/mem` shut.
#[cfg(target_os = "linux")]
fn hide() -> rustix::io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
}

#[cfg(not(target_os = "linux"))]
fn hide() -> rustix::io::Result<()> {
    Ok(())
}
