//! Target groups (§8): one for each Ingress, Service and port as written.

use std::collections::BTreeMap;

use super::Settings;
use super::annotations::Annotations;
use super::build::Written;
use super::group::{Given, Group, Member};
use super::load_balancer::{choose, pairs, with_default_tags};
use super::names::{self, TargetGroupName};
use super::objects::{Service, ServicePort, TargetPort};
use crate::error::{Code, Diagnostic};
use crate::model::{
    Attribute, LoadBalancerIpAddressType, Matcher, Protocol, ProtocolVersion, ServiceRef, Tag, TargetGroup,
    TargetIpAddressType, TargetType,
};

/// The port of a Service that a backend names (§7.4): by number where it was written as one, or where an
/// action's text is one; a port name of an Ingress is always a name.
pub(crate) fn service_port<'a>(service: &'a Service, port: &str, numeric: bool) -> Option<&'a ServicePort> {
    match port.parse::<i64>() {
        Ok(number) if numeric => service.ports.iter().find(|p| p.port == number),
        _ => service.ports.iter().find(|p| p.name == port),
    }
}

/// Everything of a target group but its targets.
pub(crate) fn target_group(
    group: &Group<'_>,
    written: &Written<'_>,
    service: &Service,
    port: &str,
    numeric: bool,
    ip_type: LoadBalancerIpAddressType,
    settings: &Settings,
) -> Result<TargetGroup, Diagnostic> {
    let member = written.member;
    let annotations = Annotations::with(member.ingress, service);
    let service_key = service.meta.key();
    let service_port_found = service_port(service, port, numeric).ok_or_else(|| {
        let known: Vec<String> = service
            .ports
            .iter()
            .map(|p| if p.name.is_empty() { p.port.to_string() } else { format!("{} ({})", p.port, p.name) })
            .collect();
        written
            .port(Code::E_SVC_PORT, format!("Service `{service_key}` has no port `{port}`"))
            .value(port)
            .expected(format!("one of: {}", known.join(", ")))
    })?;
    let target_type = target_type(member, annotations, settings)?;
    let protocol = annotations
        .choice(
            "backend-protocol",
            Code::E_BACKEND_PROTO,
            &[("HTTP", Protocol::Http), ("HTTPS", Protocol::Https)],
        )?
        .unwrap_or(Protocol::Http);
    let protocol_version = annotations
        .choice(
            "backend-protocol-version",
            Code::E_BACKEND_PROTO_VERSION,
            &[
                ("HTTP1", ProtocolVersion::Http1),
                ("HTTP2", ProtocolVersion::Http2),
                ("GRPC", ProtocolVersion::Grpc),
            ],
        )?
        .unwrap_or(ProtocolVersion::Http1);
    let ip_address_type = if service.ipv6 { TargetIpAddressType::Ipv6 } else { TargetIpAddressType::Ipv4 };
    if service.ipv6 && ip_type == LoadBalancerIpAddressType::Ipv4 {
        let message = format!("Service `{service_key}` is IPv6 and the load balancer is IPv4");
        return Err(written.service(Code::E_IPV6_LB, message).expected("ip-address-type `dualstack`"));
    }
    let suffix = format!("target-control-port.{}.{port}", service.meta.name);
    let control_port = annotations.int32(&suffix)?;
    if let (Some(annotation), TargetType::Instance) = (annotations.get(&suffix), target_type) {
        let message = "a target control port needs target type ip";
        return Err(annotation.error(Code::E_CONTROL_PORT_INSTANCE, message));
    }
    let target_port = match (target_type, &service_port_found.target) {
        (TargetType::Instance, _) => service_port_found.node_port,
        (_, TargetPort::Number(n)) => *n,
        (_, TargetPort::Name(_)) => 1,
    };
    if target_port == 0 {
        let why = if target_type == TargetType::Instance {
            format!(
                "Service `{service_key}` has no NodePort for port `{port}`, which target type instance needs"
            )
        } else {
            format!("Service `{service_key}` has no target port for port `{port}`")
        };
        return Err(written
            .port(Code::E_TG_PORT_EMPTY, why)
            .expected("a Service of type NodePort or LoadBalancer, or target type `ip`"));
    }
    let name = TargetGroupName {
        cluster: &settings.cluster_name,
        group: &group.id,
        ingress_namespace: &member.ingress.meta.namespace,
        ingress_name: &member.ingress.meta.name,
        service_namespace: &service.meta.namespace,
        service_name: &service.meta.name,
        service_uid: &service.meta.uid,
        port,
        target_port,
        target_type: target_type.as_str(),
        protocol: protocol.as_str(),
        version: protocol_version.as_str(),
        control_port,
    }
    .name();
    let arn = names::arn(
        &format!("targetgroup/{name}"),
        &[
            &settings.cluster_name,
            "/",
            &group.id,
            "/",
            &member.ingress.meta.key(),
            "/",
            &service_key,
            ":",
            port,
        ],
    );
    let mut tg = TargetGroup {
        target_group_arn: arn,
        target_group_name: name,
        target_type,
        port: i32::try_from(target_port).unwrap_or_default(),
        protocol,
        protocol_version,
        ip_address_type,
        target_control_port: control_port,
        service_ref: Some(ServiceRef {
            namespace: service.meta.namespace.clone(),
            name: service.meta.name.clone(),
            port: port.to_owned(),
        }),
        ..TargetGroup::default()
    };
    health_check(&mut tg, annotations, service)?;
    let attributes = annotations.map("target-group-attributes")?.unwrap_or_default();
    tg.attributes = attributes.into_iter().map(|(k, v)| Attribute::new(k, v)).collect();
    tg.tags = tags(member, service, settings)?;
    Ok(tg)
}

/// §8.5.
pub(crate) fn target_type(
    member: &Member<'_>,
    annotations: Annotations<'_>,
    settings: &Settings,
) -> Result<TargetType, Diagnostic> {
    let types = [("instance", TargetType::Instance), ("ip", TargetType::Ip)];
    let fixed = member.params.and_then(|p| p.target_type.as_ref());
    let given = fixed
        .and_then(|t| member.params_field("targetType", t))
        .or_else(|| annotations.get("target-type").map(Given::Annotation));
    let target_type = choose(given, Code::E_TARGET_TYPE, &types)?.unwrap_or(settings.default_target_type);
    if target_type == TargetType::Ip && !settings.enable_ip_target_type {
        let message = "target type ip is switched off";
        let error = match given {
            Some(given) => given.error(Code::E_IP_DISABLED, message),
            None => member.error(Code::E_IP_DISABLED, message),
        };
        return Err(error.expected("`instance`, or the gate `EnableIPTargetType`"));
    }
    Ok(target_type)
}

/// §8.7.
fn health_check(
    tg: &mut TargetGroup,
    annotations: Annotations<'_>,
    service: &Service,
) -> Result<(), Diagnostic> {
    let grpc = tg.protocol_version == ProtocolVersion::Grpc;
    if let Some(annotation) = annotations.get("healthcheck-port") {
        let text = annotation.value();
        tg.health_check_port = if text == "traffic-port" {
            text.to_owned()
        } else if let Ok(number) = text.parse::<i32>() {
            number.to_string()
        } else {
            let port = service.ports.iter().find(|p| p.name == text).ok_or_else(|| {
                annotation
                    .error(
                        Code::E_HC_PORT,
                        format!("Service `{}` has no port named `{text}`", service.meta.key()),
                    )
                    .expected("`traffic-port`, a number, or a port name of the Service")
            })?;
            match (tg.target_type, &port.target) {
                (TargetType::Instance, _) => port.node_port.to_string(),
                (_, TargetPort::Number(n)) => n.to_string(),
                (_, TargetPort::Name(name)) => {
                    return Err(annotation.error(
                        Code::E_HC_PORT_NAMED,
                        format!("the port `{text}` has the named target port `{name}`, which target type ip cannot use here"),
                    ));
                }
            }
        };
    }
    tg.health_check_protocol = annotations
        .choice(
            "healthcheck-protocol",
            Code::E_HC_PROTO,
            &[("HTTP", Protocol::Http), ("HTTPS", Protocol::Https)],
        )?
        .unwrap_or(tg.protocol);
    let path = annotations.text("healthcheck-path");
    tg.health_check_path = path.unwrap_or(if grpc { "/AWS.ALB/healthcheck" } else { "/" }).to_owned();
    let codes = annotations.text("success-codes").unwrap_or(if grpc { "12" } else { "200" }).to_owned();
    tg.matcher = if grpc {
        Matcher { http_code: None, grpc_code: Some(codes) }
    } else {
        Matcher { http_code: Some(codes), grpc_code: None }
    };
    let number = |suffix, default| Ok::<_, Diagnostic>(annotations.int32(suffix)?.unwrap_or(default));
    tg.health_check_interval_seconds = number("healthcheck-interval-seconds", 15)?;
    tg.health_check_timeout_seconds = number("healthcheck-timeout-seconds", 5)?;
    tg.healthy_threshold_count = number("healthy-threshold-count", 2)?;
    tg.unhealthy_threshold_count = number("unhealthy-threshold-count", 2)?;
    Ok(())
}

/// Key by key: defaults over class parameters over the Service over the Ingress (§8.10).
fn tags(member: &Member<'_>, service: &Service, settings: &Settings) -> Result<Vec<Tag>, Diagnostic> {
    let mut tags: BTreeMap<String, String> = member.annotations().map("tags")?.unwrap_or_default();
    let own = Annotations::of_service(service);
    if let Some((annotation, map)) = own.get("tags").zip(own.map("tags")?) {
        if let Some(key) = map.keys().find(|k| settings.external_managed_tags.contains(*k)) {
            let message = format!("the tag `{key}` is managed elsewhere: `--external-managed-tags` names it");
            return Err(annotation.error(Code::E_TAG_EXTERNAL, message));
        }
        tags.extend(map);
    }
    tags.extend(member.params.map(|p| pairs(&p.tags)).unwrap_or_default());
    Ok(to_tags(with_default_tags(tags, settings)))
}

pub(crate) fn to_tags(tags: BTreeMap<String, String>) -> Vec<Tag> {
    tags.into_iter().map(|(key, value)| Tag { key, value }).collect()
}
