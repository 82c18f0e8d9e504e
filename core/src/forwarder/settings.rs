//! What the forwarder needs of the model and the router does not keep: attributes of load balancers and
//! listeners, the protocol of target groups. Read once per model (spec: dataplane §6.6, §6.10).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::metrics::{GroupMetrics, ListenerMetrics, Metrics};
use crate::decision::{GroupId, ListenerId};
use crate::model::{Attribute, Model, Priority, Protocol, ProtocolVersion, Rule, attribute};
use crate::router::Router;

/// Everything, as of one model.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// By id: ids are small and dense.
    listeners: Vec<Option<Arc<ListenerSettings>>>,
    groups: Vec<Option<GroupSettings>>,
}

/// A listener with the attributes of its load balancer.
#[derive(Clone, Debug)]
pub(crate) struct ListenerSettings {
    pub(crate) dns_name: String,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
    pub(crate) xff: XffMode,
    pub(crate) xff_client_port: bool,
    pub(crate) preserve_host: bool,
    pub(crate) drop_invalid: bool,
    pub(crate) http2: bool,
    pub(crate) desync: DesyncMode,
    pub(crate) waf_fail_open: bool,
    pub(crate) idle: Duration,
    /// How old a client's connection may become.
    pub(crate) client_keep_alive: Duration,
    /// Whether targets are told the TLS version and cipher suite.
    pub(crate) tls_headers: bool,
    /// What the headers about TLS and client certificates are called.
    pub(crate) names: TlsHeaderNames,
    pub(crate) mutual_tls: MutualTls,
    pub(crate) server_header: bool,
    pub(crate) insert: Vec<(HeaderName, HeaderValue)>,
    /// The address that connections to targets come from; `None` leaves it to the system.
    pub(crate) source: Option<IpAddr>,
    /// The load balancer as logs and metrics call it: `app/name/id`.
    pub(crate) name: String,
    /// For the metric RuleEvaluations.
    pub(crate) ranks: Ranks,
    pub(crate) metrics: Arc<ListenerMetrics>,
}

/// The order of a listener's rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranks {
    rules: usize,
    /// The priorities in order; empty where they are 1 to `rules`, as the controller numbers them.
    priorities: Vec<u32>,
}

impl Ranks {
    fn of(rules: &[Rule]) -> Self {
        let mut priorities: Vec<u32> = rules
            .iter()
            .filter_map(|r| match r.priority {
                Priority::Rule(n) => Some(n),
                Priority::Default => None,
            })
            .collect();
        priorities.sort_unstable();
        let rules = priorities.len();
        if priorities.iter().zip(1..).all(|(have, dense)| *have == dense) {
            priorities = Vec::new();
        }
        Ranks { rules, priorities }
    }

    /// How many rules were looked at until this one matched; the default rule is none (spec: dataplane §1.2).
    pub(crate) fn evaluated(&self, matched: Priority) -> usize {
        match matched {
            Priority::Default => self.rules,
            Priority::Rule(n) if self.priorities.is_empty() => usize::try_from(n).unwrap_or(usize::MAX),
            Priority::Rule(n) => self.priorities.partition_point(|p| *p <= n),
        }
    }
}

/// `routing.http.xff_header_processing.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XffMode {
    Append,
    Preserve,
    Remove,
}

/// `routing.http.desync_mitigation_mode` (spec: dataplane §6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DesyncMode {
    Monitor,
    Defensive,
    Strictest,
}

/// The mode of mutual TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MutualTls {
    Off,
    Passthrough,
    Verify,
}

/// Names of the headers that the load balancer makes of TLS; listener attributes may change them
/// (spec: dataplane §6.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsHeaderNames {
    pub(crate) version: String,
    pub(crate) cipher_suite: String,
    pub(crate) clientcert: String,
    pub(crate) validity: String,
    pub(crate) leaf: String,
    pub(crate) serial_number: String,
    pub(crate) issuer: String,
    pub(crate) subject: String,
}

impl TlsHeaderNames {
    fn of(attributes: &[Attribute]) -> Self {
        let name = |key: &str, default: &str| {
            let key = format!("routing.http.request.{key}.header_name");
            let set = attribute(attributes, &key).filter(|v| HeaderName::try_from(*v).is_ok());
            set.unwrap_or(default).to_owned()
        };
        TlsHeaderNames {
            version: name("x_amzn_tls_version", "X-Amzn-Tls-Version"),
            cipher_suite: name("x_amzn_tls_cipher_suite", "X-Amzn-Tls-Cipher-Suite"),
            clientcert: name("x_amzn_mtls_clientcert", "X-Amzn-Mtls-Clientcert"),
            validity: name("x_amzn_mtls_clientcert_validity", "X-Amzn-Mtls-Clientcert-Validity"),
            leaf: name("x_amzn_mtls_clientcert_leaf", "X-Amzn-Mtls-Clientcert-Leaf"),
            serial_number: name(
                "x_amzn_mtls_clientcert_serial_number",
                "X-Amzn-Mtls-Clientcert-Serial-Number",
            ),
            issuer: name("x_amzn_mtls_clientcert_issuer", "X-Amzn-Mtls-Clientcert-Issuer"),
            subject: name("x_amzn_mtls_clientcert_subject", "X-Amzn-Mtls-Clientcert-Subject"),
        }
    }

    fn have(&self, name: &[u8]) -> bool {
        let all = [
            &self.version,
            &self.cipher_suite,
            &self.clientcert,
            &self.validity,
            &self.leaf,
            &self.serial_number,
            &self.issuer,
            &self.subject,
        ];
        all.into_iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// How a group's targets are spoken to.
#[derive(Clone, Debug)]
pub(crate) struct GroupSettings {
    pub(crate) protocol: Protocol,
    pub(crate) version: ProtocolVersion,
    /// The address that health checks come from.
    pub(crate) source: Option<IpAddr>,
    /// Whether stickiness is the application's cookie: then answers have to be looked at.
    pub(crate) app_cookie: bool,
    /// Whether WebSockets may be opened: not where a target optimizer hands out the targets' slots.
    pub(crate) websockets: bool,
    pub(crate) arn: Arc<str>,
    pub(crate) metrics: Arc<GroupMetrics>,
}

impl Default for GroupSettings {
    fn default() -> Self {
        GroupSettings {
            protocol: Protocol::Http,
            version: ProtocolVersion::Http1,
            source: None,
            app_cookie: false,
            websockets: true,
            arn: "".into(),
            metrics: Arc::default(),
        }
    }
}

impl Default for ListenerSettings {
    fn default() -> Self {
        ListenerSettings {
            dns_name: String::new(),
            port: 80,
            protocol: Protocol::Http,
            xff: XffMode::Append,
            xff_client_port: false,
            preserve_host: false,
            drop_invalid: false,
            http2: true,
            desync: DesyncMode::Defensive,
            waf_fail_open: false,
            idle: Duration::from_secs(60),
            client_keep_alive: Duration::from_secs(3600),
            tls_headers: false,
            names: TlsHeaderNames::of(&[]),
            mutual_tls: MutualTls::Off,
            server_header: true,
            insert: Vec::new(),
            source: None,
            name: String::new(),
            ranks: Ranks::default(),
            metrics: Arc::default(),
        }
    }
}

impl Settings {
    /// Reads `model`, which must be the one `router` has.
    pub(crate) fn of(
        model: &Model,
        router: &Router,
        sources: &HashMap<String, IpAddr>,
        metrics: &Metrics,
    ) -> Self {
        let mut settings = Settings::default();
        for info in router.listeners() {
            let Some(lb) =
                model.load_balancers.iter().find(|l| l.load_balancer_arn == info.load_balancer_arn)
            else {
                continue;
            };
            let Some(listener) = lb.listeners.iter().find(|l| l.port == info.port) else { continue };
            let source = sources.get(&info.load_balancer).copied();
            let read =
                listener_settings(&lb.dns_name, &lb.attributes, listener.port, listener.protocol, source);
            let name = dimension(&lb.load_balancer_arn, "loadbalancer/", &lb.load_balancer_name);
            let mutual = listener.mutual_authentication.as_ref().map(|m| m.mode.as_str());
            let read = ListenerSettings {
                server_header: attribute(&listener.attributes, "routing.http.response.server.enabled")
                    != Some("false"),
                insert: inserted(&listener.attributes),
                names: TlsHeaderNames::of(&listener.attributes),
                mutual_tls: match mutual {
                    Some("passthrough") => MutualTls::Passthrough,
                    Some("verify") => MutualTls::Verify,
                    _ => MutualTls::Off,
                },
                ranks: Ranks::of(&listener.rules),
                metrics: metrics.listener(&name),
                name,
                ..read
            };
            put(&mut settings.listeners, info.id.as_u32(), Arc::new(read));
        }
        for target in router.targets() {
            if settings.groups.get(target.group.as_u32() as usize).is_some_and(Option::is_some) {
                continue;
            }
            let Some(info) = router.group(target.group) else { continue };
            let Some(group) = model.target_group(&info.arn) else { continue };
            let balancer = model
                .load_balancers
                .iter()
                .find(|lb| group.load_balancer_arns.contains(&lb.load_balancer_arn));
            let source = balancer.and_then(|lb| sources.get(&lb.load_balancer_name)).copied();
            let (balancer, name) = dimensions(model, &info.name);
            let read = GroupSettings {
                protocol: group.protocol,
                version: group.protocol_version,
                source,
                app_cookie: attribute(&group.attributes, "stickiness.enabled") == Some("true")
                    && attribute(&group.attributes, "stickiness.type") == Some("app_cookie"),
                websockets: group.target_control_port.is_none(),
                arn: info.arn.as_str().into(),
                metrics: metrics.group(&balancer, &name),
            };
            put(&mut settings.groups, target.group.as_u32(), read);
        }
        settings
    }

    pub(crate) fn listener(&self, id: ListenerId) -> Option<&Arc<ListenerSettings>> {
        self.listeners.get(id.as_u32() as usize)?.as_ref()
    }

    pub(crate) fn group(&self, id: GroupId) -> Option<&GroupSettings> {
        self.groups.get(id.as_u32() as usize)?.as_ref()
    }
}

fn put<T>(all: &mut Vec<Option<T>>, id: u32, value: T) {
    let at = id as usize;
    while all.len() <= at {
        all.push(None);
    }
    if let Some(place) = all.get_mut(at) {
        *place = Some(value);
    }
}

/// The dimensions `LoadBalancer` and `TargetGroup` of a target group.
pub(crate) fn dimensions(model: &Model, group: &str) -> (String, String) {
    let Some(group) = model.target_groups.iter().find(|g| g.target_group_name == group) else {
        return (String::new(), group.to_owned());
    };
    let balancer = model
        .load_balancers
        .iter()
        .find(|lb| group.load_balancer_arns.contains(&lb.load_balancer_arn))
        .map(|lb| dimension(&lb.load_balancer_arn, "loadbalancer/", &lb.load_balancer_name));
    let name = &group.target_group_name;
    let name = match group.target_group_arn.split_once("targetgroup/") {
        Some((_, id)) => format!("targetgroup/{id}"),
        None => name.clone(),
    };
    (balancer.unwrap_or_default(), name)
}

/// The end of an ARN, which is what CloudWatch calls the thing.
fn dimension(arn: &str, kind: &str, name: &str) -> String {
    arn.split_once(kind).map_or(name, |(_, id)| id).to_owned()
}

/// A listener's settings as far as its load balancer's attributes give them.
pub(crate) fn listener_settings(
    dns_name: &str,
    attributes: &[Attribute],
    port: u16,
    protocol: Protocol,
    source: Option<IpAddr>,
) -> ListenerSettings {
    let on = |key: &str| attribute(attributes, key) == Some("true");
    let idle = attribute(attributes, "idle_timeout.timeout_seconds").and_then(|v| v.parse().ok());
    let keep_alive = attribute(attributes, "client_keep_alive.seconds").and_then(|v| v.parse().ok());
    ListenerSettings {
        dns_name: dns_name.to_owned(),
        port,
        protocol,
        xff: match attribute(attributes, "routing.http.xff_header_processing.mode") {
            Some("preserve") => XffMode::Preserve,
            Some("remove") => XffMode::Remove,
            _ => XffMode::Append,
        },
        xff_client_port: on("routing.http.xff_client_port.enabled"),
        preserve_host: on("routing.http.preserve_host_header.enabled"),
        drop_invalid: on("routing.http.drop_invalid_header_fields.enabled"),
        http2: attribute(attributes, "routing.http2.enabled") != Some("false"),
        desync: match attribute(attributes, "routing.http.desync_mitigation_mode") {
            Some("monitor") => DesyncMode::Monitor,
            Some("strictest") => DesyncMode::Strictest,
            _ => DesyncMode::Defensive,
        },
        waf_fail_open: on("waf.fail_open.enabled"),
        idle: Duration::from_secs(idle.unwrap_or(60).clamp(1, 4000)),
        client_keep_alive: Duration::from_secs(keep_alive.unwrap_or(3600).clamp(60, 604_800)),
        tls_headers: on("routing.http.x_amzn_tls_version_and_cipher_suite.enabled"),
        source,
        ..ListenerSettings::default()
    }
}

/// The response headers that listener attributes add to every answer.
fn inserted(attributes: &[Attribute]) -> Vec<(HeaderName, HeaderValue)> {
    const NAMES: [&str; 10] = [
        "strict-transport-security",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-allow-credentials",
        "access-control-expose-headers",
        "access-control-max-age",
        "content-security-policy",
        "x-content-type-options",
        "x-frame-options",
    ];
    NAMES
        .into_iter()
        .filter_map(|name| {
            let key = format!("routing.http.response.{}.header_value", name.replace('-', "_"));
            let value = attribute(attributes, &key).filter(|v| !v.is_empty())?;
            Some((HeaderName::from_static(name), HeaderValue::try_from(value).ok()?))
        })
        .collect()
}

impl ListenerSettings {
    /// Whether a request's field is the load balancer's alone to set, so that nobody can make it up
    /// (spec: dataplane §6.5). In passthrough and verify mode that holds without a certificate too.
    pub(crate) fn owns(&self, name: &[u8]) -> bool {
        if !self.tls_headers && self.mutual_tls == MutualTls::Off {
            return false;
        }
        let begins = |prefix: &str| {
            name.get(..prefix.len()).is_some_and(|n| n.eq_ignore_ascii_case(prefix.as_bytes()))
        };
        begins("x-amzn-tls-") || begins("x-amzn-mtls-") || self.names.have(name)
    }

    /// Counts a request with an invalid field, as one that loses it or keeps it.
    pub(crate) fn count_invalid(&self) {
        let count = &self.metrics.count;
        let counter = if self.drop_invalid { &count.dropped_invalid } else { &count.forwarded_invalid };
        counter.inc();
    }

    pub(crate) fn insert_response_headers(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.insert {
            headers.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_left_out_have_the_defaults_of_aws() {
        let read = listener_settings("lb", &[], 443, Protocol::Https, None);
        assert_eq!(read.idle, Duration::from_secs(60));
        assert_eq!(read.xff, XffMode::Append);
        assert!(read.http2 && !read.preserve_host && !read.xff_client_port && !read.drop_invalid);
    }

    #[test]
    fn rules_looked_at_are_counted_by_rank() {
        let rules = |priorities: &[u32]| {
            let rule = |n: &u32| Rule {
                rule_arn: String::new(),
                priority: Priority::Rule(*n),
                conditions: Vec::new(),
                actions: Vec::new(),
                transforms: Vec::new(),
                tags: Vec::new(),
            };
            Ranks::of(&priorities.iter().map(rule).collect::<Vec<_>>())
        };
        for ranks in [rules(&[2, 1, 3]), rules(&[500, 10, 20])] {
            assert_eq!(ranks.evaluated(Priority::Default), 3);
        }
        assert_eq!(rules(&[2, 1, 3]).evaluated(Priority::Rule(2)), 2);
        assert_eq!(rules(&[500, 10, 20]).evaluated(Priority::Rule(20)), 2);
    }

    #[test]
    fn listener_attributes_become_response_headers() {
        let set = [Attribute::new("routing.http.response.x_frame_options.header_value", "DENY")];
        assert_eq!(
            inserted(&set),
            [(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"))]
        );
    }
}
