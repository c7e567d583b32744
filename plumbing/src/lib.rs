//! Bytes between machines, and judgement.
