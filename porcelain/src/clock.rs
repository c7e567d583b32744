//! Times as people read them.

use objects::time::Timestamp;

/// `2026-03-01 12:34:56Z`.
pub fn shown(time: Timestamp) -> String {
    match jiff::Timestamp::from_second(time.seconds() as i64) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => time.seconds().to_string(),
    }
}
