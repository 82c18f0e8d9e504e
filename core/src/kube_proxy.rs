//! The second hop of target type `instance`: which pod a node's NodePort hands a connection to
//! (spec: dataplane §10). Drawn once per connection, by each node on its own; the load balancer neither
//! sees it nor has a say in it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use crate::mix::mix;
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
    affinity: Mutex<HashMap<(String, IpAddr), (SocketAddr, u64)>>,
}

/// How many clients an affinity table remembers; the oldest go first.
const REMEMBERED: usize = 65_536;

impl KubeProxy {
    /// The proxy of a NodePort.
    pub fn new(node_port: NodePort) -> Self {
        KubeProxy { node_port, affinity: Mutex::default() }
    }

    /// The same proxy over other endpoints: who is sticky to an endpoint that stays remains so.
    #[must_use]
    pub fn with(self, node_port: NodePort) -> Self {
        KubeProxy { node_port, affinity: self.affinity }
    }

    /// Picks the endpoint for a new connection from `client` to the NodePort of `node` (by name). Every
    /// candidate is equally likely; `entropy` decides.
    pub fn pick(&self, node: &str, client: IpAddr, now: Now, entropy: u64) -> Hop<'_> {
        // A connection from the node itself counts as one from inside the cluster (spec: §10.4).
        let from_inside =
            self.node_port.nodes.iter().any(|n| {
                n.name == node && n.address.is_some_and(|a| a.to_canonical() == client.to_canonical())
            });
        let local = self.node_port.external_traffic_policy == TrafficPolicy::Local && !from_inside;
        let candidates = self.candidates(|e| !local || e.node == node);
        if candidates.is_empty() {
            // Without a usable pod anywhere the connection is refused; with one elsewhere it is dropped.
            let elsewhere = local && !self.candidates(|_| true).is_empty();
            return if elsewhere { Hop::Dropped } else { Hop::Refused };
        }
        let drawn = candidates.get((mix(entropy) % candidates.len() as u64) as usize);
        let chosen = match self.node_port.client_ip_affinity_seconds {
            Some(seconds) => self.sticky(node, client, now, seconds, &candidates, drawn.copied()),
            None => drawn.copied(),
        };
        match chosen.and_then(|i| self.node_port.endpoints.get(i)) {
            Some(endpoint) => Hop::Forward { endpoint, from_node: !local },
            None => Hop::Refused,
        }
    }

    /// The name of the node with this target id.
    pub fn node_of(&self, target: &str) -> Option<&str> {
        self.node_port.nodes.iter().find(|n| n.id == target).map(|n| n.name.as_str())
    }

    /// Whether each node always hands connections to one and the same pod, so that a cookie that pins the node
    /// pins a pod: policy Local with no more than one pod on each.
    pub fn is_one_pod_a_node(&self) -> bool {
        let port = &self.node_port;
        let pods = |node: &str| port.endpoints.iter().filter(|e| e.node == node).count();
        port.external_traffic_policy == TrafficPolicy::Local && port.nodes.iter().all(|n| pods(&n.name) <= 1)
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
        let address = |i: usize| self.node_port.endpoints.get(i).map(|e| SocketAddr::new(e.address, e.port));
        let known = table.get(&key).filter(|(_, at)| fresh(*at)).map(|(known, _)| *known);
        let known = known.and_then(|known| candidates.iter().copied().find(|i| address(*i) == Some(known)));
        let chosen = known.or(drawn)?;
        if table.len() >= REMEMBERED && !table.contains_key(&key) {
            table.retain(|_, (_, at)| fresh(*at));
            if table.len() >= REMEMBERED {
                table.clear();
            }
        }
        table.insert(key, (address(chosen)?, now.mono_ms));
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EndpointConditions, NodePortNode};

    /// The rows that were recorded from a real kube-proxy.
    #[test]
    fn the_recorded_truth_table_holds() {
        let text = include_str!("../../tests/vectors/kube-proxy.json");
        let recorded: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = recorded["rows"].as_array().unwrap();
        assert!(rows.len() >= 10);
        for row in rows {
            let endpoint = |name: &str, last: u8| {
                let c = &row["endpoints"][name];
                let is = |key: &str| c[key].as_bool().unwrap();
                NodePortEndpoint {
                    address: [10, 0, 0, last].into(),
                    port: 80,
                    pod: name.to_owned(),
                    node: name.to_owned(),
                    conditions: EndpointConditions {
                        ready: is("ready"),
                        serving: is("serving"),
                        terminating: is("terminating"),
                    },
                }
            };
            let local = row["externalTrafficPolicy"] == "Local";
            let proxy = KubeProxy::new(NodePort {
                external_traffic_policy: if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster },
                client_ip_affinity_seconds: (row["sessionAffinity"] == "ClientIP").then_some(10_800),
                nodes: vec![NodePortNode {
                    id: "i-1".into(),
                    name: "local".into(),
                    address: Some([192, 168, 0, 1].into()),
                }],
                endpoints: vec![endpoint("local", 1), endpoint("remote", 2)],
                ..NodePort::default()
            });
            let inside = row["client"] == "the node itself";
            let client: IpAddr = if inside { [192, 168, 0, 1].into() } else { [203, 0, 113, 9].into() };
            let sticky = row["sessionAffinity"] == "ClientIP";
            let (mut seen, mut outcome) = (std::collections::BTreeSet::new(), "");
            for n in 0..40 {
                match proxy.pick("local", client, Now::default(), n) {
                    Hop::Forward { endpoint, from_node } => {
                        outcome = "forwarded";
                        seen.insert(endpoint.pod.clone());
                        if let Some(source) = row["sourceSeenByPod"].as_str() {
                            assert_eq!(from_node, source == "node", "{}", row["name"]);
                        }
                    }
                    Hop::Refused => outcome = "refused",
                    Hop::Dropped => outcome = "dropped",
                }
            }
            assert_eq!(row["outcome"], outcome, "{}", row["name"]);
            let receives: std::collections::BTreeSet<String> =
                row["receives"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().to_owned()).collect();
            if sticky {
                assert_eq!(seen.len(), 1, "{}", row["name"]);
                assert!(seen.is_subset(&receives));
            } else {
                assert_eq!(seen, receives, "{}", row["name"]);
            }
        }
    }

    #[test]
    fn affinity_is_forgotten_after_its_time() {
        let endpoint = |last| NodePortEndpoint {
            address: [10, 0, 0, last].into(),
            port: 80,
            pod: last.to_string(),
            node: String::new(),
            conditions: EndpointConditions::default(),
        };
        let proxy = KubeProxy::new(NodePort {
            client_ip_affinity_seconds: Some(10),
            endpoints: (1..=50).map(endpoint).collect(),
            ..NodePort::default()
        });
        let pod = |ms, entropy| match proxy.pick(
            "n",
            [10, 9, 9, 9].into(),
            Now { mono_ms: ms, unix_s: 0 },
            entropy,
        ) {
            Hop::Forward { endpoint, .. } => endpoint.pod.clone(),
            other => panic!("{other:?}"),
        };
        let first = pod(0, 1);
        assert!((2..100).all(|n| pod(9_000, n) == first));
        assert!((2..100).any(|n| pod(100_000 * n, n) != first));
    }
}
