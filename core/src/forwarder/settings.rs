//! What the forwarder needs of the model and the router does not keep: attributes of load balancers and
//! listeners, the protocol of target groups. Read once per model (spec: dataplane §6.6, §6.10).

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::decision::{GroupId, ListenerId};
use crate::model::{Attribute, Model, Protocol, ProtocolVersion, attribute};
use crate::router::Router;

/// Everything, as of one model.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    listeners: HashMap<ListenerId, std::sync::Arc<ListenerSettings>>,
    groups: HashMap<GroupId, GroupSettings>,
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
    pub(crate) idle: Duration,
    pub(crate) server_header: bool,
    pub(crate) insert: Vec<(HeaderName, HeaderValue)>,
    /// The address that connections to targets come from; `None` leaves it to the system.
    pub(crate) source: Option<IpAddr>,
}

/// `routing.http.xff_header_processing.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XffMode {
    Append,
    Preserve,
    Remove,
}

/// How a group's targets are spoken to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupSettings {
    pub(crate) protocol: Protocol,
    pub(crate) version: ProtocolVersion,
    /// The address that health checks come from.
    pub(crate) source: Option<IpAddr>,
}

impl Default for GroupSettings {
    fn default() -> Self {
        GroupSettings { protocol: Protocol::Http, version: ProtocolVersion::Http1, source: None }
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
            idle: Duration::from_secs(60),
            server_header: true,
            insert: Vec::new(),
            source: None,
        }
    }
}

impl Settings {
    /// Reads `model`, which must be the one `router` has.
    pub(crate) fn of(model: &Model, router: &Router, sources: &HashMap<String, IpAddr>) -> Self {
        let mut settings = Settings::default();
        for info in router.listeners() {
            let Some(lb) = model.load_balancers.iter().find(|l| l.load_balancer_name == info.load_balancer)
            else {
                continue;
            };
            let Some(listener) = lb.listeners.iter().find(|l| l.port == info.port) else { continue };
            let source = sources.get(&info.load_balancer).copied();
            let read =
                listener_settings(&lb.dns_name, &lb.attributes, listener.port, listener.protocol, source);
            let read = ListenerSettings {
                server_header: attribute(&listener.attributes, "routing.http.response.server.enabled")
                    != Some("false"),
                insert: inserted(&listener.attributes),
                ..read
            };
            settings.listeners.insert(info.id, std::sync::Arc::new(read));
        }
        for target in router.targets() {
            if settings.groups.contains_key(&target.group) {
                continue;
            }
            let Some(info) = router.group(target.group) else { continue };
            let Some(group) = model.target_group(&info.arn) else { continue };
            let source = model
                .load_balancers
                .iter()
                .find(|lb| group.load_balancer_arns.contains(&lb.load_balancer_arn))
                .and_then(|lb| sources.get(&lb.load_balancer_name))
                .copied();
            settings.groups.insert(
                target.group,
                GroupSettings { protocol: group.protocol, version: group.protocol_version, source },
            );
        }
        settings
    }

    pub(crate) fn listener(&self, id: ListenerId) -> Option<std::sync::Arc<ListenerSettings>> {
        self.listeners.get(&id).cloned()
    }

    pub(crate) fn group(&self, id: GroupId) -> GroupSettings {
        self.groups.get(&id).copied().unwrap_or_default()
    }
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
        idle: Duration::from_secs(idle.unwrap_or(60).clamp(1, 4000)),
        server_header: true,
        insert: Vec::new(),
        source,
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
    fn listener_attributes_become_response_headers() {
        let set = [Attribute::new("routing.http.response.x_frame_options.header_value", "DENY")];
        assert_eq!(
            inserted(&set),
            [(HeaderName::from_static("x-frame-options"), HeaderValue::from_static("DENY"))]
        );
    }
}
