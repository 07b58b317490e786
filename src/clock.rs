//! Time: the only module that reads a clock, and the only one that knows jiff.

use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in UTC, printed as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(jiff::Timestamp);

impl Timestamp {
    /// Returns the moment that lies `millis` milliseconds after 1970 began.
    pub fn from_unix_millis(millis: i64) -> Self {
        Self(jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }

    /// Returns the milliseconds since 1970 began.
    pub fn unix_millis(self) -> i64 {
        self.0.as_millisecond()
    }

    /// Returns the time from `earlier` to this moment, and zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(
            u64::try_from(self.unix_millis() - earlier.unix_millis()).unwrap_or(0),
        )
    }

    /// Returns the moment that lies `span` after this one; the last that there is where that is beyond.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        self.0.checked_add(span).map_or(Self(jiff::Timestamp::MAX), Self)
    }

    /// Returns the time of day here and now, `04:30`, with the date before it where that is another
    /// than `now`'s.
    pub fn local(self, now: Self) -> String {
        let zone = jiff::tz::TimeZone::system();
        let (at, now) = (self.0.to_zoned(zone.clone()), now.0.to_zoned(zone));
        let format = if at.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        at.strftime(format).to_string()
    }

    /// Returns the moment as `20261120-091500`, fit for a file name.
    pub fn compact(self) -> String {
        self.0.strftime("%Y%m%d-%H%M%S").to_string()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.0)
    }
}

impl std::str::FromStr for Timestamp {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|e: jiff::Error| e.to_string())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A reading of the monotonic clock, for durations and deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(std::time::Instant);

impl Instant {
    /// Reads the monotonic clock.
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the time")]
    pub fn now() -> Self {
        Self(std::time::Instant::now())
    }

    /// Returns the time that has passed since this reading.
    pub fn elapsed(self) -> Duration {
        Self::now().0.saturating_duration_since(self.0)
    }

    /// Returns the time from now until `limit` after this reading; zero once it has passed.
    pub fn left(self, limit: Duration) -> Duration {
        limit.saturating_sub(self.elapsed())
    }
}

/// Tells the time of day; a trait so that a test can say what time it is.
pub trait Clock: Send + Sync {
    /// Returns the present moment.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the place that reads the time")]
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now())
    }
}

/// A clock that advances by one second at each reading.
#[derive(Debug)]
pub struct SteppingClock(Mutex<i64>);

impl SteppingClock {
    /// Returns a clock whose first reading is `start`.
    pub fn starting_at(start: Timestamp) -> Self {
        Self(Mutex::new(start.unix_millis()))
    }
}

impl Clock for SteppingClock {
    fn now(&self) -> Timestamp {
        let mut millis = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Timestamp::from_unix_millis(*millis);
        *millis += 1_000;
        now
    }
}

/// Reads a length of time as people write it: a number of seconds, or `90s`, `30m`, `2h`.
///
/// # Errors
/// The text is no number with such a unit, or the time is not above zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    number
        .trim()
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * scale).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("`{text}` is no length of time; write seconds, or 90s, 30m, 2h"))
}

/// Reads a moment as people name it: `06:30` (the next time that it is so in UTC), `2h` (from `now`
/// on), or RFC 3339 as `2026-11-21T06:30:00Z`.
///
/// # Errors
/// The text names no moment, or one that is not after `now`.
pub fn parse_moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    const DAY: i64 = 24 * 60 * 60 * 1_000;
    let text = text.trim();
    let refuse =
        || format!("`{text}` names no moment; write 06:30 (UTC), 2h, or 2026-11-21T06:30:00Z");
    if let Some((hour, minute)) = text.split_once(':')
        && text.len() <= 5
    {
        let part = |text: &str, below: i64| {
            let is_plain = text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| is_plain && (0..below).contains(number))
        };
        let (Some(hour), Some(minute)) = (part(hour, 24), part(minute, 60)) else {
            return Err(refuse());
        };
        let midnight = now.unix_millis() - now.unix_millis().rem_euclid(DAY);
        let today = midnight + (hour * 60 + minute) * 60_000;
        let next = if today > now.unix_millis() { today } else { today + DAY };
        return Ok(Timestamp::from_unix_millis(next));
    }
    if let Ok(span) = parse_duration(text) {
        let ms = i64::try_from(span.as_millis()).map_err(|_| refuse())?;
        let at = now.0.checked_add(Duration::from_millis(ms.unsigned_abs()));
        return at.map(Timestamp).map_err(|_| refuse());
    }
    let at: Timestamp = text.parse().map_err(|_| refuse())?;
    if at <= now {
        return Err(format!("`{text}` has passed; it is {now}"));
    }
    Ok(at)
}

/// Returns `duration` as a person would say it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => match seconds % 60 {
            0 => format!("{} min", seconds / 60),
            rest => format!("{} min {rest} s", seconds / 60),
        },
        _ => match seconds % 3600 / 60 {
            0 => format!("{} h", seconds / 3600),
            rest => format!("{} h {rest} min", seconds / 3600),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_keeps_its_milliseconds_through_text() {
        let moment = Timestamp::from_unix_millis(1_795_166_100_250);
        assert_eq!(moment.to_string(), "2026-11-20T09:15:00.250Z");
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        assert_eq!(moment.compact(), "20261120-091500");
    }

    #[test]
    fn a_length_of_time_has_a_unit_that_people_write() {
        for (text, seconds) in [("90", 90.0), ("0.5 s", 0.5), ("30m", 1800.0), ("2h", 7200.0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
        for text in ["", "0", "-1", "5 parsecs", "m", "inf", "nan", "1e300h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_time_of_day_a_length_from_now_or_a_date() {
        let now: Timestamp = "2026-11-20T09:15:00Z".parse().unwrap();
        for (text, expected) in [
            ("06:30", "2026-11-21T06:30:00.000Z"),
            ("09:15", "2026-11-21T09:15:00.000Z"),
            ("9:16", "2026-11-20T09:16:00.000Z"),
            ("23:59", "2026-11-20T23:59:00.000Z"),
            (" 2h", "2026-11-20T11:15:00.000Z"),
            ("90", "2026-11-20T09:16:30.000Z"),
            ("2026-11-21T06:30:00+02:00", "2026-11-21T04:30:00.000Z"),
        ] {
            assert_eq!(parse_moment(text, now).map(|at| at.to_string()), Ok(expected.to_owned()));
        }
        for text in
            ["", "24:00", "12:60", "1:2:3", "+1:+2", "noon", "2h ago", "1e12h", "2026-11-21"]
        {
            let error = parse_moment(text, now).unwrap_err();
            assert!(error.contains("names no moment"), "{text}: {error}");
        }
        let error = parse_moment("2026-11-20T09:15:00Z", now).unwrap_err();
        assert!(error.contains("has passed"), "{error}");
    }

    #[test]
    fn durations_read_as_people_say_them() {
        for (millis, text) in
            [(400, "0.4 s"), (12_900, "12 s"), (200_000, "3 min 20 s"), (7_500_000, "2 h 5 min")]
        {
            assert_eq!(human(Duration::from_millis(millis)), text);
        }
    }
}
