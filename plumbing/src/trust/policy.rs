//! What the user of this machine allows, where the rules leave a choice (steps 5 and 16).
//!
//! Leaves to others: reading it from a configuration.

use objects::time::Timestamp;

/// What to do with an index, beacon or identity that is past its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// Refuse it: the default on line.
    #[default]
    Strict,
    /// Use it, and say so.
    Warn,
    /// Use it; only what is returned tells. For installs from a lockfile off line.
    Off,
    /// Use it, and say so, as long as it is past its time by at most so much.
    MaxStale {
        /// By how much, in seconds.
        seconds: u64,
    },
}

/// How something stands in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    Fresh,
    /// Past its time by so many seconds, and allowed.
    Stale(u64),
    Refused,
}

impl Freshness {
    /// How a document that counts until `expires` stands at the time `at`.
    pub(super) fn judge(self, expires: Timestamp, at: Timestamp) -> Age {
        if at < expires {
            return Age::Fresh;
        }
        let past = at.since(expires);
        match self {
            Freshness::Strict => Age::Refused,
            Freshness::MaxStale { seconds } if past > seconds => Age::Refused,
            Freshness::Warn | Freshness::Off | Freshness::MaxStale { .. } => Age::Stale(past),
        }
    }

    /// True if what is past its time is to be mentioned.
    pub(super) fn speaks(self) -> bool {
        self != Freshness::Off
    }
}

/// What the user of this machine allows. The default allows nothing that could be refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What to do with documents past their time.
    pub freshness: Freshness,
    /// How long an index must have listed a version before it is taken, in seconds.
    pub min_age_seconds: u64,
    /// Take versions their author withdrew.
    pub allow_yanked: bool,
    /// Take versions the distributor forbids.
    pub allow_forbidden: bool,
    /// Take versions the distributor warns of.
    pub allow_malicious: bool,
}
