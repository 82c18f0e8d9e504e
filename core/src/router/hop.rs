//! The second hop of target type `instance`, asked of a router: what the node behind a target does with a
//! connection (spec: dataplane §10).

use std::net::{IpAddr, SocketAddr};

use super::Router;
use crate::decision::TargetId;
use crate::kube_proxy::Hop;
use crate::time::Now;

/// Where a node hands a connection to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HopInfo {
    /// To this pod.
    Forward {
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

/// What `healthCheckNodePort` of a node answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeHealth {
    /// 200 or 503.
    pub status: u16,
    /// Ready endpoints on the node.
    pub local_endpoints: usize,
}

impl Router {
    /// What the node that is this target does with a new connection from `client` (the load balancer's own
    /// address): `None` where the target is no node with a NodePort. Connections, not requests: all requests
    /// of a connection go to one pod. `entropy` draws among the pods.
    pub fn hop(&self, target: TargetId, client: IpAddr, now: Now, entropy: u64) -> Option<HopInfo> {
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        let slot = snapshot.slot(target)?;
        let proxy = cold.proxies.get(&slot.group)?;
        let node = proxy.node_of(&slot.target)?;
        Some(match proxy.pick(node, client, now, entropy) {
            Hop::Forward { endpoint, from_node } => HopInfo::Forward {
                pod: endpoint.pod.clone(),
                address: SocketAddr::new(endpoint.address, endpoint.port),
                from_node,
            },
            Hop::Refused => HopInfo::Refused,
            Hop::Dropped => HopInfo::Dropped,
        })
    }

    /// What `healthCheckNodePort` of the node that is this target answers; `None` as for [`Router::hop`].
    pub fn node_health(&self, target: TargetId) -> Option<NodeHealth> {
        let cold = self.cold();
        let snapshot = self.snapshot.load();
        let slot = snapshot.slot(target)?;
        let proxy = cold.proxies.get(&slot.group)?;
        let (status, local_endpoints) = proxy.health(proxy.node_of(&slot.target)?);
        Some(NodeHealth { status, local_endpoints })
    }
}
