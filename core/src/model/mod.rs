//! Plain data in ELBv2 vocabulary: what `aws elbv2 describe-*` prints and what `podway plan -o json`
//! prints. No behaviour beyond (de)serialisation, no Kubernetes. Field names and spellings are the
//! ELBv2 API's (spec: dataplane §13); the keys that AWS does not have say so in their docs.

mod action;
mod attributes;
mod condition;
mod listener;
mod load_balancer;
mod record_set;
mod rule;
mod target_group;

use serde::{Deserialize, Serialize};

pub use action::{
    Action, ActionConfig, AuthenticateCognitoConfig, AuthenticateOidcConfig, FixedResponseConfig,
    ForwardConfig, JwtClaim, JwtValidationConfig, RedirectConfig, TargetGroupStickinessConfig,
    TargetGroupTuple,
};
pub use attributes::{Attribute, Tag, attribute};
pub use condition::{QueryStringKeyValue, RuleCondition};
pub use listener::{Certificate, Listener, MutualAuthentication, Protocol};
pub use load_balancer::{LoadBalancer, LoadBalancerIpAddressType, LoadBalancerType, Scheme};
pub use record_set::{AliasTarget, RecordSet};
pub use rule::{Priority, Rewrite, Rule, RuleTransform};
pub use target_group::{
    EndpointConditions, Matcher, NodePort, NodePortEndpoint, NodePortNode, ProtocolVersion, ServiceRef,
    TargetDescription, TargetGroup, TargetHealth, TargetHealthDescription, TargetHealthState,
    TargetIpAddressType, TargetType, TrafficPolicy,
};

/// Load balancers with all that hangs on them, as one document.
///
/// ```
/// let model: podway::model::Model = serde_json::from_str(r#"{
///     "LoadBalancers": [{"LoadBalancerArn": "arn:lb", "LoadBalancerName": "web", "Listeners": [{
///         "ListenerArn": "arn:listener", "Port": 80, "Protocol": "HTTP", "DefaultActions": [
///             {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}]}]}]
/// }"#).unwrap();
/// assert_eq!(model.load_balancers[0].listeners[0].port, 80);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Model {
    /// The load balancers, each with its listeners and their rules.
    pub load_balancers: Vec<LoadBalancer>,
    /// The target groups that actions name by ARN.
    pub target_groups: Vec<TargetGroup>,
    /// DNS records that point at the load balancers (ours, not part of ELBv2).
    pub record_sets: Vec<RecordSet>,
}

impl Model {
    /// The target group with this ARN.
    pub fn target_group(&self, arn: &str) -> Option<&TargetGroup> {
        self.target_groups.iter().find(|g| g.target_group_arn == arn)
    }
}
