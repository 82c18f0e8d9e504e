//! From the YAML tree to the objects: one function a kind, with the API server's defaults.

use std::collections::BTreeMap;

use super::objects::{
    Backend, ClassParams, Endpoint, EndpointSlice, Ingress, IngressClass, IngressPath, IngressRule, K8sNode,
    ListenerParams, Meta, ParametersReference, Pod, Secret, Selector, Service, ServicePort, SubnetsParams,
    TargetGroupBinding, TargetPort, Tls, Workload,
};
use super::read::Reader;
use super::yaml::Text;

/// Kinds without a namespace.
pub(crate) const CLUSTER_SCOPED: [&str; 4] = ["IngressClass", "IngressClassParams", "Node", "Namespace"];

/// An apiVersion of a known kind, with the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Current(&'static str),
    /// Gone from Kubernetes, of a shape that is understood.
    Removed(&'static str),
    Missing(&'static str),
    Unknown(&'static str),
}

/// What an apiVersion is to a kind; `None` for kinds that say nothing here, and for those of other groups
/// that only share the name (a Knative Service).
pub(crate) fn version(kind: &str, api_version: &str) -> Option<Version> {
    let (current, removed): (&'static str, &[&str]) = match kind {
        "Ingress" => ("networking.k8s.io/v1", &["networking.k8s.io/v1beta1", "extensions/v1beta1"]),
        "IngressClass" => ("networking.k8s.io/v1", &["networking.k8s.io/v1beta1"]),
        "IngressClassParams" => ("elbv2.k8s.aws/v1beta1", &[]),
        "TargetGroupBinding" => ("elbv2.k8s.aws/v1beta1", &["elbv2.k8s.aws/v1alpha1"]),
        "EndpointSlice" => {
            ("discovery.k8s.io/v1", &["discovery.k8s.io/v1beta1", "discovery.k8s.io/v1alpha1"])
        }
        "Deployment" | "StatefulSet" | "ReplicaSet" | "DaemonSet" => {
            ("apps/v1", &["apps/v1beta1", "apps/v1beta2", "extensions/v1beta1"])
        }
        "Service" | "Endpoints" | "Pod" | "Node" | "Secret" | "Namespace" => ("v1", &[]),
        _ => return None,
    };
    let group = |v: &str| v.rsplit_once('/').map(|(group, _)| group.to_owned()).unwrap_or_default();
    if api_version == current {
        Some(Version::Current(current))
    } else if removed.contains(&api_version) {
        Some(Version::Removed(current))
    } else if api_version.is_empty() {
        Some(Version::Missing(current))
    } else {
        (group(api_version) == group(current)).then_some(Version::Unknown(current))
    }
}

/// `metadata`; `None`, and a problem noted, for an object without a name.
pub(crate) fn meta(object: Reader<'_>) -> Option<Meta> {
    let m = object.at("metadata");
    let kind = object.glance("kind");
    let Some(name) = m.field("name") else {
        // A name of the wrong type is a problem of its own.
        if !m.has("name") {
            object.refuse(format!("the {kind} has no name"), "`metadata.name`");
        }
        return None;
    };
    let annotations = m
        .entries("annotations")
        .filter_map(|(key, value)| {
            let empty = || Text { text: String::new(), at: value.place() };
            let is_null = matches!(value.node().map(|n| &n.value), Some(super::yaml::Value::Null));
            let text = if is_null { Some(empty()) } else { value.string() };
            Some((key.to_owned(), text?))
        })
        .collect();
    let namespace = m.text("namespace");
    Some(Meta {
        namespace: if CLUSTER_SCOPED.contains(&kind) {
            String::new()
        } else if namespace.is_empty() {
            "default".to_owned()
        } else {
            namespace
        },
        uid: m.text("uid"),
        labels: m.text_map("labels"),
        annotations,
        finalizers: m.texts("finalizers"),
        deleting: m.has("deletionTimestamp"),
        at: name.at,
        name: name.text,
    })
}

pub(crate) fn ingress(meta: Meta, object: Reader<'_>) -> Ingress {
    let spec = object.at("spec");
    let backend_of = |key| spec.has(key).then(|| backend(spec.at(key))).flatten();
    let mut rules = Vec::new();
    for rule in spec.list("rules") {
        let paths = rule.has("http").then(|| {
            let http = rule.at("http");
            let path = |path: Reader<'_>| {
                Some(IngressPath {
                    path: path
                        .at("path")
                        .string()
                        .unwrap_or_else(|| Text { text: String::new(), at: path.place() }),
                    path_type: path.field("pathType"),
                    backend: backend(path.at("backend"))?,
                })
            };
            http.list("paths").filter_map(path).collect()
        });
        rules.push(IngressRule { host: rule.at("host").string().unwrap_or_default(), paths });
    }
    let tls =
        spec.list("tls").map(|t| Tls { hosts: t.fields("hosts"), secret: t.text("secretName") }).collect();
    Ingress {
        meta,
        class_name: spec.field("ingressClassName"),
        // `backend` is what v1beta1 called it
        default_backend: backend_of("defaultBackend").or_else(|| backend_of("backend")),
        tls,
        rules,
    }
}

/// A backend; `None`, and a problem noted, where it names nothing.
fn backend(r: Reader<'_>) -> Option<Backend> {
    let at = r.place();
    if r.has("resource") {
        let port_at = at.clone();
        return Some(Backend { resource: true, at, port_at, ..Backend::default() });
    }
    if let Some(service) = r.field("serviceName") {
        // v1beta1: a number or a name in one field
        let (port_number, port_name) = match r.int_or_text("servicePort") {
            Ok(number) => (number, None),
            Err(name) => (None, Some(name.text)),
        };
        if port_number.is_none() && port_name.is_none() {
            r.refuse("the backend names no service port", "`servicePort`");
            return None;
        }
        let port_at = r.at("servicePort").place();
        return Some(Backend {
            service: Some(service),
            port_number,
            port_name,
            resource: false,
            at,
            port_at,
        });
    }
    let s = r.at("service");
    let Some(service) = s.field("name") else {
        r.refuse("the backend names no service", "`service.name` and `service.port`");
        return None;
    };
    let port = s.at("port");
    let (name, number) = (port.field("name"), port.number("number"));
    if name.is_none() && number.is_none() {
        if !port.has("name") && !port.has("number") {
            s.refuse("the backend names no service port", "`port.number` or `port.name`");
        }
        return None;
    }
    let port_at = if name.is_some() { port.at("name") } else { port.at("number") }.place();
    Some(Backend {
        service: Some(service),
        port_number: number,
        port_name: name.map(|t| t.text),
        resource: false,
        at,
        port_at,
    })
}

pub(crate) fn ingress_class(meta: Meta, object: Reader<'_>) -> IngressClass {
    let spec = object.at("spec");
    let p = spec.at("parameters");
    let parameters = spec.has("parameters").then(|| ParametersReference {
        api_group: p.text("apiGroup"),
        kind: p.text("kind"),
        name: p.text("name"),
        at: p.at("name").place(),
    });
    IngressClass { meta, controller: spec.text("controller"), parameters }
}

pub(crate) fn class_params(meta: Meta, spec: Reader<'_>) -> ClassParams {
    let pairs = |r: Reader<'_>, key: &'static str| -> Vec<(Text, String)> {
        r.list(key).filter_map(|p| Some((p.field("key")?, p.text("value")))).collect()
    };
    let lists = spec.fields("prefixListsIDs");
    let subnets = spec.has("subnets").then(|| {
        let s = spec.at("subnets");
        let tags = s.entries("tags").map(|(k, v)| (k.to_owned(), list_of_texts(v))).collect();
        SubnetsParams { ids: s.texts("ids"), tags, at: s.place() }
    });
    ClassParams {
        meta,
        load_balancer_name: spec.field("loadBalancerName"),
        certificate_arn: spec.fields("certificateArn"),
        namespace_selector: spec.has("namespaceSelector").then(|| selector(spec.at("namespaceSelector"))),
        group: spec.has("group").then(|| {
            let group = spec.at("group");
            let unnamed = || Text { text: String::new(), at: group.place() };
            group.at("name").string().unwrap_or_else(unnamed)
        }),
        scheme: spec.field("scheme"),
        inbound_cidrs: spec.fields("inboundCIDRs"),
        ssl_policy: spec.field("sslPolicy"),
        ssl_redirect_port: spec.field("sslRedirectPort"),
        subnets,
        ip_address_type: spec.field("ipAddressType"),
        tags: pairs(spec, "tags"),
        target_type: spec.field("targetType"),
        load_balancer_attributes: pairs(spec, "loadBalancerAttributes"),
        listeners: spec
            .list("listeners")
            .map(|l| ListenerParams {
                protocol: l.text("protocol"),
                port: l.number("port").unwrap_or(0),
                attributes: pairs(l, "listenerAttributes"),
            })
            .collect(),
        minimum_load_balancer_capacity: spec.at("minimumLoadBalancerCapacity").number("capacityUnits"),
        ipam_pool: spec.at("ipamConfiguration").field("ipv4IPAMPoolId"),
        prefix_lists: if lists.is_empty() { spec.fields("PrefixListsIDs") } else { lists },
        wafv2_acl_arn: spec.field("wafv2AclArn"),
        wafv2_acl_name: spec.field("wafv2AclName"),
    }
}

fn list_of_texts(list: Reader<'_>) -> Vec<String> {
    match list.node().map(|n| &n.value) {
        Some(super::yaml::Value::Seq(items)) => items
            .iter()
            .filter_map(|i| match &i.value {
                super::yaml::Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn selector(r: Reader<'_>) -> Selector {
    Selector {
        labels: r.text_map("matchLabels"),
        expressions: r
            .list("matchExpressions")
            .map(|e| (e.text("key"), e.text("operator"), e.texts("values")))
            .collect(),
    }
}

pub(crate) fn binding(meta: Meta, spec: Reader<'_>) -> TargetGroupBinding {
    let service = spec.at("serviceRef");
    let port = match service.int_or_text("port") {
        Ok(number) => (number.map(|n| n.to_string()).unwrap_or_default(), true),
        Err(name) => (name.text, false),
    };
    TargetGroupBinding {
        meta,
        arn: spec.field("targetGroupARN"),
        group_name: spec.field("targetGroupName"),
        target_type: spec.field("targetType"),
        protocol: spec.field("targetGroupProtocol"),
        ipv6: spec.text("ipAddressType") == "ipv6",
        service: service.field("name").unwrap_or_default(),
        port,
        node_selector: spec.has("nodeSelector").then(|| selector(spec.at("nodeSelector"))),
        multi_cluster: spec.boolean("multiClusterTargetGroup") == Some(true),
    }
}

pub(crate) fn service(meta: Meta, object: Reader<'_>) -> Service {
    let spec = object.at("spec");
    let kind = spec.text("type");
    let ports = spec
        .list("ports")
        .map(|p| {
            let port = p.number("port").unwrap_or(0);
            ServicePort {
                name: p.text("name"),
                port,
                target: match p.int_or_text("targetPort") {
                    Ok(Some(n)) => TargetPort::Number(n),
                    Err(name) => {
                        if name.text.bytes().all(|b| b.is_ascii_digit()) {
                            p.at("targetPort").refuse(
                                format!("`targetPort` is the text `{}`", name.text),
                                "a number without quotes, or a port name with a letter in it",
                            );
                        }
                        TargetPort::Name(name.text)
                    }
                    Ok(None) => TargetPort::Number(port), // as the API server defaults it
                },
                node_port: p.number("nodePort").unwrap_or(0),
            }
        })
        .collect();
    let affinity = spec.text("sessionAffinity") == "ClientIP";
    let seconds = spec.at("sessionAffinityConfig").at("clientIP").number("timeoutSeconds");
    let health_check_node_port = spec.number("healthCheckNodePort");
    Service {
        meta,
        r#type: if kind.is_empty() { "ClusterIP".to_owned() } else { kind },
        ports,
        selector: spec.text_map("selector"),
        local_policy: spec.text("externalTrafficPolicy") == "Local",
        affinity_s: affinity.then(|| seconds.and_then(|s| u32::try_from(s).ok()).unwrap_or(10_800)),
        health_check_node_port: health_check_node_port.and_then(|n| u16::try_from(n).ok()),
        ipv6: spec.texts("ipFamilies").iter().any(|f| f == "IPv6"),
        publish_not_ready: spec.boolean("publishNotReadyAddresses") == Some(true),
    }
}

fn slice_ports(object: Reader<'_>) -> Vec<(String, u16)> {
    object
        .list("ports")
        .filter_map(|p| Some((p.text("name"), u16::try_from(p.number("port")?).ok()?)))
        .collect()
}

/// The namespace and name of the pod that a `targetRef` names.
fn target_pod(target: Reader<'_>, own: &Meta) -> Option<(String, String)> {
    let namespace = target.text("namespace");
    let namespace = if namespace.is_empty() { own.namespace.clone() } else { namespace };
    (target.text("kind") == "Pod").then(|| (namespace, target.text("name")))
}

pub(crate) fn slice(meta: &Meta, object: Reader<'_>) -> EndpointSlice {
    let endpoints = object
        .list("endpoints")
        .map(|e| {
            let conditions = e.at("conditions");
            let node = e.text("nodeName");
            Endpoint {
                address: e.texts("addresses").into_iter().next(),
                ready: conditions.boolean("ready"),
                serving: conditions.boolean("serving"),
                terminating: conditions.boolean("terminating") == Some(true),
                pod: target_pod(e.at("targetRef"), meta),
                // v1beta1 had it among the topology
                node: if node.is_empty() { e.at("topology").text("kubernetes.io/hostname") } else { node },
            }
        })
        .collect();
    EndpointSlice {
        namespace: meta.namespace.clone(),
        service: meta.labels.get("kubernetes.io/service-name").cloned().unwrap_or_default(),
        address_type: object.text("addressType"),
        ports: slice_ports(object),
        endpoints,
    }
}

/// One slice for each subset (§9.3).
pub(crate) fn endpoints(meta: &Meta, object: Reader<'_>) -> Vec<EndpointSlice> {
    let endpoint = |e: Reader<'_>, ready: bool| Endpoint {
        address: e.field("ip").map(|t| t.text),
        ready: Some(ready),
        serving: Some(ready),
        terminating: false,
        pod: target_pod(e.at("targetRef"), meta),
        node: e.text("nodeName"),
    };
    let of_subset = |subset: Reader<'_>| EndpointSlice {
        namespace: meta.namespace.clone(),
        service: meta.name.clone(),
        address_type: "IPv4".to_owned(),
        ports: slice_ports(subset),
        endpoints: subset
            .list("addresses")
            .map(|e| endpoint(e, true))
            .chain(subset.list("notReadyAddresses").map(|e| endpoint(e, false)))
            .collect(),
    };
    object.list("subsets").map(of_subset).collect()
}

/// The status of a condition of an object.
fn condition(status: Reader<'_>, r#type: &str) -> Option<String> {
    status.list("conditions").find(|c| c.text("type") == r#type).map(|c| c.text("status"))
}

fn container_ports(spec: Reader<'_>) -> Vec<(String, u16)> {
    spec.list("containers")
        .flat_map(|c| c.list("ports"))
        .filter_map(|p| Some((p.text("name"), u16::try_from(p.number("containerPort")?).ok()?)))
        .collect()
}

pub(crate) fn pod(meta: Meta, object: Reader<'_>) -> Pod {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let is_true = |t: &str| condition(status, t).as_deref() == Some("True");
    Pod {
        meta,
        node: spec.text("nodeName"),
        address: status.field("podIP").map(|t| t.text),
        ready: is_true("Ready"),
        containers_ready: is_true("ContainersReady"),
        ports: container_ports(spec),
        host_network: spec.boolean("hostNetwork") == Some(true),
        made_up: false,
    }
}

pub(crate) fn node(meta: Meta, object: Reader<'_>) -> K8sNode {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let address =
        status.list("addresses").find(|a| a.text("type") == "InternalIP").map(|a| a.text("address"));
    K8sNode {
        meta,
        provider_id: spec.text("providerID"),
        ready: condition(status, "Ready"),
        taints: spec.list("taints").map(|t| (t.text("key"), t.text("effect"))).collect(),
        address,
        pod_cidrs: match spec.texts("podCIDRs") {
            none if none.is_empty() => spec.field("podCIDR").map(|t| t.text).into_iter().collect(),
            all => all,
        },
        made_up: false,
    }
}

pub(crate) fn workload(meta: Meta, object: Reader<'_>, kind: &str) -> Workload {
    let spec = object.at("spec");
    let template = spec.at("template");
    let replicas = spec.number("replicas").map_or(1, |n| usize::try_from(n).unwrap_or(0));
    Workload {
        meta,
        replicas: (kind != "DaemonSet").then_some(replicas),
        labels: template.at("metadata").text_map("labels"),
        ports: container_ports(template.at("spec")),
    }
}

pub(crate) fn secret(meta: Meta, object: Reader<'_>) -> Secret {
    use base64::Engine;
    let decode = |text: String| {
        let clean: String = text.split_whitespace().collect();
        base64::engine::general_purpose::STANDARD.decode(clean).ok()
    };
    let mut data: BTreeMap<String, Vec<u8>> =
        object.text_map("data").into_iter().filter_map(|(k, v)| Some((k, decode(v)?))).collect();
    data.extend(object.text_map("stringData").into_iter().map(|(k, v)| (k, v.into_bytes())));
    Secret { meta, data }
}

/// A Namespace, with the label that the API server gives every one.
pub(crate) fn namespace(mut meta: Meta) -> Meta {
    meta.labels.insert("kubernetes.io/metadata.name".to_owned(), meta.name.clone());
    meta
}
