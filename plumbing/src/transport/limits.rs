//! The bounds of this room, each with its unit and its reason (THREATS 1.8).
//!
//! Promises: no other file of `transport` holds a number that stops somebody.
//! Leaves to others: bounds on what the bytes mean (`objects::limits`).

use std::time::Duration;

/// Segments in a key: the deepest file of a bare repository has four.
pub const KEY_SEGMENTS_MAX: usize = 8;
/// Bytes in a key; well below the path limit of every disk and bucket.
pub const KEY_BYTES_MAX: usize = 512;

/// Bytes moved between two threads at a time: large enough that hand-over costs nothing, small enough to hold by the dozen.
pub const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait between two threads before the faster one has to.
pub const PIECES_WAITING_MAX: usize = 8;
/// Bytes in one frame of a pipe; a longer one is noise on the line, not a frame.
pub const FRAME_BYTES_MAX: u32 = 1 << 20;
/// Bytes of a large file that a host holds in memory for one client.
pub const FILE_PIECE_BYTES: u64 = 256 << 10;
/// Bytes up to which a host reads a file at one moment, because it may be one that is replaced.
pub const FILE_WHOLE_BYTES_MAX: u64 = 1 << 20;

/// Bytes of headers that a host reads before it answers 431.
#[cfg(feature = "net")]
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// How long our client keeps an idle connection: shorter than a host's
/// [`header_timeout`](Limits::header_timeout), so that it never writes into one being closed.
#[cfg(feature = "net")]
pub const POOL_IDLE: Duration = Duration::from_secs(8);
/// Exchanges that a host works on at once; each holds a thread.
#[cfg(feature = "net")]
pub const EXCHANGES_MAX: usize = 64;
/// How long an exchange waits for its turn before it is told that the host is busy.
#[cfg(feature = "net")]
pub const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Refused connections that are still told why; the rest are closed unheard.
#[cfg(feature = "net")]
pub const REFUSALS_MAX: usize = 32;
/// How long a stopping host lets answers finish.
#[cfg(feature = "net")]
pub const STOP_GRACE: Duration = Duration::from_secs(2);

/// Time after which a silent iroh connection counts as dead.
#[cfg(feature = "net")]
pub const PEER_IDLE: Duration = Duration::from_secs(10);
/// Time after which an idle iroh connection shows that it is alive; well below [`PEER_IDLE`].
#[cfg(feature = "net")]
pub const PEER_KEEP_ALIVE: Duration = Duration::from_secs(3);
/// How long a starting host looks for the addresses that go into its ticket.
#[cfg(feature = "net")]
pub const ADDRESS_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a refused request that are still read, so that the refusal is not lost with the connection.
#[cfg(feature = "net")]
pub const LINGER_BYTES_MAX: u64 = 1 << 20;

/// The longest pause that a server may ask for before the next try.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);
/// Pauses before the second, third and fourth try.
pub const RETRY_DELAYS: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];

/// How patient one side is with the other. The defaults are those of THREATS 1.8; a user may raise them, the other side may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time in which a connection must stand.
    pub connect_timeout: Duration,
    /// Time without a single byte after which the other side counts as stalled.
    pub idle_timeout: Duration,
    /// The stretch of waiting over which the lowest useful rate is judged.
    pub rate_window: Duration,
    /// Bytes that have to arrive in each [`rate_window`](Self::rate_window) of waiting.
    pub rate_window_bytes_min: u64,
    /// Time in which the headers of a request must have come to a host; also how long a host keeps an idle connection.
    pub header_timeout: Duration,
    /// Redirects that are followed.
    pub redirects_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            rate_window: Duration::from_secs(30),
            rate_window_bytes_min: 30 << 10,
            header_timeout: Duration::from_secs(10),
            redirects_max: 3,
        }
    }
}
