//! The moment a call happens at. The core never reads a clock: every verb that needs the time takes a
//! [`Now`], so that a test, a simulation and a replay decide exactly as production does.

/// A moment, as the caller sees it.
///
/// `mono_ms` orders events and measures durations (health check intervals, slow start, draining);
/// `unix_s` dates cookies, which outlive a process. The two need no common origin.
///
/// ```
/// let now = podway::Now { mono_ms: 1_500, unix_s: 1_767_225_600 };
/// assert_eq!(now.plus_ms(500).mono_ms, 2_000);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds on a monotonic clock of the caller's choice.
    pub mono_ms: u64,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_s: u64,
}

impl Now {
    /// The moment `ms` milliseconds later; both clocks advance (the unix one by whole seconds).
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        let mono_ms = self.mono_ms.saturating_add(ms);
        let whole = mono_ms / 1000 - self.mono_ms / 1000;
        Now { mono_ms, unix_s: self.unix_s.saturating_add(whole) }
    }
}
