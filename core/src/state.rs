//! What changes while a table stays: per registration its health and its requests in flight, per group its
//! turn and who may be chosen. Atomics that a decision reads and counts on; health itself moves under a
//! lock that decisions never take. Carried over to the next table by identity, not by position.
//!
//! What a request writes: one counter of its target when it is sent, another of the same cache line when it
//! is done, and with round robin the turn of its group. Nothing is shared by all requests.

#[cfg(test)]
mod tests;

use std::sync::PoisonError;

use crate::decision::{GroupId, TargetId};
use crate::health::Machine;
use crate::model::{TargetHealth, TargetHealthState};
use crate::sync::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering};

/// The full weight of a target, in thousandths.
pub(crate) const FULL: u32 = 1000;

/// The number that stands for a registration that is gone, behind the states of health.
const GONE: u8 = u8::MAX;

/// One registration of a target. The first cache line is what requests touch.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Slot {
    /// Requests that were sent here.
    entered: AtomicU64,
    /// Requests that were settled; never more than were sent.
    left: AtomicU64,
    /// Those of them that failed as anomaly detection counts it.
    failed: AtomicU64,
    /// The millisecond a slow start began at, plus one; 0 without one.
    slow_start: AtomicU64,
    pub(crate) id: TargetId,
    pub(crate) group: GroupId,
    /// What a target on its ramp has saved up towards its next turn, in thousandths.
    credit: AtomicU32,
    /// Its weight in a weighted random draw, in thousandths.
    weight: AtomicU32,
    state: AtomicU8,
    eligible: AtomicBool,
    anomalous: AtomicBool,
    /// Registered together with a whole new group: its first health is no slow start (spec: §3.3.4).
    first_batch: AtomicBool,
    pub(crate) fingerprint: u64,
    /// Until when a probe is under way; 0 without one.
    probing_until: AtomicU64,
    /// When its deregistration delay is over, while it drains.
    drains_until: AtomicU64,
    /// Requests settled and failed when the target was last judged.
    judged: (AtomicU64, AtomicU64),
    pub(crate) port: u16,
    /// Instance id or address.
    pub(crate) target: String,
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
            entered: AtomicU64::new(0),
            left: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            slow_start: AtomicU64::new(0),
            id,
            group,
            credit: AtomicU32::new(0),
            weight: AtomicU32::new(FULL),
            state: AtomicU8::new(health.state as u8),
            eligible: AtomicBool::new(false),
            anomalous: AtomicBool::new(false),
            first_batch: AtomicBool::new(first_batch),
            fingerprint,
            probing_until: AtomicU64::new(0),
            drains_until: AtomicU64::new(0),
            judged: (AtomicU64::new(0), AtomicU64::new(0)),
            port,
            target,
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

    /// Whether the registration is over: nobody looks it up any more.
    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        self.state.load(Ordering::Relaxed) == GONE
    }

    /// Ends the registration, for good.
    pub(crate) fn end(&self) {
        self.set_eligible(false);
        self.state.store(GONE, Ordering::Relaxed);
    }

    /// Lets `change` move the health; gives back what it was and what it is. A registration that is over
    /// stays over.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Machine)) -> (TargetHealth, TargetHealth) {
        let mut machine = self.machine();
        let before = machine.health().clone();
        if self.is_gone() {
            return (before.clone(), before);
        }
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

    /// Whether it may be chosen now.
    #[inline]
    pub(crate) fn eligible(&self) -> bool {
        self.eligible.load(Ordering::Relaxed)
    }

    pub(crate) fn set_eligible(&self, eligible: bool) {
        self.eligible.store(eligible, Ordering::Relaxed);
    }

    /// Counts a request in.
    #[inline]
    pub(crate) fn enter(&self) {
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request out; false where none was in, and nothing changes.
    #[inline]
    pub(crate) fn leave(&self, failed: bool) -> bool {
        // `entered` is read after `left`, each time: read before, it could be overtaken by a request that came
        // and went meanwhile, and this one would stay counted in. Whoever reads `left` sees at least as many
        // entered as those who left had seen.
        let left = |left: u64| (left < self.entered.load(Ordering::Relaxed)).then_some(left + 1);
        let counted = self.left.fetch_update(Ordering::Release, Ordering::Acquire, left).is_ok();
        if counted && failed {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        counted
    }

    /// Requests in flight. Whoever is in is counted; so may be some who come and go meanwhile, never fewer: a
    /// target that drains is not let go too early.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        let left = self.left.load(Ordering::Acquire);
        let entered = self.entered.load(Ordering::Relaxed);
        u32::try_from(entered.saturating_sub(left)).unwrap_or(u32::MAX)
    }

    pub(crate) fn begin_slow_start(&self, now_ms: u64) {
        self.credit.store(0, Ordering::Relaxed);
        self.slow_start.store(now_ms.saturating_add(1), Ordering::Relaxed);
    }

    /// Ends a slow start; whether there was one.
    pub(crate) fn end_slow_start(&self) -> bool {
        self.slow_start.swap(0, Ordering::Relaxed) != 0
    }

    /// Milliseconds since the slow start began, where one is on.
    #[inline]
    pub(crate) fn slow_start_ms(&self, now_ms: u64) -> Option<u64> {
        let began = self.slow_start.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now_ms.saturating_sub(began))
    }

    /// Saves up `share` thousandths of a turn; whether that makes a whole one, which is spent then.
    #[inline]
    pub(crate) fn save_up(&self, share: u32) -> bool {
        let saved = self.credit.fetch_add(share, Ordering::Relaxed).saturating_add(share);
        let whole = saved >= FULL;
        if whole {
            self.credit.fetch_sub(FULL, Ordering::Relaxed);
        }
        whole
    }

    /// The weight in a weighted random draw, in thousandths.
    #[inline]
    pub(crate) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    pub(crate) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    pub(crate) fn is_anomalous(&self) -> bool {
        self.anomalous.load(Ordering::Relaxed)
    }

    pub(crate) fn set_anomalous(&self, anomalous: bool) {
        self.anomalous.store(anomalous, Ordering::Relaxed);
    }

    /// Requests settled and failed since the last judgement.
    pub(crate) fn since_judged(&self) -> (u64, u64) {
        let since = |now: &AtomicU64, then: &AtomicU64| {
            now.load(Ordering::Relaxed).saturating_sub(then.load(Ordering::Relaxed))
        };
        (since(&self.left, &self.judged.0), since(&self.failed, &self.judged.1))
    }

    /// Starts to count anew.
    pub(crate) fn set_judged(&self) {
        self.judged.0.store(self.left.load(Ordering::Relaxed), Ordering::Relaxed);
        self.judged.1.store(self.failed.load(Ordering::Relaxed), Ordering::Relaxed);
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

    pub(crate) fn drains_until(&self) -> u64 {
        self.drains_until.load(Ordering::Relaxed)
    }

    pub(crate) fn set_drains_until(&self, at_ms: u64) {
        self.drains_until.store(at_ms, Ordering::Relaxed);
    }
}

/// The turn of a group and who may be chosen in it.
#[derive(Debug)]
pub(crate) struct GroupState {
    /// On a cache line of its own: every turn writes it, and what follows is only read.
    turns: Turns,
    /// How many of `chosen` count, and in the upper half whether the group fails open.
    eligible: AtomicU64,
    /// Indexes into `Table::targets`; every one of them is in range at any time.
    chosen: Box<[AtomicU32]>,
    /// Whether a target of the group is in its slow start.
    ramping: AtomicBool,
    /// Whether a target of the group has less than its full weight.
    mitigating: AtomicBool,
}

#[derive(Debug)]
#[repr(align(64))]
struct Turns(AtomicU64);

impl GroupState {
    /// The state of a group with room for `targets` targets, whose turn goes on at `cursor`.
    pub(crate) fn new(targets: usize, cursor: u64) -> Self {
        GroupState {
            turns: Turns(AtomicU64::new(cursor)),
            eligible: AtomicU64::new(0),
            chosen: (0..targets).map(|_| AtomicU32::new(0)).collect(),
            ramping: AtomicBool::new(false),
            mitigating: AtomicBool::new(false),
        }
    }

    /// Replaces who may be chosen. A decision that runs at the same time may still see some of those that
    /// were there before, as it would have an instant earlier.
    pub(crate) fn set_eligible(&self, targets: &[u32], fail_open: bool) {
        for (slot, target) in self.chosen.iter().zip(targets) {
            slot.store(*target, Ordering::Relaxed);
        }
        self.set_count(targets.len().min(self.chosen.len()) as u32, fail_open);
    }

    /// Puts one target at the end of those that may be chosen; says at which place.
    pub(crate) fn add(&self, target: u32, fail_open: bool) -> Option<u32> {
        let (count, _) = self.eligible();
        self.chosen.get(count as usize)?.store(target, Ordering::Relaxed);
        self.set_count(count + 1, fail_open);
        Some(count)
    }

    /// Takes out whoever stands at `place`: the last one moves there, and is given back where it is another.
    pub(crate) fn remove(&self, place: u32, fail_open: bool) -> Option<u32> {
        let (count, _) = self.eligible();
        let last = self.at(count.checked_sub(1)?)?;
        self.chosen.get(place as usize)?.store(last, Ordering::Relaxed);
        self.set_count(count - 1, fail_open);
        (place != count - 1).then_some(last)
    }

    /// How many count from now on: whoever reads the number sees the places it counts.
    pub(crate) fn set_count(&self, count: u32, fail_open: bool) {
        self.eligible.store(u64::from(fail_open) << 32 | u64::from(count), Ordering::Release);
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

    /// Takes the next turn, among `count`. The very first one starts anywhere, so that the load balancers of
    /// a fleet do not march in step (spec: dataplane §3.3.1).
    #[inline]
    pub(crate) fn turn(&self, count: u32, entropy: u64) -> u32 {
        let mut turn = self.turns.0.fetch_add(1, Ordering::Relaxed);
        if turn == 0 {
            let start = entropy >> 32;
            self.turns.0.fetch_add(start, Ordering::Relaxed);
            turn = start;
        }
        (turn % u64::from(count.max(1))) as u32
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.turns.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ramping(&self, ramping: bool) {
        self.ramping.store(ramping, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn ramping(&self) -> bool {
        self.ramping.load(Ordering::Relaxed)
    }

    pub(crate) fn set_mitigating(&self, mitigating: bool) {
        self.mitigating.store(mitigating, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn mitigating(&self) -> bool {
        self.mitigating.load(Ordering::Relaxed)
    }
}
