//! DNS records in Route 53 words, as external-dns would write them (spec: controller §11).

use serde::{Deserialize, Serialize};

/// One alias record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RecordSet {
    /// The name, without a trailing dot; may start with `*.`.
    pub name: String,
    /// `A` or `AAAA`.
    pub r#type: String,
    /// What the record points at.
    pub alias_target: AliasTarget,
    /// `namespace/name` of the Ingress that asks for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ingress: String,
}

/// The target of an alias record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasTarget {
    /// The load balancer's DNS name.
    #[serde(rename = "DNSName")]
    pub dns_name: String,
}
