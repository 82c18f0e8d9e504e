//! Actions and transforms as the ELBv2 API takes them (spec: dataplane §2).

use std::collections::{BTreeMap, HashSet};

use super::Check;
use crate::compile::attributes::MAX_STICKINESS_S;
use crate::error::Code;
use crate::matcher::{RegexError, Rewrite};
use crate::model::{
    Action, ActionConfig, FixedResponseConfig, ForwardConfig, JwtValidationConfig, Listener, Protocol,
    ProtocolVersion, RedirectConfig, RuleTransform, attribute,
};

/// The placeholders that a part of a redirect may hold (spec: dataplane §2.3).
const PLACEHOLDERS: [(&str, &[&str]); 3] = [
    ("Host", &["#{host}"]),
    ("Path", &["#{host}", "#{port}", "#{path}"]),
    ("Query", &["#{protocol}", "#{host}", "#{port}", "#{path}", "#{query}"]),
];

impl Check<'_> {
    pub(super) fn actions(&mut self, listener: &Listener, actions: &[Action]) {
        let mut ordered: Vec<&Action> = actions.iter().collect();
        ordered.sort_by_key(|a| a.order);
        self.orders(&ordered);
        let terminals = ordered.iter().filter(|a| !goes_first(a)).count();
        if terminals != 1 || ordered.last().is_some_and(|a| goes_first(a)) {
            self.refuse(
                Code::InvalidLoadBalancerAction,
                "one forward, redirect or fixed-response action must come last",
            );
        }
        if ordered.len() > 2 {
            self.refuse(Code::TooManyActions, format!("{} actions; the limit is '2'", ordered.len()));
        }
        for action in &ordered {
            if goes_first(action) && listener.protocol == Protocol::Http {
                self.refuse(
                    Code::InvalidLoadBalancerAction,
                    format!("a {} action needs an HTTPS listener", action.r#type()),
                );
            }
            match &action.config {
                ActionConfig::Forward(config) => self.forward(listener, config, ordered.len() > 1),
                ActionConfig::Redirect(config) => self.redirect(listener, config),
                ActionConfig::FixedResponse(config) => self.fixed_response(config),
                ActionConfig::AuthenticateOidc(c) => self.login(
                    c.session_timeout,
                    &c.authentication_request_extra_params,
                    c.on_unauthenticated_request.as_deref(),
                ),
                ActionConfig::AuthenticateCognito(c) => self.login(
                    c.session_timeout,
                    &c.authentication_request_extra_params,
                    c.on_unauthenticated_request.as_deref(),
                ),
                ActionConfig::JwtValidation(config) => self.jwt(config),
            }
        }
    }

    /// Several actions need an order of their own each.
    fn orders(&mut self, actions: &[&Action]) {
        let given: Vec<i32> = actions.iter().filter_map(|a| a.order).collect();
        if given.iter().any(|order| !(1..=50_000).contains(order)) {
            self.invalid("'Order' must be between '1-50000' inclusive");
        }
        let distinct: HashSet<i32> = given.iter().copied().collect();
        if actions.len() > 1 && distinct.len() < actions.len() {
            self.invalid("each of several actions needs an 'Order' of its own");
        }
    }

    fn forward(&mut self, listener: &Listener, config: &ForwardConfig, others: bool) {
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
        let duration = sticky.and_then(|s| s.duration_seconds);
        if enabled && !duration.is_some_and(|d| (1..=MAX_STICKINESS_S as i32).contains(&d)) {
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
            let version = group.protocol_version.as_str();
            if group.protocol_version != ProtocolVersion::Http1 && listener.protocol == Protocol::Http {
                self.refuse(
                    Code::InvalidLoadBalancerAction,
                    format!(
                        "Listener protocol 'HTTP' is not supported with a target group with the \
                         protocol-version '{version}'"
                    ),
                );
            }
            if group.protocol_version != ProtocolVersion::Http1 && others {
                self.refuse(
                    Code::InvalidLoadBalancerAction,
                    format!(
                        "a target group with the protocol-version '{version}' takes forward actions only"
                    ),
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
        match config.protocol.as_deref() {
            None | Some("#{protocol}" | "HTTPS") => {}
            Some("HTTP") if listener.protocol == Protocol::Http => {}
            Some("HTTP") => {
                self.refuse(Code::InvalidLoadBalancerAction, "HTTPS cannot be redirected to HTTP");
            }
            Some(other) => self.invalid(format!("'{other}' is not a redirect protocol")),
        }
        if config.path.as_deref().is_some_and(|p| !p.starts_with('/')) {
            self.invalid("a redirect path must start with '/'");
        }
        if config.query.as_deref().is_some_and(|q| q.starts_with('?')) {
            self.invalid("a redirect query must not start with '?'");
        }
        let port = config.port.as_deref().filter(|p| *p != "#{port}");
        if port.is_some_and(|p| !p.parse::<u16>().is_ok_and(|p| p > 0)) {
            self.invalid("a redirect port must be between '1-65535' inclusive or '#{port}'");
        }
        let parts = [&config.host, &config.path, &config.query];
        for ((name, placeholders), value) in PLACEHOLDERS.into_iter().zip(parts) {
            let Some(value) = value.as_deref() else { continue };
            if value.len() > 128 {
                self.invalid(format!("'{name}' value is too long; the limit is '128'"));
            }
            let rest = placeholders.iter().fold(value.to_owned(), |text, p| text.replace(p, ""));
            if rest.contains("#{") {
                self.invalid(format!(
                    "'{name}' has a placeholder it cannot have; it can have {}",
                    placeholders.join(", ")
                ));
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

    /// authenticate-oidc and authenticate-cognito (spec: dataplane §2.5.1).
    fn login(
        &mut self,
        timeout: Option<i64>,
        extra: &BTreeMap<String, String>,
        unauthenticated: Option<&str>,
    ) {
        if timeout.is_some_and(|s| !(1..=i64::from(MAX_STICKINESS_S)).contains(&s)) {
            self.invalid(format!("'SessionTimeout' must be between '1-{MAX_STICKINESS_S}' inclusive"));
        }
        if extra.len() > 10 {
            self.invalid("'AuthenticationRequestExtraParams' contains too many values; the limit is '10'");
        }
        if unauthenticated.is_some_and(|u| !matches!(u, "deny" | "allow" | "authenticate")) {
            self.invalid("'OnUnauthenticatedRequest' must be one of '[deny,allow,authenticate]'");
        }
    }

    /// jwt-validation (spec: dataplane §2.5.2).
    fn jwt(&mut self, config: &JwtValidationConfig) {
        for (name, value) in [("JwksEndpoint", &config.jwks_endpoint), ("Issuer", &config.issuer)] {
            if value.is_empty() || value.len() > 256 {
                self.invalid(format!("'{name}' must have 1 to 256 characters"));
            }
        }
        if config.additional_claims.len() > 10 {
            self.invalid("'AdditionalClaims' contains too many values; the limit is '10'");
        }
        for claim in &config.additional_claims {
            if !matches!(claim.format.as_str(), "single-string" | "string-array" | "space-separated-values") {
                self.invalid(
                    "a claim's 'Format' must be one of '[single-string,string-array,space-separated-values]'",
                );
            }
            if claim.name.is_empty() || matches!(claim.name.as_str(), "exp" | "iss" | "nbf" | "iat") {
                self.invalid(format!("'{}' cannot be the name of an additional claim", claim.name));
            }
            if claim.values.is_empty()
                || claim.values.len() > 10
                || claim.values.iter().any(|v| v.len() > 256)
            {
                self.invalid("a claim must have 1 to 10 values of at most 256 characters");
            }
        }
    }

    /// The transforms of a rule (spec: dataplane §2.6).
    pub(super) fn transforms(&mut self, transforms: &[RuleTransform]) {
        let mut kinds = HashSet::new();
        for transform in transforms {
            let (kind, rewrites) = match transform {
                RuleTransform::HostHeaderRewrite { rewrites } => ("host-header-rewrite", rewrites),
                RuleTransform::UrlRewrite { rewrites } => ("url-rewrite", rewrites),
            };
            if !kinds.insert(kind) {
                self.invalid(format!("a rule can have one '{kind}' transform"));
            }
            if rewrites.is_empty() {
                self.invalid(format!("a '{kind}' transform must have a rewrite"));
            }
            for rewrite in rewrites {
                if rewrite.regex.len() > 1024 || rewrite.replace.len() > 1024 {
                    self.invalid("a rewrite's value is too long; the limit is '1024'");
                }
                match Rewrite::new(&rewrite.regex, &rewrite.replace, self.options.regex_size_limit) {
                    Err(RegexError(why)) => {
                        self.invalid(format!("the regex `{}` cannot be used: {why}", rewrite.regex));
                    }
                    Ok(compiled) => {
                        if let Some(group) = compiled.missing_group() {
                            self.invalid(format!(
                                "the replacement `{}` refers to group {group}, which the regex `{}` does not have",
                                rewrite.replace, rewrite.regex
                            ));
                        }
                    }
                }
            }
        }
    }
}

/// Whether an action is one that another has to follow.
fn goes_first(action: &Action) -> bool {
    matches!(
        action.config,
        ActionConfig::AuthenticateOidc(_)
            | ActionConfig::AuthenticateCognito(_)
            | ActionConfig::JwtValidation(_)
    )
}
