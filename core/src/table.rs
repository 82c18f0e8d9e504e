//! The compiled model: immutable arrays, indexed by number. Made by `compile`, read by `router`; nothing
//! in here changes after it is made. What changes per target is in `state`.

use std::net::SocketAddr;
use std::ops::Range;

use crate::model::{Protocol, ServiceRef, TargetHealth};

/// Everything a decision needs, without text that only people need.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) listeners: Vec<ListenerEntry>,
    pub(crate) forwards: Vec<ForwardEntry>,
    pub(crate) groups: Vec<GroupEntry>,
    /// The targets of all groups; each group has a range of it.
    pub(crate) targets: Vec<TargetEntry>,
}

/// A listener.
#[derive(Debug)]
pub(crate) struct ListenerEntry {
    pub(crate) load_balancer_arn: String,
    pub(crate) load_balancer_name: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// A forward action: groups with cumulative weights.
#[derive(Debug, Default)]
pub(crate) struct ForwardEntry {
    /// `(group index, sum of the weights up to and including it)`, in the action's order.
    pub(crate) groups: Vec<(u32, u32)>,
    /// Seconds of stickiness between the groups, where it is on.
    pub(crate) stickiness_seconds: Option<u32>,
}

/// A target group.
#[derive(Debug, Default)]
pub(crate) struct GroupEntry {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) service: Option<ServiceRef>,
    /// Its part of `Table::targets`.
    pub(crate) targets: Range<u32>,
    /// Whether a listener of the model can reach it.
    pub(crate) in_use: bool,
}

/// A registered target.
#[derive(Debug)]
pub(crate) struct TargetEntry {
    pub(crate) group: u32,
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) zone: Option<String>,
    /// Where to connect to; `None` for an instance whose address is not known.
    pub(crate) address: Option<SocketAddr>,
    /// Its health in the model.
    pub(crate) health: TargetHealth,
}
