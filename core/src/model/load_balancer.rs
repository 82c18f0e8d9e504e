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
    #[serde(rename = "Type", deserialize_with = "application", serialize_with = "write_application")]
    r#type: Application,
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

/// Marker for the one type of load balancer there is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Application;

fn application<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Application, D::Error> {
    let text = String::deserialize(d)?;
    if text == "application" {
        Ok(Application)
    } else {
        Err(serde::de::Error::custom(format!("load balancers of type `{text}` are not supported")))
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
fn write_application<S: serde::Serializer>(_: &Application, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str("application")
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
