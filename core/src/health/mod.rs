//! Health of targets: what a check asks, which answers are good, and what results do to a state
//! (spec: dataplane §5). Pure: no socket, no clock; results and time come in as arguments.

mod codes;
mod machine;

pub(crate) use codes::Codes;
pub(crate) use machine::Machine;

use crate::model::{Protocol, ProtocolVersion, TargetHealth, TargetHealthState};

/// The settings of a group's health checks.
#[derive(Clone, Debug)]
pub(crate) struct HealthCheck {
    pub(crate) enabled: bool,
    pub(crate) protocol: Protocol,
    pub(crate) version: ProtocolVersion,
    pub(crate) path: String,
    pub(crate) interval_ms: u64,
    pub(crate) timeout_ms: u64,
    pub(crate) healthy_threshold: u32,
    pub(crate) unhealthy_threshold: u32,
    pub(crate) codes: Codes,
}

impl Default for HealthCheck {
    fn default() -> Self {
        HealthCheck {
            enabled: true,
            protocol: Protocol::Http,
            version: ProtocolVersion::Http1,
            path: "/".to_owned(),
            interval_ms: 30_000,
            timeout_ms: 5_000,
            healthy_threshold: 5,
            unhealthy_threshold: 2,
            codes: Codes::default(),
        }
    }
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeResult {
    /// An HTTP status, or for GRPC groups the grpc-status.
    Status(u16),
    /// No answer in time.
    TimedOut,
    /// No connection, or a malformed answer.
    Failed,
    /// The check could not be made, by no fault of the target.
    InternalError,
}

/// A state with AWS's reason and description (spec: dataplane §5.1).
pub(crate) fn health(
    state: TargetHealthState,
    reason: Option<&str>,
    description: Option<&str>,
) -> TargetHealth {
    TargetHealth { state, reason: reason.map(str::to_owned), description: description.map(str::to_owned) }
}

pub(crate) fn registering() -> TargetHealth {
    health(
        TargetHealthState::Initial,
        Some("Elb.RegistrationInProgress"),
        Some("Target registration is in progress"),
    )
}

pub(crate) fn checking() -> TargetHealth {
    health(
        TargetHealthState::Initial,
        Some("Elb.InitialHealthChecking"),
        Some("Initial health checks in progress"),
    )
}

pub(crate) fn not_in_use() -> TargetHealth {
    health(
        TargetHealthState::Unused,
        Some("Target.NotInUse"),
        Some("Target group is not configured to receive traffic from the load balancer"),
    )
}

pub(crate) fn checks_disabled() -> TargetHealth {
    health(
        TargetHealthState::Unavailable,
        Some("Target.HealthCheckDisabled"),
        Some("Health checks are disabled"),
    )
}

pub(crate) fn draining() -> TargetHealth {
    health(
        TargetHealthState::Draining,
        Some("Target.DeregistrationInProgress"),
        Some("Target deregistration is in progress"),
    )
}
