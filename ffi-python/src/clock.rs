//! Time for calls that were not given any: the clocks of Python's `time` module, read without a call into
//! Python.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use podway::Now;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// `(monotonic milliseconds, unix seconds)`.
pub(crate) type Moment = (u64, u64);

/// An instant, and what `time.monotonic_ns()` said at it.
static ORIGIN: PyOnceLock<(Instant, u64)> = PyOnceLock::new();

thread_local! {
    /// The last reading of the system's date, and until when it is good, in monotonic milliseconds.
    static DATE: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Ties the clock to Python's, so that a caller may mix moments of both.
#[expect(clippy::disallowed_methods, reason = "the binding gives the core its clock")]
pub(crate) fn start(py: Python<'_>) -> PyResult<()> {
    let nanoseconds: u64 = py.import("time")?.call_method0("monotonic_ns")?.extract()?;
    let _ = ORIGIN.set(py, (Instant::now(), nanoseconds));
    Ok(())
}

/// The moment that was given, or this one.
#[inline]
pub(crate) fn moment(py: Python<'_>, given: Option<Moment>) -> Now {
    match given {
        Some((mono_ms, unix_s)) => Now { mono_ms, unix_s },
        None => dated(now_ms(py)),
    }
}

/// The moment that was given, or this one to the tick of the system, some milliseconds: enough for what a
/// request asks of time, and read without waiting for the processor's counter.
#[inline]
pub(crate) fn rough(py: Python<'_>, given: Option<Moment>) -> Now {
    match given {
        Some((mono_ms, unix_s)) => Now { mono_ms, unix_s },
        None => dated(tick_ms(py)),
    }
}

#[cfg(target_os = "linux")]
fn tick_ms(py: Python<'_>) -> u64 {
    use nix::time::{ClockId, clock_gettime};
    // The clock of `time.monotonic_ns()`, as it stood at the last tick; it is never negative.
    match clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE) {
        Ok(at) => at.tv_sec() as u64 * 1000 + at.tv_nsec() as u64 / 1_000_000,
        Err(_) => now_ms(py),
    }
}

#[cfg(not(target_os = "linux"))]
fn tick_ms(py: Python<'_>) -> u64 {
    now_ms(py)
}

#[expect(clippy::disallowed_methods, reason = "the binding gives the core its clock")]
fn now_ms(py: Python<'_>) -> u64 {
    let instant = Instant::now();
    let (origin, nanoseconds) = ORIGIN.get(py).copied().unwrap_or((instant, 0));
    let since = instant.saturating_duration_since(origin);
    // 64 bits of nanoseconds are 584 years.
    (since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()) + nanoseconds) / 1_000_000
}

/// A moment with its date.
#[expect(clippy::disallowed_methods, reason = "the binding gives the core its clock")]
fn dated(mono_ms: u64) -> Now {
    // Dates are in seconds, so the system is asked for one no more than ten times a second.
    let (until_ms, unix_s) = DATE.get();
    if mono_ms < until_ms {
        return Now { mono_ms, unix_s };
    }
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    DATE.set((mono_ms + 100, unix_s));
    Now { mono_ms, unix_s }
}
