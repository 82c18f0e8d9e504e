//! Automatic target weights: targets that fail more often than their peers are found, always; their weight is
//! lowered where the group mitigates (spec: dataplane §3.3.3). AWS does not tell its statistics: what is
//! judged here is the share of failed requests against that of all other targets together.

use super::timers::Timer;
use super::{Cold, Snapshot};
use crate::GroupId;
use crate::decision::Outcome;
use crate::model::TargetHealthState;
use crate::state::FULL;
use crate::table::Algorithm;
use crate::time::Now;

/// Fewer healthy targets have no peers to be compared with.
const PEERS: usize = 3;

/// Whether an outcome speaks against the target: a 5xx of its own, or a connection that failed.
pub(super) const fn failed(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Response(status) => status >= 500 && status <= 599,
        Outcome::ConnectFailed | Outcome::TimedOut | Outcome::Closed => true,
        Outcome::Cancelled => false,
    }
}

/// Lets the targets of every group that is large enough be judged from now on.
pub(super) fn begin(snapshot: &Snapshot, cold: &mut Cold, now: Now) {
    let window_ms = snapshot.options.anomaly.window_ms.max(1);
    for (entry, id) in snapshot.table.groups.iter().zip(snapshot.group_ids.iter()) {
        if entry.targets.len() >= PEERS && cold.judged.insert(*id) {
            // Groups take turns within the window.
            let first = now.mono_ms.saturating_add(1 + entry.fingerprint % window_ms);
            cold.timers.add(first, Timer::Judged(*id));
        }
    }
}

/// Judges the targets of a group, and again after a window.
pub(super) fn judge(snapshot: &Snapshot, cold: &mut Cold, group: GroupId, now: Now) {
    let options = &snapshot.options.anomaly;
    let place = snapshot.group_place(group);
    let large = |place: &usize| snapshot.slots_of(*place).len() >= PEERS;
    let Some(place) = place.filter(large) else {
        cold.judged.remove(&group);
        return;
    };
    cold.timers.add(now.mono_ms.saturating_add(options.window_ms.max(1)), Timer::Judged(group));
    let slots = snapshot.slots_of(place);
    let healthy = || slots.iter().filter(|s| s.state() == TargetHealthState::Healthy);
    let compared = healthy().take(PEERS).count() == PEERS;
    let (mut requests, mut failures) = (0, 0);
    for (n, f) in healthy().map(|s| s.since_judged()) {
        (requests, failures) = (requests + n, failures + f);
    }
    let Some(entry) = snapshot.table.groups.get(place) else { return };
    let mitigates =
        entry.attributes.anomaly_mitigation && entry.attributes.algorithm == Algorithm::WeightedRandom;
    let mut mitigating = false;
    for slot in slots {
        let (n, f) = slot.since_judged();
        let (others, others_failed) = (requests - n.min(requests), failures - f.min(failures));
        let least = u64::from(options.minimum_requests).max(1);
        if !compared || slot.state() != TargetHealthState::Healthy {
            slot.set_anomalous(false);
            slot.set_judged();
        } else if n >= least && others >= least {
            // f/n - others_failed/others >= threshold, without fractions.
            let more = (f * others).saturating_sub(others_failed * n);
            let threshold = u64::from(options.threshold_percent.clamp(1, 100));
            slot.set_anomalous(more * 100 >= threshold * n * others);
            slot.set_judged();
        }
        // With too few requests the judgement stands, and they are counted on.
        let weight = match (mitigates, slot.is_anomalous()) {
            (false, _) => FULL,
            (true, true) => {
                let kept = 100 - options.decrease_percent.min(100);
                (slot.weight() * kept / 100).max((options.floor_percent * FULL / 100).clamp(1, FULL))
            }
            (true, false) => (slot.weight() + options.increase_percent.max(1) * FULL / 100).min(FULL),
        };
        slot.set_weight(weight);
        mitigating |= weight < FULL;
    }
    if let Some(state) = snapshot.groups.get(place) {
        state.set_mitigating(mitigating);
    }
}
