//! Rule conditions.

use serde::{Deserialize, Serialize};

/// One condition of a rule; its values are alternatives (spec: dataplane §1.3, §1.5).
///
/// Of `values` and `regex_values` the API accepts one; both are kept as read so that validation can say
/// what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ConditionJson", into = "ConditionJson")]
pub enum RuleCondition {
    /// The Host header, case-insensitive globs.
    HostHeader {
        /// Globs.
        values: Vec<String>,
        /// Regular expressions.
        regex_values: Vec<String>,
    },
    /// The path without the query, case-sensitive globs.
    PathPattern {
        /// Globs.
        values: Vec<String>,
        /// Regular expressions.
        regex_values: Vec<String>,
    },
    /// Any header but Host, case-insensitive globs.
    HttpHeader {
        /// The header's name.
        http_header_name: String,
        /// Globs.
        values: Vec<String>,
        /// Regular expressions.
        regex_values: Vec<String>,
    },
    /// The method, exact and case-sensitive.
    HttpRequestMethod {
        /// Methods.
        values: Vec<String>,
    },
    /// Pairs of the query string, case-insensitive globs.
    QueryString {
        /// Pairs.
        values: Vec<QueryStringKeyValue>,
    },
    /// The address of the TCP peer.
    SourceIp {
        /// CIDR blocks.
        values: Vec<String>,
    },
}

impl RuleCondition {
    /// The name of the field as the API spells it.
    pub const fn field(&self) -> &'static str {
        match self {
            RuleCondition::HostHeader { .. } => "host-header",
            RuleCondition::PathPattern { .. } => "path-pattern",
            RuleCondition::HttpHeader { .. } => "http-header",
            RuleCondition::HttpRequestMethod { .. } => "http-request-method",
            RuleCondition::QueryString { .. } => "query-string",
            RuleCondition::SourceIp { .. } => "source-ip",
        }
    }
}

/// A pair of a query string condition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryStringKeyValue {
    /// The key; without it every key qualifies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The value; the API insists on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ConditionJson {
    field: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    regex_values: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_header_config: Option<ValuesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_pattern_config: Option<ValuesJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_header_config: Option<HeaderJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http_request_method_config: Option<PlainJson<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_string_config: Option<PlainJson<QueryStringKeyValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_ip_config: Option<PlainJson<String>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ValuesJson {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regex_values: Vec<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HeaderJson {
    http_header_name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    regex_values: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PlainJson<T> {
    #[serde(default = "Vec::new")]
    values: Vec<T>,
}

impl TryFrom<ConditionJson> for RuleCondition {
    type Error = String;

    fn try_from(json: ConditionJson) -> Result<Self, String> {
        let legacy = |config: Option<ValuesJson>, values: Option<Vec<String>>, regex: Option<Vec<String>>| {
            // A describe call echoes the values at the top level and in the config.
            config.unwrap_or(ValuesJson {
                values: values.unwrap_or_default(),
                regex_values: regex.unwrap_or_default(),
            })
        };
        let regexes = json.regex_values.as_ref().is_some_and(|r| !r.is_empty());
        if regexes && !matches!(json.field.as_str(), "host-header" | "path-pattern" | "http-header") {
            return Err(format!("a `{}` condition cannot have RegexValues", json.field));
        }
        Ok(match json.field.as_str() {
            "host-header" => {
                let c = legacy(json.host_header_config, json.values, json.regex_values);
                RuleCondition::HostHeader { values: c.values, regex_values: c.regex_values }
            }
            "path-pattern" => {
                let c = legacy(json.path_pattern_config, json.values, json.regex_values);
                RuleCondition::PathPattern { values: c.values, regex_values: c.regex_values }
            }
            "http-header" => {
                let c = json.http_header_config.unwrap_or_default();
                RuleCondition::HttpHeader {
                    http_header_name: c.http_header_name,
                    values: c.values,
                    regex_values: c.regex_values,
                }
            }
            "http-request-method" => RuleCondition::HttpRequestMethod {
                values: json.http_request_method_config.map(|c| c.values).unwrap_or_default(),
            },
            "query-string" => RuleCondition::QueryString {
                values: json.query_string_config.map(|c| c.values).unwrap_or_default(),
            },
            "source-ip" => RuleCondition::SourceIp {
                values: json.source_ip_config.map(|c| c.values).unwrap_or_default(),
            },
            other => {
                return Err(format!(
                    "condition field `{other}` must be one of '[path-pattern,host-header,http-header,\
                     http-request-method,query-string,source-ip]'"
                ));
            }
        })
    }
}

impl From<RuleCondition> for ConditionJson {
    fn from(condition: RuleCondition) -> Self {
        let mut json = ConditionJson { field: condition.field().to_owned(), ..ConditionJson::default() };
        match condition {
            RuleCondition::HostHeader { values, regex_values } => {
                json.host_header_config = Some(ValuesJson { values, regex_values });
            }
            RuleCondition::PathPattern { values, regex_values } => {
                json.path_pattern_config = Some(ValuesJson { values, regex_values });
            }
            RuleCondition::HttpHeader { http_header_name, values, regex_values } => {
                json.http_header_config = Some(HeaderJson { http_header_name, values, regex_values });
            }
            RuleCondition::HttpRequestMethod { values } => {
                json.http_request_method_config = Some(PlainJson { values });
            }
            RuleCondition::QueryString { values } => json.query_string_config = Some(PlainJson { values }),
            RuleCondition::SourceIp { values } => json.source_ip_config = Some(PlainJson { values }),
        }
        json
    }
}
