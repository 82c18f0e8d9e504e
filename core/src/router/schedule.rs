//! When each target is probed next: a heap of moments, the phase of a target spread by its fingerprint so
//! that no group is probed all at once (spec: dataplane §5.5).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Cold, Probe, Snapshot};
use crate::decision::TargetId;
use crate::health::HealthCheck;
use crate::model::{Protocol, TargetHealthState};
use crate::state::Slot;
use crate::time::Now;

/// The moments at which probes are due. The first probe of a registration is soon; only from the second
/// on it has its phase in the interval.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BinaryHeap<Reverse<(u64, TargetId, bool)>>,
}

/// How often a registration that drains is looked at: it may come back.
const DRAINING_MS: u64 = 5_000;

impl Schedule {
    /// Puts a new registration in line: within a second, or within the interval where that is shorter.
    pub(super) fn add(&mut self, slot: &Slot, check: &HealthCheck, now: Now) {
        let spread = check.interval_ms.clamp(1, 1000);
        self.due.push(Reverse((now.mono_ms.saturating_add(slot.fingerprint % spread), slot.id, true)));
    }
}

/// Hands out what is due and says when the next probe is.
pub(super) fn due(snapshot: &Snapshot, cold: &mut Cold, now: Now, probes: &mut Vec<Probe>) -> u64 {
    while let Some(Reverse((at, id, first))) = cold.schedule.due.peek().copied() {
        if at > now.mono_ms {
            return at;
        }
        cold.schedule.due.pop();
        // A registration that is gone falls out of the line here.
        let Some(slot) = snapshot.slot(id) else { continue };
        let group = snapshot.group_of(id).and_then(|g| Some((g, snapshot.table.groups.get(g)?)));
        let Some((group, check)) = group.map(|(place, entry)| (place, &entry.health_check)) else {
            cold.schedule.due.push(Reverse((now.mono_ms.saturating_add(DRAINING_MS), id, false)));
            continue;
        };
        let interval = check.interval_ms.max(1);
        let next = if first {
            at + 1 + (slot.fingerprint >> 16) % interval
        } else {
            // The rhythm does not shift with late calls; whole intervals that were missed are left out.
            at + interval * (1 + (now.mono_ms - at) / interval)
        };
        cold.schedule.due.push(Reverse((next, id, false)));
        let probed = !matches!(slot.state(), TargetHealthState::Unused | TargetHealthState::Draining);
        let address = snapshot.probe_address(group, slot).filter(|_| probed);
        if let Some(address) = address
            && slot.begin_probe(now.mono_ms, check.timeout_ms)
        {
            snapshot.change(cold, slot, group, now, crate::health::Machine::checked);
            let own = if check.protocol == Protocol::Https { 443 } else { 80 };
            let ip = address.ip();
            let host = match (ip.is_ipv6(), address.port() == own) {
                (false, true) => ip.to_string(),
                (true, true) => format!("[{ip}]"),
                (_, false) => address.to_string(),
            };
            probes.push(Probe {
                target: id,
                address,
                protocol: check.protocol,
                version: check.version,
                path: check.path.clone(),
                host,
                timeout_ms: check.timeout_ms,
            });
        }
    }
    u64::MAX
}

impl Snapshot {
    fn probe_address(&self, group: usize, slot: &Slot) -> Option<std::net::SocketAddr> {
        let known = self.by_fingerprint.get(group)?;
        let at = known.binary_search_by_key(&slot.fingerprint, |(f, _)| *f).ok()?;
        self.table.targets.get(known.get(at)?.1 as usize)?.probe_address
    }
}
