//! The one handle: a compiled model with the state of its targets.

use std::net::SocketAddr;

use crate::decision::{Decision, GroupId, ListenerId, Outcome, Output, TargetId};
use crate::error::Error;
use crate::model::{Action, Model, Protocol, TargetHealth};
use crate::options::Options;
use crate::request::RequestView;
use crate::sticky::KeyRing;
use crate::time::Now;

/// See the crate docs. `Send + Sync`; every verb takes `&self`.
#[derive(Debug)]
pub struct Router {}

impl Router {
    /// Compiles `model`. Targets start in the health the model gives them.
    pub fn new(model: &Model, options: Options, keys: KeyRing, now: Now) -> Result<Self, Error> {
        unimplemented!()
    }
    /// The listener of a load balancer (by name or ARN) on a port.
    pub fn listener(&self, load_balancer: &str, port: u16) -> Option<ListenerId> {
        unimplemented!()
    }
    /// All listeners, by load balancer name and port.
    pub fn listeners(&self) -> Vec<ListenerInfo> {
        unimplemented!()
    }
    /// Decides. No allocation, no lock, no system call.
    pub fn decide<R: RequestView>(
        &self,
        listener: ListenerId,
        request: &R,
        now: Now,
        entropy: u64,
        output: &mut Output,
    ) -> Decision {
        unimplemented!()
    }
    /// Settles a forward: owed exactly once for each.
    pub fn report(&self, decision: &Decision, outcome: Outcome, now: Now) {
        unimplemented!()
    }
    /// Hands out the probes that are due (appended to `probes`), moves what time moves, and says when to
    /// call again (monotonic ms).
    pub fn poll(&self, now: Now, probes: &mut Vec<Probe>) -> u64 {
        unimplemented!()
    }
    /// Takes a probe's result.
    pub fn report_probe(&self, target: TargetId, result: &ProbeResult, now: Now) {
        unimplemented!()
    }
    /// Changes since the last call, oldest first (bounded; the oldest are dropped).
    pub fn events(&self) -> Vec<HealthEvent> {
        unimplemented!()
    }
    /// Swaps the model in. A failure leaves everything as it was.
    pub fn reload(&self, model: &Model, now: Now) -> Result<(), Error> {
        unimplemented!()
    }
    /// Replaces the cookie keys.
    pub fn set_keys(&self, keys: KeyRing) {
        unimplemented!()
    }
    /// Sets a target's health by hand, for embedders with checks of their own and for tests.
    pub fn set_target_health(&self, target: TargetId, health: TargetHealth, now: Now) -> Result<(), Error> {
        unimplemented!()
    }
    /// All targets, draining ones included.
    pub fn targets(&self) -> Vec<TargetInfo> {
        unimplemented!()
    }
    /// The target with this id, also one that was removed while its slot has not been used again.
    pub fn target(&self, target: TargetId) -> Option<TargetInfo> {
        unimplemented!()
    }
    /// The group's name, ARN and Service.
    pub fn group(&self, group: GroupId) -> Option<GroupInfo> {
        unimplemented!()
    }
    /// The authentication action of the rule that decided.
    pub fn authentication(&self, listener: ListenerId, decision: &Decision) -> Option<Action> {
        unimplemented!()
    }
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    /// For `decide`.
    pub id: ListenerId,
    /// The load balancer's name.
    pub load_balancer: String,
    /// The port.
    pub port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Where to connect to.
    pub address: Option<SocketAddr>,
    /// Its zone.
    pub zone: Option<String>,
    /// Its health.
    pub health: TargetHealth,
    /// Forwards that are not reported yet.
    pub in_flight: u32,
}

/// A health check that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// For `report_probe`.
    pub target: TargetId,
    /// Where to connect to (the health check's port).
    pub address: SocketAddr,
    /// HTTP or HTTPS (never verify the certificate).
    pub protocol: Protocol,
    /// HTTP1, HTTP2 or GRPC.
    pub version: crate::model::ProtocolVersion,
    /// Path and query.
    pub path: String,
    /// The Host header: the address, with the port unless it is the protocol's own.
    pub host: String,
    /// Milliseconds for the whole check.
    pub timeout_ms: u64,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeResult {
    /// An HTTP status, or for GRPC groups the grpc-status.
    Status(u16),
    /// No answer in time.
    TimedOut,
    /// No connection, or a malformed answer.
    Failed,
}

/// A change of a target's health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthEvent {
    /// The target's registration.
    pub target: TargetId,
    /// Its group's name.
    pub group_name: String,
    /// `id:port`.
    pub name: String,
    /// What it was.
    pub from: TargetHealth,
    /// What it is; `None` when it is gone (drained).
    pub to: Option<TargetHealth>,
    /// When, on the caller's monotonic clock.
    pub at_ms: u64,
}
