//! The one place of the library that reads a clock or a random source. What it hands out goes into the
//! router as plain values.

#![expect(clippy::disallowed_methods, reason = "the forwarder is where clocks are read")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Now;

/// A clock that starts at zero when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    wall: fn() -> SystemTime,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock::with_time_of_day(SystemTime::now)
    }

    pub(crate) fn with_time_of_day(wall: fn() -> SystemTime) -> Self {
        Clock { start: Instant::now(), wall }
    }

    pub(crate) fn now(&self) -> Now {
        self.at(tokio::time::Instant::now())
    }

    /// Now, by a moment that was read a moment ago: a request reads clocks as rarely as it can.
    pub(crate) fn at(&self, moment: tokio::time::Instant) -> Now {
        let mono = moment.into_std().saturating_duration_since(self.start);
        Now {
            mono_ms: u64::try_from(mono.as_millis()).unwrap_or(u64::MAX),
            unix_s: (self.wall)().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        }
    }

    /// The moment on tokio's clock that a monotonic time of ours stands for.
    pub(crate) fn instant(&self, mono_ms: u64) -> tokio::time::Instant {
        let at = self.start.checked_add(std::time::Duration::from_millis(mono_ms));
        // A deadline beyond the clock's range is as good as none; look again in a day.
        tokio::time::Instant::from_std(
            at.unwrap_or_else(|| Instant::now() + std::time::Duration::from_secs(86_400)),
        )
    }
}

/// The time of day as the `Date` header writes it.
pub(crate) fn http_date() -> String {
    httpdate::fmt_http_date(SystemTime::now())
}

/// A random number, for decisions and trace ids. Not for keys.
pub(crate) fn entropy() -> u64 {
    fastrand::u64(..)
}

/// A random number that is as good, and long enough for a trace id.
pub(crate) fn long_entropy() -> u128 {
    fastrand::u128(..)
}

/// The time of day.
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// A moment as the logs write it, with microseconds.
pub(crate) fn iso8601(at: SystemTime) -> String {
    let at = time::OffsetDateTime::from(at);
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, micros) = (at.hour(), at.minute(), at.second(), at.microsecond());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_iso_8601() {
        let at = |s, us: u32| iso8601(UNIX_EPOCH + std::time::Duration::new(s, us * 1000));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.000001Z");
        assert_eq!(at(1_767_225_599, 999_999), "2025-12-31T23:59:59.999999Z");
    }
}
