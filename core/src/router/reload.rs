//! From a model to a snapshot, with what the one before it leaves: ids are given once, registrations are
//! recognised by group, id and port, and what leaves drains (spec: dataplane §3.6, §3.7, §5.2).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Cold, HealthEvent, Snapshot};
use crate::compile;
use crate::decision::{GroupId, TargetId};
use crate::error::Error;
use crate::health::{self, Machine};
use crate::model::{Model, TargetHealth, TargetHealthState};
use crate::options::Options;
use crate::state::{GroupState, Slot};
use crate::sticky::KeyRing;
use crate::table::{Table, TargetEntry};
use crate::time::Now;

/// How many events wait to be taken.
const EVENTS: usize = 10_000;

/// Ids that were given, and slots that are taken.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// By `ListenerId`: load balancer ARN and port.
    listeners: Vec<(String, u16)>,
    /// By `GroupId`: ARN and name.
    groups: Vec<(String, String)>,
    generation: u32,
    free: Vec<u32>,
    slots: Vec<Option<Arc<Slot>>>,
    /// Registrations that drain, and when they are done.
    draining: Vec<(TargetId, u64)>,
}

impl Registry {
    pub(super) fn draining(&self) -> impl Iterator<Item = TargetId> {
        self.draining.iter().map(|(id, _)| *id)
    }

    pub(super) fn next_drained(&self) -> u64 {
        self.draining.iter().map(|(_, at)| *at).min().unwrap_or(u64::MAX)
    }

    pub(super) fn group_name(&self, group: GroupId) -> &str {
        self.groups.get(group.0 as usize).map_or("", |(_, name)| name)
    }

    fn listener_ids(&mut self, table: &Table) -> Arc<[Option<u32>]> {
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

    fn group_ids(&mut self, table: &Table) -> Vec<GroupId> {
        let mut known: HashMap<String, usize> =
            self.groups.iter().enumerate().map(|(i, (arn, _))| (arn.clone(), i)).collect();
        let mut ids = Vec::with_capacity(table.groups.len());
        for group in &table.groups {
            let id = *known.entry(group.arn.clone()).or_insert_with(|| {
                self.groups.push((group.arn.clone(), group.name.clone()));
                self.groups.len() - 1
            });
            ids.push(GroupId(id as u32));
        }
        ids
    }

    fn register(
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
}

/// Builds the snapshot of `model`. Compiles before it touches `cold`, so that a failure leaves no trace.
pub(super) fn snapshot(
    model: &Model,
    options: Arc<Options>,
    keys: Arc<KeyRing>,
    before: Option<&Snapshot>,
    cold: &mut Cold,
    now: Now,
) -> Result<Snapshot, Error> {
    let table = compile::compile(model, &options)?;
    let listeners = cold.registry.listener_ids(&table);
    let group_ids = cold.registry.group_ids(&table);
    // What is registered now, draining ones included, by group and target.
    let mut known: HashMap<(GroupId, u64), Arc<Slot>> = cold
        .registry
        .slots
        .iter()
        .flatten()
        .map(|slot| ((slot.group, slot.fingerprint), slot.clone()))
        .collect();
    let mut wanted_again = HashSet::new();
    let mut targets = Vec::with_capacity(table.targets.len());
    for entry in &table.targets {
        let Some((group, id)) =
            table.groups.get(entry.group as usize).zip(group_ids.get(entry.group as usize))
        else {
            continue;
        };
        match known.remove(&(*id, entry.fingerprint)) {
            Some(slot) => {
                wanted_again.insert(slot.id);
                keep(cold, &slot, group.in_use, now);
                targets.push(slot);
            }
            None => {
                // The targets of an empty group come up at once: nobody carries the load meanwhile.
                let first = entry.health.state == TargetHealthState::Initial
                    && !before.is_some_and(|b| b.has_targets(*id));
                let slot = cold.registry.register(*id, entry, starting(&entry.health, group.in_use), first);
                cold.schedule.add(&slot, &group.health_check, now);
                event(cold, &slot, None, Some(slot.health()), now);
                targets.push(slot);
            }
        }
    }
    // Whatever is left was not in the model: it drains, if it does not already.
    cold.registry.draining.retain(|(id, _)| !wanted_again.contains(id));
    let draining: HashSet<TargetId> = cold.registry.draining().collect();
    let delays: HashMap<GroupId, u32> = before.map(delays).unwrap_or_default();
    for slot in known.into_values() {
        if draining.contains(&slot.id) {
            continue;
        }
        let delay = delays.get(&slot.group).copied().unwrap_or(300);
        let until = now.mono_ms.saturating_add(u64::from(delay) * 1000);
        let (was, is) = slot.change(|machine| machine.set(health::draining()));
        cold.registry.draining.push((slot.id, until));
        event(cold, &slot, Some(was), Some(is), now);
    }
    let groups: Vec<Arc<GroupState>> = table
        .groups
        .iter()
        .zip(&group_ids)
        .map(|(group, id)| {
            let cursor = before.and_then(|b| b.groups.get(b.group_place(*id)?).map(|g| g.cursor()));
            Arc::new(GroupState::new(group.targets.len(), cursor.unwrap_or(0)))
        })
        .collect();
    let by_fingerprint: Vec<super::Fingerprints> = table
        .groups
        .iter()
        .map(|group| {
            let all = table.targets.get(group.targets.start as usize..group.targets.end as usize);
            let mut list: Vec<(u64, u32)> =
                all.unwrap_or_default().iter().map(|t| t.fingerprint).zip(group.targets.clone()).collect();
            list.sort_unstable();
            list.into()
        })
        .collect();
    let count = table.groups.len();
    let mut group_places = vec![None; cold.registry.groups.len()];
    for (place, id) in (0u32..).zip(&group_ids) {
        if let Some(slot) = group_places.get_mut(id.0 as usize) {
            *slot = Some(place);
        }
    }
    let snapshot = Snapshot {
        table: Arc::new(table),
        options,
        keys,
        listeners,
        groups: groups.into(),
        group_ids: group_ids.into(),
        group_places: group_places.into(),
        targets: targets.into(),
        by_fingerprint: by_fingerprint.into(),
        slots: cold.registry.slots.clone().into(),
        draining: draining_fingerprints(cold),
    };
    for group in 0..count {
        snapshot.choose(group, now);
    }
    Ok(snapshot)
}

/// Seconds of deregistration delay by group.
fn delays(before: &Snapshot) -> HashMap<GroupId, u32> {
    let seconds = before.table.groups.iter().map(|g| g.attributes.deregistration_delay_s);
    before.group_ids.iter().copied().zip(seconds).collect()
}

/// The health a new registration starts in.
fn starting(told: &TargetHealth, in_use: bool) -> TargetHealth {
    match told.state {
        _ if !in_use => health::not_in_use(),
        TargetHealthState::Initial if told.reason.is_none() => health::registering(),
        _ => told.clone(),
    }
}

/// A registration that stays: it keeps its health, unless its group came into use or left it, or it was
/// draining and is wanted again.
fn keep(cold: &mut Cold, slot: &Slot, in_use: bool, now: Now) {
    let unused = slot.health() == health::not_in_use();
    let to = match (in_use, slot.state()) {
        (false, _) if !unused => health::not_in_use(),
        (true, TargetHealthState::Draining) => health::registering(),
        (true, _) if unused => health::registering(),
        _ => return,
    };
    let (was, is) = slot.change(|machine| machine.set(to));
    event(cold, slot, Some(was), Some(is), now);
}

/// Removes the registrations whose delay is over; `None` where there is none.
pub(super) fn drained(before: &Snapshot, cold: &mut Cold, now: Now) -> Option<Snapshot> {
    let over: Vec<TargetId> =
        cold.registry.draining.iter().filter(|(_, at)| *at <= now.mono_ms).map(|(id, _)| *id).collect();
    if over.is_empty() {
        return None;
    }
    cold.registry.draining.retain(|(_, at)| *at > now.mono_ms);
    for id in over {
        let slot = cold.registry.slots.get_mut(id.slot as usize).and_then(Option::take);
        cold.registry.free.push(id.slot);
        if let Some(slot) = slot {
            event(cold, &slot, Some(slot.health()), None, now);
        }
    }
    let mut after = before.clone();
    after.slots = cold.registry.slots.clone().into();
    after.draining = draining_fingerprints(cold);
    Some(after)
}

fn draining_fingerprints(cold: &Cold) -> Arc<[u64]> {
    let slots = &cold.registry.slots;
    let slot = |id: &TargetId| slots.get(id.slot as usize).and_then(Option::as_ref);
    let mut list: Vec<u64> =
        cold.registry.draining.iter().filter_map(|(id, _)| slot(id)).map(|s| s.fingerprint).collect();
    list.sort_unstable();
    list.into()
}

fn event(cold: &mut Cold, slot: &Slot, from: Option<TargetHealth>, to: Option<TargetHealth>, now: Now) {
    if cold.events.len() >= EVENTS {
        cold.events.pop_front();
    }
    cold.events.push_back(HealthEvent {
        target: slot.id,
        group_name: cold.registry.group_name(slot.group).to_owned(),
        name: format!("{}:{}", slot.target, slot.port),
        from,
        to,
        at_ms: now.mono_ms,
    });
}

impl Snapshot {
    /// Lets `change` move a target's health, and what follows from it: slow start, who may be chosen, an
    /// event.
    pub(super) fn change(
        &self,
        cold: &mut Cold,
        slot: &Slot,
        group: usize,
        now: Now,
        change: impl FnOnce(&mut Machine),
    ) {
        let (was, is) = slot.change(change);
        if was == is {
            return;
        }
        if was.state != is.state {
            if is.state == TargetHealthState::Healthy {
                self.slow_start(slot, group, now);
            } else {
                slot.end_slow_start();
            }
            self.choose(group, now);
        }
        event(cold, slot, Some(was), Some(is), now);
    }

    /// A target that becomes healthy ramps up, if another healthy one carries the load meanwhile.
    fn slow_start(&self, slot: &Slot, group: usize, now: Now) {
        let first_batch = slot.take_first_batch();
        let Some(entry) = self.table.groups.get(group) else { return };
        let duration_ms = u64::from(entry.attributes.slow_start_s) * 1000;
        if duration_ms == 0 || first_batch {
            return;
        }
        let full = |other: &Arc<Slot>| {
            other.id != slot.id
                && other.state() == TargetHealthState::Healthy
                && other.slow_start_ms(now.mono_ms).is_none_or(|ms| ms >= duration_ms)
        };
        if self.slots_of(group).iter().any(full) {
            slot.begin_slow_start(now.mono_ms);
        }
    }

    /// Whether a group is there and has a registered target.
    fn has_targets(&self, group: GroupId) -> bool {
        self.group_place(group).is_some_and(|place| !self.slots_of(place).is_empty())
    }

    fn slots_of(&self, group: usize) -> &[Arc<Slot>] {
        let range = self.table.groups.get(group).map(|g| g.targets.start as usize..g.targets.end as usize);
        range.and_then(|r| self.targets.get(r)).unwrap_or_default()
    }

    /// Who may be chosen in a group (spec: dataplane §3.2, §3.4).
    fn choose(&self, group: usize, now: Now) {
        use TargetHealthState::{Healthy, Initial, Unavailable, Unhealthy};
        let (Some(entry), Some(state)) = (self.table.groups.get(group), self.groups.get(group)) else {
            return;
        };
        let attributes = &entry.attributes;
        let zone = self.options.availability_zone.as_deref().filter(|_| !attributes.cross_zone);
        let own_zone = |target: u32| {
            let of = self.table.targets.get(target as usize).and_then(|t| t.zone.as_deref());
            zone.is_none_or(|zone| of == Some(zone))
        };
        let registered: Vec<(u32, TargetHealthState)> = entry
            .targets
            .clone()
            .zip(self.slots_of(group))
            .filter(|(target, _)| own_zone(*target))
            .map(|(target, slot)| (target, slot.state()))
            .filter(|(_, s)| matches!(s, Initial | Healthy | Unhealthy | Unavailable))
            .collect();
        let well = |s: TargetHealthState| matches!(s, Healthy | Unavailable);
        let healthy = registered.iter().filter(|(_, s)| well(*s)).count();
        let too_few = healthy < attributes.fail_open_count as usize
            || attributes.fail_open_percentage.is_some_and(|p| healthy * 100 < registered.len() * p as usize);
        let chosen: Vec<u32> = registered
            .iter()
            .filter(|(_, s)| {
                well(*s) || too_few && (*s == Unhealthy || *s == Initial && self.options.initial_fail_open)
            })
            .map(|(target, _)| *target)
            .collect();
        state.set_eligible(&chosen, too_few && healthy < chosen.len());
        let ramping = attributes.slow_start_s > 0
            && self.slots_of(group).iter().any(|s| s.slow_start_ms(now.mono_ms).is_some());
        state.set_ramping(ramping);
    }
}
