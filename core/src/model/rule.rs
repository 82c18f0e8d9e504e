//! Rules: priority, conditions, actions, transforms.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Action, RuleCondition, Tag};

/// A rule of a listener (spec: dataplane §1.2, §13.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "RuleJson", into = "RuleJson")]
pub struct Rule {
    /// The ARN, empty where the input has none.
    pub rule_arn: String,
    /// The place in the order; unique in a listener.
    pub priority: Priority,
    /// All of them must hold.
    pub conditions: Vec<RuleCondition>,
    /// An optional authentication, then one of forward, redirect and fixed-response.
    pub actions: Vec<Action>,
    /// Rewrites of what is sent to the target.
    pub transforms: Vec<RuleTransform>,
    /// Tags that were set.
    pub tags: Vec<Tag>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RuleJson {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rule_arn: String,
    priority: Priority,
    #[serde(default)]
    is_default: bool,
    #[serde(default)]
    conditions: Vec<RuleCondition>,
    actions: Vec<Action>,
    #[serde(default)]
    transforms: Vec<RuleTransform>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<Tag>,
}

impl From<RuleJson> for Rule {
    fn from(json: RuleJson) -> Self {
        Rule {
            rule_arn: json.rule_arn,
            priority: if json.is_default { Priority::Default } else { json.priority },
            conditions: json.conditions,
            actions: json.actions,
            transforms: json.transforms,
            tags: json.tags,
        }
    }
}

impl From<Rule> for RuleJson {
    fn from(rule: Rule) -> Self {
        RuleJson {
            rule_arn: rule.rule_arn,
            is_default: rule.priority == Priority::Default,
            priority: rule.priority,
            conditions: rule.conditions,
            actions: rule.actions,
            transforms: rule.transforms,
            tags: rule.tags,
        }
    }
}

/// The place of a rule in its listener's order. The lowest number is evaluated first, the default rule
/// last. In JSON it is text: `"10"`, `"default"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// 1 to 50000 where the API made it; any number is kept as it was read.
    Rule(u32),
    /// The default rule.
    Default,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Priority::Rule(n) => write!(f, "{n}"),
            Priority::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Priority {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum TextOrNumber {
            Number(u32),
            Text(String),
        }
        match TextOrNumber::deserialize(d)? {
            TextOrNumber::Number(n) => Ok(Priority::Rule(n)),
            TextOrNumber::Text(t) if t == "default" => Ok(Priority::Default),
            TextOrNumber::Text(t) => t.parse().map(Priority::Rule).map_err(|_| {
                serde::de::Error::custom(format!("priority `{t}` is neither a number nor `default`"))
            }),
        }
    }
}

/// A rewrite of the request that goes to the target (spec: dataplane §2.6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "Type")]
pub enum RuleTransform {
    /// Rewrites the Host header.
    #[serde(rename = "host-header-rewrite")]
    HostHeaderRewrite {
        /// The rewrites.
        #[serde(rename = "HostHeaderRewriteConfig", with = "rewrite_config")]
        rewrites: Vec<Rewrite>,
    },
    /// Rewrites path and query.
    #[serde(rename = "url-rewrite")]
    UrlRewrite {
        /// The rewrites.
        #[serde(rename = "UrlRewriteConfig", with = "rewrite_config")]
        rewrites: Vec<Rewrite>,
    },
}

/// A regular expression and what stands in place of its match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rewrite {
    /// The expression.
    pub regex: String,
    /// The replacement; `$1` refers to a capture group.
    pub replace: String,
}

mod rewrite_config {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Rewrite;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config<T> {
        rewrites: T,
    }

    pub(super) fn serialize<S: Serializer>(rewrites: &[Rewrite], s: S) -> Result<S::Ok, S::Error> {
        Config { rewrites }.serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Rewrite>, D::Error> {
        Config::<Vec<Rewrite>>::deserialize(d).map(|c| c.rewrites)
    }
}
