//! Conditions as the ELBv2 API takes them (spec: dataplane §1.3–§1.5, §1.7).

use std::collections::HashSet;

use super::Check;
use crate::error::Code;
use crate::matcher::{Case, Regex, RegexError};
use crate::model::RuleCondition;

/// Values of all conditions of a rule.
const EVALUATIONS: usize = 5;

/// Wildcards of a rule that all of AWS's pages allow (K-21).
const WILDCARDS: usize = 5;

impl Check<'_> {
    /// The conditions of a rule, one by one and summed up.
    pub(super) fn conditions(&mut self, conditions: &[RuleCondition]) {
        if conditions.is_empty() {
            self.invalid("A condition must be specified");
        }
        let mut once = HashSet::new();
        let (mut evaluations, mut wildcards) = (0, 0);
        for condition in conditions {
            let repeatable =
                matches!(condition, RuleCondition::HttpHeader { .. } | RuleCondition::QueryString { .. });
            if !repeatable && !once.insert(condition.field()) {
                self.invalid(format!("a rule can have one '{}' condition", condition.field()));
            }
            let (values, stars) = self.condition(condition);
            evaluations += values;
            wildcards += stars;
        }
        if evaluations > EVALUATIONS {
            self.invalid(format!(
                "the rule has {evaluations} condition values; the limit is '{EVALUATIONS}'"
            ));
        }
        let limit = self.options.wildcards_per_rule;
        if wildcards > limit {
            self.invalid(format!("the rule has {wildcards} wildcards; the limit is '{limit}'"));
        } else if wildcards > WILDCARDS {
            self.warn(
                Code::W_QUOTA,
                format!("the rule has {wildcards} wildcards; AWS's pages disagree on whether {WILDCARDS} is the limit"),
            );
        }
    }

    /// Checks a condition; gives back how many values and how many wildcards it has.
    fn condition(&mut self, condition: &RuleCondition) -> (usize, usize) {
        let stars = |v: &String| v.bytes().filter(|b| matches!(b, b'*' | b'?')).count();
        match condition {
            RuleCondition::HostHeader { values, regex_values } => {
                self.values("host-header", values, regex_values);
                values.iter().for_each(|v| self.host(v));
                (values.len() + regex_values.len(), values.iter().map(stars).sum())
            }
            RuleCondition::PathPattern { values, regex_values } => {
                self.values("path-pattern", values, regex_values);
                for v in values {
                    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c);
                    if !v.chars().all(fine) {
                        self.invalid(format!("'{v}' contains a character that a path pattern cannot have"));
                    }
                }
                (values.len() + regex_values.len(), values.iter().map(stars).sum())
            }
            RuleCondition::HttpHeader { http_header_name, values, regex_values } => {
                self.header_name(http_header_name);
                self.values("http-header", values, regex_values);
                values.iter().for_each(|v| self.visible("http-header", v));
                (values.len() + regex_values.len(), values.iter().map(stars).sum())
            }
            RuleCondition::HttpRequestMethod { values } => {
                self.values("http-request-method", values, &[]);
                for v in values {
                    if !v.chars().all(|c| c.is_ascii_uppercase() || c == '-' || c == '_') {
                        self.invalid(format!(
                            "'{v}' is not a method: the allowed characters are A-Z, hyphen and underscore"
                        ));
                    }
                    if v.len() > 40 {
                        self.invalid("the method value is too long; the limit is '40'");
                    }
                }
                (values.len(), 0)
            }
            RuleCondition::QueryString { values } => {
                if values.is_empty() {
                    self.invalid("A condition value must be specified");
                }
                if values.len() > 3 {
                    self.too_many("query-string", values.len(), 3);
                }
                let mut wildcards = 0;
                for pair in values {
                    let value = pair.value.as_deref().unwrap_or_default();
                    if value.is_empty() {
                        self.invalid("A 'Value' must be specified in 'QueryStringKeyValuePair'");
                    }
                    for text in [pair.key.as_deref().unwrap_or_default(), value] {
                        if text.len() > 128 {
                            self.invalid("the query-string value is too long; the limit is '128'");
                        }
                        self.visible("query-string", text);
                        wildcards += unescaped_wildcards(text);
                    }
                }
                (values.len(), wildcards)
            }
            RuleCondition::SourceIp { values } => {
                if values.is_empty() {
                    self.invalid("A 'source-ip' value must be specified");
                }
                if values.len() > 5 {
                    self.too_many("source-ip", values.len(), 5);
                }
                for v in values {
                    if v.parse::<ipnet::IpNet>().is_err() || v == "255.255.255.255/32" {
                        self.invalid(format!("'{v}' is not a CIDR block that a rule can have"));
                    }
                }
                (values.len(), 0)
            }
        }
    }

    fn too_many(&mut self, field: &str, values: usize, limit: usize) {
        self.invalid(format!("'{field}' contains too many values ({values}); the limit is '{limit}'"));
    }

    fn values(&mut self, field: &'static str, values: &[String], regexes: &[String]) {
        match (values.is_empty(), regexes.is_empty()) {
            (true, true) => self.invalid("A condition value must be specified"),
            (false, false) => {
                self.invalid(format!("You cannot provide both Values and RegexValues for '{field}'"));
            }
            _ => {}
        }
        if values.len() + regexes.len() > 3 {
            self.too_many(field, values.len() + regexes.len(), 3);
        }
        if values.iter().chain(regexes).any(|v| v.len() > 128) {
            self.invalid(format!("'{field}' value is too long; the limit is '128'"));
        }
        if values.iter().any(String::is_empty) && field != "http-header" {
            self.invalid("A condition value must be specified");
        }
        for regex in regexes {
            let limit = self.options.regex_size_limit;
            if let Err(RegexError(why)) = Regex::new(regex, Case::Sensitive, false, limit) {
                self.invalid(format!("the regex `{regex}` cannot be used: {why}"));
            }
        }
    }

    fn host(&mut self, value: &str) {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-._*?".contains(c);
        let last = value.rsplit('.').next().unwrap_or_default();
        let shaped = value.contains('.') && !last.is_empty() && last.chars().all(|c| c.is_ascii_alphabetic());
        if !value.chars().all(fine) || !shaped {
            self.invalid(format!(
                "'{value}' is not a host pattern: at least one '.', and only letters after the last one"
            ));
        }
    }

    /// Conditions match visible ASCII only (spec: dataplane §1.4).
    fn visible(&mut self, field: &str, value: &str) {
        if !value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            self.invalid(format!("'{field}' value has a character that is not visible ASCII"));
        }
    }

    fn header_name(&mut self, name: &str) {
        if name.is_empty() {
            self.invalid("'HttpHeaderName' must be specified");
        }
        if name.len() > 40 {
            self.invalid("'HttpHeaderName' value is too long; the limit is '40'");
        }
        if name.eq_ignore_ascii_case("host") {
            self.invalid("'HttpHeaderName' cannot be Host; use a 'host-header' condition");
        }
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'+-.^_`|~".contains(c);
        if !name.chars().all(token) {
            self.invalid(format!("'{name}' is not a header name; wildcards are not allowed"));
        }
    }
}

/// Wildcards of a query string's text that no backslash makes literal.
fn unescaped_wildcards(text: &str) -> usize {
    let (mut count, mut escaped) = (0, false);
    for byte in text.bytes() {
        count += usize::from(!escaped && matches!(byte, b'*' | b'?'));
        escaped = !escaped && byte == b'\\';
    }
    count
}

#[cfg(test)]
mod tests {
    use super::unescaped_wildcards;

    #[test]
    fn an_escaped_wildcard_is_none() {
        assert_eq!(unescaped_wildcards(r"a*b?"), 2);
        assert_eq!(unescaped_wildcards(r"a\*b\?"), 0);
        assert_eq!(unescaped_wildcards(r"a\\*"), 1, "the backslash itself is escaped");
    }
}
