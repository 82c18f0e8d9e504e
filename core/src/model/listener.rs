//! Listeners.

use serde::{Deserialize, Serialize};

use super::{Action, Attribute, Rule, RuleTransform, Tag};

/// A listener: a port with its rules (spec: dataplane §13.3).
///
/// In JSON the default actions stand twice, as `DefaultActions` and as the rule with priority
/// `default`; here they are only [`Listener::default_actions`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "ListenerJson", into = "ListenerJson")]
pub struct Listener {
    /// The ARN; unique in a model.
    pub listener_arn: String,
    /// The port clients connect to.
    pub port: u16,
    /// The protocol clients speak.
    pub protocol: Protocol,
    /// The security policy of an HTTPS listener.
    pub ssl_policy: Option<String>,
    /// Certificates, the default one first.
    pub certificates: Vec<Certificate>,
    /// Mutual TLS, where it is configured.
    pub mutual_authentication: Option<MutualAuthentication>,
    /// Listener attributes that were set (spec: dataplane §6.6).
    pub attributes: Vec<Attribute>,
    /// Tags that were set.
    pub tags: Vec<Tag>,
    /// What happens to a request that no rule matches.
    pub default_actions: Vec<Action>,
    /// Transforms of the default rule. The API allows none: [`Model::validate`](crate::model::Model::validate)
    /// refuses them.
    pub default_transforms: Vec<RuleTransform>,
    /// The ARN of the default rule, where the input told it.
    pub default_rule_arn: Option<String>,
    /// The rules without the default one. Evaluation goes by priority, not by position.
    pub rules: Vec<Rule>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListenerJson {
    listener_arn: String,
    port: u16,
    protocol: Protocol,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssl_policy: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<Certificate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mutual_authentication: Option<MutualAuthentication>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
    default_actions: Vec<Action>,
    rules: Vec<Rule>,
}

impl From<ListenerJson> for Listener {
    fn from(json: ListenerJson) -> Self {
        let (defaults, rules): (Vec<_>, Vec<_>) =
            json.rules.into_iter().partition(|r| r.priority == super::Priority::Default);
        let default_rule = defaults.into_iter().next();
        let default_rule_arn = default_rule.as_ref().map(|r| r.rule_arn.clone()).filter(|a| !a.is_empty());
        let (actions, default_transforms) =
            default_rule.map(|r| (r.actions, r.transforms)).unwrap_or_default();
        let default_actions = if json.default_actions.is_empty() { actions } else { json.default_actions };
        Listener {
            listener_arn: json.listener_arn,
            port: json.port,
            protocol: json.protocol,
            ssl_policy: json.ssl_policy,
            certificates: json.certificates,
            mutual_authentication: json.mutual_authentication,
            attributes: json.attributes,
            tags: json.tags,
            default_actions,
            default_transforms,
            default_rule_arn,
            rules,
        }
    }
}

impl From<Listener> for ListenerJson {
    fn from(listener: Listener) -> Self {
        let mut rules = listener.rules;
        rules.push(Rule {
            rule_arn: listener.default_rule_arn.unwrap_or_default(),
            priority: super::Priority::Default,
            conditions: Vec::new(),
            actions: listener.default_actions.clone(),
            transforms: listener.default_transforms,
            tags: Vec::new(),
        });
        ListenerJson {
            listener_arn: listener.listener_arn,
            port: listener.port,
            protocol: listener.protocol,
            ssl_policy: listener.ssl_policy,
            certificates: listener.certificates,
            mutual_authentication: listener.mutual_authentication,
            attributes: listener.attributes,
            tags: listener.tags,
            default_actions: listener.default_actions,
            rules,
        }
    }
}

/// The protocol of a listener, a target group or a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Plain HTTP.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
}

impl Protocol {
    /// AWS's spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP",
            Protocol::Https => "HTTPS",
        }
    }

    /// As in a URL.
    pub const fn scheme(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Https => "https",
        }
    }
}

/// A certificate of an HTTPS listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Certificate {
    /// The ARN.
    pub certificate_arn: String,
    /// Whether it is the one for clients without a matching SNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_default: Option<bool>,
}

/// Mutual TLS of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MutualAuthentication {
    /// `off`, `passthrough` or `verify`.
    pub mode: String,
    /// The trust store that client certificates are verified against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust_store_arn: Option<String>,
    /// Whether expired client certificates pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_client_certificate_expiry: Option<bool>,
    /// `on` or `off`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advertise_trust_store_ca_names: Option<String>,
}
