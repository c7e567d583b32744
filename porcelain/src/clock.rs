//! Times as people read and write them.

use crate::config::parse_duration;
use crate::error::Error;
use objects::time::Timestamp;

/// `2026-03-01 12:34:56Z`.
pub fn shown(time: Timestamp) -> String {
    match jiff::Timestamp::from_second(time.seconds() as i64) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => time.seconds().to_string(),
    }
}

/// A time as people write it: `2027-01-31`, `2027-01-31T12:00:00Z`, or from now on `1h`, `90d`.
///
/// # Errors
/// `Usage` if it is none of these.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    if let Ok(seconds) = parse_duration(text) {
        return Ok(now.after(seconds));
    }
    let whole = if text.contains(['T', ' ']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let parsed = whole.parse::<jiff::Timestamp>().ok();
    let parsed = parsed.and_then(|time| Timestamp::new(u64::try_from(time.as_second()).ok()?).ok());
    parsed.ok_or_else(|| {
        Error::usage(format!("{text:?} is no time"), "write 1h, 90d, 2027-01-31 or 2027-01-31T12:00:00Z")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Timestamp::new(1_000).unwrap();
        let read = |text: &str| parse(text, now).ok().map(Timestamp::seconds);
        assert_eq!(read("1h"), Some(4_600));
        assert_eq!(read("2026-01-01"), Some(1_767_225_600));
        assert_eq!(read("2026-01-01T00:00:01Z"), Some(1_767_225_601));
        assert_eq!(read(&shown(now)), Some(1_000));
        for text in ["", "soon", "1960-01-01", "2026-13-01", "10000-01-01"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
