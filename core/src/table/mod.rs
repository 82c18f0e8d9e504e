//! The compiled model: immutable arrays, indexed by number. Made by `compile`, read by `router`; nothing
//! in here changes after it is made. What changes per target is in `state`.

mod action;
mod evaluate;
mod index;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;

pub(crate) use action::{Fixed, Piece, Redirect, Template, Terminal, Transforms};
pub(crate) use evaluate::{Buffers, Routing};
pub(crate) use index::{APART, Asks, BELOW, EXACT, Ends, Entry, HostMap, Index, NONE, Node, PREFIX};

use crate::decision::Authenticate;
use crate::health::HealthCheck;
use crate::model::{self, Priority, Protocol, RuleCondition, ServiceRef, TargetHealth};

/// Everything a decision needs, without text that only people need.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) listeners: Vec<ListenerEntry>,
    /// What rules do; equal ones share an entry where they only forward.
    pub(crate) actions: Vec<ActionEntry>,
    pub(crate) forwards: Vec<ForwardEntry>,
    pub(crate) groups: Vec<GroupEntry>,
    /// The targets of all groups; each group has a range of it.
    pub(crate) targets: Vec<TargetEntry>,
    /// The headers that a decision may look at: lower case, sorted.
    pub(crate) header_names: Vec<String>,
}

/// A listener with its rules in the order of their priorities.
#[derive(Debug)]
pub(crate) struct ListenerEntry {
    pub(crate) load_balancer_arn: String,
    pub(crate) load_balancer_name: String,
    /// Stands in for the Host of a request that has none.
    pub(crate) dns_name: String,
    pub(crate) port: u16,
    /// The port that a Location names for it.
    pub(crate) shown_port: u16,
    pub(crate) protocol: Protocol,
    /// By rank: the lowest priority number first.
    pub(crate) rules: Vec<RuleEntry>,
    pub(crate) default: RuleEntry,
    pub(crate) index: Index,
    /// By rank: the conditions as they stand in the model, for whoever asks why. Decisions do not look here.
    pub(crate) told: Vec<(Priority, Told)>,
}

/// The conditions of a rule in the model's words.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) conditions: Box<[RuleCondition]>,
    /// Whether its path patterns are gRPC methods (K-23).
    pub(crate) grpc: bool,
}

/// A rule that was found. Small, since any of them may be the next: what they do is apart and mostly shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RuleEntry {
    pub(crate) priority: Priority,
    /// An index into `Table::actions`.
    pub(crate) action: u32,
}

/// What a rule does.
#[derive(Debug)]
pub(crate) struct ActionEntry {
    /// What has to succeed first, and its action in the model.
    pub(crate) authenticate: Option<(Authenticate, Box<model::Action>)>,
    pub(crate) terminal: Terminal,
    pub(crate) transforms: Option<Box<Transforms>>,
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
#[derive(Debug)]
pub(crate) struct GroupEntry {
    pub(crate) arn: String,
    pub(crate) name: String,
    pub(crate) service: Option<ServiceRef>,
    /// Its part of `Table::targets`.
    pub(crate) targets: Range<u32>,
    /// Whether a listener of the model can reach it.
    pub(crate) in_use: bool,
    pub(crate) target_type: model::TargetType,
    pub(crate) attributes: GroupAttributes,
    pub(crate) health_check: HealthCheck,
    /// Names the group in cookies.
    pub(crate) fingerprint: u64,
}

/// The address of a target whose node the model does not know: nobody can connect to port 0.
pub(crate) const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A registered target.
#[derive(Debug)]
pub(crate) struct TargetEntry {
    pub(crate) group: u32,
    pub(crate) id: String,
    pub(crate) port: u16,
    pub(crate) zone: Option<String>,
    /// Where to connect to; [`NOWHERE`] for an instance whose address is not known.
    pub(crate) address: SocketAddr,
    /// Where its health checks go.
    pub(crate) probe_address: Option<SocketAddr>,
    /// Its health in the model.
    pub(crate) health: TargetHealth,
    /// Names the target in cookies.
    pub(crate) fingerprint: u64,
}

/// The attributes of a target group that decide something (spec: dataplane §13.7), typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupAttributes {
    pub(crate) deregistration_delay_s: u32,
    pub(crate) stickiness: StickinessAttributes,
    pub(crate) slow_start_s: u32,
    pub(crate) algorithm: Algorithm,
    pub(crate) anomaly_mitigation: bool,
    /// `false` keeps a request in its own zone.
    pub(crate) cross_zone: bool,
    /// Below so many healthy targets the group fails open.
    pub(crate) fail_open_count: u32,
    /// Below so many healthy targets in a hundred the group fails open.
    pub(crate) fail_open_percentage: Option<u32>,
    /// Below so many healthy targets a zone leaves DNS.
    pub(crate) dns_failover_count: Option<u32>,
    /// Below so many healthy targets in a hundred a zone leaves DNS.
    pub(crate) dns_failover_percentage: Option<u32>,
}

/// `stickiness.*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StickinessAttributes {
    Off,
    LbCookie { seconds: u32 },
    AppCookie { name: String, seconds: u32 },
}

/// `load_balancing.algorithm.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    RoundRobin,
    LeastOutstandingRequests,
    WeightedRandom,
}
