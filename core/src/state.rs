//! What changes while a table stays: per registration its health and its requests in flight, per group its
//! turn and who may be chosen. Atomics that a decision reads and counts on; health itself moves under a
//! lock that decisions never take. Carried over to the next table by identity, not by position.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::decision::{GroupId, TargetId};
use crate::health::Machine;
use crate::model::{TargetHealth, TargetHealthState};

/// One registration of a target.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) id: TargetId,
    pub(crate) group: GroupId,
    /// Instance id or address.
    pub(crate) target: String,
    pub(crate) port: u16,
    pub(crate) fingerprint: u64,
    state: AtomicU8,
    in_flight: AtomicU32,
    /// The millisecond a slow start began at, plus one; 0 without one.
    slow_start: AtomicU64,
    /// Until when a probe is under way; 0 without one.
    probing_until: AtomicU64,
    /// Registered together with a whole new group: its first health is no slow start (spec: §3.3.4).
    first_batch: AtomicBool,
    machine: Mutex<Machine>,
}

impl Slot {
    pub(crate) fn new(
        id: TargetId,
        group: GroupId,
        target: String,
        port: u16,
        fingerprint: u64,
        health: TargetHealth,
        first_batch: bool,
    ) -> Self {
        Slot {
            id,
            group,
            target,
            port,
            fingerprint,
            state: AtomicU8::new(health.state as u8),
            in_flight: AtomicU32::new(0),
            slow_start: AtomicU64::new(0),
            probing_until: AtomicU64::new(0),
            first_batch: AtomicBool::new(first_batch),
            machine: Mutex::new(Machine::new(health)),
        }
    }

    /// Whether this was the registration's first time of being healthy in a new group.
    pub(crate) fn take_first_batch(&self) -> bool {
        self.first_batch.swap(false, Ordering::Relaxed)
    }

    /// The state as decisions see it.
    #[inline]
    pub(crate) fn state(&self) -> TargetHealthState {
        use TargetHealthState::{Draining, Healthy, Initial, Unavailable, Unhealthy, Unused};
        let all = [Initial, Healthy, Unhealthy, Unused, Draining, Unavailable];
        all.get(usize::from(self.state.load(Ordering::Relaxed))).copied().unwrap_or(Unused)
    }

    /// Lets `change` move the health; gives back what it was and what it is.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Machine)) -> (TargetHealth, TargetHealth) {
        let mut machine = self.machine();
        let before = machine.health().clone();
        change(&mut machine);
        let after = machine.health().clone();
        self.state.store(after.state as u8, Ordering::Relaxed);
        (before, after)
    }

    pub(crate) fn health(&self) -> TargetHealth {
        self.machine().health().clone()
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        // A panic elsewhere cannot leave a machine half changed.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request in.
    #[inline]
    pub(crate) fn enter(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request out; false where none was in, and nothing changes.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        self.in_flight.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_slow_start(&self, now_ms: u64) {
        self.slow_start.store(now_ms.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn end_slow_start(&self) {
        self.slow_start.store(0, Ordering::Relaxed);
    }

    /// Milliseconds since the slow start began, where one is on.
    #[inline]
    pub(crate) fn slow_start_ms(&self, now_ms: u64) -> Option<u64> {
        let began = self.slow_start.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now_ms.saturating_sub(began))
    }

    /// Whether no probe is under way; if so one is from now on.
    pub(crate) fn begin_probe(&self, now_ms: u64, timeout_ms: u64) -> bool {
        if self.probing_until.load(Ordering::Relaxed) > now_ms {
            return false;
        }
        self.probing_until.store(now_ms.saturating_add(timeout_ms), Ordering::Relaxed);
        true
    }

    pub(crate) fn end_probe(&self) {
        self.probing_until.store(0, Ordering::Relaxed);
    }
}

/// The turn of a group and who may be chosen in it.
#[derive(Debug)]
pub(crate) struct GroupState {
    cursor: AtomicU32,
    /// How many of `chosen` count, and in the upper half whether the group fails open.
    eligible: AtomicU64,
    /// Indexes into `Table::targets`; every one of them is in range at any time.
    chosen: Box<[AtomicU32]>,
    /// Whether a target of the group is in its slow start.
    ramping: AtomicBool,
}

impl GroupState {
    /// The state of a group with room for `targets` targets, whose turn goes on at `cursor`.
    pub(crate) fn new(targets: usize, cursor: u32) -> Self {
        GroupState {
            cursor: AtomicU32::new(cursor),
            eligible: AtomicU64::new(0),
            chosen: (0..targets).map(|_| AtomicU32::new(0)).collect(),
            ramping: AtomicBool::new(false),
        }
    }

    /// Replaces who may be chosen. A decision that runs at the same time may still see some of those that
    /// were there before, as it would have an instant earlier.
    pub(crate) fn set_eligible(&self, targets: &[u32], fail_open: bool) {
        for (slot, target) in self.chosen.iter().zip(targets) {
            slot.store(*target, Ordering::Relaxed);
        }
        let count = targets.len().min(self.chosen.len()) as u64;
        self.eligible.store(u64::from(fail_open) << 32 | count, Ordering::Release);
    }

    /// How many targets may be chosen, and whether the group fails open.
    #[inline]
    pub(crate) fn eligible(&self) -> (u32, bool) {
        let word = self.eligible.load(Ordering::Acquire);
        (word as u32, word >> 32 != 0)
    }

    /// The target at a place of the list.
    #[inline]
    pub(crate) fn at(&self, place: u32) -> Option<u32> {
        self.chosen.get(place as usize).map(|t| t.load(Ordering::Relaxed))
    }

    /// Takes the next turn.
    #[inline]
    pub(crate) fn turn(&self) -> u32 {
        self.cursor.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn cursor(&self) -> u32 {
        self.cursor.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ramping(&self, ramping: bool) {
        self.ramping.store(ramping, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn ramping(&self) -> bool {
        self.ramping.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health;

    fn slot() -> Slot {
        let id = TargetId { slot: 0, generation: 1 };
        Slot::new(id, GroupId(0), "10.0.0.1".into(), 80, 1, health::registering(), false)
    }

    #[test]
    fn counting_out_never_goes_below_zero() {
        let slot = slot();
        slot.enter();
        assert!(slot.leave());
        assert!(!slot.leave());
        assert_eq!(slot.in_flight(), 0);
    }

    #[test]
    fn counts_hold_under_threads() {
        let slot = slot();
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..10_000 {
                        slot.enter();
                        assert!(slot.leave());
                    }
                });
            }
        });
        assert_eq!(slot.in_flight(), 0);
    }

    #[test]
    fn a_probe_is_not_handed_out_twice() {
        let slot = slot();
        assert!(slot.begin_probe(0, 5));
        assert!(!slot.begin_probe(4, 5));
        assert!(slot.begin_probe(5, 5), "it timed out unreported");
        slot.end_probe();
        assert!(slot.begin_probe(6, 5));
    }

    #[test]
    fn states_survive_their_number() {
        let slot = slot();
        for state in [
            TargetHealthState::Initial,
            TargetHealthState::Healthy,
            TargetHealthState::Unhealthy,
            TargetHealthState::Unused,
            TargetHealthState::Draining,
            TargetHealthState::Unavailable,
        ] {
            slot.change(|m| m.set(health::health(state, None, None)));
            assert_eq!(slot.state(), state);
        }
    }
}
