//! Targets of a group (§9): nodes in target type instance, pods' addresses in target type ip.

use std::collections::{BTreeMap, HashSet};

use super::Settings;
use super::lookup::Lookup;
use super::objects::{Endpoint, K8sNode, Service, ServicePort};
use crate::error::{Code, Diagnostic};
use crate::model::{
    EndpointConditions, NodePort, NodePortEndpoint, NodePortNode, TargetDescription, TargetGroup,
    TargetHealth, TargetHealthDescription, TargetHealthState, TargetIpAddressType, TargetType, TrafficPolicy,
};

const MASTER: &str = "node-role.kubernetes.io/master";
const EXCLUDED: [&str; 2] = [
    "node.kubernetes.io/exclude-from-external-load-balancers",
    "alpha.service-controller.kubernetes.io/exclude-balancer",
];
const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";
const ZONE: &str = "topology.kubernetes.io/zone";

/// Registers the targets of a Service port with its group; in target type instance, of the nodes whose
/// labels are `selected`. Where it cannot, the group stays empty, and the error says why: it is the binding
/// that fails on a cluster, not the group of Ingresses.
pub(crate) fn register(
    group: &mut TargetGroup,
    objects: &Lookup<'_>,
    service: &Service,
    port: &ServicePort,
    selected: impl Fn(&BTreeMap<String, String>) -> bool,
    settings: &Settings,
) -> Result<(), Diagnostic> {
    if group.target_type == TargetType::Instance {
        instances(group, objects, service, port, selected, settings)?;
    } else {
        addresses(group, objects, service, port, settings);
    }
    let most = settings.max_targets_per_target_group;
    if most > 0 && group.target_health_descriptions.len() > most {
        group
            .target_health_descriptions
            .sort_by_cached_key(|d| format!("{}:{}", d.target.id, d.target.port.unwrap_or_default()));
        group.target_health_descriptions.truncate(most);
    }
    Ok(())
}

/// §9.2.
fn instances(
    group: &mut TargetGroup,
    objects: &Lookup<'_>,
    service: &Service,
    port: &ServicePort,
    selected: impl Fn(&BTreeMap<String, String>) -> bool,
    settings: &Settings,
) -> Result<(), Diagnostic> {
    if !matches!(service.r#type.as_str(), "NodePort" | "LoadBalancer") {
        return Err(Diagnostic::error(
            Code::E_TGB_SVC_TYPE,
            format!("a Service of type {} has no targets in target type instance", service.r#type),
        )
        .object(format!("Service {}", service.meta.key()))
        .expected("type NodePort or LoadBalancer, or target type `ip`")
        .at(service.meta.at.location()));
    }
    let fit: Vec<&K8sNode> =
        objects.nodes.iter().filter(|n| is_candidate(n) && selected(&n.meta.labels)).collect();
    let with = |status: &str| -> Vec<&K8sNode> {
        fit.iter().filter(|n| n.ready.as_deref() == Some(status)).copied().collect()
    };
    let mut nodes = with("True");
    if nodes.is_empty() && settings.endpoints_fail_open {
        nodes = with("Unknown");
    }
    let number = u16::try_from(port.node_port).unwrap_or_default();
    let mut behind = NodePort {
        external_traffic_policy: if service.local_policy {
            TrafficPolicy::Local
        } else {
            TrafficPolicy::Cluster
        },
        client_ip_affinity_seconds: service.affinity_s,
        health_check_node_port: service.health_check_node_port,
        ..NodePort::default()
    };
    let mut ids = Vec::with_capacity(nodes.len());
    for node in &nodes {
        let id = instance_id(&node.provider_id).ok_or_else(|| {
            let service = service.meta.key();
            Diagnostic::error(
                Code::E_NODE_PROVIDER_ID,
                format!(
                    "the providerID `{}` names no instance: Service `{service}` has no targets",
                    node.provider_id
                ),
            )
            .object(format!("Node {}", node.meta.name))
            .value(&node.provider_id)
            .expected("such as `aws:///eu-west-1a/i-0123456789abcdef0`")
            .at(node.meta.at.location())
        })?;
        ids.push(id);
    }
    for (node, id) in nodes.into_iter().zip(ids) {
        let address = node.address.as_ref().and_then(|a| a.parse().ok());
        behind.nodes.push(NodePortNode { id: id.clone(), name: node.meta.name.clone(), address });
        group.target_health_descriptions.push(description(id, number, None, group));
    }
    for (endpoint, port) in endpoints(objects, service, port, "IPv4", settings) {
        let Some(address) = endpoint.address.as_ref().and_then(|a| a.parse().ok()) else { continue };
        let ready = endpoint.ready.unwrap_or(true) || service.publish_not_ready;
        behind.endpoints.push(NodePortEndpoint {
            address,
            port,
            pod: endpoint.pod.as_ref().map(|(_, name)| name.clone()).unwrap_or_default(),
            node: endpoint.node.clone(),
            conditions: EndpointConditions {
                ready,
                serving: endpoint.serving.unwrap_or(ready),
                terminating: endpoint.terminating,
            },
        });
    }
    group.node_port = Some(behind);
    Ok(())
}

fn is_candidate(node: &K8sNode) -> bool {
    let labels = &node.meta.labels;
    let tainted = node.taints.iter().any(|(key, effect)| {
        key == "ToBeDeletedByClusterAutoscaler" || key == "karpenter.sh/disrupted" && effect == "NoSchedule"
    });
    !labels.contains_key(MASTER)
        && !EXCLUDED.iter().any(|l| labels.contains_key(*l))
        && labels.get(COMPUTE_TYPE).map(String::as_str) != Some("fargate")
        && !tainted
}

fn instance_id(provider_id: &str) -> Option<String> {
    let last = provider_id.rsplit('/').next()?;
    if provider_id.starts_with("eks-hybrid://") {
        return last.starts_with("mi-").then(|| format!("hybrid-{last}"));
    }
    last.starts_with("i-").then(|| last.to_owned())
}

/// §9.3, §9.4.
fn addresses(
    group: &mut TargetGroup,
    objects: &Lookup<'_>,
    service: &Service,
    port: &ServicePort,
    settings: &Settings,
) {
    let family = if group.ip_address_type == TargetIpAddressType::Ipv6 { "IPv6" } else { "IPv4" };
    let (mut ready, mut unknown) = (Vec::new(), Vec::new());
    for (endpoint, number) in endpoints(objects, service, port, family, settings) {
        let Some(address) = &endpoint.address else { continue };
        let Some((namespace, name)) = &endpoint.pod else { continue };
        let Some(pod) = objects.pod(namespace, name) else { continue };
        let node_name = if pod.node.is_empty() { &endpoint.node } else { &pod.node };
        let node = objects.node(node_name);
        let zone = node.and_then(|n| n.meta.labels.get(ZONE)).cloned();
        let target = (address.clone(), number, zone);
        if endpoint.ready.unwrap_or(true) {
            ready.push(target);
        } else if pod.containers_ready {
            match node.and_then(|n| n.ready.as_deref()) {
                Some("True") if !endpoint.terminating => ready.push(target),
                Some("Unknown") => unknown.push(target),
                _ => {}
            }
        }
    }
    let chosen = if ready.is_empty() && settings.endpoints_fail_open { unknown } else { ready };
    let mut known = HashSet::new();
    for (address, number, zone) in chosen {
        if known.insert((address.clone(), number)) {
            group.target_health_descriptions.push(description(address, number, zone, group));
        }
    }
}

/// The endpoints of a Service port with their port numbers: of EndpointSlices of one family, or of
/// `Endpoints`, which have none (§9.3).
fn endpoints<'a>(
    objects: &Lookup<'a>,
    service: &Service,
    port: &'a ServicePort,
    family: &'static str,
    settings: &Settings,
) -> impl Iterator<Item = (&'a Endpoint, u16)> {
    let sliced = settings.enable_endpoint_slices;
    let of = objects.endpoints(service, sliced).to_vec();
    of.into_iter()
        .filter(move |s| !sliced || s.address_type == family || s.address_type.is_empty() && family == "IPv4")
        .flat_map(move |slice| {
            let ports = slice.ports.iter().filter(|(name, _)| port.name.is_empty() || *name == port.name);
            ports.flat_map(|(_, number)| slice.endpoints.iter().map(move |e| (e, *number)))
        })
}

fn description(id: String, port: u16, zone: Option<String>, group: &TargetGroup) -> TargetHealthDescription {
    let health_check_port = match group.health_check_port.as_str() {
        "traffic-port" => port.to_string(),
        other => other.to_owned(),
    };
    TargetHealthDescription {
        target: TargetDescription { id, port: Some(port), availability_zone: zone },
        health_check_port: Some(health_check_port),
        target_health: TargetHealth {
            state: TargetHealthState::Initial,
            reason: Some("Elb.RegistrationInProgress".to_owned()),
            description: Some("Target registration is in progress".to_owned()),
        },
    }
}
