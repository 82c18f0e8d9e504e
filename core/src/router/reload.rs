//! From a model to a snapshot, with what the one before it leaves: ids are given once, registrations are
//! recognised by group, id and port, and what leaves drains (spec: dataplane §3.6, §3.7, §5.2).

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::drain;
use super::{Cold, Fingerprints, HealthEvent, Snapshot, anomaly};
use crate::compile;
use crate::decision::GroupId;
use crate::error::Error;
use crate::health;
use crate::kube_proxy::KubeProxy;
use crate::model::{Model, TargetHealth, TargetHealthState, TargetType};
use crate::options::Options;
use crate::state::{GroupState, Slot};
use crate::sticky::KeyRing;
use crate::table::{GroupEntry, Table, TargetEntry};
use crate::time::Now;

/// How many events wait to be taken.
const EVENTS: usize = 10_000;

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
    let targets = register(&table, &group_ids, before, &options, cold, now);
    let groups = table.groups.iter().zip(&group_ids).map(|(group, id)| {
        let known = before.and_then(|b| b.groups.get(b.group_place(*id)?));
        let state = GroupState::new(group.targets.len(), known.map_or(0, |g| g.cursor()));
        state.set_mitigating(known.is_some_and(|g| g.mitigating()));
        Arc::new(state)
    });
    let places: HashMap<&str, usize> =
        table.groups.iter().enumerate().map(|(place, group)| (group.arn.as_str(), place)).collect();
    cold.zonal.reset(model, &places);
    keep_proxies(model, &places, &group_ids, cold);
    let mut group_places = vec![None; cold.registry.group_count()];
    for (place, id) in (0u32..).zip(&group_ids) {
        if let Some(slot) = group_places.get_mut(id.0 as usize) {
            *slot = Some(place);
        }
    }
    let snapshot = Snapshot {
        groups: groups.collect(),
        by_fingerprint: by_fingerprint(&table),
        options,
        keys,
        listeners,
        group_ids: group_ids.into(),
        group_places: group_places.into(),
        targets: targets.into(),
        slots: cold.registry.slots(),
        draining: cold.registry.draining_fingerprints(),
        table: Arc::new(table),
    };
    cold.standings.reset(snapshot.table.groups.len(), snapshot.table.targets.len());
    for group in 0..snapshot.table.groups.len() {
        snapshot.choose(cold, group);
    }
    anomaly::begin(&snapshot, cold, now);
    Ok(snapshot)
}

/// The registrations of a table: known ones are kept, new ones made, and what the table does not have any
/// more begins to drain.
fn register(
    table: &Table,
    group_ids: &[GroupId],
    before: Option<&Snapshot>,
    options: &Options,
    cold: &mut Cold,
    now: Now,
) -> Vec<Arc<Slot>> {
    let mut known = cold.registry.known();
    let mut targets = Vec::with_capacity(table.targets.len());
    for entry in &table.targets {
        let place = entry.group as usize;
        let Some((group, id)) = table.groups.get(place).zip(group_ids.get(place)) else { continue };
        let told_draining = entry.health.state == TargetHealthState::Draining;
        if let Some(slot) = known.remove(&(*id, entry.fingerprint)) {
            let fresh_group = before.is_some_and(|b| b.group_place(*id).is_none());
            keep(cold, &slot, group, entry, fresh_group, options, now);
            targets.push(slot);
        } else if let Some(over) =
            before.and_then(|b| b.over(*id, entry.fingerprint)).filter(|_| told_draining)
        {
            // Its delay is over, whatever an older answer of the API still says.
            targets.push(over);
        } else {
            // The targets of an empty group come up at once: nobody carries the load meanwhile.
            let first = entry.health.state == TargetHealthState::Initial
                && !before.is_some_and(|b| b.has_targets(*id));
            let slot = cold.registry.register(*id, entry, starting(&entry.health, group), first);
            cold.schedule.add(&slot, &group.health_check, table.targets.len(), now);
            if told_draining && group.in_use {
                drain(cold, &slot, group.attributes.deregistration_delay_s, now);
            }
            event(cold, &slot, None, Some(slot.health()), now);
            targets.push(slot);
        }
    }
    // Whatever is left was not in the model: it drains, if it does not already.
    let mut leaving: Vec<Arc<Slot>> =
        known.into_values().filter(|slot| slot.state() != TargetHealthState::Draining).collect();
    leaving.sort_by_key(|slot| slot.id);
    for slot in leaving {
        let place = before.and_then(|b| b.group_place(slot.group));
        let entry = before.zip(place).and_then(|(b, place)| b.table.groups.get(place));
        leave(cold, &slot, entry.map_or(300, |g| g.attributes.deregistration_delay_s), now);
    }
    targets
}

/// Begins to drain a registration.
fn leave(cold: &mut Cold, slot: &Slot, delay_s: u32, now: Now) {
    let was = slot.health();
    drain(cold, slot, delay_s, now);
    event(cold, slot, Some(was), Some(slot.health()), now);
}

/// The health a new registration starts in.
pub(super) fn starting(told: &TargetHealth, group: &GroupEntry) -> TargetHealth {
    match told.state {
        _ if !group.in_use => health::not_in_use(),
        _ if !group.health_check.enabled => health::checks_disabled(),
        TargetHealthState::Initial if told.reason.is_none() => health::registering(),
        TargetHealthState::Unused if *told == health::not_in_use() => health::registering(),
        TargetHealthState::Draining => health::draining(),
        _ => told.clone(),
    }
}

/// A registration that stays: it keeps its health, unless its group came into use or left it, the model
/// tells of a state that no probe finds out, or it was draining and is wanted again.
fn keep(
    cold: &mut Cold,
    slot: &Slot,
    group: &GroupEntry,
    entry: &TargetEntry,
    fresh_group: bool,
    options: &Options,
    now: Now,
) {
    use TargetHealthState::{Draining, Unused};
    let is = slot.health();
    let told_unused = entry.health.state == Unused && entry.health != health::not_in_use();
    let to = match (is.state, entry.health.state) {
        (Draining, Draining) => return,
        // An address has to wait until its delay is over (spec: dataplane §3.6); a group that is made anew
        // knows nothing of the one before it.
        (Draining, _)
            if group.target_type == TargetType::Ip && options.ip_reregistration_waits && !fresh_group =>
        {
            return;
        }
        _ if !group.in_use => health::not_in_use(),
        (_, Draining) => return leave(cold, slot, group.attributes.deregistration_delay_s, now),
        _ if told_unused => entry.health.clone(),
        (Draining | Unused, _) => health::registering(),
        _ => return,
    };
    if to != is {
        slot.end_slow_start();
        slot.change(|machine| machine.set(to.clone()));
        event(cold, slot, Some(is), Some(to), now);
    }
}

fn by_fingerprint(table: &Table) -> Arc<[Fingerprints]> {
    table
        .groups
        .iter()
        .map(|group| {
            let all = table.targets.get(group.targets.start as usize..group.targets.end as usize);
            Fingerprints::of(all.unwrap_or_default().iter().map(|t| t.fingerprint).zip(group.targets.clone()))
        })
        .collect()
}

/// kube-proxy behind the groups that have one, its affinities kept.
fn keep_proxies(model: &Model, places: &HashMap<&str, usize>, group_ids: &[GroupId], cold: &mut Cold) {
    let mut proxies = HashMap::new();
    for group in &model.target_groups {
        let id = places.get(group.target_group_arn.as_str()).and_then(|place| group_ids.get(*place));
        if let (Some(id), Some(node_port)) = (id, &group.node_port) {
            let proxy = match cold.proxies.remove(id) {
                Some(known) => known.with(node_port.clone()),
                None => KubeProxy::new(node_port.clone()),
            };
            proxies.insert(*id, proxy);
        }
    }
    cold.proxies = proxies;
}

pub(super) fn event(
    cold: &mut Cold,
    slot: &Slot,
    from: Option<TargetHealth>,
    to: Option<TargetHealth>,
    now: Now,
) {
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
    /// Whether a group is there and has a registered target.
    fn has_targets(&self, group: GroupId) -> bool {
        self.group_place(group).is_some_and(|place| !self.slots_of(place).is_empty())
    }

    /// The registration of a target that the model has and whose delay is over.
    fn over(&self, group: GroupId, fingerprint: u64) -> Option<Arc<Slot>> {
        let target = self.by_fingerprint.get(self.group_place(group)?)?.get(fingerprint)?;
        let slot = self.targets.get(target as usize)?;
        slot.is_gone().then(|| slot.clone())
    }
}
