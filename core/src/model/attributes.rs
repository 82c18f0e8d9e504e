//! `{"Key": …, "Value": …}` lists: attributes and tags.

use serde::{Deserialize, Serialize};

/// An attribute of a load balancer, listener or target group. Values are always text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attribute {
    /// For example `stickiness.enabled`.
    pub key: String,
    /// For example `true`.
    #[serde(default)]
    pub value: String,
}

impl Attribute {
    /// An attribute from its two halves.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Attribute { key: key.into(), value: value.into() }
    }
}

/// A resource tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// The key.
    pub key: String,
    /// The value.
    #[serde(default)]
    pub value: String,
}

/// The value of `key` in an attribute list. Of repeated keys the last one counts.
pub fn attribute<'a>(attributes: &'a [Attribute], key: &str) -> Option<&'a str> {
    attributes.iter().rev().find(|a| a.key == key).map(|a| a.value.as_str())
}
