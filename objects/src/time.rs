//! Points in time as statements carry them. The clock itself is read elsewhere and handed in.

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z, up to the end of the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Timestamp(u64);

/// A time beyond the year 9999 (SEC-062).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("time {0} lies beyond the year 9999")]
pub struct OutOfRange(u64);

impl Timestamp {
    const MAX: u64 = 253_402_300_799;
    /// 1970-01-01T00:00:00Z: before everything that was signed.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// A time from its seconds.
    ///
    /// # Errors
    /// If it lies beyond the year 9999.
    pub fn new(seconds: u64) -> Result<Self, OutOfRange> {
        if seconds > Self::MAX { Err(OutOfRange(seconds)) } else { Ok(Timestamp(seconds)) }
    }

    /// The seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// The time `seconds` later, at most the end of the year 9999.
    pub fn after(self, seconds: u64) -> Self {
        Timestamp(self.0.saturating_add(seconds).min(Self::MAX))
    }

    /// Seconds from `earlier` to this; zero if it is not earlier.
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl TryFrom<u64> for Timestamp {
    type Error = OutOfRange;
    fn try_from(seconds: u64) -> Result<Self, OutOfRange> {
        Timestamp::new(seconds)
    }
}

impl From<Timestamp> for u64 {
    fn from(time: Timestamp) -> u64 {
        time.0
    }
}
