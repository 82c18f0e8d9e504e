//! Who may be chosen in a group, kept up to date one change at a time, and what else follows from a change
//! of health (spec: dataplane §3.2, §3.3.4, §3.4, §3.9).

use std::sync::Arc;

use super::timers::Timer;
use super::{Cold, Snapshot, reload};
use crate::health::Machine;
use crate::model::TargetHealthState::{self, Healthy, Initial, Unavailable, Unhealthy};
use crate::state::Slot;
use crate::table::GroupEntry;
use crate::time::Now;

/// Sums over the targets of a group that are within reach: of the router's zone without cross-zone
/// balancing, not shifted away with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Registered, and not unused or draining.
    registered: u32,
    well: u32,
    /// In their slow start, within reach or not.
    ramping: u32,
    /// Whether too few are well.
    too_few: bool,
}

/// What is known about the groups of the table beside what decisions see.
#[derive(Debug, Default)]
pub(super) struct Standings {
    groups: Vec<Standing>,
    /// By target index: its place in the list of its group; `NOWHERE` while it may not be chosen.
    places: Vec<u32>,
}

const NOWHERE: u32 = u32::MAX;

impl Standings {
    /// Room for a table; every group has to be chosen from then.
    pub(super) fn reset(&mut self, groups: usize, targets: usize) {
        self.groups.clear();
        self.groups.resize(groups, Standing::default());
        self.places.clear();
        self.places.resize(targets, NOWHERE);
    }

    fn group(&self, group: usize) -> Standing {
        self.groups.get(group).cloned().unwrap_or_default()
    }

    fn set_group(&mut self, group: usize, standing: Standing) {
        if let Some(known) = self.groups.get_mut(group) {
            *known = standing;
        }
    }

    fn place(&self, target: u32) -> u32 {
        self.places.get(target as usize).copied().unwrap_or(NOWHERE)
    }

    fn set_place(&mut self, target: u32, place: u32) {
        if let Some(known) = self.places.get_mut(target as usize) {
            *known = place;
        }
    }
}

/// Whether a state counts as registered where thresholds are measured.
fn counts(state: TargetHealthState) -> bool {
    matches!(state, Initial | Healthy | Unhealthy | Unavailable)
}

/// Whether a state is in service.
fn well(state: TargetHealthState) -> bool {
    matches!(state, Healthy | Unavailable)
}

impl Standing {
    fn count(&mut self, state: TargetHealthState) {
        self.registered += u32::from(counts(state));
        self.well += u32::from(well(state));
    }

    fn discount(&mut self, state: TargetHealthState) {
        self.registered -= u32::from(counts(state)).min(self.registered);
        self.well -= u32::from(well(state)).min(self.well);
    }

    /// Below the count or below the percentage; either suffices (spec: dataplane §3.4).
    fn judge(&mut self, entry: &GroupEntry) {
        let (well, registered) = (u64::from(self.well), u64::from(self.registered));
        let percentage = entry.attributes.fail_open_percentage;
        self.too_few = well < u64::from(entry.attributes.fail_open_count)
            || percentage.is_some_and(|p| well * 100 < registered * u64::from(p));
    }
}

impl Snapshot {
    /// Lets `change` move a target's health, and what follows from it: slow start, who may be chosen, an
    /// event.
    pub(super) fn change(&self, cold: &mut Cold, slot: &Slot, now: Now, change: impl FnOnce(&mut Machine)) {
        let (was, is) = slot.change(change);
        if was == is {
            return;
        }
        if was.state != is.state
            && let Some((group, target)) = self.place(slot)
        {
            if is.state == Healthy {
                self.slow_start(cold, slot, group, now);
            } else {
                self.end_slow_start(cold, slot, group);
            }
            self.moved(cold, slot, group, target, was.state, is.state);
        }
        reload::event(cold, slot, Some(was), Some(is), now);
    }

    /// A target that becomes healthy ramps up, if another healthy one carries the load meanwhile: one that
    /// is not on its ramp itself (spec: dataplane §3.3.4).
    fn slow_start(&self, cold: &mut Cold, slot: &Slot, group: usize, now: Now) {
        let first_batch = slot.take_first_batch();
        let Some(entry) = self.table.groups.get(group) else { return };
        let duration_ms = u64::from(entry.attributes.slow_start_s) * 1000;
        let mut standing = cold.standings.group(group);
        if duration_ms == 0 || first_batch || standing.well <= standing.ramping {
            return;
        }
        slot.begin_slow_start(now.mono_ms);
        cold.timers.add(now.mono_ms.saturating_add(duration_ms), Timer::Ramped(slot.id));
        standing.ramping += 1;
        self.set_ramping(group, &standing);
        cold.standings.set_group(group, standing);
    }

    /// Ends a target's ramp, if it is on one.
    pub(super) fn end_slow_start(&self, cold: &mut Cold, slot: &Slot, group: usize) {
        if slot.end_slow_start() {
            let mut standing = cold.standings.group(group);
            standing.ramping = standing.ramping.saturating_sub(1);
            self.set_ramping(group, &standing);
            cold.standings.set_group(group, standing);
        }
    }

    fn set_ramping(&self, group: usize, standing: &Standing) {
        let sloped = self.table.groups.get(group).is_some_and(|g| g.attributes.slow_start_s > 0);
        if let Some(state) = self.groups.get(group) {
            state.set_ramping(sloped && standing.ramping > 0);
        }
    }

    /// Puts one target where its new state belongs. Only a threshold that is crossed costs as much as the
    /// group is large.
    pub(super) fn moved(
        &self,
        cold: &mut Cold,
        slot: &Slot,
        group: usize,
        target: u32,
        was: TargetHealthState,
        is: TargetHealthState,
    ) {
        let (Some(entry), Some(state)) = (self.table.groups.get(group), self.groups.get(group)) else {
            return;
        };
        if !self.within_reach(cold, group, target) {
            return;
        }
        let mut standing = cold.standings.group(group);
        let before = standing.too_few;
        standing.discount(was);
        standing.count(is);
        standing.judge(entry);
        let (too_few, well) = (standing.too_few, standing.well);
        cold.standings.set_group(group, standing);
        if too_few != before {
            return self.choose(cold, group);
        }
        let place = cold.standings.place(target);
        match (place, self.may_be_chosen(is, too_few)) {
            (NOWHERE, true) => {
                if let Some(place) = state.add(target, false) {
                    cold.standings.set_place(target, place);
                }
            }
            (NOWHERE, false) | (_, true) => {}
            (place, false) => {
                cold.standings.set_place(target, NOWHERE);
                if let Some(other) = state.remove(place, false) {
                    cold.standings.set_place(other, place);
                }
            }
        }
        slot.set_eligible(cold.standings.place(target) != NOWHERE);
        let (count, _) = state.eligible();
        state.set_count(count, too_few && well < count);
    }

    fn may_be_chosen(&self, state: TargetHealthState, too_few: bool) -> bool {
        // K-12: whether those that were never checked take part in fail-open.
        well(state) || too_few && (state == Unhealthy || state == Initial && self.options.initial_fail_open)
    }

    /// Chooses anew among all targets of a group.
    pub(super) fn choose(&self, cold: &mut Cold, group: usize) {
        let (Some(entry), Some(state)) = (self.table.groups.get(group), self.groups.get(group)) else {
            return;
        };
        let mut standing = Standing::default();
        let mut reached = Vec::with_capacity(entry.targets.len());
        for (target, slot) in entry.targets.clone().zip(self.slots_of(group)) {
            cold.standings.set_place(target, NOWHERE);
            let is = slot.state();
            let within = !slot.is_gone() && self.within_reach(cold, group, target);
            if within {
                standing.count(is);
                reached.push((target, slot, is));
            } else {
                slot.set_eligible(false);
            }
            standing.ramping += u32::from(slot.slow_start_ms(0).is_some());
        }
        standing.judge(entry);
        let mut chosen = Vec::with_capacity(reached.len());
        for (target, slot, is) in reached {
            let may = self.may_be_chosen(is, standing.too_few);
            slot.set_eligible(may);
            if may {
                cold.standings.set_place(target, chosen.len() as u32);
                chosen.push(target);
            }
        }
        state.set_eligible(&chosen, standing.too_few && (standing.well as usize) < chosen.len());
        self.set_ramping(group, &standing);
        cold.standings.set_group(group, standing);
    }

    /// Whether the router may use a target at all: without cross-zone balancing only those of its own zone,
    /// with it not those of a zone that is shifted away from.
    fn within_reach(&self, cold: &Cold, group: usize, target: u32) -> bool {
        let Some(entry) = self.table.groups.get(group) else { return false };
        let zone = self.table.targets.get(target as usize).and_then(|t| t.zone.as_deref());
        if entry.attributes.cross_zone {
            !zone.is_some_and(|zone| cold.zonal.is_shifted(group, zone))
        } else {
            self.options.availability_zone.as_deref().is_none_or(|own| zone == Some(own))
        }
    }

    pub(super) fn slots_of(&self, group: usize) -> &[Arc<Slot>] {
        let range = self.table.groups.get(group).map(|g| g.targets.start as usize..g.targets.end as usize);
        range.and_then(|r| self.targets.get(r)).unwrap_or_default()
    }
}
