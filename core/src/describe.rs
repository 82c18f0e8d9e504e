//! Decisions, targets and events in words: the one place that names them for C, Python, Node and JSON,
//! so that every language says the same. Cold: it allocates. Imports the router's public API only.

use std::net::SocketAddr;
use std::str;

use serde::{Serialize, Serializer};

use crate::ProbeResult;
use crate::decision::{Decision, Outcome, Stickiness, TargetId, Unsticky, Verdict};
use crate::explain::Explanation;
use crate::model::{Priority, TargetHealthState};
use crate::router::{
    GroupInfo, HealthEvent, HopInfo, HopTo, ListenerInfo, Output, Router, TargetInfo, WhyUnsticky, ZoneHealth,
};

/// A decision in words and names. What does not belong to the decision's type is `None`.
///
/// As JSON it is a flat object in which absent fields are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Description<'o> {
    /// The rule that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// `forward`, `redirect`, `fixed-response` or `error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status to answer with; a forward has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why it is an error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The target group's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_group: Option<String>,
    /// `namespace/name:port` of the Service the group was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `id:port` of the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Where to connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<SocketAddr>,
    /// Whether too few targets were healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<bool>,
    /// `off`, `new`, `kept`, or why the cookie could not be honoured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<&'static str>,
    /// What has to succeed first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authenticate: Option<&'static str>,
    /// The Location of a redirect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<&'o str>,
    /// The body of a fixed response.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "text")]
    pub body: Option<&'o [u8]>,
    /// Its media type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<&'o str>,
    /// Path and query for the target, where a transform changed them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<&'o str>,
    /// The Host for the target, where a transform changed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<&'o str>,
    /// The values of the Set-Cookie headers that the response must carry.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_cookies: Vec<&'o str>,
}

impl Router {
    /// Puts a decision into words. `output` is the one that `decide` wrote to; the names are those the
    /// target has now.
    pub fn describe<'o>(&self, decision: &Decision, output: &'o Output) -> Description<'o> {
        let mut d = Description {
            priority: decision.priority,
            kind: decision.verdict.as_str(),
            status: None,
            reason: None,
            target_group: None,
            service: None,
            target: None,
            address: None,
            fail_open: None,
            stickiness: None,
            authenticate: decision.authenticate.map(|a| a.as_str()),
            location: output.location(),
            body: output.body(),
            content_type: output.content_type(),
            uri: output.uri(),
            host: output.host(),
            set_cookies: output.set_cookies().collect(),
        };
        match decision.verdict {
            Verdict::Forward(forward) => {
                d.target = self.target(forward.target).map(|t| t.name());
                if let Some(group) = self.group(forward.group) {
                    d.target_group = Some(group.name);
                    d.service = group.service;
                }
                d.address = Some(forward.address);
                d.fail_open = Some(forward.fail_open);
                d.stickiness = Some(forward.stickiness.as_str());
            }
            Verdict::Redirect { status } | Verdict::FixedResponse { status } => d.status = Some(status),
            Verdict::Error { status, reason } => {
                d.status = Some(status);
                d.reason = Some(reason.as_str());
            }
        }
        d
    }

    /// The target with this `id:port` in the group of this name; of several registrations the one that is
    /// not draining.
    pub fn find_target(&self, target_group: &str, target: &str) -> Option<TargetId> {
        let draining = |t: &TargetInfo| t.health.state == TargetHealthState::Draining;
        self.targets()
            .into_iter()
            .filter(|t| t.group_name == target_group && t.name() == target)
            .min_by_key(draining)
            .map(|t| t.id)
    }
}

impl Explanation {
    /// The explanation as one JSON object, with what was decided in words under `Decision`. `output` is the
    /// one that `explain` wrote to.
    pub fn to_json(&self, router: &Router, output: &Output) -> String {
        #[derive(Serialize)]
        struct Json<'a> {
            #[serde(rename = "Decision")]
            decision: Description<'a>,
            #[serde(flatten)]
            explanation: &'a Explanation,
        }
        let decision = router.describe(&self.decision, output);
        // Plain data with text for keys: there is nothing in it that JSON cannot say.
        serde_json::to_string(&Json { decision, explanation: self }).unwrap_or_default()
    }
}

impl Verdict {
    /// The type as actions spell it, or `error`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Verdict::Forward(_) => "forward",
            Verdict::Redirect { .. } => "redirect",
            Verdict::FixedResponse { .. } => "fixed-response",
            Verdict::Error { .. } => "error",
        }
    }
}

impl Stickiness {
    /// `off`, `new`, `kept`, or the word of what broke it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Stickiness::Off => "off",
            Stickiness::New => "new",
            Stickiness::Kept => "kept",
            Stickiness::Broken(why) => why.as_str(),
        }
    }

    /// What has this word.
    pub fn from_name(name: &str) -> Option<Self> {
        [Stickiness::Off, Stickiness::New, Stickiness::Kept]
            .into_iter()
            .chain(Unsticky::ALL.iter().copied().map(Stickiness::Broken))
            .find(|stickiness| stickiness.as_str() == name)
    }
}

impl Outcome {
    /// The outcome of this name: `response` (with its status), `connect-failed`, `timed-out`, `closed`,
    /// `cancelled`.
    pub fn from_name(name: &str, status: u16) -> Option<Self> {
        Some(match name {
            "response" => Outcome::Response(status),
            "connect-failed" => Outcome::ConnectFailed,
            "timed-out" => Outcome::TimedOut,
            "closed" => Outcome::Closed,
            "cancelled" => Outcome::Cancelled,
            _ => return None,
        })
    }
}

impl ProbeResult {
    /// The result of this name: `status` (with its number), `timed-out`, `failed`, `internal-error`.
    pub fn from_name(name: &str, status: u16) -> Option<Self> {
        Some(match name {
            "status" => ProbeResult::Status(status),
            "timed-out" => ProbeResult::TimedOut,
            "failed" => ProbeResult::Failed,
            "internal-error" => ProbeResult::InternalError,
            _ => return None,
        })
    }
}

impl TargetHealthState {
    /// The state that AWS spells so.
    pub fn from_name(name: &str) -> Option<Self> {
        use TargetHealthState::{Draining, Healthy, Initial, Unavailable, Unhealthy, Unused};
        [Initial, Healthy, Unhealthy, Unused, Draining, Unavailable].into_iter().find(|s| s.as_str() == name)
    }
}

impl TargetInfo {
    /// `id:port`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.target, self.port)
    }
}

impl Serialize for ListenerInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            id: u32,
            load_balancer: &'a str,
            port: u16,
            protocol: &'a str,
        }
        Json {
            id: self.id.as_u32(),
            load_balancer: &self.load_balancer,
            port: self.port,
            protocol: self.protocol.as_str(),
        }
        .serialize(serializer)
    }
}

impl Serialize for GroupInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            id: u32,
            name: &'a str,
            arn: &'a str,
            service: Option<&'a str>,
        }
        Json { id: self.id.as_u32(), name: &self.name, arn: &self.arn, service: self.service.as_deref() }
            .serialize(serializer)
    }
}

impl Serialize for ZoneHealth {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            zone: Option<&'a str>,
            registered: usize,
            healthy: usize,
            routing_healthy: bool,
            dns_healthy: bool,
            shifted: bool,
        }
        Json {
            zone: self.zone.as_deref(),
            registered: self.registered,
            healthy: self.healthy,
            routing_healthy: self.routing_healthy,
            dns_healthy: self.dns_healthy,
            shifted: self.shifted,
        }
        .serialize(serializer)
    }
}

impl Serialize for TargetInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            /// As text: a JSON number of 64 bits loses digits in JavaScript.
            id: String,
            target_group: &'a str,
            target: String,
            address: Option<SocketAddr>,
            zone: Option<&'a str>,
            state: &'a str,
            reason: Option<&'a str>,
            description: Option<&'a str>,
            in_flight: u32,
            anomalous: bool,
            mitigation_in_effect: bool,
            administrative_override: &'a str,
        }
        Json {
            id: self.id.as_u64().to_string(),
            target_group: &self.group_name,
            target: self.name(),
            address: self.address,
            zone: self.zone.as_deref(),
            state: self.health.state.as_str(),
            reason: self.health.reason.as_deref(),
            description: self.health.description.as_deref(),
            in_flight: self.in_flight,
            anomalous: self.anomalous,
            mitigation_in_effect: self.mitigation_in_effect,
            administrative_override: self.administrative_override.as_str(),
        }
        .serialize(serializer)
    }
}

impl Serialize for WhyUnsticky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            cookie: Option<&'a str>,
            reason: &'a str,
            text: &'a str,
        }
        Json { cookie: self.cookie, reason: self.reason.as_str(), text: &self.text }.serialize(serializer)
    }
}

impl Serialize for HopInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            node: &'a str,
            outcome: &'a str,
            pod: Option<&'a str>,
            address: Option<SocketAddr>,
            from_node: Option<bool>,
            health_check_status: u16,
            local_endpoints: usize,
        }
        let (outcome, pod, address, from_node) = match &self.to {
            HopTo::Forwarded { pod, address, from_node } => {
                ("forwarded", Some(pod.as_str()), Some(*address), Some(*from_node))
            }
            HopTo::Refused => ("refused", None, None, None),
            HopTo::Dropped => ("dropped", None, None, None),
        };
        let (health_check_status, local_endpoints) = (self.health_check_status, self.local_endpoints);
        let node = &self.node;
        Json { node, outcome, pod, address, from_node, health_check_status, local_endpoints }
            .serialize(serializer)
    }
}

impl Serialize for HealthEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Json<'a> {
            target_id: String,
            target_group: &'a str,
            target: &'a str,
            from: Option<&'a str>,
            to: Option<&'a str>,
            reason: Option<&'a str>,
            description: Option<&'a str>,
            at_ms: u64,
        }
        let to = self.to.as_ref();
        Json {
            target_id: self.target.as_u64().to_string(),
            target_group: &self.group_name,
            target: &self.name,
            from: self.from.as_ref().map(|h| h.state.as_str()),
            to: to.map(|h| h.state.as_str()),
            reason: to.and_then(|h| h.reason.as_deref()),
            description: to.and_then(|h| h.description.as_deref()),
            at_ms: self.at_ms,
        }
        .serialize(serializer)
    }
}

fn text<S: Serializer>(bytes: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.map(String::from_utf8_lossy).serialize(serializer)
}
