//! The second hop of target type `instance`, asked of a router: what the node behind a target does with a
//! connection (spec: dataplane §10).

use std::net::{IpAddr, SocketAddr};

use super::Router;
use crate::decision::TargetId;
use crate::kube_proxy::Hop;
use crate::time::Now;

/// What a node does with a connection to its NodePort.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HopInfo {
    /// The node's name.
    pub node: String,
    /// Where the connection goes.
    pub to: HopTo,
    /// What `healthCheckNodePort` of the node answers: 200 or 503.
    pub health_check_status: u16,
    /// Ready endpoints on the node, which that answer counts; those that only serve while they terminate are
    /// not among them.
    pub local_endpoints: usize,
}

/// Where a connection to a NodePort goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HopTo {
    /// To this pod.
    Forwarded {
        /// The pod's name, where known.
        pod: String,
        /// The pod's address.
        address: SocketAddr,
        /// Whether the pod sees the node's address as its peer, and not that of the load balancer.
        from_node: bool,
    },
    /// It refuses the connection: the load balancer answers 502.
    Refused,
    /// It drops the connection: the load balancer answers 504 after its ten seconds.
    Dropped,
}

impl Router {
    /// What the node that is this target does with a new connection from `client` (the load balancer's own
    /// address): `None` where the target is no node with a NodePort. Connections, not requests: all requests
    /// of a connection go to one pod. `entropy` draws among the pods; affinity to a client is kept over
    /// reloads.
    pub fn hop(&self, target: TargetId, client: IpAddr, now: Now, entropy: u64) -> Option<HopInfo> {
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        let slot = snapshot.slot(target)?;
        let proxy = cold.proxies.get(&slot.group)?;
        let node = proxy.node_of(&slot.target)?;
        let (health_check_status, local_endpoints) = proxy.health(node);
        let to = match proxy.pick(node, client, now, entropy) {
            Hop::Forward { endpoint, from_node } => HopTo::Forwarded {
                pod: endpoint.pod.clone(),
                address: SocketAddr::new(endpoint.address, endpoint.port),
                from_node,
            },
            Hop::Refused => HopTo::Refused,
            Hop::Dropped => HopTo::Dropped,
        };
        Some(HopInfo { node: node.to_owned(), to, health_check_status, local_endpoints })
    }
}
