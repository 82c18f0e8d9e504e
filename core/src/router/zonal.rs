//! Zones: shifting traffic away from one (spec: dataplane §3.9), and what DNS fail-over would do with each
//! (spec: dataplane §3.4).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Router, Snapshot};
use crate::GroupId;
use crate::error::{Code, Diagnostic, Error};
use crate::model::{ActionConfig, Model, TargetHealthState, attribute};
use crate::time::Now;

/// The load balancers of the model and the zones that are shifted away from.
#[derive(Debug, Default)]
pub(super) struct Zonal {
    balancers: Vec<Balancer>,
    /// By load balancer ARN. Outlives a model that does not have it.
    shifted: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Debug)]
struct Balancer {
    arn: String,
    name: String,
    /// `zonal_shift.config.enabled`.
    enabled: bool,
    /// The groups it forwards to, by their place in the table.
    groups: BTreeSet<usize>,
}

/// What is known of a zone from the targets of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZoneHealth {
    /// The zone; `None` for targets without one.
    pub zone: Option<String>,
    /// Registered targets there, draining and unused ones not counted.
    pub registered: usize,
    /// Healthy ones among them.
    pub healthy: usize,
    /// Whether requests go to healthy targets only: false while the group fails open.
    pub routing_healthy: bool,
    /// Whether the zone's addresses may stay in DNS as far as this group goes. One group that says no is
    /// enough to take them out; where every zone says no, all of them stay.
    pub dns_healthy: bool,
    /// Whether a zonal shift keeps requests away from its targets.
    pub shifted: bool,
}

/// A target's administrative override, as `describe-target-health` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdministrativeOverride {
    /// There is none.
    NoOverride,
    /// Its zone is shifted away from: no new requests.
    ZonalShiftActive,
    /// Its zone is shifted away from, and the group balances within zones: DNS alone moves clients away.
    ZonalShiftDelegatedToDns,
}

impl AdministrativeOverride {
    /// The state as AWS spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            AdministrativeOverride::NoOverride => "no_override",
            AdministrativeOverride::ZonalShiftActive => "zonal_shift_active",
            AdministrativeOverride::ZonalShiftDelegatedToDns => "zonal_shift_delegated_to_dns",
        }
    }

    /// AWS's reason for it.
    pub const fn reason(self) -> &'static str {
        match self {
            AdministrativeOverride::NoOverride => "AdministrativeOverride.NoOverride",
            AdministrativeOverride::ZonalShiftActive => "AdministrativeOverride.ZonalShiftActive",
            AdministrativeOverride::ZonalShiftDelegatedToDns => {
                "AdministrativeOverride.ZonalShiftDelegatedToDns"
            }
        }
    }
}

impl Zonal {
    /// Takes over the load balancers of a model whose groups stand in the table as `groups` says.
    pub(super) fn reset(&mut self, model: &Model, groups: &HashMap<&str, usize>) {
        let named = |config: &ActionConfig| -> Vec<usize> {
            let ActionConfig::Forward(forward) = config else { return Vec::new() };
            let arns = forward.target_groups.iter().map(|t| t.target_group_arn.as_str());
            arns.filter_map(|arn| groups.get(arn).copied()).collect()
        };
        self.balancers = model
            .load_balancers
            .iter()
            .map(|balancer| Balancer {
                arn: balancer.load_balancer_arn.clone(),
                name: balancer.load_balancer_name.clone(),
                enabled: attribute(&balancer.attributes, "zonal_shift.config.enabled") == Some("true"),
                groups: balancer
                    .listeners
                    .iter()
                    .flat_map(|l| l.default_actions.iter().chain(l.rules.iter().flat_map(|r| &r.actions)))
                    .flat_map(|action| named(&action.config))
                    .collect(),
            })
            .collect();
    }

    /// Whether requests to a group keep away from a zone.
    pub(super) fn is_shifted(&self, group: usize, zone: &str) -> bool {
        !self.shifted.is_empty()
            && self.balancers.iter().any(|balancer| {
                balancer.enabled
                    && balancer.groups.contains(&group)
                    && self.shifted.get(&balancer.arn).is_some_and(|zones| zones.contains(zone))
            })
    }

    fn find(&self, load_balancer: &str) -> Result<&Balancer, Error> {
        let known = self.balancers.iter().find(|b| b.arn == load_balancer || b.name == load_balancer);
        known.ok_or_else(|| {
            Diagnostic::error(Code::E_NOT_FOUND, format!("there is no load balancer `{load_balancer}`"))
                .into()
        })
    }
}

impl Router {
    /// Shifts the traffic of a load balancer (by name or ARN) away from a zone: where a group balances
    /// across zones, the zone's targets get no new requests, sticky ones included; their health goes on as
    /// before. A group that balances within zones is left to DNS. The shift stays over reloads until it is
    /// cancelled.
    ///
    /// # Errors
    /// `E_NOT_FOUND` for an unknown load balancer, `OperationNotPermitted` where its attribute
    /// `zonal_shift.config.enabled` is not `true`.
    pub fn start_zonal_shift(&self, load_balancer: &str, zone: &str, _now: Now) -> Result<(), Error> {
        let mut cold = self.cold();
        let balancer = cold.zonal.find(load_balancer)?;
        if !balancer.enabled {
            let message = format!("zonal shift is not enabled on `{load_balancer}`");
            return Err(Diagnostic::error(Code::OperationNotPermitted, message)
                .expected("the attribute `zonal_shift.config.enabled` to be `true`")
                .into());
        }
        let (arn, groups) = (balancer.arn.clone(), balancer.groups.clone());
        cold.zonal.shifted.entry(arn).or_default().insert(zone.to_owned());
        let snapshot = self.snapshot.load_full();
        groups.into_iter().for_each(|group| snapshot.choose(&mut cold, group));
        Ok(())
    }

    /// Ends all zonal shifts of a load balancer, by name or ARN; with none there is nothing to do.
    ///
    /// # Errors
    /// `E_NOT_FOUND` for an unknown load balancer.
    pub fn cancel_zonal_shift(&self, load_balancer: &str, _now: Now) -> Result<(), Error> {
        let mut cold = self.cold();
        let balancer = cold.zonal.find(load_balancer)?;
        let (arn, groups) = (balancer.arn.clone(), balancer.groups.clone());
        cold.zonal.shifted.remove(&arn);
        let snapshot = self.snapshot.load_full();
        groups.into_iter().for_each(|group| snapshot.choose(&mut cold, group));
        Ok(())
    }

    /// The zones that a group has targets in, by name, with what routing and DNS fail-over make of them:
    /// thresholds are measured over the whole group with cross-zone balancing, per zone without.
    pub fn zone_health(&self, group: GroupId) -> Vec<ZoneHealth> {
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        let Some(place) = snapshot.group_place(group) else { return Vec::new() };
        snapshot.zones(&cold.zonal, place)
    }
}

impl Snapshot {
    fn zones(&self, zonal: &Zonal, group: usize) -> Vec<ZoneHealth> {
        use TargetHealthState::{Healthy, Initial, Unavailable, Unhealthy};
        let Some(entry) = self.table.groups.get(group) else { return Vec::new() };
        let mut zones: BTreeMap<Option<&str>, (usize, usize)> = BTreeMap::new();
        for (target, slot) in entry.targets.clone().zip(self.slots_of(group)) {
            let zone = self.table.targets.get(target as usize).and_then(|t| t.zone.as_deref());
            let sums = zones.entry(zone).or_default();
            if !slot.is_gone() {
                sums.0 += usize::from(matches!(slot.state(), Initial | Healthy | Unhealthy | Unavailable));
                sums.1 += usize::from(matches!(slot.state(), Healthy | Unavailable));
            }
        }
        let a = &entry.attributes;
        let all = zones.values().fold((0, 0), |sum, zone| (sum.0 + zone.0, sum.1 + zone.1));
        let enough = |(registered, healthy): (usize, usize), count: Option<u32>, percentage: Option<u32>| {
            count.is_none_or(|n| healthy >= n as usize)
                && percentage.is_none_or(|p| healthy * 100 >= registered * p as usize)
        };
        zones
            .into_iter()
            .map(|(zone, sums)| {
                let measured = if a.cross_zone { all } else { sums };
                ZoneHealth {
                    zone: zone.map(str::to_owned),
                    registered: sums.0,
                    healthy: sums.1,
                    routing_healthy: enough(measured, Some(a.fail_open_count), a.fail_open_percentage),
                    dns_healthy: enough(measured, a.dns_failover_count, a.dns_failover_percentage),
                    shifted: zone.is_some_and(|zone| zonal.is_shifted(group, zone)),
                }
            })
            .collect()
    }

    /// The administrative override of a target.
    pub(super) fn administrative_override(
        &self,
        zonal: &Zonal,
        group: usize,
        target: u32,
    ) -> AdministrativeOverride {
        let zone = self.table.targets.get(target as usize).and_then(|t| t.zone.as_deref());
        let cross_zone = self.table.groups.get(group).is_some_and(|g| g.attributes.cross_zone);
        match (zone.is_some_and(|zone| zonal.is_shifted(group, zone)), cross_zone) {
            (false, _) => AdministrativeOverride::NoOverride,
            (true, true) => AdministrativeOverride::ZonalShiftActive,
            (true, false) => AdministrativeOverride::ZonalShiftDelegatedToDns,
        }
    }
}
