//! What a router tells of itself: listeners, groups, targets, and what changed.

use std::net::SocketAddr;

use super::zonal::AdministrativeOverride;
use super::{Cold, Router, Snapshot};
use crate::decision::{Decision, GroupId, ListenerId, TargetId};
use crate::model::{Action, Protocol, ProtocolVersion, TargetHealth};
use crate::state::{FULL, Slot};
use crate::table::{GroupEntry, NOWHERE};

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerInfo {
    /// For `decide`.
    pub id: ListenerId,
    /// The load balancer's name.
    pub load_balancer: String,
    /// The load balancer's ARN.
    pub load_balancer_arn: String,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupInfo {
    /// The id.
    pub id: GroupId,
    /// The name.
    pub name: String,
    /// The ARN.
    pub arn: String,
    /// `namespace/name:port` of the Service it was made for.
    pub service: Option<String>,
}

/// A target with its state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetInfo {
    /// The id of this registration.
    pub id: TargetId,
    /// Its group.
    pub group: GroupId,
    /// The group's name.
    pub group_name: String,
    /// Instance id or address.
    pub target: String,
    /// Its port.
    pub port: u16,
    /// Where to connect to; a draining target has none.
    pub address: Option<SocketAddr>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its health.
    pub health: TargetHealth,
    /// Forwards that are not reported yet.
    pub in_flight: u32,
    /// Whether it fails more often than its peers (spec: dataplane §3.3.3).
    pub anomalous: bool,
    /// Whether it gets less than its share of requests for that.
    pub mitigation_in_effect: bool,
    /// Whether a zonal shift keeps requests away from it.
    pub administrative_override: AdministrativeOverride,
}

/// A health check that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// For `report_probe`.
    pub target: TargetId,
    /// Where to connect to: the target on the health check's port.
    pub address: SocketAddr,
    /// HTTP, or HTTPS without looking at the certificate.
    pub protocol: Protocol,
    /// HTTP1, HTTP2 or GRPC.
    pub version: ProtocolVersion,
    /// Path and query.
    pub path: String,
    /// The Host header: the address, with the port unless it is the protocol's own.
    pub host: String,
    /// Milliseconds for the whole check.
    pub timeout_ms: u64,
}

/// A change of a target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthEvent {
    /// The registration.
    pub target: TargetId,
    /// Its group's name.
    pub group_name: String,
    /// `id:port`.
    pub name: String,
    /// What it was; `None` for a registration that is new.
    pub from: Option<TargetHealth>,
    /// What it is; `None` when it is gone.
    pub to: Option<TargetHealth>,
    /// When, in milliseconds of the caller's monotonic clock.
    pub at_ms: u64,
}

impl Router {
    /// The listener of a load balancer, by name or ARN, on a port. The id stays valid for the router's
    /// life: while the listener is gone, decisions for it are errors.
    pub fn listener(&self, load_balancer: &str, port: u16) -> Option<ListenerId> {
        let snapshot = self.snapshot.load();
        let place = snapshot.table.listeners.iter().position(|l| {
            l.port == port && (l.load_balancer_name == load_balancer || l.load_balancer_arn == load_balancer)
        })?;
        let id = snapshot.listeners.iter().position(|l| *l == Some(place as u32))?;
        Some(ListenerId(id as u32))
    }

    /// All listeners, in the order of the model.
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        let snapshot = self.snapshot.load();
        let mut all: Vec<(u32, ListenerInfo)> = (0u32..)
            .zip(snapshot.listeners.iter())
            .filter_map(|(id, place)| {
                let place = (*place)?;
                let listener = snapshot.table.listeners.get(place as usize)?;
                let info = ListenerInfo {
                    id: ListenerId(id),
                    load_balancer: listener.load_balancer_name.clone(),
                    load_balancer_arn: listener.load_balancer_arn.clone(),
                    port: listener.port,
                    protocol: listener.protocol,
                };
                Some((place, info))
            })
            .collect();
        all.sort_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, info)| info).collect()
    }

    /// The names of the headers that a decision may look at, in lower case and sorted: those of
    /// `http-header` conditions, and `cookie` where something is sticky. A request that has only these (and
    /// its `host`, unless that is given apart) is decided as with all of them, so an embedder whose headers
    /// are dear to hand over can leave out the rest. A reload may change them.
    pub fn header_names(&self) -> Vec<String> {
        self.snapshot.load().table.header_names.clone()
    }

    /// A group's name, ARN and Service; `None` for an id of a group that is gone.
    pub fn group(&self, group: GroupId) -> Option<GroupInfo> {
        let snapshot = self.snapshot.load();
        let place = snapshot.group_place(group)?;
        let entry = snapshot.table.groups.get(place)?;
        Some(GroupInfo::new(group, entry))
    }

    /// All target groups, in the order of the model.
    pub fn target_groups(&self) -> Vec<GroupInfo> {
        let snapshot = self.snapshot.load();
        let ids = snapshot.group_ids.iter().zip(&snapshot.table.groups);
        ids.map(|(id, entry)| GroupInfo::new(*id, entry)).collect()
    }

    /// The target group of this name or ARN. The id holds for the router's life: while the group is gone,
    /// nothing is known of it.
    pub fn find_target_group(&self, name: &str) -> Option<GroupId> {
        let snapshot = self.snapshot.load();
        let place = snapshot.table.groups.iter().position(|g| g.name == name || g.arn == name)?;
        snapshot.group_ids.get(place).copied()
    }

    /// All targets, in the order of the model, and after them those that are draining.
    pub fn targets(&self) -> Vec<TargetInfo> {
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        let registered = snapshot.targets.iter().filter(|slot| !slot.is_gone());
        let leaving = cold.registry.draining().filter(|slot| snapshot.place(slot).is_none());
        registered.chain(leaving).map(|slot| snapshot.info(&cold, slot)).collect()
    }

    /// The target with this id, draining ones included.
    pub fn target(&self, target: TargetId) -> Option<TargetInfo> {
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        snapshot.slot(target).map(|slot| snapshot.info(&cold, slot))
    }

    /// Takes the changes of health since the last call, oldest first. Of more than 10,000 the oldest are
    /// lost.
    pub fn events(&self) -> Vec<HealthEvent> {
        self.cold().events.drain(..).collect()
    }

    /// The authentication that a decision asks for, as it stands in the model.
    pub fn authentication(&self, listener: ListenerId, decision: &Decision) -> Option<Action> {
        decision.authenticate?;
        let snapshot = self.snapshot.load();
        let place = snapshot.listeners.get(listener.0 as usize).copied().flatten()?;
        let listener = snapshot.table.listeners.get(place as usize)?;
        let mut rules = listener.rules.iter().chain([&listener.default]);
        let rule = rules.find(|r| Some(r.priority) == decision.priority)?;
        let action = snapshot.table.actions.get(rule.action as usize)?;
        action.authenticate.as_ref().map(|(_, action)| Action::clone(action))
    }
}

impl GroupInfo {
    fn new(id: GroupId, entry: &GroupEntry) -> Self {
        GroupInfo {
            id,
            name: entry.name.clone(),
            arn: entry.arn.clone(),
            service: entry.service.as_ref().map(ToString::to_string),
        }
    }
}

impl Snapshot {
    fn info(&self, cold: &Cold, slot: &Slot) -> TargetInfo {
        let place = self.place(slot);
        let entry = place.and_then(|(_, target)| self.table.targets.get(target as usize));
        TargetInfo {
            id: slot.id,
            group: slot.group,
            group_name: cold.registry.group_name(slot.group).to_owned(),
            target: slot.target.clone(),
            port: slot.port,
            address: entry.map(|e| e.address).filter(|address| *address != NOWHERE),
            zone: entry.and_then(|e| e.zone.clone()),
            health: slot.health(),
            in_flight: slot.in_flight(),
            anomalous: slot.is_anomalous(),
            mitigation_in_effect: slot.weight() < FULL,
            administrative_override: place.map_or(AdministrativeOverride::NoOverride, |(group, target)| {
                self.administrative_override(&cold.zonal, group, target)
            }),
        }
    }
}
