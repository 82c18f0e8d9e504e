//! Moments at which time alone changes something, other than a probe that is due. Few of them wait at any
//! time, so that a sorted set is enough.

use std::collections::BTreeSet;

use crate::decision::{GroupId, TargetId};

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A deregistration delay is over.
    Drained(TargetId),
    /// A slow start is over.
    Ramped(TargetId),
    /// Anomaly detection judges the targets of a group.
    Judged(GroupId),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(u64, Timer)>);

impl Timers {
    pub(super) fn add(&mut self, at_ms: u64, timer: Timer) {
        self.0.insert((at_ms, timer));
    }

    /// The next timer that is due at `now_ms`, taken out. `u64::MAX` is never: what begins anew could not be
    /// put off any further.
    pub(super) fn due(&mut self, now_ms: u64) -> Option<Timer> {
        let (at, _) = *self.0.first()?;
        if at > now_ms || at == u64::MAX {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
    }

    /// The earliest moment; `u64::MAX` with none.
    pub(super) fn next(&self) -> u64 {
        self.0.first().map_or(u64::MAX, |(at, _)| *at)
    }
}
