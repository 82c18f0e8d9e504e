//! Ids that were given and slots that are taken; registrations that drain, and what becomes of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::timers::Timer;
use super::{Cold, Snapshot, anomaly, reload};
use crate::decision::{GroupId, TargetId};
use crate::health;
use crate::model::{TargetHealth, TargetHealthState};
use crate::state::Slot;
use crate::table::{Table, TargetEntry};
use crate::time::Now;

#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By `ListenerId`: load balancer ARN and port.
    listeners: Vec<(String, u16)>,
    /// By `GroupId`: ARN and name.
    groups: Vec<(String, String)>,
    generation: u32,
    free: Vec<u32>,
    slots: Vec<Option<Arc<Slot>>>,
}

impl Registry {
    /// By slot number.
    pub(super) fn slots(&self) -> Arc<[Option<Arc<Slot>>]> {
        self.slots.clone().into()
    }

    /// Registrations that drain.
    pub(super) fn draining(&self) -> impl Iterator<Item = &Arc<Slot>> {
        self.slots.iter().flatten().filter(|slot| slot.state() == TargetHealthState::Draining)
    }

    /// Their fingerprints, sorted, with their slots.
    pub(super) fn draining_fingerprints(&self) -> Arc<[(u64, u32)]> {
        let mut list: Vec<(u64, u32)> = self.draining().map(|s| (s.fingerprint, s.id.slot)).collect();
        list.sort_unstable();
        list.into()
    }

    /// All registrations by group and target, those that drain included.
    pub(super) fn known(&self) -> HashMap<(GroupId, u64), Arc<Slot>> {
        let slots = self.slots.iter().flatten();
        slots.map(|slot| ((slot.group, slot.fingerprint), slot.clone())).collect()
    }

    pub(super) fn group_name(&self, group: GroupId) -> &str {
        self.groups.get(group.0 as usize).map_or("", |(_, name)| name)
    }

    pub(super) fn group_count(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn listener_ids(&mut self, table: &Table) -> Arc<[Option<u32>]> {
        let mut known: HashMap<(String, u16), usize> =
            self.listeners.iter().cloned().enumerate().map(|(i, key)| (key, i)).collect();
        let mut places = vec![None; self.listeners.len()];
        for (place, listener) in table.listeners.iter().enumerate() {
            let key = (listener.load_balancer_arn.clone(), listener.port);
            let id = *known.entry(key.clone()).or_insert_with(|| {
                self.listeners.push(key);
                places.push(None);
                places.len() - 1
            });
            if let Some(slot) = places.get_mut(id) {
                *slot = Some(place as u32);
            }
        }
        places.into()
    }

    pub(super) fn group_ids(&mut self, table: &Table) -> Vec<GroupId> {
        let mut known: HashMap<String, usize> =
            self.groups.iter().enumerate().map(|(i, (arn, _))| (arn.clone(), i)).collect();
        let mut ids = Vec::with_capacity(table.groups.len());
        for group in &table.groups {
            let id = *known.entry(group.arn.clone()).or_insert_with(|| {
                self.groups.push((group.arn.clone(), group.name.clone()));
                self.groups.len() - 1
            });
            if let Some((_, name)) = self.groups.get_mut(id).filter(|(_, name)| *name != group.name) {
                name.clone_from(&group.name);
            }
            ids.push(GroupId(id as u32));
        }
        ids
    }

    pub(super) fn register(
        &mut self,
        group: GroupId,
        entry: &TargetEntry,
        health: TargetHealth,
        first: bool,
    ) -> Arc<Slot> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.generation = self.generation.wrapping_add(1);
        let id = TargetId { slot: place, generation: self.generation };
        let slot =
            Arc::new(Slot::new(id, group, entry.id.clone(), entry.port, entry.fingerprint, health, first));
        if let Some(free) = self.slots.get_mut(place as usize) {
            *free = Some(slot.clone());
        }
        slot
    }

    fn find(&self, id: TargetId) -> Option<Arc<Slot>> {
        self.slots.get(id.slot as usize)?.as_ref().filter(|slot| slot.id == id).cloned()
    }

    /// Takes a registration out; its slot is free for another.
    fn release(&mut self, id: TargetId) {
        if self.slots.get_mut(id.slot as usize).and_then(Option::take).is_some() {
            self.free.push(id.slot);
        }
    }
}

/// Begins to drain a registration: no new requests, and its end once the delay is over.
pub(super) fn drain(cold: &mut Cold, slot: &Slot, delay_s: u32, now: Now) {
    let until = now.mono_ms.saturating_add(u64::from(delay_s) * 1000);
    slot.end_slow_start();
    slot.set_eligible(false);
    slot.change(|machine| machine.set(health::draining()));
    slot.set_drains_until(until);
    cold.timers.add(until, Timer::Drained(slot.id));
}

/// Lets time pass: what drains ends, ramps end, groups are judged. Costs as much as is due. Gives a new
/// snapshot where a target that had to wait for its delay is registered again.
pub(super) fn expire(snapshot: &Snapshot, cold: &mut Cold, now: Now) -> Option<Snapshot> {
    let mut again = Vec::new();
    while let Some(timer) = cold.timers.due(now.mono_ms) {
        match timer {
            Timer::Drained(id) => {
                let Some(slot) = cold.registry.find(id) else { continue };
                if slot.state() != TargetHealthState::Draining || slot.drains_until() > now.mono_ms {
                    continue; // it came back, and perhaps left again
                }
                again.extend(snapshot.place(&slot));
                reload::event(cold, &slot, Some(slot.health()), None, now);
                slot.end();
                cold.registry.release(id);
            }
            Timer::Ramped(id) => ramped(snapshot, cold, id, now),
            Timer::Judged(group) => anomaly::judge(snapshot, cold, group, now),
        }
    }
    // Those that the model calls draining itself are through; the others are wanted again.
    let draining = |target: &u32| {
        let entry = snapshot.table.targets.get(*target as usize);
        entry.is_none_or(|entry| entry.health.state == TargetHealthState::Draining)
    };
    again.retain(|(_, target)| !draining(target));
    (!again.is_empty()).then(|| register_again(snapshot, cold, &again, now))
}

fn register_again(snapshot: &Snapshot, cold: &mut Cold, again: &[(usize, u32)], now: Now) -> Snapshot {
    let mut after = snapshot.clone();
    let mut targets = after.targets.to_vec();
    let mut fresh = Vec::new();
    for (group, target) in again {
        let Some((entry, of)) =
            snapshot.table.targets.get(*target as usize).zip(snapshot.table.groups.get(*group))
        else {
            continue;
        };
        let Some(id) = snapshot.group_ids.get(*group) else { continue };
        let slot = cold.registry.register(*id, entry, reload::starting(&health::registering(), of), false);
        cold.schedule.add(&slot, &of.health_check, 1, now);
        reload::event(cold, &slot, None, Some(slot.health()), now);
        if let Some(place) = targets.get_mut(*target as usize) {
            *place = slot.clone();
        }
        fresh.push((*group, *target, slot));
    }
    after.targets = targets.into();
    after.slots = cold.registry.slots();
    for (group, target, slot) in fresh {
        after.moved(cold, &slot, group, target, TargetHealthState::Draining, slot.state());
    }
    after
}

/// A slow start that is over; one that began anew, or in a group whose duration has grown, goes on.
fn ramped(snapshot: &Snapshot, cold: &mut Cold, id: TargetId, now: Now) {
    let Some(slot) = snapshot.slot(id) else { return };
    let Some((group, _)) = snapshot.place(slot) else { return };
    let Some(elapsed) = slot.slow_start_ms(now.mono_ms) else { return };
    let seconds = snapshot.table.groups.get(group).map_or(0, |g| g.attributes.slow_start_s);
    let left = (u64::from(seconds) * 1000).saturating_sub(elapsed);
    if left == 0 {
        snapshot.end_slow_start(cold, slot, group);
    } else {
        cold.timers.add(now.mono_ms.saturating_add(left), Timer::Ramped(id));
    }
}
