//! Time for calls that were not given any: the clock of `process.hrtime`, which all threads of a process
//! share, and the system's date.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use napi_derive::napi;
use podway::Now;

/// An instant, and what `process.hrtime.bigint()` said at it.
static ORIGIN: OnceLock<(Instant, u64)> = OnceLock::new();

thread_local! {
    /// The last reading of the system's date, and until when it is good, in monotonic milliseconds.
    static DATE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Ties the clock to `process.hrtime`: to be called once, with what it says.
#[napi]
#[allow(clippy::disallowed_methods, reason = "the binding gives the core its clock")]
pub fn start_clock(hrtime_ms: f64) {
    ORIGIN.get_or_init(|| (Instant::now(), (hrtime_ms * 1e6) as u64));
}

/// This moment: `[monotonic milliseconds, unix seconds]`.
#[napi]
pub fn clock() -> (f64, f64) {
    let now = now();
    (now.mono_ms as f64, now.unix_s as f64)
}

/// The moment that was given, or this one where it is no number.
pub(crate) fn moment(mono_ms: f64, unix_s: f64) -> Now {
    if mono_ms.is_nan() {
        return now();
    }
    // Numbers of JavaScript are doubles; what is negative is the beginning of time.
    Now { mono_ms: mono_ms as u64, unix_s: unix_s as u64 }
}

#[expect(clippy::disallowed_methods, reason = "the binding gives the core its clock")]
pub(crate) fn now() -> Now {
    let instant = Instant::now();
    let (origin, nanoseconds) = ORIGIN.get().copied().unwrap_or((instant, 0));
    let since = instant.saturating_duration_since(origin);
    // 64 bits of nanoseconds are 584 years.
    let mono_ms =
        (since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()) + nanoseconds) / 1_000_000;
    // Dates are in seconds, so the system is asked for one no more than ten times a second.
    let (until_ms, unix_s) = DATE.get();
    if mono_ms < until_ms {
        return Now { mono_ms, unix_s };
    }
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    DATE.set((mono_ms + 100, unix_s));
    Now { mono_ms, unix_s }
}
