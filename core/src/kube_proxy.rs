//! The second hop of target type `instance`: which pod a node's NodePort hands a connection to
//! (spec: dataplane §10). Drawn once per connection, by each node on its own; the load balancer neither
//! sees it nor has a say in it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::model::{NodePort, NodePortEndpoint, TrafficPolicy};
use crate::time::Now;

/// What a node does with a connection to its NodePort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop<'a> {
    /// Hands it to this endpoint.
    Forward {
        /// The pod.
        endpoint: &'a NodePortEndpoint,
        /// Whether the pod sees the node's address (policy Cluster) or the peer's own (policy Local).
        from_node: bool,
    },
    /// Refuses it: the Service has no endpoint anywhere (the load balancer answers 502).
    Refused,
    /// Drops it: there are endpoints, but none on this node (the load balancer answers 504).
    Dropped,
}

/// kube-proxy behind one NodePort, for all nodes. `Send + Sync`.
///
/// ```
/// use podway::model::{EndpointConditions, NodePort, NodePortEndpoint};
/// use podway::{Hop, KubeProxy, Now};
///
/// let proxy = KubeProxy::new(NodePort {
///     endpoints: vec![NodePortEndpoint {
///         address: [127, 16, 1, 2].into(), port: 80, pod: "app1".into(), node: "node-1".into(),
///         conditions: EndpointConditions::default(),
///     }],
///     ..NodePort::default()
/// });
/// let hop = proxy.pick("node-2", [127, 0, 0, 1].into(), Now::default(), 7);
/// assert!(matches!(hop, Hop::Forward { endpoint, from_node: true } if endpoint.pod == "app1"));
/// ```
#[derive(Debug)]
pub struct KubeProxy {
    node_port: NodePort,
    /// By node and client: the endpoint, and when it was last used (ms).
    affinity: Mutex<HashMap<(String, IpAddr), (usize, u64)>>,
}

/// How many clients an affinity table remembers; the oldest go first.
const REMEMBERED: usize = 65_536;

impl KubeProxy {
    /// The proxy of a NodePort.
    pub fn new(node_port: NodePort) -> Self {
        KubeProxy { node_port, affinity: Mutex::default() }
    }

    /// Picks the endpoint for a new connection from `client` to the NodePort of `node` (by name). Every
    /// candidate is equally likely; `entropy` decides.
    pub fn pick(&self, node: &str, client: IpAddr, now: Now, entropy: u64) -> Hop<'_> {
        let local = self.node_port.external_traffic_policy == TrafficPolicy::Local;
        let here = |e: &NodePortEndpoint| !local || e.node == node;
        let candidates = self.candidates(here);
        if candidates.is_empty() {
            let elsewhere = local && !self.candidates(|_| true).is_empty();
            // Without a ready pod anywhere the connection is refused; with one elsewhere it is dropped.
            return if elsewhere || local && !self.node_port.endpoints.is_empty() {
                Hop::Dropped
            } else {
                Hop::Refused
            };
        }
        let drawn = candidates.get((spread(entropy) % candidates.len() as u64) as usize);
        let chosen = match self.node_port.client_ip_affinity_seconds {
            Some(seconds) => self.sticky(node, client, now, seconds, &candidates, drawn.copied()),
            None => drawn.copied(),
        };
        match chosen.and_then(|i| self.node_port.endpoints.get(i)) {
            Some(endpoint) => Hop::Forward { endpoint, from_node: !local },
            None => Hop::Refused,
        }
    }

    /// What `healthCheckNodePort` of a node answers: the number of its local ready endpoints, and 200 while
    /// there is one, else 503. Terminating endpoints do not count.
    pub fn health(&self, node: &str) -> (u16, usize) {
        let local = self.node_port.endpoints.iter().filter(|e| e.node == node && e.conditions.ready).count();
        (if local > 0 { 200 } else { 503 }, local)
    }

    /// Ready endpoints, and only where there is none the ones that still serve while they terminate.
    fn candidates(&self, here: impl Fn(&NodePortEndpoint) -> bool) -> Vec<usize> {
        let those = |usable: &dyn Fn(&NodePortEndpoint) -> bool| -> Vec<usize> {
            let all = self.node_port.endpoints.iter().enumerate();
            all.filter(|(_, e)| here(e) && usable(e)).map(|(i, _)| i).collect()
        };
        let ready = those(&|e| e.conditions.ready);
        if ready.is_empty() { those(&|e| e.conditions.serving && e.conditions.terminating) } else { ready }
    }

    /// `sessionAffinity: ClientIP`: the endpoint of the client's last connection while it is a candidate
    /// and not forgotten; each connection renews it.
    fn sticky(
        &self,
        node: &str,
        client: IpAddr,
        now: Now,
        seconds: u32,
        candidates: &[usize],
        drawn: Option<usize>,
    ) -> Option<usize> {
        let mut table = self.affinity.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node.to_owned(), client);
        let fresh = |at: u64| now.mono_ms.saturating_sub(at) <= u64::from(seconds) * 1000;
        let known = table.get(&key).filter(|(i, at)| candidates.contains(i) && fresh(*at)).map(|(i, _)| *i);
        let chosen = known.or(drawn)?;
        if table.len() >= REMEMBERED && !table.contains_key(&key) {
            table.retain(|_, (_, at)| fresh(*at));
            if table.len() >= REMEMBERED {
                table.clear();
            }
        }
        table.insert(key, (chosen, now.mono_ms));
        Some(chosen)
    }
}

/// Spreads weak entropy, as the selection does.
fn spread(entropy: u64) -> u64 {
    let z = (entropy ^ entropy >> 33).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let z = (z ^ z >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    z ^ z >> 33
}
