//! What the ELBv2 API would refuse, in its own error names (spec: dataplane §1.2–§1.4, §1.8, §2).
//! Collects everything; nothing here changes what a model decides.

use std::collections::{HashMap, HashSet};

use super::attributes::MAX_STICKINESS_S;
use crate::error::{Code, Diagnostic};
use crate::matcher::{Case, Regex, RegexError, Rewrite};
use crate::model::{
    Action, ActionConfig, FixedResponseConfig, ForwardConfig, Listener, Model, Priority, Protocol,
    ProtocolVersion, RedirectConfig, Rule, RuleCondition, RuleTransform, TargetGroup, attribute,
};

/// Everything that the ELBv2 API would refuse in `model`; empty where it would accept it.
///
/// ```
/// let model: podway::model::Model = serde_json::from_str(r#"{"LoadBalancers": [{"Listeners": [{"Port": 80,
///     "DefaultActions": [{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "302"}}]}]}]}"#).unwrap();
/// assert_eq!(podway::validate(&model)[0].code, podway::Code::ValidationError);
/// ```
pub fn validate(model: &Model) -> Vec<Diagnostic> {
    let mut check = Check {
        groups: model.target_groups.iter().map(|g| (g.target_group_arn.as_str(), g)).collect(),
        found: Vec::new(),
        object: String::new(),
    };
    for balancer in &model.load_balancers {
        let mut ports = HashSet::new();
        for listener in &balancer.listeners {
            check.object = format!("listener {}:{}", balancer.load_balancer_name, listener.port);
            if !ports.insert(listener.port) {
                check.refuse(Code::DuplicateListener, format!("two listeners on port {}", listener.port));
            }
            check.listener(listener);
        }
    }
    for group in &model.target_groups {
        check.object = format!("target group {}", group.target_group_name);
        check.group(group);
    }
    check.found
}

struct Check<'m> {
    groups: HashMap<&'m str, &'m TargetGroup>,
    found: Vec<Diagnostic>,
    object: String,
}

/// Wildcards in all conditions of a rule (K-21: AWS's pages say 5 and 6).
const WILDCARDS: usize = 6;

impl Check<'_> {
    fn refuse(&mut self, code: Code, message: impl Into<String>) {
        self.found.push(Diagnostic::error(code, message).object(self.object.clone()));
    }

    fn invalid(&mut self, message: impl Into<String>) {
        self.refuse(Code::ValidationError, message);
    }

    fn listener(&mut self, listener: &Listener) {
        let place = self.object.clone();
        self.actions(listener, &listener.default_actions);
        let mut priorities = HashSet::new();
        for rule in &listener.rules {
            self.object = format!("{place} rule {}", rule.priority);
            if !priorities.insert(rule.priority) {
                self.refuse(Code::PriorityInUse, format!("priority is in use: {}", rule.priority));
            }
            self.rule(rule);
            self.actions(listener, &rule.actions);
        }
        self.object = place;
    }

    fn rule(&mut self, rule: &Rule) {
        match rule.priority {
            Priority::Rule(1..=50_000) => {}
            Priority::Rule(n) => self.invalid(format!("priority {n} is outside 1 to 50000")),
            Priority::Default => self.refuse(
                Code::OperationNotPermitted,
                "the default rule cannot have conditions or a place of its own",
            ),
        }
        if rule.conditions.is_empty() {
            self.invalid("A condition must be specified");
        }
        let mut once = HashSet::new();
        let (mut evaluations, mut wildcards) = (0, 0);
        for condition in &rule.conditions {
            let repeatable =
                matches!(condition, RuleCondition::HttpHeader { .. } | RuleCondition::QueryString { .. });
            if !repeatable && !once.insert(condition.field()) {
                self.invalid(format!("a rule can have one '{}' condition", condition.field()));
            }
            let (values, stars) = self.condition(condition);
            evaluations += values;
            wildcards += stars;
        }
        if evaluations > 5 {
            self.invalid(format!("the rule has {evaluations} condition values; the limit is '5'"));
        }
        if wildcards > WILDCARDS {
            self.invalid(format!("the rule has {wildcards} wildcards; the limit is '{WILDCARDS}'"));
        }
        let mut kinds = HashSet::new();
        for transform in &rule.transforms {
            let (kind, rewrites) = match transform {
                RuleTransform::HostHeaderRewrite { rewrites } => ("host-header-rewrite", rewrites),
                RuleTransform::UrlRewrite { rewrites } => ("url-rewrite", rewrites),
            };
            if !kinds.insert(kind) {
                self.invalid(format!("a rule can have one '{kind}' transform"));
            }
            for r in rewrites {
                if r.regex.len() > 1024 || r.replace.len() > 1024 {
                    self.invalid("a rewrite's value is too long; the limit is '1024'");
                }
                if let Err(RegexError(why)) = Rewrite::new(&r.regex, &r.replace, 1 << 20) {
                    self.invalid(format!("the regex `{}` cannot be used: {why}", r.regex));
                }
            }
        }
    }

    /// Checks a condition; gives back how many values and how many wildcards it has.
    fn condition(&mut self, condition: &RuleCondition) -> (usize, usize) {
        let stars = |v: &str| v.bytes().filter(|b| matches!(b, b'*' | b'?')).count();
        match condition {
            RuleCondition::HostHeader { values, regex_values } => {
                self.values("host-header", values, regex_values);
                values.iter().for_each(|v| self.host(v));
                (values.len() + regex_values.len(), values.iter().map(|v| stars(v)).sum())
            }
            RuleCondition::PathPattern { values, regex_values } => {
                self.values("path-pattern", values, regex_values);
                for v in values {
                    let fine = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&*?".contains(c);
                    if !v.chars().all(fine) {
                        self.invalid(format!("'{v}' contains a character that a path pattern cannot have"));
                    }
                }
                (values.len() + regex_values.len(), values.iter().map(|v| stars(v)).sum())
            }
            RuleCondition::HttpHeader { http_header_name, values, regex_values } => {
                self.header_name(http_header_name);
                self.values("http-header", values, regex_values);
                (values.len() + regex_values.len(), values.iter().map(|v| stars(v)).sum())
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
                        let literal = text.replace("\\*", "").replace("\\?", "");
                        wildcards += stars(&literal);
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
            if let Err(RegexError(why)) = Regex::new(regex, Case::Sensitive, false, 1 << 20) {
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

    fn actions(&mut self, listener: &Listener, actions: &[Action]) {
        let mut ordered: Vec<&Action> = actions.iter().collect();
        ordered.sort_by_key(|a| a.order);
        let first = |a: &Action| {
            matches!(
                a.config,
                ActionConfig::AuthenticateOidc(_)
                    | ActionConfig::AuthenticateCognito(_)
                    | ActionConfig::JwtValidation(_)
            )
        };
        let terminals = ordered.iter().filter(|a| !first(a)).count();
        if terminals != 1 || ordered.last().is_some_and(|a| first(a)) || ordered.is_empty() {
            self.refuse(
                Code::InvalidLoadBalancerAction,
                "one forward, redirect or fixed-response action must come last",
            );
        }
        if ordered.len() > 2 {
            self.refuse(Code::TooManyActions, format!("{} actions; the limit is '2'", ordered.len()));
        }
        for action in ordered {
            match &action.config {
                ActionConfig::Forward(config) => self.forward(listener, config),
                ActionConfig::Redirect(config) => self.redirect(listener, config),
                ActionConfig::FixedResponse(config) => self.fixed_response(config),
                _ if listener.protocol == Protocol::Http => self.refuse(
                    Code::InvalidLoadBalancerAction,
                    format!("a {} action needs an HTTPS listener", action.r#type()),
                ),
                _ => {}
            }
        }
    }

    fn forward(&mut self, listener: &Listener, config: &ForwardConfig) {
        let count = config.target_groups.len();
        if count == 0 {
            self.invalid("a forward action must have a target group");
        }
        if count > 5 {
            self.refuse(
                Code::TooManyActions,
                format!("{count} target groups in an action; the limit is '5'"),
            );
        }
        let sticky = config.target_group_stickiness_config.as_ref();
        let enabled = sticky.is_some_and(|s| s.enabled == Some(true));
        if enabled
            && !sticky
                .and_then(|s| s.duration_seconds)
                .is_some_and(|d| (1..=MAX_STICKINESS_S as i32).contains(&d))
        {
            self.invalid(format!("'DurationSeconds' must be between '1-{MAX_STICKINESS_S}' inclusive"));
        }
        for tuple in &config.target_groups {
            if tuple.weight.is_some_and(|w| !(0..=999).contains(&w)) {
                self.invalid("a weight must be between '0-999' inclusive");
            }
            let Some(group) = self.groups.get(tuple.target_group_arn.as_str()).copied() else {
                self.refuse(
                    Code::TargetGroupNotFound,
                    format!("target group `{}` is not there", tuple.target_group_arn),
                );
                continue;
            };
            if group.protocol_version == ProtocolVersion::Grpc && listener.protocol == Protocol::Http {
                self.refuse(
                    Code::InvalidLoadBalancerAction,
                    "Listener protocol 'HTTP' is not supported with a target group with the \
                     protocol-version 'GRPC'",
                );
            }
            if count > 1 && !enabled && attribute(&group.attributes, "stickiness.enabled") == Some("true") {
                self.refuse(
                    Code::InvalidLoadBalancerAction,
                    format!(
                        "target group stickiness must be enabled on the action: `{}` has stickiness on",
                        group.target_group_name
                    ),
                );
            }
        }
    }

    fn redirect(&mut self, listener: &Listener, config: &RedirectConfig) {
        if !matches!(config.status_code.as_str(), "HTTP_301" | "HTTP_302") {
            self.invalid(format!("'{}' is not a redirect status code", config.status_code));
        }
        let changed = |v: &Option<String>, default: &str| v.as_deref().is_some_and(|v| v != default);
        if !changed(&config.protocol, "#{protocol}")
            && !changed(&config.host, "#{host}")
            && !changed(&config.port, "#{port}")
            && !changed(&config.path, "/#{path}")
        {
            self.refuse(
                Code::InvalidLoadBalancerAction,
                "a redirect must change at least one of protocol, host, port and path",
            );
        }
        if listener.protocol == Protocol::Https && config.protocol.as_deref() == Some("HTTP") {
            self.refuse(Code::InvalidLoadBalancerAction, "HTTPS cannot be redirected to HTTP");
        }
        if config.path.as_deref().is_some_and(|p| !p.starts_with('/')) {
            self.invalid("a redirect path must start with '/'");
        }
        let port = config.port.as_deref().filter(|p| *p != "#{port}");
        if port.is_some_and(|p| !p.parse::<u16>().is_ok_and(|p| p > 0)) {
            self.invalid("a redirect port must be between '1-65535' inclusive or '#{port}'");
        }
        for (name, value) in [("Host", &config.host), ("Path", &config.path), ("Query", &config.query)] {
            if value.as_deref().is_some_and(|v| v.len() > 128) {
                self.invalid(format!("'{name}' value is too long; the limit is '128'"));
            }
        }
    }

    fn fixed_response(&mut self, config: &FixedResponseConfig) {
        let code: Option<u16> = config.status_code.parse().ok();
        if !code.is_some_and(|c| matches!(c, 200..=299 | 400..=599)) {
            self.invalid(format!("'{}' is not a fixed-response status code", config.status_code));
        }
        if config.message_body.as_deref().is_some_and(|b| b.len() > 1024) {
            self.invalid("'MessageBody' value is too long; the limit is '1024'");
        }
        const TYPES: [&str; 5] =
            ["text/plain", "text/css", "text/html", "application/javascript", "application/json"];
        if config.content_type.as_deref().is_some_and(|t| !TYPES.contains(&t)) {
            self.invalid("'ContentType' is none of the media types a fixed response can have");
        }
    }

    /// Attribute values and combinations (spec: dataplane §3.3, §4.3, §13.7).
    fn group(&mut self, group: &TargetGroup) {
        let value = |key: &str| attribute(&group.attributes, key);
        let algorithm = value("load_balancing.algorithm.type").unwrap_or("round_robin");
        let sticky = value("stickiness.enabled") == Some("true");
        let slow = value("slow_start.duration_seconds").is_some_and(|v| v != "0");
        let mut wrong: Vec<String> = Vec::new();
        if slow && algorithm != "round_robin" {
            wrong.push(format!("slow start cannot be combined with the algorithm {algorithm}"));
        }
        if sticky && algorithm == "weighted_random" {
            wrong.push("stickiness cannot be combined with the algorithm weighted_random".into());
        }
        if sticky && value("load_balancing.cross_zone.enabled") == Some("false") {
            wrong.push("stickiness needs cross-zone load balancing".into());
        }
        if sticky && value("stickiness.type") == Some("app_cookie") {
            let name = value("stickiness.app_cookie.cookie_name").unwrap_or_default();
            if name.is_empty() {
                wrong.push("an application cookie name must be set".into());
            }
            if name.starts_with("AWSALB") {
                wrong.push(format!("the application cookie name `{name}` has a reserved prefix"));
            }
        }
        for message in wrong {
            self.refuse(Code::InvalidConfigurationRequest, message);
        }
        let ranges = [
            ("deregistration_delay.timeout_seconds", 0, 3600),
            ("stickiness.lb_cookie.duration_seconds", 1, MAX_STICKINESS_S),
            ("stickiness.app_cookie.duration_seconds", 1, MAX_STICKINESS_S),
            ("slow_start.duration_seconds", 0, 900),
        ];
        for (key, low, high) in ranges {
            if value(key).is_some_and(|v| !v.parse::<u32>().is_ok_and(|n| (low..=high).contains(&n))) {
                self.invalid(format!("'{key}' must be between '{low}-{high}' inclusive"));
            }
        }
    }
}
