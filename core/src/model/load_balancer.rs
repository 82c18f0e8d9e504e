//! The load balancer itself.

use serde::{Deserialize, Serialize};

use super::{Attribute, Listener, Tag};

/// An Application Load Balancer (spec: dataplane §13.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LoadBalancer {
    /// The ARN; unique in a model.
    pub load_balancer_arn: String,
    /// The name, at most 32 characters.
    pub load_balancer_name: String,
    /// The DNS name.
    #[serde(rename = "DNSName")]
    pub dns_name: String,
    /// `internal` or `internet-facing`.
    pub scheme: Scheme,
    /// Always `application`.
    pub r#type: LoadBalancerType,
    /// The address families it serves.
    pub ip_address_type: LoadBalancerIpAddressType,
    /// Attributes that were set; those left out have AWS's defaults (spec: dataplane §6.10).
    pub attributes: Vec<Attribute>,
    /// Tags that were set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// `namespace/name` of the Ingresses behind it (ours, not part of ELBv2).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ingresses: Vec<String>,
    /// The listeners, ascending by port.
    pub listeners: Vec<Listener>,
}

/// The type of a load balancer; other types have no rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancerType {
    /// An Application Load Balancer.
    #[default]
    Application,
}

/// Whom the load balancer is reachable for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// From inside the VPC (the controller's default).
    #[default]
    Internal,
    /// From the internet.
    InternetFacing,
}

impl Scheme {
    /// AWS's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Internal => "internal",
            Scheme::InternetFacing => "internet-facing",
        }
    }
}

/// Address families of a load balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadBalancerIpAddressType {
    /// IPv4 only.
    #[default]
    Ipv4,
    /// IPv4 and IPv6.
    Dualstack,
    /// IPv6 with private IPv4.
    DualstackWithoutPublicIpv4,
}

impl LoadBalancerIpAddressType {
    /// AWS's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            LoadBalancerIpAddressType::Ipv4 => "ipv4",
            LoadBalancerIpAddressType::Dualstack => "dualstack",
            LoadBalancerIpAddressType::DualstackWithoutPublicIpv4 => "dualstack-without-public-ipv4",
        }
    }
}
