//! What a whole group says and its author hardly means: paths that a redirect hides, rules that never match,
//! redirects to nowhere, quotas that AWS enforces.

use std::collections::BTreeMap;

use super::super::annotations::PREFIX;
use super::super::build::Built;
use super::super::group::{Group, Member};
use super::super::listener::Port;
use super::super::{Origin, Settings};
use super::shadow::shadowed;
use crate::error::{Code, Diagnostic};
use crate::model::{ActionConfig, Listener, Priority, Protocol, Rule, RuleCondition};

/// Warnings about a group that was built.
pub(in super::super) fn group(
    group: &Group<'_>,
    ports: &BTreeMap<u16, Port>,
    redirect: Option<u16>,
    built: &Built,
    settings: &Settings,
) -> Vec<Diagnostic> {
    let review = Review { group, ports, built, settings };
    let mut told = Vec::new();
    if redirect.is_some() {
        review.hidden(&mut told);
    }
    review.missing_listeners(&mut told);
    review.shadowed(&mut told);
    review.redirects(&mut told);
    review.quotas(&mut told);
    told
}

struct Review<'a> {
    group: &'a Group<'a>,
    ports: &'a BTreeMap<u16, Port>,
    built: &'a Built,
    settings: &'a Settings,
}

impl Review<'_> {
    fn listeners(&self) -> &[Listener] {
        &self.built.load_balancer.listeners
    }

    fn origin(&self, port: u16, rule: &Rule) -> Option<&Origin> {
        let Priority::Rule(priority) = rule.priority else { return None };
        self.built.provenance.rule(&self.built.load_balancer.load_balancer_arn, port, priority)
    }

    fn about(&self, origin: Option<&Origin>, code: Code, message: String) -> Diagnostic {
        let said = Diagnostic::warning(code, message);
        match (origin, self.group.members.first()) {
            (Some(origin), _) => said.object(&origin.object).at(origin.location.clone()),
            (None, Some(first)) => said.object(first.object()).at(first.ingress.meta.at.location()),
            (None, None) => said,
        }
    }

    /// Members that listen on HTTP only, in a group whose HTTP listeners redirect (§4.7).
    fn hidden(&self, told: &mut Vec<Diagnostic>) {
        let members = &self.group.members;
        let asks =
            |m: &&Member<'_>| m.given("ssl-redirect", "sslRedirectPort", |p| &p.ssl_redirect_port).is_some();
        let who = members.iter().find(asks).map(Member::object).unwrap_or_default();
        for (i, member) in members.iter().enumerate() {
            let on = |protocol| self.ports.values().any(|p| p.protocol == protocol && p.members.contains(&i));
            let paths = || member.ingress.rules.iter().flat_map(|r| r.paths.iter().flatten());
            let (count, first) = (paths().count(), paths().next());
            let Some(first) = first.filter(|_| on(Protocol::Http) && !on(Protocol::Https)) else { continue };
            let which = match count {
                1 => format!("its path `{}` exists", first.path),
                _ => format!("its path `{}` and {} more exist", first.path, count - 1),
            };
            let message = format!(
                "{which} on no listener: {who} sets `ssl-redirect` for the whole group, and this Ingress listens on HTTP only"
            );
            let said = member.error_at("listen-ports", Code::W_SSL_REDIRECT_HIDES, message).into_warning();
            told.push(said.expected("an HTTPS port in its `listen-ports`"));
        }
    }

    /// `listener-attributes.HTTPS-443` where no such listener is (§4.8).
    fn missing_listeners(&self, told: &mut Vec<Diagnostic>) {
        for (i, member) in self.group.members.iter().enumerate() {
            for (key, value) in &member.ingress.meta.annotations {
                let Some(suffix) = key.strip_prefix(PREFIX) else { continue };
                let Some(listener) = suffix.strip_prefix("listener-attributes.") else { continue };
                let mine = |(number, port): (&u16, &Port)| {
                    port.members.contains(&i) && format!("{}-{number}", port.protocol.as_str()) == listener
                };
                if self.ports.iter().any(mine) {
                    continue;
                }
                let own = self.ports.iter().filter(|(_, p)| p.members.contains(&i));
                let own: Vec<String> =
                    own.map(|(n, p)| format!("`listener-attributes.{}-{n}`", p.protocol.as_str())).collect();
                let message =
                    format!("this Ingress has no listener `{listener}`: the annotation has no effect");
                let said =
                    Diagnostic::warning(Code::W_IGNORED, message).object(member.object()).annotation(key);
                told.push(said.expected(own.join(" or ")).at(value.at.location()));
            }
        }
    }

    fn shadowed(&self, told: &mut Vec<Diagnostic>) {
        // One path stands on several listeners; it is told once, with their ports.
        let mut found: BTreeMap<String, (Diagnostic, Vec<u16>)> = BTreeMap::new();
        for listener in self.listeners() {
            for (rule, by) in listener.rules.iter().zip(shadowed(&listener.rules)) {
                if by.is_empty() {
                    continue;
                }
                let origin = self.origin(listener.port, rule);
                let names: Vec<String> = by
                    .iter()
                    .filter_map(|i| listener.rules.get(*i))
                    .map(|r| match self.origin(listener.port, r) {
                        Some(o) => match &o.location {
                            Some(at) => format!("rule {} of {} at {at}", r.priority, o.object),
                            None => format!("rule {} of {}", r.priority, o.object),
                        },
                        None => format!("rule {}", r.priority),
                    })
                    .collect();
                let place = origin.map(|o| format!("{} {:?}", o.object, o.location)).unwrap_or_default();
                let entry = found.entry(place).or_insert_with(|| {
                    (self.about(origin, Code::W_RULE_SHADOWED, names.join(" and ")), Vec::new())
                });
                entry.1.push(listener.port);
            }
        }
        for (mut said, ports) in found.into_values() {
            let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
            said.message = format!(
                "no request reaches this path on port {}: {} takes it first",
                ports.join(" and "),
                said.message
            );
            told.push(said);
        }
    }

    /// Redirects to a port of the same host that no listener is on.
    fn redirects(&self, told: &mut Vec<Diagnostic>) {
        for listener in self.listeners() {
            let defaults = listener.default_actions.iter().map(|a| (None, a));
            let rules = listener.rules.iter().flat_map(|r| r.actions.iter().map(move |a| (Some(r), a)));
            for (rule, action) in defaults.chain(rules) {
                let ActionConfig::Redirect(config) = &action.config else { continue };
                if config.host.as_ref().is_some_and(|h| h != "#{host}") {
                    continue;
                }
                let port = match config.port.as_deref() {
                    None | Some("#{port}") => listener.port,
                    Some(text) => match text.parse() {
                        Ok(port) => port,
                        Err(_) => continue,
                    },
                };
                let protocol = match config.protocol.as_deref() {
                    Some("HTTP") => Protocol::Http,
                    Some("HTTPS") => Protocol::Https,
                    _ => listener.protocol,
                };
                let to = self.listeners().iter().find(|l| l.port == port);
                let why = match to {
                    None => format!("no listener is on port {port}"),
                    Some(l) if l.protocol != protocol => {
                        format!("the listener on port {port} speaks {}", l.protocol.as_str())
                    }
                    Some(_) => continue,
                };
                let message = format!("it redirects to {} on port {port}, and {why}", protocol.as_str());
                let said =
                    self.about(rule.and_then(|r| self.origin(listener.port, r)), Code::W_REDIRECT, message);
                if !told.contains(&said) {
                    told.push(said);
                }
            }
        }
    }

    fn quotas(&self, told: &mut Vec<Diagnostic>) {
        let quotas = &self.settings.quotas;
        let name = &self.built.load_balancer.load_balancer_name;
        let groups = &self.built.target_groups;
        let listeners = self.listeners();
        let targets: usize = groups.iter().map(|g| g.target_health_descriptions.len()).sum();
        let certificates: usize = listeners.iter().map(|l| l.certificates.len().saturating_sub(1)).sum();
        for (count, limit, what) in [
            (listeners.len(), quotas.listeners_per_load_balancer, "listeners"),
            (listeners.iter().map(|l| l.rules.len()).sum(), quotas.rules_per_load_balancer, "rules"),
            (groups.len(), quotas.target_groups_per_load_balancer, "target groups"),
            (targets, quotas.targets_per_load_balancer, "targets"),
            (certificates, quotas.certificates_per_load_balancer, "certificates beside the default ones"),
        ] {
            if count > limit {
                let message = format!("the load balancer `{name}` has {count} {what}");
                told.push(self.about(None, Code::W_QUOTA, message).expected(format!("at most {limit}")));
            }
        }
        for listener in listeners {
            for rule in &listener.rules {
                let (values, wildcards) =
                    rule.conditions.iter().map(weight).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
                let groups = rule.actions.iter().map(|a| match &a.config {
                    ActionConfig::Forward(config) => config.target_groups.len(),
                    _ => 0,
                });
                for (count, limit, what) in [
                    (values, quotas.condition_values_per_rule, "condition values"),
                    (wildcards, quotas.condition_wildcards_per_rule, "wildcards"),
                    (groups.max().unwrap_or(0), quotas.target_groups_per_action, "target groups"),
                ] {
                    if count > limit {
                        let origin = self.origin(listener.port, rule);
                        let said = self.about(origin, Code::W_QUOTA, format!("the rule has {count} {what}"));
                        let said = said.expected(format!("at most {limit}"));
                        if !told.contains(&said) {
                            told.push(said);
                        }
                    }
                }
            }
        }
    }
}

/// The values and wildcards of a condition.
fn weight(condition: &RuleCondition) -> (usize, usize) {
    let count = |values: &[String]| values.iter().map(|v| v.matches(['*', '?']).count()).sum::<usize>();
    match condition {
        RuleCondition::HostHeader { values, regex_values }
        | RuleCondition::PathPattern { values, regex_values }
        | RuleCondition::HttpHeader { values, regex_values, .. } => {
            (values.len() + regex_values.len(), count(values))
        }
        RuleCondition::HttpRequestMethod { values } | RuleCondition::SourceIp { values } => (values.len(), 0),
        RuleCondition::QueryString { values } => {
            let text = values.iter().flat_map(|v| v.key.iter().chain(&v.value)).cloned().collect::<Vec<_>>();
            (values.len(), count(&text))
        }
    }
}
