//! Pods that are registered by their address, and that a load balancer may not reach there (dataplane §11.4).

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::{Code, Diagnostic};
use crate::manifest::lookup::Lookup;
use crate::manifest::objects::{Objects, Pod};
use crate::model::{TargetGroup, TargetType};

/// Warns of pods in their node's network, and of pods whose address the cluster made up for itself: one
/// warning of each kind, with the first such pod.
pub(in crate::manifest) fn out_of_reach(
    objects: &Lookup<'_>,
    groups: &[TargetGroup],
    told: &mut Vec<Diagnostic>,
) {
    let by_address = groups.iter().filter(|group| group.target_type == TargetType::Ip);
    let registered: HashSet<&str> = by_address
        .flat_map(|group| &group.target_health_descriptions)
        .map(|description| description.target.id.as_str())
        .collect();
    let (mut of_node, mut of_cluster) = (Vec::new(), Vec::new());
    let all: &Objects = objects;
    for pod in all.pods.iter().filter(|pod| !pod.made_up) {
        let Some(address) = pod.address.as_deref().filter(|address| registered.contains(address)) else {
            continue;
        };
        if pod.host_network {
            of_node.push((pod, address, String::new()));
        } else if let Some(cidr) = pod_cidr(objects, pod, address) {
            of_cluster.push((pod, address, cidr));
        }
    }
    if let Some((pod, address, _)) = of_node.first() {
        let message = format!(
            "the pod is in its node's network: {address} is the node's own address, where one pod has a port{}",
            others(of_node.len())
        );
        told.push(warning(pod, message).expected(
            "the node's security group to admit the load balancer on the pod's port, or no `hostNetwork`",
        ));
    }
    if let Some((pod, address, cidr)) = of_cluster.first() {
        let message = format!(
            "{address} is of {cidr}, which the cluster gives its pods itself: a load balancer reaches it only \
             if the VPC has a route there{}",
            others(of_cluster.len())
        );
        told.push(
            warning(pod, message).expected(
                "addresses of the VPC, as the Amazon VPC CNI gives, or routes both ways, or target type `instance`",
            ),
        );
    }
}

fn warning(pod: &Pod, message: String) -> Diagnostic {
    Diagnostic::warning(Code::W_TARGET, message)
        .object(format!("Pod {}", pod.meta.key()))
        .at(pod.meta.at.location())
}

fn others(all: usize) -> String {
    match all - 1 {
        0 => String::new(),
        more => format!("; and {more} more"),
    }
}

/// The range of the pod's node that its address is of.
fn pod_cidr(objects: &Lookup<'_>, pod: &Pod, address: &str) -> Option<String> {
    let address: IpAddr = address.parse().ok()?;
    let node = objects.node(&pod.node)?;
    let holds = |cidr: &&String| cidr.parse().is_ok_and(|net: IpNet| net.contains(&address));
    node.pod_cidrs.iter().find(holds).cloned()
}
