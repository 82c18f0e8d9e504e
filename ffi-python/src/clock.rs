//! Time and chance for calls that were not given any: the clocks of Python's `time` module, read without
//! a call into Python.

use std::cell::Cell;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use podway::Now;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// `(monotonic milliseconds, unix seconds)`.
pub(crate) type Moment = (u64, u64);

/// An instant, and what `time.monotonic_ns()` said at it.
static ORIGIN: PyOnceLock<(Instant, u64)> = PyOnceLock::new();

thread_local! {
    /// The last reading of the system's date, and when it was made.
    static DATE: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
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
        None => now(py),
    }
}

#[expect(clippy::disallowed_methods, reason = "the binding gives the core its clock")]
fn now(py: Python<'_>) -> Now {
    let instant = Instant::now();
    let (origin, nanoseconds) = ORIGIN.get(py).copied().unwrap_or((instant, 0));
    let since = instant.saturating_duration_since(origin);
    let mono_ms = (since + Duration::from_nanos(nanoseconds)).as_millis() as u64;
    // Dates are in seconds, so the system is asked for one no more than ten times a second.
    let unix_s = match DATE.get() {
        Some((read, unix_s)) if instant.saturating_duration_since(read) < Duration::from_millis(100) => {
            unix_s
        }
        _ => {
            let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            DATE.set(Some((instant, unix_s)));
            unix_s
        }
    };
    Now { mono_ms, unix_s }
}

/// The number that was given, or a random one.
#[inline]
pub(crate) fn entropy(given: Option<u64>) -> u64 {
    given.unwrap_or_else(|| fastrand::u64(..))
}
