//! The one place of the library that reads a clock or a random source. What it hands out goes into the
//! router as plain values.

#![expect(clippy::disallowed_methods, reason = "the forwarder is where clocks are read")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Now;

/// A clock that starts at zero when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono_ms: u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX),
            unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
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
