//! Target groups, their targets, and what stands behind a NodePort.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Attribute, Protocol, Tag};

/// A target group (spec: dataplane §13.6) with its targets and attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TargetGroup {
    /// The ARN; unique in a model.
    pub target_group_arn: String,
    /// The name, at most 32 characters.
    pub target_group_name: String,
    /// What a target is.
    pub target_type: TargetType,
    /// The port of targets that are registered without one.
    pub port: i32,
    /// The protocol spoken to targets.
    pub protocol: Protocol,
    /// The HTTP version spoken to targets.
    pub protocol_version: ProtocolVersion,
    /// The address family of the targets.
    pub ip_address_type: TargetIpAddressType,
    /// Always true for `instance` and `ip`.
    pub health_check_enabled: bool,
    /// The protocol of a health check.
    pub health_check_protocol: Protocol,
    /// `traffic-port` or a number.
    pub health_check_port: String,
    /// The path of a health check, may have a query.
    pub health_check_path: String,
    /// Seconds between checks of one target.
    pub health_check_interval_seconds: i32,
    /// Seconds until a check has failed.
    pub health_check_timeout_seconds: i32,
    /// Successes in a row until an unhealthy target is healthy.
    pub healthy_threshold_count: i32,
    /// Failures in a row until a target is unhealthy.
    pub unhealthy_threshold_count: i32,
    /// Which answers are successes.
    pub matcher: Matcher,
    /// The port of a target optimizer agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_control_port: Option<i32>,
    /// The load balancers that use it.
    pub load_balancer_arns: Vec<String>,
    /// Attributes that were set; those left out have AWS's defaults (spec: dataplane §13.7).
    pub attributes: Vec<Attribute>,
    /// Tags that were set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// The Service it was made for (ours, not part of ELBv2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_ref: Option<ServiceRef>,
    /// What stands behind the NodePort of an `instance` group (ours, not part of ELBv2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port: Option<NodePort>,
    /// The registered targets.
    pub target_health_descriptions: Vec<TargetHealthDescription>,
}

impl Default for TargetGroup {
    /// AWS's defaults for a new group (spec: dataplane §5.3).
    fn default() -> Self {
        TargetGroup {
            target_group_arn: String::new(),
            target_group_name: String::new(),
            target_type: TargetType::Instance,
            port: 80,
            protocol: Protocol::Http,
            protocol_version: ProtocolVersion::Http1,
            ip_address_type: TargetIpAddressType::Ipv4,
            health_check_enabled: true,
            health_check_protocol: Protocol::Http,
            health_check_port: "traffic-port".to_owned(),
            health_check_path: "/".to_owned(),
            health_check_interval_seconds: 30,
            health_check_timeout_seconds: 5,
            healthy_threshold_count: 5,
            unhealthy_threshold_count: 2,
            matcher: Matcher::default(),
            target_control_port: None,
            load_balancer_arns: Vec::new(),
            attributes: Vec::new(),
            tags: Vec::new(),
            service_ref: None,
            node_port: None,
            target_health_descriptions: Vec::new(),
        }
    }
}

macro_rules! text_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// AWS's spelling.
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

text_enum! {
    /// What a target of a group is.
    TargetType {
        /// A node, reached on its NodePort.
        #[default]
        Instance = "instance",
        /// An address, usually a pod's.
        Ip = "ip",
        /// A Lambda function; described, never routed to.
        Lambda = "lambda",
        /// Another load balancer; described, never routed to.
        Alb = "alb",
    }
}

text_enum! {
    /// The HTTP version spoken to targets.
    ProtocolVersion {
        /// HTTP/1.1.
        #[default]
        Http1 = "HTTP1",
        /// HTTP/2.
        Http2 = "HTTP2",
        /// gRPC.
        Grpc = "GRPC",
    }
}

text_enum! {
    /// The address family of a group's targets.
    TargetIpAddressType {
        /// IPv4.
        #[default]
        Ipv4 = "ipv4",
        /// IPv6.
        Ipv6 = "ipv6",
    }
}

text_enum! {
    /// The state of a target (spec: dataplane §5.1).
    TargetHealthState {
        /// Registered, not checked often enough yet.
        #[default]
        Initial = "initial",
        /// In service.
        Healthy = "healthy",
        /// Failing its checks.
        Unhealthy = "unhealthy",
        /// Registered where nothing routes to it.
        Unused = "unused",
        /// Deregistered, finishing its requests.
        Draining = "draining",
        /// Health checks are off.
        Unavailable = "unavailable",
    }
}

text_enum! {
    /// `externalTrafficPolicy` of a Service (spec: dataplane §10.4).
    TrafficPolicy {
        /// Any ready pod of the cluster, behind the node's address.
        #[default]
        Cluster = "Cluster",
        /// Only pods of the node that was reached, the peer's address kept.
        Local = "Local",
    }
}

/// Which answers of a health check are successes (spec: dataplane §5.4).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Matcher {
    /// HTTP status codes: `200`, `200,204`, `200-299`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_code: Option<String>,
    /// gRPC status codes: `0`, `0-5`, `12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc_code: Option<String>,
}

impl Default for Matcher {
    fn default() -> Self {
        Matcher { http_code: Some("200".to_owned()), grpc_code: None }
    }
}

/// The Service port a target group was made for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceRef {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The port as written in the backend: a number or a name.
    pub port: String,
}

impl std::fmt::Display for ServiceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

/// A registered target with its health (spec: dataplane §13.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TargetHealthDescription {
    /// The target.
    pub target: TargetDescription,
    /// The port its checks go to, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_port: Option<String>,
    /// Its health when the model was made.
    pub target_health: TargetHealth,
}

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TargetDescription {
    /// An instance id or an IP address.
    pub id: String,
    /// The port; the group's where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The zone, or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
}

/// The health of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TargetHealth {
    /// The state.
    pub state: TargetHealthState,
    /// For example `Target.Timeout`; a healthy target has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What kube-proxy does behind the NodePort that the targets of an `instance` group listen on
/// (spec: dataplane §10).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodePort {
    /// Which pods a node may hand a connection to.
    pub external_traffic_policy: TrafficPolicy,
    /// Seconds of `sessionAffinity: ClientIP`; without it every connection is drawn anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip_affinity_seconds: Option<u32>,
    /// The port of `healthCheckNodePort`, where the Service has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_check_node_port: Option<u16>,
    /// The nodes, by target id.
    pub nodes: Vec<NodePortNode>,
    /// The Service's endpoints behind this port.
    pub endpoints: Vec<NodePortEndpoint>,
}

/// A node that is a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodePortNode {
    /// The target's id: the instance id.
    pub id: String,
    /// The node's name.
    pub name: String,
    /// The node's address; without it the target cannot be connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NodePortEndpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port.
    pub port: u16,
    /// The pod's name, where known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod: String,
    /// The node the pod runs on, where known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Whether the pod may be used.
    pub conditions: EndpointConditions,
}

/// Conditions of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EndpointConditions {
    /// Ready for new connections.
    pub ready: bool,
    /// Answers, whether terminating or not.
    pub serving: bool,
    /// Being deleted.
    pub terminating: bool,
}

impl Default for EndpointConditions {
    fn default() -> Self {
        EndpointConditions { ready: true, serving: true, terminating: false }
    }
}
