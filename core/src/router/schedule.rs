//! When each target is probed next: its own phase in the interval, spread by its fingerprint so that no
//! group is probed all at once (spec: dataplane §5.5).

use super::wheel::Wheel;
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
    wheel: Wheel<(TargetId, bool)>,
    due: Vec<(u64, (TargetId, bool))>,
}

/// How often a registration that drains is looked at: it may come back.
const DRAINING_MS: u64 = 5_000;

/// How many first probes a millisecond may see.
const FIRST_PER_MS: u64 = 10;

impl Schedule {
    /// Puts a new registration in line: within a second, or within the interval where that is shorter; of
    /// very many at once, so that not all of them are probed in that second.
    pub(super) fn add(&mut self, slot: &Slot, check: &HealthCheck, registered: usize, now: Now) {
        let interval = check.interval_ms.max(1);
        let spread = (registered as u64 / FIRST_PER_MS).max(1000).min(interval);
        self.wheel.add(now.mono_ms.saturating_add(slot.fingerprint % spread), (slot.id, true));
    }
}

/// Hands out what is due and says when the next probe is.
pub(super) fn due(snapshot: &Snapshot, cold: &mut Cold, now: Now, probes: &mut Vec<Probe>) -> u64 {
    let mut due = std::mem::take(&mut cold.schedule.due);
    cold.schedule.wheel.take(now.mono_ms, &mut due);
    for (at, (id, first)) in due.drain(..) {
        // A registration that is gone falls out of the line here.
        let Some(slot) = snapshot.slot(id) else { continue };
        let Some((group, target)) = snapshot.place(slot) else {
            cold.schedule.wheel.add(now.mono_ms.saturating_add(DRAINING_MS), (id, false));
            continue;
        };
        let Some(entry) = snapshot.table.groups.get(group) else { continue };
        let check = &entry.health_check;
        let interval = check.interval_ms.max(1);
        let next = if first {
            at.saturating_add(1 + (slot.fingerprint >> 16) % interval)
        } else {
            // The rhythm does not shift with late calls; whole intervals that were missed are left out.
            at.saturating_add(interval.saturating_mul(1 + (now.mono_ms - at) / interval))
        };
        cold.schedule.wheel.add(next, (id, false));
        let probed =
            check.enabled && !matches!(slot.state(), TargetHealthState::Unused | TargetHealthState::Draining);
        let address = snapshot.table.targets.get(target as usize).and_then(|t| t.probe_address);
        if let Some(address) = address.filter(|_| probed)
            && slot.begin_probe(now.mono_ms, check.timeout_ms)
        {
            snapshot.change(cold, slot, now, crate::health::Machine::checked);
            probes.push(Probe {
                target: id,
                address,
                protocol: check.protocol,
                version: check.version,
                path: check.path.clone(),
                host: host(check.protocol, address),
                timeout_ms: check.timeout_ms,
            });
        }
    }
    cold.schedule.due = due;
    cold.schedule.wheel.next()
}

/// The Host of a probe: the port is left out where it is the protocol's own.
fn host(protocol: Protocol, address: std::net::SocketAddr) -> String {
    let own = if protocol == Protocol::Https { 443 } else { 80 };
    let ip = address.ip();
    match (ip.is_ipv6(), address.port() == own) {
        (false, true) => ip.to_string(),
        (true, true) => format!("[{ip}]"),
        (_, false) => address.to_string(),
    }
}
