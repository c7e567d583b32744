//! What the kernel lets this process do, set once at the start.
//!
//! Promises: a store of many packs finds handles for them; a file that may not grow is an error of the
//! call that grows it, never a signal (REL-018).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Prepares the process. What the kernel refuses stays as it was.
pub fn prepare() {
    raise_handles();
    // SAFETY: no handler of ours is set, and the program starts no other that would inherit this.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Takes all the handles the system grants: every pack holds one, and shells give out few for the sake of
/// programs that use `select`, which this one does not.
fn raise_handles() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
